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

mod read;
mod write;

pub use read::{Items, Values, key_of};
pub use write::{
    NUMBER_ITEM_BYTES, Open, close, item_word, number_item, open_array, open_element, open_map,
    put_attribute, put_body, put_body_element, put_dropped, put_element, put_event, put_link, put_text_item,
    short_body_bytes, write_short_body,
};

pub use crate::room::SHORT_BYTES;

use crate::ids::{SpanId, TraceId};
use crate::record::{Number, StrId};

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

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(value) => Value::Int(value),
            Number::Double(value) => Value::Double(value),
        }
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
