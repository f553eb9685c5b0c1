//! Ticks to Unix time. Recording threads store raw ticks; the exporter converts them with anchors that it re-reads.
//!
//! The timeline is a line of *knots*, each a tick with its Unix time and the slope that holds from there on. While
//! wall clock and ticks agree, a new knot continues the line and leads to the clock's reading within half a second,
//! so times never go backwards. When the wall clock was set, a new knot starts an epoch of its own: what began before
//! keeps the old time, what begins afterwards has the new one. Durations never use the wall clock, only the rate of
//! ticks against the kernel's monotonic clock.
//!
//! Precision: the clocks are read within 100 ns of each other, so times between two refreshes are that good, and the
//! rate is 100 ns divided by the time since the first refresh (at most a minute ago): 50 ppm after 2 ms, 0.1 ppm
//! after a second. A step of the wall clock is dated at the first refresh that sees it.
//!
//! All arithmetic is on integers and saturates. Single-threaded plain data; a refresh costs a microsecond, allocates
//! while the list of knots grows to its bound, and never blocks.

use crate::sys::ticks::{Sample, sample};

/// Slopes are nanoseconds per tick, times 2 to this: 40 leave a 3 GHz counter 38 significant bits.
const SLOPE_SHIFT: u32 = 40;
/// Further than this from the predicted time, somebody has set the wall clock.
const STEP_NANO: u64 = 10_000_000;
/// Smaller differences are worked off within this time; a refresh sooner than this after the last changes nothing.
const SLEW_NANO: u64 = 500_000_000;
/// The rate is measured over this time at most, so that it follows the kernel's.
const BASELINE_NANO: u64 = 64_000_000_000;
/// Beyond, knots are thinned out, the more the older they are: 256 reach back for days at a few percent of their age.
const MAX_KNOTS: usize = 256;

/// Converts ticks to Unix nanoseconds with the anchor in force at that tick. Owned by the exporter; plain data.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// Ascending in `ticks`, never empty. The last one can lie in the future: there a correction ends.
    knots: Vec<Knot>,
    /// Slope of ticks against the monotonic clock.
    rate: u64,
    /// The rate is measured from here …
    base: Sample,
    /// … or, once that is too long ago, from here.
    next_base: Sample,
    /// At the latest refresh that counted.
    last: Sample,
}

#[derive(Debug, Clone, Copy)]
struct Knot {
    ticks: u64,
    unix_nano: u64,
    slope: u64,
    /// The line is broken here: the wall clock was set.
    epoch: bool,
}

/// `ticks * slope`, in nanoseconds.
#[inline]
fn nanos(ticks: u64, slope: u64) -> u64 {
    let product = u128::from(ticks) * u128::from(slope);
    // In range unless a caller's ticks are nonsense: 2^64 ns are 584 years. (Of the upper half alone it is one comparison.)
    if ((product >> 64) as u64) >> SLOPE_SHIFT == 0 { (product >> SLOPE_SHIFT) as u64 } else { u64::MAX }
}

/// `nanos / ticks` as a slope. Never 0, which would stop time.
fn slope(nanos: u64, ticks: u64) -> u64 {
    let slope = (u128::from(nanos) << SLOPE_SHIFT) / u128::from(ticks.max(1));
    u64::try_from(slope).unwrap_or(u64::MAX).max(1)
}

impl Knot {
    #[inline]
    fn at(&self, ticks: u64) -> u64 {
        if ticks >= self.ticks {
            self.unix_nano.saturating_add(nanos(ticks - self.ticks, self.slope))
        } else {
            self.unix_nano.saturating_sub(nanos(self.ticks - ticks, self.slope))
        }
    }
}

impl Timeline {
    /// A timeline that begins now. What a tick is worth it learns at the first [`Timeline::refresh`]: call that
    /// before the first conversion.
    pub fn new() -> Self {
        Self::starting_with(sample())
    }

    /// As [`Timeline::new`], with given clocks.
    pub fn starting_with(first: Sample) -> Self {
        let rate = 1 << SLOPE_SHIFT;
        let start = Knot { ticks: first.ticks, unix_nano: first.unix_nano, slope: rate, epoch: true };
        Self { knots: vec![start], rate, base: first, next_base: first, last: first }
    }

    /// Ticks are Unix nanoseconds already: for tests of what comes after conversion.
    pub fn identity() -> Self {
        Self::starting_with(Sample { ticks: 0, monotonic_nano: 0, unix_nano: 0 })
    }

    /// One instant, with the anchor in force at it. Saturates instead of wrapping.
    #[inline]
    pub fn unix_nano(&self, ticks: u64) -> u64 {
        // What is being drained is recent: from the latest refreshes, of which each leaves two knots at most.
        let recent = self.knots.len().saturating_sub(4);
        for knot in self.knots[recent..].iter().rev() {
            if ticks >= knot.ticks {
                return knot.at(ticks);
            }
        }
        self.long_ago(ticks)
    }

    #[cold]
    fn long_ago(&self, ticks: u64) -> u64 {
        let after = self.knots.partition_point(|knot| knot.ticks <= ticks);
        self.knots[after.saturating_sub(1)].at(ticks)
    }

