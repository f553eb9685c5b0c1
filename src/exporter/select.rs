//! Which records to encode for which sinks, so that each is encoded once for all sinks of equal limits that want it.

use std::sync::Arc;
use std::time::Instant;

use super::sink::Sink;
use crate::encode::chunk::{Chunk, Part};

/// Sets of sinks that a group of equal limits is encoded for; with more, each sink gets an encoding of its own.
const MOST_SETS: usize = 16;

/// Sinks of equal limits, a bit each.
pub(super) fn groups<L: Clone + PartialEq>(limits: &[L]) -> Vec<(L, u16)> {
    let mut groups: Vec<(L, u16)> = Vec::new();
    for (index, limits) in limits.iter().enumerate() {
        match groups.iter_mut().find(|(of_group, _)| of_group == limits) {
            Some((_, members)) => *members |= 1 << index,
            None => groups.push((limits.clone(), 1 << index)),
        }
    }
    groups
}

/// The distinct masks of a batch's records of one signal, and how many records have each.
pub(super) fn count_masks(of_records: impl Iterator<Item = u16>) -> Vec<(u16, u64)> {
    let mut masks: Vec<(u16, u64)> = Vec::new();
    let mut last = 0;
    for mask in of_records {
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

/// Announces to each sink how many records will follow.
pub(super) fn expect(masks: &[(u16, u64)], sinks: &mut [Sink]) {
    for (index, sink) in sinks.iter_mut().enumerate() {
        let wanted = masks.iter().filter(|(mask, _)| mask >> index & 1 == 1);
        sink.expect(wanted.map(|(_, count)| count).sum());
    }
}

/// Gives a chunk to the sinks that have a bit in `wanting`.
pub(super) fn push(chunk: Chunk, wanting: u16, since: Instant, sinks: &mut [Sink]) {
    let part = Part { records: 0..chunk.len(), chunk: Arc::new(chunk) };
    for_each(wanting, sinks, |sink| sink.push(&part, since));
}

/// The sinks that have a bit in `wanting`.
pub(super) fn for_each(wanting: u16, sinks: &mut [Sink], mut act: impl FnMut(&mut Sink)) {
    for (index, sink) in sinks.iter_mut().enumerate() {
        if wanting >> index & 1 == 1 {
            act(sink);
        }
    }
}

/// Records whose mask, cut to the bits `of`, equals `equals`.
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

/// What to encode for a group of sinks, and for which of them each: every distinct set of them that wants some record.
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
