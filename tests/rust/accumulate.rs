//! Cells: what they hold after any measurements, and that merging and rescaling lose nothing.

use std::sync::Arc;

use proptest::prelude::*;
use pytracingx::accumulate::{
    Buckets, Cell, ExplicitHistogram, ExponentialHistogram, FOLD_ATTRIBUTE_SETS, Fold, LastValue, MAX_SCALE,
    MIN_SCALE, Sum, overflow_attributes,
};
use pytracingx::attrs::{self, Text, Value};
use pytracingx::instruments::{Aggregation, Definition, Instrument, Instruments};
use pytracingx::intern::Scope;
use pytracingx::record::{InstrumentKind, Number};

fn exponential(values: &[f64], max_size: u32) -> ExponentialHistogram {
    let mut histogram = ExponentialHistogram::default();
    for value in values {
        histogram.record(*value, max_size);
    }
    histogram
}

fn explicit(values: &[f64], boundaries: &[f64]) -> ExplicitHistogram {
    let mut histogram = ExplicitHistogram::new(boundaries.into());
    for value in values {
        histogram.record(*value);
    }
    histogram
}

fn sum_of(values: &[Number]) -> Number {
    let mut sum = Sum::default();
    for value in values {
        sum.record(*value);
    }
    sum.value()
}

/// Values of every size, and those at which buckets end.
fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        2 => (-300.0..300.0_f64, any::<bool>())
            .prop_map(|(power, negative)| 10_f64.powf(power) * if negative { -1.0 } else { 1.0 }),
        2 => 0.0..1e4_f64,
        2 => (-1074..1024_i32).prop_map(|power| 2_f64.powi(power)),
        1 => Just(0.0),
        1 => any::<f64>().prop_filter("finite", |value| value.is_finite()),
    ]
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        prop::collection::vec(finite(), 0..200),
        prop::collection::vec(0.001..10.0_f64, 0..200),
        prop::collection::vec(0.99..1.01_f64, 0..60),
    ]
}

fn close(a: f64, b: f64, values: &[f64]) -> bool {
    let largest: f64 = values.iter().map(|value| value.abs()).sum();
    a == b || (a - b).abs() <= largest * 1e-12 || !largest.is_finite()
}

fn total(buckets: &Buckets) -> u64 {
    buckets.counts().iter().sum()
}

/// Lower bound of a bucket by the definition, good to some 1e-12.
fn bound(index: i32, scale: i32) -> f64 {
    (f64::from(index) * 2_f64.powi(-scale)).exp2()
}

#[test]
fn integers_stay_integers_until_a_double_joins_them() {
    use Number::{Double, Int};
    assert_eq!(sum_of(&[]), Int(0));
    assert_eq!(sum_of(&[Int(1), Int(2)]), Int(3));
    assert_eq!(sum_of(&[Int(1), Double(0.5), Int(2)]), Double(3.5));
    assert_eq!(sum_of(&[Double(2.0), Int(1)]), Double(3.0));
    assert_eq!(sum_of(&[Int(i64::MAX), Int(1)]), Double(9_223_372_036_854_775_808.0));
    // Beyond 64 bits and back: nothing was rounded on the way.
    assert_eq!(sum_of(&[Int(i64::MAX), Int(5), Int(-5)]), Int(i64::MAX));
    assert_eq!(sum_of(&[Int(7), Double(f64::NAN), Double(f64::INFINITY)]), Int(7));
}

#[test]
fn the_latest_value_wins_and_without_a_time_the_last_call() {
    let last = |values: &[(i64, u64)]| {
        let mut last = LastValue::default();
        values.iter().for_each(|(value, ticks)| last.record(Number::Int(*value), *ticks));
        last.value
    };
    assert_eq!(last(&[]), None);
    assert_eq!(last(&[(1, 20), (2, 10)]), Some(Number::Int(1)));
    assert_eq!(last(&[(1, 20), (2, 20)]), Some(Number::Int(2)));
    assert_eq!(last(&[(1, 20), (2, 0)]), Some(Number::Int(2)));
    assert_eq!(last(&[(1, 20), (2, 0), (3, 10)]), Some(Number::Int(3)));
    let mut merged = LastValue { value: Some(Number::Int(1)), ticks: 5 };
    merged.merge(&LastValue { value: Some(Number::Int(2)), ticks: 4 });
    assert_eq!(merged.value, Some(Number::Int(1)));
    merged.merge(&LastValue::default());
    assert_eq!(merged.value, Some(Number::Int(1)));
}

#[test]
fn a_boundary_belongs_to_the_bucket_below_it() {
    let histogram = explicit(&[-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 99.0, f64::NAN], &[0.0, 1.0, 2.0]);
    assert_eq!(histogram.counts, [2, 2, 2, 1]);
    assert_eq!((histogram.count, histogram.sum), (7, 103.0));
    assert_eq!((histogram.min, histogram.max), (-1.0, 99.0));
}

