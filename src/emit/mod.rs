//! The hot side: what a recording thread does with finished argument conversion in hand. Nothing here blocks, takes a
//! lock, makes a system call or formats; memory is allocated only at a thread's first record in a session and while
//! attribute storage grows to its working size. Two exceptions: a lane's rare wake-up, see [`crate::lane`], and a
//! measurement that finds its lane full, which is folded under a lock rather than lost.
//!
//! ```text
//! call ─► session() (one load: on/off, fork, re-init) ─► with(session): this thread's state ─► Producer::push
//!                                                        LiveSpan … end, measure, log
//! ```

#![expect(
    unsafe_code,
    reason = "thread-local state without a borrow flag; a cell under a lock outside Rust's types"
)]

mod attributes;
mod counted;
mod current;
mod log;
mod measurement;
#[cfg(shuttle)]
pub mod model;
mod parent;
mod rows;
mod span;
mod start;
mod storage;

pub use attributes::{AttributeList, Constants};
pub use counted::{CountedBatch, Inherited};
pub use log::LogRecord;
pub use measurement::{Measurement, Together};
pub use parent::Parent;
pub use rows::{ItemColumn, SpanBatch, SpanRows, Times};
pub use span::{LiveSpan, StatusUpdate};
pub use start::Start;
pub use storage::FirstAttributes;

use std::cell::{Cell, UnsafeCell};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::accumulate::{Fold, Folds};
use crate::ids::{IdGenerator, SpanId, TraceId};
use crate::instruments::Instruments;
use crate::intern::Interner;
use crate::lane::{Lanes, Producer, PushError};
use crate::limits::{LogLimits, SpanLimits};
use crate::log_routes::LogRoutes;
use crate::observe::Observations;
use crate::record::Header;
use crate::sampler::Sampler;
use crate::stats::{DropReason, RecordingCounters, Starts};
use crate::sys;
use crate::tally::{Tallies, Tally};
use current::{Current, OfSession};
use storage::Storage;

/// What recording threads of one session share. Immutable but for its counters; built by the session.
#[derive(Debug)]
pub struct Intake {
    /// Never 0; unique along a line of forks.
    pub session: u64,
    /// The process that built it ([`sys::fork::process`]).
    pub process: u64,
    /// Where records go.
    pub lanes: Arc<Lanes>,
    /// Names, keys, scopes.
    pub strings: Arc<Interner>,
    /// Which sinks want a trace. With no trace sink (and no span console) spans are drawn but not recorded.
    pub sampler: Sampler,
    /// What is kept of a span when recording: the union of all sinks' limits.
    pub limits: SpanLimits,
    /// The console shows spans: push a begin record too, and record spans whatever the sampler says (mask 0).
    pub console_spans: bool,
    /// Which log records anybody wants.
    pub log_routes: LogRoutes,
    /// What is kept of a log record when recording: the union of all sinks' limits.
    pub log_limits: LogLimits,
    /// Somebody wants metrics.
    pub metrics: bool,
    /// The session's instruments.
    pub instruments: Arc<Instruments>,
    /// How the exporter asks observable instruments.
    pub observations: Arc<Observations>,
    /// What counters count by themselves.
    pub tallies: Arc<Tallies>,
    /// Where measurements go while a lane is full.
    pub folds: Arc<Folds>,
    /// What was lost or odd.
    pub counters: Arc<RecordingCounters>,
}

impl Intake {
    /// Of a session that wants nothing yet.
    pub fn new(session: u64, lanes: Arc<Lanes>) -> Self {
        Self {
            session,
            process: sys::fork::process(),
            lanes,
            strings: Arc::default(),
            sampler: Sampler::default(),
            limits: SpanLimits::default(),
            console_spans: false,
            log_routes: LogRoutes::default(),
            log_limits: LogLimits::default(),
            metrics: false,
            instruments: Arc::default(),
            observations: Arc::default(),
            tallies: Arc::default(),
            folds: Arc::default(),
            counters: Arc::default(),
        }
    }
}

impl OfSession for Intake {
    fn session(&self) -> u64 {
        self.session
    }

    fn process(&self) -> u64 {
        self.process
    }
}

