//! Non-blocking TCP sockets: what of them the operating systems disagree on. Nothing here waits.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Failure, one_line};
use crate::sys::Fd;

/// A socket on its way to `address`: closed in programs that this process starts, no delayed small writes.
pub(super) fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        #[cfg(unix)]
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// A connect is over when it has failed or the socket has a peer: writable alone can be spurious.
pub(super) fn connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        // A free port of the local range can connect to itself.
        Ok(peer) if socket.local_addr()? == peer => Err(ErrorKind::ConnectionRefused.into()),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        // What the BSDs and macOS say for a socket that failed to connect.
        Err(error) => Err(error),
    }
}

/// `Ok(None)` where the socket would have blocked. An interruption counts as that too: poll comes right back.
pub(super) fn would_block(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes with `send` only: std's vectored write is `writev`, which raises SIGPIPE on a closed connection.
pub(super) struct Outgoing<'a>(pub(super) &'a TcpStream);

impl Write for Outgoing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&mut &*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn io_failure(error: io::Error) -> Failure {
    Failure::Io(one_line(&error.to_string(), 200))
}

#[cfg(unix)]
pub(super) fn fd(socket: &TcpStream) -> Fd {
    std::os::fd::AsRawFd::as_raw_fd(socket)
}

#[cfg(windows)]
pub(super) fn fd(socket: &TcpStream) -> Fd {
    std::os::windows::io::AsRawSocket::as_raw_socket(socket)
}
