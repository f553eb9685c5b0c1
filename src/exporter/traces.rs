//! Spans on their way to their sinks: encoded once for all sinks of equal limits that want them.

use std::time::Instant;

use super::select::{count_masks, expect, groups, push, selections};
use super::sink::Sink;
use crate::batch::{Batch, Lookup};
use crate::encode::otlp::trace::TraceEncoder;
use crate::limits::SpanLimits;

/// Bit `i` of a span's mask is sink `i`.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// Sinks of equal limits, a bit each.
    groups: Vec<(SpanLimits, u16)>,
    encoder: TraceEncoder,
    /// Of the batch in hand.
    masks: Vec<(u16, u64)>,
}

impl Traces {
    /// For sinks of these limits.
    pub(super) fn new(limits: &[SpanLimits]) -> Self {
        Self { groups: groups(limits), encoder: TraceEncoder::default(), masks: Vec::new() }
    }

    /// Tells each sink how many of the batch's spans it is to get.
    pub(super) fn expect(&mut self, batch: &Batch, sinks: &mut [Sink]) {
        self.masks = count_masks(batch.spans().map(|span| span.header.mask));
        expect(&self.masks, sinks);
    }

    /// After [`Traces::expect`]. `since`: no record of the batch is older.
    pub(super) fn hand_over(
        &mut self,
        batch: &Batch,
        lookup: Lookup<'_>,
        since: Instant,
        sinks: &mut [Sink],
    ) {
        for (limits, members) in &self.groups {
            for (select, wanting) in selections(&self.masks, *members) {
                let chunk = self.encoder.encode(batch, |mask| select.holds(mask), limits, lookup);
                push(chunk, wanting, since, sinks);
            }
        }
    }

    /// After a panic.
    pub(super) fn recover(&mut self) {
        self.encoder = TraceEncoder::default();
    }
}
