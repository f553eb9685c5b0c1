//! Loom models of the lanes: every interleaving of a small program, within the preemption bound.
//!
//! Loom passes vacuously when a model has a single execution, so every model here counts its executions and what the
//! reader saw, and the test fails if either shows that nothing was explored.
#![cfg(loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;
use pytracingx::lane::model::{self, Outcome};
use pytracingx::tally::Tally;

/// Runs a model and demands that it explored something.
fn explore(minimum_executions: usize, body: impl Fn(&Seen) + Sync + Send + 'static) {
    static LOCK: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _serial = LOCK.lock();
    let seen = Arc::new(Seen::default());
    let in_model = Arc::clone(&seen);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(move || {
        in_model.executions.fetch_add(1, Ordering::Relaxed);
        body(&in_model);
    });
    let executions = seen.executions.load(Ordering::Relaxed);
    assert!(executions >= minimum_executions, "only {executions} executions: the model explores nothing");
    assert!(seen.while_writing.load(Ordering::Relaxed) > 1, "reads hardly ever overlapped a write");
}

/// Counted outside of loom's view.
#[derive(Default)]
struct Seen {
    executions: AtomicUsize,
    /// Records read while the writer was still at work, over all executions.
    while_writing: AtomicUsize,
}

/// A writer and a reader on two threads: records arrive whole, once, in order, across block changes.
#[test]
fn records_arrive_whole_once_and_in_order() {
    explore(10, |seen| {
        let (mut writer, mut reader) = model::lane(4, 4);
        let writing = thread::spawn(move || {
            for value in 1..=3_u8 {
                assert_eq!(writer.push(value), Outcome::Pushed);
            }
        });
        let early = reader.drain();
        seen.while_writing.fetch_add(early.len(), Ordering::Relaxed);
        writing.join().unwrap();
        let late = reader.drain();
        let all: Vec<u8> = early.into_iter().chain(late).collect();
        assert_eq!(all, [1, 2, 3]);
    });
}

/// A run is published with one store for each block: its records arrive whole, once, in order, and never before.
#[test]
fn a_run_arrives_whole_once_and_in_order() {
    explore(10, |seen| {
        let (mut writer, mut reader) = model::lane(4, 4);
        let writing = thread::spawn(move || {
            assert_eq!(writer.push(1), Outcome::Pushed);
            assert_eq!(writer.push_run(&[2, 3, 4]), 3);
        });
        let early = reader.drain();
        seen.while_writing.fetch_add(early.len(), Ordering::Relaxed);
        writing.join().unwrap();
        let all: Vec<u8> = early.into_iter().chain(reader.drain()).collect();
        assert_eq!(all, [1, 2, 3, 4]);
    });
}

/// Two blocks are the whole budget, so the writer uses again what the reader gave back; what did not fit is refused,
/// never overwritten.
#[test]
fn blocks_are_used_again_only_after_they_were_drained() {
    explore(10, |seen| {
        let (mut writer, mut reader) = model::lane(2, 2);
        let writing = thread::spawn(move || {
            let mut pushed = Vec::new();
            for value in 1..=6_u8 {
                if writer.push(value) == Outcome::Pushed {
                    pushed.push(value);
                }
            }
            pushed
        });
        let mut read = reader.drain();
        seen.while_writing.fetch_add(read.len(), Ordering::Relaxed);
        let pushed = writing.join().unwrap();
        read.extend(reader.drain());
        assert_eq!(read, pushed);
        assert!(pushed.len() >= 4);
    });
}

/// The writer exits right after its last record: a reader that saw the closed flag before its drain has everything.
#[test]
fn nothing_is_left_behind_when_a_writer_exits() {
    explore(10, |seen| {
        let (mut writer, mut reader) = model::lane(4, 4);
        let writing = thread::spawn(move || {
            assert_eq!(writer.push(1), Outcome::Pushed);
            assert_eq!(writer.push(2), Outcome::Pushed);
            assert_eq!(writer.push(3), Outcome::Pushed);
        });
        let closed = reader.is_closed();
        let mut read = reader.drain();
        seen.while_writing.fetch_add(read.len(), Ordering::Relaxed);
        if closed {
            assert_eq!(read, [1, 2, 3]);
        }
        writing.join().unwrap();
        assert!(reader.is_closed());
        read.extend(reader.drain());
        assert_eq!(read, [1, 2, 3]);
    });
}

/// The writing end moves to another thread (as when a thread exits and the next one takes its lane over).
#[test]
fn a_lane_can_change_hands() {
    explore(4, |seen| {
        let (mut writer, mut reader) = model::lane(4, 4);
        let writing = thread::spawn(move || {
            assert_eq!(writer.push(1), Outcome::Pushed);
            let next = thread::spawn(move || {
                assert_eq!(writer.push(2), Outcome::Pushed);
                assert_eq!(writer.push(3), Outcome::Pushed);
            });
            next.join().unwrap();
        });
        let mut read = reader.drain();
        seen.while_writing.fetch_add(read.len(), Ordering::Relaxed);
        writing.join().unwrap();
        read.extend(reader.drain());
        assert_eq!(read, [1, 2, 3]);
    });
}

