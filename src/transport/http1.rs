//! HTTP/1.1 to one endpoint, one request at a time, stepped: no call waits, and one step reads and writes a bounded
//! number of bytes. The connection is kept between requests; redirects are answers, not instructions; whatever the peer
//! does, a request ends by its deadline. Sending and receiving go on at the same time, so that a server that answers
//! before it has read everything is heard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;

use super::answer::{Answer, Finished};
use super::conn::{Conn, Dialer};
use super::post::Post;
use super::secrets::Secrets;
use super::{Exchange, Failure, Interest, Request, Response, USER_AGENT};
use crate::config::TransportConfig;
use crate::error::Error;

/// Common servers and load balancers close idle connections after 60 s or more; closing first avoids the race.
const IDLE_CLOSE: Duration = Duration::from_secs(55);
/// Bytes one step reads at most, and writes at most, so that one sink cannot hold up the others.
const STEP_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 16 * 1024;
/// So much of a body goes out in one write with its headers.
const FRONT_BYTES: usize = 16 * 1024;

/// An [`Exchange`] that speaks HTTP/1.1: every request has the same method (POST) and path, the endpoint's.
pub struct Http1 {
    post: Post,
    secrets: Secrets,
    dialer: Dialer,
    conn: Option<Conn>,
    /// When `conn` had its last answer.
    idle_since: Option<Instant>,
    flight: Option<Flight>,
    last_phase: &'static str,
    scratch: Box<[u8]>,
}

/// A request under way.
struct Flight {
    request: Request,
    stage: Stage,
    /// The connection has served a request before, so the server may be about to close it.
    kept: bool,
}

enum Stage {
    Begun,
    Dialing,
    Open(Box<Transfer>),
}

/// Both directions of one attempt.
struct Transfer {
    /// Request line, headers and the body's first bytes.
    front: Vec<u8>,
    head_len: usize,
    /// Of head and body together.
    sent: usize,
    /// Why nothing more can be sent. The answer may be there all the same.
    send_failure: Option<Failure>,
    answer: Answer,
    /// Bytes read that `answer` has not used yet.
    input: Vec<u8>,
    /// A byte of the answer was there.
    heard: bool,
}

