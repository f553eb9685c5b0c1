//! Protobuf wire format: varints, tags, length-delimited parts. Knows no schema. Everything appends to a `Vec<u8>` and
//! allocates only when that grows; nothing here fails or panics. What is written is canonical: shortest varints.
//!
//! Where a size is known in closed form the caller writes it first. Where it is not, [`open`] leaves room for the
//! length that the caller expects and [`close`] fills it in, moving the body by a byte or two when the guess was wrong;
//! a pass that only computes sizes would read every item twice. Small pieces in a row go through a [`Room`], which asks
//! for capacity once for all of them.

pub use crate::room::{Room, SHORT_BYTES};

/// Wire type of int32, int64, uint32, bool and enum fields.
pub const VARINT: u8 = 0;
/// Wire type of fixed64 and double fields.
pub const FIXED64: u8 = 1;
/// Wire type of strings, bytes and messages.
pub const LEN: u8 = 2;
/// Wire type of fixed32 fields.
pub const FIXED32: u8 = 5;

/// The tag of a field up to 15, which is one byte.
pub const fn tag(field: u8, wire_type: u8) -> u8 {
    assert!(field >= 1 && field <= 15);
    field << 3 | wire_type
}

/// The tag of a field from 16 to 2047, which is two bytes.
pub const fn wide_tag(field: u16, wire_type: u8) -> [u8; 2] {
    assert!(field >= 16 && field <= 2047);
    let tag = field << 3 | wire_type as u16;
    [tag as u8 | 0x80, (tag >> 7) as u8]
}

/// Bytes that a varint takes, 1 to 10.
#[inline]
pub const fn varint_len(value: u64) -> usize {
    // 9/64 is just above 1/7: exact for all 64 bit lengths.
    ((value | 1).ilog2() as usize * 9 + 73) / 64
}

/// Bytes of a length-delimited field with a one-byte tag.
#[inline]
pub const fn field_len(body_bytes: usize) -> usize {
    1 + varint_len(body_bytes as u64) + body_bytes
}

/// A varint's bytes, the first one lowest, and how many they are.
#[inline]
pub const fn varint(value: u64) -> (u128, usize) {
    if value < 1 << 14 {
        let is_long = (value >= 1 << 7) as u64;
        return ((value & 0x7f | value >> 7 << 8 | is_long << 7) as u128, 1 + is_long as usize);
    }
    if value >= 1 << 56 {
        return long_varint(value);
    }
    // Groups of seven bits spread to bytes without a loop: halves, quarters, eighths.
    let x = (value & 0x0fff_ffff) | (value & 0x00ff_ffff_f000_0000) << 4;
    let x = (x & 0x0000_3fff_0000_3fff) | (x & 0x0fff_c000_0fff_c000) << 2;
    let x = (x & 0x007f_007f_007f_007f) | (x & 0x3f80_3f80_3f80_3f80) << 1;
    let len = varint_len(value);
    let more = 0x8080_8080_8080_8080 & ((1 << (8 * (len - 1))) - 1);
    ((x | more) as u128, len)
}

/// [`varint`] for what mostly takes one byte: a length.
#[inline(always)]
pub const fn mostly_short_varint(value: u64) -> (u128, usize) {
    if value < 1 << 7 { (value as u128, 1) } else { varint(value) }
}

#[cold]
const fn long_varint(value: u64) -> (u128, usize) {
    let (mut bytes, mut len, mut rest) = (0, 0, value);
    while rest >= 0x80 {
        bytes |= ((rest as u8 | 0x80) as u128) << (8 * len);
        rest >>= 7;
        len += 1;
    }
    (bytes | (rest as u128) << (8 * len), len + 1)
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    let (bytes, len) = varint(value);
    put_prefix(out, &bytes.to_le_bytes(), len);
}

/// Appends the first `len` bytes of an array: one copy of constant size.
#[inline]
pub fn put_prefix<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N], len: usize) {
    let mut room = Room::<N>::new(out);
    room.put_prefix(*bytes, len);
    room.end();
}

/// Appends bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() > SHORT_BYTES {
        return out.extend_from_slice(bytes);
    }
    let mut room = Room::<SHORT_BYTES>::new(out);
    room.put_short(bytes);
    room.end();
}

