//! One sink: what waits for it, the request under way, and (in [`settle`]) what to do after each answer. Stepped by the
//! exporter loop, never blocks, knows no clock but the [`Now`] it is given. One request at a time; the next follows at once
//! while a full batch waits.
//!
//! ```text
//!     due: a full batch or half a queue, an old record, a flush     retryable
//!      Idle ────────────────────────────────────────► Sending ─────────────────► BackingOff
//!       ▲                                              │   ▲                       │     │
//!       └── delivered, refused; too large: halve it ───┘   └── again, same bytes ──┘     │ `max_export_timeout_ms`
//!       ▲                                                                                ▼ after the first attempt
//!       └──────────────────────────────────────────────────────────────── batch dropped, wait goes on
//! ```
//!
//! The wait belongs to the sink, not to the batch: while an endpoint is down, a new or a full batch starts nothing,
//! one request probes it when the wait is over. After [`CIRCUIT_OPENS_AFTER`] failures in a row this is called an
//! open circuit. Only a flush or a shutdown tries before, once.
//!
//! A sink that has something to send and lacks what a request needs, credentials, waits for it without a timer.

mod settle;

use std::time::{Duration, Instant};

use super::pending::Pending;
use super::request::{Attempt, Now, Scratch, Settings, after};
use super::self_metrics::Operation;
use crate::encode::chunk::Part;
use crate::limits::FieldCounts;
use crate::stats::{DropReason, SinkState, SinkStats};
use crate::transport::{Exchange, Interest};

/// A single record may make a request larger, up to this (OTLP's limit).
pub const MAX_LONE_RECORD_BYTES: usize = 64 * 1024 * 1024;
/// Failures in a row.
pub const CIRCUIT_OPENS_AFTER: u32 = 5;
/// Connections that must fail before a sink is given up at interpreter exit.
pub const EXIT_REFUSALS: u32 = 2;
/// Before a request that could not be put together is tried again.
const UNSENDABLE_RETRY: Duration = Duration::from_millis(200);
/// Requests that one step may complete, so that an endpoint that answers at once does not keep the loop to itself. How
/// many it may build is [`Scratch`]'s to say.
const REQUESTS_PER_STEP: usize = 16;

/// How far a flush has come with one sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything up to the mark is dealt with.
    Done,
    /// Still at it.
    Pending,
    /// Nothing more will be tried before the deadline.
    GivenUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No batch.
    Idle,
    /// A batch; the exchange has it.
    Sending,
    /// A batch that failed, or none any more. `asked`: the server named the time.
    BackingOff { until: Instant, asked: bool },
    /// What a request needs is not there: credentials. Whoever brings it wakes the loop. A batch that failed, or none.
    Unprepared,
}

/// See the module documentation.
pub struct Sink {
    settings: Settings,
    exchange: Option<Box<dyn Exchange>>,
    pending: Pending,
    state: State,
    /// There while `pending` has taken something.
    attempt: Option<Attempt>,
    /// Above this a request was too large for the server; grows back slowly.
    request_bytes: usize,
    random: u64,
    /// Records up to this count of `pending.entered()` are sent without waiting for a full batch.
    flush_mark: u64,
    /// The server does not know this signal: until then it is not asked again, and what comes is dropped.
    unasked_until: Option<Instant>,
    /// While the interpreter exits: connections that failed.
    exit_refusals: Option<u32>,
    /// When the request under way began.
    began: Option<Instant>,
    /// `None`: nobody asks.
    operations: Option<Vec<Operation>>,
    stats: SinkStats,
}

impl Sink {
    /// A sink without an exchange (the error says why) drops everything, counted as `unsupported`.
    pub fn new(settings: Settings, exchange: Result<Box<dyn Exchange>, String>) -> Self {
        let (exchange, unsupported) = match exchange {
            Ok(exchange) => (Some(exchange), None),
            Err(reason) => (None, Some(reason.into())),
        };
        Self {
            pending: Pending::new(settings.max_queue_bytes, settings.batch.max_queue),
            state: State::Idle,
            attempt: None,
            request_bytes: settings.dialect.request_bytes(),
            random: settings.seed,
            flush_mark: 0,
            unasked_until: None,
            exit_refusals: None,
            began: None,
            operations: None,
            stats: SinkStats {
                queue_capacity: settings.batch.max_queue.map(|records| records as u64),
                endpoint: settings.endpoint.clone(),
                protocol: settings.dialect.protocol(),
                last_error: unsupported,
                ..SinkStats::default()
            },
            settings,
            exchange,
        }
    }

    /// From now on ended requests are remembered for [`Sink::take_operations`].
    pub(super) fn keep_operations(&mut self) {
        self.operations.get_or_insert_default();
    }

