//! The first look-up of a measurement: from its attributes as they were recorded to the series of each stream. Keys are
//! compared byte by byte, so one attribute set can have several routes. The table bounds what all caches take.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::instruments::Instruments;

/// What a cached route takes besides its attributes.
const ROUTE_BYTES: usize = 64;

/// Attribute sets whose series are known: the index of each stream's series, one stream after the other.
#[derive(Debug, Default)]
pub(super) struct Routes {
    pub(super) series: Vec<u32>,
    /// Where in `series` the set without attributes begins; likewise the others.
    plain: Option<usize>,
    by_binding: HashMap<u32, usize, RandomState>,
    by_items: HashMap<Box<[u8]>, usize, RandomState>,
    /// What the cache takes.
    bytes: usize,
}

/// Attributes as recorded: a binding or items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a> {
    /// 0 for none.
    pub(super) binding: u32,
    /// Empty with a binding.
    pub(super) items: &'a [u8],
}

impl Recorded<'_> {
    /// The items of its binding.
    pub(super) fn bound(self, instruments: &Instruments) -> Option<Arc<[u8]>> {
        if self.binding == 0 { None } else { instruments.binding(self.binding) }
    }
}

impl Routes {
    /// Where the route of an attribute set begins.
    #[inline]
    pub(super) fn find(&self, recorded: Recorded<'_>) -> Option<usize> {
        match recorded {
            Recorded { binding: 0, items: [] } => self.plain,
            Recorded { binding: 0, items } => self.by_items.get(items).copied(),
            Recorded { binding, .. } => self.by_binding.get(&binding).copied(),
        }
    }

    /// Caches a route; returned is what that takes.
    pub(super) fn insert(&mut self, recorded: Recorded<'_>, route: &[u32]) -> usize {
        let at = self.series.len();
        self.series.extend_from_slice(route);
        match recorded {
            Recorded { binding: 0, items: [] } => self.plain = Some(at),
            Recorded { binding: 0, items } => drop(self.by_items.insert(items.into(), at)),
            Recorded { binding, .. } => drop(self.by_binding.insert(binding, at)),
        }
        let bytes = ROUTE_BYTES + recorded.items.len();
        self.bytes += bytes;
        bytes
    }

    /// How many routes of sets with attributes of their own.
    pub(super) fn len(&self) -> usize {
        self.by_items.len()
    }

    /// Empties the cache; returned is what it took.
    pub(super) fn forget(&mut self) -> usize {
        self.series.clear();
        self.plain = None;
        self.by_binding.clear();
        self.by_items.clear();
        mem::take(&mut self.bytes)
    }
}
