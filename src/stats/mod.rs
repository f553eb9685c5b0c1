//! Counters: what was recorded, exported, lost and why.
//!
//! Recording threads count in [`RecordingCounters`]. Everything behind the lanes is counted in plain numbers by the
//! exporter thread, which publishes a whole [`Snapshot`] after each turn, so the equation of [`SinkStats`] holds exactly
//! in every snapshot.

mod counters;

use std::sync::Arc;

use crate::limits::FieldCounts;
pub use counters::{AllStarts, Counter, DropReason, Drops, RecordingCounters, Starts};

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

    /// All reasons together, but for what was never this process's.
    pub fn total(&self) -> u64 {
        self.0.iter().sum::<u64>() - self.get(DropReason::Inherited)
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

impl SinkProtocol {
    /// As `check()` says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OtlpHttp => "http/protobuf",
            Self::OtlpGrpc => "grpc",
            Self::Sls => "sls",
        }
    }
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

impl Snapshot {
    /// What recording threads have counted until now.
    pub fn refresh(&mut self, counters: &RecordingCounters) {
        [self.spans_started, self.spans_sampled_out] = counters.spans_started.totals();
        let on_their_way = [self.spans_dropped.total(), self.logs_dropped.total()];
        self.spans_dropped = DropCounts::read(&counters.spans_dropped);
        self.logs_dropped = DropCounts::read(&counters.logs_dropped);
        self.spans_recorded += self.spans_dropped.total() - on_their_way[0];
        self.logs_recorded += self.logs_dropped.total() - on_their_way[1];
        self.spans_abandoned = counters.spans_abandoned.get();
        self.measurements.negative = counters.negative_measurements.get();
        self.measurements.not_finite = counters.not_finite_measurements.get();
        self.measurements.not_a_number = counters.not_numbers.get();
        self.measurements.callback_errors = counters.callback_errors.get();
        self.unusable_times = counters.unusable_times.get();
        self.baggage_left_out = counters.baggage_left_out.get();
    }
}
