//! The exporter thread: one wait, then drain, encode, step every sink, and again.
//!
//! It never touches Python, runs no signal handler, and blocks in `poll` only. The locks that it shares with recording
//! threads are those of their rare calls: an instrument's first use, a measurement that found its lane full. A panic in
//! a turn is a bug of ours that costs the records in hand, counted, not the thread.
//!
//! ```text
//!   ┌─► wait: sockets, wake-up, the earliest due time
//!   │   drain all lanes ─► Batch ─► redact ─► traces, logs: encode once for each set of sinks ─► Part in each sink
//!   │                                    └──► metrics: series tables ─► at a collection: encode ─► Part in each sink
//!   │   step sinks ─► write stderr ─► publish the books ─► answer flushes
//!   └───┘
//! ```
//!
//! Each drain is bounded by the lanes' own memory, each step by a number of requests, so under constant load every
//! sink has its turn.

mod backlog;
pub mod console;
pub mod dialect;
pub mod flush;
mod hand_over;
mod logs;
mod metrics;
mod parts;
pub mod pending;
pub mod request;
mod select;
mod self_metrics;
pub mod sink;
pub mod sls;
mod traces;

pub use hand_over::Stage;
pub use logs::LogForm;
pub use parts::{Parts, Reading, Recorded, Shared, Sinks};

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use self::backlog::Backlog;
use self::console::Console;
use self::flush::{Ask, Before, Flush, Goal};
use self::hand_over::{InHand, Probe};
use self::logs::Logs;
use self::metrics::Metrics;
use self::request::{Now, Scratch, after};
use self::sink::Sink;
use self::traces::Traces;
use crate::batch::Lookup;
use crate::clock::Timeline;
use crate::diagnostics::Diagnostics;
use crate::intern::Interner;
use crate::lane::Drainer;
use crate::redact::Redactor;
use crate::stats::{LaneStats, RecordingCounters, Snapshot};
use crate::sys::poll::{PollFd, wait};
use crate::sys::signals;

/// Lanes are drained at least so often: when nothing was recorded lately, when something was, while the console shows
/// spans. Producers wake the exporter before their lane is full.
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
/// Handing records over takes so much of a turn, and a batch more at most, a collection as much again, and an instrument
/// more; the rest follows in the next turn, so that no sink waits for the records of others. Each its own: records that
/// never end leave a collection its share.
const WORK_PER_TURN: Duration = Duration::from_millis(10);
/// Between a panic and the next turn.
const PANIC_PAUSE: Duration = Duration::from_millis(50);

