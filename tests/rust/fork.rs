//! The wiped page, the counters and the lane memory: real forks, real pages.
#![expect(unsafe_code, reason = "forks, and touches lane memory as lanes do")]

#[cfg(unix)]
mod child {
    use std::process::Command;

    use pytracingx::sys::fork;

    /// Runs one of the ignored tests below alone in a process of its own: the page is process-wide, and a fork of a
    /// process with many test threads would prove less.
    fn run_alone(test: &str) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--test-threads=1", test])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    /// Forks; the child's answer is its exit status.
    fn in_child(body: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child touches only the page and leaves by `_exit`.
        unsafe {
            match libc::fork() {
                0 => {
                    // A lock that stays locked shall be a failure, not a hang.
                    libc::alarm(20);
                    libc::_exit(if body() { 0 } else { 1 })
                }
                child => {
                    assert!(child > 0, "fork failed");
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
                }
            }
        }
    }

    #[test]
    fn a_forked_child_finds_no_session_and_a_free_lock() {
        run_alone("fork::child::session_is_wiped");
    }

    #[test]
    #[ignore = "run by the test above in its own process"]
    fn session_is_wiped() {
        assert_eq!(fork::session(), 0);
        fork::set_session(7);
        let guard = fork::lifecycle_lock();
        let child = in_child(|| {
            let wiped = fork::session() == 0;
            drop(fork::lifecycle_lock());
            fork::set_session(8);
            let grandchild = in_child(|| fork::session() == 0);
            wiped && grandchild && fork::session() == 8
        });
        assert!(child);
        drop(guard);
        assert_eq!(fork::session(), 7);
        drop(fork::lifecycle_lock());
    }

    #[test]
    fn the_lifecycle_lock_excludes() {
        run_alone("fork::child::lock_excludes");
    }

    #[test]
    #[ignore = "run by the test above in its own process"]
    fn lock_excludes() {
        let mut count = 0_u64;
        let at = &raw mut count as usize;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for _ in 0..200 {
                        let _guard = fork::lifecycle_lock();
                        // SAFETY: the lock under test makes this the only access.
                        unsafe { *(at as *mut u64) += 1 };
                    }
                });
            }
        });
        assert_eq!(count, 800);
    }
}

mod memory {
    use pytracingx::sys::memory::{ALIGN_BYTES, Region};

    fn read(region: &Region, at: usize) -> u8 {
        // SAFETY: within the region, and this test is its only user.
        unsafe { region.as_ptr().add(at).read() }
    }

    #[test]
    fn reserves_zeroed_aligned_memory_and_releases_ranges_of_it() {
        let region = Region::reserve(64 << 20).unwrap();
        assert_eq!(region.bytes(), 64 << 20);
        assert_eq!(region.as_ptr().addr() % ALIGN_BYTES, 0);
        let last = region.bytes() - 1;
        assert_eq!((read(&region, 0), read(&region, last)), (0, 0));
        let ends = [0, 3 * ALIGN_BYTES - 1, 3 * ALIGN_BYTES, 6 * ALIGN_BYTES - 1, 6 * ALIGN_BYTES, last];
        for at in ends {
            // SAFETY: within the region, and this test is its only user.
            unsafe { region.as_ptr().add(at).write(0xff) };
        }
        // SAFETY: within the region, and this test is its only user.
        unsafe { region.release(3 * ALIGN_BYTES, 3 * ALIGN_BYTES) };
        assert_eq!(ends.map(|at| read(&region, at)), [0xff, 0xff, 0, 0, 0xff, 0xff]);
    }

    #[test]
    fn sizes_are_rounded_up_and_impossible_ones_are_errors() {
        assert_eq!(Region::reserve(0).unwrap().bytes(), ALIGN_BYTES);
        assert_eq!(Region::reserve(ALIGN_BYTES + 1).unwrap().bytes(), 2 * ALIGN_BYTES);
        assert!(Region::reserve(usize::MAX).is_err());
        assert!(Region::reserve(isize::MAX as usize).is_err());
    }

    /// Reserving is free: only touched pages count.
    #[cfg(target_os = "linux")]
    #[test]
    fn untouched_memory_is_not_resident() {
        let region = Region::reserve(1 << 30).unwrap();
        // SAFETY: within the region, and this test is its only user.
        unsafe { region.as_ptr().write(1) };
        let mut resident = vec![0_u8; region.bytes() / ALIGN_BYTES];
        // SAFETY: the vector has a byte for every page (pages are at least that large).
        let result =
            unsafe { libc::mincore(region.as_ptr().cast(), region.bytes(), resident.as_mut_ptr().cast()) };
        assert_eq!(result, 0);
        assert_eq!(resident.iter().filter(|page| **page & 1 == 1).count(), 1);
    }
}

mod ticks {
    use pytracingx::sys::ticks;

    #[test]
    fn all_clocks_go_forward_together() {
        let first = ticks::sample();
        let later = std::iter::repeat_with(ticks::sample)
            .find(|sample| sample.monotonic_nano > first.monotonic_nano + 1_000_000)
            .unwrap();
        assert!(later.ticks > first.ticks);
        assert!(later.unix_nano > 1_600_000_000_000_000_000);
        let mut last = ticks::now();
        for _ in 0..10_000 {
            let now = ticks::now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_sample_lies_between_the_reads_around_it() {
        let (ticks, monotonic, unix) = (ticks::now(), ticks::monotonic_nano(), ticks::unix_nano());
        let sample = ticks::sample();
        assert!((ticks..=ticks::now()).contains(&sample.ticks));
        assert!((monotonic..=ticks::monotonic_nano()).contains(&sample.monotonic_nano));
        // An hour's slack: somebody may set the wall clock meanwhile.
        assert!(sample.unix_nano.abs_diff(unix) < 3_600_000_000_000);
    }
}
