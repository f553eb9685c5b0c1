//! Log records: a record and its items to a `LogRecord` message, in one pass over the items. Allocates for its output and,
//! at the first sight of a scope, for the encoded scope. Items may come in any order; of BODY and SEVERITY_TEXT the last
//! counts.

use super::records::{Quota, Records, put_count};
use super::{Attributes, VALUE_LEVELS, common, envelope, two_heads};
use crate::attrs::{Attribute, Item, Items, Value};
use crate::batch::{Batch, RecordRef};
use crate::encode::Lookup;
use crate::encode::chunk::Chunk;
use crate::encode::wire::{self, FIXED32, FIXED64, LEN, Room, SHORT_BYTES, VARINT, tag};
use crate::limits::LogLimits;
use crate::record::{Header, flag, severity_name};

/// Tags of `logs.proto`.
mod log_record {
    use super::{FIXED32, FIXED64, LEN, VARINT, tag};

    pub(super) const TIME_UNIX_NANO: u8 = tag(1, FIXED64);
    pub(super) const SEVERITY_NUMBER: u8 = tag(2, VARINT);
    pub(super) const SEVERITY_TEXT: u8 = tag(3, LEN);
    pub(super) const BODY: u8 = tag(5, LEN);
    pub(super) const ATTRIBUTES: u8 = tag(6, LEN);
    pub(super) const DROPPED_ATTRIBUTES_COUNT: u8 = tag(7, VARINT);
    pub(super) const FLAGS: u8 = tag(8, FIXED32);
    pub(super) const TRACE_ID: u8 = tag(9, LEN);
    pub(super) const SPAN_ID: u8 = tag(10, LEN);
    pub(super) const OBSERVED_TIME_UNIX_NANO: u8 = tag(11, FIXED64);
}

/// Keeps what outlives one batch: encoded scopes, scratch memory. Belongs to one interner, whose scope indexes it knows.
#[derive(Debug, Default)]
pub struct LogEncoder {
    records: Records,
}

impl LogEncoder {
    /// Encodes the log records for whose index in the batch `wanted` holds, cut to `limits`. An empty chunk if there are
    /// none. Records of one scope follow each other, otherwise in the batch's order.
    pub fn encode(
        &mut self,
        batch: &Batch,
        wanted: impl Fn(usize) -> bool,
        limits: &LogLimits,
        lookup: Lookup<'_>,
    ) -> Chunk {
        let wanted = batch.logs().enumerate().filter(|(index, _)| wanted(*index)).map(|(_, log)| log);
        let attributes = Attributes { strings: lookup.strings, value_length: limits.value_length };
        self.records.encode(wanted, batch.log_count(), 2 * batch.byte_len(), lookup, |out, log| {
            put_log(out, log, limits, &attributes, lookup)
        })
    }
}

#[inline(always)]
fn put_log<'a>(
    out: &mut Vec<u8>,
    record: RecordRef<'a>,
    limits: &LogLimits,
    attributes: &Attributes<'a>,
    lookup: Lookup<'_>,
) {
    let header = record.header;
    let part = put_fixed(out, header, record.payload.len(), lookup);
    let mut items = Items::new(record.payload);
    // Recorded first.
    let body = items.next_body();
    let mut quota = Quota::new(limits.attributes);
    attributes.put_run(out, log_record::ATTRIBUTES, &mut items, &mut quota);
    if items.as_bytes().is_empty() && quota.dropped == 0 {
        let severity = severity(header);
        put_body_and_severity(out, body, &severity.fields, severity.len, attributes);
    } else {
        put_rest(out, header, items, body, quota, attributes);
    }
    wire::close(out, part);
}

/// Whatever follows a run of attributes.
#[inline(never)]
fn put_rest<'a>(
    out: &mut Vec<u8>,
    header: &Header,
    items: Items<'a>,
    mut body: Option<Value<'a>>,
    mut quota: Quota,
    attributes: &Attributes<'a>,
) {
    let mut severity_text = None;
    for item in items {
        match item {
            Item::Attribute(Attribute { key, value }) => {
                if quota.take() {
                    attributes.put(out, log_record::ATTRIBUTES, attributes.text(key), value, VALUE_LEVELS);
                }
            }
            Item::Body(value) => body = Some(value),
            Item::SeverityText(text) => severity_text = Some(text),
            Item::Dropped { attributes, .. } => quota.drop_more(attributes),
            // A span's.
            Item::Name(_) | Item::TraceState(_) | Item::Status(_) | Item::Event(_) | Item::Link(_) => {}
        }
    }
    let severity = severity(header);
    let severity_len = if severity_text.is_some() { severity.number_len } else { severity.len };
    put_body_and_severity(out, body, &severity.fields, severity_len, attributes);
    wire::put_optional_field(out, log_record::SEVERITY_TEXT, severity_text.unwrap_or_default());
    put_count(out, log_record::DROPPED_ATTRIBUTES_COUNT, quota.dropped);
}

