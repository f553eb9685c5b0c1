//! Base-2 exponential histograms: the bucket at index `i` counts values in `(base^i, base^(i+1)]`, with
//! `base = 2^(2^-scale)`. They begin at the finest scale and halve their resolution when the values of one sign no longer
//! fit `max_size` buckets. As every scale's index is a shift of the finest one's, neither the order of the values nor the
//! way cells were merged shows in the buckets. Allocates while its buckets grow.

use super::explicit::widened;

/// The finest scale: about a million buckets between a number and its double.
pub const MAX_SCALE: i32 = 20;
/// The coarsest scale that is ever needed: two buckets hold all doubles of one sign.
pub const MIN_SCALE: i32 = -10;

/// Counts of values between powers of a base that adapts to them.
#[derive(Debug, Clone, PartialEq)]
pub struct ExponentialHistogram {
    /// [`MIN_SCALE`] to [`MAX_SCALE`]; 0 while there are no buckets.
    pub scale: i32,
    /// Values seen.
    pub count: u64,
    /// Of all values.
    pub sum: f64,
    /// The smallest value; without meaning when `count` is 0.
    pub min: f64,
    /// The largest value; without meaning when `count` is 0.
    pub max: f64,
    /// Zeros seen.
    pub zero_count: u64,
    /// Values above zero.
    pub positive: Buckets,
    /// Values below zero, by their magnitude.
    pub negative: Buckets,
}

/// Adjoining buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Index of the first bucket.
    pub offset: i32,
    /// From `offset` on. The first and the last one are not 0.
    pub counts: Vec<u64>,
}

impl Default for ExponentialHistogram {
    fn default() -> Self {
        Self {
            scale: 0,
            count: 0,
            sum: 0.0,
            min: 0.0,
            max: 0.0,
            zero_count: 0,
            positive: Buckets::default(),
            negative: Buckets::default(),
        }
    }
}

impl ExponentialHistogram {
    /// Takes a value; what is not finite is left out. At most `max_size` buckets for each sign, at least 2.
    pub fn record(&mut self, value: f64, max_size: u32) {
        if !value.is_finite() {
            return;
        }
        (self.min, self.max) = widened((self.count, self.min, self.max), value, value);
        self.count += 1;
        self.sum += value;
        if value == 0.0 {
            self.zero_count += 1;
            return;
        }
        if self.is_without_buckets() {
            self.scale = MAX_SCALE;
        }
        let finest = finest_index(value.abs());
        let index = finest >> (MAX_SCALE - self.scale);
        let reach = self.side(value).reach_with(index, index);
        let coarser = shifts_to_fit(reach, max_size);
        if coarser > 0 {
            self.downscale(coarser);
        }
        let index = finest >> (MAX_SCALE - self.scale);
        self.side(value).add(index, 1);
    }

    /// Takes what another histogram has seen.
    pub fn merge(&mut self, other: &Self, max_size: u32) {
        if other.count == 0 {
            return;
        }
        (self.min, self.max) = widened((self.count, self.min, self.max), other.min, other.max);
        self.count += other.count;
        self.sum += other.sum;
        self.zero_count += other.zero_count;
        if other.is_without_buckets() {
            return;
        }
        if self.is_without_buckets() {
            self.scale = other.scale;
        }
        self.downscale(self.scale - other.scale);
        let shift = other.scale - self.scale;
        let sides = [(&self.positive, &other.positive), (&self.negative, &other.negative)];
        let coarser = sides.map(|(own, other)| match other.reach() {
            Some((low, high)) => shifts_to_fit(own.reach_with(low >> shift, high >> shift), max_size),
            None => 0,
        });
        self.downscale(coarser[0].max(coarser[1]));
        let shift = other.scale - self.scale;
        self.positive.add_all(&other.positive, shift);
        self.negative.add_all(&other.negative, shift);
    }

    fn is_without_buckets(&self) -> bool {
        self.positive.counts.is_empty() && self.negative.counts.is_empty()
    }

    #[inline]
    fn side(&mut self, value: f64) -> &mut Buckets {
        if value > 0.0 { &mut self.positive } else { &mut self.negative }
    }

