//! OTLP protobuf: what all signals share (resource, scope, attribute values, the request around records), and one file
//! per signal. Field numbers are those of opentelemetry-proto 1.x. Allocates only for its output. Text is copied as it
//! is: recording guarantees UTF-8, and checking it again would cost every span what only a bug could need.

pub mod logs;
pub mod metrics;
mod records;
pub mod trace;

use records::Quota;

use super::chunk::{Part, ScopeBytes};
use super::wire::{self, FIXED64, LEN, Room, SHORT_BYTES, VARINT, field_len, tag};
use crate::attrs::{Attribute, Items, Text, Value};
use crate::config::{Resource, ResourceValue};
use crate::intern::Interner;

/// Tags of `common.proto` and `resource.proto`.
mod common {
    use super::{FIXED64, LEN, VARINT, tag};

    pub(super) const STRING_VALUE: u8 = tag(1, LEN);
    pub(super) const BOOL_VALUE: u8 = tag(2, VARINT);
    pub(super) const INT_VALUE: u8 = tag(3, VARINT);
    pub(super) const DOUBLE_VALUE: u8 = tag(4, FIXED64);
    pub(super) const ARRAY_VALUE: u8 = tag(5, LEN);
    pub(super) const KVLIST_VALUE: u8 = tag(6, LEN);
    pub(super) const BYTES_VALUE: u8 = tag(7, LEN);
    pub(super) const ARRAY_VALUE_VALUES: u8 = tag(1, LEN);
    pub(super) const KEY_VALUE_LIST_VALUES: u8 = tag(1, LEN);
    pub(super) const KEY_VALUE_KEY: u8 = tag(1, LEN);
    pub(super) const KEY_VALUE_VALUE: u8 = tag(2, LEN);
    pub(super) const SCOPE_NAME: u8 = tag(1, LEN);
    pub(super) const SCOPE_VERSION: u8 = tag(2, LEN);
    pub(super) const RESOURCE_ATTRIBUTES: u8 = tag(1, LEN);
}

/// Tags of the request around the records; the same numbers for traces, metrics and logs.
mod envelope {
    use super::{LEN, tag};

    pub(super) const RESOURCE_RECORDS: u8 = tag(1, LEN);
    pub(super) const RESOURCE: u8 = tag(1, LEN);
    pub(super) const SCOPE_RECORDS: u8 = tag(2, LEN);
    pub(super) const SCOPE: u8 = tag(1, LEN);
    /// The record itself: what each field in a chunk begins with.
    pub(super) const RECORD: u8 = tag(2, LEN);
    pub(super) const SCHEMA_URL: u8 = tag(3, LEN);
}

/// Messages that an attribute's value may nest. Decoders (C++, Java, Python, prost) refuse a request with more than 100
/// levels, so one deep value would lose its whole batch; the value of an event's attribute is already the sixth level, that
/// of an exemplar's the eighth. An array takes two, a map three: 46 arrays or 30 maps inside each other. What lies deeper
/// becomes an empty value.
const VALUE_LEVELS: u32 = 100 - 8;

/// Encodes a `Resource` message (without tag and length). Done once per session.
pub fn resource(resource: &Resource) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in &resource.attributes {
        let attribute = wire::open(&mut out, common::RESOURCE_ATTRIBUTES, key.len());
        wire::put_bytes_field(&mut out, common::KEY_VALUE_KEY, key.as_bytes());
        resource_value(&mut out, common::KEY_VALUE_VALUE, value, VALUE_LEVELS);
        wire::close(&mut out, attribute);
    }
    out
}

fn resource_value(out: &mut Vec<u8>, tag: u8, value: &ResourceValue, levels: u32) {
    let scalar = match value {
        ResourceValue::Str(text) => Scalar::new(&Value::Str(text.as_bytes()), u32::MAX),
        ResourceValue::Int(number) => Scalar::new(&Value::Int(*number), u32::MAX),
        ResourceValue::Double(number) => Scalar::new(&Value::Double(*number), u32::MAX),
        ResourceValue::Bool(truth) => Scalar::new(&Value::Bool(*truth), u32::MAX),
        ResourceValue::Array(values) if levels >= 2 => {
            let any = wire::open(out, tag, 16 * values.len());
            let array = wire::open(out, common::ARRAY_VALUE, 16 * values.len());
            for value in values {
                resource_value(out, common::ARRAY_VALUE_VALUES, value, levels - 2);
            }
            wire::close(out, array);
            wire::close(out, any);
            return;
        }
        ResourceValue::Array(_) => Scalar::EMPTY,
    };
    scalar.put(out, tag);
}

