//! Values as text, for a store whose columns are text. Alone, a text stands as it is, numbers and booleans in JSON's form,
//! bytes as lower-case hexadecimal, lists and maps as compact JSON. Inside JSON, numbers that JSON does not know are the
//! strings `NaN`, `Infinity`, `-Infinity` (alone: the same words), and what nests deeper than values may is `null`.
//! Appends only; recursion is bounded by [`MAX_DEPTH`].

use std::fmt::Arguments;
use std::io::Write;

use crate::attrs::{Attribute, MAX_DEPTH, Text, Value};
use crate::config::ResourceValue;
use crate::encode::otlp::cut_chars;
use crate::ids::hex_into;
use crate::intern::Interner;

/// Writes values that recording threads gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'a> {
    pub(super) strings: &'a Interner,
    /// Characters of a text, bytes of a bytes value; `u32::MAX` is no limit.
    pub(super) value_length: u32,
}

impl<'a> Texts<'a> {
    #[inline]
    pub(super) fn resolve(&self, text: Text<'a>) -> &'a [u8] {
        match text {
            Text::Id(id) => self.strings.resolve(id),
            Text::Inline(bytes) => bytes,
        }
    }

    #[inline]
    pub(super) fn cut(&self, text: &'a [u8]) -> &'a [u8] {
        cut_chars(text, self.value_length)
    }

    /// A value that stands alone.
    pub(super) fn value(&self, out: &mut Vec<u8>, value: Value<'a>) {
        match value {
            Value::Empty => {}
            Value::Str(text) => out.extend_from_slice(self.cut(text)),
            Value::Bytes(bytes) => self.hex(out, bytes),
            Value::Double(number) if !number.is_finite() => out.extend_from_slice(not_finite(number)),
            other => self.json(out, other, 0),
        }
    }

    /// A JSON object of the attributes.
    pub(super) fn object(
        &self,
        out: &mut Vec<u8>,
        attributes: impl Iterator<Item = Attribute<'a>>,
        depth: usize,
    ) {
        out.push(b'{');
        for (index, attribute) in attributes.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            put_json_text(out, self.resolve(attribute.key));
            out.push(b':');
            self.json(out, attribute.value, depth);
        }
        out.push(b'}');
    }

    fn json(&self, out: &mut Vec<u8>, value: Value<'a>, depth: usize) {
        match value {
            Value::Empty => out.extend_from_slice(b"null"),
            Value::Bool(truth) => put_bool(out, truth),
            Value::Int(number) => put_int(out, number),
            Value::Double(number) => put_json_double(out, number),
            Value::Str(text) => put_json_text(out, self.cut(text)),
            Value::Bytes(bytes) => {
                out.push(b'"');
                self.hex(out, bytes);
                out.push(b'"');
            }
            Value::Array(_) | Value::Map(_) if depth == MAX_DEPTH => out.extend_from_slice(b"null"),
            Value::Array(values) => {
                out.push(b'[');
                for (index, value) in values.enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    self.json(out, value, depth + 1);
                }
                out.push(b']');
            }
            Value::Map(items) => self.object(out, items.attributes(), depth + 1),
        }
    }

    fn hex(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(self.value_length as usize)];
        let start = out.len();
        out.resize(start + 2 * bytes.len(), 0);
        hex_into(bytes, &mut out[start..]);
    }
}

/// A resource attribute's value that stands alone.
pub(super) fn put_resource_value(out: &mut Vec<u8>, value: &ResourceValue) {
    match value {
        ResourceValue::Str(text) => out.extend_from_slice(text.as_bytes()),
        ResourceValue::Double(number) if !number.is_finite() => out.extend_from_slice(not_finite(*number)),
        other => put_resource_json(out, other, 0),
    }
}

/// Resource attributes as a JSON object.
pub(super) fn put_resource_object<'a>(
    out: &mut Vec<u8>,
    attributes: impl Iterator<Item = &'a (String, ResourceValue)>,
) {
    out.push(b'{');
    for (index, (key, value)) in attributes.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        put_json_text(out, key.as_bytes());
        out.push(b':');
        put_resource_json(out, value, 0);
    }
    out.push(b'}');
}

fn put_resource_json(out: &mut Vec<u8>, value: &ResourceValue, depth: usize) {
    match value {
        ResourceValue::Str(text) => put_json_text(out, text.as_bytes()),
        ResourceValue::Int(number) => put_int(out, *number),
        ResourceValue::Double(number) => put_json_double(out, *number),
        ResourceValue::Bool(truth) => put_bool(out, *truth),
        ResourceValue::Array(_) if depth == MAX_DEPTH => out.extend_from_slice(b"null"),
        ResourceValue::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                put_resource_json(out, value, depth + 1);
            }
            out.push(b']');
        }
    }
}

fn put_bool(out: &mut Vec<u8>, truth: bool) {
    out.extend_from_slice(if truth { b"true" } else { b"false" });
}

/// Room for the text of a number; `std`'s formatting costs several times as much.
pub(super) type Digits = [u8; 24];

fn put_int(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(int(number, &mut [0; _]));
}

/// An integer's text.
#[inline]
pub(super) fn int(number: i64, room: &mut Digits) -> &[u8] {
    let at = put_digits(number.unsigned_abs(), room, room.len());
    signed(number < 0, room, at)
}

/// A number's text, where it has six decimals at most and is not tiny or huge, as most measured values.
#[inline]
pub(super) fn decimal(number: f64, room: &mut Digits) -> Option<&[u8]> {
    let absolute = number.abs();
    if !(1e-4..1e9).contains(&absolute) {
        return None;
    }
    let millionths = (absolute * 1e6 + 0.5) as u64;
    // Decimals of 15 digits at most are different doubles, so the one that reads back as this double is the shortest.
    if millionths as f64 / 1e6 != absolute {
        return None;
    }
    let (whole, mut fraction, mut end) = (millionths / 1_000_000, millionths % 1_000_000, room.len());
    let mut decimals = 6;
    while decimals > 1 && fraction.is_multiple_of(10) {
        fraction /= 10;
        decimals -= 1;
    }
    for _ in 0..decimals {
        end -= 1;
        room[end] = b'0' + (fraction % 10) as u8;
        fraction /= 10;
    }
    room[end - 1] = b'.';
    let at = put_digits(whole, room, end - 1);
    Some(signed(number < 0.0, room, at))
}

/// Ends before `end`. Returns where it begins.
#[inline]
fn put_digits(mut rest: u64, room: &mut Digits, mut end: usize) -> usize {
    loop {
        end -= 1;
        room[end] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return end;
        }
    }
}

#[inline]
fn signed(is_negative: bool, room: &mut Digits, at: usize) -> &[u8] {
    let at = at - usize::from(is_negative);
    if is_negative {
        room[at] = b'-';
    }
    &room[at..]
}

/// The shortest digits that read back as the same number, with a point or an exponent.
fn put_json_double(out: &mut Vec<u8>, number: f64) {
    if let Some(text) = decimal(number, &mut [0; _]) {
        out.extend_from_slice(text);
    } else if number.is_finite() {
        put(out, format_args!("{number:?}"));
    } else {
        put_json_text(out, not_finite(number));
    }
}

fn not_finite(number: f64) -> &'static [u8] {
    if number.is_nan() {
        b"NaN"
    } else if number > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}

/// A JSON string; only what JSON demands is escaped, so that the text stays searchable.
fn put_json_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            byte => put(out, format_args!("\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn put(out: &mut Vec<u8>, text: Arguments<'_>) {
    // Writing to a Vec does not fail.
    let _ = out.write_fmt(text);
}