/// [`open`] within a room, of which it takes up [`OPEN_BYTES`].
#[inline(always)]
pub fn open_in<const N: usize>(room: &mut Room<'_, N>, tag: u8, expected_bytes: usize) -> Part {
    let width = varint_len(expected_bytes as u64);
    let mut head = [0; OPEN_BYTES];
    head[0] = tag;
    room.put_prefix(head, 1 + width);
    Part { body: room.offset(), width }
}

/// Most bytes of a one-byte tag and a length.
pub const OPEN_BYTES: usize = 11;

/// Appends a one-byte tag and a varint.
#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, tag: u8, value: u64) {
    let in_one_byte = if cfg!(seeded_bug = "short_varint") { 1 << 8 } else { 1 << 7 };
    if value < in_one_byte {
        out.extend_from_slice(&[tag, value as u8]);
    } else {
        out.push(tag);
        put_varint(out, value);
    }
}

/// Appends a one-byte tag, a length and that many bytes: short ones, which most are, through a room.
#[inline]
pub fn put_bytes_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if bytes.len() <= SHORT_BYTES {
        let mut room = Room::<{ 2 + SHORT_BYTES }>::new(out);
        room.put([tag, bytes.len() as u8]);
        room.put_short(bytes);
        return room.end();
    }
    put_varint_field(out, tag, bytes.len() as u64);
    put_bytes(out, bytes);
}

/// Appends a field unless it is empty, as protobuf does with default values.
#[inline]
pub fn put_optional_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_bytes_field(out, tag, bytes);
    }
}

/// Appends up to seven fields of wire type [`FIXED64`] with one-byte tags.
#[inline(always)]
pub fn put_fixed64_fields<const N: usize>(out: &mut Vec<u8>, fields: [(u8, u64); N]) {
    const { assert!(9 * N <= 64) };
    let mut room = Room::<64>::new(out);
    for (tag, value) in fields {
        room.put([tag]);
        room.put(value.to_le_bytes());
    }
    room.end();
}

/// Appends a packed field of 64-bit words (fixed64, or the bits of doubles) unless there are none.
#[inline]
pub fn put_packed64_field(out: &mut Vec<u8>, tag: u8, words: impl ExactSizeIterator<Item = u64>) {
    if words.len() == 0 {
        return;
    }
    let bytes = 8 * words.len();
    put_varint_field(out, tag, bytes as u64);
    let start = out.len();
    out.resize(start + bytes, 0);
    for (room, word) in out[start..].chunks_exact_mut(8).zip(words) {
        room.copy_from_slice(&word.to_le_bytes());
    }
}

/// A length-delimited field whose length is not known yet; [`close`] fills it in.
#[derive(Debug)]
#[must_use = "an open part needs close()"]
pub struct Part {
    body: usize,
    width: usize,
}

/// Appends a one-byte tag and room for the length of a body of about `expected_bytes`.
#[inline]
pub fn open(out: &mut Vec<u8>, tag: u8, expected_bytes: usize) -> Part {
    let mut room = Room::<OPEN_BYTES>::new(out);
    let part = open_in(&mut room, tag, expected_bytes);
    room.end();
    part
}

/// Ends what [`open`] began: all bytes since then are the body.
#[inline]
pub fn close(out: &mut Vec<u8>, part: Part) {
    let len = out.len() - part.body;
    let room = &mut out[part.body - part.width..part.body];
    match room {
        [only] if len < 1 << 7 => *only = len as u8,
        [low, high] if (1 << 7..1 << 14).contains(&len) => {
            (*low, *high) = (len as u8 | 0x80, (len >> 7) as u8)
        }
        _ => close_long(out, part),
    }
}

fn close_long(out: &mut Vec<u8>, Part { body, width }: Part) {
    let end = out.len();
    let mut rest = end - body;
    let needed = varint_len(rest as u64);
    let target = body - width + needed;
    if needed > width {
        out.resize(end + needed - width, 0);
    }
    out.copy_within(body..end, target);
    out.truncate(target + end - body);
    for byte in &mut out[body - width..target] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[target - 1] &= 0x7f;
}
