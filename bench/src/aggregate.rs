//! Aggregating: counter and histogram records of a batch into a series table, beside the straightforward way, a map from
//! the name and the sorted attributes. Each round ends with a collection, and its sum must be right.

use std::collections::HashMap;
use std::sync::Arc;

use pytracingx::aggregate::{Table, Value};
use pytracingx::attrs::{self, Items, Text, Value as Attribute};
use pytracingx::batch::{Batch, Lookup};
use pytracingx::clock::Timeline;
use pytracingx::config::Temporality;
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::instruments::{Definition, Instruments};
use pytracingx::intern::{Interner, Scope};
use pytracingx::record::{Header, InstrumentKind, Number, StrId, kind};

use crate::measure::{Candidate, Options, Report, compare};

/// Attribute sets that the records go round.
const SETS: usize = 64;
const OURS: &str = "ours: counter, one attribute";
const NAIVE: &str = "a map by texts: counter, one attribute";

pub fn run(options: Options) -> Report {
    let records = if options.check { 2 * SETS } else { 16 * 1024 };
    let instruments = Arc::new(Instruments::default());
    let strings = Interner::default();
    let key = strings.intern_now(b"http.route").expect("an empty table");
    let instrument = |name: &str, kind| {
        let definition = Definition {
            scope: Scope::default(),
            name: name.into(),
            unit: "1".into(),
            description: String::new(),
            kind,
            boundaries: None,
            exponential_max_size: (name == "exponential").then_some(160),
        };
        instruments.register(&definition).expect("an empty registry").id
    };
    let counter = instrument("counter", InstrumentKind::Counter);
    let histogram = instrument("histogram", InstrumentKind::Histogram);
    let exponential = instrument("exponential", InstrumentKind::Histogram);
    let sets: Vec<Vec<u8>> = (0..SETS).map(|set| route(key, set)).collect();
    let bindings: Vec<u32> =
        sets.iter().map(|set| instruments.bind(counter, set).expect("an empty registry")).collect();
    let batch = |instrument, attributes: bool, bound: bool| {
        let mut batch = Batch::default();
        for number in 0..records {
            let binding = if bound { bindings[number % SETS] } else { 0 };
            let items = if attributes { &sets[number % SETS][..] } else { &[] };
            batch.push(measurement(instrument, binding), items);
        }
        batch
    };
    let ours = |name, batch: Batch| {
        let mut table = Table::new(instruments.clone(), Temporality::Delta, 0);
        let timeline = Timeline::identity();
        let strings = &strings;
        Candidate::new(name, move || {
            let lookup = Lookup { strings, timeline: &timeline };
            batch.measurements().for_each(|record| table.record(record, lookup));
            let mut count = 0;
            table.collect(1, lookup, &mut |metric| {
                count += metric.points.iter().map(|point| counted(&point.value)).sum::<u64>();
            });
            assert_eq!(count, records as u64);
        })
    };
    let candidates = vec![
        ours("ours: counter", batch(counter, false, false)),
        ours("ours: counter, bound", batch(counter, false, true)),
        ours(OURS, batch(counter, true, false)),
        ours("ours: histogram", batch(histogram, false, false)),
        ours("ours: exponential histogram", batch(exponential, false, false)),
        naive(batch(counter, true, false), &instruments, &strings, records),
    ];
    compare("record", records, options, candidates, (OURS, NAIVE, 3.0))
}

fn naive<'a>(
    batch: Batch,
    instruments: &'a Instruments,
    strings: &'a Interner,
    records: usize,
) -> Candidate<'a> {
    let mut sums: HashMap<(String, Vec<(String, String)>), f64> = HashMap::new();
    Candidate::new(NAIVE, move || {
        for record in batch.measurements() {
            let instrument = instruments.get(record.header.name.0).expect("a known instrument");
            let mut attributes: Vec<_> = Items::new(record.payload)
                .attributes()
                .map(|attribute| (text(attribute.key, strings), format!("{:?}", attribute.value)))
                .collect();
            attributes.sort();
            *sums.entry((instrument.definition.name.clone(), attributes)).or_default() +=
                record.header.number().as_f64();
        }
        assert_eq!(sums.len(), SETS);
        assert_eq!(sums.drain().map(|(_, sum)| sum).sum::<f64>(), records as f64);
    })
}

fn text(key: Text<'_>, strings: &Interner) -> String {
    let bytes = match key {
        Text::Id(id) => strings.resolve(id),
        Text::Inline(bytes) => bytes,
    };
    String::from_utf8_lossy(bytes).into_owned()
}

fn route(key: StrId, set: usize) -> Vec<u8> {
    let mut items = Vec::new();
    let route = format!("/api/v1/resource/{set}");
    attrs::put_attribute(&mut items, Text::Id(key), Attribute::Str(route.as_bytes()));
    items
}

fn measurement(instrument: u32, binding: u32) -> Header {
    Header {
        kind: kind::MEASUREMENT,
        detail: 0,
        mask: 0,
        payload_bytes: 0,
        name: StrId(instrument),
        scope: 0,
        flags: 0,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        parent_span_id: SpanId(u64::from(binding).to_ne_bytes()),
        start: 0,
        end: 1,
    }
}

fn counted(value: &Value<'_>) -> u64 {
    match value {
        Value::Number(Number::Int(sum)) => *sum as u64,
        Value::Number(Number::Double(sum)) => *sum as u64,
        Value::Explicit(histogram) => histogram.count,
        Value::Exponential(histogram) => histogram.count,
    }
}
