//! Series tables: what each collection hands out for what was recorded before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytemuck::Zeroable;
use proptest::prelude::*;
use pytracingx::accumulate::{ExplicitHistogram, ExponentialHistogram, Fold};
use pytracingx::aggregate::{Data, Exemplar, Table, Value};
use pytracingx::attrs::{self, Items, Text, Value as Attribute};
use pytracingx::batch::{Batch, Lookup};
use pytracingx::clock::Timeline;
use pytracingx::config::{ExemplarFilter, HistogramAggregation, Temporality, View, ViewAggregation};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::instruments::{Definition, Instrument, Instruments, MAX_BINDING_BYTES};
use pytracingx::intern::{Interner, Scope};
use pytracingx::record::InstrumentKind::{
    self, Counter, Gauge, Histogram, ObservableCounter, ObservableGauge, ObservableUpDownCounter,
    UpDownCounter,
};
use pytracingx::record::{Header, Number, SLOT_BYTES, StrId, kind};
use pytracingx::tally::Tallies;

use Number::{Double, Int};

/// When tables begin.
const START: u64 = 1_000;

struct Rig {
    instruments: Arc<Instruments>,
    strings: Interner,
    timeline: Timeline,
    table: Table,
}

/// A point, copied out.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    attributes: String,
    start: u64,
    time: u64,
    value: Measured,
    exemplars: Vec<Exemplar>,
}

#[derive(Debug, Clone, PartialEq)]
enum Measured {
    Number(Number),
    Explicit(ExplicitHistogram),
    Exponential(ExponentialHistogram),
}

#[derive(Debug, Clone, PartialEq)]
struct Metric {
    scope: u16,
    name: String,
    data: Data,
    points: Vec<Point>,
}

impl Metric {
    /// Attributes and values.
    fn numbers(&self) -> Vec<(&str, Number)> {
        let number = |point: &Point| match point.value {
            Measured::Number(number) => number,
            _ => panic!("{point:?} is no number"),
        };
        self.points.iter().map(|point| (&*point.attributes, number(point))).collect()
    }

    fn explicit(&self) -> &ExplicitHistogram {
        let Measured::Explicit(histogram) = &self.points[0].value else { panic!("{:?}", self.points) };
        histogram
    }
}

/// A measurement outside of spans.
fn measurement(instrument: &Instrument, value: Number) -> Header {
    let (detail, end) = match value {
        Int(value) => (0, value as u64),
        Double(value) => (1, value.to_bits()),
    };
    let name = StrId(instrument.id);
    Header { kind: kind::MEASUREMENT, detail, name, end, ..Header::zeroed() }
}

fn inside_span(header: Header, ticks: u64, trace: u8) -> Header {
    Header { start: ticks, trace_id: TraceId([trace; 16]), span_id: SpanId([trace; 8]), ..header }
}

fn bound(header: Header, binding: u32) -> Header {
    Header { parent_span_id: SpanId(u64::from(binding).to_ne_bytes()), ..header }
}

