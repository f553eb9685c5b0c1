//! Series tables: what is beyond their limits, what is folded into them, and what they keep as examples.

use std::collections::BTreeMap;

use proptest::prelude::*;
use pytracingx::accumulate::Fold;
use pytracingx::aggregate::{Data, Exemplar};
use pytracingx::attrs::{self, Text, Value as Attribute};
use pytracingx::batch::Lookup;
use pytracingx::config::{ExemplarFilter, Temporality, View, ViewAggregation};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::instruments::{Instruments, MAX_BINDING_BYTES};
use pytracingx::record::Header;
use pytracingx::record::InstrumentKind::{Counter, Histogram, ObservableCounter, UpDownCounter};
use pytracingx::record::Number::Int;

use crate::aggregate_rig::{
    Measured, Metric, Rig, START, bound, describe, inside_span, items, keeping, measurement, view,
};

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
