//! How a span begins, and how one that is finished already goes straight to the lane. Reads the clock; allocates only for a
//! name that is not interned, and where the console shows spans.
//!
//! A span is put together where it stays: see [`Begun`] for what the other way costs.

use std::mem::MaybeUninit;
use std::sync::Arc;

use super::{LiveSpan, Parent, Thread};
use crate::attrs::{self, Text, tag};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, SpanId, TraceId};
use crate::record::{Header, SpanKind, StatusCode, StrId, flag, kind};
use crate::sys::ticks;

/// What a span starts with.
#[derive(Debug)]
pub struct Start<'a> {
    /// Its name.
    pub name: Text<'a>,
    /// Its kind.
    pub kind: SpanKind,
    /// Index of its scope.
    pub scope: u16,
    /// Its parent, or a new trace.
    pub parent: Option<&'a Parent>,
    /// Unix nanoseconds; `None` is now.
    pub start_unix_nano: Option<u64>,
    /// Ids drawn in advance; its trace id must be the parent's.
    pub ids: Option<(TraceId, SpanId)>,
}

/// What its parent and the dice make of a span: plain values, which the compiler keeps in registers on their way to where
/// the span stays. (Put together in memory and then moved, they would be read in larger pieces than they were written in, and
/// each such read waits until the writes have left the processor: a third of what `record_span` took.)
#[derive(Clone, Copy)]
struct Begun {
    trace_id: TraceId,
    span_id: SpanId,
    parent_span_id: SpanId,
    mask: u16,
    flags: u16,
    recording: bool,
}

impl Begun {
    /// Draws ids, asks the sampler (or inherits), and counts.
    #[inline(always)]
    fn new(thread: &mut Thread, start: &Start<'_>) -> Self {
        let (mut trace_id, parent_span_id, mask, mut flags) = match start.parent {
            None => {
                let trace_id = thread.ids.trace_id();
                let mask = thread.intake.sampler.decide(trace_id, None);
                (trace_id, SpanId::NONE, mask, u16::from(FLAG_RANDOM))
            }
            Some(parent) => {
                let remote = if parent.is_remote { flag::PARENT_IS_REMOTE } else { 0 };
                let flags = u16::from(parent.trace_flags & FLAG_RANDOM) | remote;
                (parent.trace_id, parent.span_id, parent.mask(&thread.intake), flags)
            }
        };
        let span_id = match start.ids {
            Some((drawn, span_id)) => {
                trace_id = drawn;
                span_id
            }
            None => thread.ids.span_id(),
        };
        flags |= if mask != 0 { u16::from(FLAG_SAMPLED) } else { 0 };
        let recording = mask != 0 || thread.intake.console_spans;
        thread.starts.count(recording, 1);
        Self { trace_id, span_id, parent_span_id, mask, flags, recording }
    }

    #[inline(always)]
    fn context(self, session: u64, trace_state: Option<Arc<str>>) -> Parent {
        let Self { trace_id, span_id, mask, flags, .. } = self;
        Parent { trace_id, span_id, trace_state, session, mask, trace_flags: flags as u8, is_remote: false }
    }
}

impl LiveSpan {
    /// Begins a span: draws its ids, asks the sampler (or inherits), reads the clock last.
    #[inline]
    pub fn start(thread: &mut Thread, start: &Start<'_>) -> Self {
        let mut span = Self::begun(thread, start);
        span.complete_start(thread, start.name);
        span
    }

    /// [`LiveSpan::start`] in the place of one that has ended.
    #[inline(always)]
    pub fn start_again(&mut self, thread: &mut Thread, start: &Start<'_>) {
        *self = Self::begun(thread, start);
        self.complete_start(thread, start.name);
    }

    /// [`LiveSpan::start`] where the span is to stay. What is there is written over, not dropped.
    #[inline(always)]
    pub fn start_in<'a>(
        place: &'a mut MaybeUninit<Self>,
        thread: &mut Thread,
        start: &Start<'_>,
    ) -> &'a mut Self {
        let span = place.write(Self::begun(thread, start));
        span.complete_start(thread, start.name);
        span
    }

    #[inline(always)]
    fn begun(thread: &mut Thread, start: &Start<'_>) -> Self {
        let begun = Begun::new(thread, start);
        let (start_time, given) = match start.start_unix_nano {
            Some(nanos) => (nanos, flag::START_IS_UNIX_NANO),
            None => (if begun.recording { ticks::now() } else { 0 }, 0),
        };
        let trace_state = start.parent.and_then(|parent| parent.trace_state.clone());
        Self {
            context: begun.context(thread.intake.session, trace_state),
            parent_span_id: begun.parent_span_id,
            start: start_time,
            storage: None,
            name: if let Text::Id(id) = start.name { id } else { StrId::NONE },
            scope: start.scope,
            flags: begun.flags | given,
            kind: start.kind,
            status: StatusCode::Unset,
            recording: begun.recording,
        }
    }

    /// What few spans need, and only where they stay.
    #[inline(always)]
    fn complete_start(&mut self, thread: &mut Thread, name: Text<'_>) {
        if self.recording && (self.name == StrId::NONE || thread.intake.console_spans) {
            self.begin_at_length(thread, name);
        }
    }

    /// A name that is not interned, and spans on the console.
    #[cold]
    #[inline(never)]
    fn begin_at_length(&mut self, thread: &mut Thread, name: Text<'_>) {
        if let Text::Inline(name) = name {
            self.storage(thread).more().name.extend_from_slice(name);
        }
        if thread.intake.console_spans {
            self.push_begin(thread);
        }
    }

    /// Records a finished span of which nothing else is said, straight away: what it is to its children. `None`, having done
    /// nothing: it needs a live span (an inline name, a tracestate, a start on the console).
    #[inline(always)]
    pub fn finished(
        thread: &mut Thread,
        start: &Start<'_>,
        start_unix_nano: u64,
        end: u64,
    ) -> Option<Parent> {
        let Text::Id(name) = start.name else { return None };
        let has_state = start.parent.is_some_and(|parent| parent.trace_state.is_some());
        if has_state || thread.intake.console_spans {
            return None;
        }
        let begun = Begun::new(thread, start);
        if begun.recording {
            let mut header = Header {
                kind: kind::SPAN,
                detail: Header::span_detail(start.kind, StatusCode::Unset),
                mask: begun.mask,
                payload_bytes: 0,
                name,
                scope: start.scope,
                flags: begun.flags | flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO,
                trace_id: begun.trace_id,
                span_id: begun.span_id,
                parent_span_id: begun.parent_span_id,
                start: start_unix_nano,
                end,
            };
            thread.push(&mut header, &[]);
        }
        Some(begun.context(thread.intake.session, None))
    }

    #[cold]
    fn push_begin(&mut self, thread: &mut Thread) {
        let mut header = self.header(kind::SPAN_BEGIN, 0);
        let mut items = Vec::new();
        if let Some(storage) = self.storage.as_ref().filter(|_| self.name == StrId::NONE) {
            attrs::put_text_item(&mut items, tag::NAME, &storage.more_so_far().name);
        }
        header.payload_bytes = items.len() as u32;
        // Lost, it is not shown; the span is counted at its end.
        let _ = thread.producer.push(&header, &items);
    }
}
