//! Aggregating: counter and histogram records from a lane into a series table, beside the straightforward way, a map from
//! the name and the sorted attributes. Each round ends with a collection, and its sum must be right.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use pytracingx::aggregate::{Table, Value};
use pytracingx::attrs::{self, Items, Text, Value as Attribute};
use pytracingx::config::Temporality;
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::instruments::{Definition, Instruments};
use pytracingx::intern::{Interner, Scope};
use pytracingx::record::{Header, InstrumentKind, Number, StrId, kind};

use crate::count::Counted;
use crate::encode::drained;
use crate::measure::{Candidate, Options, Report, compare};
use crate::records::{Session, Source};

/// Attribute sets that the records go round.
const SETS: usize = 64;
const OURS: &str = "ours: counter, one attribute";
const NAIVE: &str = "a map by texts: counter, one attribute";

pub fn run(options: Options) -> Report {
    let records = if options.check { 2 * SETS } else { 2048 };
    let instruments = Arc::new(Instruments::default());
    let session = Session::new();
    let key = session.intern("http.route");
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
    let source = |instrument, attributes: bool, bound: bool| {
        let one = |number: usize| {
            let binding = if bound { bindings[number % SETS] } else { 0 };
            let items = if attributes { sets[number % SETS].clone() } else { Vec::new() };
            (measurement(instrument, binding, items.len()), items)
        };
        Rc::new(RefCell::new(Source::new((0..records).map(one).collect())))
    };
    let ours = |name, source: Rc<RefCell<Source>>| {
        let mut table = Table::new(instruments.clone(), Temporality::Delta, 0);
        let session = &session;
        let lane = source.clone();
        Candidate::after(
            move || lane.borrow_mut().record(),
            name,
            move || {
                let lookup = session.lookup();
                let mut source = source.borrow_mut();
                source.drain();
                source.batch.measurements().for_each(|record| table.record(record, lookup));
                let mut count = 0;
                table.collect(1, lookup, &mut |metric| {
                    count += metric.points.iter().map(|point| counted(&point.value)).sum::<u64>();
                });
                assert_eq!(count, records as u64);
            },
        )
    };
    let candidates = vec![
        ours("ours: counter", source(counter, false, false)),
        ours("ours: counter, bound", source(counter, false, true)),
        ours(OURS, source(counter, true, false)),
        ours("ours: histogram", source(histogram, false, false)),
        ours("ours: exponential histogram", source(exponential, false, false)),
        naive(source(counter, true, false), &instruments, &session.strings, records),
    ];
    compare("record", records, options, candidates, (OURS, NAIVE, 3.0))
}

/// A counter's records without attributes, from lane to series, for counting.
pub(crate) fn counting(items: usize) -> [Counted<'static>; 2] {
    let instruments = Arc::new(Instruments::default());
    let session = Session::new();
    let definition = Definition {
        scope: Scope::default(),
        name: "counter".into(),
        unit: String::new(),
        description: String::new(),
        kind: InstrumentKind::Counter,
        boundaries: None,
        exponential_max_size: None,
    };
    let counter = instruments.register(&definition).expect("an empty registry").id;
    let mut table = Table::new(instruments, Temporality::Cumulative, 0);
    let records = vec![(measurement(counter, 0, 0), Vec::new()); items];
    let drained = drained(records.clone());
    let mut source = Source::new(records);
    let work = move || {
        source.record();
        source.drain();
        source.batch.measurements().for_each(|record| table.record(record, session.lookup()));
    };
    [
        ("a counter record: lane to batch", Box::new(drained)),
        ("a counter record: lane to series", Box::new(work)),
    ]
}

fn naive<'a>(
    source: Rc<RefCell<Source>>,
    instruments: &'a Instruments,
    strings: &'a Interner,
    records: usize,
) -> Candidate<'a> {
    let mut sums: HashMap<(String, Vec<(String, String)>), f64> = HashMap::new();
    let lane = source.clone();
    Candidate::after(
        move || lane.borrow_mut().record(),
        NAIVE,
        move || {
            let mut source = source.borrow_mut();
            source.drain();
            for record in source.batch.measurements() {
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
        },
    )
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

fn measurement(instrument: u32, binding: u32, items_bytes: usize) -> Header {
    Header {
        kind: kind::MEASUREMENT,
        detail: 0,
        mask: 0,
        payload_bytes: items_bytes as u32,
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
