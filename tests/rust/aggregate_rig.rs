//! A series table with its instruments, recorded into as the exporter does, and its collections copied out.

use std::sync::Arc;

use bytemuck::Zeroable;
use pytracingx::accumulate::{ExplicitHistogram, ExponentialHistogram, Fold};
use pytracingx::aggregate::{Data, Exemplar, Table, Value};
use pytracingx::attrs::{self, Items, Text, Value as Attribute};
use pytracingx::batch::{Batch, Lookup};
use pytracingx::clock::Timeline;
use pytracingx::config::{ExemplarFilter, HistogramAggregation, Temporality, View, ViewAggregation};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::instruments::{Definition, Instrument, Instruments};
use pytracingx::intern::{Interner, Scope};
use pytracingx::record::InstrumentKind::{self, Histogram};
use pytracingx::record::{Header, Number, StrId, kind};
use pytracingx::tally::Tallies;

use Number::{Double, Int};

/// When tables begin.
pub(crate) const START: u64 = 1_000;

pub(crate) struct Rig {
    pub(crate) instruments: Arc<Instruments>,
    pub(crate) strings: Interner,
    pub(crate) timeline: Timeline,
    pub(crate) table: Table,
}

/// A point, copied out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) attributes: String,
    pub(crate) start: u64,
    pub(crate) time: u64,
    pub(crate) value: Measured,
    pub(crate) exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Measured {
    Number(Number),
    Explicit(ExplicitHistogram),
    Exponential(ExponentialHistogram),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Metric {
    pub(crate) scope: u16,
    pub(crate) name: String,
    pub(crate) data: Data,
    pub(crate) points: Vec<Point>,
}

impl Metric {
    /// Attributes and values.
    pub(crate) fn numbers(&self) -> Vec<(&str, Number)> {
        let number = |point: &Point| match point.value {
            Measured::Number(number) => number,
            _ => panic!("{point:?} is no number"),
        };
        self.points.iter().map(|point| (&*point.attributes, number(point))).collect()
    }

    pub(crate) fn explicit(&self) -> &ExplicitHistogram {
        let Measured::Explicit(histogram) = &self.points[0].value else { panic!("{:?}", self.points) };
        histogram
    }
}

/// A measurement outside of spans.
pub(crate) fn measurement(instrument: &Instrument, value: Number) -> Header {
    let (detail, end) = match value {
        Int(value) => (0, value as u64),
        Double(value) => (1, value.to_bits()),
    };
    let name = StrId(instrument.id);
    Header { kind: kind::MEASUREMENT, detail, name, end, ..Header::zeroed() }
}

pub(crate) fn inside_span(header: Header, ticks: u64, trace: u8) -> Header {
    Header { start: ticks, trace_id: TraceId([trace; 16]), span_id: SpanId([trace; 8]), ..header }
}

pub(crate) fn bound(header: Header, binding: u32) -> Header {
    Header { parent_span_id: SpanId(u64::from(binding).to_ne_bytes()), ..header }
}

pub(crate) fn definition(name: &str, kind: InstrumentKind) -> Definition {
    Definition {
        scope: Scope::default(),
        name: name.into(),
        unit: String::new(),
        description: String::new(),
        kind,
        boundaries: (kind == Histogram).then(|| vec![0.0, 10.0, 100.0]),
        exponential_max_size: None,
    }
}

pub(crate) fn view(instrument: &str) -> View {
    View {
        instrument_name: Some(instrument.into()),
        meter_name: None,
        instrument_kind: None,
        unit: None,
        name: None,
        attribute_keys: None,
        aggregation: ViewAggregation::Default,
        cardinality_limit: None,
    }
}

pub(crate) fn keeping(instrument: &str, keys: &[&str]) -> View {
    View { attribute_keys: Some(keys.iter().map(|key| (*key).into()).collect()), ..view(instrument) }
}

/// Attributes with inline keys and integer values.
pub(crate) fn items(attributes: &[(&str, i64)]) -> Vec<u8> {
    let mut items = Vec::new();
    for (key, value) in attributes {
        attrs::put_attribute(&mut items, Text::Inline(key.as_bytes()), Attribute::Int(*value));
    }
    items
}

pub(crate) fn describe(items: &[u8]) -> String {
    let describe = |attribute: attrs::Attribute<'_>| {
        let Text::Inline(key) = attribute.key else { panic!("an interned key") };
        let value = match attribute.value {
            Attribute::Int(value) => value.to_string(),
            Attribute::Map(items) => format!("{{{}}}", describe(items.as_bytes())),
            other => format!("{other:?}"),
        };
        format!("{}={value}", std::str::from_utf8(key).unwrap())
    };
    Items::new(items).attributes().map(describe).collect::<Vec<_>>().join(" ")
}

impl Rig {
    pub(crate) fn new(temporality: Temporality) -> Self {
        Self::with(temporality, Vec::new(), ExemplarFilter::default())
    }

    pub(crate) fn with(temporality: Temporality, views: Vec<View>, exemplars: ExemplarFilter) -> Self {
        let instruments = Arc::new(Instruments::new(views, HistogramAggregation::default(), exemplars));
        Self {
            table: Table::new(instruments.clone(), temporality, START),
            instruments,
            strings: Interner::default(),
            timeline: Timeline::identity(),
        }
    }

    pub(crate) fn instrument(&self, name: &str, kind: InstrumentKind) -> Arc<Instrument> {
        self.instruments.register(&definition(name, kind)).unwrap()
    }

    /// Records by way of a batch, as the exporter does.
    pub(crate) fn put(&mut self, header: Header, items: &[u8]) {
        let mut batch = Batch::default();
        batch.push(header, items);
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        batch.measurements().for_each(|record| self.table.record(record, lookup));
    }

    pub(crate) fn record(&mut self, instrument: &Instrument, value: Number, attributes: &[(&str, i64)]) {
        self.put(measurement(instrument, value), &items(attributes));
    }

    pub(crate) fn fold(&mut self, fold: &Fold) {
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        fold.take().entries.iter().for_each(|entry| self.table.fold_entry(entry, lookup));
    }

    pub(crate) fn take(&mut self, tallies: &Tallies) {
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let mut taken = Vec::new();
        tallies.take(&mut taken);
        taken.iter().for_each(|taken| self.table.add(taken, lookup));
    }

    pub(crate) fn collect(&mut self, now: u64) -> Vec<Metric> {
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let mut metrics = Vec::new();
        self.table.collect(now, lookup, &mut |metric| {
            let points = metric.points.iter().map(|point| Point {
                attributes: describe(point.attributes),
                start: point.start_unix_nano,
                time: point.time_unix_nano,
                value: match point.value {
                    Value::Number(number) => Measured::Number(number),
                    Value::Explicit(histogram) => Measured::Explicit(histogram.clone()),
                    Value::Exponential(histogram) => Measured::Exponential(histogram.clone()),
                },
                exemplars: point.exemplars.to_vec(),
            });
            let points = points.collect();
            metrics.push(Metric { scope: metric.scope, name: metric.name.into(), data: metric.data, points });
        });
        metrics
    }

    /// The only metric of a collection.
    pub(crate) fn only(&mut self, now: u64) -> Metric {
        let mut metrics = self.collect(now);
        assert_eq!(metrics.len(), 1, "{metrics:?}");
        metrics.remove(0)
    }
}
