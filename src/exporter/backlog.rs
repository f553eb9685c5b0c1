//! What a drain copied out of the lanes, in batches small enough that the loop looks at its sockets between two of them.
//! The lanes are free at once, whatever is to be done with their records. Bounded by the lanes, but for the one batch whose
//! shared records are being parted, and what is kept of such batches: a drain comes after all of the one before is dealt with.
//! Allocates while it grows to its working size.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::hand_over::{Probe, Stage};
use crate::batch::Batch;
use crate::lane::Drainer;

/// A batch is handed so many bytes of records, and a block more at most: a few milliseconds of work for the dearest of them,
/// measurements whose attribute sets are all new. Records that are shared take four times as much again when they are parted.
const BATCH_BYTES: usize = 128 * 1024;
/// What is kept of batches that are dealt with takes no more: a default lane's worth, or a few that were parted.
const SPARE_BYTES: usize = 8 << 20;
/// Oversized payloads that may wait for their records. Each record follows its payload at once, so more than a few
/// belong to records that were lost with a panic of the exporter.
const MOST_EARLY: usize = 256;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Backlog {
    batches: VecDeque<Batch>,
    /// Empty, kept for their memory; the one used last is last.
    spare: Vec<Batch>,
    /// Oversized payloads whose records are not found yet, some of which the next drain brings, by ticket and so by age.
    early: BTreeMap<u64, Box<[u8]>>,
    since: Instant,
}

impl Backlog {
    /// Nothing was recorded before `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self { batches: VecDeque::new(), spare: Vec::new(), early: BTreeMap::new(), since: now }
    }

    /// Copies all that the lanes have. Only while empty. No record will be older than `since`. Returns the bytes. A panic
    /// costs nothing: what is copied by then comes next, the rest with the next drain.
    pub(super) fn drain(&mut self, drainer: &mut Drainer, since: Instant, probe: &mut Probe) -> usize {
        debug_assert!(self.is_empty());
        self.since = since;
        while self.early.len() > MOST_EARLY {
            self.early.pop_first();
        }
        let Self { batches, spare, early, .. } = self;
        let mut add = |run: &[u8]| {
            if batches.back().is_none_or(|batch| batch.byte_len() >= BATCH_BYTES) {
                batches.push_back(spare.pop().unwrap_or_default());
            }
            if let Some(batch) = batches.back_mut() {
                batch.copy(run);
            }
            probe.at(Stage::Drain);
        };
        drainer.drain(&mut add, &mut |ticket, payload| _ = early.insert(ticket, payload))
    }

    /// The next batch, whose records are still to be found, and since when they can have waited. To be given back.
    pub(super) fn next(&mut self) -> Option<(Batch, Instant)> {
        self.batches.pop_front().map(|batch| (batch, self.since))
    }

    /// Hands a batch the oversized payloads of its records.
    pub(super) fn hand_payloads_over(&mut self, batch: &mut Batch) {
        if !self.early.is_empty() {
            batch.claim(&mut self.early);
        }
    }

    /// Keeps the memory of a batch that is dealt with, within bounds.
    pub(super) fn give_back(&mut self, mut batch: Batch) {
        batch.clear();
        let kept: usize = self.spare.iter().map(Batch::capacity_bytes).sum();
        if kept + batch.capacity_bytes() <= SPARE_BYTES {
            self.spare.push(batch);
        }
    }

    /// All that was drained is dealt with.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Frees memory that is not in use.
    pub(super) fn shrink(&mut self) {
        self.spare = Vec::new();
    }
}
