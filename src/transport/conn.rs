//! From an endpoint to a connection that carries bytes: resolve, connect, a proxy's tunnel, TLS. Shared by everything
//! that speaks over sockets. Every step moves as far as it can without waiting; none blocks, and the bytes taken in one step are bounded
//! by the caller's budget, so a peer that sends without end cannot hold the thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::proxy::{Opening, Route};
use super::resolve::Resolver;
use super::socket::{Outgoing, connected, fd, io_failure, open, would_block};
use super::{Failure, Interest, one_line, tls};
use crate::config::{Endpoint, TransportConfig};
use crate::error::Error;
use crate::sys::Fd;

/// All addresses of an endpoint together have this long to accept a connection; each gets an equal part of what is left.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes connections to one endpoint, one at a time.
pub(super) struct Dialer {
    endpoint: Endpoint,
    route: Route,
    /// Of the proxy, if there is one.
    resolver: Resolver,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    state: State,
}

enum State {
    Idle,
    Resolving,
    Connecting(Attempt),
    Tunneling(TcpStream, Box<Opening>),
    Handshaking(Conn),
}

struct Attempt {
    socket: TcpStream,
    address: SocketAddr,
    give_up_at: Instant,
    /// Addresses still to try, and when the last of them must have answered.
    rest: std::vec::IntoIter<SocketAddr>,
    connect_by: Instant,
}

impl Dialer {
    /// Nothing is opened yet but the certificate files.
    ///
    /// # Errors
    /// [`Error::Config`] for an unusable file, or a host that no certificate can name.
    pub(super) fn new(config: &TransportConfig, alpn: &[&[u8]]) -> Result<Self, Error> {
        let endpoint = config.endpoint.clone();
        let tls = if endpoint.tls {
            let host = endpoint.global_host();
            let name = ServerName::try_from(host.to_owned()).map_err(|_| {
                Error::config(format_args!("endpoint: host {host:?} is not a name that TLS can verify"))
            })?;
            Some((tls::client_config(&config.tls, alpn)?, name))
        } else {
            None
        };
        let route = Route::of(config);
        let (host, port) =
            route.proxy().map_or((&endpoint.host, endpoint.port), |proxy| (&proxy.host, proxy.port));
        Ok(Self { resolver: Resolver::new(host, port), endpoint, route, tls, state: State::Idle })
    }

    /// See [`super::Http1::pin_addresses`].
    pub(super) fn pin_addresses(&mut self, addresses: Vec<SocketAddr>) {
        self.resolver.pin(addresses);
    }

    /// Begins a new connection, giving up one under way.
    pub(super) fn start(&mut self) {
        self.state = State::Resolving;
    }

    /// Gives a connection under way up. A lookup that runs is left to itself and serves the next start.
    pub(super) fn cancel(&mut self) {
        self.state = State::Idle;
    }

