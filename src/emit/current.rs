//! How a session's intake gets to the threads that record into it: put up by who starts and stops sessions, taken by each
//! thread at its first call in a session. `make test-shuttle` runs this code under a scheduler of its own.
//!
//! Three things change one after the other: the intake itself under the intake lock, the session word, and the flag that
//! tells a word wiped by a fork from one that was never set. Whoever reads them in between sees no session, or one whose
//! intake is there.
#![expect(unsafe_code, reason = "a cell under a lock outside Rust's types")]

use std::cell::UnsafeCell;
use std::mem;
use std::sync::Arc;

use crate::sync::statics::{AtomicBool, Ordering};
use crate::sys::fork::Page;

/// What is put up.
pub(crate) trait OfSession {
    /// Never 0; unique along a line of forks.
    fn session(&self) -> u64;
    /// The process that built it ([`Page::process`]).
    fn process(&self) -> u64;
}

/// The intake that new threads attach to, guarded by the intake lock of the fork-wiped page: an ordinary lock could be
/// held, in a forked child for ever, by a thread that does not exist there.
#[derive(Debug)]
pub(crate) struct Current<T> {
    intake: UnsafeCell<Option<Arc<T>>>,
    /// There is a session to revive in a forked child.
    active: AtomicBool,
}

// SAFETY: the cell is only accessed under the intake lock.
#[cfg(not(loom))]
unsafe impl<T: Send + Sync> Sync for Current<T> {}
// SAFETY: the same. Loom's cells, of which it has lanes, deny what the lanes' own hand-overs promise.
#[cfg(loom)]
unsafe impl<T> Sync for Current<T> {}

impl<T: OfSession> Current<T> {
    /// Nothing is put up.
    pub(crate) const fn new() -> Self {
        Self { intake: UnsafeCell::new(None), active: AtomicBool::new(false) }
    }

    /// What belongs to `session`. `None`: it is another by now, and a record of that one belongs to neither.
    pub(crate) fn of(&self, page: &Page, session: u64) -> Option<Arc<T>> {
        let _lock = page.intake_lock();
        // SAFETY: under the intake lock.
        let current = unsafe { &*self.intake.get() };
        current.as_ref().filter(|intake| intake.session() == session).map(Arc::clone)
    }

    /// From now on every thread records into it.
    pub(crate) fn publish(&self, page: &Page, intake: Arc<T>) {
        let session = intake.session();
        if cfg!(seeded_bug = "early_word") {
            page.set_session(session);
        }
        self.replace(page, Some(intake));
        page.set_session(session);
        // Release: a thread that sees the flag sees what revives. Last, so that a zero session word with the flag set
        // always means "forked".
        self.active.store(true, Ordering::Release);
    }

    /// Turns recording off. Threads let go of the intake at their next call in another session, or at exit.
    pub(crate) fn retract(&self, page: &Page) {
        // Release: before the session word, see `publish`.
        self.active.store(false, Ordering::Release);
        page.set_session(0);
        self.replace(page, None);
    }

    /// There is a session; a word that says otherwise has been wiped by a fork.
    pub(crate) fn is_active(&self) -> bool {
        // Acquire: pairs with `publish`.
        self.active.load(Ordering::Acquire)
    }

    /// The one before is let go of, but never the parent's in a forked child: dropping that would touch queues that the
    /// parent's threads may have been changing at the fork.
    fn replace(&self, page: &Page, intake: Option<Arc<T>>) {
        let old = {
            let _lock = page.intake_lock();
            // SAFETY: under the intake lock.
            mem::replace(unsafe { &mut *self.intake.get() }, intake)
        };
        if let Some(old) = old.filter(|old| old.process() != page.process()) {
            mem::forget(old);
        }
    }
}
