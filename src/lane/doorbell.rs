//! Waking the exporter without losing a wake-up and without one per record: producers ring only when their lane passes
//! its mark, and only the first of them that finds the exporter parked makes the system call.
//!
//! ```text
//! producer: count the block │ fence │ parked?  → ring        exporter: parked = true │ fence │ any lane pressed? → stay
//! ```
//! Each side writes, then reads what the other writes, with a SeqCst fence between: at least one of them sees the
//! other. (Fences rather than SeqCst accesses, because loom models those.)

use crate::sync::{AtomicBool, Ordering, fence};

/// SeqCst; AcqRel, which orders no store before a later load, in a build that must fail the models.
const EACH_SEES_THE_OTHER: Ordering =
    if cfg!(loom_seeded_bug = "weak_fence") { Ordering::AcqRel } else { Ordering::SeqCst };

/// Whether the exporter waits.
#[derive(Debug)]
pub(crate) struct Doorbell {
    /// The exporter waits, or is about to. Cleared by whoever wakes it.
    parked: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> Self {
        Self { parked: AtomicBool::new(false) }
    }

    /// After a block was counted that made its lane pressed. True: the caller must wake the exporter.
    pub(crate) fn must_wake(&self) -> bool {
        fence(EACH_SEES_THE_OTHER);
        // Relaxed: ordered by the fence; nothing is published through the flag. The load first, because the exporter
        // is mostly awake when lanes are pressed, and a swap would take the line from it.
        self.parked.load(Ordering::Relaxed) && self.parked.swap(false, Ordering::Relaxed)
    }

    /// The exporter is about to wait. False: a lane is pressed, drain again instead.
    pub(crate) fn park(&self, is_pressed: impl FnOnce() -> bool) -> bool {
        // Relaxed: ordered by the fence.
        self.parked.store(true, Ordering::Relaxed);
        fence(EACH_SEES_THE_OTHER);
        let pressed = is_pressed();
        if pressed {
            self.unpark();
        }
        !pressed
    }

    /// The exporter is awake.
    pub(crate) fn unpark(&self) {
        // Relaxed: a producer that still sees it parked rings once in vain.
        self.parked.store(false, Ordering::Relaxed);
    }
}
