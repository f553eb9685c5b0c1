//! A span between its start and its end: plain data in its owner's hands (the Python object). One record is written,
//! at the end. Attribute storage is taken with the first attribute, event, link or long name, from the thread's pool,
//! and goes back to the ending thread's pool; spans without any never allocate.
//!
//! What every span does is `inline(always)`: a span is then made where it stays, in the object or on the stack, and its
//! record in the lane. Handed on by value it would be copied twice, 120 bytes each.

use arrayvec::ArrayVec;

use super::attributes::MAX_BYTES;
use super::storage::{FirstAttributes, Storage};
use super::{Constants, Parent, Thread};
use crate::attrs::{self, Items, Link, Text, Value};
use crate::ids::SpanId;
use crate::record::{Header, Number, SpanKind, StatusCode, StrId, flag, kind};
use crate::sys::ticks;

/// As many numbers as a span is ended with without storage.
const NUMBERS_MAX: usize = 16;

/// A change of status, by OpenTelemetry's rules: `ok` is final, a description counts with `error` only.
#[derive(Debug, Clone, Copy)]
pub struct StatusUpdate<'a> {
    /// The new code.
    pub code: StatusCode,
    /// Its description.
    pub description: &'a [u8],
}

/// A span that has begun. Every method is cheap when the span is not recording.
#[derive(Debug)]
pub struct LiveSpan {
    /// Its ids and decision, as children inherit them.
    pub context: Parent,
    /// NONE for a root.
    pub parent_span_id: SpanId,
    /// Ticks, or Unix nanoseconds by flag.
    pub(super) start: u64,
    pub(super) storage: Option<Box<Storage>>,
    pub(super) name: StrId,
    pub(super) scope: u16,
    /// W3C flags low, [`flag`] bits high.
    pub(super) flags: u16,
    pub(super) kind: SpanKind,
    pub(super) status: StatusCode,
    /// Begun and not ended, and somebody wants it.
    pub(super) recording: bool,
}

impl LiveSpan {
    /// No ids, records nothing.
    pub const NONE: Self = Self {
        context: Parent::NONE,
        parent_span_id: SpanId::NONE,
        start: 0,
        storage: None,
        name: StrId::NONE,
        scope: 0,
        flags: 0,
        kind: SpanKind::Internal,
        status: StatusCode::Unset,
        recording: false,
    };

    /// Somebody wants it and it has not ended.
    #[inline]
    pub fn is_recording(&self) -> bool {
        self.recording
    }

    /// Whether dropping it frees anything.
    #[inline(always)]
    pub fn owns_memory(&self) -> bool {
        self.storage.is_some() || self.context.trace_state.is_some()
    }

    /// W3C trace flags.
    #[inline]
    pub fn trace_flags(&self) -> u8 {
        self.flags as u8
    }

    /// Explicit status, unset at first.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The status description, empty when there is none.
    pub fn status_description(&self) -> &[u8] {
        self.storage.as_ref().map_or(&[], |storage| &storage.more_so_far().status)
    }