fn definition(name: &str, kind: InstrumentKind) -> Definition {
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

fn view(instrument: &str) -> View {
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

fn keeping(instrument: &str, keys: &[&str]) -> View {
    View { attribute_keys: Some(keys.iter().map(|key| (*key).into()).collect()), ..view(instrument) }
}

/// Attributes with inline keys and integer values.
fn items(attributes: &[(&str, i64)]) -> Vec<u8> {
    let mut items = Vec::new();
    for (key, value) in attributes {
        attrs::put_attribute(&mut items, Text::Inline(key.as_bytes()), Attribute::Int(*value));
    }
    items
}

fn describe(items: &[u8]) -> String {
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
    fn new(temporality: Temporality) -> Self {
        Self::with(temporality, Vec::new(), ExemplarFilter::default())
    }

    fn with(temporality: Temporality, views: Vec<View>, exemplars: ExemplarFilter) -> Self {
        let instruments = Arc::new(Instruments::new(views, HistogramAggregation::default(), exemplars));
        Self {
            table: Table::new(instruments.clone(), temporality, START),
            instruments,
            strings: Interner::default(),
            timeline: Timeline::identity(),
        }
    }

    fn instrument(&self, name: &str, kind: InstrumentKind) -> Arc<Instrument> {
        self.instruments.register(&definition(name, kind)).unwrap()
    }

    /// Records by way of a batch, as the exporter does.
    fn put(&mut self, header: Header, items: &[u8]) {
        let mut batch = Batch::default();
        batch.push(header, items);
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        batch.measurements().for_each(|record| self.table.record(record, lookup));
    }

    fn record(&mut self, instrument: &Instrument, value: Number, attributes: &[(&str, i64)]) {
        self.put(measurement(instrument, value), &items(attributes));
    }

    fn fold(&mut self, fold: &Fold) {
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        fold.take().entries.iter().for_each(|entry| self.table.fold_entry(entry, lookup));
    }

    fn take(&mut self, tallies: &Tallies) {
        let lookup = Lookup { strings: &self.strings, timeline: &self.timeline };
        let mut taken = Vec::new();
        tallies.take(&mut taken);
        taken.iter().for_each(|taken| self.table.add(taken, lookup));
    }

    fn collect(&mut self, now: u64) -> Vec<Metric> {
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
    fn only(&mut self, now: u64) -> Metric {
        let mut metrics = self.collect(now);
        assert_eq!(metrics.len(), 1, "{metrics:?}");
        metrics.remove(0)
    }
}

// ------------------------------------------------------------------------------------------ attribute sets

#[test]
fn one_set_is_one_series_however_it_is_written() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let counter = rig.instrument("requests", Counter);
    let one = measurement(&counter, Int(1));
    rig.record(&counter, Int(1), &[("a", 1), ("b", 2)]);
    rig.record(&counter, Int(1), &[("b", 2), ("a", 1)]);
    rig.record(&counter, Int(1), &[("b", 7), ("a", 1), ("b", 2)]);
    let id = rig.strings.intern_now(b"a").unwrap();
    let mut interned = items(&[("b", 2)]);
    attrs::put_attribute(&mut interned, Text::Id(id), Attribute::Int(1));
    rig.put(one, &interned);
    let binding = rig.instruments.bind(counter.id, &items(&[("a", 1), ("b", 2)])).unwrap();
    rig.put(bound(one, binding), &[]);
    rig.record(&counter, Int(1), &[("a", 1), ("b", 3)]);
    rig.record(&counter, Int(1), &[]);
    rig.put(one, &items(&[]));
    assert_eq!(rig.only(2_000).numbers(), [("a=1 b=2", Int(5)), ("a=1 b=3", Int(1)), ("", Int(2))]);
}

#[test]
fn keys_inside_values_are_texts_too() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let counter = rig.instrument("requests", Counter);
    let (x, y) = (rig.strings.intern_now(b"x").unwrap(), Text::Inline(b"y"));
    for keys in [[Text::Id(x), y], [y, Text::Inline(b"x")], [y, Text::Id(x)]] {
        let mut items = Vec::new();
        let open = attrs::open_map(&mut items, Text::Inline(b"map"));
        for key in keys {
            attrs::put_attribute(&mut items, key, Attribute::Int(if key == y { 2 } else { 1 }));
        }
        attrs::close(&mut items, open);
        rig.put(measurement(&counter, Int(1)), &items);
    }
    assert_eq!(rig.only(2_000).numbers(), [("map={x=1 y=2}", Int(3))]);
}

#[test]
fn values_of_different_types_differ() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let counter = rig.instrument("requests", Counter);
    for value in [Attribute::Int(1), Attribute::Double(1.0), Attribute::Bool(true), Attribute::Str(b"1")] {
        let mut items = Vec::new();
        attrs::put_attribute(&mut items, Text::Inline(b"k"), value);
        rig.put(measurement(&counter, Int(1)), &items);
    }
    assert_eq!(rig.only(2_000).points.len(), 4);
}

#[test]
fn what_nobody_knows_is_left_out() {
    let mut rig = Rig::with(
        Temporality::Cumulative,
        vec![View { aggregation: ViewAggregation::Drop, ..view("dropped") }],
        ExemplarFilter::default(),
    );
    let dropped = rig.instrument("dropped", Counter);
    let counter = rig.instrument("kept", Counter);
    rig.record(&dropped, Int(1), &[("a", 1)]);
    for id in [0, 77, u32::MAX] {
        rig.put(Header { name: StrId(id), ..measurement(&counter, Int(1)) }, &[]);
    }
    assert_eq!(rig.collect(2_000), []);
    rig.put(measurement(&counter, Int(1)), &[255; SLOT_BYTES]);
    rig.put(bound(measurement(&counter, Int(1)), 99), &[]);
    assert_eq!(rig.only(3_000).numbers(), [("", Int(2))]);
}

