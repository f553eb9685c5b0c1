//! Histograms with fixed boundaries. A measurement costs a search among the boundaries and allocates nothing.

use std::sync::Arc;

/// Counts of values between fixed boundaries.
#[derive(Debug, Clone, PartialEq)]
pub struct ExplicitHistogram {
    /// Ascending, finite.
    pub boundaries: Arc<[f64]>,
    /// One more than boundaries: the bucket at `i` counts values above boundary `i - 1`, up to and including boundary
    /// `i`; the last one those above all boundaries.
    pub counts: Vec<u64>,
    /// Values seen: the sum of `counts`.
    pub count: u64,
    /// Of all values.
    pub sum: f64,
    /// The smallest value; without meaning when `count` is 0.
    pub min: f64,
    /// The largest value; without meaning when `count` is 0.
    pub max: f64,
}

impl Default for ExplicitHistogram {
    /// One bucket for everything.
    fn default() -> Self {
        Self::new(Arc::from([]))
    }
}

impl ExplicitHistogram {
    /// Nothing measured yet. `boundaries`: ascending and finite.
    pub fn new(boundaries: Arc<[f64]>) -> Self {
        let counts = vec![0; boundaries.len() + 1];
        Self { boundaries, counts, count: 0, sum: 0.0, min: 0.0, max: 0.0 }
    }

    /// Index of the bucket that counts a value.
    #[inline]
    pub fn bucket(&self, value: f64) -> usize {
        self.boundaries.partition_point(|boundary| *boundary < value)
    }

    /// Takes a value; what is not finite is left out.
    #[inline]
    pub fn record(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let bucket = self.bucket(value);
        self.counts[bucket] += 1;
        (self.min, self.max) = widened((self.count, self.min, self.max), value, value);
        self.count += 1;
        self.sum += value;
    }

    /// Takes what another histogram with the same boundaries has seen.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.boundaries, other.boundaries);
        if other.count == 0 {
            return;
        }
        for (count, other) in self.counts.iter_mut().zip(&other.counts) {
            *count += other;
        }
        (self.min, self.max) = widened((self.count, self.min, self.max), other.min, other.max);
        self.count += other.count;
        self.sum += other.sum;
    }
}

/// The range of `count` values from `min` to `max` once others from `low` to `high` have joined them.
#[inline]
pub(super) fn widened((count, min, max): (u64, f64, f64), low: f64, high: f64) -> (f64, f64) {
    if count == 0 { (low, high) } else { (min.min(low), max.max(high)) }
}