    /// Lowers the scale by `by`, if that is positive.
    fn downscale(&mut self, by: i32) {
        if by > 0 {
            self.scale -= by;
            self.positive.downscale(by);
            self.negative.downscale(by);
        }
    }
}

impl Buckets {
    /// The counts, from `offset` on.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// First and last index.
    fn reach(&self) -> Option<(i32, i32)> {
        (!self.counts.is_empty()).then(|| (self.offset, self.offset + self.counts.len() as i32 - 1))
    }

    /// First and last index once `low` to `high` have joined.
    #[inline]
    fn reach_with(&self, low: i32, high: i32) -> (i32, i32) {
        self.reach().map_or((low, high), |(first, last)| (first.min(low), last.max(high)))
    }

    /// Counts at an index that keeps all within the bound.
    #[inline]
    fn add(&mut self, index: i32, count: u64) {
        if self.counts.is_empty() {
            self.offset = index;
        } else if index < self.offset {
            let room = (self.offset - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, room));
            self.offset = index;
        }
        let at = (index - self.offset) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += count;
    }

    /// Adds buckets of a scale that is `shift` finer.
    fn add_all(&mut self, other: &Self, shift: i32) {
        for (index, count) in (other.offset..).zip(&other.counts) {
            if *count > 0 {
                self.add(index >> shift, *count);
            }
        }
    }

    fn downscale(&mut self, by: i32) {
        let Some((first, last)) = self.reach() else { return };
        let offset = first >> by;
        for index in first..=last {
            let count = std::mem::take(&mut self.counts[(index - first) as usize]);
            self.counts[((index >> by) - offset) as usize] += count;
        }
        self.counts.truncate(((last >> by) - offset) as usize + 1);
        self.offset = offset;
    }
}

/// By how much the scale must fall for indexes from `low` to `high` to be at most `max_size` buckets.
#[inline]
fn shifts_to_fit((low, high): (i32, i32), max_size: u32) -> i32 {
    let most = i64::from(max_size.max(2));
    let mut shift = 0;
    while i64::from(high >> shift) - i64::from(low >> shift) >= most {
        shift += 1;
    }
    shift
}

const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const BIAS: i32 = f64::MAX_EXP - 1;

/// The index at [`MAX_SCALE`] of a positive finite value, exactly. Subnormal numbers count as the smallest normal one,
/// as in OpenTelemetry's other implementations.
#[inline]
fn finest_index(value: f64) -> i32 {
    let bits = value.max(f64::MIN_POSITIVE).to_bits();
    let power = ((bits >> FRACTION_BITS) as i32 - BIAS) << MAX_SCALE;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    if fraction == 0 {
        // A power of two is the upper bound of its bucket, and the only double that is a bound.
        return power - 1;
    }
    let logarithm = f64::from_bits(fraction | 1.0_f64.to_bits()).log2() * f64::from(1 << MAX_SCALE);
    // Further from a bound than any platform's logarithm is wrong: rounding errors are below 2^-32 here.
    let sure = (logarithm - logarithm.round()).abs() > 1.0 / f64::from(1 << 20);
    power + if sure { logarithm as i32 } else { finest_digits(fraction) }
}

/// The first [`MAX_SCALE`] binary digits of the logarithm of `1.fraction`, one squaring each. Exact: what the squarings
/// cut off amounts to less than 2^-120 of the number, and no double between 1 and 2 is closer than 2^-78 to a bound.
#[cold]
fn finest_digits(fraction: u64) -> i32 {
    // 1 to 2, with 127 digits behind the point.
    let mut number = 1 << 127 | u128::from(fraction) << (127 - FRACTION_BITS);
    let mut digits = 0;
    for _ in 0..MAX_SCALE {
        let (high, low) = (number >> 64, number & u128::from(u64::MAX));
        // The upper half of the square: 1 to 4, with 126 digits behind the point.
        let square = high * high + ((high * low) >> 63);
        let two = square >> 127;
        number = if two == 1 { square } else { square << 1 };
        digits = digits << 1 | two as i32;
    }
    digits
}