#[test]
fn views_choose_keys_and_streams() {
    let views = vec![
        keeping("requests", &["b", "a"]),
        View {
            name: Some("all".into()),
            aggregation: ViewAggregation::LastValue,
            ..keeping("requests", &[])
        },
        View {
            name: Some("sizes".into()),
            aggregation: ViewAggregation::Exponential { max_size: 4 },
            ..view("requests")
        },
    ];
    let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::default());
    let counter = rig.instrument("requests", Counter);
    for (value, attributes) in
        [(1, [("a", 1), ("id", 1)]), (2, [("a", 1), ("id", 2)]), (4, [("id", 1), ("b", 1)])]
    {
        rig.record(&counter, Int(value), &attributes);
    }
    let metrics = rig.collect(2_000);
    assert_eq!(metrics.iter().map(|metric| &*metric.name).collect::<Vec<_>>(), ["requests", "all", "sizes"]);
    assert_eq!(metrics[0].numbers(), [("a=1", Int(3)), ("b=1", Int(4))]);
    assert_eq!((metrics[1].data, metrics[1].numbers()), (Data::Gauge, vec![("", Int(4))]));
    assert_eq!(metrics[2].data, Data::ExponentialHistogram { delta: false });
    assert_eq!(metrics[2].points.len(), 3);
}

#[test]
fn streams_of_one_scope_follow_each_other() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let of = |scope: &str, name: &str| Definition {
        scope: Scope { name: scope.into(), ..Scope::default() },
        ..definition(name, Counter)
    };
    for (scope, name) in [("x", "1"), ("y", "2"), ("x", "3"), ("y", "4")] {
        let counter = rig.instruments.register(&of(scope, name)).unwrap();
        rig.record(&counter, Int(1), &[]);
    }
    let metrics = rig.collect(2_000);
    assert_eq!(metrics.iter().map(|metric| &*metric.name).collect::<Vec<_>>(), ["1", "3", "2", "4"]);
    assert_eq!(rig.strings.scope(metrics[3].scope).name, "y");
}

// ------------------------------------------------------------------------------------------------- tallies

#[test]
fn a_tally_makes_the_points_that_its_measurements_would() {
    for temporality in [Temporality::Cumulative, Temporality::Delta, Temporality::LowMemory] {
        let views = || {
            vec![
                view("limited"),
                View { name: Some("few".into()), cardinality_limit: Some(2), ..view("limited") },
                keeping("filtered", &["a"]),
                View { aggregation: ViewAggregation::Drop, ..view("dropped") },
            ]
        };
        let rig = || Rig::with(temporality, views(), ExemplarFilter::default());
        let (mut recorded, mut tallied, tallies) = (rig(), rig(), Tallies::default());
        let instruments = [
            ("limited", Counter),
            ("filtered", UpDownCounter),
            ("plain", UpDownCounter),
            ("dropped", Counter),
        ];
        for window in -1..4_i64 {
            for (at, (name, kind)) in instruments.into_iter().enumerate() {
                for (set, attributes) in
                    [vec![], vec![("a", 1), ("b", 1)], vec![("a", 1), ("b", 2)]].iter().enumerate()
                {
                    let instrument = tallied.instrument(name, kind);
                    let binding = match &attributes[..] {
                        [] => 0,
                        attributes => tallied.instruments.bind(instrument.id, &items(attributes)).unwrap(),
                    };
                    let tally = tallies.get(1, instrument.id, binding);
                    // First none, so that both begin their series in one order; then not each in each window.
                    let value = (at + 3 * set) as i64 + window - 1;
                    if window < 0 || (value + window) % 3 == 0 {
                        continue;
                    }
                    let instrument = recorded.instrument(name, kind);
                    recorded.record(&instrument, Int(value), attributes);
                    assert!(tally.add(value));
                }
            }
            tallied.take(&tallies);
            let now = (2_000 + window) as u64;
            let metrics = tallied.collect(now);
            assert_eq!(metrics.is_empty(), window < 0);
            assert_eq!(sorted(metrics), sorted(recorded.collect(now)), "{temporality:?}, window {window}");
        }
        assert_eq!(tallied.table.overflowed(), recorded.table.overflowed());
        assert!(tallied.table.overflowed() > 0);
    }
}