/// Builds a complete request (`ExportTraceServiceRequest` with one `ResourceSpans`, and likewise of metrics and logs,
/// whose field numbers are the same) from parts, in order, replacing `out`. Neighbouring runs of equal scope share one
/// `ScopeSpans`. Copies bytes; encodes nothing again. Without records `out` is left empty: an empty envelope is never
/// sent.
pub fn request(resource: &[u8], parts: &[Part], out: &mut Vec<u8>) {
    out.clear();
    let runs: Vec<(&ScopeBytes, &[u8])> = parts.iter().flat_map(Part::runs).collect();
    if runs.is_empty() {
        return;
    }
    let groups = || runs.chunk_by(|(a, _), (b, _)| a == b);
    let group_len = |group: &[(&ScopeBytes, &[u8])]| {
        let (scope, _) = group[0];
        let schema_url = if scope.schema_url.is_empty() { 0 } else { field_len(scope.schema_url.len()) };
        field_len(scope.scope.len())
            + group.iter().map(|(_, records)| records.len()).sum::<usize>()
            + schema_url
    };
    let body_len =
        field_len(resource.len()) + groups().map(|group| field_len(group_len(group))).sum::<usize>();
    out.reserve_exact(field_len(body_len));
    wire::put_varint_field(out, envelope::RESOURCE_RECORDS, body_len as u64);
    wire::put_bytes_field(out, envelope::RESOURCE, resource);
    for group in groups() {
        let (scope, _) = group[0];
        wire::put_varint_field(out, envelope::SCOPE_RECORDS, group_len(group) as u64);
        wire::put_bytes_field(out, envelope::SCOPE, &scope.scope);
        for (_, records) in group {
            out.extend_from_slice(records);
        }
        wire::put_optional_field(out, envelope::SCHEMA_URL, scope.schema_url.as_bytes());
    }
    debug_assert_eq!(out.len(), field_len(body_len));
}

/// An `AnyValue` that nests nothing: tag and number, or tag, length and text.
#[derive(Debug, Clone, Copy)]
struct Scalar<'a> {
    tag: u8,
    /// The bytes between tag and text, the first one lowest.
    number: u128,
    /// Bytes before the text, at most 11; 0 for an empty value.
    head_len: usize,
    text: &'a [u8],
}

impl<'a> Scalar<'a> {
    const EMPTY: Self = Self { tag: 0, number: 0, head_len: 0, text: &[] };

    /// `value` cut to `value_length`; arrays and maps read as empty.
    #[inline(always)]
    fn new(value: &Value<'a>, value_length: u32) -> Self {
        let (tag, (number, number_len), text) = match *value {
            Value::Bool(truth) => (common::BOOL_VALUE, (u128::from(truth), 1), &[][..]),
            Value::Int(number) => (common::INT_VALUE, wire::varint(number as u64), &[][..]),
            Value::Double(number) => (common::DOUBLE_VALUE, (u128::from(number.to_bits()), 8), &[][..]),
            Value::Str(text) => {
                let text = cut_chars(text, value_length);
                (common::STRING_VALUE, wire::mostly_short_varint(text.len() as u64), text)
            }
            Value::Bytes(bytes) => {
                let bytes = &bytes[..bytes.len().min(value_length as usize)];
                (common::BYTES_VALUE, wire::mostly_short_varint(bytes.len() as u64), bytes)
            }
            Value::Empty | Value::Array(_) | Value::Map(_) => return Self::EMPTY,
        };
        Self { tag, number, head_len: 1 + number_len, text }
    }

    /// Bytes of the `AnyValue`.
    #[inline]
    fn len(&self) -> usize {
        self.head_len + self.text.len()
    }