    /// What is going on, as [`Failure::Timeout`] names it.
    pub(super) fn phase(&self) -> &'static str {
        match self.state {
            State::Idle | State::Resolving => "resolve",
            State::Connecting(_) => "connect",
            State::Tunneling(..) => "proxy",
            State::Handshaking(_) => "tls",
        }
    }

    /// What to wait for. Resolving waits for the resolver's wake-up, and for time only where there is something to fall
    /// back on.
    pub(super) fn interest(&self) -> Interest {
        match &self.state {
            State::Idle => Interest::default(),
            State::Resolving => Interest {
                fd: self.resolver.fd(),
                readable: true,
                wake_at: self.resolver.wake_at(),
                ..Interest::default()
            },
            State::Connecting(attempt) => Interest {
                fd: Some(fd(&attempt.socket)),
                writable: true,
                wake_at: Some(attempt.give_up_at),
                ..Interest::default()
            },
            State::Tunneling(socket, opening) => Interest {
                fd: Some(fd(socket)),
                readable: true,
                writable: opening.has_output(),
                ..Interest::default()
            },
            State::Handshaking(conn) => Interest {
                fd: Some(conn.fd()),
                readable: true,
                writable: conn.has_output(),
                ..Interest::default()
            },
        }
    }

    /// Moves on. `Some` ends the attempt.
    pub(super) fn step(&mut self, now: Instant, budget: &mut usize) -> Option<Result<Conn, Failure>> {
        let result = loop {
            match std::mem::replace(&mut self.state, State::Idle) {
                State::Idle => return None,
                State::Resolving => match self.resolver.addresses(now) {
                    Ok(Some(addresses)) => {
                        match self.connect(addresses.into_iter(), now, now + CONNECT_TIMEOUT, String::new()) {
                            Ok(attempt) => self.state = State::Connecting(attempt),
                            Err(failure) => break Err(failure),
                        }
                    }
                    Ok(None) => {
                        self.state = State::Resolving;
                        return None;
                    }
                    Err(failure) => break Err(failure),
                },
                State::Connecting(attempt) => match connected(&attempt.socket) {
                    Ok(true) => match self.reached(attempt.socket) {
                        Ok(state) => self.state = state,
                        Err(failure) => break Err(failure),
                    },
                    Ok(false) if now < attempt.give_up_at => {
                        self.state = State::Connecting(attempt);
                        return None;
                    }
                    refused => {
                        let reason =
                            refused.err().map_or("no answer in time".to_owned(), |error| error.to_string());
                        let last = self.describe(attempt.address, &reason);
                        match self.connect(attempt.rest, now, attempt.connect_by, last) {
                            Ok(attempt) => self.state = State::Connecting(attempt),
                            Err(failure) => break Err(failure),
                        }
                    }
                },
                State::Tunneling(socket, mut opening) => match self.tunnel(&socket, &mut opening, budget) {
                    Ok(true) => match self.secure(socket) {
                        Ok(conn) => self.state = State::Handshaking(conn),
                        Err(failure) => break Err(failure),
                    },
                    Ok(false) => {
                        self.state = State::Tunneling(socket, opening);
                        return None;
                    }
                    Err(failure) => break Err(failure),
                },
                State::Handshaking(mut conn) => match conn.handshake(budget) {
                    Ok(true) => break Ok(conn),
                    Ok(false) => {
                        self.state = State::Handshaking(conn);
                        return None;
                    }
                    Err(failure) => break Err(failure),
                },
            }
        };
        Some(result)
    }

    /// Starts connecting to the first address that the operating system does not refuse at once.
    fn connect(
        &mut self,
        mut rest: std::vec::IntoIter<SocketAddr>,
        now: Instant,
        connect_by: Instant,
        mut last_failure: String,
    ) -> Result<Attempt, Failure> {
        while let Some(address) = rest.next() {
            let left = connect_by.saturating_duration_since(now);
            if left.is_zero() {
                break;
            }
            match open(address) {
                Ok(socket) => {
                    let give_up_at = now + left / (rest.len() as u32 + 1);
                    return Ok(Attempt { socket, address, give_up_at, rest, connect_by });
                }
                Err(error) => last_failure = self.describe(address, &error.to_string()),
            }
        }
        self.resolver.distrust();
        Err(Failure::Connect(last_failure))
    }

    fn describe(&self, address: SocketAddr, reason: &str) -> String {
        let reason = one_line(reason, 200);
        let (whose, host) = match self.route.proxy() {
            Some(proxy) => ("proxy ", &proxy.host),
            None => ("", &self.endpoint.host),
        };
        if address.ip().to_string() == *host {
            format!("{whose}{address}: {reason}")
        } else {
            format!("{whose}{host} ({address}): {reason}")
        }
    }

    /// The other end of the socket is there: the endpoint, or a proxy.
    fn reached(&self, socket: TcpStream) -> Result<State, Failure> {
        Ok(match &self.route {
            Route::Tunneled(proxy) => {
                State::Tunneling(socket, Box::new(Opening::new(proxy, &self.endpoint)?))
            }
            Route::Direct | Route::Forwarded(_) => State::Handshaking(self.secure(socket)?),
        })
    }

    fn tunnel(&self, socket: &TcpStream, opening: &mut Opening, budget: &mut usize) -> Result<bool, Failure> {
        self.route.proxy().map_or(Ok(true), |proxy| opening.step(proxy, socket, budget))
    }

    fn secure(&self, socket: TcpStream) -> Result<Conn, Failure> {
        let tls = match &self.tls {
            Some((config, name)) => {
                let session = ClientConnection::new(Arc::clone(config), name.clone());
                Some(Box::new(session.map_err(tls_failure)?))
            }
            None => None,
        };
        Ok(Conn { socket, tls })
    }
}

