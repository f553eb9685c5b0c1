//! Counters: what was recorded, exported, lost and why.
//!
//! Recording threads count losses in relaxed atomics ([`Drops`]): each is an independent count, and readers need no
//! order between them. Everything behind the lanes is counted in plain numbers by the exporter thread, which
//! publishes a whole [`Snapshot`] after each turn, so the equation of [`SinkStats`] holds exactly in every snapshot.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
    fence,
};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::FieldCounts;

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
    /// Ended under another session than it began in (re-init, fork).
    OtherSession,
    /// Recorded while the thread's lane was already gone (thread exit).
    ThreadExit,
    /// The sink cannot send: what is wrong, with its files for one, is its `last_error`.
    Unsupported,
    /// Lost when the exporter restarted after a panic: a bug of ours.
    Internal,
}

impl DropReason {
    /// All reasons, in order.
    pub const ALL: [Self; 13] = [
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

/// Drops by reason, as plain numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DropCounts([u64; DropReason::ALL.len()]);

impl DropCounts {
    /// What `drops` shows now.
    pub fn read(drops: &Drops) -> Self {
        let mut counts = Self::default();
        for reason in DropReason::ALL {
            counts.add(reason, drops.get(reason));
        }
        counts
    }

    /// Counts `n` records lost for `reason`.
    pub fn add(&mut self, reason: DropReason, n: u64) {
        self.0[reason as usize] += n;
    }

    /// Count for one reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// All reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// What a sink is doing. Names as they appear in `stats()`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SinkState {
    /// Nothing due.
    #[default]
    Idle,
    /// A request is under way.
    Sending,
    /// Waiting after a failure.
    BackingOff,
    /// Waiting after several failures in a row: only probes go out.
    CircuitOpen,
    /// It cannot send, or its server does not know this signal: what comes is dropped.
    Unsupported,
}

impl SinkState {
    /// The value in `stats()`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Sending => "sending",
            Self::BackingOff => "backing_off",
            Self::CircuitOpen => "circuit_open",
            Self::Unsupported => "unsupported",
        }
    }
}

/// One sink's books. In every snapshot, exactly: `wanted = exported + dropped.total() + held_records`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// `scheme://host:port/…`: without the path, which can hold a token.
    pub endpoint: Arc<str>,
    /// What it speaks.
    pub protocol: SinkProtocol,
    /// What it is doing.
    pub state: SinkState,
    /// Records that this sink's sampler wanted.
    pub wanted: u64,
    /// Records that the server accepted.
    pub exported: u64,
    /// Records lost, by reason.
    pub dropped: DropCounts,
    /// Records held: waiting or in a request.
    pub held_records: u64,
    /// Of these, in a request.
    pub in_flight_records: u64,
    /// Most records ever held.
    pub held_records_max: u64,
    /// Records that may be held, where the user said so.
    pub queue_capacity: Option<u64>,
    /// Encoded bytes of the records held. A chunk that several sinks share counts in each of them.
    pub held_bytes: u64,
    /// Most bytes ever held.
    pub held_bytes_max: u64,
    /// Requests begun, repetitions included.
    pub requests: u64,
    /// Requests that repeated an earlier one.
    pub retried: u64,
    /// Bytes of request bodies before compression, repetitions included.
    pub body_bytes: u64,
    /// The same after compression.
    pub sent_bytes: u64,
    /// Failures since the last answer.
    pub failures_in_a_row: u32,
    /// What went wrong last, one line without secrets.
    pub last_error: Option<Arc<str>>,
    /// SLS sinks only.
    pub fields: Option<FieldCounts>,
}

/// What a sink speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SinkProtocol {
    /// OTLP over HTTP.
    #[default]
    OtlpHttp,
    /// OTLP over gRPC.
    OtlpGrpc,
    /// Aliyun SLS.
    Sls,
}

impl SinkStats {
    /// Records that were lost without the server having decided so.
    pub fn undelivered(&self) -> u64 {
        let undelivered = |reason: &DropReason| !reason.is_final_answer();
        DropReason::ALL.into_iter().filter(undelivered).map(|reason| self.dropped.get(reason)).sum()
    }
}

/// The stderr side: console spans and our own warnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConsoleStats {
    /// Entries accepted for writing.
    pub entries: u64,
    /// Entries lost because stderr took nothing or was gone.
    pub dropped: u64,
}

/// Lane memory of all recording threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneStats {
    /// Lanes alive.
    pub lanes: usize,
    /// Bytes in use.
    pub bytes: usize,
    /// Most bytes ever in use.
    pub bytes_max: usize,
}

/// Measurements and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeasurementStats {
    /// Taken.
    pub recorded: u64,
    /// Of these, folded because the thread's lane was full, or many came at once.
    pub folded: u64,
    /// Of these, those that joined the overflow series of their stream.
    pub overflowed: u64,
    /// Of these, lost when the exporter restarted after a panic: a bug of ours. Some series may have them.
    pub internal: u64,
    /// Of these, taken when the last collection was over: no point has them, of some sink at least.
    pub shutdown: u64,
    /// Not taken: negative, for a counter or a histogram.
    pub negative: u64,
    /// Not taken: NaN or an infinity, for anything but a gauge.
    pub not_finite: u64,
    /// Not taken: no number.
    pub not_a_number: u64,
    /// Instruments that were made again with another definition.
    pub conflicts: u64,
    /// Collections of observable instruments that did not end in time.
    pub late_observations: u64,
    /// Callbacks of observable instruments that raised, gave no observations or took too long.
    pub callback_errors: u64,
}

/// What `stats()` shows of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Spans begun that somebody wants.
    pub spans_started: u64,
    /// Spans begun that nobody wants.
    pub spans_sampled_out: u64,
    /// Spans handed to the session: those that reached the exporter, and `spans_dropped`.
    pub spans_recorded: u64,
    /// Spans lost on the way into a lane, by reason.
    pub spans_dropped: DropCounts,
    /// Times that were not integer Unix nanoseconds and were replaced by now.
    pub unusable_times: u64,
    /// Entries that `baggage()` left out: they do not fit, or are no text under a token.
    pub baggage_left_out: u64,
    /// Spans that were collected without having been ended; they were ended then.
    pub spans_abandoned: u64,
    /// Log records handed to the session: those that reached the exporter, and `logs_dropped`. What no destination's
    /// filter lets pass is not recorded.
    pub logs_recorded: u64,
    /// Log records lost on the way into a lane, by reason.
    pub logs_dropped: DropCounts,
    /// Measurements.
    pub measurements: MeasurementStats,
    /// Each trace sink, in the order of the configuration.
    pub trace_sinks: Vec<SinkStats>,
    /// Each metric sink, in the order of the configuration. Its records are data points.
    pub metric_sinks: Vec<SinkStats>,
    /// Each log sink: the OTLP ones, then the SLS ones, in the order of the configuration.
    pub log_sinks: Vec<SinkStats>,
    /// The stderr side.
    pub console: ConsoleStats,
    /// Lane memory.
    pub lanes: LaneStats,
    /// Times the exporter went on after a panic.
    pub exporter_restarts: u64,
}