    /// Appends it as the field `tag`.
    fn put(&self, out: &mut Vec<u8>, tag: u8) {
        wire::put_varint_field(out, tag, self.len() as u64);
        let mut room = Room::<17>::new(out);
        if self.head_len > 0 {
            room.put([self.tag]);
            room.put_prefix(self.number.to_le_bytes(), self.head_len - 1);
        }
        room.end();
        wire::put_bytes(out, self.text);
    }
}

/// The longest prefix of at most `chars` characters.
#[inline]
pub(in crate::encode) fn cut_chars(text: &[u8], chars: u32) -> &[u8] {
    if text.len() <= chars as usize { text } else { cut_long(text, chars as usize) }
}

fn cut_long(text: &[u8], chars: usize) -> &[u8] {
    // A character starts at every byte that is not a continuation byte.
    let starts = text.iter().enumerate().filter(|(_, byte)| **byte & 0xc0 != 0x80);
    starts.map(|(at, _)| at).nth(chars).map_or(text, |at| &text[..at])
}

/// Most bytes of an attribute with a short key and a scalar that is no long text, rounded up.
const ATTRIBUTE_BYTES: usize = 96;

/// Begins a `KeyValue`, up to its value: of `value_bytes` with tag and length, at most 36, which are next. `None` if the key
/// is long.
#[inline(always)]
fn short_key<'a>(
    out: &'a mut Vec<u8>,
    tag: u8,
    key: &[u8],
    value_bytes: usize,
) -> Option<Room<'a, ATTRIBUTE_BYTES>> {
    if key.len() > SHORT_BYTES {
        return None;
    }
    let mut room = Room::new(out);
    room.put(two_heads(tag, 2 + value_bytes as u8, common::KEY_VALUE_KEY, key));
    room.put_short(key);
    Some(room)
}

/// Heads of a message that ends with a short text and of that text: `[outer, before + length, inner, length]`. By
/// multiplication: put together of bytes it is five instructions, and there are seven a record.
#[inline(always)]
fn two_heads(outer: u8, before: u8, inner: u8, text: &[u8]) -> [u8; 4] {
    debug_assert!(text.len() + usize::from(before) < 1 << 7);
    u32::from_le_bytes([outer, before, inner, 0])
        .wrapping_add((text.len() as u32).wrapping_mul(0x0100_0100))
        .to_le_bytes()
}

/// Writes attributes: what their keys are looked up in, and where their values are cut.
#[derive(Debug, Clone, Copy)]
struct Attributes<'a> {
    strings: &'a Interner,
    /// Characters of a text, bytes of a bytes value.
    value_length: u32,
}

