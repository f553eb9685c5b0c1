//! What a span has from the one that it is started in.

use std::sync::Arc;

use super::Intake;
use crate::ids::{FLAG_SAMPLED, SpanId, TraceId};

/// What a child inherits.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The trace.
    pub trace_id: TraceId,
    /// The parent span.
    pub span_id: SpanId,
    /// Its W3C flags.
    pub trace_flags: u8,
    /// The sampling decision, and the session that took it. In another session, or with `None`, the flag is asked.
    pub decision: Option<(u64, u16)>,
    /// It came from another process.
    pub is_remote: bool,
    /// Its tracestate, if any.
    pub trace_state: Option<Arc<str>>,
}

impl Parent {
    /// The sampling decision for its children.
    #[inline]
    pub fn mask(&self, intake: &Intake) -> u16 {
        match self.decision {
            Some((session, mask)) if session == intake.session => mask,
            _ => {
                let sampled = self.trace_flags & FLAG_SAMPLED != 0;
                intake.sampler.decide(self.trace_id, Some(sampled))
            }
        }
    }
}
