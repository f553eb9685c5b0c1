//! OTLP over gRPC to one endpoint, one call at a time, stepped: no call waits, and one step reads and writes a bounded
//! number of bytes. The connection is kept between calls and over deadlines that the server answers to; whatever the
//! peer does, a call ends by its deadline. PINGs and WINDOW_UPDATEs are heard while a long message is on its way, and so
//! is an answer that comes before its end. Sends no PINGs of its own: servers close connections for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conn::{Conn, Dialer};
use super::grpc_call::{Head, answer, prefix, timeout};
use super::http2::Session;
use super::http2_stream::{REFUSED_STREAM, Stream};
use super::secrets::Secrets;
use super::{Exchange, Failure, Interest, Request, Response};
use crate::config::{Signal, TransportConfig};
use crate::error::Error;

/// Common servers and load balancers close idle connections after 60 s or more; closing first avoids the race.
const IDLE_CLOSE: Duration = Duration::from_secs(55);
/// Bytes one step reads at most, and writes at most, so that one sink cannot hold up the others.
const STEP_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// So many bytes of frames go out in one write.
const WRITE_BYTES: usize = 32 * 1024;
/// A server has no more to say between two calls.
const IDLE_BYTES: usize = 16 * 1024;

/// An [`Exchange`] that speaks gRPC: every request is the message of an `Export` call.
pub struct Grpc {
    head: Head,
    secrets: Secrets,
    dialer: Dialer,
    link: Option<Link>,
    /// When `link` had its last answer.
    idle_since: Option<Instant>,
    flight: Option<Flight>,
    last_phase: &'static str,
    scratch: Box<[u8]>,
}

/// A call under way.
struct Flight {
    request: Request,
    stage: Stage,
    /// The connection has served a call before, so the server may be about to close it.
    kept: bool,
    /// What the server has not worked on is sent again once.
    resent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    Dialing,
    Called,
}

/// A connection with what is spoken on it.
struct Link {
    conn: Conn,
    session: Session,
    output: Vec<u8>,
    /// Of `output`.
    written: usize,
    /// Why nothing more can be sent. The answer may be there all the same.
    send_failure: Option<Failure>,
    /// Bytes from the server since the call began, or since it ended.
    heard: usize,
}

