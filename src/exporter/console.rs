//! Standard error as a sink: spans, log records and metrics for people, and our own warnings. Runs on the exporter
//! thread and never waits for whoever reads stderr: what is not taken at once is kept, up to [`MAX_BYTES`] (or one entry,
//! if that is longer), then the newest entries are dropped and counted.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use crate::aggregate::Metric;
use crate::batch::{Batch, RecordRef};
use crate::config::ConsoleFormat;
use crate::encode::{Lookup, console};
use crate::record::{flag, kind};
use crate::stats::ConsoleStats;
use crate::sys::stderr;

/// Bytes of text that may wait.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Memory of a buffer that is kept while it is empty.
const KEPT_BYTES: usize = 64 * 1024;
/// A write takes at most so much.
const WRITE_BYTES: usize = 4096;
/// Writes of one turn.
const WRITES_PER_TURN: usize = 64;
/// Without progress for so long, a flush does not wait for the reader any more.
const STALLED: Duration = Duration::from_millis(100);
/// When to try again, first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Which signals are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shown {
    /// Spans: begin and end.
    pub spans: bool,
    /// Metrics, at each collection.
    pub metrics: bool,
    /// Log records.
    pub logs: bool,
}

/// How entries are shown.
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
    shown: Shown,
    layout: Layout,
    waiting: VecDeque<u8>,
    /// Empty between calls, kept for its memory.
    entry: Vec<u8>,
    /// The last byte written does not end a line.
    mid_line: bool,
    /// The rest of that line was discarded.
    torn: bool,
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
    /// With nothing shown it only carries warnings.
    pub fn new(shown: Shown, layout: Layout) -> Self {
        Self {
            shown,
            layout,
            waiting: VecDeque::new(),
            entry: Vec::new(),
            mid_line: false,
            torn: false,
            blocked: None,
            stats: ConsoleStats::default(),
        }
    }

    /// Spans are shown.
    pub fn shows_spans(&self) -> bool {
        self.shown.spans
    }

    /// Metrics are shown.
    pub fn shows_metrics(&self) -> bool {
        self.shown.metrics
    }

    /// Log records are shown.
    pub fn shows_logs(&self) -> bool {
        self.shown.logs
    }

    /// Adds what is shown of a batch in the order of its times: begun and finished spans, and the log records whose
    /// indices `logs` wants.
    pub fn add_records(&mut self, batch: &Batch, logs: impl Fn(usize) -> bool, lookup: Lookup<'_>) {
        let mut records: Vec<(u64, RecordRef<'_>)> = Vec::new();
        let mut take = |record| records.push((time_of(record, lookup), record));
        if self.shown.spans {
            batch.span_begins().chain(batch.spans()).for_each(&mut take);
        }
        if self.shown.logs {
            let wanted = batch.logs().enumerate().filter(|(index, _)| logs(*index));
            wanted.for_each(|(_, record)| take(record));
        }
        records.sort_by_key(|(time, _)| *time);
        let Layout { format, color } = self.layout;
        // Lost until it is drawn, should that panic.
        self.stats.dropped += records.len() as u64;
        for (_, record) in records {
            let draw = if record.header.kind == kind::LOG { console::log } else { console::span };
            self.entry(|out| draw(record, lookup, format, color, out));
            self.stats.dropped -= 1;
        }
    }

    /// Adds a collected metric's points, if metrics are shown.
    pub fn add_metric(&mut self, metric: &Metric<'_>, lookup: Lookup<'_>) {
        if !self.shown.metrics {
            return;
        }
        let Layout { format, color } = self.layout;
        for point in &metric.points {
            self.entry(|out| console::metric(metric, point, lookup, format, color, out));
        }
    }

    /// Adds a line.
    pub fn say(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a vector does not fail.
        self.entry(|out| _ = writeln!(out, "{line}"));
    }

    fn entry(&mut self, draw: impl FnOnce(&mut Vec<u8>)) {
        let mut entry = mem::take(&mut self.entry);
        draw(&mut entry);
        self.add(&entry);
        if entry.capacity() <= KEPT_BYTES {
            entry.clear();
            self.entry = entry;
        }
    }

    fn add(&mut self, entry: &[u8]) {
        let overflows = |waiting: usize| waiting > 0 && waiting + entry.len() > MAX_BYTES;
        // Makes room as long as stderr takes something.
        let mut before = usize::MAX;
        while overflows(self.waiting.len()) && self.waiting.len() < before {
            before = self.waiting.len();
            self.step(Instant::now());
        }
        if overflows(self.waiting.len()) {
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
                self.waiting.shrink_to(KEPT_BYTES);
                self.blocked = None;
                return;
            }
            let next = if self.torn { b"\n" } else { &front[..front.len().min(WRITE_BYTES)] };
            match stderr::write_some(next) {
                Ok(count @ 1..) => {
                    self.mid_line = next[count - 1] != b'\n';
                    if !mem::take(&mut self.torn) {
                        self.waiting.drain(..count);
                    }
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

    /// Stderr is gone, or its disk is full. It is tried again with the next entry.
    fn discard(&mut self) {
        // An entry ends where a line ends that no indented one follows.
        let next = self.waiting.iter().skip(1).chain([&b'\n']);
        let ends = self.waiting.iter().zip(next).filter(|(byte, next)| **byte == b'\n' && **next != b' ');
        let lost = ends.count() as u64;
        self.stats.dropped += lost;
        self.stats.entries = self.stats.entries.saturating_sub(lost);
        self.waiting = VecDeque::new();
        self.torn = self.mid_line;
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

/// Start of a begun span, end of a finished one, when a log record happened. Unix nanoseconds.
fn time_of(record: RecordRef<'_>, lookup: Lookup<'_>) -> u64 {
    let header = record.header;
    let start_is_unix = header.flags & flag::START_IS_UNIX_NANO != 0;
    if header.kind != kind::SPAN {
        return if start_is_unix { header.start } else { lookup.timeline.unix_nano(header.start) };
    }
    let end_is_unix = header.flags & flag::END_IS_UNIX_NANO != 0;
    lookup.timeline.span_times(header.start, start_is_unix, header.end, end_is_unix).1
}
