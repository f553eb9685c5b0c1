//! Tallies: exact over the whole range, taken once, one for each counter and binding; and what tables make of them.

use std::sync::Arc;
use std::thread;

use proptest::prelude::*;
use pytracingx::tally::{Taken, Tallies, Tally};

fn take(tallies: &Tallies) -> Vec<Taken> {
    let mut taken = Vec::new();
    tallies.take(&mut taken);
    taken
}

proptest! {
    /// Whatever is added and whenever it is taken: what is taken is what was added, to the last unit. What a tally refuses
    /// does not fit 64 bits.
    #[test]
    fn what_is_taken_is_what_was_added(
        steps in prop::collection::vec((any::<i64>(), any::<bool>(), any::<bool>()), 0..50),
    ) {
        let tallies = Tallies::default();
        let tally = tallies.get(1, 7, 3);
        let (mut taken, mut additions, mut sum, mut count) = (0_i128, 0, 0_i128, 0_u64);
        for (value, alone, take_now) in steps {
            let added = if alone { tally.add_alone(value) } else { tally.add(value) };
            prop_assert_eq!(added, i64::try_from(sum + i128::from(value)).is_ok());
            if added {
                sum += i128::from(value);
                count += 1;
            }
            prop_assert_eq!(tallies.additions(), count);
            if take_now {
                for Taken { instrument, binding, sum, additions: more } in take(&tallies) {
                    prop_assert_eq!((instrument, binding), (7, 3));
                    taken += sum;
                    additions += more;
                }
                prop_assert_eq!((taken, additions), (sum, count));
            }
        }
    }
}

#[test]
fn from_one_end_to_the_other_between_two_takes() {
    let tallies = Tallies::default();
    let tally = tallies.get(1, 1, 0);
    assert!(tally.add(i64::MIN));
    assert_eq!(take(&tallies)[0].sum, i128::from(i64::MIN));
    assert!(tally.add(i64::MAX) && tally.add(i64::MAX) && tally.add(1));
    assert!(!tally.add(1) && !tally.add_alone(1), "it would wrap");
    assert_eq!(take(&tallies), [Taken { instrument: 1, binding: 0, sum: (1 << 64) - 1, additions: 3 }]);
    assert_eq!(take(&tallies), []);
}

#[test]
fn an_addition_of_nothing_is_an_addition() {
    let tallies = Tallies::default();
    assert!(tallies.get(1, 1, 0).add(0));
    assert_eq!(take(&tallies), [Taken { instrument: 1, binding: 0, sum: 0, additions: 1 }]);
}

#[test]
fn there_is_one_for_each_counter_and_binding() {
    let tallies = Tallies::default();
    let same = tallies.get(1, 1, 2);
    assert!(Arc::ptr_eq(&same, &tallies.get(1, 1, 2)));
    for (instrument, binding) in [(1, 0), (2, 2)] {
        assert!(!Arc::ptr_eq(&same, &tallies.get(1, instrument, binding)));
    }
}

#[test]
fn threads_side_by_side_lose_nothing_while_it_is_taken() {
    const THREADS: usize = 4;
    const EACH: u64 = 20_000;
    let tallies = Tallies::default();
    let (mut sum, mut additions) = (0, 0);
    thread::scope(|scope| {
        let adding: Vec<_> = (0..THREADS)
            .map(|_| {
                let tally = tallies.get(1, 1, 0);
                scope.spawn(move || (1..=EACH).all(|value| tally.add(value as i64)))
            })
            .collect();
        while !adding.iter().all(|thread| thread.is_finished()) {
            for taken in take(&tallies) {
                sum += taken.sum;
                additions += taken.additions;
            }
        }
        assert!(adding.into_iter().all(|thread| thread.join().unwrap()));
    });
    for taken in take(&tallies) {
        sum += taken.sum;
        additions += taken.additions;
    }
    assert_eq!((sum, additions), ((THREADS as u64 * EACH * (EACH + 1) / 2).into(), THREADS as u64 * EACH));
    assert_eq!(Tally::new(1).read(), (0, 0));
}