    /// Start and end of a span. Both in ticks: the start is converted with the anchor in force at it, and the end is
    /// the start plus the difference of ticks. Explicit (Unix) times pass through, and make the other end absolute
    /// too. An end before the start is clamped to it.
    #[inline]
    pub fn span_times(&self, start: u64, start_is_unix: bool, end: u64, end_is_unix: bool) -> (u64, u64) {
        let start_unix = if start_is_unix { start } else { self.unix_nano(start) };
        let end_unix = match (start_is_unix, end_is_unix) {
            (_, true) => end,
            (true, false) => self.unix_nano(end),
            (false, false) => start_unix.saturating_add(nanos(end.saturating_sub(start), self.rate)),
        };
        (start_unix, end_unix.max(start_unix))
    }

    /// Reads the clocks again. Call before every drain, and at least about once a second while there is nothing to
    /// drain; most calls within half a second of the last one read and change nothing.
    pub fn refresh(&mut self) {
        self.refresh_with(sample());
    }

    /// As [`Timeline::refresh`], with given clocks.
    pub fn refresh_with(&mut self, now: Sample) {
        let Some(elapsed) = now.ticks.checked_sub(self.last.ticks) else {
            // The counter was reset, as some are by suspend to memory. Older ticks have lost their meaning.
            *self = Self { rate: self.rate, ..Self::starting_with(now) };
            self.knots[0].slope = self.rate;
            return;
        };
        if elapsed == 0 || now.monotonic_nano <= self.last.monotonic_nano {
            return;
        }
        let first = self.last == self.base && self.knots.len() == 1 && self.knots[0].epoch;
        let stepped = now.unix_nano.abs_diff(self.unix_nano(now.ticks)) > STEP_NANO;
        let measured = self.last.ticks - self.base.ticks;
        // The first refreshes follow each other in doubling distance: the rate is coarse at first.
        if !first && !stepped && elapsed < measured && nanos(elapsed, self.rate) < SLEW_NANO {
            return;
        }
        self.measure_rate(now, elapsed);
        if first {
            self.knots[0].slope = self.rate;
        }
        self.add_knots(now);
        self.last = now;
    }

    fn measure_rate(&mut self, now: Sample, elapsed: u64) {
        let expected = nanos(elapsed, self.rate);
        let read = now.monotonic_nano.saturating_sub(self.last.monotonic_nano);
        // One of the two clocks stood still (suspend), or ticks have another rate now (migrated to another host).
        // Measure from here; the next refresh tells which of the two it was.
        let broken = expected.abs_diff(read) > 100_000 + read / 1000;
        if broken && self.last != self.base {
            (self.base, self.next_base) = (now, now);
            return;
        }
        self.rate =
            slope(now.monotonic_nano.saturating_sub(self.base.monotonic_nano), now.ticks - self.base.ticks);
        let age = |sample: Sample| now.monotonic_nano.saturating_sub(sample.monotonic_nano);
        if age(self.base) > BASELINE_NANO {
            (self.base, self.next_base) = (self.next_base, now);
        } else if self.next_base == self.base && age(self.base) > BASELINE_NANO / 2 {
            self.next_base = now;
        }
    }

    fn add_knots(&mut self, now: Sample) {
        while self.knots.len() > 1 && self.knots.last().is_some_and(|knot| knot.ticks > now.ticks) {
            self.knots.pop();
        }
        let predicted = self.unix_nano(now.ticks);
        if now.unix_nano.abs_diff(predicted) > STEP_NANO {
            self.push(Knot { ticks: now.ticks, unix_nano: now.unix_nano, slope: self.rate, epoch: true });
        } else {
            let slew_ticks = u64::try_from((u128::from(SLEW_NANO) << SLOPE_SHIFT) / u128::from(self.rate));
            let slew_ticks = slew_ticks.unwrap_or(u64::MAX);
            let target = now.unix_nano.saturating_add(SLEW_NANO);
            self.push(Knot {
                ticks: now.ticks,
                unix_nano: predicted,
                slope: slope(target.saturating_sub(predicted), slew_ticks),
                epoch: false,
            });
            if let Some(ticks) = now.ticks.checked_add(slew_ticks) {
                self.push(Knot { ticks, unix_nano: target, slope: self.rate, epoch: false });
            }
        }
    }

    /// Appends a knot. A full list loses the knot that is closest to its neighbours for its age, the one before it
    /// leading on to where the lost one led. Epochs stay, the oldest excepted when there is nothing but epochs.
    fn push(&mut self, knot: Knot) {
        if self.knots.len() >= MAX_KNOTS {
            let crowding = |i: &usize| {
                let gap = self.knots[i + 1].ticks - self.knots[i - 1].ticks;
                gap as f64 / (knot.ticks - self.knots[*i].ticks).max(1) as f64
            };
            let inner = (1..self.knots.len() - 1).filter(|i| !self.knots[*i].epoch);
            let lost = inner.min_by(|a, b| crowding(a).total_cmp(&crowding(b))).unwrap_or(0);
            let gone = self.knots.remove(lost);
            if lost > 0 {
                let next = self.knots[lost];
                let before = &mut self.knots[lost - 1];
                let led_to = gone.at(next.ticks);
                before.slope = slope(led_to.saturating_sub(before.unix_nano), next.ticks - before.ticks);
            }
        }
        self.knots.push(knot);
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}
