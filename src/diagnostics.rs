//! What we say about ourselves: one line when a loss begins and one when it ends, the same for an endpoint that cannot
//! be reached, and for what callers give that cannot be taken as it is. Reads nothing but [`Snapshot`]s and writes to whatever it is given; no thread, clock or I/O of its own.

use std::fmt;
use std::time::{Duration, Instant};

use crate::stats::{DropCounts, DropReason, SinkStats, Snapshot};

/// A loss has ended when nothing was lost for so long.
const QUIET: Duration = Duration::from_secs(10);
/// The same beginning is told at most so often.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// Failures in a row after which an endpoint is said to be out of reach.
const FAILING_AFTER: u32 = 3;

/// Watches the counters of one session.
#[derive(Debug, Default)]
pub struct Diagnostics {
    enabled: bool,
    span_lanes: [Trouble; DropReason::ALL.len()],
    log_lanes: [Trouble; DropReason::ALL.len()],
    oddities: [Trouble; ODDITIES.len()],
    /// Those of traces, of metrics, of logs.
    sinks: Vec<SinkTroubles>,
}

/// Something given that is not taken as it is: how often, what is said while it goes on, and what when it is over, around
/// the number.
struct Oddity {
    count: fn(&Snapshot) -> u64,
    now: &'static str,
    then: [&'static str; 2],
}

const ODDITIES: [Oddity; 6] = [
    Oddity {
        count: |stats| stats.measurements.negative,
        now: "ignoring negative measurements of counters or histograms",
        then: ["ignored", "negative measurements of counters or histograms"],
    },
    Oddity {
        count: |stats| stats.measurements.not_finite,
        now: "ignoring measurements that are NaN or infinite",
        then: ["ignored", "measurements that were NaN or infinite"],
    },
    Oddity {
        count: |stats| stats.measurements.not_a_number,
        now: "ignoring measurements that are no numbers",
        then: ["ignored", "measurements that were no numbers"],
    },
    Oddity {
        count: |stats| stats.measurements.overflowed,
        now: "a stream is beyond its cardinality limit: measurements join the series otel.metric.overflow=true",
        then: ["put", "measurements beyond a cardinality limit into the series otel.metric.overflow=true"],
    },
    Oddity {
        count: |stats| stats.unusable_times,
        now: "taking the present for times that are no integer Unix nanoseconds",
        then: ["took the present for", "times that were no integer Unix nanoseconds"],
    },
    Oddity {
        count: |stats| stats.baggage_left_out,
        now: "leaving out baggage that does not fit, or is no text under a valid key",
        then: ["left out", "entries of baggage that did not fit, or were no text under a valid key"],
    },
];

#[derive(Debug, Clone, Default)]
struct SinkTroubles {
    losses: [Trouble; DropReason::ALL.len()],
    reach: Trouble,
}

/// Something that begins, goes on and ends.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    /// The count at the last look.
    seen: u64,
    /// The count when it began, and the last time it grew.
    active: Option<(u64, Instant)>,
    /// Its beginning was told.
    told: bool,
    last_told: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Began,
    /// `told`: the beginning was.
    Ended {
        count: u64,
        told: bool,
    },
}

impl Trouble {
    /// Notes how often it has happened by now. It ends when `over`.
    fn look(&mut self, count: u64, now: Instant, over: impl FnOnce(Instant) -> bool) -> Option<Turn> {
        if count > self.seen {
            let began = self.active.map_or(self.seen, |(began, _)| began);
            self.active = Some((began, now));
            self.seen = count;
        }
        let (began, last) = self.active?;
        let over = over(last);
        let told = self.told;
        if over {
            (self.active, self.told) = (None, false);
        }
        if !told {
            if self.last_told.is_some_and(|last| now.duration_since(last) < SAY_AGAIN) {
                return None;
            }
            self.last_told = Some(now);
        }
        if over {
            return Some(Turn::Ended { count: self.seen - began, told });
        }
        self.told = true;
        (!told).then_some(Turn::Began)
    }
}

impl Diagnostics {
    /// `enabled` false: never says anything.
    pub fn new(enabled: bool, sinks: usize) -> Self {
        Self { enabled, sinks: vec![SinkTroubles::default(); sinks], ..Self::default() }
    }

