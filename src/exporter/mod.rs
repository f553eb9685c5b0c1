//! The exporter thread: one wait, then drain, encode, step every sink, and again.
//!
//! It never touches Python, takes no lock that a recording thread takes, runs no signal handler, and blocks in `poll`
//! only. A panic in a turn is a bug of ours that costs the records in hand, counted, not the thread.
//!
//! ```text
//!   ┌─► wait: sockets, wake-up, the earliest due time
//!   │   drain all lanes ─► Batch ─► encode once for each set of sinks and limits ─► Part in each sink
//!   │   step sinks ─► write stderr ─► publish the books ─► answer flushes
//!   └───┘
//! ```
//!
//! Each drain is bounded by the lanes' own memory, each step by a number of requests, so under constant load every
//! sink has its turn.

pub mod console;
pub mod flush;
pub mod pending;
pub mod request;
mod select;
pub mod sink;

use std::cell::RefCell;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::console::Console;
use self::flush::{Asks, Flush, Goal};
use self::request::{Now, Scratch, after};
use self::select::{count_masks, selections};
use self::sink::Sink;
use crate::batch::Batch;
use crate::clock::Timeline;
use crate::diagnostics::Diagnostics;
use crate::encode::Lookup;
use crate::encode::chunk::Part;
use crate::encode::otlp::trace::TraceEncoder;
use crate::intern::Interner;
use crate::lane::{Drainer, Lanes};
use crate::limits::SpanLimits;
use crate::stats::{DropCounts, DropReason, LaneStats, Snapshot};
use crate::sys::poll::{PollFd, wait};
use crate::sys::signals;

/// Lanes are drained at least so often: when nothing was recorded lately, when something was, while the console shows
/// spans or logs. Producers wake the exporter before their lane is full.
const IDLE_PERIOD: Duration = Duration::from_millis(250);
const BUSY_PERIOD: Duration = Duration::from_millis(100);
const CONSOLE_PERIOD: Duration = Duration::from_millis(40);
/// While records stream in (a drain of at least [`STREAM_BYTES`]), so often, and without parking: producers then need
/// no system call to wake the exporter, lanes stay short, and their memory in the cache.
const STREAM_PERIOD: Duration = Duration::from_millis(1);
const STREAM_BYTES: usize = 64 * 1024;
/// A sink's short schedule delay shortens the period down to this.
const SHORTEST_PERIOD: Duration = Duration::from_millis(10);
/// "Lately".
const BUSY_FOR: Duration = Duration::from_secs(1);
/// After so long without records, memory is given back.
const SHRINK_AFTER: Duration = Duration::from_secs(5);
/// Between a panic and the next turn.
const PANIC_PAUSE: Duration = Duration::from_millis(50);

/// What the exporter shares with the threads that control it.
#[derive(Debug)]
pub struct Shared {
    /// Flush and shutdown.
    pub asks: Asks,
    /// To wake it.
    pub lanes: Arc<Lanes>,
    snapshot: Mutex<Snapshot>,
}

impl Shared {
    /// `stats` until the first turn.
    pub fn new(lanes: Arc<Lanes>, stats: Snapshot) -> Self {
        Self { asks: Asks::default(), lanes, snapshot: Mutex::new(stats) }
    }