#[test]
fn one_value_has_the_finest_scale_and_zeros_have_none() {
    let one = exponential(&[1.0], 160);
    assert_eq!((one.scale, one.positive), (20, Buckets { offset: -1, counts: vec![1] }));
    let zeros = exponential(&[0.0, -0.0], 160);
    assert_eq!((zeros.scale, zeros.zero_count, zeros.count), (0, 2, 2));
    assert_eq!(exponential(&[0.0, 1.0], 160).scale, 20);
}

/// Doubles `1.fraction` that are nearest to a bound at scale 20 of all, by 220-bit arithmetic.
#[test]
fn the_hardest_values_fall_into_the_right_bucket() {
    let hardest = [
        (0x39d283c3ba2a7_u64, 308_076),
        (0x82cbdda791601, 624_353),
        (0x1ab2362691fe7, 150_060),
        (0x55b6682f95586, 436_877),
        (0xcda3e3e495771, 891_944),
        (0x8e3d16129bb42, 668_456),
        (0x60a9cf36099ab, 484_596),
        (0xf7d40f5fa2fed, 1_024_237),
        (0x34db374d56fb9, 283_945),
        (0xb1bf95468185e, 797_666),
    ];
    for (fraction, index) in hardest {
        let value = f64::from_bits(fraction | 1_f64.to_bits());
        for (power, offset) in [(0, 0), (10, 10 << 20), (-1022, -(1022 << 20))] {
            let histogram = exponential(&[value * 2_f64.powi(power)], 160);
            assert_eq!(histogram.positive.offset, index + offset, "{fraction:#x} at 2^{power}");
        }
    }
}

#[test]
fn two_buckets_hold_all_doubles() {
    let all = exponential(&[f64::MAX, f64::MIN_POSITIVE, 5e-324, 1.0, -f64::MAX, -1e-300], 2);
    assert_eq!(all.scale, MIN_SCALE);
    assert_eq!(all.positive, Buckets { offset: -1, counts: vec![3, 1] });
    assert_eq!(all.negative, Buckets { offset: -1, counts: vec![1, 1] });
}

#[test]
fn subnormal_numbers_count_as_the_smallest_normal_one() {
    let smallest = exponential(&[f64::MIN_POSITIVE], 160);
    assert_eq!(smallest.positive.offset, -(1022 << 20) - 1);
    assert_eq!(exponential(&[5e-324], 160).positive, smallest.positive);
}

/// Scale, and of each side offset, length and counts weighted by place: from opentelemetry-sdk 1.45 for Python.
#[test]
fn exponential_buckets_are_those_of_opentelemetry_sdk() {
    let weighted = |buckets: &Buckets| {
        let weighted = (1..).zip(buckets.counts()).map(|(place, count)| place * count).sum::<u64>();
        (buckets.offset, buckets.counts.len(), weighted)
    };
    let quarters: Vec<f64> = (1..=400).map(|k| f64::from(k) * 0.25).collect();
    let mixed = |k: i32| {
        let sign = if k % 3 == 0 { -1.0 } else { 1.0 };
        let value = sign * 2_f64.powi(k % 40 - 20) * (1.0 + f64::from(k % 7) / 8.0);
        if k % 11 == 0 { 0.0 } else { value }
    };
    let mixed: Vec<f64> = (0..400).map(mixed).collect();
    let expected = [
        (&quarters, 160, 4, (-33, 140, 46_775), (0, 0, 0)),
        (&quarters, 20, 1, (-5, 19, 6_370), (0, 0, 0)),
        (&quarters, 3, -2, (-1, 3, 1_132), (0, 0, 0)),
        (&mixed, 160, 2, (-81, 159, 19_622), (-80, 160, 9_693)),
        (&mixed, 20, -2, (-6, 11, 1_563), (-5, 10, 661)),
        (&mixed, 3, -5, (-1, 2, 361), (-1, 2, 182)),
    ];
    for (values, max_size, scale, positive, negative) in expected {
        let histogram = exponential(values, max_size);
        let found = (histogram.scale, weighted(&histogram.positive), weighted(&histogram.negative));
        assert_eq!(found, (scale, positive, negative), "max_size {max_size}");
    }
    assert_eq!(exponential(&mixed, 160).sum, 3_154_032.969_588_399);
}

