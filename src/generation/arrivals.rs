//! When the tokens of one generation arrived, and what follows from it. An arrival is a clock read and one store. Memory is
//! bounded: up to [`EXACT`] arrivals are kept as they are (8 bytes each, 32 KiB) and percentiles are exact; from there on
//! they are folded, in runs of [`RUN`], into a sketch of 15 KiB that tells percentiles within 0.8 % (maximum, count, first
//! and last stay exact). Allocates while it grows, and once when the sketch begins. Plain data.

use crate::sys::ticks::{self, Sample};

/// Arrivals that are kept one by one.
pub const EXACT: usize = 4096;
/// Thereafter, arrivals between two foldings: short, so that none of them takes long.
pub const RUN: usize = 256;
const FIRST_ROOM: usize = 64;

/// A stamp is ticks, or with this bit Unix nanoseconds: neither reaches it within a century of uptime, or of 1970.
const UNIX: u64 = 1 << 63;

/// See the module documentation.
#[derive(Debug)]
pub struct Arrivals {
    stamps: Vec<u64>,
    /// Tokens beyond one an arrival.
    further: u64,
    folded: Option<Box<Folded>>,
}

#[derive(Debug)]
struct Folded {
    sketch: Sketch,
    thinned: Thinned,
    first: u64,
    last: u64,
}

/// What is known at the end. Times are Unix nanoseconds, gaps (between one arrival and the next) nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many arrivals.
    pub arrivals: u64,
    /// The first one.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// `None` with one arrival.
    pub gaps: Option<Gaps>,
}

/// Percentiles by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gaps {
    /// Median.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Largest.
    pub max: u64,
}

impl Arrivals {
    /// Takes none until there is room.
    pub const EMPTY: Self = Self { stamps: Vec::new(), further: 0, folded: None };

    /// An arrival at this tick. False, noting nothing, without room for it.
    #[inline]
    pub fn push(&mut self, ticks: u64) -> bool {
        let has_room = self.stamps.len() < self.stamps.capacity();
        if has_room {
            self.stamps.push(ticks & !UNIX);
        }
        has_room
    }

    /// An arrival at a given time; as [`Arrivals::push`].
    #[inline]
    pub fn push_unix_nano(&mut self, nanos: u64) -> bool {
        let has_room = self.stamps.len() < self.stamps.capacity();
        if has_room {
            self.stamps.push(nanos | UNIX);
        }
        has_room
    }

    /// Makes room, twice what there was. False: it is time to fold.
    pub fn grow(&mut self) -> bool {
        let room = if self.folded.is_some() { RUN } else { EXACT };
        let capacity = self.stamps.capacity();
        if capacity < room {
            self.stamps.reserve_exact((2 * capacity).clamp(FIRST_ROOM, room) - self.stamps.len());
        }
        capacity < room
    }

    /// Tokens that came with the arrival before.
    pub fn add_tokens(&mut self, count: u64) {
        self.further = self.further.saturating_add(count);
    }

    /// All tokens.
    pub fn tokens(&self) -> u64 {
        let folded = self.folded.as_ref().map_or(0, |folded| folded.thinned.seen);
        folded.saturating_add(self.stamps.len() as u64).saturating_add(self.further)
    }

    /// Bytes that it holds.
    pub fn memory_bytes(&self) -> usize {
        let thinned = |folded: &Folded| folded.thinned.kept.capacity() * size_of::<u64>();
        let folded =
            self.folded.as_ref().map_or(0, |folded| size_of::<Folded>() + SKETCH_BYTES + thinned(folded));
        self.stamps.capacity() * size_of::<u64>() + folded
    }