impl From<PushError> for DropReason {
    fn from(error: PushError) -> Self {
        match error {
            PushError::Full => Self::RingFull,
            PushError::OversizeFull => Self::OversizeFull,
        }
    }
}

/// The span that a log record or a measurement is made in.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanIds {
    /// NONE outside of spans.
    pub trace_id: TraceId,
    /// NONE outside of spans.
    pub span_id: SpanId,
    /// W3C flags.
    pub flags: u8,
}

/// One thread's state in one session.
#[derive(Debug)]
pub struct Thread {
    /// The session this state belongs to.
    pub intake: Arc<Intake>,
    /// Draws ids.
    pub ids: IdGenerator,
    producer: Producer,
    starts: Arc<Starts>,
    /// Attribute storage of ended spans, for the next ones.
    #[expect(clippy::vec_box, reason = "spans hold the same boxes, so one moves without being allocated")]
    storage: Vec<Box<Storage>>,
    /// Memory for the items of log records and measurements.
    items: Vec<u8>,
    /// Memory for the rows of a batch.
    rows: Option<Box<SpanRows>>,
    /// Made when the lane is full at a measurement for the first time.
    fold: Option<Arc<Fold>>,
}

/// Storage kept per thread; deeper nesting allocates.
const POOLED_STORAGE: usize = 32;
/// Larger item memory is freed rather than kept.
const POOLED_ITEM_BYTES: usize = 64 * 1024;

impl Thread {
    fn new(intake: Arc<Intake>) -> Self {
        let producer = intake.lanes.attach();
        Self {
            producer,
            starts: intake.counters.spans_started.add(),
            ids: IdGenerator::from_entropy(),
            storage: Vec::with_capacity(POOLED_STORAGE),
            items: Vec::new(),
            rows: None,
            fold: None,
            intake,
        }
    }

    /// Publishes a record, or counts it as lost. `header.payload_bytes` is filled in.
    #[inline(always)]
    fn push(&mut self, header: &mut Header, payload: &[u8]) {
        header.payload_bytes = payload.len() as u32;
        if let Err(error) = self.producer.push(header, payload) {
            self.intake.counters.spans_dropped.add(DropReason::from(error), 1);
        }
    }

    /// Counts spans that began in another session, here where they end.
    #[cold]
    fn drop_elsewhere(&self, began_in: u64, spans: u64) {
        let reason = if sys::fork::page().is_inherited(began_in) {
            DropReason::Inherited
        } else {
            DropReason::OtherSession
        };
        self.intake.counters.spans_dropped.add(reason, spans);
    }

    #[inline]
    fn take_storage(&mut self) -> Box<Storage> {
        self.storage.pop().unwrap_or_default()
    }

    #[inline]
    fn return_storage(&mut self, mut storage: Box<Storage>) {
        if self.storage.len() < POOLED_STORAGE && storage.is_small() {
            storage.clear();
            self.storage.push(storage);
        }
    }
}

thread_local! {
    /// `Some` once the thread has recorded. Only [`with`] touches it, and nothing it runs calls back into Python or
    /// into `with`, so there is never a second reference.
    static THREAD: Slot = const { Slot(UnsafeCell::new(None)) };
}

struct Slot(UnsafeCell<Option<Thread>>);

thread_local! {
    /// Where the state in [`THREAD`] is, and its session; session 0 while there is none. Without a destructor, so that
    /// reading it is one address and no look at whether it has run: most of what `with` costs.
    static KNOWN: (Cell<u64>, Cell<*mut Thread>) = const { (Cell::new(0), Cell::new(ptr::null_mut())) };
}

impl Drop for Slot {
    /// The thread exits. In a forked child that recorded nothing it still holds the parent's state.
    fn drop(&mut self) {
        KNOWN.with(|(session, _)| session.set(0));
        if let Some(thread) = self.0.get_mut().take() {
            release(thread, sys::fork::process());
        }
    }
}

static CURRENT: Current<Intake> = Current::new();
/// A `fn()`; null until set.
static REVIVE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// The session that the call under way records into; 0 when recording is off. One load, in a forked child's first call
/// also the building of its session. A call asks once and passes the answer on: ids of interned texts belong to it.
#[inline]
pub fn session() -> u64 {
    match sys::fork::session() {
        0 => revived(),
        session => session,
    }
}