proptest! {
    #[test]
    fn exponential_buckets_hold_what_was_measured(values in values(), max_size in 2..=160_u32) {
        let histogram = exponential(&values, max_size);
        let above = values.iter().filter(|value| **value > 0.0).count() as u64;
        let below = values.iter().filter(|value| **value < 0.0).count() as u64;
        prop_assert_eq!(total(&histogram.positive), above);
        prop_assert_eq!(total(&histogram.negative), below);
        prop_assert_eq!(histogram.zero_count, values.len() as u64 - above - below);
        prop_assert_eq!(histogram.count, values.len() as u64);
        prop_assert!((MIN_SCALE..=MAX_SCALE).contains(&histogram.scale));
        for buckets in [&histogram.positive, &histogram.negative] {
            prop_assert!(buckets.counts.len() <= max_size as usize);
            prop_assert!(buckets.counts.first() != Some(&0) && buckets.counts.last() != Some(&0));
        }
        if !values.is_empty() {
            prop_assert_eq!(histogram.min, values.iter().copied().fold(f64::INFINITY, f64::min));
            prop_assert_eq!(histogram.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        }
    }

    #[test]
    fn every_value_lies_within_its_bucket(values in prop::collection::vec(1e-300..1e300_f64, 1..20),
                                          small in prop::collection::vec(0.9..1.1_f64, 1..20)) {
        for values in [values, small] {
            let histogram = exponential(&values, 160);
            let Buckets { offset, counts } = &histogram.positive;
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let mut rest = &sorted[..];
            for (index, count) in (*offset..).zip(counts) {
                let (inside, further) = rest.split_at(*count as usize);
                for value in inside {
                    let (low, high) = (bound(index, histogram.scale), bound(index + 1, histogram.scale));
                    prop_assert!(*value > low * (1.0 - 1e-12) && *value <= high * (1.0 + 1e-12));
                }
                rest = further;
            }
        }
    }

    #[test]
    fn the_scale_is_the_finest_that_fits(values in values(), max_size in 2..=160_u32) {
        let histogram = exponential(&values, max_size);
        let finest = |values: Vec<f64>| -> Vec<i32> {
            values.iter().map(|value| exponential(&[*value], 160).positive.offset).collect()
        };
        let above = finest(values.iter().copied().filter(|value| *value > 0.0).collect());
        let below = finest(values.iter().filter(|value| **value < 0.0).map(|value| -value).collect());
        let fits = |indices: &[i32], scale: i32| {
            let at = |index: Option<&i32>| index.map_or(0, |index| index >> (MAX_SCALE - scale));
            at(indices.iter().max()) - at(indices.iter().min()) < max_size as i32
        };
        let scale = (MIN_SCALE..=MAX_SCALE).rev().find(|scale| fits(&above, *scale) && fits(&below, *scale));
        let scale = if above.is_empty() && below.is_empty() { 0 } else { scale.unwrap() };
        prop_assert_eq!(histogram.scale, scale);
    }

    #[test]
    fn merging_exponential_cells_is_feeding_one(values in values(), at in any::<prop::sample::Index>(),
                                                max_size in 2..=160_u32) {
        let (a, b) = values.split_at(at.index(values.len() + 1));
        let fed = exponential(&values, max_size);
        let mut merged = exponential(a, max_size);
        merged.merge(&exponential(b, max_size), max_size);
        prop_assert!(close(merged.sum, fed.sum, &values), "{} {}", merged.sum, fed.sum);
        merged.sum = fed.sum;
        prop_assert_eq!(merged, fed);
    }

    #[test]
    fn merging_explicit_cells_is_feeding_one(values in values(), at in any::<prop::sample::Index>(),
                                             mut boundaries in prop::collection::vec(-1e3..1e4_f64, 0..20)) {
        boundaries.sort_by(f64::total_cmp);
        boundaries.dedup();
        let (a, b) = values.split_at(at.index(values.len() + 1));
        let fed = explicit(&values, &boundaries);
        let mut merged = explicit(a, &boundaries);
        merged.merge(&explicit(b, &boundaries));
        prop_assert!(close(merged.sum, fed.sum, &values));
        merged.sum = fed.sum;
        prop_assert_eq!(&merged, &fed);
        for (at, count) in fed.counts.iter().enumerate() {
            let low = if at == 0 { f64::NEG_INFINITY } else { boundaries[at - 1] };
            let high = boundaries.get(at).copied().unwrap_or(f64::INFINITY);
            let inside = values.iter().filter(|value| **value > low && **value <= high).count();
            prop_assert_eq!(*count, inside as u64);
        }
    }

    #[test]
    fn merging_sums_of_integers_is_exact(values in prop::collection::vec(any::<i64>(), 0..40),
                                         at in any::<prop::sample::Index>()) {
        let numbers: Vec<_> = values.iter().copied().map(Number::Int).collect();
        let (a, b) = numbers.split_at(at.index(numbers.len() + 1));
        let (mut first, mut second) = (Sum::default(), Sum::default());
        a.iter().for_each(|value| first.record(*value));
        b.iter().for_each(|value| second.record(*value));
        first.merge(&second);
        prop_assert_eq!(first, Sum::Int(values.iter().map(|value| i128::from(*value)).sum()));
    }

    #[test]
    fn no_bit_pattern_breaks_a_cell(bits in prop::collection::vec(any::<u64>(), 0..60), max_size in 0..200_u32) {
        let aggregations = [
            Aggregation::Sum { monotonic: true },
            Aggregation::LastValue,
            Aggregation::Explicit { boundaries: Arc::from([0.0, 1.0, 1e10]) },
            Aggregation::Exponential { max_size },
        ];
        for aggregation in aggregations {
            let mut cell = Cell::new(&aggregation);
            bits.iter().for_each(|bits| cell.record(Number::Double(f64::from_bits(*bits)), *bits));
            let copy = cell.clone();
            cell.merge(&copy);
            let finite = bits.iter().filter(|bits| f64::from_bits(**bits).is_finite()).count() as u64;
            match cell {
                Cell::Explicit(histogram) => {
                    prop_assert_eq!(histogram.count, 2 * finite);
                    prop_assert_eq!(histogram.counts.iter().sum::<u64>(), 2 * finite);
                }
                Cell::Exponential { histogram, .. } => {
                    let buckets = total(&histogram.positive) + total(&histogram.negative);
                    prop_assert_eq!(histogram.zero_count + buckets, 2 * finite);
                }
                _ => {}
            }
        }
    }
}

// ------------------------------------------------------------------------------------------------ folds

fn instrument(kind: InstrumentKind) -> Arc<Instrument> {
    let definition = Definition {
        scope: Scope::default(),
        name: "folded".into(),
        unit: String::new(),
        description: String::new(),
        kind,
        boundaries: None,
        exponential_max_size: None,
    };
    Instruments::default().register(&definition).unwrap()
}

fn items(value: i64) -> Vec<u8> {
    let mut items = Vec::new();
    attrs::put_attribute(&mut items, Text::Inline(b"n"), Value::Int(value));
    items
}

#[test]
fn a_fold_keeps_sets_apart_and_the_sum_of_the_rest() {
    let (fold, counter) = (Fold::default(), instrument(InstrumentKind::Counter));
    let sets = 2 * FOLD_ATTRIBUTE_SETS as i64;
    for round in 0..2 {
        for set in 0..sets {
            fold.record(&counter, 0, &items(set), Number::Int(1), 0);
        }
        fold.record(&counter, 7, &[], Number::Int(round), 0);
    }
    let folded = fold.take();
    assert_eq!(folded.entries.len(), FOLD_ATTRIBUTE_SETS);
    assert_eq!(folded.entries.iter().map(|entry| entry.count).sum::<u64>(), 2 * sets as u64 + 2);
    assert_eq!(folded.entries[5].cells, [Cell::Sum(Sum::Int(2))]);
    assert_eq!(*folded.entries[5].attributes, items(5));
    let overflow = folded.entries.iter().find(|entry| entry.attributes == overflow_attributes()).unwrap();
    let beyond = 2 * (sets - FOLD_ATTRIBUTE_SETS as i64 + 1) + 1;
    assert_eq!(overflow.cells, [Cell::Sum(Sum::Int(beyond.into()))]);
    assert!(fold.take().entries.is_empty());
}

#[test]
fn a_fold_bounds_the_bytes_of_attributes() {
    let (fold, counter) = (Fold::default(), instrument(InstrumentKind::Counter));
    for set in 0..20_u8 {
        let mut items = Vec::new();
        attrs::put_attribute(&mut items, Text::Inline(b"text"), Value::Bytes(&vec![set; 1 << 20]));
        fold.record(&counter, 0, &items, Number::Int(1), 0);
    }
    let folded = fold.take();
    assert_eq!(folded.entries.iter().map(|entry| entry.count).sum::<u64>(), 20);
    assert!(folded.entries.iter().map(|entry| entry.attributes.len()).sum::<usize>() <= 8 << 20);
}

#[test]
fn a_fold_of_totals_keeps_the_last_one() {
    let (fold, counter) = (Fold::default(), instrument(InstrumentKind::ObservableCounter));
    fold.record(&counter, 0, &items(1), Number::Int(10), 0);
    fold.record(&counter, 0, &items(1), Number::Int(12), 0);
    let folded = fold.take();
    let [Cell::LastValue(last)] = &*folded.entries[0].cells else { panic!("{:?}", folded.entries[0].cells) };
    assert_eq!((last.value, folded.entries[0].count), (Some(Number::Int(12)), 2));
}
