//! Threads that never run a signal handler.

/// Runs `start` with all signals masked on this thread, so that a thread started in it inherits the mask from its first
/// instruction on. Faults keep their handlers (faulthandler and crash reporters rely on them).
pub fn masked<T>(start: impl FnOnce() -> T) -> T {
    os::masked(start)
}

#[cfg(unix)]
mod os {
    #![expect(unsafe_code, reason = "changes the signal mask")]

    use std::mem::MaybeUninit;
    use std::ptr;

    pub(super) fn masked<T>(start: impl FnOnce() -> T) -> T {
        const FAULTS: [libc::c_int; 6] =
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP];
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `sigfillset` initialises `all` before it is read; all arguments are valid, so none of these fails,
        // and `pthread_sigmask` initialises `before`.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in FAULTS {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        let restore = Restore(before);
        let result = start();
        drop(restore);
        result
    }

    struct Restore(libc::sigset_t);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: a mask that `pthread_sigmask` returned.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut());
            }
        }
    }
}

#[cfg(not(unix))]
mod os {
    pub(super) fn masked<T>(start: impl FnOnce() -> T) -> T {
        start()
    }
}
