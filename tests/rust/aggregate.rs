//! Series tables: what each collection hands out for what was recorded before it.

use pytracingx::aggregate::Data;
use pytracingx::attrs::{self, Text, Value as Attribute};
use pytracingx::config::{ExemplarFilter, Temporality, View, ViewAggregation};
use pytracingx::instruments::Definition;
use pytracingx::intern::Scope;
use pytracingx::record::InstrumentKind::{
    Counter, Gauge, Histogram, ObservableCounter, ObservableGauge, ObservableUpDownCounter, UpDownCounter,
};
use pytracingx::record::Number::{Double, Int};
use pytracingx::record::{Header, SLOT_BYTES, StrId};
use pytracingx::tally::Tallies;

use crate::aggregate_rig::{Metric, Rig, START, bound, definition, items, keeping, measurement, view};

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
