//! Every call into the operating system that the core makes: ticks, the fork-wiped page, lane memory, poll and wake.
//! Each part has a Unix and a Windows form.

pub mod fork;
pub mod memory;
pub mod poll;
pub mod signals;
pub mod stderr;
pub mod ticks;

/// A socket or descriptor as `poll` takes it.
#[cfg(unix)]
pub type Fd = std::os::fd::RawFd;
/// A socket as `WSAPoll` takes it.
#[cfg(windows)]
pub type Fd = std::os::windows::io::RawSocket;
