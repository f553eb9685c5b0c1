//! What the times of tokens come to, against plain sorting; how much memory that takes; and the tables of names.

use std::collections::HashSet;

use proptest::prelude::*;
use pytracingx::generation::arrivals::{Arrivals, Clock, EXACT, Gaps, MAX_OFFSETS, RUN, Summary, Thinned};
use pytracingx::generation::names::{KEYS, Key, METRICS, NAMES, Names, Side};
use pytracingx::generation::settings::{Content, Settings};
use pytracingx::ids::TraceId;
use pytracingx::record::InstrumentKind;
use pytracingx::sys::ticks::Sample;

const BASE: u64 = 1_700_000_000_000_000_000;

/// Three ticks are a nanosecond.
fn clock() -> Clock {
    let base = Sample { ticks: 5_000, monotonic_nano: 70, unix_nano: BASE };
    Clock::between(base, Sample { ticks: 3_005_000, monotonic_nano: 1_000_070, unix_nano: 7 })
}

#[derive(Debug)]
enum Stamp {
    Ticks(u64),
    UnixNano(u64),
}

impl Stamp {
    fn unix_nano(&self) -> u64 {
        match self {
            Self::Ticks(ticks) => BASE + (ticks - 5_000) / 3,
            Self::UnixNano(nanos) => *nanos,
        }
    }
}

/// All gaps that were handed out, and the summary.
fn summarize(stamps: &[Stamp], thinned: Option<&mut Thinned>) -> (Vec<u64>, Option<Summary>) {
    let (mut arrivals, mut gaps) = (Arrivals::EMPTY, Vec::new());
    for stamp in stamps {
        let push = |arrivals: &mut Arrivals| match stamp {
            Stamp::Ticks(ticks) => arrivals.push(*ticks),
            Stamp::UnixNano(nanos) => arrivals.push_unix_nano(*nanos),
        };
        if !push(&mut arrivals) {
            if !arrivals.grow() {
                arrivals.fold(&clock(), |run| gaps.extend_from_slice(run));
            }
            assert!(push(&mut arrivals), "there is room now");
        }
        assert!(arrivals.memory_bytes() <= 32 * 1024 + 24 * 1024);
    }
    assert_eq!(arrivals.tokens(), stamps.len() as u64);
    let summary = arrivals.finish(&clock(), |run| gaps.extend_from_slice(run), thinned);
    (gaps, summary)
}

fn nearest_rank(sorted: &[u64], share: f64) -> u64 {
    sorted[(share * sorted.len() as f64).ceil() as usize - 1]
}

