//! What recording threads count: relaxed atomics, each an independent count, between which readers need no order.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
    fence,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a record was not delivered. Names as they appear in `stats()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The thread's lane was full (`ring_capacity`), or no lane memory was left (`lane_budget_bytes`).
    RingFull,
    /// The hand-over queue for oversized payloads was full.
    OversizeFull,
    /// A log record made while another one was being taken, by the code that this ran.
    Reentrant,
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
    /// Ended under another session of this process than it began in.
    OtherSession,
    /// Begun by a parent process, ended in a forked child. No loss: the span is the parent's to record.
    Inherited,
    /// Recorded while the thread's lane was already gone (thread exit).
    ThreadExit,
    /// The sink cannot send: what is wrong, with its files for one, is its `last_error`.
    Unsupported,
    /// Lost when the exporter restarted after a panic: a bug of ours.
    Internal,
}

impl DropReason {
    /// All reasons, in order.
    pub const ALL: [Self; 14] = [
        Self::RingFull,
        Self::OversizeFull,
        Self::Reentrant,
        Self::QueueFull,
        Self::Refused,
        Self::Rejected,
        Self::TooLarge,
        Self::RetryTimeout,
        Self::Shutdown,
        Self::OtherSession,
        Self::Inherited,
        Self::ThreadExit,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The server itself decided: what it was given counts as dealt with, not as undelivered.
    pub const fn is_final_answer(self) -> bool {
        matches!(self, Self::Refused | Self::Rejected | Self::TooLarge)
    }

    /// The key in `stats()`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::OversizeFull => "oversize_full",
            Self::Reentrant => "reentrant",
            Self::QueueFull => "queue_full",
            Self::Refused => "refused",
            Self::Rejected => "rejected",
            Self::TooLarge => "too_large",
            Self::RetryTimeout => "retry_timeout",
            Self::Shutdown => "shutdown",
            Self::OtherSession => "other_session",
            Self::Inherited => "inherited",
            Self::ThreadExit => "thread_exit",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
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

/// Spans that one thread has begun. Only that thread writes, so a plain load and store count; others only read.
#[derive(Debug, Default)]
pub struct Starts {
    wanted: AtomicU64,
    sampled_out: AtomicU64,
}

impl Starts {
    /// Counts so many; the owning thread only.
    #[inline]
    pub fn count(&self, wanted: bool, spans: u64) {
        let count = if wanted { &self.wanted } else { &self.sampled_out };
        count.store(count.load(Relaxed) + spans, Relaxed);
    }
}

/// The [`Starts`] of all threads of a session.
#[derive(Debug, Default)]
pub struct AllStarts(Mutex<(Vec<Arc<Starts>>, [u64; 2])>);

impl AllStarts {
    /// A new thread's.
    pub fn add(&self) -> Arc<Starts> {
        let starts = Arc::<Starts>::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(starts.clone());
        starts
    }

    /// Wanted and sampled-out spans of all threads, those that are gone too.
    pub fn totals(&self) -> [u64; 2] {
        let (threads, gone) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = *gone;
        threads.retain(|starts| {
            let alive = Arc::strong_count(starts) > 1;
            // Acquire: a thread that is gone let go with Release after its last store, so these are its final counts.
            fence(Acquire);
            let counts = [starts.wanted.load(Relaxed), starts.sampled_out.load(Relaxed)];
            for (index, count) in counts.into_iter().enumerate() {
                totals[index] += count;
                gone[index] += if alive { 0 } else { count };
            }
            alive
        });
        totals
    }
}

/// What recording threads count.
#[derive(Debug, Default)]
pub struct RecordingCounters {
    /// Spans begun.
    pub spans_started: AllStarts,
    /// Span records lost on the way into a lane.
    pub spans_dropped: Drops,
    /// Spans that were collected without having been ended; they are ended then.
    pub spans_abandoned: Counter,
    /// Log records lost on the way into a lane.
    pub logs_dropped: Drops,
    /// Times that were not integer Unix nanoseconds and were replaced by now.
    pub unusable_times: Counter,
    /// Baggage entries that do not fit, or are no text under a token.
    pub baggage_left_out: Counter,
    /// Measurements not taken: negative, for a counter or a histogram.
    pub negative_measurements: Counter,
    /// Measurements not taken: NaN or an infinity, for anything but a gauge.
    pub not_finite_measurements: Counter,
    /// Measurements not taken: no number.
    pub not_numbers: Counter,
    /// Callbacks of observable instruments that raised, gave no observations or took too long.
    pub callback_errors: Counter,
}
