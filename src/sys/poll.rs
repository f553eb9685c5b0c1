//! The exporter's one wait: `poll` (Windows: `WSAPoll`) over sockets and a wake-up. [`wait`] blocks, nothing else here
//! does; every descriptor is non-blocking and closed in a program that this process starts.
#![expect(unsafe_code, reason = "poll, WSAPoll and eventfd have no safe form in std")]

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
pub struct Waker(imp::Waker);

impl Waker {
    /// A new wake-up: eventfd on Linux, a socket pair on other Unixes, a loopback socket on Windows.
    ///
    /// # Errors
    /// The operating system's, when no descriptor is to be had.
    pub fn new() -> io::Result<Self> {
        imp::Waker::new().map(Self)
    }

    /// Makes the current or next [`wait`] return. One system call; never blocks, never fails visibly: the only error
    /// a full descriptor can give means that the wake-up stands already.
    pub fn wake(&self) {
        self.0.wake();
    }

    /// What to poll.
    pub fn fd(&self) -> Fd {
        self.0.fd()
    }

    /// Takes the wake-up back.
    pub fn drain(&self) {
        self.0.drain();
    }
}

/// Waits until a descriptor is ready or `timeout` has passed (rounded up to a millisecond). A signal ends it early.
/// If the operating system refuses to wait, every descriptor counts as ready after at most 10 ms, so that the caller
/// neither spins nor stands still.
pub fn wait(fds: &mut [PollFd], timeout: Duration) {
    match imp::poll(fds, milliseconds(timeout)) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            fds.iter_mut().for_each(|fd| fd.ready = false)
        }
        Err(_) => {
            std::thread::sleep(timeout.min(Duration::from_millis(10)));
            fds.iter_mut().for_each(|fd| fd.ready = true);
        }
    }
}

/// Rounded up, so that a wait never ends before its time and then waits again for nothing.
fn milliseconds(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

#[cfg(unix)]
mod imp {
    use std::io::{self, Read, Write};
    use std::os::fd::AsRawFd;

    use super::{Fd, PollFd};

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[derive(Debug)]
    pub(super) struct Waker(std::fs::File);

    #[cfg(any(target_os = "linux", target_os = "android"))]
    impl Waker {
        pub(super) fn new() -> io::Result<Self> {
            use std::os::fd::FromRawFd;

            // SAFETY: takes two numbers, no memory.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: a descriptor that was just opened and that nothing else owns.
            Ok(Self(unsafe { std::fs::File::from_raw_fd(fd) }))
        }

        pub(super) fn wake(&self) {
            let _ = (&self.0).write(&1u64.to_ne_bytes());
        }

        pub(super) fn drain(&self) {
            let _ = (&self.0).read(&mut [0; 8]);
        }

        pub(super) fn fd(&self) -> Fd {
            self.0.as_raw_fd()
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    #[derive(Debug)]
    pub(super) struct Waker {
        reader: std::os::unix::net::UnixStream,
        writer: std::os::unix::net::UnixStream,
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    impl Waker {
        pub(super) fn new() -> io::Result<Self> {
            let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok(Self { reader, writer })
        }

        pub(super) fn wake(&self) {
            let _ = (&self.writer).write(&[1]);
        }

        pub(super) fn drain(&self) {
            while matches!((&self.reader).read(&mut [0; 64]), Ok(64)) {}
        }

        pub(super) fn fd(&self) -> Fd {
            self.reader.as_raw_fd()
        }
    }

    pub(super) fn poll(fds: &mut [PollFd], timeout_ms: i32) -> io::Result<()> {
        let mut raw: Vec<libc::pollfd> = fds
            .iter()
            .map(|fd| libc::pollfd {
                fd: fd.fd,
                events: if fd.readable { libc::POLLIN } else { 0 }
                    | if fd.writable { libc::POLLOUT } else { 0 },
                revents: 0,
            })
            .collect();
        // SAFETY: `raw` is a valid array of as many entries as told, and outlives the call.
        let count = unsafe { libc::poll(raw.as_mut_ptr(), raw.len() as libc::nfds_t, timeout_ms) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        fds.iter_mut().zip(&raw).for_each(|(fd, raw)| fd.ready = raw.revents != 0);
        Ok(())
    }
}

#[cfg(windows)]
mod imp {
    use std::io;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::windows::io::AsRawSocket;
    use std::time::Duration;

    use windows_sys::Win32::Networking::WinSock::{POLLRDNORM, POLLWRNORM, SOCKET, WSAPOLLFD, WSAPoll};

    use super::{Fd, PollFd};

    /// A datagram socket connected to itself: what it sends it receives, and nobody else's datagrams reach it.
    #[derive(Debug)]
    pub(super) struct Waker(UdpSocket);

    impl Waker {
        pub(super) fn new() -> io::Result<Self> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(socket.local_addr()?)?;
            socket.set_nonblocking(true)?;
            Ok(Self(socket))
        }

        pub(super) fn wake(&self) {
            let _ = self.0.send(&[1]);
        }

        pub(super) fn drain(&self) {
            while self.0.recv(&mut [0; 8]).is_ok() {}
        }

        pub(super) fn fd(&self) -> Fd {
            self.0.as_raw_socket()
        }
    }

    pub(super) fn poll(fds: &mut [PollFd], timeout_ms: i32) -> io::Result<()> {
        // WSAPoll refuses an empty array.
        if fds.is_empty() {
            std::thread::sleep(Duration::from_millis(timeout_ms.max(0) as u64));
            return Ok(());
        }
        let mut raw: Vec<WSAPOLLFD> = fds
            .iter()
            .map(|fd| WSAPOLLFD {
                fd: fd.fd as SOCKET,
                events: if fd.readable { POLLRDNORM } else { 0 } | if fd.writable { POLLWRNORM } else { 0 },
                revents: 0,
            })
            .collect();
        // SAFETY: `raw` is a valid array of as many entries as told, and outlives the call.
        let count = unsafe { WSAPoll(raw.as_mut_ptr(), raw.len() as u32, timeout_ms) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        fds.iter_mut().zip(&raw).for_each(|(fd, raw)| fd.ready = raw.revents != 0);
        Ok(())
    }
}