fn sorted(mut metrics: Vec<Metric>) -> Vec<Metric> {
    metrics.sort_by(|a, b| a.name.cmp(&b.name));
    for metric in &mut metrics {
        metric.points.sort_by(|a, b| a.attributes.cmp(&b.attributes));
    }
    metrics
}

#[test]
fn a_tally_and_doubles_make_one_sum() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let counter = rig.instrument("requests", Counter);
    let (tallies, tally) = (Tallies::default(), |tallies: &Tallies| tallies.get(1, counter.id, 0));
    assert!(tally(&tallies).add(1));
    rig.take(&tallies);
    assert_eq!(rig.only(2_000).numbers(), [("", Int(1))]);
    rig.record(&counter, Double(0.5), &[]);
    assert!(tally(&tallies).add(2));
    rig.take(&tallies);
    assert_eq!(rig.only(3_000).numbers(), [("", Double(3.5))]);
}

#[test]
fn only_what_is_only_added_is_tallied() {
    let last =
        View { name: Some("last".into()), aggregation: ViewAggregation::LastValue, ..view("requests") };
    let with = |views, filter| Rig::with(Temporality::Cumulative, views, filter);
    let only_adds = |rig: &Rig, kind| rig.instrument("requests", kind).only_adds();
    let plain = with(vec![], ExemplarFilter::TraceBased);
    for (kind, adds) in [(Counter, true), (UpDownCounter, true), (Histogram, false), (Gauge, false)] {
        assert_eq!(only_adds(&plain, kind), adds, "{kind:?}");
    }
    assert!(only_adds(&with(vec![keeping("requests", &["a"])], ExemplarFilter::AlwaysOff), Counter));
    assert!(!only_adds(&with(vec![view("requests"), last], ExemplarFilter::TraceBased), Counter));
    assert!(!only_adds(&with(vec![], ExemplarFilter::AlwaysOn), Counter), "each may be an example");
}

// ------------------------------------------------------------------------------------------------- windows

#[test]
fn each_kind_has_the_temporality_of_the_preference() {
    use Temporality::{Cumulative, Delta, LowMemory};
    let kinds = [Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter];
    let expected = [
        (Cumulative, [false; 5]),
        (Delta, [true, false, true, true, false]),
        (LowMemory, [true, false, true, false, false]),
    ];
    for (temporality, deltas) in expected {
        for (kind, delta) in kinds.into_iter().zip(deltas) {
            let mut rig = Rig::new(temporality);
            let instrument = rig.instrument("it", kind);
            rig.record(&instrument, Int(5), &[]);
            let first = rig.only(2_000);
            rig.record(&instrument, Int(7), &[]);
            let second = rig.only(3_000);
            let monotonic = matches!(kind, Counter | ObservableCounter);
            let data =
                if kind == Histogram { Data::Histogram { delta } } else { Data::Sum { monotonic, delta } };
            assert_eq!((first.data, second.data), (data, data), "{kind:?} {temporality:?}");
            let starts = (first.points[0].start, second.points[0].start);
            assert_eq!(starts, (START, if delta { 2_000 } else { START }), "{kind:?} {temporality:?}");
            let total = match (kind.is_observable(), delta) {
                (false, false) => 12,
                (true, true) => 2,
                _ => 7,
            };
            match kind {
                Histogram => assert_eq!(second.explicit().sum, f64::from(total)),
                _ => assert_eq!(second.numbers(), [("", Int(total.into()))], "{kind:?} {temporality:?}"),
            }
        }
    }
}

#[test]
fn delta_windows_join_without_gap_or_overlap() {
    let mut rig = Rig::new(Temporality::Delta);
    let counter = rig.instrument("requests", Counter);
    let mut windows = Vec::new();
    // The third time the clock was set back.
    for now in [2_000, 3_000, 2_500, 4_000] {
        rig.record(&counter, Int(1), &[("now", now as i64)]);
        let metric = rig.only(now);
        assert_eq!(metric.points.len(), 1, "series of older windows are gone");
        windows.push((metric.points[0].start, metric.points[0].time));
    }
    assert_eq!(windows, [(1_000, 2_000), (2_000, 3_000), (3_000, 3_000), (3_000, 4_000)]);
    assert_eq!(rig.collect(5_000), []);
    rig.record(&counter, Int(1), &[]);
    assert_eq!((rig.only(6_000).points[0].start), 5_000);
}

