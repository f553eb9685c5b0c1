//! From the lanes to the sinks, a batch at a time, and what a panic on the way costs: the records that the stage it
//! happened in had in hand, counted as `internal`. All other stages, and the next turn, go on where it was; nothing is
//! handed over twice, and nothing that was not redacted leaves.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::{Exporter, STREAM_BYTES};
use crate::batch::{Batch, Lookup};
use crate::record::kind;
use crate::stats::DropReason;

/// A step on the way; what a panic there costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing: what is not copied from the lanes yet, the next drain brings.
    Drain,
    /// One record of a batch, the one that is to be found.
    Record,
    /// The batch's spans and log records.
    Redaction,
    /// Its spans.
    Spans,
    /// Its log records.
    Logs,
    /// One measurement.
    Measurement,
    /// What the console shows of the batch.
    Console,
    /// The measurements of one attribute set that were folded.
    Fold,
    /// What was added to one tally.
    Tally,
    /// The points that the turn has encoded.
    Collection,
    /// Nothing, once the session is over: the end goes on.
    End,
}

/// [`super::Parts::probe`].
pub(super) struct Probe(pub(super) Option<Box<dyn FnMut(Stage) + Send>>);

impl Probe {
    #[inline]
    pub(super) fn at(&mut self, stage: Stage) {
        if let Some(probe) = &mut self.0 {
            probe(stage);
        }
    }
}

/// A batch between the backlog and the sinks.
pub(super) struct InHand {
    batch: Batch,
    since: Instant,
    /// Under way, or the next. All before are done with.
    stage: Stage,
    /// Measurements that are done with.
    measured: usize,
}