impl Grpc {
    /// An exchange with nothing open yet.
    ///
    /// # Errors
    /// [`Error::Config`] for metadata, a host or a certificate file that cannot be used.
    pub fn new(config: &TransportConfig, signal: Signal, user_agent: &str) -> Result<Self, Error> {
        Ok(Self {
            head: Head::new(config, signal, user_agent)?,
            secrets: Secrets::of(config),
            dialer: Dialer::new(config, &[b"h2"])?,
            link: None,
            idle_since: None,
            flight: None,
            last_phase: "resolve",
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// See [`super::Http1::pin_addresses`].
    #[doc(hidden)]
    pub fn pin_addresses(&mut self, addresses: Vec<SocketAddr>) {
        self.dialer.pin_addresses(addresses);
    }

    /// What an answer is taken for that comes in these pieces, before the server closes. Without a connection; for fuzzing.
    #[doc(hidden)]
    pub fn replay<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Response, Failure> {
        let request =
            Request { headers: Vec::new(), body: Arc::from(&b"message"[..]), deadline: Instant::now() };
        let mut session = Session::new()?;
        session.submit(&self.head.fields(&request, "1S"), prefix(&request), request.body.clone())?;
        let mut output = Vec::new();
        for piece in pieces {
            session.take_output(&mut output, WRITE_BYTES)?;
            output.clear();
            session.feed(piece)?;
            if session.stream().is_some_and(|stream| stream.ended || stream.reset.is_some()) {
                return answer(session.give_up().unwrap_or_default(), &self.secrets);
            }
            if let Some(fault) = session.fault() {
                return Err(Failure::Protocol(fault.to_owned()));
            }
        }
        Err(Failure::Io(session.goaway().unwrap_or("closed by the server").to_owned()))
    }

    /// `Some` ends the call.
    fn advance(&mut self, flight: &mut Flight, now: Instant) -> Result<Option<Response>, Failure> {
        let mut budget = STEP_BYTES;
        loop {
            match flight.stage {
                Stage::Begun => {
                    self.watch_idle(now);
                    flight.kept = self.link.is_some();
                    if flight.kept {
                        self.call(flight, now)?;
                    } else {
                        self.dialer.start();
                        flight.stage = Stage::Dialing;
                    }
                }
                Stage::Dialing => match self.dialer.step(now, &mut budget) {
                    None => return Ok(None),
                    Some(conn) => {
                        self.link = Some(Link::new(conn?)?);
                        self.call(flight, now)?;
                    }
                },
                Stage::Called => {
                    let Some(link) = &mut self.link else {
                        return Err(Failure::Io("no connection".to_owned()));
                    };
                    let turned = link.turn(&mut self.scratch, &mut budget, &self.secrets);
                    let stream = link.session.stream();
                    let refused = stream.is_some_and(|stream| stream.reset == Some(REFUSED_STREAM));
                    let over = stream.is_some_and(|stream| stream.ended || stream.reset.is_some());
                    let cut = matches!(turned, Err(Failure::Io(_))) && flight.kept && link.heard == 0;
                    if (refused || cut) && !flight.resent {
                        flight.resent = true;
                        flight.stage = Stage::Begun;
                        self.idle_since = Some(now);
                        if turned.is_err() {
                            self.link = None;
                        }
                    } else if over {
                        let stream = link.session.give_up().unwrap_or_default();
                        self.settle(turned.is_ok(), now);
                        return answer(stream, &self.secrets).map(Some);
                    } else {
                        return turned.map(|()| None);
                    }
                }
            }
        }
    }

    fn call(&mut self, flight: &mut Flight, now: Instant) -> Result<(), Failure> {
        let Some(link) = &mut self.link else {
            return Err(Failure::Io("no connection".to_owned()));
        };
        let request = &flight.request;
        let timeout = timeout(request.deadline.saturating_duration_since(now));
        let fields = self.head.fields(request, &timeout);
        link.heard = 0;
        link.session.submit(&fields, prefix(request), request.body.clone())?;
        flight.stage = Stage::Called;
        Ok(())
    }

    /// After a call: the connection serves the next one, or not.
    fn settle(&mut self, alive: bool, now: Instant) {
        if let Some(mut link) = self.link.take() {
            link.send();
            if alive && link.is_usable() {
                link.heard = 0;
                self.link = Some(link);
                self.idle_since = Some(now);
            } else {
                link.conn.close();
            }
        }
    }

    /// Closes a kept connection that is too old, that the server wants to close or has closed, or on which it does not
    /// keep quiet.
    fn watch_idle(&mut self, now: Instant) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let mut budget = STEP_BYTES;
        let young = self.idle_since.is_some_and(|since| now < since + IDLE_CLOSE);
        let turned = link.turn(&mut self.scratch, &mut budget, &self.secrets);
        if young && turned.is_ok() && link.is_usable() && link.heard <= IDLE_BYTES {
            self.link = Some(link);
        } else {
            link.conn.close();
        }
    }

    fn phase(&self, flight: &Flight) -> &'static str {
        match flight.stage {
            Stage::Begun => "connect",
            Stage::Dialing => self.dialer.phase(),
            Stage::Called if self.link.as_ref().is_some_and(Link::is_waiting) => "receive",
            Stage::Called => "send",
        }
    }

    /// The deadline has passed. A server that was heard may go on with the next call; one that was not may be gone.
    fn expire(&mut self, flight: &Flight, now: Instant) -> Failure {
        let phase = self.phase(flight);
        match &mut self.link {
            Some(link) if flight.stage == Stage::Called && link.heard > 0 => {
                link.session.give_up();
                self.settle(true, now);
            }
            _ => self.cancel(),
        }
        Failure::Timeout(phase)
    }
}

impl Exchange for Grpc {
    fn begin(&mut self, request: Request, _now: Instant) {
        if self.flight.is_some() {
            self.cancel();
        }
        self.flight = Some(Flight { request, stage: Stage::Begun, kept: false, resent: false });
    }

    fn step(&mut self, now: Instant) -> Option<Result<Response, Failure>> {
        let Some(mut flight) = self.flight.take() else {
            self.watch_idle(now);
            return None;
        };
        let failure = match self.advance(&mut flight, now) {
            Ok(Some(response)) => return Some(Ok(response)),
            Ok(None) if now < flight.request.deadline => {
                self.flight = Some(flight);
                return None;
            }
            Ok(None) => self.expire(&flight, now),
            // The connection is as good as before.
            Err(failure @ Failure::Reset(_)) => failure,
            Err(failure) => {
                self.last_phase = self.phase(&flight);
                self.cancel();
                failure
            }
        };
        let broke_in = if flight.stage == Stage::Dialing { "tls" } else { self.last_phase };
        self.last_phase = failure.phase(broke_in);
        Some(Err(failure))
    }

