//! From the records that a sink has taken to the request that carries them: envelope, compression, deadline. No I/O;
//! the bytes are built once and shared by every repetition of the request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::CONTENT_ENCODING;

use crate::config::{BatchConfig, Compression};
use crate::encode::chunk::Part;
use crate::transport::retry::Outcome;
use crate::transport::{Failure, Request, Response, compress};

/// What an envelope adds around resource and scopes, at most.
const ENVELOPE_BYTES: usize = 64;

/// The time of a turn.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For everything that waits.
    pub instant: Instant,
    /// Wall clock, for metric points and `Retry-After` dates.
    pub unix_nano: u64,
}

/// What differs between signals and protocols.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// Builds the request from resource and parts, replacing the buffer.
    pub envelope: fn(&[u8], &[Part], &mut Vec<u8>),
    /// What an answer means.
    pub classify: fn(&Result<Response, Failure>, u64) -> Outcome,
}

/// How a sink behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For `stats()` and warnings: `scheme://host:port/…`.
    pub endpoint: Arc<str>,
    /// When a batch is sent.
    pub batch: BatchConfig,
    /// One request.
    pub timeout: Duration,
    /// A batch with all its retries.
    pub max_export_timeout: Duration,
    /// Request bodies.
    pub compression: Compression,
    /// Bytes of encoded records held.
    pub max_queue_bytes: usize,
    /// Encoded resource.
    pub resource: Arc<[u8]>,
    /// Signal and protocol.
    pub dialect: Dialect,
    /// For jitter: any number, different in each process.
    pub seed: u64,
}

/// Memory for building requests, shared by all sinks of a loop.
#[derive(Debug, Default)]
pub struct Scratch {
    plain: Vec<u8>,
    body: Vec<u8>,
}

impl Settings {
    /// Bytes of a request beside its records and their scopes.
    pub(super) fn envelope_bytes(&self) -> usize {
        self.resource.len() + ENVELOPE_BYTES
    }
}

/// A batch on its way: what a retry sends again.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) body: Arc<[u8]>,
    pub(super) plain_bytes: usize,
    encoding: Option<&'static str>,
    /// No repetition after that.
    pub(super) give_up: Instant,
}

impl Attempt {
    pub(super) fn build(settings: &Settings, parts: &[Part], now: Now, scratch: &mut Scratch) -> Self {
        (settings.dialect.envelope)(&settings.resource, parts, &mut scratch.plain);
        let encoding = compress(settings.compression, &scratch.plain, &mut scratch.body);
        Self {
            body: Arc::from(&scratch.body[..]),
            plain_bytes: scratch.plain.len(),
            encoding,
            give_up: after(now.instant, settings.max_export_timeout),
        }
    }

    pub(super) fn request(&self, settings: &Settings, now: Now) -> Request {
        let header = |encoding| (CONTENT_ENCODING, HeaderValue::from_static(encoding));
        Request {
            headers: self.encoding.map(header).into_iter().collect(),
            body: self.body.clone(),
            deadline: after(now.instant, settings.timeout).min(self.give_up),
        }
    }
}

/// `wait` after `from`; a wait beyond what the clock can express is a century.
pub fn after(from: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    from.checked_add(wait).unwrap_or_else(|| from + CENTURY)
}