    /// The requests that have ended since the last call.
    pub(super) fn take_operations(&mut self) -> Vec<Operation> {
        self.operations.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// How long a record may wait for its batch.
    pub fn schedule_delay(&self) -> Duration {
        Duration::from_millis(self.settings.batch.schedule_delay_ms)
    }

    /// So many records will follow by [`Sink::push`]. Counted apart, so that a panic in between loses no count.
    pub fn expect(&mut self, records: u64) {
        self.stats.wanted += records;
    }

    /// Takes records in, or drops and counts what does not fit. No record is older than `since`.
    pub fn push(&mut self, part: &Part, since: Instant) {
        if self.exchange.is_none() {
            self.drop_records(DropReason::Unsupported, part.count());
        } else if self.unasked_until.is_some_and(|until| since < until) {
            self.drop_records(DropReason::Refused, part.count());
        } else {
            self.unasked_until = None;
            let refused = self.pending.push(part, since);
            self.drop_records(DropReason::QueueFull, refused as u64);
        }
    }

    /// What had to change in records that were pushed.
    pub fn count_fields(&mut self, counts: FieldCounts) {
        self.stats.fields.get_or_insert_default().add(counts);
    }

    /// Moves as far as possible without waiting. `ready`: `poll` reported the exchange's descriptor.
    pub fn step(&mut self, now: Now, ready: bool, scratch: &mut Scratch) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if self.state != State::Sending {
            let timer = exchange.interest(now.instant).wake_at;
            if ready || timer.is_some_and(|at| at <= now.instant) {
                // A kept-alive connection that the peer closed, or that has been idle for too long.
                let answer = exchange.step(now.instant);
                debug_assert!(answer.is_none());
            }
        }
        for _ in 0..REQUESTS_PER_STEP {
            if !self.advance(now, scratch) {
                break;
            }
        }
    }

    /// One transition. False: nothing more to do now.
    fn advance(&mut self, now: Now, scratch: &mut Scratch) -> bool {
        match self.state {
            State::Sending => match self.exchange.as_mut().and_then(|exchange| exchange.step(now.instant)) {
                Some(mut result) => self.settle(&mut result, now),
                None => return false,
            },
            State::BackingOff { .. } | State::Unprepared => {
                if self.attempt.as_ref().is_some_and(|attempt| attempt.give_up <= now.instant) {
                    self.finish(DropReason::RetryTimeout);
                }
                if matches!(self.state, State::BackingOff { until, .. } if now.instant < until) {
                    return false;
                }
                // Without a batch it is asked for once there is one to take.
                if self.attempt.is_some() && !self.is_prepared(now) {
                    return false;
                }
                self.state = State::Idle;
                if self.attempt.is_some() {
                    self.send(now);
                }
            }
            State::Idle => {
                if !self.has_due(now.instant) || !scratch.has_room() {
                    return false;
                }
                // Nothing is taken, and no deadline begins, before there is what a request needs.
                if !self.is_prepared(now) {
                    return false;
                }
                self.take(now, scratch);
                self.send(now);
            }
        }
        true
    }

    /// A batch is worth sending now. A queue that holds less than a full batch is not left to fill up: what comes while
    /// the request is under way needs the other half.
    fn has_due(&self, now: Instant) -> bool {
        let waiting = self.pending.waiting();
        waiting.records > 0
            && (waiting.records >= self.settings.batch.max_export
                || waiting.bytes >= self.request_bytes.min(self.settings.max_queue_bytes / 2)
                || self.pending.left() < self.flush_mark
                || self.batch_due().is_some_and(|due| due <= now))
    }

    fn batch_due(&self) -> Option<Instant> {
        self.pending.oldest().map(|oldest| after(oldest, self.schedule_delay()))
    }

    /// Otherwise it waits until it is.
    fn is_prepared(&mut self, now: Now) -> bool {
        let prepared = self.settings.dialect.prepare(now.unix_seconds());
        let missing = prepared.map_err(|reason| {
            self.fail(&reason);
            self.state = State::Unprepared;
        });
        missing.is_ok()
    }

    fn take(&mut self, now: Now, scratch: &mut Scratch) {
        let room = self.request_bytes.saturating_sub(self.settings.dialect.envelope_bytes());
        let bytes = self.pending.take(self.settings.batch.max_export, room);
        if bytes > MAX_LONE_RECORD_BYTES {
            self.fail("a record larger than 64 MiB");
            self.finish(DropReason::TooLarge);
            return;
        }
        self.attempt = Some(Attempt::build(&mut self.settings, self.pending.parts(), now, scratch));
    }

