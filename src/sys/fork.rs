//! One page that a forked child finds zeroed: the current session's id, that of the process's first, a number for the
//! process, and the lock around starting and stopping sessions.
//!
//! [`session`] is the on/off, the fork and the re-init check of every recording call in two loads. Linux wipes the
//! page itself (`MADV_WIPEONFORK`, also for a bare `clone`); elsewhere, and on kernels before 4.14, a
//! `pthread_atfork` handler does. Where there is no fork, nothing does. Only the first [`set_session`] or
//! [`lifecycle_lock`] makes system calls.
#![expect(unsafe_code, reason = "maps a page and lets the kernel wipe it")]

use std::ptr;
use std::sync::atomic::AtomicPtr;

use crate::sync::pause;
use crate::sync::statics::{AtomicBool, AtomicU64, Ordering};

/// All-zero is the initial state: no session, unlocked. Atomics only, so that wiping is one more store.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Page {
    session: AtomicU64,
    first_session: AtomicU64,
    process: AtomicU64,
    lifecycle: AtomicBool,
    intake: AtomicBool,
}

/// What [`PAGE`] points to before the page is mapped, and for ever where the kernel does not wipe pages.
static UNMAPPED: Page = Page::new();

static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::from_ref(&UNMAPPED).cast_mut());

#[inline]
fn current() -> &'static Page {
    // Relaxed: both pages hold nothing but atomics that nobody initialised by hand, so there is nothing to see but
    // the pointer.
    // SAFETY: points to `UNMAPPED` or to a page that is never unmapped. A forked child has the page at the same place.
    unsafe { &*PAGE.load(Ordering::Relaxed) }
}

/// The id of the session that is recording, 0 for none and in a forked child. Two relaxed loads.
#[inline]
pub fn session() -> u64 {
    current().session()
}

/// Sets what [`session`] returns in this process (not in its future children).
pub fn set_session(id: u64) {
    page().set_session(id);
}

/// [`Page::process`] of this process.
pub fn process() -> u64 {
    page().process()
}

/// [`Page::lifecycle_lock`] of this process.
pub fn lifecycle_lock() -> Guard<'static> {
    page().lifecycle_lock()
}

/// [`Page::intake_lock`] of this process.
pub fn intake_lock() -> Guard<'static> {
    page().intake_lock()
}

impl Page {
    /// As a forked child finds it.
    pub(crate) const fn new() -> Self {
        Self {
            session: AtomicU64::new(0),
            first_session: AtomicU64::new(0),
            process: AtomicU64::new(0),
            lifecycle: AtomicBool::new(false),
            intake: AtomicBool::new(false),
        }
    }

    /// The id of the session that is recording; 0 for none.
    #[inline]
    pub fn session(&self) -> u64 {
        // Relaxed: the id stands for itself; what belongs to it is fetched under a lock when it differs from a thread's.
        self.session.load(Ordering::Relaxed)
    }

    /// Sets what [`Page::session`] returns.
    pub fn set_session(&self, id: u64) {
        if id != 0 {
            // Relaxed (both): a number that stands for itself. Somebody else's stays.
            let _ = self.first_session.compare_exchange(0, id, Ordering::Relaxed, Ordering::Relaxed);
        }
        // Release costs nothing here and pairs with whoever reads the id with Acquire.
        self.session.store(id, Ordering::Release);
    }

    /// Whether a session that was current once was so in a process that this one was forked from. Ids grow along a line
    /// of forks.
    pub fn is_inherited(&self, session: u64) -> bool {
        // Relaxed: a number that stands for itself.
        session < self.first_session.load(Ordering::Relaxed)
    }

