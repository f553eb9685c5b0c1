//! W3C Trace Context (level 2) and Baggage: parse and format, nothing else. Allocates only for returned text.
//!
//! Header values are any bytes a peer sends. What the specifications call invalid yields nothing: a traceparent that
//! starts a new trace, a tracestate that is empty, a baggage member that is left out. Nothing here panics, and what
//! is formatted is always valid, whatever went in.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};

use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, SpanId, TraceId, hex_into, unhex};

/// Characters of a `traceparent` of version 00.
pub const TRACEPARENT_BYTES: usize = 55;
/// Members of a tracestate; with more it is invalid as a whole.
pub const MAX_TRACESTATE_MEMBERS: usize = 32;
/// Characters of a tracestate that are propagated: what the specification asks for at least. It travels in every
/// record, so a peer shall not choose how large records are.
pub const MAX_TRACESTATE_BYTES: usize = 512;
/// Members larger than this are the first to go when a tracestate is too long.
const LARGE_MEMBER_BYTES: usize = 128;
/// Members of a baggage that are kept; the specification asks for 64 at least.
pub const MAX_BAGGAGE_MEMBERS: usize = 180;
/// Bytes of a baggage (all of its headers) that are kept, as the specification asks for at least.
pub const MAX_BAGGAGE_BYTES: usize = 8192;

/// Reads a `traceparent` value, optional whitespace around it allowed: trace, parent span, and the flags that this
/// level knows (sampled, random). `None`: start a new trace, and ignore any tracestate. Several traceparent headers
/// are invalid too; that is for the caller to see.
pub fn parse_traceparent(value: &[u8]) -> Option<(TraceId, SpanId, u8)> {
    let (value, rest) = trim(value).split_first_chunk::<TRACEPARENT_BYTES>()?;
    if value[2] != b'-' || value[35] != b'-' || value[52] != b'-' {
        return None;
    }
    let mut version = [0];
    let mut flags = [0];
    if !unhex(&value[..2], &mut version) || !unhex(&value[53..], &mut flags) {
        return None;
    }
    match version[0] {
        0xff => return None,
        0 if !rest.is_empty() => return None,
        // A later version may be longer, after another dash.
        _ if !matches!(rest.first(), None | Some(b'-')) => return None,
        _ => {}
    }
    let trace_id = TraceId::from_hex(&value[3..35])?;
    let span_id = SpanId::from_hex(&value[36..52])?;
    Some((trace_id, span_id, flags[0] & (FLAG_SAMPLED | FLAG_RANDOM)))
}

/// A `traceparent` value of version 00. Flags that this level does not know are sent as zero.
pub fn format_traceparent(trace_id: TraceId, span_id: SpanId, flags: u8) -> [u8; TRACEPARENT_BYTES] {
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex_into(&trace_id.0, &mut out[3..35]);
    hex_into(&span_id.0, &mut out[36..52]);
    hex_into(&[flags & (FLAG_SAMPLED | FLAG_RANDOM)], &mut out[53..]);
    out
}

/// Combines the values of all `tracestate` headers, in order, into one without whitespace and empty members. The
/// first of several members with one key stays. Empty when there is none, when any member is invalid, or when there
/// are more than [`MAX_TRACESTATE_MEMBERS`]. What is longer than [`MAX_TRACESTATE_BYTES`] loses whole members: large
/// ones first, each time the rightmost.
pub fn parse_tracestate<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut members: Vec<(&str, &str)> = Vec::new();
    let mut count = 0;
    for member in values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let member = trim(member);
        if member.is_empty() {
            continue;
        }
        count += 1;
        let most = MAX_TRACESTATE_MEMBERS + usize::from(cfg!(seeded_bug = "one_member_more"));
        let Some((key, value)) = tracestate_member(member).filter(|_| count <= most) else {
            return String::new();
        };
        if members.iter().all(|(other, _)| *other != key) {
            members.push((key, value));
        }
    }
    let size = |(key, value): &(&str, &str)| key.len() + 1 + value.len();
    let mut bytes: usize = members.iter().map(|member| size(member) + 1).sum();
    while bytes > MAX_TRACESTATE_BYTES + 1 {
        let large = members.iter().rposition(|member| size(member) > LARGE_MEMBER_BYTES);
        bytes -= size(&members.remove(large.unwrap_or(members.len() - 1))) + 1;
    }
    let mut out = String::with_capacity(bytes);
    for (key, value) in members {
        if !out.is_empty() {
            out.push(',');
        }
        out.extend([key, "=", value]);
    }
    out
}

