//! Metric cells: what a series remembers of its measurements. Pure data, shared by the exporter's series tables and by
//! the fold that takes measurements when a lane is full. Merging two cells gives what one cell would hold that had seen
//! the measurements of both.

use std::sync::{Arc, Mutex, PoisonError};

use crate::instruments::{Aggregation, Instrument};
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
    Exponential(ExponentialHistogram),
}

/// See [`Cell`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sum {}
/// See [`Cell`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastValue {}
/// See [`Cell`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExplicitHistogram {
    /// Ascending.
    pub boundaries: Arc<[f64]>,
    /// One more than boundaries.
    pub counts: Vec<u64>,
    /// Of all measurements.
    pub count: u64,
    /// Of all measurements.
    pub sum: f64,
    /// Meaningless while `count` is 0.
    pub min: f64,
    /// Meaningless while `count` is 0.
    pub max: f64,
}

/// See [`Cell`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExponentialHistogram {
    /// The base is 2 to the power of 2 to the power of -scale.
    pub scale: i32,
    /// Of all measurements.
    pub count: u64,
    /// Of all measurements.
    pub sum: f64,
    /// Meaningless while `count` is 0.
    pub min: f64,
    /// Meaningless while `count` is 0.
    pub max: f64,
    /// Measurements of 0.
    pub zero_count: u64,
    /// Above 0.
    pub positive: Buckets,
    /// Below 0.
    pub negative: Buckets,
}

/// Neighbouring exponential buckets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Index of the first one.
    pub offset: i32,
    /// Their counts.
    pub counts: Vec<u64>,
}

impl Cell {
    /// Nothing measured yet.
    pub fn new(aggregation: &Aggregation) -> Self {
        let _ = aggregation;
        unimplemented!()
    }

    /// Takes a measurement; `ticks` orders last values (0: not known).
    pub fn record(&mut self, value: Number, ticks: u64) {
        let _ = (value, ticks);
        unimplemented!()
    }

    /// Takes what another cell of the same aggregation has seen.
    pub fn merge(&mut self, other: &Self) {
        let _ = other;
        unimplemented!()
    }
}

/// Attribute sets of one instrument that a fold keeps apart.
pub const FOLD_ATTRIBUTE_SETS: usize = 2000;

/// Where one thread's measurements go while its lane is full: the thread and the exporter share it under a lock that is
/// held for one measurement, or for taking it all.
#[derive(Debug, Default)]
pub struct Fold {
    state: Mutex<Folded>,
}

/// What a fold has taken, by instrument, binding and attribute items (as recorded). One cell for each of the
/// instrument's streams.
#[derive(Debug, Default)]
pub struct Folded {
    /// See the type.
    pub entries: Vec<FoldedEntry>,
}

/// One attribute set's measurements.
#[derive(Debug)]
pub struct FoldedEntry {
    /// Instrument id.
    pub instrument: u32,
    /// Binding id, 0 for none.
    pub binding: u32,
    /// Attribute items.
    pub attributes: Box<[u8]>,
    /// In the order of `Instrument::streams`.
    pub cells: Vec<Cell>,
    /// How many measurements.
    pub count: u64,
}

impl Fold {
    /// Takes a measurement. Beyond [`FOLD_ATTRIBUTE_SETS`] sets of one instrument it joins the overflow set
    /// (`otel.metric.overflow` = true).
    pub fn record(
        &self,
        instrument: &Instrument,
        binding: u32,
        attributes: &[u8],
        value: Number,
        ticks: u64,
    ) {
        let _ = (instrument, binding, attributes, value, ticks);
        unimplemented!()
    }

    /// All that was taken since the last call.
    pub fn take(&self) -> Folded {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The folds of all threads of a session.
#[derive(Debug, Default)]
pub struct Folds(Mutex<Vec<Arc<Fold>>>);

impl Folds {
    /// A thread's, from now on.
    pub fn add(&self, fold: Arc<Fold>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fold);
    }

    /// All of them. Those whose threads are gone are handed out for the last time.
    pub fn all(&self) -> Vec<Arc<Fold>> {
        let mut folds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = folds.clone();
        // Ours and the list's: nobody records into it any more, and what it holds is in `all`.
        folds.retain(|fold| Arc::strong_count(fold) > 2);
        all
    }
}
