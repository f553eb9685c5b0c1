//! Ticks to Unix time, with clocks that step, drift, stop and start again.

use proptest::prelude::*;
use pytracingx::clock::Timeline;
use pytracingx::sys::ticks::{self, Sample};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const YEAR: u64 = 8766 * HOUR;
/// 2025-06-15, in Unix nanoseconds.
const START: u64 = 1_750_000_000 * SECOND;

/// Three clocks that follow one true time as they are told to.
#[derive(Clone)]
struct World {
    ticks: f64,
    monotonic: f64,
    unix: f64,
    /// Ticks per nanosecond.
    frequency: f64,
    /// How much faster the kernel lets both of its clocks run, as NTP does.
    slew: f64,
}

impl World {
    fn new(frequency: f64) -> Self {
        Self { ticks: 1e12, monotonic: 5e12, unix: 0.0, frequency, slew: 0.0 }
    }

    fn wait(&mut self, nano: u64) -> Sample {
        self.ticks += nano as f64 * self.frequency;
        self.monotonic += nano as f64 * (1.0 + self.slew);
        self.unix += nano as f64 * (1.0 + self.slew);
        self.sample()
    }

    fn sample(&self) -> Sample {
        Sample {
            ticks: self.ticks.round() as u64,
            monotonic_nano: self.monotonic.round() as u64,
            unix_nano: START.saturating_add_signed(self.unix.round() as i64),
        }
    }

    /// A timeline that has seen this world for three seconds.
    fn timeline(&mut self) -> Timeline {
        let mut timeline = Timeline::starting_with(self.sample());
        for _ in 0..6 {
            timeline.refresh_with(self.wait(SECOND / 2));
        }
        timeline
    }
}

#[track_caller]
fn assert_near(actual: u64, expected: u64, within: u64) {
    let difference = i128::from(actual) - i128::from(expected);
    assert!(difference.unsigned_abs() <= u128::from(within), "{actual} is off by {difference} ns");
}

/// The frequencies of a clock in nanoseconds, of TSCs and of ARM counters.
const FREQUENCIES: [f64; 5] = [1.0, 2.445_406, 4.7, 0.024, 0.001_92];

#[test]
fn what_was_recorded_before_the_first_refresh_is_exact() {
    for frequency in FREQUENCIES {
        let mut world = World::new(frequency);
        let mut timeline = Timeline::starting_with(world.sample());
        let during: Vec<Sample> = (0..10).map(|_| world.wait(SECOND / 5000)).collect();
        timeline.refresh_with(world.sample());
        let tick = (1.0 / frequency).ceil() as u64;
        for sample in during {
            assert_near(timeline.unix_nano(sample.ticks), sample.unix_nano, 2 * tick);
        }
    }
}

#[test]
fn durations_are_differences_of_ticks() {
    for frequency in FREQUENCIES {
        let mut world = World::new(frequency);
        let timeline = world.timeline();
        let start = world.wait(12_345);
        let end = world.wait(SECOND);
        let (from, to) = timeline.span_times(start.ticks, false, end.ticks, false);
        let tick = (1.0 / frequency).ceil() as u64;
        assert_near(from, start.unix_nano, 2 * tick);
        assert_near(to - from, SECOND, 2 * tick);
    }
}

#[test]
fn explicit_times_pass_through() {
    let mut world = World::new(3.0);
    let timeline = world.timeline();
    let now = world.sample();
    assert_eq!(timeline.span_times(7, true, 9, true), (7, 9));
    assert_eq!(timeline.span_times(9, true, 7, true), (9, 9), "an end before the start is clamped to it");
    let (start, end) = timeline.span_times(START, true, now.ticks, false);
    assert_eq!(start, START);
    assert_near(end, now.unix_nano, 2);
    let (start, end) = timeline.span_times(now.ticks, false, now.unix_nano + HOUR, true);
    assert_near(start, now.unix_nano, 2);
    assert_eq!(end, now.unix_nano + HOUR);
    let (start, end) = timeline.span_times(now.ticks, false, 5, true);
    assert_eq!(start, end);
    let (start, end) = timeline.span_times(now.ticks, false, now.ticks - 1_000_000, false);
    assert_eq!(start, end);
}

/// A span that is open while the wall clock is set keeps the time that it began at, and its true duration.
#[test]
fn steps_of_the_wall_clock_open_an_epoch() {
    for step in [HOUR as i64, -(HOUR as i64), -(10 * YEAR as i64), SECOND as i64 / 50] {
        let mut world = World::new(2.4);
        let mut timeline = world.timeline();
        let before = world.wait(SECOND / 10);
        world.wait(SECOND / 10);
        world.unix += step as f64;
        timeline.refresh_with(world.wait(SECOND / 10));
        let after = world.wait(SECOND / 10);
        let end = world.wait(2 * SECOND);
        timeline.refresh_with(end);

        let (from, to) = timeline.span_times(before.ticks, false, end.ticks, false);
        assert_near(from, before.unix_nano, 2);
        assert_near(to - from, 2 * SECOND + 3 * SECOND / 10, 2);
        let (from, to) = timeline.span_times(after.ticks, false, end.ticks, false);
        assert_near(from, after.unix_nano, 2);
        assert_near(to, end.unix_nano, 2);
    }
}