    /// Puts what is there into the sketch, making room. `measure` gets its gaps.
    pub fn fold(&mut self, clock: &Clock, measure: impl FnOnce(&[u64])) {
        let mut times = std::mem::take(&mut self.stamps);
        clock.put_in_order(&mut times);
        let (Some(&first), Some(&last)) = (times.first(), times.last()) else { return };
        let before = self.folded.as_ref().map(|folded| folded.last);
        let folded = self.folded.get_or_insert_with(|| Box::new(Folded::new(first)));
        times.iter().for_each(|at| folded.thinned.push(*at));
        folded.first = folded.first.min(first);
        folded.last = folded.last.max(last);
        to_gaps(&mut times);
        times[0] = first.saturating_sub(before.unwrap_or(first));
        let gaps = if before.is_some() { &times[..] } else { &times[1..] };
        gaps.iter().for_each(|nanos| folded.sketch.add(*nanos));
        measure(gaps);
        self.stamps = if times.capacity() == RUN { times } else { Vec::with_capacity(RUN) };
        self.stamps.clear();
    }

    /// What follows from all of them; `measure` gets the gaps that it has not had yet, `thinned` every arrival, or if there
    /// were too many what was kept of them. `None`: there was none.
    pub fn finish(
        &mut self,
        clock: &Clock,
        measure: impl FnOnce(&[u64]),
        thinned: Option<&mut Thinned>,
    ) -> Option<Summary> {
        if self.folded.is_some() {
            self.fold(clock, measure);
            return self.folded.as_ref().map(|folded| folded.summary(thinned));
        }
        let mut times = std::mem::take(&mut self.stamps);
        clock.put_in_order(&mut times);
        let (&first, &last) = (times.first()?, times.last()?);
        if let Some(thinned) = thinned {
            times.iter().for_each(|at| thinned.push(*at));
        }
        to_gaps(&mut times);
        let gaps = &mut times[1..];
        measure(gaps);
        let max = gaps.iter().copied().max();
        let gaps = max.map(|max| Gaps { p50: percentile(gaps, 0.5), p99: percentile(gaps, 0.99), max });
        Some(Summary { arrivals: times.len() as u64, first, last, gaps })
    }
}

/// Leaves the first as it is, and of each other what it is after the one before.
fn to_gaps(times: &mut [u64]) {
    for index in (1..times.len()).rev() {
        times[index] -= times[index - 1];
    }
}

/// Of some values, which it reorders.
fn percentile(values: &mut [u64], share: f64) -> u64 {
    *values.select_nth_unstable(rank(share, values.len() as u64) as usize - 1).1
}

/// The nearest rank of a percentile, from 1.
fn rank(share: f64, count: u64) -> u64 {
    ((share * count as f64).ceil() as u64).clamp(1, count.max(1))
}

impl Folded {
    fn new(first: u64) -> Self {
        Self { sketch: Sketch::default(), thinned: Thinned::new(MAX_OFFSETS), first, last: first }
    }

    fn summary(&self, thinned: Option<&mut Thinned>) -> Summary {
        if let Some(out) = thinned {
            *out = Thinned { limit: out.limit, ..self.thinned.clone() };
            out.halve_to_limit();
        }
        let Sketch { count, max, .. } = self.sketch;
        let gap = |share| self.sketch.percentile(share);
        Summary {
            arrivals: self.thinned.seen,
            first: self.first,
            last: self.last,
            gaps: (count > 0).then(|| Gaps { p50: gap(0.5), p99: gap(0.99), max }),
        }
    }
}

// ------------------------------------------------------------------------------------------------ few of many

/// Times kept of one generation, at most.
pub const MAX_OFFSETS: usize = 512;

/// Every arrival, or every second, fourth, … so that no more than a limit are kept.
#[derive(Debug, Clone)]
pub struct Thinned {
    /// Unix nanoseconds.
    pub kept: Vec<u64>,
    /// Every so many are kept.
    pub stride: u64,
    /// How many there were.
    pub seen: u64,
    limit: usize,
}

impl Thinned {
    /// Keeps half of `limit` at least once there were that many.
    pub fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), stride: 1, seen: 0, limit }
    }

    fn push(&mut self, at: u64) {
        if self.seen.is_multiple_of(self.stride) {
            self.kept.push(at);
            self.halve_to_limit();
        }
        self.seen += 1;
    }

    fn halve_to_limit(&mut self) {
        while self.kept.len() > self.limit {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            if self.limit == 0 {
                self.kept.clear();
            }
            self.stride *= 2;
        }
    }
}

