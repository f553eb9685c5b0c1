//! *Items*: the variable-size part of a record, a flat sequence in native byte order that both encoders read.
//!
//! ```text
//! item   := word [text] body            word := tag (low 8 bits) | StrId << 8
//! text   := len u32, bytes              present when the tag is named (attribute, event) and StrId is 0
//! body   := by tag:
//!   EMPTY FALSE TRUE                    nothing
//!   INT DOUBLE                          8 bytes
//!   STR BYTES NAME TRACE_STATE STATUS   len u32, bytes
//!   ARRAY                               len u32, then values: tag u8, body
//!   MAP                                 len u32, then attribute items
//!   EVENT                               time u64, time_is_unix_nano u32, dropped u32, len u32, attribute items
//!   LINK                                trace id, span id, flags u32, dropped u32, trace_state text, len u32, attribute items
//!   DROPPED                             attributes u32, events u32, links u32
//!   SEVERITY_TEXT                       len u32, bytes (log records)
//!   BODY                                tag u8, body: a value, as in an array (log records)
//! ```
//!
//! Writing appends to a `Vec<u8>` and allocates only when that grows. Reading allocates nothing, and never panics or
//! reads past the end whatever the bytes are: what does not parse ends the sequence.

use crate::ids::{SpanId, TraceId};
use crate::record::StrId;

/// Values nest at most this deep (OpenTelemetry's limit for attribute values).
pub const MAX_DEPTH: usize = 64;

/// The tag of an item or of an array's value.
pub mod tag {
    #![expect(missing_docs, reason = "the module documentation lists them")]
    pub const EMPTY: u8 = 0;
    pub const FALSE: u8 = 1;
    pub const TRUE: u8 = 2;
    pub const INT: u8 = 3;
    pub const DOUBLE: u8 = 4;
    pub const STR: u8 = 5;
    pub const BYTES: u8 = 6;
    pub const ARRAY: u8 = 7;
    pub const MAP: u8 = 8;
    /// The last tag of an attribute.
    pub const LAST_VALUE: u8 = MAP;
    pub const NAME: u8 = 16;
    pub const TRACE_STATE: u8 = 17;
    pub const STATUS: u8 = 18;
    pub const EVENT: u8 = 19;
    pub const LINK: u8 = 20;
    pub const DROPPED: u8 = 21;
    pub const SEVERITY_TEXT: u8 = 22;
    pub const BODY: u8 = 23;
}

/// A name or key: interned, or inline bytes (UTF-8 when it came from a recording call).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text<'a> {
    /// Resolved by the interner. Never `StrId::NONE`.
    Id(StrId),
    /// As it is.
    Inline(&'a [u8]),
}

/// One attribute value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value (inside arrays and maps; a `None` attribute is not recorded at all).
    Empty,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A double, any bit pattern.
    Double(f64),
    /// UTF-8 text when it came from a recording call.
    Str(&'a [u8]),
    /// Arbitrary bytes.
    Bytes(&'a [u8]),
    /// A list.
    Array(Values<'a>),
    /// A nested mapping.
    Map(Items<'a>),
}

/// A key and its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attribute<'a> {
    /// The key.
    pub key: Text<'a>,
    /// The value.
    pub value: Value<'a>,
}

/// A span event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Event<'a> {
    /// Event name.
    pub name: Text<'a>,
    /// Ticks, or Unix nanoseconds.
    pub time: u64,
    /// Which of the two.
    pub time_is_unix_nano: bool,
    /// Attributes not kept when recording.
    pub dropped_attributes: u32,
    /// Its attributes.
    pub attributes: Items<'a>,
}

/// A span link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link<'a> {
    /// Linked trace.
    pub trace_id: TraceId,
    /// Linked span.
    pub span_id: SpanId,
    /// OTLP link flags: W3C flags in the low byte, bit 8 "is_remote is known", bit 9 "is remote".
    pub flags: u32,
    /// Attributes not kept when recording.
    pub dropped_attributes: u32,
    /// W3C tracestate of the linked context.
    pub trace_state: &'a [u8],
    /// Its attributes.
    pub attributes: Items<'a>,
}