#[test]
fn cumulative_series_keep_their_order_and_value() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let histogram = rig.instrument("sizes", Histogram);
    rig.record(&histogram, Int(5), &[("b", 1)]);
    rig.record(&histogram, Double(50.0), &[("a", 1)]);
    let first = rig.only(2_000);
    let second = rig.only(3_000);
    let order =
        |metric: &Metric| metric.points.iter().map(|point| point.attributes.clone()).collect::<Vec<_>>();
    assert_eq!(order(&first), ["b=1", "a=1"]);
    assert_eq!(order(&second), ["b=1", "a=1"]);
    assert_eq!((second.points[0].start, second.points[0].time), (START, 3_000));
    assert_eq!(second.explicit().counts, [0, 1, 0, 0]);
}

#[test]
fn a_sync_gauge_is_repeated_unless_changes_are_asked_for() {
    for (temporality, repeated) in
        [(Temporality::Cumulative, true), (Temporality::LowMemory, true), (Temporality::Delta, false)]
    {
        let mut rig = Rig::new(temporality);
        let gauge = rig.instrument("temperature", Gauge);
        let at = |ticks, value| Header { start: ticks, ..measurement(&gauge, Double(value)) };
        rig.put(at(1_500, 20.5), &[]);
        rig.put(at(1_400, 19.0), &[]);
        let first = rig.only(2_000);
        assert_eq!((first.data, first.numbers()), (Data::Gauge, vec![("", Double(20.5))]));
        assert_eq!((first.points[0].start, first.points[0].time), (0, 2_000));
        assert_eq!(rig.collect(3_000).len(), usize::from(repeated), "{temporality:?}");
    }
}

#[test]
fn a_gauge_survives_a_reset_of_the_tick_counter() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let gauge = rig.instrument("temperature", Gauge);
    let at = |ticks, value| Header { start: ticks, ..measurement(&gauge, Int(value)) };
    rig.put(at(1_000_000, 1), &[]);
    rig.collect(2_000);
    rig.put(at(10, 2), &[]);
    assert_eq!(rig.only(3_000).numbers(), [("", Int(2))]);
}

// --------------------------------------------------------------------------------------------- observables

#[test]
fn only_what_was_observed_is_exported() {
    for kind in [ObservableCounter, ObservableUpDownCounter, ObservableGauge] {
        let mut rig = Rig::new(Temporality::Cumulative);
        let instrument = rig.instrument("it", kind);
        rig.record(&instrument, Int(1), &[("a", 1)]);
        rig.record(&instrument, Int(2), &[("a", 2)]);
        rig.record(&instrument, Int(3), &[("a", 1)]);
        assert_eq!(rig.only(2_000).numbers(), [("a=1", Int(3)), ("a=2", Int(2))], "{kind:?}");
        rig.record(&instrument, Int(1), &[("a", 2)]);
        assert_eq!(rig.only(3_000).numbers(), [("a=2", Int(1))], "{kind:?}");
        assert_eq!(rig.collect(4_000), []);
    }
}

#[test]
fn an_observed_total_becomes_a_change() {
    let mut rig = Rig::new(Temporality::Delta);
    let counter = rig.instrument("bytes", ObservableCounter);
    let totals = [Some(10), Some(14), None, Some(20), Some(3), Some(3)];
    let mut changes = Vec::new();
    for (window, total) in totals.into_iter().enumerate() {
        if let Some(total) = total {
            rig.record(&counter, Int(total), &[]);
        }
        changes.push(rig.collect(2_000 + window as u64).first().map(|metric| metric.numbers()[0].1));
    }
    // Not observed is no restart; a lower total is.
    assert_eq!(changes, [Some(Int(10)), Some(Int(4)), None, Some(Int(6)), Some(Int(3)), Some(Int(0))]);
    rig.record(&counter, Double(4.5), &[]);
    assert_eq!(rig.only(9_000).numbers(), [("", Double(1.5))]);
}

