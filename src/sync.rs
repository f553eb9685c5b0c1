//! The one switch between `std` and `loom`. Code that loom models ([`crate::lane`]) takes its atomics and cells
//! from here and nowhere else; everything outside the lanes may use `std` directly.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// Release, or in a build that seeds a bug (see `build.rs`) too little: the models must notice.
pub(crate) const fn release_unless(seeded: bool) -> Ordering {
    if seeded { Ordering::Relaxed } else { Ordering::Release }
}
