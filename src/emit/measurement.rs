//! Measurements: one record each, or one for those of a moment. While the thread's lane is full they are folded into cells
//! under a short lock that the exporter takes too, so none is lost.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::{SpanIds, Thread};
use crate::accumulate::Fold;
use crate::ids::{FLAG_SAMPLED, SpanId};
use crate::record::shared::{MEASURED_MAX, Measured};
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

/// Measurements of one moment, with bound attributes, that will share a record.
#[derive(Debug)]
pub struct Together {
    span: SpanIds,
    ticks: u64,
    rows: ArrayVec<Measured, MEASURED_MAX>,
    /// Rows with a double, with the time, with the span.
    doubles: u16,
    timed: u16,
    in_span: u16,
}

impl Together {
    /// None yet, of this moment in this span.
    pub fn at(span: SpanIds, ticks: u64) -> Self {
        Self { span, ticks, rows: ArrayVec::new(), doubles: 0, timed: 0, in_span: 0 }
    }

    /// Those of this moment know their span: it is sampled.
    #[inline(always)]
    pub fn is_sampled(&self) -> bool {
        self.span.flags & FLAG_SAMPLED != 0
    }

    /// Adds one that knows the time, or not, and the span, or not. False if there is no room for it.
    #[inline(always)]
    pub fn add(
        &mut self,
        (instrument, binding): (u32, u32),
        value: Number,
        timed: bool,
        in_span: bool,
    ) -> bool {
        debug_assert!(binding != 0);
        let (detail, bits) = value.to_bits();
        let place = self.rows.len();
        let added = self.rows.try_push(Measured { instrument, binding, bits }).is_ok();
        if added {
            self.doubles |= u16::from(detail) << place;
            self.timed |= u16::from(timed) << place;
            self.in_span |= u16::from(in_span) << place;
        }
        added
    }
}

impl Thread {
    /// Records measurements, of which none is left. Never loses them.
    #[inline]
    pub fn measure_together(&mut self, together: &mut Together) {
        let &mut Together { span, ticks, ref rows, doubles, timed, in_span } = together;
        if rows.is_empty() {
            return;
        }
        let payload: &[u8] = bytemuck::cast_slice(rows);
        let header = Header {
            kind: kind::MEASUREMENTS,
            detail: 0,
            mask: doubles,
            payload_bytes: payload.len() as u32,
            name: StrId(u32::from(timed) | u32::from(in_span) << MEASURED_MAX),
            scope: 0,
            flags: u16::from(span.flags),
            trace_id: span.trace_id,
            span_id: span.span_id,
            parent_span_id: SpanId::NONE,
            start: ticks,
            end: 0,
        };
        if self.producer.push_within(&header, payload).is_err() {
            for (place, row) in rows.iter().enumerate() {
                let header = row.header(&header, place);
                let (instrument, binding) = (row.instrument, row.binding);
                let (value, ticks) = (header.number(), header.start);
                self.fold(Measurement { instrument, binding, value, span, ticks }, &[]);
            }
        }
        *together = Together::at(span, ticks);
    }

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
