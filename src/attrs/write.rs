//! Writing items. Appends to a `Vec<u8>`, and allocates only when that grows.

use super::{Link, Text, Value, tag};
use crate::record::{Number, StrId};
use crate::room::{Room, SHORT_BYTES};

#[inline]
fn put_word(out: &mut Vec<u8>, tag: u8, id: StrId) {
    debug_assert!(id.0 < 1 << 24);
    out.extend_from_slice(&(u32::from(tag) | id.0 << 8).to_ne_bytes());
}

/// The word that an attribute item with an interned key begins with; for INT and DOUBLE, eight bytes follow.
#[inline]
pub fn item_word(tag: u8, key: StrId) -> [u8; 4] {
    debug_assert!(key != StrId::NONE && key.0 < 1 << 24);
    (u32::from(tag) | key.0 << 8).to_ne_bytes()
}

/// The whole attribute item of a number with an interned key.
#[inline]
pub fn number_item(key: StrId, value: Number) -> [u8; NUMBER_ITEM_BYTES] {
    let (is_double, bits) = value.to_bits();
    joined(item_word(if is_double != 0 { tag::DOUBLE } else { tag::INT }, key), bits.to_ne_bytes())
}

/// Of a [`number_item`].
pub const NUMBER_ITEM_BYTES: usize = 12;

#[inline]
fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_ne_bytes());
}

/// Callers cap single values far below 4 GiB; saturating keeps the format sound if one does not.
#[inline]
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[inline]
fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = len_u32(bytes.len()).to_ne_bytes();
    if bytes.len() <= SHORT_BYTES {
        put_short(out, len, bytes);
    } else {
        out.extend_from_slice(&len);
        out.extend_from_slice(&bytes[..u32::from_ne_bytes(len) as usize]);
    }
}

/// Appends a few bytes and a short text, under one check of capacity.
#[inline(always)]
fn put_short<const HEAD: usize>(out: &mut Vec<u8>, head: [u8; HEAD], bytes: &[u8]) {
    const ROOM: usize = 16 + SHORT_BYTES;
    const { assert!(HEAD + SHORT_BYTES <= ROOM) }
    let mut room = Room::<ROOM>::new(out);
    room.put(head);
    room.put_short(bytes);
    room.end();
}

/// Two pieces as one.
#[inline(always)]
fn joined<const A: usize, const B: usize, const N: usize>(a: [u8; A], b: [u8; B]) -> [u8; N] {
    const { assert!(A + B == N) }
    let mut all = [0; N];
    all[..A].copy_from_slice(&a);
    all[A..].copy_from_slice(&b);
    all
}

/// Copies bytes to room of the same length; for at most [`SHORT_BYTES`].
#[inline(always)]
fn copy_short(room: &mut [u8], bytes: &[u8]) {
    #[inline(always)]
    fn ends<const N: usize>(room: &mut [u8], bytes: &[u8]) {
        if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
            room[..N].copy_from_slice(first);
            room[bytes.len() - N..].copy_from_slice(last);
        }
    }
    match bytes.len() {
        8..=16 => ends::<8>(room, bytes),
        17..=SHORT_BYTES => ends::<16>(room, bytes),
        4..=7 => ends::<4>(room, bytes),
        len @ 1..=3 => {
            for at in [0, len / 2, len - 1] {
                room[at] = bytes[at];
            }
        }
        _ => room.copy_from_slice(bytes),
    }
}

#[inline]
fn put_named(out: &mut Vec<u8>, tag: u8, name: Text<'_>) {
    match name {
        Text::Id(id) => put_word(out, tag, id),
        Text::Inline(bytes) => {
            put_word(out, tag, StrId::NONE);
            put_text(out, bytes);
        }
    }
}

/// An open length-delimited part; [`close`] fills its length in.
#[derive(Debug)]
#[must_use = "an open part needs close()"]
pub struct Open(usize);

/// Ends what `open_*` began.
pub fn close(out: &mut [u8], open: Open) {
    let len = len_u32(out.len() - open.0);
    out[open.0 - 4..open.0].copy_from_slice(&len.to_ne_bytes());
}

fn open(out: &mut Vec<u8>) -> Open {
    put_u32(out, 0);
    Open(out.len())
}

/// Appends a whole attribute of a scalar, text or already encoded value. Numbers and short texts under interned keys,
/// which nearly all are, take one check of capacity and their stores: no call.
#[inline(always)]
pub fn put_attribute(out: &mut Vec<u8>, key: Text<'_>, value: Value<'_>) {
    match (key, value) {
        (Text::Id(key), Value::Int(value)) => put_number(out, item_word(tag::INT, key), value.to_ne_bytes()),
        (Text::Id(key), Value::Double(value)) => {
            put_number(out, item_word(tag::DOUBLE, key), value.to_bits().to_ne_bytes());
        }
        (Text::Id(key), Value::Str(text)) if text.len() <= SHORT_BYTES => {
            let len = len_u32(text.len()).to_ne_bytes();
            put_short(out, joined::<4, 4, 8>(item_word(tag::STR, key), len), text);
        }
        _ => put_any_attribute(out, key, value),
    }
}