/// Starts the thread.
///
/// # Errors
/// The operating system's, when it has no thread to give.
pub fn start(parts: Parts, shared: Arc<Shared>) -> io::Result<JoinHandle<()>> {
    // Here, not on the thread: no record is older than the timeline, no measurement older than the first window.
    let (timeline, began) = (Timeline::new(), Now::read());
    let run = move || {
        let end = EndOnDrop(&shared);
        Exporter::new(parts, &shared, timeline, began).run();
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
    counters: Arc<RecordingCounters>,
    timeline: Timeline,
    redactor: Option<Redactor>,
    traces: Traces,
    metrics: Metrics,
    logs: Logs,
    /// Those of traces, then those of metrics, then those of logs.
    sinks: Vec<Sink>,
    /// How many of `sinks` are of traces, and of traces or metrics.
    ends: [usize; 2],
    console: Console,
    diagnostics: Diagnostics,
    /// Flushes that wait for the collection under way, and what was lost before them.
    waiting: Vec<(Ask, Before)>,
    flushes: Vec<Flush>,
    stats: Snapshot,
    last_drain: Instant,
    last_record: Instant,
    streaming: bool,
    shrunk: bool,
    backlog: Backlog,
    /// Taken from the backlog.
    in_hand: Option<InHand>,
    probe: Probe,
    /// Steps first.
    first_sink: usize,
    // Empty between turns, kept for their memory.
    fds: Vec<PollFd>,
    /// Index into `fds` of each sink's descriptor.
    sink_fds: Vec<Option<usize>>,
    scratch: Scratch,
}

impl<'a> Exporter<'a> {
    fn new(parts: Parts, shared: &'a Shared, timeline: Timeline, now: Now) -> Self {
        let sinks = (parts.sinks)();
        let (span_limits, traces): (Vec<_>, Vec<_>) = sinks.traces.into_iter().unzip();
        let (readings, metrics): (Vec<_>, Vec<_>) = sinks.metrics.into_iter().unzip();
        let (log_forms, logs): (Vec<_>, Vec<_>) = sinks.logs.into_iter().unzip();
        let ends = [traces.len(), traces.len() + metrics.len()];
        let mut sinks: Vec<Sink> = traces.into_iter().chain(metrics).chain(logs).collect();
        if parts.sdk_metrics {
            sinks.iter_mut().for_each(Sink::keep_operations);
        }
        let mut console = parts.console;
        for warning in &parts.warnings {
            console.say(format_args!("pytracingx: {warning}"));
        }
        let console_interval = console.shows_metrics().then_some(parts.console_interval);
        Self {
            shared,
            drainer: parts.drainer,
            strings: parts.strings,
            counters: parts.counters,
            timeline,
            redactor: parts.redactor,
            traces: Traces::new(&span_limits),
            metrics: Metrics::new(parts.recorded, &readings, console_interval, parts.sdk_metrics, now),
            logs: Logs::new(parts.log_routes, &log_forms),
            diagnostics: Diagnostics::new(parts.diagnostics, sinks.len()),
            sinks,
            ends,
            console,
            waiting: Vec::new(),
            flushes: Vec::new(),
            stats: shared.stats(),
            last_drain: now.instant,
            last_record: now.instant,
            streaming: false,
            shrunk: false,
            backlog: Backlog::new(now.instant),
            in_hand: None,
            probe: Probe(parts.probe),
            first_sink: 0,
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
                Err(_) => {
                    self.recover();
                    if self.is_overdue() {
                        return self.end(false, Instant::now());
                    }
                    thread::sleep(PANIC_PAUSE);
                }
            }
        }
    }

    /// It should have ended by now. Only to be asked after a panic: a turn itself settles the books at the end.
    fn is_overdue(&self) -> bool {
        let waiting = self.waiting.iter().map(|(ask, _)| ask);
        let mut asks = waiting.chain(self.flushes.iter().map(|flush| &flush.ask));
        let now = Instant::now();
        asks.any(|ask| ask.is_overdue_end(now)) || self.shared.asks.has_overdue_end(now)
    }

    fn turn(&mut self) -> Flow {
        self.wait();
        let now = Now::read();
        let until = now.instant + WORK_PER_TURN;
        if self.has_caught_up() {
            // Also while nothing is recorded: a wall clock that is set then is right for the next record.
            self.timeline.refresh();
            if !self.metrics.is_handing_out() {
                self.take_asks(now.instant);
                self.metrics.begin_due(now.instant);
                // Before the drain: what was recorded for the collection is then in it.
                if self.metrics.is_ready(now.instant) {
                    self.observe_self();
                    let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
                    self.metrics.begin_handing_out(now, lookup, &mut self.probe);
                }
            }
            self.drain(now.instant);
        }
        self.hand_over(until);
        if self.has_caught_up() {
            self.collect(now.instant, after(Instant::now(), WORK_PER_TURN));
            if self.metrics.is_idle() {
                while let Some((ask, before)) = self.waiting.pop() {
                    self.flushes.push(Flush::begin(ask, &mut self.sinks, before, now.instant));
                }
            }
        }
        self.step_sinks(now);
        self.publish(now.instant, false);
        self.console.step(now.instant);
        self.shrink_when_idle(now.instant);
        self.answer(now.instant)
    }

    /// The first one that finds no room for its body comes first in the next turn.
    fn step_sinks(&mut self, now: Now) {
        self.scratch.begin_turn();
        let count = self.sinks.len();
        let (first, mut first_refused) = (self.first_sink, None);
        for index in (first..count).chain(0..first) {
            let ready = self.sink_fds[index].is_some_and(|fd| self.fds[fd].ready);
            self.sinks[index].step(now, ready, &mut self.scratch);
            if self.scratch.take_refused() {
                first_refused.get_or_insert(index);
            }
        }
        self.first_sink = first_refused.unwrap_or_default();
    }

    /// A flush begins with a collection; one that ends the session finds the observable instruments asked.
    fn take_asks(&mut self, now: Instant) {
        for ask in self.shared.asks.take() {
            self.metrics.begin_all(ask.goal == Goal::Flush, ask.deadline, now);
            let lost = self.sinks.iter_mut().map(|sink| sink.stats().undelivered()).collect();
            self.waiting.push((ask, Before { lost, restarts: self.stats.exporter_restarts }));
        }
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
            self.fds.extend(interest.poll_fd());
        }
        due = due.min(self.console.due(now).unwrap_or(due));
        due = due.min(self.metrics.due().unwrap_or(due));
        for flush in &self.flushes {
            due = due.min(flush.ask.deadline);
        }
        let timeout = if !self.has_caught_up() || self.metrics.is_handing_out() {
            Duration::ZERO
        } else if self.streaming {
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
        let [traces, metrics] = self.ends;
        let batching = self.sinks[..traces].iter().chain(&self.sinks[metrics..]);
        let shortest_delay = batching.map(Sink::schedule_delay).min();
        shortest_delay.map_or(period, |delay| period.min((delay / 2).max(SHORTEST_PERIOD)))
    }

    fn publish(&mut self, now: Instant, last: bool) {
        let (lanes, bytes, bytes_max) = self.drainer.usage();
        self.stats.lanes = LaneStats { lanes, bytes, bytes_max };
        self.stats.measurements = self.metrics.stats();
        self.stats.refresh(&self.counters);
        let Snapshot { trace_sinks, metric_sinks, log_sinks, .. } = &mut self.stats;
        let published = trace_sinks.iter_mut().chain(metric_sinks).chain(log_sinks);
        for (published, sink) in published.zip(&mut self.sinks) {
            published.clone_from(sink.stats());
        }
        let console = &mut self.console;
        for warning in self.metrics.warnings() {
            self.diagnostics.tell(&warning, &mut |line| console.say(line));
        }
        self.diagnostics.look(&self.stats, now, last, &mut |line| console.say(line));
        self.stats.console = self.console.stats();
        self.shared.publish(&self.stats);
    }

    fn shrink_when_idle(&mut self, now: Instant) {
        if !self.shrunk && now.saturating_duration_since(self.last_record) >= SHRINK_AFTER {
            self.drainer.shrink();
            self.backlog.shrink();
            self.scratch = Scratch::default();
            self.shrunk = true;
        }
    }

    fn answer(&mut self, now: Instant) -> Flow {
        let mut end = None;
        let restarts = self.stats.exporter_restarts;
        self.flushes.retain(|flush| {
            let verdict = flush.verdict(&mut self.sinks, &self.console, restarts, now);
            match verdict {
                Some(verdict) if flush.ask.goal == Goal::Flush => {
                    self.shared.asks.answer(&flush.ask, verdict)
                }
                Some(verdict) => end = end.or(Some(verdict)),
                None => {}
            }
            verdict.is_none()
        });
        match end {
            None => Flow::Continue,
            Some(verdict) => {
                self.end(verdict, now);
                Flow::End
            }
        }
    }
}
