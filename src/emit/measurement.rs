//! Measurements: one record each. While the thread's lane is full they are folded into cells under a short lock that the
//! exporter takes too, so none is lost.

use std::sync::Arc;

use super::{SpanIds, Thread};
use crate::accumulate::Fold;
use crate::ids::SpanId;
use crate::record::{Header, Number, StrId, kind};

/// What a recording call knows.
#[derive(Debug, Clone, Copy)]
pub struct Measurement {
    /// The instrument's id in the thread's session.
    pub instrument: u32,
    /// Its bound attributes, 0 for none.
    pub binding: u32,
    /// Finite unless the instrument is a gauge.
    pub value: Number,
    /// For exemplars: the span it is made in, if the instrument wants to know.
    pub span: SpanIds,
    /// Ticks; 0 where the time does not matter (no gauge, no exemplar).
    pub ticks: u64,
}

impl Thread {
    /// Records a measurement with its attribute items (empty with a binding). Never loses it.
    #[inline(always)]
    pub fn measure(&mut self, measurement: &Measurement, attributes: &[u8]) {
        let (detail, bits) = measurement.value.to_bits();
        let header = Header {
            kind: kind::MEASUREMENT,
            detail,
            mask: 0,
            payload_bytes: attributes.len() as u32,
            name: StrId(measurement.instrument),
            scope: 0,
            flags: u16::from(measurement.span.flags),
            trace_id: measurement.span.trace_id,
            span_id: measurement.span.span_id,
            parent_span_id: SpanId(u64::from(measurement.binding).to_ne_bytes()),
            start: measurement.ticks,
            end: bits,
        };
        if self.producer.push_within(&header, attributes).is_err() {
            self.fold(*measurement, attributes);
        }
    }

    #[cold]
    #[inline(never)]
    fn fold(&mut self, measurement: Measurement, attributes: &[u8]) {
        let Some(instrument) = self.intake.instruments.get(measurement.instrument) else { return };
        let Measurement { binding, value, ticks, .. } = measurement;
        self.own_fold().record(&instrument, binding, attributes, value, ticks);
    }

    /// Records measurements that differ in value only, of an instrument that is no gauge: past the lane, which they would
    /// fill, at a few nanoseconds each. They leave no exemplar.
    pub fn measure_many(
        &mut self,
        measurement: &Measurement,
        attributes: &[u8],
        values: impl Iterator<Item = Number>,
    ) {
        if let Some(instrument) = self.intake.instruments.get(measurement.instrument) {
            self.own_fold().record_all(&instrument, measurement.binding, attributes, values);
        }
    }

    fn own_fold(&mut self) -> &Fold {
        self.fold.get_or_insert_with(|| {
            let fold = Arc::new(Fold::default());
            self.intake.folds.add(fold.clone());
            fold
        })
    }
}
