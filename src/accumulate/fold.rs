//! Where measurements go while a lane is full, or when there are many at once: into cells, one for each attribute set and stream, instead of one record
//! each. A lock that is held for one call, or for taking all. Memory is bounded in attribute sets and in bytes;
//! beyond, measurements share the overflow set, so none is lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;

use super::{Cell, LastValue, Sum};
use crate::attrs::{self, Text, Value};
use crate::instruments::Instrument;
use crate::record::Number;

/// Attribute sets of one instrument that a fold keeps apart.
pub const FOLD_ATTRIBUTE_SETS: usize = 2000;
/// Attribute bytes that a fold keeps, of all instruments.
const FOLD_ATTRIBUTE_BYTES: usize = 8 << 20;

type Map<K, V> = HashMap<K, V, RandomState>;
type SetIndex = Map<Arc<[u8]>, usize>;

/// Where one thread's measurements go while its lane is full: the thread and the exporter share it under a lock that is
/// held for one measurement, or for taking it all.
#[derive(Debug, Default)]
pub struct Fold {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    folded: Folded,
    /// By instrument and binding, then by attribute items: index of the entry.
    index: Map<(u32, u32), SetIndex>,
    /// Attribute sets by instrument.
    sets: Map<u32, usize>,
    attribute_bytes: usize,
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
    pub attributes: Arc<[u8]>,
    /// In the order of `Instrument::streams`. Of an observable instrument, whose values are totals, a single one: the
    /// last value, in the overflow set the sum.
    pub cells: Vec<Cell>,
    /// How many measurements.
    pub count: u64,
}

/// The attribute items of the series that takes what is beyond the limits.
pub fn overflow_attributes() -> Arc<[u8]> {
    let mut items = Vec::new();
    attrs::put_attribute(&mut items, Text::Inline(b"otel.metric.overflow"), Value::Bool(true));
    items.into()
}

impl Fold {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a measurement. Beyond [`FOLD_ATTRIBUTE_SETS`] sets of one instrument (or 8 MiB of attributes of all) it
    /// joins the overflow set (`otel.metric.overflow` = true).
    pub fn record(
        &self,
        instrument: &Instrument,
        binding: u32,
        attributes: &[u8],
        value: Number,
        ticks: u64,
    ) {
        let mut state = self.state();
        let entry = state.entry(instrument, binding, attributes);
        entry.count += 1;
        for cell in &mut entry.cells {
            cell.record(value, ticks);
        }
    }

    /// Takes measurements that differ in value only, as [`Fold::record`] takes each.
    pub fn record_all(
        &self,
        instrument: &Instrument,
        binding: u32,
        attributes: &[u8],
        values: impl Iterator<Item = Number>,
    ) {
        let mut state = self.state();
        let entry = state.entry(instrument, binding, attributes);
        for value in values {
            entry.count += 1;
            for cell in &mut entry.cells {
                cell.record(value, 0);
            }
        }
    }

    /// All that was taken since the last call.
    pub fn take(&self) -> Folded {
        std::mem::take(&mut *self.state()).folded
    }
}

impl State {
    fn entry(&mut self, instrument: &Instrument, binding: u32, attributes: &[u8]) -> &mut FoldedEntry {
        let id = instrument.id;
        if let Some(at) = self.find(id, binding, attributes) {
            return &mut self.folded.entries[at];
        }
        let sets = self.sets.entry(id).or_default();
        let full = *sets >= FOLD_ATTRIBUTE_SETS - 1
            || self.attribute_bytes + attributes.len() > FOLD_ATTRIBUTE_BYTES;
        if !full {
            *sets += 1;
            self.attribute_bytes += attributes.len();
            return self.insert(instrument, binding, attributes.into(), false);
        }
        let overflow = overflow_attributes();
        match self.find(id, 0, &overflow) {
            Some(at) => &mut self.folded.entries[at],
            None => self.insert(instrument, 0, overflow, true),
        }
    }

    fn find(&self, instrument: u32, binding: u32, attributes: &[u8]) -> Option<usize> {
        self.index.get(&(instrument, binding))?.get(attributes).copied()
    }

    fn insert(
        &mut self,
        instrument: &Instrument,
        binding: u32,
        attributes: Arc<[u8]>,
        overflow: bool,
    ) -> &mut FoldedEntry {
        let cells = match (instrument.definition.kind.is_observable(), overflow) {
            (true, false) => vec![Cell::LastValue(LastValue::default())],
            (true, true) => vec![Cell::Sum(Sum::default())],
            _ => instrument.streams.iter().map(|stream| Cell::new(&stream.aggregation)).collect(),
        };
        let at = self.folded.entries.len();
        self.index.entry((instrument.id, binding)).or_default().insert(attributes.clone(), at);
        self.folded.entries.push(FoldedEntry {
            instrument: instrument.id,
            binding,
            attributes,
            cells,
            count: 0,
        });
        &mut self.folded.entries[at]
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