    /// A number that tells this process from all those it descends from by forks. Not its pid, which is the same again
    /// in another namespace.
    pub fn process(&self) -> u64 {
        /// A child goes on counting where its parent was.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        // Relaxed (all three): numbers that stand for themselves.
        match self.process.load(Ordering::Relaxed) {
            0 => {
                let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
                match self.process.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => fresh,
                    Err(number) => number,
                }
            }
            number => number,
        }
    }

    /// The lock around starting, stopping and replacing a session. See [`Page::intake_lock`] for what kind of lock this
    /// is.
    pub fn lifecycle_lock(&self) -> Guard<'_> {
        lock(&self.lifecycle)
    }

    /// The lock around what new threads attach to; may be taken while holding the lifecycle lock.
    ///
    /// Both locks spin shortly, then sleep a millisecond at a time, and are not reentrant: they are held for moments, by
    /// rare calls. Not a `Mutex`: when another thread of the parent holds it at the instant of a fork, a mutex stays
    /// locked in the child for ever, its owner does not exist there. These lie in the wiped page: a child always finds
    /// them free.
    pub fn intake_lock(&self) -> Guard<'_> {
        lock(&self.intake)
    }

    /// What the kernel does for a forked child.
    #[cfg(any(all(unix, not(miri)), shuttle))]
    pub(crate) fn wipe(&self) {
        // Relaxed: the child has one thread.
        self.session.store(0, Ordering::Relaxed);
        self.first_session.store(0, Ordering::Relaxed);
        self.process.store(0, Ordering::Relaxed);
        self.lifecycle.store(false, Ordering::Relaxed);
        self.intake.store(false, Ordering::Relaxed);
    }
}

/// Unlocks when dropped.
#[derive(Debug)]
#[must_use = "unlocks when dropped"]
pub struct Guard<'a>(&'a AtomicBool);

fn lock(locked: &AtomicBool) -> Guard<'_> {
    let mut looks = 0;
    while is_taken(locked) {
        looks += 1;
        pause(looks);
    }
    Guard(locked)
}

/// Whether somebody else has the lock; it is ours otherwise.
fn is_taken(locked: &AtomicBool) -> bool {
    if cfg!(seeded_bug = "torn_lock") {
        let taken = locked.load(Ordering::SeqCst);
        locked.store(true, Ordering::SeqCst);
        return taken;
    }
    // Acquire here and Release in `drop`: what one holder did is seen by the next.
    locked.swap(true, Ordering::Acquire)
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `lock`.
        self.0.store(false, Ordering::Release);
    }
}

/// This process's page, made wipeable at the first call. No `Once`: a fork in the middle of one would leave it "running" in the
/// child for ever. Instead every racing thread prepares a page and one of them wins.
pub fn page() -> &'static Page {
    static READY: AtomicBool = AtomicBool::new(false);
    // Acquire and Release: a thread that finds it ready uses the pointer stored before.
    if !READY.load(Ordering::Acquire) {
        os::prepare();
        READY.store(true, Ordering::Release);
    }
    current()
}

#[cfg(all(unix, not(miri)))]
mod os {
    use super::UNMAPPED;

    pub(super) fn prepare() {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if map() {
            return;
        }
        // SAFETY: the handler only stores to atomics, which is allowed between fork and exec. Registered at most once
        // per racing first caller; wiping twice is the same. It fails only for lack of memory.
        unsafe {
            libc::pthread_atfork(None, None, Some(wipe));
        }
    }

    extern "C" fn wipe() {
        UNMAPPED.wipe();
    }

    /// False when the kernel cannot wipe.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn map() -> bool {
        use super::{Ordering, Page};
        use std::ptr;

        let bytes = crate::sys::memory::ALIGN_BYTES.max(size_of::<Page>());
        // SAFETY: asks for a new mapping wherever the kernel likes; touches no existing memory. The kernel refuses
        // to wipe anything but private anonymous memory.
        let page = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return false;
        }
        // SAFETY: the mapping made above.
        let wiped = unsafe { libc::madvise(page, bytes, libc::MADV_WIPEONFORK) } == 0;
        let unmapped = ptr::from_ref(&UNMAPPED).cast_mut();
        // Relaxed: see `current`.
        let won = wiped
            && super::PAGE
                .compare_exchange(unmapped, page.cast(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !won {
            // SAFETY: the mapping made above, which nobody has seen.
            unsafe {
                libc::munmap(page, bytes);
            }
        }
        wiped
    }
}

/// No fork to survive.
#[cfg(not(all(unix, not(miri))))]
mod os {
    pub(super) fn prepare() {}
}