    /// Says a line that is told once.
    pub fn tell(&self, line: &str, say: &mut dyn FnMut(fmt::Arguments<'_>)) {
        if self.enabled {
            say(format_args!("pytracingx: {line}"));
        }
    }

    /// Compares with the last look; each line, without a line end, goes to `say`. `last`: the session ends, so the
    /// losses that go on end too.
    pub fn look(
        &mut self,
        stats: &Snapshot,
        now: Instant,
        last: bool,
        say: &mut dyn FnMut(fmt::Arguments<'_>),
    ) {
        if !self.enabled {
            return;
        }
        let look = Look { now, last };
        let on_the_way = "on their way to the exporter";
        look.at_losses(&mut self.span_lanes, &stats.spans_dropped, SPANS, on_the_way, "", say);
        look.at_losses(&mut self.log_lanes, &stats.logs_dropped, LOG_RECORDS, on_the_way, "", say);
        for (trouble, oddity) in self.oddities.iter_mut().zip(&ODDITIES) {
            let [before, after] = oddity.then;
            match trouble.look((oddity.count)(stats), now, look.is_over()) {
                Some(Turn::Began) => say(format_args!("pytracingx: {}", oddity.now)),
                Some(Turn::Ended { count, .. }) => say(format_args!("pytracingx: {before} {count} {after}")),
                None => {}
            }
        }
        let sinks = [
            (SPANS, &stats.trace_sinks),
            (DATA_POINTS, &stats.metric_sinks),
            (LOG_RECORDS, &stats.log_sinks),
        ];
        let sinks = sinks.into_iter().flat_map(|(what, sinks)| sinks.iter().map(move |sink| (what, sink)));
        for (troubles, (what, sink)) in self.sinks.iter_mut().zip(sinks) {
            look.at_sink(troubles, sink, what, say);
        }
    }
}

// What a line is about: sinks of all signals often share an endpoint, and its path is not shown.
const SPANS: &str = "spans";
const DATA_POINTS: &str = "data points";
const LOG_RECORDS: &str = "log records";

struct Look {
    now: Instant,
    last: bool,
}

impl Look {
    fn is_over(&self) -> impl Fn(Instant) -> bool + Copy {
        let (now, last) = (self.now, self.last);
        move |since| last || now.duration_since(since) >= QUIET
    }

    fn at_sink(
        &self,
        sink: &mut SinkTroubles,
        stats: &SinkStats,
        what: &str,
        say: &mut dyn FnMut(fmt::Arguments<'_>),
    ) {
        let SinkStats { endpoint, held_records, .. } = stats;
        let error = stats.last_error.as_deref().unwrap_or("");
        let failures = if stats.failures_in_a_row >= FAILING_AFTER { stats.failures_in_a_row } else { 0 };
        sink.reach.seen = sink.reach.seen.min(failures.into());
        match sink.reach.look(failures.into(), self.now, |_| failures == 0) {
            Some(Turn::Began) => say(format_args!(
                "pytracingx: cannot export {what} to {endpoint}: {error}; retrying, {held_records} held"
            )),
            Some(Turn::Ended { told: true, .. }) => {
                say(format_args!("pytracingx: exporting {what} to {endpoint} again"))
            }
            _ => {}
        }
        // What is lost in the end is lost for a reason, which is told unless it has been.
        let error = if self.last && sink.reach.told { "" } else { error };
        self.at_losses(&mut sink.losses, &stats.dropped, what, &format!("for {endpoint}"), error, say);
    }

    fn at_losses(
        &self,
        losses: &mut [Trouble],
        counts: &DropCounts,
        what: &str,
        place: &str,
        error: &str,
        say: &mut dyn FnMut(fmt::Arguments<'_>),
    ) {
        let separator = if error.is_empty() { "" } else { ": " };
        let over = self.is_over();
        for (trouble, reason) in losses.iter_mut().zip(DropReason::ALL) {
            if reason == DropReason::Inherited {
                continue;
            }
            let (count, reason) = (counts.get(reason), reason.name());
            match trouble.look(count, self.now, over) {
                Some(Turn::Began) => {
                    say(format_args!("pytracingx: losing {what} {place}: {reason}{separator}{error}"));
                }
                Some(Turn::Ended { count, told: true }) => {
                    say(format_args!("pytracingx: lost {count} {what} {place}: {reason}"));
                }
                Some(Turn::Ended { count, told: false }) => {
                    say(format_args!("pytracingx: lost {count} {what} {place}: {reason}{separator}{error}"));
                }
                None => {}
            }
        }
    }
}