/// A connection: bytes in both directions, through TLS or not. Dropping it closes the socket without a word.
pub(super) struct Conn {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Conn {
    /// What to poll.
    pub(super) fn fd(&self) -> Fd {
        fd(&self.socket)
    }

    /// The protocol that both sides agreed on in the TLS handshake; `None` without TLS or agreement.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.alpn_protocol()
    }

    /// Without TLS nothing is agreed on before the first byte.
    pub(super) fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Something accepted by [`Conn::write`] is not in the socket yet.
    pub(super) fn has_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Reads what is there: `None`, nothing now (or `budget`, in bytes on the wire, is used up); `Some(0)`, the peer has
    /// closed in good order. Nothing that was taken off the socket stays behind at `None`, so that polling it is enough.
    pub(super) fn read(&mut self, into: &mut [u8], budget: &mut usize) -> Result<Option<usize>, Failure> {
        let Some(tls) = &mut self.tls else {
            if *budget == 0 {
                return Ok(None);
            }
            let count = would_block((&self.socket).read(into)).map_err(io_failure)?;
            *budget = budget.saturating_sub(count.unwrap_or(0));
            return Ok(count);
        };
        loop {
            match tls.reader().read(into) {
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Err(Failure::Io("closed without a TLS close_notify".to_owned())),
            }
            if *budget == 0 || receive(tls, &self.socket, budget)?.is_none() {
                return Ok(None);
            }
        }
    }

    /// Takes what fits now; 0 when nothing does.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Failure> {
        if !self.flush()? {
            return Ok(0);
        }
        let Some(tls) = &mut self.tls else {
            return Ok(would_block(Outgoing(&self.socket).write(bytes)).map_err(io_failure)?.unwrap_or(0));
        };
        let count = tls.writer().write(bytes).map_err(io_failure)?;
        self.flush()?;
        Ok(count)
    }

    /// Moves TLS records into the socket. True when none is left.
    pub(super) fn flush(&mut self) -> Result<bool, Failure> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                if would_block(tls.write_tls(&mut Outgoing(&self.socket))).map_err(io_failure)?.is_none() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Closes in good order, as far as that goes without waiting.
    pub(super) fn close(mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.flush();
        }
    }

    /// True when done; at once without TLS.
    fn handshake(&mut self, budget: &mut usize) -> Result<bool, Failure> {
        loop {
            self.flush()?;
            let Some(tls) = self.tls.as_mut().filter(|tls| tls.is_handshaking()) else {
                return Ok(true);
            };
            if *budget == 0 {
                return Ok(false);
            }
            match receive(tls, &self.socket, budget)? {
                None => return Ok(false),
                Some(0) => return Err(Failure::Io("closed during the TLS handshake".to_owned())),
                Some(_) => {}
            }
        }
    }
}

/// Moves bytes from the socket into the TLS session and has it work on them. `None`: there were none; `Some(0)`: the
/// socket has ended.
fn receive(
    tls: &mut ClientConnection,
    socket: &TcpStream,
    budget: &mut usize,
) -> Result<Option<usize>, Failure> {
    let count = would_block(tls.read_tls(&mut &*socket)).map_err(io_failure)?;
    *budget = budget.saturating_sub(count.unwrap_or(0));
    if let Err(error) = tls.process_new_packets() {
        // The peer should hear why; if it does not, so be it.
        let _ = tls.write_tls(&mut Outgoing(socket));
        return Err(tls_failure(error));
    }
    Ok(count)
}

fn tls_failure(error: rustls::Error) -> Failure {
    Failure::Tls(one_line(&error.to_string(), 200))
}
