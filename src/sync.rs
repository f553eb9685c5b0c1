//! The one switch between `std`, `loom` and `shuttle`. Code that loom models ([`crate::lane`]) takes its atomics and
//! cells from here and nowhere else; what shuttle models (the hand-over of sessions) from [`statics`], for loom's atomics
//! cannot be in statics. Everything else may use `std` directly.

use std::hint;
use std::thread;
use std::time::Duration;

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// Release, or in a build that seeds a bug (see `build.rs`) too little: the models must notice.
pub(crate) const fn release_unless(seeded: bool) -> Ordering {
    if seeded { Ordering::Relaxed } else { Ordering::Release }
}

/// What [`crate::sys::fork`] and the hand-over of sessions are made of.
pub(crate) mod statics {
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    #[cfg(not(shuttle))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

/// Between two looks at a lock that is held for moments: spins shortly, then sleeps a millisecond.
pub(crate) fn pause(looks: u32) {
    if cfg!(any(loom, shuttle)) {
        #[cfg(loom)]
        loom::thread::yield_now();
        #[cfg(shuttle)]
        shuttle::thread::yield_now();
    } else if looks < 100 {
        hint::spin_loop();
    } else {
        thread::sleep(Duration::from_millis(1));
    }
}