    /// The books after the last turn.
    pub fn stats(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A sink of spans.
#[derive(Debug)]
pub struct TraceSink {
    /// What is kept of a span.
    pub limits: SpanLimits,
    /// The rest.
    pub sink: Sink,
}

/// What an exporter is made of.
pub struct Parts {
    /// The reading end of [`Shared::lanes`].
    pub drainer: Drainer,
    /// What the records' ids mean.
    pub strings: Arc<Interner>,
    /// Spans lost on the way into a lane.
    pub lane_drops: Box<dyn Fn() -> DropCounts + Send>,
    /// Bit `i` of a record's mask is sink `i`, at most 16. Built on the exporter's thread: reading certificates takes
    /// longer than a recording call in a forked child may.
    pub trace_sinks: Box<dyn FnOnce() -> Vec<TraceSink> + Send>,
    /// Spans for people.
    pub console: Console,
    /// Warnings on stderr.
    pub diagnostics: bool,
    /// Warnings to begin with.
    pub warnings: Vec<String>,
}

/// Starts the thread.
///
/// # Errors
/// The operating system's, when it has no thread to give.
pub fn start(parts: Parts, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let run = move || {
        let end = EndOnDrop(&shared);
        Exporter::new(parts, &shared).run();
        drop(end);
    };
    signals::masked(|| thread::Builder::new().name("pytracingx-exporter".to_owned()).spawn(run))
}

struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.asks.end(false);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Flow {
    Continue,
    End,
}

struct Exporter<'a> {
    shared: &'a Shared,
    drainer: Drainer,
    strings: Arc<Interner>,
    lane_drops: Box<dyn Fn() -> DropCounts + Send>,
    timeline: Timeline,
    encoder: TraceEncoder,
    sinks: Vec<Sink>,
    /// Sinks of equal limits, a bit each.
    groups: Vec<(SpanLimits, u16)>,
    console: Console,
    diagnostics: Diagnostics,
    flushes: Vec<Flush>,
    stats: Snapshot,
    spans_drained: u64,
    last_drain: Instant,
    last_record: Instant,
    streaming: bool,
    shrunk: bool,
    ending: bool,
    // Empty between turns, kept for their memory.
    batch: Batch,
    fds: Vec<PollFd>,
    /// Index into `fds` of each sink's descriptor.
    sink_fds: Vec<Option<usize>>,
    scratch: Scratch,
}

impl<'a> Exporter<'a> {
    fn new(parts: Parts, shared: &'a Shared) -> Self {
        let mut groups: Vec<(SpanLimits, u16)> = Vec::new();
        let mut sinks = Vec::new();
        for (index, TraceSink { limits, sink }) in (parts.trace_sinks)().into_iter().enumerate() {
            match groups.iter_mut().find(|(of_group, _)| *of_group == limits) {
                Some((_, members)) => *members |= 1 << index,
                None => groups.push((limits, 1 << index)),
            }
            sinks.push(sink);
        }
        let mut console = parts.console;
        for warning in &parts.warnings {
            console.say(format_args!("pytracingx: {warning}"));
        }
        let now = Instant::now();
        Self {
            shared,
            drainer: parts.drainer,
            strings: parts.strings,
            lane_drops: parts.lane_drops,
            timeline: Timeline::new(),
            encoder: TraceEncoder::default(),
            diagnostics: Diagnostics::new(parts.diagnostics, sinks.len()),
            sinks,
            groups,
            console,
            flushes: Vec::new(),
            stats: shared.stats(),
            spans_drained: 0,
            last_drain: now,
            last_record: now,
            streaming: false,
            shrunk: false,
            ending: false,
            batch: Batch::default(),
            fds: Vec::new(),
            sink_fds: Vec::new(),
            scratch: Scratch::default(),
        }
    }