// ------------------------------------------------------------------------------------------------ the sketch

/// Each power of two has so many buckets: none is wider than a 64th of its values.
const PER_OCTAVE: u64 = 64;
const OCTAVE_BITS: u32 = PER_OCTAVE.trailing_zeros();
const BUCKETS: usize = ((64 - OCTAVE_BITS as usize) + 1) * PER_OCTAVE as usize;
const SKETCH_BYTES: usize = BUCKETS * size_of::<u32>();

/// A distribution of nanoseconds; the middle of a bucket is within 1/128 of all that fell into it.
#[derive(Debug)]
struct Sketch {
    buckets: Box<[u32]>,
    count: u64,
    max: u64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), count: 0, max: 0 }
    }
}

impl Sketch {
    fn add(&mut self, nanos: u64) {
        let bucket = &mut self.buckets[Self::bucket(nanos)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Values below two octaves of buckets have one each.
    fn bucket(nanos: u64) -> usize {
        let shift = (63 - OCTAVE_BITS).saturating_sub(nanos.leading_zeros());
        (u64::from(shift) * PER_OCTAVE + (nanos >> shift)) as usize
    }

    /// Half the width above a bucket's smallest value.
    fn middle(bucket: usize) -> u64 {
        let bucket = bucket as u64;
        let shift = (bucket / PER_OCTAVE).saturating_sub(1);
        let smallest = (bucket - shift * PER_OCTAVE) << shift;
        smallest + ((1 << shift) >> 1)
    }

    fn percentile(&self, share: f64) -> u64 {
        let rank = rank(share, self.count);
        let mut below = 0;
        let reached = self.buckets.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        reached.map_or(self.max, |bucket| Self::middle(bucket).min(self.max))
    }
}

// ------------------------------------------------------------------------------------------------ the clock

/// Ticks to Unix nanoseconds, by what the clocks said at the beginning and now: good to the 100 ns that they are read
/// within, and untouched by a wall clock that is set in between.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Sample,
    nanos_per_tick: f64,
}

impl Clock {
    /// All clocks, for a beginning.
    pub fn begin() -> Sample {
        let (first, second) = (Self::read(), Self::read());
        // Whoever is preempted between two reads will hardly be so again.
        if first.1 <= second.1 { first.0 } else { second.0 }
    }

    /// All clocks, and how many ticks that took.
    fn read() -> (Sample, u64) {
        let before = ticks::now();
        let (monotonic_nano, unix_nano) = (ticks::monotonic_nano(), ticks::unix_nano());
        let width = ticks::now().saturating_sub(before);
        (Sample { ticks: before + width / 2, monotonic_nano, unix_nano }, width)
    }

    /// The clock of what began then, read now.
    pub fn since(base: Sample) -> Self {
        Self::between(base, Self::begin())
    }

    /// As [`Clock::since`], with given clocks.
    pub fn between(base: Sample, now: Sample) -> Self {
        let ticks = now.ticks.saturating_sub(base.ticks);
        let nanos = now.monotonic_nano.saturating_sub(base.monotonic_nano);
        let nanos_per_tick = if ticks > 0 && nanos > 0 { nanos as f64 / ticks as f64 } else { 1.0 };
        Self { base, nanos_per_tick }
    }

    /// One instant.
    pub fn unix_nano(&self, ticks: u64) -> u64 {
        let elapsed = ticks.wrapping_sub(self.base.ticks) as i64 as f64 * self.nanos_per_tick;
        self.base.unix_nano.saturating_add_signed(elapsed as i64)
    }

    /// Stamps to Unix nanoseconds, ascending.
    fn put_in_order(&self, stamps: &mut [u64]) {
        for stamp in stamps.iter_mut() {
            *stamp = if *stamp & UNIX == 0 { self.unix_nano(*stamp) } else { *stamp & !UNIX };
        }
        if !stamps.is_sorted() {
            stamps.sort_unstable();
        }
    }
}
