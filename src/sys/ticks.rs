//! The cheapest monotonic counter there is: the TSC where the kernel itself keeps time with it, the virtual counter
//! on aarch64, else the monotonic clock in nanoseconds.
//!
//! Nothing here allocates after the first call or takes a lock; every function may be called from any thread, and in
//! a forked child. Which counter it is, is decided once per process, at the first call, and never changes; ticks of
//! a parent and its forked child are comparable. What a tick is worth, and what happens when the counter stops
//! during sleep, is [`crate::clock`]'s business.
#![cfg_attr(unix, expect(unsafe_code, reason = "reads processor counters and kernel clocks"))]

/// The three clocks read at (nearly) one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// As [`now`].
    pub ticks: u64,
    /// As [`monotonic_nano`].
    pub monotonic_nano: u64,
    /// As [`unix_nano`].
    pub unix_nano: u64,
}

/// Reads all clocks. Takes the tightest of several tries, so a preemption between two reads does not count; below
/// 100 ns apart as a rule. Well under 2 µs.
pub fn sample() -> Sample {
    const TRIES: usize = 8;
    let mut best = Sample { ticks: 0, monotonic_nano: 0, unix_nano: 0 };
    let mut best_width = u64::MAX;
    for _ in 0..TRIES {
        let before = now();
        let monotonic_nano = monotonic_nano();
        let unix_nano = unix_nano();
        let width = now().wrapping_sub(before);
        if width < best_width {
            best_width = width;
            best = Sample { ticks: before.wrapping_add(width / 2), monotonic_nano, unix_nano };
        }
    }
    best
}

/// The counter. One relaxed load and one instruction where the processor's own counter is usable, else a vDSO call.
/// Two reads on one thread never go backwards; they are not ordered against neighbouring memory accesses.
#[inline]
pub fn now() -> u64 {
    counter::now()
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod counter {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    const UNDECIDED: u8 = 0;
    const TSC: u8 = 1;
    const CLOCK: u8 = 2;

    /// Relaxed: the byte stands for itself, and racing first calls decide alike.
    static SOURCE: AtomicU8 = AtomicU8::new(UNDECIDED);

    #[inline]
    pub(super) fn now() -> u64 {
        if SOURCE.load(Relaxed) == TSC { tsc() } else { other() }
    }

    #[inline]
    fn tsc() -> u64 {
        // SAFETY: every x86-64 processor has the instruction, and a kernel that keeps time with it allows it.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    #[cold]
    fn other() -> u64 {
        if SOURCE.load(Relaxed) == UNDECIDED {
            decide();
            return now();
        }
        super::monotonic_nano()
    }

    /// The kernel checks the TSC for being constant, non-stop and in step on all processors before it keeps its own
    /// time with it: no need to know better. `compare_exchange`, so that a reader that got a different answer (the
    /// kernel just gave the TSC up) follows the first: ticks of two kinds must never meet.
    fn decide() {
        let tsc = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .is_ok_and(|name| name.trim_ascii() == b"tsc");
        let _ = SOURCE.compare_exchange(UNDECIDED, if tsc { TSC } else { CLOCK }, Relaxed, Relaxed);
    }
}

#[cfg(all(target_arch = "aarch64", unix, not(miri)))]
mod counter {
    #[inline]
    pub(super) fn now() -> u64 {
        let ticks: u64;
        // SAFETY: reads a counter that Linux and macOS let user code read (their vDSO and commpage clocks do).
        unsafe {
            core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags));
        }
        ticks
    }
}

#[cfg(not(any(
    all(target_arch = "x86_64", target_os = "linux", not(miri)),
    all(target_arch = "aarch64", unix, not(miri))
)))]
mod counter {
    #[inline]
    pub(super) fn now() -> u64 {
        super::monotonic_nano()
    }
}

/// Wall clock: nanoseconds since 1970, UTC. Steps when somebody sets it.
#[cfg(unix)]
pub fn unix_nano() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// Nanoseconds since an arbitrary point; never steps.
#[cfg(unix)]
pub fn monotonic_nano() -> u64 {
    // Apple's CLOCK_MONOTONIC has microseconds only.
    #[cfg(target_vendor = "apple")]
    return read(libc::CLOCK_UPTIME_RAW);
    #[cfg(not(target_vendor = "apple"))]
    read(libc::CLOCK_MONOTONIC)
}

#[cfg(unix)]
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the one timespec. Cannot fail for the clocks above; if it did: 0.
    unsafe {
        libc::clock_gettime(clock, &raw mut time);
    }
    // A clock set before 1970 reads as 1970.
    u64::try_from(time.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

/// Wall clock: nanoseconds since 1970, UTC. Steps when somebody sets it.
#[cfg(windows)]
pub fn unix_nano() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds since an arbitrary point; never steps.
#[cfg(windows)]
pub fn monotonic_nano() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
