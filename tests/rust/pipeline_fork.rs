//! Forked children and the pipeline that they inherit: each test runs alone in a process of its own.
#![cfg(unix)]
#![expect(unsafe_code, reason = "forks")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pytracingx::emit;
use pytracingx::session;

use crate::pipeline_rig::{Collector, LONG, config, flush, record, run_alone, shutdown, stats};

/// Forks; the child leaves with status 0 if `body` does not panic, and is killed if it hangs.
fn in_child(body: impl FnOnce() + std::panic::UnwindSafe) {
    // SAFETY: the child only runs code made for forked children, and leaves by `_exit`.
    unsafe {
        match libc::fork() {
            0 => {
                libc::alarm(30);
                libc::_exit(i32::from(std::panic::catch_unwind(body).is_err()))
            }
            child => {
                assert!(child > 0, "fork failed");
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "status {status}");
            }
        }
    }
}

#[test]
fn a_forked_child_exports_by_itself() {
    run_alone("pipeline_fork::child_exports");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn child_exports() {
    let collector = Collector::start();
    session::init(config(vec![collector.sink()])).unwrap();
    record(0..100); // partly still in the lane at the fork
    let parent = emit::session();
    in_child(|| {
        assert!(session::is_initialized());
        assert_eq!(stats().spans_recorded, 0);
        assert!(flush(LONG), "nothing of its own yet");
        record(100..150);
        assert!(![0, parent].contains(&emit::session()));
        in_child(|| {
            record(150..200);
            assert!(session::shutdown_at_exit(&mut || false));
        });
        assert!(flush(LONG));
        assert_eq!(stats().spans_recorded, 50);
        assert!(shutdown(LONG));
        assert!(!session::is_initialized());
    });
    in_child(|| {
        assert!(shutdown(LONG), "without having recorded");
        record(0..1);
        assert_eq!(emit::session(), 0);
    });
    record(200..250);
    assert!(shutdown(LONG));
    assert_eq!(collector.numbers(), (0..250).collect::<Vec<_>>());
}

#[test]
fn init_in_a_child_replaces_what_it_inherited() {
    run_alone("pipeline_fork::child_inits");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn child_inits() {
    let (old, new) = (Collector::start(), Collector::start());
    session::init(config(vec![old.sink()])).unwrap();
    in_child(|| {
        session::init(config(vec![new.sink()])).unwrap();
        record(0..10);
        assert!(session::init(config(vec![])).is_err());
        assert!(shutdown(LONG));
    });
    in_child(|| {
        record(10..20);
        session::init(config(vec![new.sink()])).unwrap();
        record(20..30);
        assert!(shutdown(LONG));
    });
    assert!(shutdown(LONG));
    assert_eq!((old.numbers(), new.numbers()), ((10..20).collect(), (0..10).chain(20..30).collect()));
}

#[test]
fn forks_while_everything_is_busy() {
    run_alone("pipeline_fork::busy");
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn busy() {
    let collector = Collector::start();
    let mut sink = collector.sink();
    sink.batch.schedule_delay_ms = 1;
    session::init(config(vec![sink])).unwrap();
    let stop = AtomicBool::new(false);
    let recorded = thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut number = 1_000_000;
            while !stop.load(Ordering::Relaxed) {
                record(number..number + 10);
                number += 10;
                let _ = session::stats();
                thread::sleep(Duration::from_micros(200));
            }
            number
        });
        for child in 0..60 {
            in_child(|| {
                record(child * 10..child * 10 + 10);
                assert!(shutdown(LONG));
            });
        }
        stop.store(true, Ordering::Relaxed);
        busy.join().unwrap()
    });
    assert!(shutdown(LONG));
    assert_eq!(collector.numbers(), (0..600).chain(1_000_000..recorded).collect::<Vec<_>>());
}