    fn interest(&self, now: Instant) -> Interest {
        let link = self.link.as_ref().map_or_else(Interest::default, Link::interest);
        let Some(flight) = &self.flight else {
            let closing = self.link.as_ref().and(self.idle_since).map(|since| since + IDLE_CLOSE);
            return Interest { wake_at: closing, ..link };
        };
        let interest = match flight.stage {
            Stage::Begun => Interest { wake_at: Some(now), ..Interest::default() },
            Stage::Dialing => self.dialer.interest(),
            Stage::Called => link,
        };
        let deadline = flight.request.deadline;
        Interest { wake_at: Some(interest.wake_at.map_or(deadline, |at| at.min(deadline))), ..interest }
    }

    fn last_phase(&self) -> &'static str {
        self.last_phase
    }

    fn cancel(&mut self) {
        self.flight = None;
        self.link = None;
        self.dialer.cancel();
    }
}

impl Link {
    fn new(conn: Conn) -> Result<Self, Failure> {
        if !conn.is_plain() && conn.alpn() != Some(b"h2") {
            return Err(Failure::Tls("the server does not offer HTTP/2, which gRPC needs".to_owned()));
        }
        let session = Session::new()?;
        Ok(Self { conn, session, output: Vec::new(), written: 0, send_failure: None, heard: 0 })
    }

    /// Sends and hears what can be, without waiting. Nothing more comes after an error.
    fn turn(&mut self, scratch: &mut [u8], budget: &mut usize, secrets: &Secrets) -> Result<(), Failure> {
        self.send();
        loop {
            match self.conn.read(scratch, budget) {
                Ok(None) => break,
                Ok(Some(0)) => return Err(self.lost("closed by the server", secrets)),
                Ok(Some(count)) => {
                    self.heard += count;
                    self.session.feed(&scratch[..count])?;
                }
                Err(Failure::Io(reason)) => return Err(self.lost(&reason, secrets)),
                Err(failure) => return Err(failure),
            }
        }
        self.send();
        self.session.fault().map_or(Ok(()), |fault| Err(Failure::Protocol(fault.to_owned())))
    }

    /// Sends what the socket takes. A failure is kept until it is clear that no answer comes.
    fn send(&mut self) {
        let mut budget = STEP_BYTES;
        while self.send_failure.is_none() && budget > 0 {
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
                self.send_failure = self.session.take_output(&mut self.output, WRITE_BYTES).err();
            }
            let rest = &self.output[self.written..];
            let rest = &rest[..rest.len().min(budget)];
            let written = if rest.is_empty() { self.conn.flush().map(|_| 0) } else { self.conn.write(rest) };
            match written {
                Ok(0) => return,
                Ok(count) => {
                    self.written += count;
                    budget -= count;
                }
                Err(failure) => self.send_failure = Some(failure),
            }
        }
    }

    /// The connection is gone: by what the server did or said before, or by how it went.
    fn lost(&mut self, reason: &str, secrets: &Secrets) -> Failure {
        if let Some(fault) = self.session.fault() {
            return Failure::Protocol(fault.to_owned());
        }
        let mut words = self.session.goaway().unwrap_or(reason).as_bytes().to_vec();
        secrets.redact(&mut words);
        let failure = Failure::Io(String::from_utf8_lossy(&words).into_owned());
        if self.session.goaway().is_some() { failure } else { self.send_failure.take().unwrap_or(failure) }
    }

    /// Another call can be made.
    fn is_usable(&self) -> bool {
        self.send_failure.is_none() && self.session.takes_calls()
    }

    /// All of the message is sent, or the answer has begun.
    fn is_waiting(&self) -> bool {
        let waiting = |stream: &Stream| stream.status != 0 || stream.all_sent();
        self.session.stream().is_some_and(waiting) && self.written == self.output.len()
    }

    fn interest(&self) -> Interest {
        let has_output =
            || self.written < self.output.len() || self.session.has_output() || self.conn.has_output();
        Interest {
            fd: Some(self.conn.fd()),
            readable: true,
            writable: self.send_failure.is_none() && has_output(),
            wake_at: None,
        }
    }
}
