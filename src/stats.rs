//! Counters: what was recorded, exported, lost and why. Relaxed atomics throughout: each is an independent count, and
//! readers need no order between them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a record was not delivered. Names as they appear in `stats()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The thread's lane was full (`ring_capacity`), or no lane memory was left (`lane_budget_bytes`).
    RingFull,
    /// The hand-over queue for oversized payloads was full.
    OversizeFull,
    /// The sink's queue was full (`max_queue_bytes`, `batch_max_queue`).
    QueueFull,
    /// The server refused it for good (a final status).
    Refused,
    /// The server took the request but rejected this many of its records (partial success).
    Rejected,
    /// A single record too large for the server.
    TooLarge,
    /// Retried until `max_export_timeout_ms` had passed.
    RetryTimeout,
    /// Still undelivered when shutdown's time was up.
    Shutdown,
    /// Ended under another session than it began in (re-init, fork).
    OtherSession,
    /// Recorded while the thread's lane was already gone (thread exit).
    ThreadExit,
    /// The sink's protocol is not available in this build.
    Unsupported,
}

impl DropReason {
    /// All reasons, in order.
    pub const ALL: [Self; 11] = [
        Self::RingFull,
        Self::OversizeFull,
        Self::QueueFull,
        Self::Refused,
        Self::Rejected,
        Self::TooLarge,
        Self::RetryTimeout,
        Self::Shutdown,
        Self::OtherSession,
        Self::ThreadExit,
        Self::Unsupported,
    ];

    /// The key in `stats()`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::OversizeFull => "oversize_full",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::RetryTimeout => "retry_timeout",
            Self::Shutdown => "shutdown",
            Self::OtherSession => "other_session",
            Self::ThreadExit => "thread_exit",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A count that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Drops by reason.
#[derive(Debug, Default)]
pub struct Drops([Counter; DropReason::ALL.len()]);

impl Drops {
    /// Counts `n` records lost for `reason`.
    pub fn add(&self, reason: DropReason, n: u64) {
        self.0[reason as usize].add(n);
    }

    /// Count for one reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].get()
    }
}