#[test]
fn observed_sets_that_a_view_joins_add_up() {
    let views = vec![keeping("bytes", &["disk"])];
    let mut rig = Rig::with(Temporality::Delta, views, ExemplarFilter::default());
    let counter = rig.instrument("bytes", ObservableCounter);
    for (window, (total, change)) in [(0, 30), (5, 10)].into_iter().enumerate() {
        rig.record(&counter, Int(99), &[("disk", 1), ("cpu", 1)]);
        rig.record(&counter, Int(10 + total), &[("disk", 1), ("cpu", 2)]);
        rig.record(&counter, Int(20 + total), &[("cpu", 1), ("disk", 1)]);
        assert_eq!(rig.only(2_000 + window as u64).numbers(), [("disk=1", Int(change))]);
    }
}

#[test]
fn sets_of_the_past_do_not_fill_an_observable() {
    let views = vec![View { cardinality_limit: Some(10), ..view("bytes") }];
    let mut rig = Rig::with(Temporality::Delta, views, ExemplarFilter::default());
    let counter = rig.instrument("bytes", ObservableCounter);
    for window in 0..100 {
        for set in 0..9 {
            rig.record(&counter, Int(window), &[("set", set), ("window", window)]);
        }
        let metric = rig.only(2_000 + window as u64);
        assert_eq!(metric.points.len(), 9);
        assert!(metric.points.iter().all(|point| !point.attributes.contains("overflow")));
    }
    assert_eq!(rig.table.overflowed(), 0);
    // Exported totals that may come back.
    assert!(rig.table.attribute_sets() <= 20, "{}", rig.table.attribute_sets());
}

// --------------------------------------------------------------------------------------------- cardinality

/// The sum of all points, and of the overflow series.
fn sums(metric: &Metric) -> (i64, i64) {
    let mut sums = (0, 0);
    for (attributes, value) in metric.numbers() {
        let Int(value) = value else { panic!("{value:?}") };
        sums.0 += value;
        sums.1 += if attributes == "otel.metric.overflow=Bool(true)" { value } else { 0 };
    }
    sums
}

#[test]
fn beyond_the_limit_all_share_one_series() {
    let sets = 200_000;
    for temporality in [Temporality::Cumulative, Temporality::Delta] {
        let mut rig = Rig::new(temporality);
        let counter = rig.instrument("requests", Counter);
        for window in 1..=2 {
            for set in 0..sets {
                rig.record(&counter, Int(1), &[("user", set)]);
            }
            assert!(rig.table.attribute_sets() <= 2 * 2_000, "{}", rig.table.attribute_sets());
            let metric = rig.only(2_000 + window);
            assert_eq!(metric.points.len(), 2_000);
            let windows = if temporality == Temporality::Delta { 1 } else { window as i64 };
            assert_eq!(sums(&metric), (windows * sets, windows * (sets - 1_999)));
            assert_eq!(rig.table.overflowed(), window * (sets as u64 - 1_999));
        }
    }
}

#[test]
fn left_out_attributes_do_not_fill_the_cache() {
    let views = vec![keeping("requests", &["route"])];
    let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::default());
    let counter = rig.instrument("requests", Counter);
    let mut most = 0;
    for id in 0..300_000 {
        rig.record(&counter, Int(1), &[("route", id % 3), ("id", id)]);
        if id % 1_000 == 0 {
            most = most.max(rig.table.attribute_sets());
        }
    }
    assert!(most < 200_000, "{most}");
    assert_eq!(
        rig.only(2_000).numbers(),
        [("route=0", Int(100_000)), ("route=1", Int(100_000)), ("route=2", Int(100_000))]
    );
}

#[test]
fn large_attributes_are_beyond_the_limit_sooner() {
    let views = vec![View { cardinality_limit: Some(100), ..view("requests") }];
    let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::default());
    let counter = rig.instrument("requests", Counter);
    for byte in 0..50 {
        let mut items = Vec::new();
        attrs::put_attribute(&mut items, Text::Inline(b"text"), Attribute::Str(&[byte; 50_000]));
        rig.put(measurement(&counter, Int(1)), &items);
    }
    let metric = rig.only(2_000);
    assert_eq!((metric.points.len(), sums(&metric)), (9, (50, 42)));
}

// ------------------------------------------------------------------------------------------------- folding

