//! The wire form of SLS's `LogGroup` (proto2), and nothing of what goes into it. Fields of a message stand in ascending
//! order and required ones are always written, as every official encoder does. Appends only; never fails.

use crate::encode::wire::{self, FIXED32, LEN, Part, Room, SHORT_BYTES, VARINT, field_len, tag};

mod group {
    use super::{LEN, tag};

    /// The record itself: what each field in a chunk begins with.
    pub(super) const LOGS: u8 = tag(1, LEN);
    pub(super) const TOPIC: u8 = tag(3, LEN);
    pub(super) const SOURCE: u8 = tag(4, LEN);
    pub(super) const LOG_TAGS: u8 = tag(6, LEN);
}

mod log {
    use super::{FIXED32, LEN, VARINT, tag};

    pub(super) const TIME: u8 = tag(1, VARINT);
    pub(super) const CONTENTS: u8 = tag(2, LEN);
    pub(super) const TIME_NS: u8 = tag(4, FIXED32);
}

/// Of `Content` and of `LogTag`.
const KEY: u8 = tag(1, LEN);
const VALUE: u8 = tag(2, LEN);

/// Bytes that a content adds to its key and value, at most.
pub const CONTENT_OVERHEAD_BYTES: usize = 18;

/// Begins a log; contents follow, then [`close_log`].
#[inline]
pub fn open_log(out: &mut Vec<u8>, unix_seconds: u32, expected_bytes: usize) -> Part {
    let log = wire::open(out, group::LOGS, expected_bytes);
    wire::put_varint_field(out, log::TIME, u64::from(unix_seconds));
    log
}

/// Ends a log, with the nanoseconds of its second if they are to be told.
#[inline]
pub fn close_log(out: &mut Vec<u8>, log: Part, nanoseconds: Option<u32>) {
    if let Some(nanoseconds) = nanoseconds {
        let [a, b, c, d] = nanoseconds.to_le_bytes();
        out.extend_from_slice(&[log::TIME_NS, a, b, c, d]);
    }
    wire::close(out, log);
}

/// With a short key, the longest value of a content whose lengths take one byte each.
const SHORT_VALUE_BYTES: usize = 0x7f - 4 - SHORT_BYTES;

/// Appends a content. Short ones, which most are, go through a room.
#[inline]
pub fn put_content(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    if key.len() > SHORT_BYTES || value.len() > SHORT_VALUE_BYTES {
        return put_pair(out, log::CONTENTS, key, value);
    }
    let mut room = Room::<{ 6 + 2 * SHORT_BYTES }>::new(out);
    room.put([log::CONTENTS, (4 + key.len() + value.len()) as u8, KEY, key.len() as u8]);
    room.put_short(key);
    room.put([VALUE, value.len() as u8]);
    if value.len() <= SHORT_BYTES {
        room.put_short(value);
        room.end();
    } else {
        room.end();
        out.extend_from_slice(value);
    }
}

/// A content whose value is being written.
#[derive(Debug)]
#[must_use = "an open content needs close_content()"]
pub struct Content {
    content: Part,
    value: Part,
}

/// Begins a content; its value's text follows, then [`close_content`].
#[inline]
pub fn open_content(out: &mut Vec<u8>, key: &[u8], expected_bytes: usize) -> Content {
    let content = wire::open(out, log::CONTENTS, field_len(key.len()) + field_len(expected_bytes));
    wire::put_bytes_field(out, KEY, key);
    Content { content, value: wire::open(out, VALUE, expected_bytes) }
}

/// Ends a content: all bytes since it was opened are its value.
#[inline]
pub fn close_content(out: &mut Vec<u8>, content: Content) {
    wire::close(out, content.value);
    wire::close(out, content.content);
}

/// Appends topic and source; an absent one is not the same as an empty one.
pub fn put_topic_and_source(out: &mut Vec<u8>, topic: Option<&str>, source: Option<&str>) {
    for (tag, text) in [(group::TOPIC, topic), (group::SOURCE, source)] {
        if let Some(text) = text {
            wire::put_bytes_field(out, tag, text.as_bytes());
        }
    }
}

/// Appends a tag.
pub fn put_tag(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_pair(out, group::LOG_TAGS, key, value);
}

/// Bytes of a tag.
pub const fn tag_len(key_bytes: usize, value_bytes: usize) -> usize {
    field_len(field_len(key_bytes) + field_len(value_bytes))
}

#[inline(never)]
fn put_pair(out: &mut Vec<u8>, tag: u8, key: &[u8], value: &[u8]) {
    wire::put_varint_field(out, tag, (field_len(key.len()) + field_len(value.len())) as u64);
    wire::put_bytes_field(out, KEY, key);
    wire::put_bytes_field(out, VALUE, value);
}
