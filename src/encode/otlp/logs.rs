//! Log records: a record and its items to a `LogRecord` message, in one pass over the items. Allocates for its output and,
//! at the first sight of a scope, for the encoded scope. Items may come in any order; of BODY and SEVERITY_TEXT the last
//! counts.

use super::records::{Records, count, put_count};
use super::{Attributes, VALUE_LEVELS, envelope};
use crate::attrs::{Item, Items};
use crate::batch::{Batch, RecordRef};
use crate::encode::Lookup;
use crate::encode::chunk::Chunk;
use crate::encode::wire::{self, FIXED32, FIXED64, LEN, VARINT, tag};
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
        let all = (0..batch.log_count()).filter(|index| wanted(*index));
        let log = |index| batch.log(index);
        self.records.encode(all, 2 * batch.byte_len(), log, lookup, |out, record| {
            put_log(out, record, limits, lookup)
        })
    }
}

fn put_log(out: &mut Vec<u8>, record: &RecordRef<'_>, limits: &LogLimits, lookup: Lookup<'_>) {
    let header = &record.header;
    let attributes = Attributes { strings: lookup.strings, value_length: limits.value_length };
    let absent_bytes = match (header.trace_id.is_valid() && header.span_id.is_valid(), header.trace_flags()) {
        (false, _) => CONTEXT_BYTES,
        (true, 0) => FLAGS_BYTES,
        (true, _) => 0,
    };
    // Attributes with interned keys grow to twice their size, a body keeps its own.
    let expected_bytes = FIXED_BYTES + SEVERITY_BYTES - absent_bytes + record.payload.len() * 3 / 2;
    let part = wire::open(out, envelope::RECORD, expected_bytes);
    put_fixed(out, header, lookup);
    out.truncate(out.len() - absent_bytes);
    let severity = &SEVERITIES[usize::from(header.detail).min(SEVERITIES.len() - 1)];

    let (mut severity_text, mut body) = (None, None);
    let (mut kept, mut dropped) = (0, 0_u32);
    let mut items = Items::new(record.payload);
    loop {
        // Recorded first.
        if let Some(value) = items.next_body() {
            body = Some(value);
        }
        while let Some(attribute) = items.next_attribute() {
            if count(&mut kept, &mut dropped, limits.attributes) {
                attributes.put(out, log_record::ATTRIBUTES, &attribute, VALUE_LEVELS);
            }
        }
        if items.as_bytes().is_empty() {
            break;
        }
        let Some(item) = items.next() else { break };
        match item {
            Item::Body(value) => body = Some(value),
            Item::SeverityText(text) => severity_text = Some(text),
            Item::Dropped { attributes, .. } => dropped = dropped.saturating_add(attributes),
            // A span's.
            Item::Attribute(_)
            | Item::Name(_)
            | Item::TraceState(_)
            | Item::Status(_)
            | Item::Event(_)
            | Item::Link(_) => {}
        }
    }
    if let Some(body) = body {
        let whole = Attributes { value_length: u32::MAX, ..attributes };
        whole.put_text_or_value(out, log_record::BODY, body);
    }
    match severity_text {
        Some(text) => {
            wire::put_prefix(out, &severity.fields, severity.number_len);
            wire::put_optional_field(out, log_record::SEVERITY_TEXT, text);
        }
        None => wire::put_prefix(out, &severity.fields, severity.len),
    }
    put_count(out, log_record::DROPPED_ATTRIBUTES_COUNT, dropped);
    wire::close(out, part);
}

/// The fields of a severity: its number, and the text that goes with it.
struct Severity {
    fields: [u8; 16],
    number_len: usize,
    len: usize,
}

/// By severity number, 25 for all above, which have no text. Recording gives 24 at most; a number above 127 would need a
/// second byte.
const SEVERITIES: [Severity; 26] = {
    let mut all = [const { Severity { fields: [0; 16], number_len: 0, len: 0 } }; 26];
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

/// Bytes of most severities: number and a text of four.
const SEVERITY_BYTES: usize = 8;
/// Bytes of the fields whose place is known beforehand, context included.
const FIXED_BYTES: usize = 51;
/// Bytes of the context, the last of them: trace, span and flags.
const CONTEXT_BYTES: usize = 33;
/// Bytes of the flags' field.
const FLAGS_BYTES: usize = 5;

/// Times and context, written into one window, of which the caller takes back what is not there.
#[inline]
fn put_fixed(out: &mut Vec<u8>, header: &Header, lookup: Lookup<'_>) {
    let observed = lookup.timeline.unix_nano(header.end);
    let time = if header.flags & flag::START_IS_UNIX_NANO != 0 {
        header.start
    } else if header.start == header.end {
        observed
    } else {
        lookup.timeline.unix_nano(header.start)
    };
    let start = out.len();
    // In place, as a span's.
    let fixed = wire::window(out);
    fixed[0] = log_record::TIME_UNIX_NANO;
    fixed[1..9].copy_from_slice(&time.to_le_bytes());
    fixed[9] = log_record::OBSERVED_TIME_UNIX_NANO;
    fixed[10..18].copy_from_slice(&observed.to_le_bytes());
    fixed[18..20].copy_from_slice(&[log_record::TRACE_ID, 16]);
    fixed[20..36].copy_from_slice(&header.trace_id.0);
    fixed[36..38].copy_from_slice(&[log_record::SPAN_ID, 8]);
    fixed[38..46].copy_from_slice(&header.span_id.0);
    fixed[46] = log_record::FLAGS;
    fixed[47..FIXED_BYTES].copy_from_slice(&u32::from(header.trace_flags()).to_le_bytes());
    out.truncate(start + FIXED_BYTES);
}
