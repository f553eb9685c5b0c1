//! Spans: a record and its items to a `Span` message, in one pass over the items. Allocates for its output and, at the
//! first sight of a scope, for the encoded scope. Items may come in any order; of NAME, TRACE_STATE and STATUS the last
//! counts, and a NAME only when the header has none.

use super::records::{Quota, Records, put_count};
use super::{Attributes, VALUE_LEVELS, envelope};
use crate::attrs::{Attribute, Event, Item, Items, Link};
use crate::batch::{Batch, RecordRef};
use crate::encode::Lookup;
use crate::encode::chunk::Chunk;
use crate::encode::wire::{self, FIXED32, FIXED64, LEN, Room, SHORT_BYTES, VARINT, tag, wide_tag};
use crate::limits::SpanLimits;
use crate::record::{Header, StatusCode, StrId, flag};

/// Tags of `trace.proto`.
mod span {
    use super::{FIXED32, FIXED64, LEN, VARINT, tag, wide_tag};

    pub(super) const TRACE_ID: u8 = tag(1, LEN);
    pub(super) const SPAN_ID: u8 = tag(2, LEN);
    pub(super) const TRACE_STATE: u8 = tag(3, LEN);
    pub(super) const PARENT_SPAN_ID: u8 = tag(4, LEN);
    pub(super) const NAME: u8 = tag(5, LEN);
    pub(super) const KIND: u8 = tag(6, VARINT);
    pub(super) const START_TIME_UNIX_NANO: u8 = tag(7, FIXED64);
    pub(super) const END_TIME_UNIX_NANO: u8 = tag(8, FIXED64);
    pub(super) const ATTRIBUTES: u8 = tag(9, LEN);
    pub(super) const DROPPED_ATTRIBUTES_COUNT: u8 = tag(10, VARINT);
    pub(super) const EVENTS: u8 = tag(11, LEN);
    pub(super) const DROPPED_EVENTS_COUNT: u8 = tag(12, VARINT);
    pub(super) const LINKS: u8 = tag(13, LEN);
    pub(super) const DROPPED_LINKS_COUNT: u8 = tag(14, VARINT);
    pub(super) const STATUS: u8 = tag(15, LEN);
    pub(super) const FLAGS: [u8; 2] = wide_tag(16, FIXED32);
}

mod event {
    use super::{FIXED64, LEN, VARINT, tag};

    pub(super) const TIME_UNIX_NANO: u8 = tag(1, FIXED64);
    pub(super) const NAME: u8 = tag(2, LEN);
    pub(super) const ATTRIBUTES: u8 = tag(3, LEN);
    pub(super) const DROPPED_ATTRIBUTES_COUNT: u8 = tag(4, VARINT);
}

mod link {
    use super::{FIXED32, LEN, VARINT, tag};

    pub(super) const TRACE_ID: u8 = tag(1, LEN);
    pub(super) const SPAN_ID: u8 = tag(2, LEN);
    pub(super) const TRACE_STATE: u8 = tag(3, LEN);
    pub(super) const ATTRIBUTES: u8 = tag(4, LEN);
    pub(super) const DROPPED_ATTRIBUTES_COUNT: u8 = tag(5, VARINT);
    pub(super) const FLAGS: u8 = tag(6, FIXED32);
}

mod status {
    use super::{LEN, VARINT, tag};

    pub(super) const MESSAGE: u8 = tag(2, LEN);
    pub(super) const CODE: u8 = tag(3, VARINT);
}

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`: whether the parent is remote is known. For us it always is.
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`.
const IS_REMOTE: u32 = 0x200;

/// Keeps what outlives one batch: encoded scopes, scratch memory. Belongs to one interner, whose scope indexes it knows.
#[derive(Debug, Default)]
pub struct TraceEncoder {
    records: Records,
}