/// Small differences are worked off without a step: the wall clock jumps by 4 ms, then runs 500 ppm fast.
#[test]
fn drift_is_followed_and_time_never_goes_backwards() {
    for jump in [4e6, -4e6] {
        let mut world = World::new(2.4);
        let mut timeline = world.timeline();
        world.unix += jump;
        world.slew = 500e-6;
        let mut latest = 0;
        for i in 0..400 {
            let sample = world.wait(SECOND / 10);
            timeline.refresh_with(sample);
            let converted = timeline.unix_nano(sample.ticks);
            assert!(converted > latest);
            latest = converted;
            assert_near(converted, sample.unix_nano, if i < 20 { 4_500_000 } else { 300_000 });
        }
        // Once the rate is measured in the new regime alone, nothing is left to work off.
        for _ in 0..100 {
            timeline.refresh_with(world.wait(SECOND));
        }
        let sample = world.wait(SECOND);
        assert_near(timeline.unix_nano(sample.ticks), sample.unix_nano, 100);
    }
}

/// The list of knots is bounded, and yet a span of ten hours begins when it began.
#[test]
fn old_ticks_stay_convertible() {
    let mut world = World::new(2.4);
    let mut timeline = world.timeline();
    let mut recorded = Vec::new();
    for i in 0..36_000 {
        world.slew = 20e-6 * (f64::from(i) / 3600.0).sin();
        if i == 20_000 {
            world.unix += HOUR as f64;
        }
        timeline.refresh_with(world.wait(SECOND));
        // Not where the step is: it is dated by the refresh that sees it.
        recorded.extend((i % 100 == 50).then(|| world.wait(SECOND / 1000)));
    }
    for sample in recorded {
        assert_near(timeline.unix_nano(sample.ticks), sample.unix_nano, 1_000_000);
    }
}

/// Suspend to idle: ticks go on, the monotonic clock stands still. The rate must not be measured across it.
#[test]
fn a_pause_of_the_monotonic_clock_is_no_rate() {
    let mut world = World::new(2.4);
    let mut timeline = world.timeline();
    let asleep = world.monotonic;
    world.wait(8 * HOUR);
    world.monotonic = asleep;
    for _ in 0..5 {
        timeline.refresh_with(world.wait(SECOND));
        let sample = world.sample();
        let (from, to) = timeline.span_times(sample.ticks, false, sample.ticks + 2_400_000_000, false);
        assert_near(from, sample.unix_nano, 200);
        assert_near(to - from, SECOND, 20);
    }
}

/// Live migration: another host's counter, at another rate, or reset to nothing.
#[test]
fn a_counter_may_change() {
    for (frequency, ticks) in [(1.7, 2e12), (3.9, 1e13), (1.7, 5e9)] {
        let mut world = World::new(2.4);
        let mut timeline = world.timeline();
        (world.frequency, world.ticks) = (frequency, ticks);
        for _ in 0..5 {
            timeline.refresh_with(world.wait(SECOND));
        }
        let start = world.wait(SECOND / 10);
        let end = world.wait(SECOND / 10);
        let (from, to) = timeline.span_times(start.ticks, false, end.ticks, false);
        assert_near(from, start.unix_nano, 2);
        assert_near(to - from, SECOND / 10, 2);
    }
}

#[test]
fn refreshes_without_progress_change_nothing() {
    let mut world = World::new(2.4);
    let mut timeline = world.timeline();
    let now = world.sample();
    timeline.refresh_with(now);
    timeline.refresh_with(Sample { ticks: now.ticks + 1, ..now });
    timeline.refresh_with(world.wait(1000));
    let later = world.wait(SECOND);
    assert_near(timeline.unix_nano(later.ticks), later.unix_nano, 2);
}

#[test]
fn identity_passes_unix_times() {
    let timeline = Timeline::identity();
    for time in [0, 1, START, u64::MAX] {
        assert_eq!(timeline.unix_nano(time), time);
        assert_eq!(timeline.span_times(time, false, u64::MAX, false), (time, u64::MAX));
    }
}

#[test]
fn the_real_clocks_agree() {
    let mut timeline = Timeline::new();
    let first = ticks::monotonic_nano();
    while ticks::monotonic_nano() < first + 20_000_000 {
        timeline.refresh();
    }
    let sample = ticks::sample();
    assert_near(timeline.unix_nano(sample.ticks), sample.unix_nano, 1_000_000);
}

fn any_sample() -> impl Strategy<Value = Sample> {
    let number = || prop_oneof![any::<u64>(), 0..1_000_u64, Just(u64::MAX)];
    (number(), number(), number()).prop_map(|(ticks, monotonic_nano, unix_nano)| Sample {
        ticks,
        monotonic_nano,
        unix_nano,
    })
}

proptest! {
    /// Whatever the clocks say: no panic, and an end is never before its start.
    #[test]
    fn any_clock_will_do(
        samples in proptest::collection::vec(any_sample(), 1..40),
        span in (any::<u64>(), any::<bool>(), any::<u64>(), any::<bool>()),
    ) {
        let mut timeline = Timeline::starting_with(samples[0]);
        for sample in samples {
            timeline.refresh_with(sample);
            let (start, end) = timeline.span_times(span.0, span.1, span.2, span.3);
            prop_assert!(start <= end);
        }
    }

    /// Within an epoch the order of ticks is the order of times, wherever the knots lie.
    #[test]
    fn order_is_kept(
        steps in proptest::collection::vec((1_000..2_000_000_000_u64, -4_000_000..4_000_000_i64), 1..300),
        mut at in proptest::collection::vec(0.0..1.0_f64, 100),
    ) {
        let mut world = World::new(2.4);
        let mut timeline = world.timeline();
        let (from, unix) = (world.ticks, world.unix);
        for (wait, noise) in steps {
            // The wall clock wanders around the monotonic one, never further from the line than half a step.
            world.unix = unix + (world.ticks - from) / world.frequency + noise as f64;
            timeline.refresh_with(world.wait(wait));
        }
        at.sort_by(f64::total_cmp);
        let times: Vec<u64> =
            at.iter().map(|at| timeline.unix_nano((from + at * (world.ticks - from)) as u64)).collect();
        prop_assert!(times.is_sorted());
    }
}