#[inline(always)]
fn put_number(out: &mut Vec<u8>, word: [u8; 4], bits: [u8; 8]) {
    let mut room = Room::<NUMBER_ITEM_BYTES>::new(out);
    room.put(word);
    room.put(bits);
    room.end();
}

#[inline(never)]
fn put_any_attribute(out: &mut Vec<u8>, key: Text<'_>, value: Value<'_>) {
    put_named(out, value.tag(), key);
    put_value_body(out, value);
}

/// Begins an attribute whose value is an array; elements follow with [`put_element`] and [`open_element`].
pub fn open_array(out: &mut Vec<u8>, key: Text<'_>) -> Open {
    put_named(out, tag::ARRAY, key);
    open(out)
}

/// Begins an attribute whose value is a map; entries follow with [`put_attribute`], [`open_array`] or [`open_map`].
pub fn open_map(out: &mut Vec<u8>, key: Text<'_>) -> Open {
    put_named(out, tag::MAP, key);
    open(out)
}

/// Appends one element of an open array.
pub fn put_element(out: &mut Vec<u8>, value: Value<'_>) {
    out.push(value.tag());
    put_value_body(out, value);
}

/// Begins an array (`tag::ARRAY`) or a map (`tag::MAP`) as an element of an open array.
pub fn open_element(out: &mut Vec<u8>, tag: u8) -> Open {
    debug_assert!(tag == tag::ARRAY || tag == tag::MAP);
    out.push(tag);
    open(out)
}

#[inline]
fn put_value_body(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Empty | Value::Bool(_) => {}
        Value::Int(v) => out.extend_from_slice(&v.to_ne_bytes()),
        Value::Double(v) => out.extend_from_slice(&v.to_bits().to_ne_bytes()),
        Value::Str(bytes) | Value::Bytes(bytes) => put_text(out, bytes),
        Value::Array(values) => put_text(out, values.as_bytes()),
        Value::Map(items) => put_text(out, items.as_bytes()),
    }
}

/// Appends a NAME, TRACE_STATE, STATUS or SEVERITY_TEXT item.
pub fn put_text_item(out: &mut Vec<u8>, tag: u8, text: &[u8]) {
    debug_assert!((tag::NAME..=tag::STATUS).contains(&tag) || tag == tag::SEVERITY_TEXT);
    put_word(out, tag, StrId::NONE);
    put_text(out, text);
}

/// Appends an event; `attributes` are attribute items.
pub fn put_event(
    out: &mut Vec<u8>,
    name: Text<'_>,
    time: u64,
    time_is_unix_nano: bool,
    dropped_attributes: u32,
    attributes: &[u8],
) {
    put_named(out, tag::EVENT, name);
    out.extend_from_slice(&time.to_ne_bytes());
    put_u32(out, u32::from(time_is_unix_nano));
    put_u32(out, dropped_attributes);
    put_text(out, attributes);
}

/// Appends a link.
pub fn put_link(out: &mut Vec<u8>, link: &Link<'_>) {
    put_word(out, tag::LINK, StrId::NONE);
    out.extend_from_slice(&link.trace_id.0);
    out.extend_from_slice(&link.span_id.0);
    put_u32(out, link.flags);
    put_u32(out, link.dropped_attributes);
    put_text(out, link.trace_state);
    put_text(out, link.attributes.as_bytes());
}

/// Appends the counts of what the limits cut when recording.
pub fn put_dropped(out: &mut Vec<u8>, attributes: u32, events: u32, links: u32) {
    put_word(out, tag::DROPPED, StrId::NONE);
    put_u32(out, attributes);
    put_u32(out, events);
    put_u32(out, links);
}

/// Appends a log record's body.
#[inline(always)]
pub fn put_body(out: &mut Vec<u8>, value: Value<'_>) {
    if let Value::Str(text) = value
        && text.len() <= SHORT_BYTES
    {
        return put_short(out, body_head(text), text);
    }
    put_any_body(out, value);
}

const BODY_HEAD_BYTES: usize = 9;

#[inline(always)]
fn body_head(text: &[u8]) -> [u8; BODY_HEAD_BYTES] {
    let word = joined::<4, 1, 5>(u32::from(tag::BODY).to_ne_bytes(), [tag::STR]);
    joined(word, len_u32(text.len()).to_ne_bytes())
}

/// Bytes that [`write_short_body`] needs.
#[inline(always)]
pub fn short_body_bytes(text: &[u8]) -> usize {
    BODY_HEAD_BYTES + text.len()
}

/// [`put_body`] of a text of at most [`SHORT_BYTES`], to room of just that size.
#[inline(always)]
pub fn write_short_body(room: &mut [u8], text: &[u8]) {
    if let Some((head, body)) = room.split_first_chunk_mut() {
        *head = body_head(text);
        copy_short(body, text);
    }
}

#[inline(never)]
fn put_any_body(out: &mut Vec<u8>, value: Value<'_>) {
    put_word(out, tag::BODY, StrId::NONE);
    put_element(out, value);
}

/// Appends a log record's body that was written as one element ([`put_element`], [`open_element`]).
pub fn put_body_element(out: &mut Vec<u8>, element: &[u8]) {
    put_word(out, tag::BODY, StrId::NONE);
    out.extend_from_slice(element);
}