impl TraceEncoder {
    /// Encodes the spans for which `wanted(header.mask)` holds, cut to `limits`. An empty chunk if there are none. Spans
    /// of one scope follow each other, otherwise in the batch's order.
    pub fn encode(
        &mut self,
        batch: &Batch,
        wanted: impl Fn(u16) -> bool,
        limits: &SpanLimits,
        lookup: Lookup<'_>,
    ) -> Chunk {
        let wanted = batch.spans().filter(|span| wanted(span.header.mask));
        let attributes = Attributes { strings: lookup.strings, value_length: limits.value_length };
        // Interned names and keys are what encoding adds.
        self.records.encode(wanted, batch.span_count(), 2 * batch.byte_len(), lookup, |out, span| {
            put_span(out, span, limits, &attributes, lookup);
        })
    }
}

#[inline(always)]
fn put_span<'a>(
    out: &mut Vec<u8>,
    record: RecordRef<'a>,
    limits: &SpanLimits,
    attributes: &Attributes<'a>,
    lookup: Lookup<'_>,
) {
    let header = record.header;
    let name = lookup.strings.resolve(header.name);
    let part = put_fixed(out, header, name, record.payload.len(), lookup);
    let mut items = Items::new(record.payload);
    let mut quota = Quota::new(limits.attributes);
    attributes.put_run(out, span::ATTRIBUTES, &mut items, &mut quota);
    let mut message = &[][..];
    if !items.as_bytes().is_empty() || quota.dropped > 0 {
        message = put_rest(out, header, items, quota, limits, attributes, lookup);
    }
    put_status(out, header.status(), message);
    wire::close(out, part);
}

/// What few spans have: all but attributes, and what comes after it. Returns the status description.
#[inline(never)]
fn put_rest<'a>(
    out: &mut Vec<u8>,
    header: &Header,
    items: Items<'a>,
    mut kept_attributes: Quota,
    limits: &SpanLimits,
    attributes: &Attributes<'a>,
    lookup: Lookup<'_>,
) -> &'a [u8] {
    let (mut name, mut trace_state, mut message) = (&[][..], &[][..], &[][..]);
    let (mut kept_events, mut kept_links) = (Quota::new(limits.events), Quota::new(limits.links));
    for item in items {
        match item {
            Item::Attribute(Attribute { key, value }) => {
                if kept_attributes.take() {
                    attributes.put(out, span::ATTRIBUTES, attributes.text(key), value, VALUE_LEVELS);
                }
            }
            Item::Event(event) => {
                if kept_events.take() {
                    put_event(out, &event, header, limits, attributes, lookup);
                }
            }
            Item::Link(link) => {
                if kept_links.take() {
                    put_link(out, &link, limits, attributes);
                }
            }
            Item::Name(text) => name = text,
            Item::TraceState(text) => trace_state = text,
            Item::Status(text) => message = text,
            Item::Dropped { attributes, events, links } => {
                kept_attributes.drop_more(attributes);
                kept_events.drop_more(events);
                kept_links.drop_more(links);
            }
            // A log record's.
            Item::SeverityText(_) | Item::Body(_) => {}
        }
    }
    if header.name == StrId::NONE {
        wire::put_optional_field(out, span::NAME, name);
    }
    wire::put_optional_field(out, span::TRACE_STATE, trace_state);
    put_count(out, span::DROPPED_ATTRIBUTES_COUNT, kept_attributes.dropped);
    put_count(out, span::DROPPED_EVENTS_COUNT, kept_events.dropped);
    put_count(out, span::DROPPED_LINKS_COUNT, kept_links.dropped);
    message
}

/// Bytes of ids, kind, times and flags.
const FIXED_BYTES: usize = 64;