/// A member without surrounding whitespace: `key=value`.
fn tracestate_member(member: &[u8]) -> Option<(&str, &str)> {
    let (key, value) = std::str::from_utf8(member).ok()?.split_once('=')?;
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let key_is_valid = key.len() <= 256
        && key.bytes().next().is_some_and(lower)
        && key.bytes().all(|byte| lower(byte) || b"_-*/@".contains(&byte));
    // Commas separate members, and trailing spaces are trimmed: neither is in here.
    let value_is_valid = (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=');
    (key_is_valid && value_is_valid).then_some((key, value))
}

/// One member of a baggage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaggageEntry {
    /// A token (RFC 7230).
    pub key: String,
    /// Any text, decoded.
    pub value: String,
    /// `;key` and `;key=value` as they came, without whitespace: nothing is known of their meaning.
    properties: String,
}

impl BaggageEntry {
    /// An entry without properties.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.into(), properties: String::new() }
    }
}

/// Reads the values of all `baggage` headers, in order. Invalid members are left out, and all that follows once
/// [`MAX_BAGGAGE_MEMBERS`] or [`MAX_BAGGAGE_BYTES`] are reached. A key can occur more than once.
pub fn parse_baggage<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Vec<BaggageEntry> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for member in values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        bytes += member.len() + 1;
        if bytes > MAX_BAGGAGE_BYTES + 1 || entries.len() == MAX_BAGGAGE_MEMBERS {
            break;
        }
        entries.extend(baggage_member(member));
    }
    entries
}

/// The values of all `baggage` headers as one, for passing on what is not ours to understand: members as they came, in
/// order, but for those that no header may hold, up to [`MAX_BAGGAGE_MEMBERS`] and [`MAX_BAGGAGE_BYTES`].
pub fn forward_baggage<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut out = String::new();
    let mut count = 0;
    for member in values.into_iter().flat_map(|value| value.split(|byte| *byte == b',')) {
        let printable = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        let Some(member) =
            std::str::from_utf8(trim(member)).ok().filter(|text| text.as_bytes().iter().all(printable))
        else {
            continue;
        };
        if member.is_empty() {
            continue;
        }
        let separator = if out.is_empty() { "" } else { "," };
        if count == MAX_BAGGAGE_MEMBERS || out.len() + separator.len() + member.len() > MAX_BAGGAGE_BYTES {
            break;
        }
        count += 1;
        out.extend([separator, member]);
    }
    out
}

/// One `baggage` value. Values are percent-encoded where needed. Entries whose key is no token are left out, and
/// those that would exceed [`MAX_BAGGAGE_MEMBERS`] or [`MAX_BAGGAGE_BYTES`]. Empty for nothing.
pub fn format_baggage(entries: &[BaggageEntry]) -> String {
    format_counted(entries).0
}

/// A `baggage` value with more entries, which replace those of the same key (with their properties) and come last, as
/// far as they fit; and how many do not, or have a key that is no token.
pub fn merge_baggage(value: &str, entries: impl IntoIterator<Item = BaggageEntry>) -> (String, usize) {
    let mut merged = parse_baggage([value.as_bytes()]);
    for entry in entries {
        merged.retain(|known| known.key != entry.key);
        merged.push(entry);
    }
    format_counted(&merged)
}

/// The value, and how many entries are not in it.
fn format_counted(entries: &[BaggageEntry]) -> (String, usize) {
    /// What a value cannot hold as it is.
    const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');
    let mut out = String::new();
    let mut members = 0;
    for entry in entries.iter().filter(|entry| is_token(&entry.key)) {
        if members == MAX_BAGGAGE_MEMBERS {
            break;
        }
        let before = out.len();
        if before > 0 {
            out.push(',');
        }
        out.extend([&entry.key, "="]);
        out.extend(utf8_percent_encode(&entry.value, ENCODED));
        out.push_str(&entry.properties);
        if out.len() > MAX_BAGGAGE_BYTES {
            out.truncate(before);
        } else {
            members += 1;
        }
    }
    (out, entries.len() - members)
}

fn baggage_member(member: &[u8]) -> Option<BaggageEntry> {
    let mut parts = std::str::from_utf8(member).ok()?.split(';');
    let (key, value) = baggage_pair(parts.next()?)?;
    let value: Cow<'_, str> = percent_decode(value?.as_bytes()).decode_utf8_lossy();
    let mut entry = BaggageEntry::new(key, value);
    for property in parts {
        let (key, value) = baggage_pair(property)?;
        entry.properties.extend([";", key]);
        if let Some(value) = value {
            entry.properties.extend(["=", value]);
        }
    }
    Some(entry)
}

/// `key` or `key=value`, whitespace around each allowed; the value still encoded.
fn baggage_pair(text: &str) -> Option<(&str, Option<&str>)> {
    const WHITESPACE: [char; 2] = [' ', '\t'];
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.trim_matches(WHITESPACE))),
        None => (text, None),
    };
    let key = key.trim_matches(WHITESPACE);
    let octets =
        |value: &str| value.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
    (is_token(key) && value.is_none_or(octets)).then_some((key, value))
}

/// RFC 7230's token.
fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

/// Without HTTP's optional whitespace around.
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