/// Adds to a tally of the session that the call under way records into. False, adding nothing: it is another's, or its sum
/// would leave 64 bits. `alone`: something keeps all such calls apart.
#[inline(always)]
pub fn add(tally: &Tally, value: i64, alone: bool) -> bool {
    // No tally has the id 0, so this is never so with recording off, nor in a forked child before its session.
    tally.session() == sys::fork::session() && if alone { tally.add_alone(value) } else { tally.add(value) }
}

/// Runs `f` with the calling thread's state in `session`. `None`: that is not the current session (any more), or the
/// thread is past its destructors. `f` must not call into Python or into this function.
#[inline]
pub fn with<R>(session: u64, f: impl FnOnce(&mut Thread) -> R) -> Option<R> {
    let thread = thread(session)?;
    // SAFETY: see `thread`; `with` is not re-entered (see THREAD), so this is the only reference.
    Some(f(unsafe { &mut *thread }))
}

/// [`with`] without a closure, which the compiler may put out of line: the calling thread's state, good until the thread
/// calls into Python or this module again, or ends.
#[inline(always)]
pub fn thread(session: u64) -> Option<*mut Thread> {
    if session == 0 || sys::fork::session() != session {
        return None;
    }
    // The state is in THREAD as long as its session is in KNOWN.
    let known =
        KNOWN.with(|(known, thread)| if known.get() == session { thread.get() } else { ptr::null_mut() });
    if known.is_null() { attached(session) } else { Some(known) }
}

/// Counts spans whose session is not the current one (any more): in that one, if there is one.
#[cold]
pub fn drop_elsewhere(began_in: u64, spans: u64) {
    with(session(), |thread| thread.drop_elsewhere(began_in, spans));
}

/// First call of a thread in a session. `None`: see [`with`].
#[cold]
#[inline(never)]
fn attached(session: u64) -> Option<*mut Thread> {
    THREAD
        .try_with(|Slot(cell)| {
            KNOWN.with(|(known, _)| known.set(0));
            // SAFETY: the cell belongs to this thread, and `with` is not re-entered (see THREAD), so this is the only
            // reference.
            let thread = ptr::from_mut(attach(unsafe { &mut *cell.get() }, session)?);
            KNOWN.with(|(known, at)| {
                at.set(thread);
                known.set(session);
            });
            Some(thread)
        })
        .ok()
        .flatten()
}

fn attach(thread: &mut Option<Thread>, session: u64) -> Option<&mut Thread> {
    let intake = CURRENT.of(sys::fork::page(), session)?;
    if let Some(old) = thread.take() {
        release(old, intake.process);
    }
    Some(thread.insert(Thread::new(intake)))
}

/// Lets go of another session's state. In a forked child the parent's is leaked: dropping it would touch queues that
/// the parent's threads may have been changing at the fork.
fn release(old: Thread, process: u64) {
    if old.intake.process == process { drop(old) } else { std::mem::forget(old) }
}

/// In a forked child whose parent recorded: builds the child's own session.
#[cold]
#[inline(never)]
fn revived() -> u64 {
    if CURRENT.is_active() {
        // Acquire: pairs with `on_fork`; `is_active` has seen that it was called.
        let revive = REVIVE.load(Ordering::Acquire);
        if !revive.is_null() {
            // SAFETY: only `on_fork` stores here, and it stores a `fn()`.
            let revive = unsafe { std::mem::transmute::<*mut (), fn()>(revive) };
            revive();
        }
    }
    sys::fork::session()
}

/// Makes an intake the current one: from now on every thread records into it.
pub fn publish(intake: Arc<Intake>) {
    CURRENT.publish(sys::fork::page(), intake);
}

/// Turns recording off. Threads let go of the intake at their next call in another session, or at exit.
pub fn retract() {
    CURRENT.retract(sys::fork::page());
}

/// Sets what a recording thread calls when it finds the session word wiped by a fork: it must build a new session
/// and `publish` it, or leave recording off.
pub fn on_fork(revive: fn()) {
    // Release: nothing else is published with it; a null check guards the reader.
    REVIVE.store(revive as *mut (), Ordering::Release);
}