    fn run(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(Flow::Continue) => {}
                Ok(Flow::End) => return,
                Err(_) => self.recover(),
            }
            let overdue =
                |flush: &Flush| flush.ask.goal != Goal::Flush && flush.ask.deadline < Instant::now();
            if self.ending || self.flushes.iter().any(overdue) {
                return; // it panicked on the way out
            }
        }
    }

    fn recover(&mut self) {
        self.stats.exporter_restarts += 1;
        self.batch = Batch::default();
        self.encoder = TraceEncoder::default();
        for sink in &mut self.sinks {
            // One that panics again has settled its books before.
            let _ = catch_unwind(AssertUnwindSafe(|| sink.recover()));
        }
        thread::sleep(PANIC_PAUSE);
    }

    fn turn(&mut self) -> Flow {
        self.wait();
        let now = read_clocks();
        let asks = self.shared.asks.take();
        let lost = self.lost_so_far();
        self.drain(now.instant);
        self.flushes
            .extend(asks.into_iter().map(|ask| Flush::begin(ask, &mut self.sinks, &lost, now.instant)));
        for (sink, fd) in self.sinks.iter_mut().zip(&self.sink_fds) {
            sink.step(now, fd.is_some_and(|index| self.fds[index].ready), &mut self.scratch);
        }
        self.publish(now.instant, false);
        self.console.step(now.instant);
        self.shrink_when_idle(now.instant);
        self.answer(now.instant)
    }

    fn wait(&mut self) {
        let now = Instant::now();
        let mut due = after(self.last_drain, self.period(now));
        self.fds.clear();
        self.sink_fds.clear();
        self.fds.push(PollFd {
            fd: self.shared.lanes.waker().fd(),
            readable: true,
            writable: false,
            ready: false,
        });
        for sink in &self.sinks {
            let interest = sink.interest(now);
            due = due.min(interest.wake_at.unwrap_or(due));
            self.sink_fds.push(interest.fd.map(|_| self.fds.len()));
            self.fds.extend(interest.fd.map(|fd| PollFd {
                fd,
                readable: interest.readable,
                writable: interest.writable,
                ready: false,
            }));
        }
        due = due.min(self.console.due(now).unwrap_or(due));
        for flush in &self.flushes {
            due = due.min(flush.ask.deadline);
        }
        let timeout = if self.streaming {
            STREAM_PERIOD
        } else if self.drainer.park() {
            due.saturating_duration_since(now)
        } else {
            Duration::ZERO
        };
        wait(&mut self.fds, timeout);
        self.drainer.unpark();
        if self.fds[0].ready {
            self.shared.lanes.waker().drain();
        }
    }

    /// How long records may lie in their lanes.
    fn period(&self, now: Instant) -> Duration {
        let busy = now.saturating_duration_since(self.last_record) < BUSY_FOR;
        let period = if self.console.shows_spans() || self.console.shows_logs() {
            CONSOLE_PERIOD
        } else if busy {
            BUSY_PERIOD
        } else {
            IDLE_PERIOD
        };
        let shortest_delay = self.sinks.iter().map(Sink::schedule_delay).min();
        shortest_delay.map_or(period, |delay| period.min((delay / 2).max(SHORTEST_PERIOD)))
    }

    fn drain(&mut self, now: Instant) {
        debug_assert!(self.batch.is_empty());
        let since = mem::replace(&mut self.last_drain, now);
        let batch = RefCell::new(&mut self.batch);
        let bytes = self.drainer.drain(&mut |run| batch.borrow_mut().extend(run), &mut |ticket, payload| {
            batch.borrow_mut().add_oversize(ticket, payload);
        });
        self.streaming = bytes >= STREAM_BYTES;
        if self.batch.is_empty() {
            return;
        }
        (self.last_record, self.shrunk) = (now, false);
        self.spans_drained += self.batch.span_count() as u64;
        self.timeline.refresh();
        self.hand_to_sinks(since);
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        self.console.add_records(&self.batch, |_| true, lookup);
        self.batch.clear();
    }

    /// `since`: no record of the batch is older.
    fn hand_to_sinks(&mut self, since: Instant) {
        let masks = count_masks(&self.batch);
        for (index, sink) in self.sinks.iter_mut().enumerate() {
            let wanted = masks.iter().filter(|(mask, _)| mask >> index & 1 == 1);
            sink.expect(wanted.map(|(_, count)| count).sum());
        }
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        for (limits, members) in &self.groups {
            for (select, sinks) in selections(&masks, *members) {
                let chunk = self.encoder.encode(&self.batch, |mask| select.holds(mask), limits, lookup);
                let part = Part { records: 0..chunk.len(), chunk: Arc::new(chunk) };
                for (index, sink) in self.sinks.iter_mut().enumerate() {
                    if sinks >> index & 1 == 1 {
                        sink.push(&part, since);
                    }
                }
            }
        }
    }

    fn lost_so_far(&mut self) -> Vec<u64> {
        self.sinks.iter_mut().map(|sink| sink.stats().undelivered()).collect()
    }

    fn publish(&mut self, now: Instant, last: bool) {
        let (lanes, bytes, bytes_max) = self.drainer.usage();
        self.stats.lanes = LaneStats { lanes, bytes, bytes_max };
        self.stats.spans_dropped = (self.lane_drops)();
        self.stats.spans_recorded = self.spans_drained + self.stats.spans_dropped.total();
        for (published, sink) in self.stats.trace_sinks.iter_mut().zip(&mut self.sinks) {
            published.clone_from(sink.stats());
        }
        let console = &mut self.console;
        self.diagnostics.look(&self.stats, now, last, &mut |line| console.say(line));
        self.stats.console = self.console.stats();
        self.shared.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&self.stats);
    }

    fn shrink_when_idle(&mut self, now: Instant) {
        if !self.shrunk && now.saturating_duration_since(self.last_record) >= SHRINK_AFTER {
            self.drainer.shrink();
            self.batch.shrink();
            self.scratch = Scratch::default();
            self.shrunk = true;
        }
    }

    fn answer(&mut self, now: Instant) -> Flow {
        let mut end = None;
        for flush in mem::take(&mut self.flushes) {
            match flush.verdict(&mut self.sinks, &self.console, now) {
                None => self.flushes.push(flush),
                Some(verdict) if flush.ask.goal == Goal::Flush => {
                    self.shared.asks.answer(&flush.ask, verdict)
                }
                Some(verdict) => end = end.or(Some(verdict)),
            }
        }
        match end {
            None => Flow::Continue,
            Some(verdict) => {
                self.end(verdict, now);
                Flow::End
            }
        }
    }

    /// Whatever is left, and what was recorded while recording was being turned off, is counted as lost.
    fn end(&mut self, verdict: bool, now: Instant) {
        self.ending = true;
        self.drain(now);
        for sink in &mut self.sinks {
            sink.abandon(DropReason::Shutdown);
        }
        self.publish(now, true);
        self.console.step(now);
        self.shared.asks.end(verdict);
    }
}

fn read_clocks() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Now { instant: Instant::now(), unix_seconds: unix.map_or(0, |elapsed| elapsed.as_secs()) }
}
