//! Bytes in, outcome out. Every step is non-blocking: the exporter waits in one `poll` for all exchanges together.
//!
//! ```text
//! exporter ── begin(request) ─► Exchange ── interest() ─► poll(fd, wake_at) ── step() ─► Ok(None) … Ok(Response) | Failure
//! ```

mod answer;
mod compress;
mod conn;
pub mod fetch;
mod grpc;
mod grpc_call;
pub mod grpc_status;
mod http1;
mod http2;
mod http2_callbacks;
mod http2_stream;
pub mod memory;
mod post;
mod proxy;
mod resolve;
pub mod retry;
mod secrets;
pub mod sls;
pub mod sls_answer;
pub mod sls_credentials;
pub mod sls_sign;
mod socket;
mod tls;

pub use compress::compress;
pub use grpc::Grpc;
pub use grpc_call::GRPC_ENCODING;
pub use http1::Http1;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::config::{Protocol, Signal, TransportConfig};
use crate::error::Error;
use crate::sys::poll::PollFd;

/// What we call ourselves: the product, then the name that OTLP gives exporters.
pub const USER_AGENT: &str = concat!(
    "pytracingx/",
    env!("CARGO_PKG_VERSION"),
    " OTel-OTLP-Exporter-Python/",
    env!("CARGO_PKG_VERSION")
);

/// What we call ourselves where OTLP has no say.
pub const SLS_USER_AGENT: &str = concat!("pytracingx/", env!("CARGO_PKG_VERSION"));

/// Whether requests to this endpoint can be made: its path, its headers. Opens nothing.
///
/// # Errors
/// [`Error::Config`], as an exchange of that protocol would be refused.
pub fn check(config: &TransportConfig, signal: Signal) -> Result<(), Error> {
    match config.protocol {
        Protocol::HttpProtobuf => post::Post::new(config, "", USER_AGENT).map(drop),
        Protocol::Grpc => grpc_call::Head::new(config, signal, USER_AGENT).map(drop),
    }
}

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
    /// Headers, at most 64 KiB; gRPC: with the trailers after them.
    pub headers: http::HeaderMap,
    /// Body after decoding, at most 4 MiB; gRPC: the message, or the bytes as they are where they hold none.
    pub body: Vec<u8>,
}

/// No complete answer. Texts are one line, without secrets, paths or bytes from the peer unescaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The host name could not be resolved.
    Resolve(String),
    /// No address accepted a connection.
    Connect(String),
    /// The proxy did not let us through.
    Proxy(String),
    /// The TLS handshake failed or the certificate was refused.
    Tls(String),
    /// The connection broke.
    Io(String),
    /// The answer was not HTTP.
    Protocol(String),
    /// The answer was beyond the limits: which one. The server may well have taken the request, so never resent.
    Oversized(&'static str),
    /// The server ended a call over HTTP/2 with this error code instead of an answer.
    Reset(u32),
    /// `deadline` passed; the phase it passed in (`resolve`, `connect`, `proxy`, `tls`, `send`, `receive`).
    Timeout(&'static str),
}

impl Failure {
    /// Where it happened, of a connection that broke in `broke_in`. That is "tls" while dialing: a dialer that failed
    /// is idle again, and connections break in it during the handshake only.
    fn phase(&self, broke_in: &'static str) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Connect(_) => "connect",
            Self::Proxy(_) => "proxy",
            Self::Tls(_) => "tls",
            Self::Io(_) => broke_in,
            Self::Protocol(_) | Self::Oversized(_) | Self::Reset(_) => "receive",
            Self::Timeout(phase) => phase,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(text) => write!(f, "cannot resolve {text}"),
            Self::Connect(text) => write!(f, "cannot connect to {text}"),
            Self::Proxy(text) => write!(f, "no way through the proxy {text}"),
            Self::Tls(text) => write!(f, "TLS failed: {text}"),
            Self::Io(text) => write!(f, "connection lost: {text}"),
            Self::Protocol(text) => write!(f, "not an HTTP answer: {text}"),
            Self::Oversized(limit) => write!(f, "answer refused: {limit}"),
            Self::Reset(code) => write!(f, "call ended by the server: {}", http2_stream::error_name(*code)),
            Self::Timeout(phase) => write!(f, "timed out ({phase})"),
        }
    }
}

/// Text from elsewhere, fit for one line of a log or terminal: runs of white space, control, bidirectional and invisible
/// characters become one space, and it ends after `max_chars`.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    let unprintable = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut line = String::new();
    for word in text.split(unprintable).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if let Some((end, _)) = line.char_indices().nth(max_chars) {
            line.truncate(end);
            break;
        }
    }
    line
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

impl Interest {
    /// What to poll, if anything.
    pub fn poll_fd(&self) -> Option<PollFd> {
        let Self { readable, writable, .. } = *self;
        self.fd.map(|fd| PollFd { fd, readable, writable, ready: false })
    }
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
    /// Where the last request failed, if it did: `resolve`, `connect`, `tls`, `send` or `receive`.
    fn last_phase(&self) -> &'static str;
    /// Gives the request up and closes the connection.
    fn cancel(&mut self);
}