    /// Takes the first attributes of a span that has none yet. `None`: it is not recording.
    #[inline(always)]
    pub fn first_attributes(&mut self, thread: &mut Thread) -> Option<FirstAttributes<'_>> {
        let limit = thread.intake.limits.attributes;
        if self.recording { Some(FirstAttributes::new(self.storage(thread), limit)) } else { None }
    }

    #[inline]
    pub(super) fn storage(&mut self, thread: &mut Thread) -> &mut Storage {
        self.storage.get_or_insert_with(|| thread.take_storage())
    }

    /// Sets an attribute; the last value for a key wins.
    #[inline(always)]
    pub fn set_attribute(&mut self, thread: &mut Thread, key: Text<'_>, value: Value<'_>) {
        if !self.recording {
            return;
        }
        let storage = self.storage.get_or_insert_with(|| thread.take_storage());
        let intake = &thread.intake;
        if !storage.attributes.set(key, value, intake.limits.attributes, Some(&intake.strings)) {
            storage.drop_attributes(1);
        }
    }

    /// Gives a span that has none yet its first attributes.
    #[inline]
    pub fn begin_with(&mut self, thread: &mut Thread, constants: &Constants) {
        if self.recording {
            let storage = self.storage(thread);
            storage.attributes.begin_with(constants);
            if constants.dropped() > 0 {
                storage.drop_attributes(constants.dropped());
            }
        }
    }

    /// Sets attributes that were encoded before (values that had to run Python code first).
    pub fn set_items(&mut self, thread: &mut Thread, items: &[u8]) {
        for item in Items::new(items) {
            if let attrs::Item::Attribute(attribute) = item {
                let key = match attribute.key {
                    Text::Inline(text) => thread.intake.strings.intern(text).map_or(attribute.key, Text::Id),
                    known @ Text::Id(_) => known,
                };
                self.set_attribute(thread, key, attribute.value);
            }
        }
    }

    /// Counts attributes that were given and cannot be kept.
    pub fn drop_attributes(&mut self, thread: &mut Thread, count: u32) {
        if self.recording && count > 0 {
            self.storage(thread).drop_attributes(count);
        }
    }

    /// Changes the name.
    pub fn update_name(&mut self, thread: &mut Thread, name: Text<'_>) {
        if !self.recording {
            return;
        }
        match name {
            Text::Id(id) => self.name = id,
            Text::Inline(text) => {
                self.name = StrId::NONE;
                let name = &mut self.storage(thread).more().name;
                name.clear();
                name.extend_from_slice(text);
            }
        }
    }

    /// Sets the status: after `ok` nothing changes it, `unset` is ignored.
    pub fn set_status(&mut self, thread: &mut Thread, update: StatusUpdate<'_>) {
        if !self.recording || self.status == StatusCode::Ok || update.code == StatusCode::Unset {
            return;
        }
        self.status = update.code;
        let description = if update.code == StatusCode::Error { update.description } else { &[] };
        if self.storage.is_some() || !description.is_empty() {
            let status = &mut self.storage(thread).more().status;
            status.clear();
            status.extend_from_slice(description);
        }
    }

    /// Adds an event; `attributes` are attribute items, already cut to the limit.
    pub fn add_event(
        &mut self,
        thread: &mut Thread,
        name: Text<'_>,
        time_unix_nano: Option<u64>,
        attributes: &[u8],
        dropped_attributes: u32,
    ) {
        if !self.recording {
            return;
        }
        let limit = thread.intake.limits.events;
        let storage = self.storage(thread).more();
        if storage.events >= limit || storage.events_and_links.len() + attributes.len() > MAX_BYTES {
            storage.dropped_events = storage.dropped_events.saturating_add(1);
            return;
        }
        storage.events += 1;
        let time = time_unix_nano.unwrap_or_else(ticks::now);
        let is_unix = time_unix_nano.is_some();
        attrs::put_event(&mut storage.events_and_links, name, time, is_unix, dropped_attributes, attributes);
    }

    /// Adds a link.
    pub fn add_link(&mut self, thread: &mut Thread, link: &Link<'_>) {
        if !self.recording {
            return;
        }
        let limit = thread.intake.limits.links;
        let storage = self.storage(thread).more();
        let attributes = link.attributes.as_bytes().len();
        if storage.links >= limit || storage.events_and_links.len() + attributes > MAX_BYTES {
            storage.dropped_links = storage.dropped_links.saturating_add(1);
            return;
        }
        storage.links += 1;
        attrs::put_link(&mut storage.events_and_links, link);
    }

    /// Ends the span: reads the clock first, writes its record. A second call does nothing. Ended under another
    /// session than it began in, it is dropped and counted there.
    #[inline(always)]
    pub fn end(&mut self, thread: &mut Thread, end_unix_nano: Option<u64>) {
        if !self.recording {
            return;
        }
        self.recording = false;
        if self.context.session != thread.intake.session {
            self.storage = None;
            return thread.drop_elsewhere(self.context.session, 1);
        }
        let end = match end_unix_nano {
            Some(nanos) => {
                self.flags |= flag::END_IS_UNIX_NANO;
                nanos
            }
            None => ticks::now(),
        };
        match self.storage.take() {
            None if self.context.trace_state.is_none() => thread.push(&mut self.header(kind::SPAN, end), &[]),
            storage => self.push_with(thread, end, storage),
        }
    }

    /// Ends, now, a span that has no attributes, events or links yet, with some numbers as its attributes, whose keys are
    /// distinct. Takes no storage where it needs none.
    pub fn end_with_numbers(&mut self, thread: &mut Thread, numbers: &[(Text<'_>, Number)]) {
        let mut items = ArrayVec::<_, NUMBERS_MAX>::new();
        let mut put = |&(key, number): &(Text<'_>, Number)| match key {
            Text::Id(key) => items.try_push(attrs::number_item(key, number)).is_ok(),
            Text::Inline(_) => false,
        };
        let intake = &thread.intake;
        if self.recording
            && self.context.session == intake.session
            && !self.owns_memory()
            && numbers.len() <= intake.limits.attributes as usize
            && numbers.iter().all(&mut put)
        {
            self.recording = false;
            return thread.push(&mut self.header(kind::SPAN, ticks::now()), items.as_flattened());
        }
        for (key, number) in numbers {
            self.set_attribute(thread, *key, Value::from(*number));
        }
        self.end(thread, None);
    }

    #[inline(never)]
    fn push_with(&self, thread: &mut Thread, end: u64, storage: Option<Box<Storage>>) {
        let mut storage = storage.unwrap_or_else(|| thread.take_storage());
        let items = storage.seal(self.context.trace_state.as_deref(), self.name == StrId::NONE);
        thread.push(&mut self.header(kind::SPAN, end), items);
        thread.return_storage(storage);
    }

    /// Ends the span without a session (recording was turned off meanwhile): nothing is written.
    pub fn discard(&mut self) {
        self.recording = false;
        self.storage = None;
    }

    #[inline(always)]
    pub(super) fn header(&self, kind: u8, end: u64) -> Header {
        Header {
            kind,
            detail: Header::span_detail(self.kind, self.status),
            mask: self.context.mask,
            payload_bytes: 0,
            name: self.name,
            scope: self.scope,
            flags: self.flags,
            trace_id: self.context.trace_id,
            span_id: self.context.span_id,
            parent_span_id: self.parent_span_id,
            start: self.start,
            end,
        }
    }
}
