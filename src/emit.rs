//! The hot side.

use std::sync::Arc;

use crate::intern::Interner;
use crate::lane::Lanes;
use crate::limits::SpanLimits;
use crate::sampler::Sampler;
use crate::stats::Drops;

/// What recording threads of one session share. Immutable but for its counters; built by [`crate::session`].
#[derive(Debug)]
pub struct Intake {
    /// Never 0; unique along a line of forks.
    pub session: u64,
    /// The process that built it.
    pub pid: u32,
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
    /// Span records lost on the way into a lane, by reason.
    pub span_drops: Drops,
}

/// Makes an intake the current one: from now on every thread records into it.
pub fn publish(_intake: Arc<Intake>) {
    todo!()
}

/// Turns recording off. Threads let go of the intake at their next call or exit.
pub fn retract() {
    todo!()
}

/// Sets what a recording thread calls when it finds the session word wiped by a fork: it must build a new session
/// and `publish` it, or leave recording off.
pub fn on_fork(_revive: fn()) {
    todo!()
}
