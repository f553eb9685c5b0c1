//! What a sink holds: order, bounds, cutting by records, bytes and scopes.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use pytracingx::encode::chunk::{Chunk, Part, ScopeBytes};
use pytracingx::exporter::pending::{Pending, Size};

/// Records of the given sizes; the first four bytes (where there are so many) number them. A new scope every `run`.
pub(crate) fn part(first: u32, sizes: &[usize], run: usize) -> Part {
    let mut chunk = Chunk::default();
    for (index, size) in sizes.iter().enumerate() {
        if index % run == 0 {
            let scope = Arc::new(ScopeBytes { scope: vec![7; 10], schema_url: String::new() });
            chunk.runs.push((index, scope));
        }
        let mut record = vec![0; *size];
        let number = (first + index as u32).to_le_bytes();
        let shown = number.len().min(*size);
        record[..shown].copy_from_slice(&number[..shown]);
        chunk.bytes.extend(record);
        chunk.ends.push(chunk.bytes.len());
    }
    Part { records: 0..chunk.len(), chunk: Arc::new(chunk) }
}

/// As [`part`], with records that hold so many data points.
pub(crate) fn metrics(first: u32, points: &[u32]) -> Part {
    let part = part(first, &vec![8; points.len()], 100);
    let chunk = Chunk {
        bytes: part.chunk.bytes.clone(),
        ends: part.chunk.ends.clone(),
        runs: part.chunk.runs.clone(),
        points: points.to_vec(),
    };
    Part { chunk: Arc::new(chunk), ..part }
}

/// Numbers of the records, which all are `size` bytes long.
fn numbers(parts: &[Part], size: usize) -> Vec<u32> {
    let bytes = parts.iter().flat_map(|part| part.chunk.slice(part.records.clone()).chunks_exact(size));
    bytes.map(|record| u32::from_le_bytes(record[..4].try_into().unwrap())).collect()
}

