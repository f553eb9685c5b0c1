//! The series of one stream: from canonical attributes to a cell, up to the stream's limit, and from cells to points.
//! Allocates when a series begins and for the points of a collection.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::exemplars::Reservoir;
use super::{Data, Exemplar, Metric, Point, Value};
use crate::accumulate::{Cell, overflow_attributes};
use crate::clock::Timeline;
use crate::config::Temporality;
use crate::instruments::{Aggregation, Instrument, Stream};
use crate::record::{InstrumentKind, Number};

/// In place of an index: the series for what is beyond the limits.
pub(super) const OVERFLOW: u32 = u32::MAX;
/// Bytes that a stream's attribute sets take on average at most; more is beyond the limits too.
const ATTRIBUTE_BYTES: usize = 4096;

/// One attribute set of a stream.
#[derive(Debug)]
pub(super) struct Series {
    attributes: Arc<[u8]>,
    /// What was measured.
    pub(super) cell: Cell,
    /// Made at the first candidate.
    exemplars: Option<Box<Reservoir>>,
}

impl Series {
    fn new(stream: &Stream, attributes: Arc<[u8]>) -> Self {
        Self { attributes, cell: Cell::new(&stream.aggregation), exemplars: None }
    }

    /// Offers an example; `left_out` yields the attributes that the stream does not keep.
    pub(super) fn offer(&mut self, seed: u32, candidate: Exemplar, left_out: impl FnOnce() -> Box<[u8]>) {
        let reservoir =
            self.exemplars.get_or_insert_with(|| Box::new(Reservoir::new(&self.cell, seed.into())));
        reservoir.offer(&self.cell, candidate, left_out);
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct StreamSeries {
    /// Points are changes since the last collection.
    delta: bool,
    /// Series end with each collection.
    pub(super) anew: bool,
    /// In the order in which they began.
    series: Vec<Series>,
    by_attributes: HashMap<Arc<[u8]>, u32, RandomState>,
    attribute_bytes: usize,
    /// `None` until something is beyond the limits.
    overflow: Option<Box<Series>>,
    /// Of observed totals that are exported as changes.
    exported: Option<Exported>,
}

/// Between two collections, and all before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window<'a> {
    /// When the first window began, Unix nanoseconds.
    pub(super) first_unix_nano: u64,
    /// When this one began.
    pub(super) start_unix_nano: u64,
    /// When it ends.
    pub(super) end_unix_nano: u64,
    /// Ticks to Unix time.
    pub(super) timeline: &'a Timeline,
}

/// OpenTelemetry's table.
fn is_delta(temporality: Temporality, kind: InstrumentKind) -> bool {
    use InstrumentKind::{Counter, Histogram, ObservableCounter};
    match temporality {
        Temporality::Cumulative => false,
        Temporality::Delta => matches!(kind, Counter | ObservableCounter | Histogram),
        Temporality::LowMemory => matches!(kind, Counter | Histogram),
    }
}

impl StreamSeries {
    /// No series yet.
    pub(super) fn new(stream: &Stream, kind: InstrumentKind, temporality: Temporality) -> Self {
        let delta = is_delta(temporality, kind);
        let observed = kind.is_observable();
        let anew = match stream.aggregation {
            // Every observation is a total: what was there before says nothing any more.
            Aggregation::Sum { .. } => delta || observed,
            Aggregation::LastValue => temporality == Temporality::Delta || observed,
            Aggregation::Explicit { .. } | Aggregation::Exponential { .. } => delta,
        };
        let changes = delta && observed && matches!(stream.aggregation, Aggregation::Sum { .. });
        Self {
            delta,
            anew,
            series: Vec::new(),
            by_attributes: HashMap::default(),
            attribute_bytes: 0,
            overflow: None,
            exported: changes.then(Exported::default),
        }
    }

    /// The series with these attributes (canonical form), begun if need be; [`OVERFLOW`] beyond the limits.
    pub(super) fn find_or_begin(&mut self, stream: &Stream, attributes: &[u8]) -> u32 {
        if let Some(index) = self.by_attributes.get(attributes) {
            return *index;
        }
        let limit = stream.cardinality_limit.min(OVERFLOW as usize);
        let bytes = self.attribute_bytes + attributes.len();
        // The overflow series counts.
        if self.series.len() + 1 >= limit || bytes > limit.saturating_mul(ATTRIBUTE_BYTES) {
            return OVERFLOW;
        }
        let index = self.series.len() as u32;
        let attributes: Arc<[u8]> = attributes.into();
        self.attribute_bytes = bytes;
        self.by_attributes.insert(attributes.clone(), index);
        self.series.push(Series::new(stream, attributes));
        index
    }

