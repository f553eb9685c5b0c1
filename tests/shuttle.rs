//! Shuttle models of the hand-over of sessions: init, shutdown, fork and the first record of a thread beside each other,
//! under random schedules. `SHUTTLE_ITERATIONS` of each (10 000).
//!
//! Each counts its executions and those in which threads came between each other, and fails if there were none.
#![cfg(shuttle)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pytracingx::emit::model::Process;
use shuttle::thread;

/// Runs a model, which answers whether its threads came between each other.
fn explore(body: impl Fn() -> bool + Sync + Send + 'static) {
    let iterations = std::env::var("SHUTTLE_ITERATIONS").map_or(10_000, |text| text.parse().unwrap());
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counted = counts.clone();
    let body = Arc::new(move || {
        counted[0].fetch_add(1, Ordering::Relaxed);
        counted[1].fetch_add(usize::from(body()), Ordering::Relaxed);
    });
    let again = body.clone();
    shuttle::check_random(move || body(), iterations);
    // Few preemptions, each wherever it hurts.
    shuttle::check_pct(move || again(), iterations, 3);
    let [executions, between] = [0, 1].map(|at| counts[at].load(Ordering::Relaxed));
    assert!(iterations > 1 && executions == 2 * iterations, "{executions} executions");
    assert!(
        between > 1 && between < executions,
        "threads came between each other in {between} of {executions}"
    );
}

/// The session words of what `threads` threads record at once.
fn record_at_once(process: &Arc<Process>, threads: usize) -> Vec<Option<u64>> {
    let recording: Vec<_> = (0..threads)
        .map(|_| {
            let process = process.clone();
            thread::spawn(move || process.record().flatten().map(|intake| intake.id()))
        })
        .collect();
    recording.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Whichever thread of a forked child records first: one session is built, and all record into it.
#[test]
fn a_forked_child_builds_one_session() {
    explore(|| {
        let process = Arc::new(Process::new());
        assert!(process.init());
        process.fork();
        assert_eq!(record_at_once(&process, 3), [Some(2); 3]);
        // The parent's is never freed in its child.
        assert_eq!(process.built(), (2, 2));
        process.revivals() > 1
    });
}

/// `init` in a forked child beside its first records, which may build a session that it then replaces: no record goes to
/// the parent's, and none is without one while there is one.
#[test]
fn init_in_a_forked_child_beside_its_first_records() {
    explore(|| {
        let process = Arc::new(Process::new());
        assert!(process.init());
        process.fork();
        let other = process.clone();
        let starting = thread::spawn(move || other.init());
        let all = record_at_once(&process, 2);
        assert!(starting.join().unwrap());
        let replaced = process.built().0 == 3;
        // One that found the first session when the second replaced it records into neither.
        assert!(all.iter().all(|id| *id == Some(2) || replaced && [Some(3), None].contains(id)), "{all:?}");
        replaced
    });
}

/// Who sees a session that nobody ends finds what belongs to it.
#[test]
fn who_finds_a_session_finds_its_intake() {
    explore(|| {
        let process = Arc::new(Process::new());
        let other = process.clone();
        let starting = thread::spawn(move || assert!(other.init()));
        let found = process.record();
        assert!(!matches!(found, Some(None)), "a session without intake");
        starting.join().unwrap();
        found.is_some()
    });
}

/// Two threads begin a session: one of them does.
#[test]
fn one_of_two_inits_begins_the_session() {
    explore(|| {
        let process = Arc::new(Process::new());
        let other = process.clone();
        let starting = thread::spawn(move || other.init());
        let (first, second) = (process.init(), starting.join().unwrap());
        assert!(first != second && process.built().0 == 1);
        first
    });
}

/// Sessions that follow each other while threads record: a thread never goes back to one that ended, and all of them are
/// freed.
#[test]
fn sessions_follow_each_other() {
    explore(|| {
        let process = Arc::new(Process::new());
        assert!(process.init());
        let other = process.clone();
        let recording = thread::spawn(move || {
            let ids: Vec<u64> =
                (0..3).filter_map(|_| other.record().flatten()).map(|intake| intake.id()).collect();
            assert!(ids.is_sorted(), "{ids:?}");
            ids.contains(&1) && ids.contains(&2)
        });
        process.shutdown();
        assert!(process.init());
        let both = recording.join().unwrap();
        process.shutdown();
        assert!(process.record().is_none());
        assert_eq!(process.built(), (2, 0));
        both
    });
}
