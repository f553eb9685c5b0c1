//! Which spans to encode for which sinks, so that each is encoded once for all sinks of equal limits that want it.

use crate::batch::Batch;

/// Sets of sinks that a group of equal limits is encoded for; with more, each sink gets an encoding of its own.
const MOST_SETS: usize = 16;

/// The distinct masks of a batch's spans, and how many spans have each.
pub(super) fn count_masks(batch: &Batch) -> Vec<(u16, u64)> {
    let mut masks: Vec<(u16, u64)> = Vec::new();
    let mut last = 0;
    for span in batch.spans() {
        let mask = span.header.mask;
        if masks.get(last).is_none_or(|(known, _)| *known != mask) {
            last = masks.iter().position(|(known, _)| *known == mask).unwrap_or_else(|| {
                masks.push((mask, 0));
                masks.len() - 1
            });
        }
        masks[last].1 += 1;
    }
    masks
}

/// Spans whose mask, cut to the bits `of`, equals `equals`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Select {
    of: u16,
    equals: u16,
}

impl Select {
    pub(super) fn holds(self, mask: u16) -> bool {
        mask & self.of == self.equals
    }
}

/// What to encode for a group of sinks, and for which of them each: every distinct set of them that wants some span.
pub(super) fn selections(masks: &[(u16, u64)], members: u16) -> Vec<(Select, u16)> {
    let mut sets: Vec<u16> = masks.iter().map(|(mask, _)| mask & members).filter(|set| *set != 0).collect();
    sets.sort_unstable();
    sets.dedup();
    if sets.len() <= MOST_SETS {
        return sets.into_iter().map(|set| (Select { of: members, equals: set }, set)).collect();
    }
    let wanted = sets.iter().fold(0, |all, set| all | set);
    let bits = (0..u16::BITS).map(|bit| 1 << bit).filter(|bit| wanted & bit != 0);
    bits.map(|bit| (Select { of: bit, equals: bit }, bit)).collect()
}
