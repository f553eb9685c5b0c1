//! The exporter's one wait: `poll` (Windows: `WSAPoll`) over sockets and a wake-up.

use std::io;
use std::time::Duration;

use super::Fd;

/// One descriptor and what happened to it.
#[derive(Debug, Clone, Copy)]
pub struct PollFd {
    /// Which.
    pub fd: Fd,
    /// Wake when readable.
    pub readable: bool,
    /// Wake when writable.
    pub writable: bool,
    /// Set by [`wait`]: readable, writable, closed or in error.
    pub ready: bool,
}

/// Wakes a thread that is in [`wait`]. Level-triggered: stays until [`Waker::drain`].
#[derive(Debug)]
pub struct Waker {}

impl Waker {
    /// A new wake-up: eventfd on Linux, a pipe on other Unixes, a loopback socket pair on Windows.
    pub fn new() -> io::Result<Self> {
        todo!()
    }

    /// Makes the current or next [`wait`] return. One system call; never blocks, never fails visibly.
    pub fn wake(&self) {
        todo!()
    }

    /// What to poll.
    pub fn fd(&self) -> Fd {
        todo!()
    }

    /// Takes the wake-up back.
    pub fn drain(&self) {
        todo!()
    }
}

/// Waits until a descriptor is ready or `timeout` has passed (rounded up to a millisecond). A signal ends it early.
pub fn wait(_fds: &mut [PollFd], _timeout: Duration) {
    todo!()
}