/// A short body and the fields of the severity go through one room.
#[inline(always)]
fn put_body_and_severity<'a>(
    out: &mut Vec<u8>,
    body: Option<Value<'a>>,
    severity: &[u8; SEVERITY_ROOM],
    severity_len: usize,
    attributes: &Attributes<'a>,
) {
    let mut room = Room::<{ 4 + SHORT_BYTES + SEVERITY_ROOM }>::new(out);
    match body {
        None => {}
        Some(Value::Str(text)) if text.len() <= SHORT_BYTES => {
            room.put(two_heads(log_record::BODY, 2, common::STRING_VALUE, text));
            room.put_short(text);
        }
        Some(body) => {
            room.end();
            // The limit on values is one on attributes.
            let whole = Attributes { value_length: u32::MAX, ..*attributes };
            whole.put_value(out, log_record::BODY, body, VALUE_LEVELS);
            room = Room::new(out);
        }
    }
    room.put_prefix(*severity, severity_len);
    room.end();
}

const SEVERITY_ROOM: usize = 16;

/// The fields of a severity: its number, and the text that goes with it.
struct Severity {
    fields: [u8; SEVERITY_ROOM],
    number_len: usize,
    len: usize,
}

/// By severity number, 25 for all above, which have no text. Recording gives 24 at most; a number above 127 would need a
/// second byte.
const SEVERITIES: [Severity; 26] = {
    let mut all = [const { Severity { fields: [0; SEVERITY_ROOM], number_len: 0, len: 0 } }; 26];
    let mut number = 1;
    while number < all.len() {
        let name = severity_name(number as u8).as_bytes();
        let severity = &mut all[number];
        severity.fields[0] = log_record::SEVERITY_NUMBER;
        severity.fields[1] = number as u8;
        (severity.number_len, severity.len) = (2, 2);
        if !name.is_empty() {
            severity.fields[2] = log_record::SEVERITY_TEXT;
            severity.fields[3] = name.len() as u8;
            severity.fields.split_at_mut(4).1.split_at_mut(name.len()).0.copy_from_slice(name);
            severity.len += 2 + name.len();
        }
        number += 1;
    }
    all
};

#[inline]
fn severity(header: &Header) -> &'static Severity {
    &SEVERITIES[usize::from(header.detail).min(SEVERITIES.len() - 1)]
}

/// Bytes of most severities: number and a text of four.
const SEVERITY_BYTES: usize = 8;
/// Bytes of the times.
const TIMES_BYTES: usize = 18;
/// Bytes of trace, span and flags.
const CONTEXT_BYTES: usize = 33;

/// Begins a log record's field: times and context.
#[inline]
fn put_fixed(out: &mut Vec<u8>, header: &Header, payload_bytes: usize, lookup: Lookup<'_>) -> wire::Part {
    let observed = lookup.timeline.unix_nano(header.end);
    let time = if header.flags & flag::START_IS_UNIX_NANO != 0 {
        header.start
    } else if header.start == header.end {
        observed
    } else {
        lookup.timeline.unix_nano(header.start)
    };
    let in_span = header.trace_id.is_valid() && header.span_id.is_valid();
    let context_bytes = if in_span { CONTEXT_BYTES } else { 0 };
    // Attributes with interned keys grow to twice their size, a body keeps its own.
    let expected_bytes = TIMES_BYTES + context_bytes + SEVERITY_BYTES + payload_bytes * 3 / 2;

    let mut room = Room::<{ wire::OPEN_BYTES + TIMES_BYTES + CONTEXT_BYTES }>::new(out);
    let part = wire::open_in(&mut room, envelope::RECORD, expected_bytes);
    room.put([log_record::TIME_UNIX_NANO]);
    room.put(time.to_le_bytes());
    room.put([log_record::OBSERVED_TIME_UNIX_NANO]);
    room.put(observed.to_le_bytes());
    if in_span {
        room.put([log_record::TRACE_ID, 16]);
        room.put(header.trace_id.0);
        room.put([log_record::SPAN_ID, 8]);
        room.put(header.span_id.0);
        if header.trace_flags() != 0 {
            room.put([log_record::FLAGS]);
            room.put(u32::from(header.trace_flags()).to_le_bytes());
        }
    }
    room.end();
    part
}
