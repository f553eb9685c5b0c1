//! What callbacks observed of one instrument since the last collection: a total for each attribute set, the last one
//! when a set was observed twice. Allocates for every set; bounded in sets and bytes.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::accumulate::Sum;
use crate::record::Number;

/// Sets that are told apart; further ones are taken as they come.
const SETS: usize = 1 << 16;
/// Bytes of their attributes, likewise.
const BYTES: usize = 16 << 20;

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// In the order in which they were first observed.
    pub(super) sets: Vec<(Arc<[u8]>, Number)>,
    by_attributes: HashMap<Arc<[u8]>, usize, RandomState>,
    bytes: usize,
    /// What a full lane's fold could not keep apart, and how many observations that were.
    pub(super) overflow: Option<(Sum, u64)>,
}

impl Observed {
    /// Takes the total of a set (canonical form). False, taking nothing, when there are too many sets.
    pub(super) fn set(&mut self, attributes: &[u8], total: Number) -> bool {
        if let Some(at) = self.by_attributes.get(attributes) {
            self.sets[*at].1 = total;
            return true;
        }
        if self.sets.len() >= SETS || self.bytes + attributes.len() > BYTES {
            return false;
        }
        let attributes: Arc<[u8]> = attributes.into();
        self.bytes += attributes.len();
        self.by_attributes.insert(attributes.clone(), self.sets.len());
        self.sets.push((attributes, total));
        true
    }

    /// Takes a sum of totals whose sets nobody knows any more.
    pub(super) fn add_overflow(&mut self, totals: &Sum, observations: u64) {
        let (sum, count) = self.overflow.get_or_insert_default();
        sum.merge(totals);
        *count += observations;
    }

    /// All there is; begins anew.
    pub(super) fn take(&mut self) -> Self {
        mem::take(self)
    }
}
