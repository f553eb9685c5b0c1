//! Standard error as a sink: spans for people, and our own warnings. Runs on the exporter thread and never waits for
//! whoever reads stderr: what is not taken at once is kept, up to [`MAX_BYTES`], then the newest entries are dropped and
//! counted.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::batch::{Batch, RecordRef};
use crate::config::ConsoleFormat;
use crate::encode::{Lookup, console};
use crate::record::{flag, kind};
use crate::stats::ConsoleStats;
use crate::sys::stderr;

/// Bytes of text that may wait.
pub const MAX_BYTES: usize = 1024 * 1024;
/// A write takes at most so much.
const WRITE_BYTES: usize = 4096;
/// Writes of one turn.
const WRITES_PER_TURN: usize = 64;
/// Without progress for so long, a flush does not wait for the reader any more.
const STALLED: Duration = Duration::from_millis(100);
/// When to try again, first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// How spans are shown.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Which of the three.
    pub format: ConsoleFormat,
    /// ANSI colours.
    pub color: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Console {
    /// `None`: spans are not shown.
    spans: Option<Layout>,
    waiting: VecDeque<u8>,
    entry: Vec<u8>,
    /// Since when stderr takes nothing, and when to try again.
    blocked: Option<Blocked>,
    stats: ConsoleStats,
}

#[derive(Debug, Clone, Copy)]
struct Blocked {
    since: Instant,
    wait: Duration,
    until: Instant,
}

impl Console {
    /// With `None` it only carries warnings.
    pub fn new(spans: Option<Layout>) -> Self {
        Self {
            spans,
            waiting: VecDeque::new(),
            entry: Vec::new(),
            blocked: None,
            stats: ConsoleStats::default(),
        }
    }

    /// Spans are shown.
    pub fn shows_spans(&self) -> bool {
        self.spans.is_some()
    }

    /// Adds a batch's begun and finished spans in the order of their times.
    pub fn add_spans(&mut self, batch: &Batch, lookup: Lookup<'_>) {
        let Some(layout) = self.spans else { return };
        let mut records: Vec<(u64, RecordRef<'_>)> = batch
            .span_begins()
            .chain(batch.spans())
            .map(|record| (time_of(record, lookup), record))
            .collect();
        records.sort_by_key(|(time, _)| *time);
        for (_, record) in records {
            let mut entry = std::mem::take(&mut self.entry);
            entry.clear();
            console::span(record, lookup, layout.format, layout.color, &mut entry);
            self.add(&entry);
            self.entry = entry;
        }
    }

    /// Adds a line.
    pub fn say(&mut self, line: fmt::Arguments<'_>) {
        let mut entry = std::mem::take(&mut self.entry);
        entry.clear();
        // Writing to a vector does not fail.
        let _ = writeln!(entry, "{line}");
        self.add(&entry);
        self.entry = entry;
    }

    fn add(&mut self, entry: &[u8]) {
        if self.waiting.len() + entry.len() > MAX_BYTES {
            self.stats.dropped += 1;
        } else {
            self.stats.entries += 1;
            self.waiting.extend(entry);
        }
    }

    /// Writes what stderr takes.
    pub fn step(&mut self, now: Instant) {
        if self.blocked.is_some_and(|blocked| now < blocked.until) {
            return;
        }
        for _ in 0..WRITES_PER_TURN {
            let (front, _) = self.waiting.as_slices();
            if front.is_empty() {
                self.blocked = None;
                return;
            }
            match stderr::write_some(&front[..front.len().min(WRITE_BYTES)]) {
                Ok(count @ 1..) => {
                    self.waiting.drain(..count);
                    self.blocked = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return self.block(now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return self.block(now),
                Err(_) => return self.discard(),
            }
        }
    }

    fn block(&mut self, now: Instant) {
        let blocked = self.blocked.map_or(Blocked { since: now, wait: RETRY.0, until: now }, |blocked| {
            Blocked { wait: (blocked.wait * 2).min(RETRY.1), ..blocked }
        });
        self.blocked = Some(Blocked { until: now + blocked.wait, ..blocked });
    }

    /// Stderr is gone.
    fn discard(&mut self) {
        let lost = self.waiting.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.stats.dropped += lost;
        self.stats.entries = self.stats.entries.saturating_sub(lost);
        self.waiting.clear();
        self.blocked = None;
    }

    /// Nothing waits, or nobody reads.
    pub fn is_flushed(&self, now: Instant) -> bool {
        self.waiting.is_empty()
            || self.blocked.is_some_and(|blocked| now.saturating_duration_since(blocked.since) >= STALLED)
    }

    /// When to call [`Console::step`] next.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.blocked.map_or(now, |blocked| blocked.until))
    }

    /// The books as of now.
    pub fn stats(&self) -> ConsoleStats {
        self.stats
    }
}

/// Start of a begun span, end of a finished one, Unix nanoseconds.
fn time_of(record: RecordRef<'_>, lookup: Lookup<'_>) -> u64 {
    let header = &record.header;
    let start_is_unix = header.flags & flag::START_IS_UNIX_NANO != 0;
    if header.kind == kind::SPAN_BEGIN {
        return if start_is_unix { header.start } else { lookup.timeline.unix_nano(header.start) };
    }
    let end_is_unix = header.flags & flag::END_IS_UNIX_NANO != 0;
    lookup.timeline.span_times(header.start, start_is_unix, header.end, end_is_unix).1
}