#[test]
fn what_was_folded_joins_the_same_series() {
    let mut rig = Rig::new(Temporality::Cumulative);
    let counter = rig.instrument("requests", Counter);
    let binding = rig.instruments.bind(counter.id, &items(&[("a", 1)])).unwrap();
    let fold = Fold::default();
    rig.record(&counter, Int(1), &[("a", 1)]);
    fold.record(&counter, 0, &items(&[("a", 1)]), Int(2), 0);
    fold.record(&counter, binding, &[], Int(4), 0);
    fold.record(&counter, 0, &[], Int(8), 0);
    rig.fold(&fold);
    rig.fold(&fold);
    assert_eq!(rig.only(2_000).numbers(), [("a=1", Int(7)), ("", Int(8))]);
}

#[test]
fn the_overflow_of_a_fold_joins_the_overflow_series() {
    let views = vec![View { cardinality_limit: Some(10_000), ..view("*") }, keeping("requests", &["user"])];
    let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::default());
    let counter = rig.instrument("requests", Counter);
    let totals = rig.instrument("totals", ObservableCounter);
    let fold = Fold::default();
    for user in 0..3_000 {
        fold.record(&counter, 0, &items(&[("user", user)]), Int(1), 0);
        fold.record(&totals, 0, &items(&[("user", user)]), Int(1), 0);
    }
    rig.fold(&fold);
    let metrics = rig.collect(2_000);
    assert_eq!(metrics.len(), 3);
    for metric in metrics {
        assert_eq!((metric.points.len(), sums(&metric)), (2_000, (3_000, 1_001)), "{}", metric.name);
    }
    assert_eq!(rig.table.overflowed(), 2 * 1_001);
}

proptest! {
    /// The same measurements, some of them folded, in any split over collections.
    #[test]
    fn a_full_lane_changes_nothing(
        measurements in prop::collection::vec((0..4_i64, -1000..1000_i64, any::<bool>(), 0..20_u8), 0..60),
        kind in prop::sample::select(vec![Counter, UpDownCounter, Histogram]),
    ) {
        let mut rig = Rig::new(Temporality::Delta);
        let instrument = rig.instrument("it", kind);
        let fold = Fold::default();
        let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
        for (set, value, folded, collect) in measurements {
            *expected.entry(format!("set={set}")).or_insert(0) += value;
            if folded {
                fold.record(&instrument, 0, &items(&[("set", set)]), Int(value), 0);
            } else {
                rig.record(&instrument, Int(value), &[("set", set)]);
            }
            if collect == 0 {
                take(&mut rig, &fold, &mut found);
            }
        }
        take(&mut rig, &fold, &mut found);
        prop_assert_eq!(found, expected);
    }
}

fn take(rig: &mut Rig, fold: &Fold, found: &mut BTreeMap<String, i64>) {
    rig.fold(fold);
    for Metric { data, points, .. } in rig.collect(2_000) {
        for point in points {
            let value = match point.value {
                Measured::Number(Int(value)) => value,
                Measured::Explicit(histogram) => histogram.sum as i64,
                other => panic!("{other:?}"),
            };
            let sum = found.entry(point.attributes).or_insert(0);
            let cumulative = matches!(data, Data::Sum { delta: false, .. });
            *sum = if cumulative { value } else { *sum + value };
        }
    }
}

// ----------------------------------------------------------------------------------------------- exemplars

#[test]
fn each_bucket_keeps_its_newest_example() {
    let views = vec![keeping("sizes", &["route"])];
    let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::default());
    let histogram = rig.instrument("sizes", Histogram);
    let attributes = items(&[("route", 1), ("user", 7)]);
    for (value, ticks, trace) in [(50, 100, 1), (5, 200, 2), (6, 150, 3), (60, 300, 4)] {
        rig.put(inside_span(measurement(&histogram, Int(value)), ticks, trace), &attributes);
    }
    // Neither of them is a candidate: no span, no time.
    rig.put(Header { start: 900, ..measurement(&histogram, Int(500)) }, &attributes);
    rig.put(inside_span(measurement(&histogram, Int(-1)), 0, 9), &attributes);
    let example = |value, ticks, trace: u8| Exemplar {
        time_unix_nano: ticks,
        value: Int(value),
        trace_id: TraceId([trace; 16]),
        span_id: SpanId([trace; 8]),
        filtered_attributes: items(&[("user", 7)]).into(),
    };
    assert_eq!(rig.only(2_000).points[0].exemplars, [example(5, 200, 2), example(60, 300, 4)]);
    assert_eq!(rig.only(3_000).points[0].exemplars, []);
    rig.put(inside_span(measurement(&histogram, Int(50)), 100, 5), &attributes);
    assert_eq!(rig.only(4_000).points[0].exemplars, [example(50, 100, 5)]);
}

