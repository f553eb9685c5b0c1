//! Standard error, written to without ever waiting for whoever reads it, and without the lock of `std::io::stderr`
//! (which a thread of the parent may hold at a fork). Any thread; allocates a file handle and a line at most.
//!
//! Setting fd 2 non-blocking would change it for the whole process and its relatives. Linux lets us open the same
//! terminal or pipe once more, non-blocking, for one write. Elsewhere, and where that is refused, `poll` says that there
//! is room, and no more than a pipe takes at once is written.

use std::{fmt, io};

/// Is it a terminal?
pub fn is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

/// Opens `/dev/null` wherever standard input, output or error is closed, as `std` does in programs of its own. Otherwise
/// the next socket of ours would be standard error, and take its text.
pub fn reserve() {
    #[cfg(unix)]
    os::reserve();
}

/// A line of ours, unless nobody reads just now or it is not `wanted`.
pub fn tell(wanted: bool, line: fmt::Arguments<'_>) {
    if wanted {
        let _ = write_some(format!("pytracingx: {line}\n").as_bytes());
    }
}

/// Writes a part of `bytes`. [`io::ErrorKind::WouldBlock`]: nobody reads just now; other errors: it is gone.
pub fn write_some(bytes: &[u8]) -> io::Result<usize> {
    os::write_some(bytes)
}

#[cfg(unix)]
mod os {
    #![expect(unsafe_code, reason = "writes to fd 2 without the lock of std")]

    use std::io;
    use std::time::Duration;

    use crate::sys::poll::{PollFd, wait};

    pub(super) fn reserve() {
        for fd in 0..=2 {
            // SAFETY: takes numbers and a string that lives for ever. `open` takes the lowest number that is free.
            unsafe {
                if libc::fcntl(fd, libc::F_GETFD) == -1 {
                    libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                }
            }
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn write_some(bytes: &[u8]) -> io::Result<usize> {
        use std::fs::{self, OpenOptions};
        use std::io::Write;
        use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

        const STDERR: &str = "/proc/self/fd/2";
        let Ok(kind) = fs::metadata(STDERR).map(|metadata| metadata.file_type()) else {
            return write_if_ready(bytes);
        };
        if kind.is_file() {
            return write(bytes); // at its own offset, and never for long
        }
        if kind.is_socket() {
            // SAFETY: `bytes` is valid for its length.
            let sent = unsafe {
                libc::send(2, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            };
            return usize::try_from(sent).map_err(|_| io::Error::last_os_error());
        }
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        match OpenOptions::new().write(true).custom_flags(flags).open(STDERR) {
            Ok(mut file) => file.write(bytes),
            Err(_) => write_if_ready(bytes),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn write_some(bytes: &[u8]) -> io::Result<usize> {
        write_if_ready(bytes)
    }

    fn write_if_ready(bytes: &[u8]) -> io::Result<usize> {
        let mut fds = [PollFd { fd: 2, readable: false, writable: true, ready: false }];
        wait(&mut fds, Duration::ZERO);
        if fds[0].ready {
            write(&bytes[..bytes.len().min(libc::PIPE_BUF)])
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn write(bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: `bytes` is valid for its length.
        let written = unsafe { libc::write(2, bytes.as_ptr().cast(), bytes.len()) };
        usize::try_from(written).map_err(|_| io::Error::last_os_error())
    }
}

#[cfg(not(unix))]
mod os {
    use std::io::{self, Write};

    /// Can wait for a reader: there is no portable way to ask.
    pub(super) fn write_some(bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(&bytes[..bytes.len().min(4096)])
    }
}
