//! Metric cells: what a series remembers of its measurements. Pure data, shared by the exporter's series tables and by
//! the fold that takes measurements when a lane is full. Merging two cells gives what one cell would hold that had seen
//! the measurements of both (sums of doubles up to rounding). What is not finite is filtered where it is recorded; cells
//! leave it out, last values excepted, and never panic whatever a value is.

mod explicit;
mod exponential;
mod fold;

pub use explicit::ExplicitHistogram;
pub use exponential::{Buckets, ExponentialHistogram, MAX_SCALE, MIN_SCALE};
pub use fold::{FOLD_ATTRIBUTE_SETS, Fold, Folded, FoldedEntry, Folds, overflow_attributes};

use crate::instruments::Aggregation;
use crate::record::Number;

/// What a series remembers; the variant is the stream's [`Aggregation`].
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A sum.
    Sum(Sum),
    /// The last value.
    LastValue(LastValue),
    /// Explicit buckets.
    Explicit(ExplicitHistogram),
    /// Exponential buckets.
    Exponential {
        /// What was measured.
        histogram: ExponentialHistogram,
        /// Buckets on each side of zero, at least 2.
        max_size: u32,
    },
}

impl Cell {
    /// Nothing measured yet.
    pub fn new(aggregation: &Aggregation) -> Self {
        match aggregation {
            Aggregation::Sum { .. } => Self::Sum(Sum::default()),
            Aggregation::LastValue => Self::LastValue(LastValue::default()),
            Aggregation::Explicit { boundaries } => {
                Self::Explicit(ExplicitHistogram::new(boundaries.clone()))
            }
            Aggregation::Exponential { max_size } => {
                Self::Exponential { histogram: ExponentialHistogram::default(), max_size: *max_size }
            }
        }
    }

    /// Takes a measurement; `ticks` orders last values (0: not known).
    #[inline]
    pub fn record(&mut self, value: Number, ticks: u64) {
        match self {
            Self::Sum(sum) => sum.record(value),
            Self::LastValue(last) => last.record(value, ticks),
            Self::Explicit(histogram) => histogram.record(value.as_f64()),
            Self::Exponential { histogram, max_size } => histogram.record(value.as_f64(), *max_size),
        }
    }

    /// Takes what another cell of the same aggregation has seen; a cell of another aggregation changes nothing.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Sum(sum), Self::Sum(other)) => sum.merge(other),
            (Self::LastValue(last), Self::LastValue(other)) => last.merge(other),
            (Self::Explicit(histogram), Self::Explicit(other)) => histogram.merge(other),
            (Self::Exponential { histogram, max_size }, Self::Exponential { histogram: other, .. }) => {
                histogram.merge(other, *max_size);
            }
            _ => debug_assert!(false, "cells of one stream have one aggregation"),
        }
    }
}

/// A sum: of integers, exactly, until a double joins it; from then on of doubles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sum {
    /// Of integers only. 2^64 of them fit.
    Int(i128),
    /// Of anything.
    Double(f64),
}

impl Default for Sum {
    fn default() -> Self {
        Self::Int(0)
    }
}

impl Sum {
    /// Adds; what is not finite is left out.
    #[inline]
    pub fn record(&mut self, value: Number) {
        match (&mut *self, value) {
            (Self::Int(sum), Number::Int(value)) => *sum = sum.wrapping_add(value.into()),
            (Self::Double(sum), Number::Double(value)) if value.is_finite() => *sum += value,
            (Self::Double(sum), Number::Int(value)) => *sum += value as f64,
            (Self::Int(sum), Number::Double(value)) if value.is_finite() => {
                *self = Self::Double(*sum as f64 + value);
            }
            _ => {}
        }
    }

    /// Adds what another sum has seen.
    pub fn merge(&mut self, other: &Self) {
        match (&mut *self, *other) {
            (Self::Int(sum), Self::Int(other)) => *sum = sum.saturating_add(other),
            (Self::Int(sum), Self::Double(other)) => *self = Self::Double(*sum as f64 + other),
            (Self::Double(sum), Self::Int(other)) => *sum += other as f64,
            (Self::Double(sum), Self::Double(other)) => *sum += other,
        }
    }

    /// The sum; of integers a double when it is beyond 64 bits.
    #[inline]
    pub fn value(&self) -> Number {
        match *self {
            Self::Int(sum) => i64::try_from(sum).map_or(Number::Double(sum as f64), Number::Int),
            Self::Double(sum) => Number::Double(sum),
        }
    }
}

/// The latest value.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LastValue {
    /// `None` before the first.
    pub value: Option<Number>,
    /// When it was measured; 0 when that is not known, and any next one replaces it.
    pub ticks: u64,
}

impl LastValue {
    /// Takes a value unless it is known to be older than the one there. Of the same or of unknown time, the last call
    /// counts.
    #[inline]
    pub fn record(&mut self, value: Number, ticks: u64) {
        if ticks == 0 || ticks >= self.ticks {
            *self = Self { value: Some(value), ticks };
        }
    }

    /// As if what `other` holds was recorded now.
    pub fn merge(&mut self, other: &Self) {
        if let Some(value) = other.value {
            self.record(value, other.ticks);
        }
    }
}