/// Begins a span's field, with all that the header knows; `name` empty if it does not.
#[inline]
fn put_fixed(
    out: &mut Vec<u8>,
    header: &Header,
    name: &[u8],
    payload_bytes: usize,
    lookup: Lookup<'_>,
) -> wire::Part {
    let explicit = |bit| header.flags & bit != 0;
    let (start, end) = lookup.timeline.span_times(
        header.start,
        explicit(flag::START_IS_UNIX_NANO),
        header.end,
        explicit(flag::END_IS_UNIX_NANO),
    );
    let remote = if explicit(flag::PARENT_IS_REMOTE) { IS_REMOTE } else { 0 };
    let flags = u32::from(header.trace_flags()) | HAS_IS_REMOTE | remote;

    // Attributes with interned keys grow to about twice their size.
    let expected_bytes = FIXED_BYTES + 2 + name.len() + 2 * payload_bytes;
    let mut room = Room::<{ wire::OPEN_BYTES + FIXED_BYTES + 2 + SHORT_BYTES }>::new(out);
    let part = wire::open_in(&mut room, envelope::RECORD, expected_bytes);
    room.put([span::TRACE_ID, 16]);
    room.put(header.trace_id.0);
    room.put([span::SPAN_ID, 8]);
    room.put(header.span_id.0);
    room.put([span::KIND, header.span_kind() as u8]);
    room.put([span::START_TIME_UNIX_NANO]);
    room.put(start.to_le_bytes());
    room.put([span::END_TIME_UNIX_NANO]);
    room.put(end.to_le_bytes());
    room.put(span::FLAGS);
    room.put(flags.to_le_bytes());
    if header.parent_span_id.is_valid() {
        room.put([span::PARENT_SPAN_ID, 8]);
        room.put(header.parent_span_id.0);
    }
    if (1..=SHORT_BYTES).contains(&name.len()) {
        room.put([span::NAME, name.len() as u8]);
        room.put_short(name);
        room.end();
    } else {
        room.end();
        wire::put_optional_field(out, span::NAME, name);
    }
    part
}

fn put_event(
    out: &mut Vec<u8>,
    event: &Event<'_>,
    header: &Header,
    limits: &SpanLimits,
    attributes: &Attributes<'_>,
    lookup: Lookup<'_>,
) {
    let time = event_time(event, header, lookup);
    let part = wire::open(out, span::EVENTS, 24 + 2 * event.attributes.as_bytes().len());
    out.push(event::TIME_UNIX_NANO);
    out.extend_from_slice(&time.to_le_bytes());
    wire::put_optional_field(out, event::NAME, attributes.text(event.name));
    let cut = attributes.put_all(out, event::ATTRIBUTES, event.attributes, limits.attributes_per_event);
    put_count(out, event::DROPPED_ATTRIBUTES_COUNT, event.dropped_attributes.saturating_add(cut));
    wire::close(out, part);
}

/// Ticks are converted with the anchor that the span's own times use, so that an event lies between them.
fn event_time(event: &Event<'_>, header: &Header, lookup: Lookup<'_>) -> u64 {
    if event.time_is_unix_nano {
        event.time
    } else if header.flags & flag::START_IS_UNIX_NANO != 0 {
        lookup.timeline.unix_nano(event.time)
    } else {
        lookup.timeline.span_times(header.start, false, event.time, false).1
    }
}

fn put_link(out: &mut Vec<u8>, link: &Link<'_>, limits: &SpanLimits, attributes: &Attributes<'_>) {
    let items = link.attributes.as_bytes().len();
    let part = wire::open(out, span::LINKS, 40 + link.trace_state.len() + 2 * items);
    wire::put_bytes_field(out, link::TRACE_ID, &link.trace_id.0);
    wire::put_bytes_field(out, link::SPAN_ID, &link.span_id.0);
    wire::put_optional_field(out, link::TRACE_STATE, link.trace_state);
    let cut = attributes.put_all(out, link::ATTRIBUTES, link.attributes, limits.attributes_per_link);
    put_count(out, link::DROPPED_ATTRIBUTES_COUNT, link.dropped_attributes.saturating_add(cut));
    if link.flags != 0 {
        out.push(link::FLAGS);
        out.extend_from_slice(&link.flags.to_le_bytes());
    }
    wire::close(out, part);
}

/// A description belongs to an error only.
#[inline]
fn put_status(out: &mut Vec<u8>, code: StatusCode, message: &[u8]) {
    if code == StatusCode::Unset {
        return;
    }
    let message = if code == StatusCode::Error { message } else { &[] };
    let part = wire::open(out, span::STATUS, 4 + message.len());
    wire::put_optional_field(out, status::MESSAGE, message);
    wire::put_varint_field(out, status::CODE, code as u64);
    wire::close(out, part);
}
