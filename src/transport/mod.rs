//! Bytes in, outcome out. Every step is non-blocking: the exporter waits in one `poll` for all exchanges together.
//!
//! ```text
//! exporter ── begin(request) ─► Exchange ── interest() ─► poll(fd, wake_at) ── step() ─► Ok(None) … Ok(Response) | Failure
//! ```

pub mod memory;
pub mod retry;

use std::sync::Arc;
use std::time::Instant;

/// One request. Shared bytes, so that a retry sends the same body without a copy.
#[derive(Debug, Clone)]
pub struct Request {
    /// Headers of this request beside the exchange's own (for example `content-encoding`, a signature).
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Body as it goes on the wire.
    pub body: Arc<[u8]>,
    /// Everything, from name resolution to the answer's last byte, must be over by then.
    pub deadline: Instant,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers, at most 64 KiB.
    pub headers: http::HeaderMap,
    /// Body after decoding, at most 4 MiB.
    pub body: Vec<u8>,
}

/// No complete answer. Texts are one line, without secrets, paths or bytes from the peer unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The host name could not be resolved.
    Resolve(String),
    /// No address accepted a connection.
    Connect(String),
    /// The TLS handshake failed or the certificate was refused.
    Tls(String),
    /// The connection broke.
    Io(String),
    /// The answer was not HTTP, or beyond the limits.
    Protocol(String),
    /// `deadline` passed; the phase it passed in (`resolve`, `connect`, `tls`, `send`, `receive`).
    Timeout(&'static str),
}

/// What to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interest {
    /// Descriptor to poll, if any.
    pub fd: Option<crate::sys::Fd>,
    /// Wake when readable.
    pub readable: bool,
    /// Wake when writable.
    pub writable: bool,
    /// Call `step` at the latest then.
    pub wake_at: Option<Instant>,
}

/// A peer that takes one request at a time. Never blocks, never spawns except a resolver thread while a name is
/// looked up. Dropping it closes the connection.
pub trait Exchange: Send {
    /// Starts a request. Only while no other is under way.
    fn begin(&mut self, request: Request, now: Instant);
    /// Moves as far as possible without waiting. `Some` ends the request. While idle, notices a closed connection.
    fn step(&mut self, now: Instant) -> Option<Result<Response, Failure>>;
    /// What to wait for before the next `step`.
    fn interest(&self, now: Instant) -> Interest;
    /// Gives the request up and closes the connection.
    fn cancel(&mut self);
}