/// Two threads take and give back blocks of one arena: no block is ever in two hands, none gets lost.
#[test]
fn a_block_is_in_one_hand_at_a_time() {
    explore(10, |seen| {
        let arena = model::Blocks::new(2);
        let other = arena.clone();
        let taking = thread::spawn(move || {
            if let Some(block) = other.take() {
                other.use_exclusively(block);
                other.give_back(block);
            }
        });
        for _ in 0..2 {
            if let Some(block) = arena.take() {
                seen.while_writing.fetch_add(1, Ordering::Relaxed);
                arena.use_exclusively(block);
                arena.give_back(block);
            }
        }
        taking.join().unwrap();
        let (first, second) = (arena.take().unwrap(), arena.take().unwrap());
        assert_ne!(first, second);
        assert_eq!(arena.take(), None);
    });
}

/// The exporter announces that it parks while a producer passes the mark: either the exporter sees the records and
/// does not park, or the producer sees it parked and wakes it. Never neither.
#[test]
fn no_wake_up_is_lost() {
    explore(4, |seen| {
        let doorbell = model::Doorbell::new(4, 4);
        let (mut writer, mut reader) = doorbell.lane();
        let ringing = doorbell.clone();
        let writing = thread::spawn(move || {
            for value in 1..=6_u8 {
                assert_eq!(ringing.push(&mut writer, value), Outcome::Pushed);
            }
        });
        let early = reader.drain();
        seen.while_writing.fetch_add(early.len(), Ordering::Relaxed);
        let parked = doorbell.park(&reader);
        writing.join().unwrap();
        if parked && doorbell.is_pressed(&reader) {
            assert!(doorbell.was_rung(), "parked with a pressed lane and nobody rang");
        }
    });
}

/// Two threads add to one tally while a third looks: what was taken in between and what is left make the sum, once each,
/// and of two additions that do not both fit 64 bits one is refused.
#[test]
fn additions_side_by_side_are_counted_once_each() {
    explore(10, |seen| {
        let tally = Arc::new(Tally::new(1));
        let add = |values: [i64; 2]| {
            let tally = tally.clone();
            thread::spawn(move || values.into_iter().filter(|value| tally.add(*value)).count())
        };
        let (first, second) = (add([1, i64::MAX - 9]), add([8, -2]));
        let (early, additions) = tally.read();
        seen.while_writing.fetch_add(additions as usize, Ordering::Relaxed);
        let added = first.join().unwrap() + second.join().unwrap();
        let (sum, additions) = tally.read();
        assert_eq!(additions, added as u64);
        // Only while 8 is in it and -2 is not, the large one finds no room.
        assert!(
            sum == i64::MAX - 2 && added == 4 || sum == 7 && added == 3,
            "{sum} of {added}, {early} before"
        );
    });
}

/// Two threads add to one tally while a third looks whether nobody does: what it is then shown is whole.
#[test]
fn sum_and_count_are_of_the_same_additions() {
    explore(10, |seen| {
        let tally = Arc::new(Tally::new(1));
        let add = || {
            let tally = tally.clone();
            thread::spawn(move || assert!(tally.add(3)))
        };
        let (first, second) = (add(), add());
        if let Some((sum, additions)) = tally.read_whole() {
            seen.while_writing.fetch_add(additions as usize, Ordering::Relaxed);
            assert_eq!(sum as u64, 3 * additions);
        }
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!(tally.read_whole(), Some((6, 2)));
    });
}

/// Two threads add to one tally while a third closes it: what it shows then is all that was added, whole, and stays so.
#[test]
fn a_closed_tally_stays_as_it_is() {
    explore(10, |seen| {
        let tally = Arc::new(Tally::new(1));
        let add = || {
            let tally = tally.clone();
            thread::spawn(move || u64::from(tally.add(3)))
        };
        let (first, second) = (add(), add());
        tally.close();
        let (sum, additions) = tally.read();
        seen.while_writing.fetch_add(additions as usize, Ordering::Relaxed);
        assert_eq!(sum as u64, 3 * additions);
        assert_eq!(first.join().unwrap() + second.join().unwrap(), additions);
        assert_eq!(tally.read(), (sum, additions));
    });
}

/// One thread adds while another looks: no look ever shows what was not added, and the last one all of it.
#[test]
fn an_addition_is_seen_whole_or_not_at_all() {
    explore(4, |seen| {
        let tally = Arc::new(Tally::new(1));
        let (adding, looking) = (tally.clone(), tally.clone());
        let writing = thread::spawn(move || assert!(adding.add_alone(3) && adding.add_alone(-5)));
        let looked = thread::spawn(move || looking.read());
        let (early, additions) = looked.join().unwrap();
        assert!([0, 3, -2].contains(&early) && additions <= 2);
        seen.while_writing.fetch_add(additions as usize, Ordering::Relaxed);
        writing.join().unwrap();
        assert_eq!(tally.read(), (-2, 2));
    });
}