impl<'a> Attributes<'a> {
    #[inline]
    fn text(&self, text: Text<'a>) -> &'a [u8] {
        match text {
            Text::Id(id) => self.strings.resolve(id),
            Text::Inline(bytes) => bytes,
        }
    }

    /// Appends the attributes among `items`, at most `limit`, as fields `tag`. Returns how many it left out.
    fn put_all(&self, out: &mut Vec<u8>, tag: u8, mut items: Items<'a>, limit: u32) -> u32 {
        let mut quota = Quota::new(limit);
        self.put_run(out, tag, &mut items, &mut quota);
        quota.dropped
    }

    /// Appends the attributes that `items` begins with, as far as `quota` lets them, as fields `tag`.
    #[inline(always)]
    fn put_run(&self, out: &mut Vec<u8>, tag: u8, items: &mut Items<'a>, quota: &mut Quota) {
        let mut before = *items;
        while quota.left > 0
            && let Some((key, value)) = items.next_attribute_as(|key| self.text(key))
        {
            quota.left -= 1;
            if self.put_short(out, tag, key, value).is_none() {
                self.put_first(out, tag, before);
            }
            before = *items;
        }
        if quota.left == 0 {
            let beyond = std::iter::from_fn(|| items.next_attribute()).count();
            quota.drop_more(u32::try_from(beyond).unwrap_or(u32::MAX));
        }
    }

    /// Appends the first of some attributes, which is not short. It is read once more: handed over, it would lie in memory
    /// for the sake of a few.
    #[inline(never)]
    fn put_first(&self, out: &mut Vec<u8>, tag: u8, mut items: Items<'a>) {
        if let Some((key, value)) = items.next_attribute_as(|key| self.text(key)) {
            self.put_any(out, tag, key, value, VALUE_LEVELS);
        }
    }

    /// Appends a `KeyValue` as the field `tag`.
    fn put(&self, out: &mut Vec<u8>, tag: u8, key: &'a [u8], value: Value<'a>, levels: u32) {
        if self.put_short(out, tag, key, value).is_none() {
            self.put_any(out, tag, key, value, levels);
        }
    }

    /// Appends an attribute whose key and value are short, as most are, in one go; `None`, and nothing, if it is another.
    #[inline(always)]
    fn put_short(&self, out: &mut Vec<u8>, tag: u8, key: &[u8], value: Value<'a>) -> Option<()> {
        // First of all, so that reading the value and this are one match to the compiler.
        match value {
            Value::Str(text) if text.len() <= SHORT_BYTES.min(self.value_length as usize) => {
                let mut room = short_key(out, tag, key, 4 + text.len())?;
                room.put(two_heads(common::KEY_VALUE_VALUE, 2, common::STRING_VALUE, text));
                room.put_short(text);
                room.end();
            }
            Value::Int(number) => {
                let (varint, len) = wire::varint(number as u64);
                let mut room = short_key(out, tag, key, 3 + len)?;
                room.put([common::KEY_VALUE_VALUE, 1 + len as u8, common::INT_VALUE]);
                room.put_prefix(varint.to_le_bytes(), len);
                room.end();
            }
            Value::Double(number) => {
                let mut room = short_key(out, tag, key, 11)?;
                room.put([common::KEY_VALUE_VALUE, 9, common::DOUBLE_VALUE]);
                room.put(number.to_bits().to_le_bytes());
                room.end();
            }
            Value::Bool(truth) => {
                let mut room = short_key(out, tag, key, 4)?;
                room.put([common::KEY_VALUE_VALUE, 2, common::BOOL_VALUE, u8::from(truth)]);
                room.end();
            }
            _ => return None,
        }
        Some(())
    }

    fn put_any(&self, out: &mut Vec<u8>, tag: u8, key: &'a [u8], value: Value<'a>, levels: u32) {
        if matches!(value, Value::Array(_) | Value::Map(_)) {
            return self.put_nested(out, tag, key, value, levels);
        }
        let value = Scalar::new(&value, self.value_length);
        wire::put_varint_field(out, tag, (field_len(key.len()) + field_len(value.len())) as u64);
        wire::put_bytes_field(out, common::KEY_VALUE_KEY, key);
        value.put(out, common::KEY_VALUE_VALUE);
    }

    fn put_nested(&self, out: &mut Vec<u8>, tag: u8, key: &[u8], value: Value<'a>, levels: u32) {
        let key_value = wire::open(out, tag, key.len() + expected_len(&value));
        wire::put_bytes_field(out, common::KEY_VALUE_KEY, key);
        self.put_value(out, common::KEY_VALUE_VALUE, value, levels);
        wire::close(out, key_value);
    }

    /// Appends an `AnyValue` as the field `tag`.
    fn put_value(&self, out: &mut Vec<u8>, tag: u8, value: Value<'a>, levels: u32) {
        let expected_bytes = expected_len(&value);
        match value {
            Value::Array(values) if levels >= 2 => {
                let any = wire::open(out, tag, expected_bytes);
                let array = wire::open(out, common::ARRAY_VALUE, expected_bytes);
                for value in values {
                    self.put_value(out, common::ARRAY_VALUE_VALUES, value, levels - 2);
                }
                wire::close(out, array);
                wire::close(out, any);
            }
            Value::Map(items) if levels >= 3 => {
                let any = wire::open(out, tag, expected_bytes);
                let map = wire::open(out, common::KVLIST_VALUE, expected_bytes);
                for Attribute { key, value } in items.attributes() {
                    self.put(out, common::KEY_VALUE_LIST_VALUES, self.text(key), value, levels - 3);
                }
                wire::close(out, map);
                wire::close(out, any);
            }
            scalar => Scalar::new(&scalar, self.value_length).put(out, tag),
        }
    }
}

/// A guess at the encoded size of an array or map.
fn expected_len(value: &Value<'_>) -> usize {
    match value {
        Value::Array(values) => values.as_bytes().len(),
        Value::Map(items) => items.as_bytes().len(),
        _ => 0,
    }
}