impl Http1 {
    /// An exchange with nothing open yet. `content_type` is that of every request.
    ///
    /// # Errors
    /// [`Error::Config`] for a header, path, host or certificate file that cannot be used.
    pub fn new(
        config: &TransportConfig,
        content_type: &'static str,
        user_agent: &str,
    ) -> Result<Self, Error> {
        Ok(Self {
            post: Post::new(config, content_type, user_agent)?,
            secrets: Secrets::of(config),
            dialer: Dialer::new(config, &[b"http/1.1"])?,
            conn: None,
            idle_since: None,
            flight: None,
            last_phase: "resolve",
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// One whose requests have this method, and no content type but their own. A GET has no body.
    pub(super) fn asking(method: Method, config: &TransportConfig) -> Result<Self, Error> {
        let mut http = Self::new(config, "", USER_AGENT)?;
        http.post.method = method;
        Ok(http)
    }

    /// Connects to these addresses, in this order, instead of looking the endpoint's host up. Certificates and `Host`
    /// stay those of the endpoint. For tests.
    #[doc(hidden)]
    pub fn pin_addresses(&mut self, addresses: Vec<SocketAddr>) {
        self.dialer.pin_addresses(addresses);
    }

    /// What an answer is taken for that comes in these pieces, before the server closes. Without a connection; for fuzzing.
    #[doc(hidden)]
    pub fn replay<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Response, Failure> {
        let request = Request { headers: Vec::new(), body: Arc::default(), deadline: Instant::now() };
        let mut answer = Answer::new(self.post.render(&request)?.1);
        let mut input = Vec::new();
        for piece in pieces {
            input.extend_from_slice(piece);
            if let Some(finished) = answer.feed(&mut input)? {
                return Ok(finished.response);
            }
        }
        answer.end().map(|finished| finished.response)
    }

    /// `Some` ends the request.
    fn advance(&mut self, flight: &mut Flight, now: Instant) -> Result<Option<Finished>, Failure> {
        let mut budget = STEP_BYTES;
        loop {
            match &mut flight.stage {
                Stage::Begun => {
                    self.watch_idle(now);
                    flight.kept = self.conn.is_some();
                    flight.stage = if flight.kept { self.open(&flight.request)? } else { Stage::Dialing };
                    if !flight.kept {
                        self.dialer.start();
                    }
                }
                Stage::Dialing => match self.dialer.step(now, &mut budget) {
                    None => return Ok(None),
                    Some(result) => {
                        self.conn = Some(result?);
                        flight.stage = self.open(&flight.request)?;
                    }
                },
                Stage::Open(transfer) => {
                    let Some(conn) = &mut self.conn else {
                        return Err(Failure::Io("no connection".to_owned()));
                    };
                    transfer.send(conn, &flight.request.body);
                    match transfer.receive(conn, &mut self.scratch, &mut budget) {
                        // The server closed the kept connection while the request was on its way to it. It has not
                        // begun to answer: send once more, on a new connection.
                        Err(Failure::Io(_)) if flight.kept && !transfer.heard => {
                            self.conn = None;
                            flight.stage = Stage::Begun;
                        }
                        result => return result,
                    }
                }
            }
        }
    }

    fn open(&self, request: &Request) -> Result<Stage, Failure> {
        let (mut front, call) = self.post.render(request)?;
        let head_len = front.len();
        front.extend_from_slice(&request.body[..request.body.len().min(FRONT_BYTES)]);
        let answer = Answer::new(call);
        Ok(Stage::Open(Box::new(Transfer {
            front,
            head_len,
            sent: 0,
            send_failure: None,
            answer,
            input: Vec::new(),
            heard: false,
        })))
    }

    /// Closes a kept connection that is too old, that the server has closed, or on which it sends unasked.
    fn watch_idle(&mut self, now: Instant) {
        let Some(mut conn) = self.conn.take() else {
            return;
        };
        let mut budget = STEP_BYTES;
        let young = self.idle_since.is_some_and(|since| now < since + IDLE_CLOSE);
        let quiet = conn.flush().is_ok() && matches!(conn.read(&mut self.scratch, &mut budget), Ok(None));
        if young && quiet {
            self.conn = Some(conn);
        } else {
            conn.close();
        }
    }

    fn phase(&self, flight: &Flight) -> &'static str {
        match &flight.stage {
            Stage::Begun => "connect",
            Stage::Dialing => self.dialer.phase(),
            Stage::Open(transfer) if transfer.heard || transfer.all_sent(&flight.request.body) => "receive",
            Stage::Open(_) => "send",
        }
    }

    fn finish(&mut self, flight: &Flight, finished: Finished, now: Instant) -> Response {
        let Finished { mut response, reusable } = finished;
        let clean = matches!(&flight.stage, Stage::Open(transfer)
            if transfer.all_sent(&flight.request.body) && transfer.input.is_empty());
        let flushed = self.conn.as_ref().is_some_and(|conn| !conn.has_output());
        if reusable && clean && flushed {
            self.idle_since = Some(now);
        } else if let Some(conn) = self.conn.take() {
            conn.close();
        }
        self.secrets.redact(&mut response.body);
        response
    }
}

impl Exchange for Http1 {
    fn begin(&mut self, request: Request, _now: Instant) {
        if self.flight.is_some() {
            self.cancel();
        }
        self.flight = Some(Flight { request, stage: Stage::Begun, kept: false });
    }

    fn step(&mut self, now: Instant) -> Option<Result<Response, Failure>> {
        let Some(mut flight) = self.flight.take() else {
            self.watch_idle(now);
            return None;
        };
        let failure = match self.advance(&mut flight, now) {
            Ok(Some(finished)) => {
                let response = self.finish(&flight, finished, now);
                match self.post.refused_by_proxy(&response) {
                    None => return Some(Ok(response)),
                    Some(failure) => failure,
                }
            }
            Ok(None) if now < flight.request.deadline => {
                self.flight = Some(flight);
                return None;
            }
            Ok(None) => Failure::Timeout(self.phase(&flight)),
            Err(failure) => failure,
        };
        let broke_in = match flight.stage {
            Stage::Dialing => "tls",
            _ => self.phase(&flight),
        };
        self.last_phase = failure.phase(broke_in);
        self.cancel();
        Some(Err(failure))
    }

    fn interest(&self, now: Instant) -> Interest {
        let Some(flight) = &self.flight else {
            return match &self.conn {
                Some(conn) => Interest {
                    fd: Some(conn.fd()),
                    readable: true,
                    writable: conn.has_output(),
                    wake_at: self.idle_since.map(|since| since + IDLE_CLOSE),
                },
                None => Interest::default(),
            };
        };
        let interest = match &flight.stage {
            Stage::Begun => Interest { wake_at: Some(now), ..Interest::default() },
            Stage::Dialing => self.dialer.interest(),
            Stage::Open(transfer) => Interest {
                fd: self.conn.as_ref().map(Conn::fd),
                readable: true,
                writable: transfer.send_failure.is_none()
                    && (!transfer.all_sent(&flight.request.body)
                        || self.conn.as_ref().is_some_and(Conn::has_output)),
                wake_at: None,
            },
        };
        let deadline = flight.request.deadline;
        Interest { wake_at: Some(interest.wake_at.map_or(deadline, |at| at.min(deadline))), ..interest }
    }

    fn last_phase(&self) -> &'static str {
        self.last_phase
    }

    fn cancel(&mut self) {
        self.flight = None;
        self.conn = None;
        self.dialer.cancel();
    }
}

impl Transfer {
    fn all_sent(&self, body: &[u8]) -> bool {
        self.sent == self.head_len + body.len()
    }

    /// Sends what the socket takes. A failure is kept until it is clear that no answer comes.
    fn send(&mut self, conn: &mut Conn, body: &[u8]) {
        let mut budget = STEP_BYTES;
        while self.send_failure.is_none() && budget > 0 {
            let rest = match self.front.get(self.sent..) {
                Some(rest) if !rest.is_empty() => rest,
                _ => &body[self.sent - self.head_len..],
            };
            let rest = &rest[..rest.len().min(budget)];
            let written = if rest.is_empty() { conn.flush().map(|_| 0) } else { conn.write(rest) };
            match written {
                Ok(0) => return,
                Ok(count) => {
                    self.sent += count;
                    budget -= count;
                }
                Err(failure) => self.send_failure = Some(failure),
            }
        }
    }

    fn receive(
        &mut self,
        conn: &mut Conn,
        scratch: &mut [u8],
        budget: &mut usize,
    ) -> Result<Option<Finished>, Failure> {
        while let Some(count) = conn.read(scratch, budget)? {
            if count == 0 {
                let ended = self.answer.end().map_err(|failure| self.send_failure.take().unwrap_or(failure));
                return ended.map(Some);
            }
            self.heard = true;
            self.input.extend_from_slice(&scratch[..count]);
            if let Some(finished) = self.answer.feed(&mut self.input)? {
                return Ok(Some(finished));
            }
        }
        Ok(None)
    }
}
