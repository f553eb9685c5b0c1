//! What a span is to those that are started in it.

use std::sync::Arc;

use super::{Intake, SpanIds};
use crate::ids::{FLAG_SAMPLED, SpanId, TraceId};

/// What a child inherits. Spans and contexts hold one each and lend it, so that to look at a parent copies nothing.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The trace.
    pub trace_id: TraceId,
    /// The parent span.
    pub span_id: SpanId,
    /// Its tracestate, if any.
    pub trace_state: Option<Arc<str>>,
    /// The session that took the sampling decision, 0 for none. In another session the flag is asked.
    pub session: u64,
    /// That decision: sinks that want the span.
    pub mask: u16,
    /// Its W3C flags.
    pub trace_flags: u8,
    /// It came from another process.
    pub is_remote: bool,
}

impl Parent {
    /// No ids, inherited from by nobody.
    pub const NONE: Self = Self {
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        trace_state: None,
        session: 0,
        mask: 0,
        trace_flags: 0,
        is_remote: false,
    };

    /// Its ids, for what is recorded in it.
    #[inline(always)]
    pub fn ids(&self) -> SpanIds {
        SpanIds { trace_id: self.trace_id, span_id: self.span_id, flags: self.trace_flags }
    }

    /// The sampling decision for its children.
    #[inline]
    pub fn mask(&self, intake: &Intake) -> u16 {
        if self.session == intake.session {
            return self.mask;
        }
        let sampled = self.trace_flags & FLAG_SAMPLED != 0;
        intake.sampler.decide(self.trace_id, Some(sampled))
    }
}