impl Exporter<'_> {
    /// Takes all that the lanes have. Only once what they had before is handed over.
    pub(super) fn drain(&mut self, now: Instant) {
        let bytes = self.backlog.drain(&mut self.drainer, self.last_drain, &mut self.probe);
        // Not before: what a panic left in the lanes is older.
        self.last_drain = now;
        self.metrics.fetch_folds();
        self.streaming = bytes >= STREAM_BYTES;
        if bytes > 0 {
            (self.last_record, self.shrunk) = (now, false);
            self.timeline.refresh();
        }
    }

    /// Hands over what was drained, batch by batch, until the time is up; what is then left follows in the next turn.
    pub(super) fn hand_over(&mut self, until: Instant) {
        while self.take_in_hand() {
            while self.next_stage() {}
            if Instant::now() >= until {
                break;
            }
        }
        if self.backlog.is_empty() && self.in_hand.is_none() {
            let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
            self.metrics.take_folds(until, lookup, &mut self.probe);
        }
    }

    /// The next batch, unless there is one.
    fn take_in_hand(&mut self) -> bool {
        if self.in_hand.is_none()
            && let Some((batch, since)) = self.backlog.next()
        {
            self.in_hand = Some(InHand { batch, since, stage: Stage::Record, measured: 0 });
        }
        self.in_hand.is_some()
    }

    /// One stage of the batch in hand. False: that was the last.
    fn next_stage(&mut self) -> bool {
        let Some(InHand { batch, since, stage, measured }) = &mut self.in_hand else { return false };
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let [traces, metrics] = self.ends;
        let under_way = *stage;
        match under_way {
            Stage::Spans => self.traces.expect(batch, &mut self.sinks[..traces]),
            Stage::Logs => self.logs.expect(batch, lookup, &mut self.sinks[metrics..]),
            _ => {}
        }
        if !matches!(under_way, Stage::Record | Stage::Measurement) {
            self.probe.at(under_way);
        }
        *stage = match under_way {
            Stage::Record => {
                while batch.has_more() {
                    self.probe.at(under_way);
                    batch.find_next();
                }
                self.backlog.hand_payloads_over(batch);
                self.stats.spans_recorded += batch.span_count() as u64;
                self.stats.logs_recorded += batch.log_count() as u64;
                Stage::Redaction
            }
            Stage::Redaction => {
                if let Some(redactor) = &mut self.redactor {
                    redactor.apply(batch, &self.strings);
                }
                Stage::Spans
            }
            Stage::Spans => {
                self.traces.hand_over(batch, lookup, *since, &mut self.sinks[..traces]);
                Stage::Logs
            }
            Stage::Logs => {
                self.logs.hand_over(batch, lookup, *since, &mut self.sinks[metrics..]);
                Stage::Measurement
            }
            Stage::Measurement => {
                self.metrics.take(batch, measured, lookup, &mut self.probe);
                Stage::Console
            }
            _ => {
                self.console.add_records(batch, |index| self.logs.is_for_console(index), lookup);
                let done = self.in_hand.take();
                done.into_iter().for_each(|done| self.backlog.give_back(done.batch));
                return false;
            }
        };
        true
    }

    /// All that was drained is handed over.
    pub(super) fn has_caught_up(&self) -> bool {
        self.backlog.is_empty() && self.in_hand.is_none() && self.metrics.has_no_folds()
    }

    pub(super) fn observe_self(&mut self) {
        let [traces, metrics] = self.ends;
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let (others, logs) = self.sinks.split_at_mut(metrics);
        let (traces, metrics) = others.split_at_mut(traces);
        self.metrics.observe_self(&self.stats, [traces, metrics, logs], lookup);
    }

    pub(super) fn collect(&mut self, now: Instant, until: Instant) {
        let [traces, metrics] = self.ends;
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let sinks = &mut self.sinks[traces..metrics];
        self.metrics.collect(now, until, lookup, &mut self.console, sinks, &mut self.probe);
    }

    /// After a panic: counts what it cost.
    pub(super) fn recover(&mut self) {
        self.stats.exporter_restarts += 1;
        self.traces.recover();
        self.logs.recover();
        self.metrics.recover();
        self.give_up_stage();
        for sink in &mut self.sinks {
            // One that panics again has settled its books before.
            let _ = catch_unwind(AssertUnwindSafe(|| sink.recover()));
        }
    }

    /// The batch goes on behind the stage that the panic was in. The sinks expect what that had in hand, and so count it.
    fn give_up_stage(&mut self) {
        let Some(InHand { batch, stage, .. }) = &mut self.in_hand else { return };
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let [traces, metrics] = self.ends;
        match stage {
            Stage::Record => {
                let (kind, count) =
                    batch.skip().map_or((0, 0), |header| (header.kind, header.count() as u64));
                match kind {
                    kind::SPAN | kind::COUNTED_SPANS => {
                        self.counters.spans_dropped.add(DropReason::Internal, count);
                    }
                    kind::LOG => self.counters.logs_dropped.add(DropReason::Internal, count),
                    kind::MEASUREMENT | kind::MEASUREMENTS => self.metrics.lose(count),
                    // The begin of a span, for the console. Or what was none of ours.
                    _ => {}
                }
            }
            Stage::Redaction => {
                self.traces.expect(batch, &mut self.sinks[..traces]);
                self.logs.expect(batch, lookup, &mut self.sinks[metrics..]);
                batch.forget_rewritten();
                *stage = Stage::Measurement;
            }
            Stage::Spans => *stage = Stage::Logs,
            Stage::Logs => *stage = Stage::Measurement,
            // With the next of them.
            Stage::Measurement => {}
            _ => self.in_hand = None,
        }
    }

    /// Whatever is left, and what was recorded while recording was being turned off, is counted as lost. However many
    /// panics it takes, the books are settled.
    pub(super) fn end(&mut self, verdict: bool, now: Instant) {
        let restarts = self.stats.exporter_restarts;
        self.survive(Self::catch_up);
        self.survive(|this| this.drain(now));
        self.survive(Self::catch_up);
        while !self.metrics.has_ended() {
            self.survive(|this| {
                let lookup = Lookup { strings: &this.strings, timeline: &this.timeline };
                this.metrics.end(lookup, &mut this.probe);
            });
        }
        for index in 0..self.sinks.len() {
            self.survive(|this| this.sinks[index].abandon(DropReason::Shutdown));
        }
        self.survive(|this| this.probe.at(Stage::End));
        self.survive(|this| this.publish(now, true));
        self.survive(|this| this.console.step(now));
        self.shared.asks.end(verdict && restarts == self.stats.exporter_restarts);
    }

    /// However long it takes. Each panic costs something that was left, and so brings the end nearer.
    fn catch_up(&mut self) {
        while !self.has_caught_up() {
            let now = Instant::now();
            self.survive(|this| this.hand_over(now));
        }
    }

    fn survive(&mut self, act: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            self.recover();
        }
    }
}