fn stamps(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Stamp>> {
    let ticks = (5_000..u64::from(u32::MAX)).prop_map(|ticks| Stamp::Ticks(ticks / 3 * 3 + 2));
    let nanos = (0..u64::from(u32::MAX)).prop_map(|nanos| Stamp::UnixNano(BASE + nanos));
    proptest::collection::vec(prop_oneof![ticks, nanos], count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In any order and of either kind, up to [`EXACT`] nothing is approximate.
    #[test]
    fn few_arrivals_are_exact(stamps in stamps(1..EXACT.min(600))) {
        let mut times: Vec<u64> = stamps.iter().map(Stamp::unix_nano).collect();
        times.sort_unstable();
        let mut expected: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let (mut gaps, summary) = summarize(&stamps, None);
        expected.sort_unstable();
        gaps.sort_unstable();
        prop_assert_eq!(&gaps, &expected);
        let of_gaps = expected.last().map(|max| Gaps {
            p50: nearest_rank(&expected, 0.5),
            p99: nearest_rank(&expected, 0.99),
            max: *max,
        });
        let (first, last) = (times[0], times[times.len() - 1]);
        prop_assert_eq!(summary, Some(Summary { arrivals: times.len() as u64, first, last, gaps: of_gaps }));
    }

    /// Beyond, percentiles are within 1/128 and memory is bounded.
    #[test]
    fn many_arrivals_are_nearly_exact(
        seeds in proptest::collection::vec(0_u32..40, EXACT + 1..EXACT + 3 * RUN),
    ) {
        let mut at = BASE;
        let mut times = Vec::new();
        for (index, seed) in seeds.iter().enumerate() {
            times.push(Stamp::UnixNano(at));
            // From nothing to half an hour.
            at += (1_u64 << seed) - 1 + index as u64 % 7;
        }
        let (gaps, summary) = summarize(&times, None);
        let mut sorted: Vec<u64> = times.windows(2).map(|pair| pair[1].unix_nano() - pair[0].unix_nano()).collect();
        prop_assert_eq!(&gaps, &sorted);
        sorted.sort_unstable();
        let found = summary.and_then(|summary| summary.gaps).unwrap();
        prop_assert_eq!(found.max, sorted[sorted.len() - 1]);
        for (near, share) in [(found.p50, 0.5), (found.p99, 0.99)] {
            let exact = nearest_rank(&sorted, share);
            prop_assert!(near.abs_diff(exact) * 128 <= exact, "{} for {}", near, exact);
        }
    }
}

#[test]
fn times_that_go_backwards_beyond_a_run_count_as_no_time() {
    let times: Vec<Stamp> = (0..EXACT as u64 + 600).rev().map(|n| Stamp::UnixNano(BASE + n * 10)).collect();
    let (gaps, summary) = summarize(&times, None);
    assert_eq!(gaps.len(), times.len() - 1);
    assert_eq!(summary.map(|s| (s.first, s.last)), Some((BASE, BASE + (EXACT as u64 + 599) * 10)));
    assert!(gaps.iter().all(|gap| *gap == 10 || *gap == 0));
}

#[test]
fn of_many_times_every_so_many_are_kept() {
    for (count, stride) in
        [(1, 1), (MAX_OFFSETS, 1), (MAX_OFFSETS + 1, 2), (EXACT, 8), (EXACT + 1, 16), (20_000, 64)]
    {
        let times: Vec<Stamp> = (0..count as u64).map(|n| Stamp::UnixNano(BASE + n)).collect();
        for limit in [MAX_OFFSETS, 100, 0] {
            let mut thinned = Thinned::new(limit);
            summarize(&times, Some(&mut thinned));
            assert_eq!(thinned.seen, count as u64);
            assert!(thinned.kept.len() <= limit);
            if limit == MAX_OFFSETS {
                assert_eq!(thinned.stride, stride, "{count}");
            }
            let every: Vec<u64> =
                (0..count as u64).step_by(thinned.stride as usize).map(|n| BASE + n).collect();
            assert!(limit == 0 || thinned.kept == every);
        }
    }
}

#[test]
fn a_clock_is_not_moved_by_the_wall_clock() {
    assert_eq!(clock().unix_nano(5_000), BASE);
    assert_eq!(clock().unix_nano(5_003), BASE + 1);
    assert_eq!(clock().unix_nano(3_005_000), BASE + 1_000_000);
    assert_eq!(clock().unix_nano(4_997), BASE - 1);
}

#[test]
fn the_tables_are_in_order() {
    for (index, (key, latest, legacy)) in KEYS.into_iter().enumerate() {
        assert_eq!(key as usize, index);
        assert!(!latest.is_empty() || !legacy.is_empty());
        assert_ne!(latest, legacy);
    }
    let names = |names| Vec::from_iter(Key::Provider.names(names));
    assert_eq!(names(Names::Latest), ["gen_ai.provider.name"]);
    assert_eq!(names(Names::Legacy), ["gen_ai.system"]);
    assert_eq!(names(Names::Both), ["gen_ai.provider.name", "gen_ai.system"]);
    assert_eq!(Vec::from_iter(Key::Duration.names(Names::Latest)), [""; 0]);
    assert_eq!(Vec::from_iter(Key::Model.names(Names::Legacy)), ["gen_ai.request.model"]);
}

#[test]
fn metrics_of_one_side_do_not_meet() {
    for side in [Side::Server, Side::Client, Side::Step] {
        let mut seen = HashSet::new();
        for row in METRICS.iter().filter(|row| row.sides.contains(&side)) {
            assert!(seen.insert((row.name, row.label)), "{} twice", row.name);
            assert_eq!(row.kind == InstrumentKind::Histogram, !row.boundaries.is_empty(), "{}", row.name);
            assert!(row.boundaries.is_sorted_by(|a, b| a < b), "{}", row.name);
            let fed =
                METRICS.iter().filter(|other| other.sides.contains(&side) && other.measure == row.measure);
            assert!(fed.count() <= 2, "{}: a series has room for two", row.name);
        }
        assert!(seen.len() > 3);
    }
}

#[test]
fn settings_are_what_the_environment_says() {
    let read = |variables: &[(&str, &str)]| {
        let mut warnings = Vec::new();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).into());
        let settings = Settings::read(variable, |line| warnings.push(line));
        (settings, warnings)
    };
    let told = |variables: &[(&str, &str)]| read(variables).1;
    let read = |variables: &[(&str, &str)]| read(variables).0;
    let content = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";
    let (share, names) = ("PYTRACINGX_GEN_AI_CONTENT_SAMPLE_RATIO", "PYTRACINGX_GEN_AI_SEMCONV");
    assert_eq!(read(&[]), Settings { names: Names::Latest, content: Content::NONE });
    assert_eq!(read(&[(content, " True ")]).content, Content::of_ratio(1.0));
    assert_eq!(read(&[(content, "event_only"), (share, "0.5")]).content, Content::of_ratio(0.5));
    assert_eq!(read(&[(content, "true"), (share, "many")]).content, Content::NONE);
    assert_eq!(read(&[(content, "span_only")]).content, Content::NONE);
    assert_eq!(read(&[(share, "1")]).content, Content::NONE);
    assert_eq!(read(&[(names, "BOTH")]).names, Names::Both);
    assert_eq!(read(&[(names, "1.36")]).names, Names::Latest);
    assert_eq!(told(&[(content, " True "), (share, "0.5"), (names, "legacy")]), [""; 0]);
    assert_eq!(told(&[(content, "span_only"), (share, ""), (names, "")]), [""; 0]);
    assert_eq!(
        told(&[(content, "yes"), (share, "7"), (names, "1.36")]),
        [
            format!(
                "{content}: 'yes' is not true, false, event_only, span_and_event, span_only or no_content; ignored"
            ),
            format!("{share}: '7' is not a number from 0 to 1; nothing is recorded"),
            format!("{names}: '1.36' is not 'latest' | 'legacy' | 'both'; ignored"),
        ]
    );
    assert_eq!(NAMES.expected(), "'latest' | 'legacy' | 'both'");
    assert!(!Content::NONE.has(TraceId([0; 16])) && Content::of_ratio(1.0).has(TraceId([255; 16])));
    assert!(!Content::of_ratio(f64::NAN).has(TraceId([0; 16])));
}