    fn send(&mut self, now: Now) {
        let (Some(attempt), Some(exchange)) = (&mut self.attempt, &mut self.exchange) else {
            return;
        };
        let request = match attempt.request(&mut self.settings, now) {
            Ok(request) => request,
            Err(reason) => {
                self.fail(&reason);
                let until = after(now.instant, UNSENDABLE_RETRY);
                self.state = State::BackingOff { until, asked: false };
                return;
            }
        };
        self.stats.requests += 1;
        self.stats.body_bytes += attempt.body.plain_bytes as u64;
        self.stats.sent_bytes += attempt.body.bytes.len() as u64;
        self.stats.retried += u64::from(attempt.sent);
        attempt.sent = true;
        exchange.begin(request, now.instant);
        self.began = Some(now.instant);
        self.state = State::Sending;
    }

    /// The batch ends in a loss.
    fn finish(&mut self, reason: DropReason) {
        self.attempt = None;
        let lost = self.pending.finish();
        self.drop_records(reason, lost);
    }

    fn drop_records(&mut self, reason: DropReason, records: u64) {
        self.stats.dropped.add(reason, records);
    }

    fn fail(&mut self, reason: &str) {
        if self.stats.last_error.as_deref() != Some(reason) {
            self.stats.last_error = Some(reason.into());
        }
    }

    /// Everything taken in so far is to be sent now, past the wait after a failure, but not before a time that the
    /// server asked for. Returns the mark for [`Sink::progress`].
    pub fn flush(&mut self, now: Instant) -> u64 {
        if let State::BackingOff { asked: false, .. } = self.state {
            self.state = State::BackingOff { until: now, asked: false };
        }
        self.flush_mark = self.pending.entered();
        self.flush_mark
    }

    /// Like [`Sink::flush`], for the last time: past the server's time too. `exit`: the interpreter exits, and
    /// [`EXIT_REFUSALS`] failed connections are enough.
    pub fn flush_finally(&mut self, now: Instant, exit: bool) -> u64 {
        if let State::BackingOff { asked, .. } = &mut self.state {
            *asked = false;
        }
        self.exit_refusals = exit.then_some(0);
        self.flush(now)
    }

    /// How far the flush that got this mark is.
    pub fn progress(&self, mark: u64, deadline: Instant) -> Progress {
        if self.pending.left() >= mark {
            return Progress::Done;
        }
        match self.state {
            State::BackingOff { .. } if self.exit_refusals.is_some_and(|n| n >= EXIT_REFUSALS) => {
                Progress::GivenUp
            }
            State::BackingOff { until, .. } if until > deadline => Progress::GivenUp,
            _ => Progress::Pending,
        }
    }

    /// Gives up whatever is held.
    pub fn abandon(&mut self, reason: DropReason) {
        if self.state == State::Sending
            && let Some(exchange) = &mut self.exchange
        {
            exchange.cancel();
        }
        self.state = State::Idle;
        self.attempt = None;
        let lost = self.pending.clear();
        self.drop_records(reason, lost);
    }

    /// After a panic anywhere in a turn: gives up the request, and counts as lost what the books cannot place.
    pub fn recover(&mut self) {
        if self.pending.taken().records > 0 {
            self.finish(DropReason::Internal);
        }
        self.attempt = None;
        self.state = State::Idle;
        let placed = self.stats.exported + self.stats.dropped.total() + self.pending.held().records as u64;
        self.drop_records(DropReason::Internal, self.stats.wanted.saturating_sub(placed));
        if let Some(exchange) = &mut self.exchange {
            exchange.cancel();
        }
    }

    /// What to wait for before the next step.
    pub fn interest(&self, now: Instant) -> Interest {
        let Some(exchange) = &self.exchange else {
            return Interest::default();
        };
        let mut interest = exchange.interest(now);
        let due = match self.state {
            State::Sending => None,
            State::BackingOff { until, .. } => {
                Some(self.attempt.as_ref().map_or(until, |attempt| attempt.give_up.min(until)))
            }
            State::Unprepared => self.attempt.as_ref().map(|attempt| attempt.give_up),
            State::Idle if self.has_due(now) => Some(now),
            State::Idle => self.batch_due(),
        };
        interest.wake_at = interest.wake_at.into_iter().chain(due).min();
        interest
    }

    /// The books as of now.
    pub fn stats(&mut self) -> &SinkStats {
        let (held, most) = (self.pending.held(), self.pending.most());
        self.stats.held_records = held.records as u64;
        self.stats.in_flight_records = self.pending.taken().records as u64;
        self.stats.held_bytes = held.bytes as u64;
        self.stats.held_records_max = most.records as u64;
        self.stats.held_bytes_max = most.bytes as u64;
        self.stats.state = match self.state {
            _ if self.exchange.is_none() || self.unasked_until.is_some() => SinkState::Unsupported,
            _ if self.stats.failures_in_a_row >= CIRCUIT_OPENS_AFTER => SinkState::CircuitOpen,
            State::Idle => SinkState::Idle,
            State::Sending => SinkState::Sending,
            State::BackingOff { .. } | State::Unprepared => SinkState::BackingOff,
        };
        &self.stats
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("endpoint", &self.settings.endpoint).field("state", &self.state).finish()
    }
}