#[test]
fn takes_in_order_and_puts_back_in_order() {
    let mut pending = Pending::new(usize::MAX, None);
    let now = Instant::now();
    for first in [0, 5, 10] {
        assert_eq!(pending.push(&part(first, &[8; 5], 100), now), 0);
    }
    pending.take(7, usize::MAX);
    assert_eq!(numbers(pending.parts(), 8), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(pending.held(), Size { records: 15, bytes: 120 });
    pending.put_back();
    pending.take(7, usize::MAX);
    assert_eq!(numbers(pending.parts(), 8), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(pending.finish(), 7);
    pending.take(100, usize::MAX);
    assert_eq!(numbers(pending.parts(), 8), [7, 8, 9, 10, 11, 12, 13, 14]);
    assert_eq!(pending.clear(), 8);
    assert_eq!((pending.held(), pending.entered(), pending.left()), (Size::default(), 15, 15));
    assert_eq!(pending.most(), Size { records: 15, bytes: 120 });
}

#[test]
fn refuses_the_newest_when_full_and_counts_what_is_taken() {
    let now = Instant::now();
    let mut by_bytes = Pending::new(100, None);
    assert_eq!(by_bytes.push(&part(0, &[8; 10], 100), now), 0);
    by_bytes.take(4, usize::MAX);
    assert_eq!(by_bytes.push(&part(10, &[8; 10], 100), now), 8, "20 bytes are left, taken ones count");
    by_bytes.put_back();
    by_bytes.take(100, usize::MAX);
    assert_eq!(numbers(by_bytes.parts(), 8), (0..12).collect::<Vec<_>>());

    let mut by_records = Pending::new(usize::MAX, Some(3));
    assert_eq!(by_records.push(&part(0, &[8; 10], 100), now), 7);
    assert_eq!(by_records.push(&part(0, &[8; 10], 100), now), 10);
    assert_eq!(by_records.held().records, 3);
}

#[test]
fn what_was_refused_does_not_stay_in_memory() {
    let mut pending = Pending::new(100, None);
    let all = part(0, &[8; 1000], 3);
    assert_eq!(pending.push(&all, Instant::now()), 988);
    pending.take(1000, usize::MAX);
    let kept = &pending.parts()[0];
    assert_eq!(Arc::strong_count(&all.chunk), 1);
    assert_eq!((kept.chunk.bytes.len(), kept.chunk.len()), (96, 12));
    assert_eq!(kept.chunk.runs.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0, 3, 6, 9]);
}

#[test]
fn takes_at_least_one_record_and_counts_scope_framing() {
    let mut pending = Pending::new(usize::MAX, None);
    pending.push(&part(0, &[1000, 10, 10, 10], 2), Instant::now());
    assert!(pending.take(100, 500) > 1000, "a lone record may be larger than was asked for");
    assert_eq!(pending.taken(), Size { records: 1, bytes: 1000 });
    pending.finish();
    // Two scopes: 10 bytes each and their framing.
    let all = pending.take(100, usize::MAX);
    assert!(all > 30 + 20, "{all}");
    pending.put_back();
    assert_eq!(pending.take(100, all), all);
    assert_eq!(pending.taken().records, 3);
    pending.put_back();
    assert!(pending.take(100, all - 1) < all);
    assert_eq!(pending.taken().records, 2);
}

#[test]
fn metrics_count_as_their_data_points_and_are_cut_by_messages() {
    let (mut pending, now) = (Pending::new(usize::MAX, Some(90)), Instant::now());
    assert_eq!(pending.push(&metrics(0, &[10, 20, 30]), now), 0);
    assert_eq!(pending.push(&metrics(3, &[25, 15, 1]), now), 16, "30 more would fit");
    assert_eq!((pending.held(), pending.entered()), (Size { records: 85, bytes: 32 }, 85));

    pending.take(59, usize::MAX);
    assert_eq!(numbers(pending.parts(), 8), [0, 1]);
    assert!(pending.divisible());
    assert_eq!((pending.finish(), pending.left()), (30, 30));
    pending.take(1, usize::MAX);
    assert_eq!(numbers(pending.parts(), 8), [2], "at least one");
    assert!(!pending.divisible());
    assert_eq!(pending.taken(), Size { records: 30, bytes: 8 });
    pending.put_back();
    pending.take(55, usize::MAX);
    assert_eq!(numbers(pending.parts(), 8), [2, 3], "to the point");
    assert_eq!(pending.finish(), 55);
    assert_eq!(pending.push(&metrics(9, &[101, 1]), now), 102, "none overtakes");
    assert_eq!((pending.clear(), pending.entered(), pending.left()), (0, 85, 85));
}

#[test]
fn the_oldest_waiting_record_is_known() {
    let (mut pending, early) = (Pending::new(usize::MAX, None), Instant::now());
    let late = early + std::time::Duration::from_secs(1);
    pending.push(&part(0, &[8; 3], 100), early);
    pending.push(&part(3, &[8; 3], 100), late);
    assert_eq!(pending.oldest(), Some(early));
    pending.take(2, usize::MAX);
    assert_eq!(pending.oldest(), Some(early));
    pending.finish();
    pending.take(1, usize::MAX);
    assert_eq!(pending.oldest(), Some(late));
    pending.put_back();
    assert_eq!(pending.oldest(), Some(early));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is pushed, taken, put back: order and sums are those of a plain list, no bound is broken.
    #[test]
    fn behaves_like_a_bounded_list(
        max_bytes in 0_usize..2000,
        max_records in proptest::option::of(0_usize..40),
        ops in proptest::collection::vec((0_u8..4, 1_usize..12, 1_usize..200, 1_usize..5), 1..60),
    ) {
        const SIZE: usize = 9;
        let mut pending = Pending::new(max_bytes, max_records);
        let (mut model, mut taken, mut next) = (Vec::new(), 0, 0);
        let now = Instant::now();
        for (op, records, bytes, run) in ops {
            match op {
                0 => {
                    let refused = pending.push(&part(next, &vec![SIZE; records], run), now);
                    model.extend(next..next + (records - refused) as u32);
                    next += records as u32;
                    let full = model.len() >= max_records.unwrap_or(usize::MAX)
                        || (model.len() + 1) * SIZE > max_bytes;
                    prop_assert!(refused == 0 || full);
                }
                1 if taken == 0 => {
                    let cost = pending.take(records, bytes);
                    taken = pending.taken().records;
                    prop_assert_eq!(taken > 0, !model.is_empty());
                    prop_assert!(taken <= 1 || (taken <= records && cost <= bytes));
                    prop_assert_eq!(numbers(pending.parts(), SIZE), &model[..taken]);
                }
                2 => {
                    prop_assert_eq!(pending.finish(), taken as u64);
                    model.drain(..taken);
                    taken = 0;
                }
                _ => {
                    pending.put_back();
                    taken = 0;
                }
            }
            let held = Size { records: model.len(), bytes: model.len() * SIZE };
            prop_assert_eq!(pending.held(), held);
            prop_assert!(held.bytes <= max_bytes && held.records <= max_records.unwrap_or(usize::MAX));
            prop_assert_eq!(pending.entered() - pending.left(), held.records as u64);
        }
    }
}
