//! The session that there is, and the one that there was. Read and changed under the lifecycle lock alone, but for
//! [`is_any`].
//!
//! In a forked child both may still be the parent's. Of such a session the configuration is read, which never changes,
//! and nothing else: no lock, queue or connection. It is never freed in the child.
#![expect(
    unsafe_code,
    reason = "one owned pointer that must be readable without a lock that a fork could leave held"
)]

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::Session;
use crate::config::Config;
use crate::emit;
use crate::sys::fork::{self, Guard};

/// From `Arc::into_raw`, or null. Changed only under the lifecycle lock.
static CURRENT: AtomicPtr<Session> = AtomicPtr::new(ptr::null_mut());
/// The last session that was shut down, until the next `init`: who calls `shutdown` again waits for the same end, and
/// `stats` can still be read. Like [`CURRENT`]; never both.
static ENDED: AtomicPtr<Session> = AtomicPtr::new(ptr::null_mut());

pub(super) enum Current {
    None,
    /// What the parent was told: this process has no session of its own yet.
    Inherited(Box<Config>),
    Own(Arc<Session>),
    /// Shut down, or on the way to it.
    Ended(Arc<Session>),
}

/// Between `init` and `shutdown`.
pub(super) fn is_any() -> bool {
    // Relaxed: nothing is read through it.
    !CURRENT.load(Ordering::Relaxed).is_null()
}

/// What there is, for who holds the lifecycle lock.
pub(super) fn current(_guard: &Guard) -> Current {
    match (held_by(&CURRENT), held_by(&ENDED)) {
        (Some(Ok(session)), _) => Current::Own(session),
        (Some(Err(parent)), _) => Current::Inherited(Box::new(parent.clone())),
        (None, Some(Ok(session))) => Current::Ended(session),
        (None, _) => Current::None,
    }
}

/// The session that `holder` holds; only the configuration of one that is the parent's. Under the lifecycle lock.
fn held_by(holder: &AtomicPtr<Session>) -> Option<Result<Arc<Session>, &Config>> {
    // Acquire: pairs with the store in `replace`.
    let pointer = holder.load(Ordering::Acquire);
    if pointer.is_null() {
        return None;
    }
    // SAFETY: comes from `Arc::into_raw`; its count is released only after it has left its holder, which needs the
    // lock. In a forked child nobody ever releases the parent's count.
    let session = unsafe { &*pointer };
    if session.process != fork::process() {
        return Some(Err(&session.config));
    }
    // SAFETY: as above: the count is at least one.
    Some(Ok(unsafe {
        Arc::increment_strong_count(pointer);
        Arc::from_raw(pointer)
    }))
}

/// Replaces the current session. The one before is [`ENDED`] if nothing follows it; otherwise, or when it is the
/// parent's, it is let go of.
pub(super) fn install(_guard: &Guard, session: Option<Session>) {
    match session.as_ref().and_then(|session| session.running.as_ref()) {
        Some(running) => emit::publish(running.intake.clone()),
        None => emit::retract(),
    }
    let pointer = session.map_or(ptr::null(), |session| Arc::into_raw(Arc::new(session)));
    let before = held_by(&CURRENT).and_then(Result::ok).filter(|_| pointer.is_null());
    replace(&ENDED, before.map_or(ptr::null(), Arc::into_raw));
    replace(&CURRENT, pointer);
}

fn replace(holder: &AtomicPtr<Session>, pointer: *const Session) {
    let before = held_by(holder);
    // Release: pairs with the load in `held_by`.
    holder.store(pointer.cast_mut(), Ordering::Release);
    if let Some(Ok(before)) = before {
        // SAFETY: the count that `holder` held.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(&before)) };
    }
}