#[test]
fn bound_measurements_tell_what_was_left_out() {
    let views = vec![keeping("sizes", &[])];
    let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::default());
    let histogram = rig.instrument("sizes", Histogram);
    let binding = rig.instruments.bind(histogram.id, &items(&[("user", 7)])).unwrap();
    rig.put(bound(inside_span(measurement(&histogram, Int(1)), 100, 1), binding), &[]);
    let metric = rig.only(2_000);
    assert_eq!(describe(&metric.points[0].exemplars[0].filtered_attributes), "user=7");
}

#[test]
fn other_series_keep_some_examples_of_all() {
    let collected = || {
        let views = vec![View { aggregation: ViewAggregation::Exponential { max_size: 8 }, ..view("sizes") }];
        let mut rig = Rig::with(Temporality::Cumulative, views, ExemplarFilter::AlwaysOn);
        let (counter, sizes) = (rig.instrument("requests", Counter), rig.instrument("sizes", Histogram));
        for ticks in 1..=1_000 {
            for instrument in [&counter, &sizes] {
                rig.put(Header { start: ticks, ..measurement(instrument, Int(1)) }, &[]);
            }
        }
        rig.collect(2_000)
    };
    let metrics = collected();
    let times = |metric: &Metric| -> Vec<u64> {
        metric.points[0].exemplars.iter().map(|exemplar| exemplar.time_unix_nano).collect()
    };
    assert_eq!((times(&metrics[0]).len(), times(&metrics[1]).len()), (4, 8));
    // Neither the first nor the last ones only.
    assert!(times(&metrics[1]).iter().any(|time| (9..=992).contains(time)));
    assert_eq!(metrics, collected(), "the same measurements leave the same examples");
}

#[test]
fn examples_are_off_unless_asked_for() {
    for (filter, kind) in [(ExemplarFilter::AlwaysOff, Histogram), (ExemplarFilter::TraceBased, Counter)] {
        let mut rig = Rig::with(Temporality::Cumulative, Vec::new(), filter);
        let instrument = rig.instrument("it", kind);
        rig.put(inside_span(measurement(&instrument, Int(1)), 100, 1), &[]);
        assert_eq!(rig.only(2_000).points[0].exemplars, []);
    }
}

#[test]
fn what_is_bound_takes_bounded_memory() {
    let instruments = Instruments::default();
    let mebibyte = |i: usize| vec![i as u8; 1 << 20];
    let bound: Vec<_> = (0..17).map(|i| instruments.bind(1, &mebibyte(i))).collect();
    assert_eq!(MAX_BINDING_BYTES, 16 << 20);
    assert!(bound[..16].iter().all(Option::is_some));
    assert_eq!((bound[16], instruments.bind(1, &mebibyte(3))), (None, bound[3]));
}

#[test]
fn between_the_steps_of_a_collection_measurements_go_on() {
    let mut rig = Rig::new(Temporality::Delta);
    let [first, second] = ["first", "second"].map(|name| rig.instrument(name, Counter));
    rig.record(&first, Int(1), &[]);
    rig.record(&second, Int(1), &[]);
    rig.table.begin_collection(START + 10);
    let mut sums = Vec::new();
    let mut step = |rig: &mut Rig| {
        let lookup = Lookup { strings: &rig.strings, timeline: &rig.timeline };
        rig.table.collect_next(lookup, &mut |metric| {
            sums.extend(metric.points.iter().map(|point| (metric.name.to_owned(), point.start_unix_nano)));
        })
    };
    assert!(step(&mut rig) && rig.table.is_collecting());
    rig.record(&first, Int(20), &[]);
    rig.record(&second, Int(20), &[]);
    let third = rig.instrument("third", Counter);
    rig.record(&third, Int(300), &[]);
    assert!(step(&mut rig) && !step(&mut rig) && !rig.table.is_collecting());
    assert_eq!(sums, [("first".to_owned(), START), ("second".to_owned(), START)]);
    let next = rig.collect(START + 20);
    let sums: Vec<_> = next.iter().map(|metric| (&*metric.name, metric.numbers()[0].1)).collect();
    assert_eq!(sums, [("first", Int(20)), ("third", Int(300))], "the second one's 20 were in time");
    assert!(next.iter().all(|metric| metric.points[0].start == START + 10));
}
