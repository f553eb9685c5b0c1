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
    let expected_bytes = FIXED_BYTES - absent_bytes + record.payload.len() * 3 / 2;
    let part = wire::open(out, envelope::RECORD, expected_bytes);
    put_fixed(out, header, lookup);
    out.truncate(out.len() - absent_bytes);

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
        Some(text) => wire::put_optional_field(out, log_record::SEVERITY_TEXT, text),
        None => {
            let (field, len) = &SEVERITY_TEXTS[usize::from(header.detail).min(SEVERITY_TEXTS.len() - 1)];
            wire::put_prefix(out, field, *len);
        }
    }
    put_count(out, log_record::DROPPED_ATTRIBUTES_COUNT, dropped);
    wire::close(out, part);
}

/// By severity number, 25 for all above: the field of its text, and how long it is.
const SEVERITY_TEXTS: [([u8; 8], usize); 26] = {
    let mut fields = [([0; 8], 0); 26];
    let mut number = 1;
    while number <= 24 {
        let name = severity_name(number as u8).as_bytes();
        let (field, len) = &mut fields[number];
        (field[0], field[1], *len) = (log_record::SEVERITY_TEXT, name.len() as u8, 2 + name.len());
        field.split_at_mut(2).1.split_at_mut(name.len()).0.copy_from_slice(name);
        number += 1;
    }
    fields
};

/// Bytes of the fields whose place is known beforehand, severity number and context included.
const FIXED_BYTES: usize = 53;
/// Bytes of the severity number's field, the first of them.
const SEVERITY_BYTES: usize = 2;
/// Bytes of the context, the last of them: trace, span and flags.
const CONTEXT_BYTES: usize = 33;
/// Bytes of the flags' field.
const FLAGS_BYTES: usize = 5;

/// Severity number, times and context: one copy of constant size, of which the caller takes back what is not there.
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
    let mut fixed = [0; FIXED_BYTES];
    // Recording gives 24 at most; what is above 127 would need a second byte.
    fixed[..2].copy_from_slice(&[log_record::SEVERITY_NUMBER, header.detail & 0x7f]);
    fixed[2] = log_record::TIME_UNIX_NANO;
    fixed[3..11].copy_from_slice(&time.to_le_bytes());
    fixed[11] = log_record::OBSERVED_TIME_UNIX_NANO;
    fixed[12..20].copy_from_slice(&observed.to_le_bytes());
    fixed[20..22].copy_from_slice(&[log_record::TRACE_ID, 16]);
    fixed[22..38].copy_from_slice(&header.trace_id.0);
    fixed[38..40].copy_from_slice(&[log_record::SPAN_ID, 8]);
    fixed[40..48].copy_from_slice(&header.span_id.0);
    fixed[48] = log_record::FLAGS;
    fixed[49..].copy_from_slice(&u32::from(header.trace_flags()).to_le_bytes());
    if header.detail == 0 {
        out.extend_from_slice(&fixed[SEVERITY_BYTES..]);
    } else {
        out.extend_from_slice(&fixed);
    }
}