    /// The series at an index that [`StreamSeries::find_or_begin`] gave since the last collection that ended series.
    #[inline]
    pub(super) fn get(&mut self, stream: &Stream, index: u32) -> &mut Series {
        match self.series.get_mut(index as usize) {
            Some(series) => series,
            None => self.overflow.get_or_insert_with(|| Box::new(Series::new(stream, overflow_attributes()))),
        }
    }

    /// [`StreamSeries::get`] for what is no overflow.
    #[inline]
    pub(super) fn known(&mut self, index: u32) -> Option<&mut Series> {
        self.series.get_mut(index as usize)
    }

    /// How many series.
    fn len(&self) -> usize {
        self.series.len() + usize::from(self.overflow.is_some())
    }

    /// Attribute sets of series, and of totals that were exported.
    pub(super) fn held_sets(&self) -> usize {
        self.len() + self.exported.as_ref().map_or(0, |exported| exported.totals.len())
    }

    /// Hands out the points, if there are any, and begins the next window.
    pub(super) fn collect(
        &mut self,
        stream: &Stream,
        instrument: &Instrument,
        scope: u16,
        window: Window<'_>,
        each: &mut dyn FnMut(&Metric<'_>),
    ) {
        let delta = self.delta;
        let (data, start_unix_nano) = match stream.aggregation {
            Aggregation::LastValue => (Data::Gauge, 0),
            Aggregation::Sum { monotonic } => (Data::Sum { monotonic, delta }, window.start_of(delta)),
            Aggregation::Explicit { .. } => (Data::Histogram { delta }, window.start_of(delta)),
            Aggregation::Exponential { .. } => (Data::ExponentialHistogram { delta }, window.start_of(delta)),
        };
        let mut points = Vec::with_capacity(self.len());
        for series in self.series.iter_mut().chain(self.overflow.as_deref_mut()) {
            let value = match &mut series.cell {
                Cell::Sum(sum) => Value::Number(match &mut self.exported {
                    Some(exported) => exported.change(&series.attributes, sum.value()),
                    None => sum.value(),
                }),
                Cell::LastValue(last) => {
                    let Some(value) = last.value else { continue };
                    // The counter was reset: ticks from before would seem newer than all to come.
                    if window.timeline.unix_nano(last.ticks) > window.end_unix_nano {
                        last.ticks = 0;
                    }
                    Value::Number(value)
                }
                Cell::Explicit(histogram) => Value::Explicit(histogram),
                Cell::Exponential { histogram, .. } => Value::Exponential(histogram),
            };
            points.push(Point {
                attributes: &series.attributes,
                start_unix_nano,
                time_unix_nano: window.end_unix_nano,
                value,
                exemplars: series.exemplars.as_deref().map_or(&[], Reservoir::exemplars),
            });
        }
        if !points.is_empty() {
            let Stream { name, .. } = stream;
            let (description, unit) = (&instrument.definition.description, &instrument.definition.unit);
            each(&Metric { scope, name, description, unit, data, points });
        }
        self.begin_window(stream.cardinality_limit);
    }

    fn begin_window(&mut self, limit: usize) {
        if let Some(exported) = &mut self.exported {
            exported.begin_window(limit);
        }
        if self.anew {
            self.series.clear();
            self.by_attributes.clear();
            self.attribute_bytes = 0;
            self.overflow = None;
            return;
        }
        for series in self.series.iter_mut().chain(self.overflow.as_deref_mut()) {
            if let Some(exemplars) = &mut series.exemplars {
                exemplars.clear();
            }
        }
    }
}

impl Window<'_> {
    fn start_of(&self, delta: bool) -> u64 {
        if delta { self.start_unix_nano } else { self.first_unix_nano }
    }
}

/// The last totals that were exported as changes. Sets that were not observed are remembered, so that one missed
/// observation does not count everything again; while there are too many, only those of the last window.
#[derive(Debug, Default)]
struct Exported {
    /// Total, and the window it was exported in.
    totals: HashMap<Arc<[u8]>, (Number, u64), RandomState>,
    window: u64,
}

impl Exported {
    /// From the last total to this one. A lower one began at zero again.
    fn change(&mut self, attributes: &Arc<[u8]>, total: Number) -> Number {
        match self.totals.insert(attributes.clone(), (total, self.window)) {
            Some((last, _)) => difference(total, last),
            None => total,
        }
    }

    fn begin_window(&mut self, limit: usize) {
        if self.totals.len() > limit {
            self.totals.retain(|_, (_, window)| *window == self.window);
        }
        self.window += 1;
    }
}

fn difference(total: Number, last: Number) -> Number {
    match (total, last) {
        (Number::Int(total), Number::Int(last)) if total < last => Number::Int(total),
        (Number::Int(total), Number::Int(last)) => {
            total.checked_sub(last).map_or(Number::Double(total as f64 - last as f64), Number::Int)
        }
        _ if total.as_f64() < last.as_f64() => total,
        _ => Number::Double(total.as_f64() - last.as_f64()),
    }
}
