//! Log records on their way to their sinks and to the console: each destination's filter and sampling decide per record,
//! then they are encoded once for all sinks of equal limits that want them.

use std::time::Instant;

use super::select::{count_masks, expect, groups, push, selections};
use super::sink::Sink;
use crate::batch::{Batch, Lookup, RecordRef};
use crate::encode::otlp::logs::LogEncoder;
use crate::limits::LogLimits;
use crate::log_routes::{LogRoutes, MAX_DESTINATIONS};

/// Bit `i` of a record's mask is sink `i`, the one after the last sink's is the console.
#[derive(Debug)]
pub(super) struct Logs {
    routes: LogRoutes,
    /// By scope index: each destination's lowest severity number.
    thresholds: Vec<Option<[u8; MAX_DESTINATIONS]>>,
    /// Sinks of equal limits, a bit each.
    groups: Vec<(LogLimits, u16)>,
    sinks: usize,
    encoder: LogEncoder,
    /// By record of the batch in hand.
    masks: Vec<u16>,
}

impl Logs {
    /// For sinks of these limits.
    pub(super) fn new(routes: LogRoutes, limits: &[LogLimits]) -> Self {
        Self {
            routes,
            thresholds: Vec::new(),
            groups: groups(limits),
            sinks: limits.len(),
            encoder: LogEncoder::default(),
            masks: Vec::new(),
        }
    }

    /// `since`: no record of the batch is older.
    pub(super) fn hand_over(
        &mut self,
        batch: &Batch,
        lookup: Lookup<'_>,
        since: Instant,
        sinks: &mut [Sink],
    ) {
        let mut masks = std::mem::take(&mut self.masks);
        masks.clear();
        masks.extend(batch.logs().map(|record| self.mask(record, lookup)));
        let counts = count_masks(masks.iter().copied());
        expect(&counts, sinks);
        for (limits, members) in &self.groups {
            for (select, wanting) in selections(&counts, *members) {
                let chunk = self.encoder.encode(batch, |index| select.holds(masks[index]), limits, lookup);
                push(chunk, wanting, since, sinks);
            }
        }
        self.masks = masks;
    }

    /// Whether the console shows a record of the batch that was handed over last.
    pub(super) fn is_for_console(&self, index: usize) -> bool {
        self.masks.get(index).is_some_and(|mask| mask >> self.sinks & 1 == 1)
    }

    fn mask(&mut self, record: RecordRef<'_>, lookup: Lookup<'_>) -> u16 {
        let scope = record.header.scope;
        let at = usize::from(scope);
        if self.thresholds.len() <= at {
            self.thresholds.resize(at + 1, None);
        }
        let thresholds = self.thresholds[at]
            .get_or_insert_with(|| self.routes.thresholds(&lookup.strings.scope(scope).name));
        let severity = record.header.detail;
        let mut mask = 0;
        for (index, threshold) in thresholds.iter().enumerate() {
            mask |= u16::from(severity >= *threshold) << index;
        }
        mask & self.routes.sampled(record.header.trace_id)
    }

    /// After a panic.
    pub(super) fn recover(&mut self) {
        self.encoder = LogEncoder::default();
    }
}
