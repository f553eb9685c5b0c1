//! From the records that a sink has taken to the request that carries them: body, headers, deadline. No I/O; the body is
//! built once and shared by every repetition of the request, the headers are each attempt's own.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::dialect::{Body, Dialect};
use crate::config::BatchConfig;
use crate::encode::chunk::Part;
use crate::transport::Request;

/// Bodies that all sinks together build in one turn, before compression; one of them may exceed it.
const BODIES_PER_TURN_BYTES: usize = 1024 * 1024;

/// The time of a turn.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For everything that waits.
    pub instant: Instant,
    /// Wall clock, for metric points, signatures and `Retry-After` dates.
    pub unix_nano: u64,
}

impl Now {
    /// Both clocks.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_nano: unix.as_nanos() as u64 }
    }

    /// Wall clock.
    pub fn unix_seconds(self) -> u64 {
        self.unix_nano / 1_000_000_000
    }
}

/// How a sink behaves.
#[derive(Debug)]
pub struct Settings {
    /// For `stats()` and warnings: `scheme://host:port/…`.
    pub endpoint: Arc<str>,
    /// When a batch is sent.
    pub batch: BatchConfig,
    /// One request.
    pub timeout: Duration,
    /// A batch with all its retries.
    pub max_export_timeout: Duration,
    /// Bytes of encoded records held.
    pub max_queue_bytes: usize,
    /// Signal and protocol.
    pub dialect: Box<dyn Dialect>,
    /// For jitter: any number, different in each process.
    pub seed: u64,
}

/// Memory for building requests, shared by all sinks of a loop, and what of that work a turn of the loop still has room
/// for.
#[derive(Debug)]
pub struct Scratch {
    /// The request before compression.
    pub(super) plain: Vec<u8>,
    /// After it.
    pub(super) body: Vec<u8>,
    room_bytes: usize,
    refused: bool,
}

impl Default for Scratch {
    /// Room for everything, until [`Scratch::begin_turn`].
    fn default() -> Self {
        Self { plain: Vec::new(), body: Vec::new(), room_bytes: usize::MAX, refused: false }
    }
}

impl Scratch {
    /// Room for a mebibyte.
    pub fn begin_turn(&mut self) {
        (self.room_bytes, self.refused) = (BODIES_PER_TURN_BYTES, false);
    }

    /// Whether another body may be built now: while there is any room, however large it will be.
    pub(super) fn has_room(&mut self) -> bool {
        self.refused |= self.room_bytes == 0;
        self.room_bytes > 0
    }

    /// Somebody found no room since the last call.
    pub(super) fn take_refused(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }
}

/// A batch on its way: what a retry sends again.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) body: Body,
    /// At least once.
    pub(super) sent: bool,
    /// No repetition after that.
    pub(super) give_up: Instant,
}

impl Attempt {
    pub(super) fn build(settings: &mut Settings, parts: &[Part], now: Now, scratch: &mut Scratch) -> Self {
        let body = settings.dialect.build(parts, scratch);
        scratch.room_bytes = scratch.room_bytes.saturating_sub(body.plain_bytes);
        Self { body, sent: false, give_up: after(now.instant, settings.max_export_timeout) }
    }

    /// # Errors
    /// As of [`Dialect::headers`].
    pub(super) fn request(&self, settings: &mut Settings, now: Now) -> Result<Request, String> {
        Ok(Request {
            headers: settings.dialect.headers(&self.body, now.unix_seconds())?,
            body: self.body.bytes.clone(),
            deadline: after(now.instant, settings.timeout).min(self.give_up),
        })
    }
}

/// `wait` after `from`; a wait beyond what the clock can express is a century.
pub fn after(from: Instant, wait: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    from.checked_add(wait).unwrap_or_else(|| from + CENTURY)
}