/// One element of a record's payload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// An attribute.
    Attribute(Attribute<'a>),
    /// The record's name, when the header has none.
    Name(&'a [u8]),
    /// W3C tracestate of the span.
    TraceState(&'a [u8]),
    /// Status description.
    Status(&'a [u8]),
    /// A span event.
    Event(Event<'a>),
    /// A span link.
    Link(Link<'a>),
    /// What the limits cut when recording.
    Dropped {
        /// Attributes.
        attributes: u32,
        /// Events.
        events: u32,
        /// Links.
        links: u32,
    },
    /// A log record's severity as its source calls it.
    SeverityText(&'a [u8]),
    /// A log record's body.
    Body(Value<'a>),
}

// ---------------------------------------------------------------------------------------------- writing

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
    let len = len_u32(bytes.len());
    if bytes.len() > SHORT_BYTES {
        put_u32(out, len);
        return out.extend_from_slice(&bytes[..len as usize]);
    }
    // One copy of constant size, then the rest is taken back.
    let end = out.len() + 4 + bytes.len();
    out.extend_from_slice(&[0; 4 + SHORT_BYTES]);
    if let Some(room) = out.last_chunk_mut::<{ 4 + SHORT_BYTES }>() {
        room[..4].copy_from_slice(&len.to_ne_bytes());
        copy_short(&mut room[4..4 + bytes.len()], bytes);
    }
    out.truncate(end);
}

/// Names, keys and values are mostly no longer than this: two overlapping copies of constant size move them, without a
/// call.
pub const SHORT_BYTES: usize = 32;

/// Copies bytes to room of the same length; for at most [`SHORT_BYTES`].
#[inline(always)]
pub fn copy_short(room: &mut [u8], bytes: &[u8]) {
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

/// Appends a whole attribute of a scalar, text or already encoded value.
#[inline]
pub fn put_attribute(out: &mut Vec<u8>, key: Text<'_>, value: Value<'_>) {
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
        Value::Array(values) => put_text(out, values.0.rest),
        Value::Map(items) => put_text(out, items.0.rest),
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
    put_text(out, link.attributes.0.rest);
}

/// Appends the counts of what the limits cut when recording.
pub fn put_dropped(out: &mut Vec<u8>, attributes: u32, events: u32, links: u32) {
    put_word(out, tag::DROPPED, StrId::NONE);
    put_u32(out, attributes);
    put_u32(out, events);
    put_u32(out, links);
}

/// Appends a log record's body.
#[inline]
pub fn put_body(out: &mut Vec<u8>, value: Value<'_>) {
    put_word(out, tag::BODY, StrId::NONE);
    put_element(out, value);
}

/// Appends a log record's body that was written as one element ([`put_element`], [`open_element`]).
pub fn put_body_element(out: &mut Vec<u8>, element: &[u8]) {
    put_word(out, tag::BODY, StrId::NONE);
    out.extend_from_slice(element);
}

// ---------------------------------------------------------------------------------------------- reading

#[derive(Debug, Clone, Copy, PartialEq)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    #[inline]
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    #[inline]
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }

    #[inline]
    fn named(&mut self, id: StrId) -> Option<Text<'a>> {
        if id == StrId::NONE { self.text().map(Text::Inline) } else { Some(Text::Id(id)) }
    }

    #[inline]
    fn value(&mut self, tag: u8) -> Option<Value<'a>> {
        Some(match tag {
            tag::EMPTY => Value::Empty,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(i64::from_ne_bytes(self.array()?)),
            tag::DOUBLE => Value::Double(f64::from_bits(self.u64()?)),
            tag::STR => Value::Str(self.text()?),
            tag::BYTES => Value::Bytes(self.text()?),
            tag::ARRAY => Value::Array(Values(Reader { rest: self.text()? })),
            tag::MAP => Value::Map(Items::new(self.text()?)),
            _ => return None,
        })
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let word = self.u32()?;
        let (tag, id) = (word as u8, StrId(word >> 8));
        Some(match tag {
            ..=tag::LAST_VALUE => {
                let key = self.named(id)?;
                Item::Attribute(Attribute { key, value: self.value(tag)? })
            }
            tag::NAME => Item::Name(self.text()?),
            tag::TRACE_STATE => Item::TraceState(self.text()?),
            tag::STATUS => Item::Status(self.text()?),
            tag::EVENT => Item::Event(Event {
                name: self.named(id)?,
                time: self.u64()?,
                time_is_unix_nano: self.u32()? != 0,
                dropped_attributes: self.u32()?,
                attributes: Items::new(self.text()?),
            }),
            tag::LINK => Item::Link(Link {
                trace_id: TraceId(self.array()?),
                span_id: SpanId(self.array()?),
                flags: self.u32()?,
                dropped_attributes: self.u32()?,
                trace_state: self.text()?,
                attributes: Items::new(self.text()?),
            }),
            tag::DROPPED => {
                Item::Dropped { attributes: self.u32()?, events: self.u32()?, links: self.u32()? }
            }
            tag::SEVERITY_TEXT => Item::SeverityText(self.text()?),
            tag::BODY => {
                let [tag] = self.array()?;
                Item::Body(self.value(tag)?)
            }
            _ => return None,
        })
    }
}

/// The key of the attribute item that `bytes` begins with.
#[inline]
pub fn key_of(bytes: &[u8]) -> Option<Text<'_>> {
    let mut reader = Reader { rest: bytes };
    let word = reader.u32()?;
    reader.named(StrId(word >> 8))
}

/// Iterates over items. Ends at the first byte sequence that is not one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Items<'a>(Reader<'a>);

impl<'a> Items<'a> {
    /// Items in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Reader { rest: bytes })
    }

    /// What has not been read yet.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.rest
    }

    /// The attributes up to the first item that is none: all there can be inside maps, events and links.
    #[inline]
    pub fn attributes(mut self) -> impl Iterator<Item = Attribute<'a>> {
        std::iter::from_fn(move || self.next_attribute())
    }

    /// The next item if it is a body; `None`, reading nothing, if it is something else or the end.
    #[inline]
    pub fn next_body(&mut self) -> Option<Value<'a>> {
        let mut reader = self.0;
        if reader.u32()? as u8 != tag::BODY {
            return None;
        }
        let [tag] = reader.array()?;
        let value = reader.value(tag)?;
        self.0 = reader;
        Some(value)
    }

    /// The next item if it is an attribute; `None`, reading nothing, if it is something else or the end.
    #[inline]
    pub fn next_attribute(&mut self) -> Option<Attribute<'a>> {
        let mut reader = self.0;
        let word = reader.u32()?;
        let (tag, id) = (word as u8, StrId(word >> 8));
        if tag > tag::LAST_VALUE {
            return None;
        }
        let key = reader.named(id)?;
        let value = reader.value(tag)?;
        self.0 = reader;
        Some(Attribute { key, value })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let item = self.0.item();
        if item.is_none() {
            self.0.rest = &[];
        }
        item
    }
}

/// Iterates over the elements of an array. Ends at the first byte sequence that is not one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values<'a>(Reader<'a>);

impl<'a> Values<'a> {
    /// Elements in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Reader { rest: bytes })
    }

    /// What has not been read yet.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.rest
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let value = self.0.array::<1>().and_then(|[tag]| self.0.value(tag));
        if value.is_none() {
            self.0.rest = &[];
        }
        value
    }
}

impl Value<'_> {
    fn tag(&self) -> u8 {
        match self {
            Value::Empty => tag::EMPTY,
            Value::Bool(false) => tag::FALSE,
            Value::Bool(true) => tag::TRUE,
            Value::Int(_) => tag::INT,
            Value::Double(_) => tag::DOUBLE,
            Value::Str(_) => tag::STR,
            Value::Bytes(_) => tag::BYTES,
            Value::Array(_) => tag::ARRAY,
            Value::Map(_) => tag::MAP,
        }
    }
}
