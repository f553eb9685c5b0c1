//! Log records on their way to their sinks and to the console: each destination's filter and sampling decide per record,
//! then they are encoded once for all sinks of equal form that want them.

use std::time::Instant;

use super::select::{count_masks, expect, for_each, groups, push, selections};
use super::sink::Sink;
use crate::batch::{Batch, Lookup, RecordRef};
use crate::encode::otlp::logs::LogEncoder;
use crate::encode::sls::{Layout, LogGroupEncoder};
use crate::limits::LogLimits;
use crate::log_routes::{LogRoutes, MAX_DESTINATIONS};

/// What a sink's records look like. Sinks of equal form share their encoding.
#[derive(Debug, Clone, PartialEq)]
pub enum LogForm {
    /// OTLP, within these limits.
    Otlp(LogLimits),
    /// SLS, in these columns. It has the server's own limits only.
    Sls(Layout),
}

#[derive(Debug)]
enum Encoder {
    Otlp(LogLimits),
    Sls(Box<LogGroupEncoder>),
}

/// Bit `i` of a record's mask is sink `i`, the one after the last sink's is the console.
#[derive(Debug)]
pub(super) struct Logs {
    routes: LogRoutes,
    /// By scope index: each destination's lowest severity number.
    thresholds: Vec<Option<[u8; MAX_DESTINATIONS]>>,
    /// Sinks of equal form, a bit each.
    groups: Vec<(Encoder, u16)>,
    sinks: usize,
    /// Of all OTLP sinks.
    otlp: LogEncoder,
    /// By record of the batch in hand.
    masks: Vec<u16>,
    /// The distinct ones among them.
    counts: Vec<(u16, u64)>,
}

impl Logs {
    /// For sinks of these forms.
    pub(super) fn new(routes: LogRoutes, forms: &[LogForm]) -> Self {
        let encoder = |form| match form {
            LogForm::Otlp(limits) => Encoder::Otlp(limits),
            LogForm::Sls(layout) => Encoder::Sls(Box::new(LogGroupEncoder::new(layout))),
        };
        Self {
            routes,
            thresholds: Vec::new(),
            groups: groups(forms).into_iter().map(|(form, members)| (encoder(form), members)).collect(),
            sinks: forms.len(),
            otlp: LogEncoder::default(),
            masks: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// Asks each record's destinations, and tells each sink how many of the batch's records it is to get.
    pub(super) fn expect(&mut self, batch: &Batch, lookup: Lookup<'_>, sinks: &mut [Sink]) {
        let mut masks = std::mem::take(&mut self.masks);
        masks.clear();
        masks.extend(batch.logs().map(|record| self.mask(record, lookup)));
        self.counts = count_masks(masks.iter().copied());
        self.masks = masks;
        expect(&self.counts, sinks);
    }

    /// After [`Logs::expect`]. `since`: no record of the batch is older.
    pub(super) fn hand_over(
        &mut self,
        batch: &Batch,
        lookup: Lookup<'_>,
        since: Instant,
        sinks: &mut [Sink],
    ) {
        let Self { groups, otlp, masks, counts, .. } = self;
        for (encoder, members) in groups {
            for (select, wanting) in selections(counts, *members) {
                let wanted = |index: usize| select.holds(masks[index]);
                let chunk = match encoder {
                    Encoder::Otlp(limits) => otlp.encode(batch, wanted, limits, lookup),
                    Encoder::Sls(encoder) => {
                        let before = encoder.counts();
                        let chunk = encoder.encode(batch, wanted, &LogLimits::default(), lookup);
                        let changed = encoder.counts().since(before);
                        for_each(wanting, sinks, |sink| sink.count_fields(changed));
                        chunk
                    }
                };
                push(chunk, wanting, since, sinks);
            }
        }
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

    /// After a panic. An SLS encoder keeps nothing that one could leave half done.
    pub(super) fn recover(&mut self) {
        self.otlp = LogEncoder::default();
    }
}
