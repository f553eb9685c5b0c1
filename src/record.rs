//! The fixed-size part of a record: one cache line, plain data, no pointers. What varies in size follows it as
//! *items* (see [`crate::attrs`]) in the next slots of the same lane block.
//!
//! Why 64 bytes and several slots rather than one 128-byte record: a counter measurement, a log line and a span
//! without attributes fit one line; a span with three attributes takes three. Reserving two lines for every record
//! would double what measurements write and read and save a span nothing.

pub mod shared;

use bytemuck::{Pod, Zeroable};

use crate::ids::{SpanId, TraceId};

/// Bytes of one lane slot, and of a [`Header`].
pub const SLOT_BYTES: usize = 64;

/// An interned text. `NONE` (0) means "not interned: the text is an item in the payload". At most 24 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct StrId(pub u32);

impl StrId {
    /// The text travels inline.
    pub const NONE: Self = Self(0);
}

/// What a record is. `Header::kind`.
pub mod kind {
    /// A finished span.
    pub const SPAN: u8 = 1;
    /// A span that has begun; only written while the console shows spans. Same fields as `SPAN`, `end` unused.
    pub const SPAN_BEGIN: u8 = 2;
    /// A log record.
    pub const LOG: u8 = 3;
    /// A measurement of an instrument.
    pub const MEASUREMENT: u8 = 4;
    /// Spans that share a record; the payload is no items but an array of [`super::shared::CountedSpan`].
    pub const COUNTED_SPANS: u8 = 5;
    /// Measurements that share a record; the payload is an array of [`super::shared::Measured`].
    pub const MEASUREMENTS: u8 = 6;
}

/// Bits of `Header::flags` above the W3C trace flags in its low byte.
pub mod flag {
    /// `start` is Unix nanoseconds given by the caller, not ticks.
    pub const START_IS_UNIX_NANO: u16 = 1 << 8;
    /// `end` is Unix nanoseconds given by the caller, not ticks.
    pub const END_IS_UNIX_NANO: u16 = 1 << 9;
    /// The parent lives in another process.
    pub const PARENT_IS_REMOTE: u16 = 1 << 10;
    /// The payload is not in the lane but in the hand-over queue, under the ticket in the payload's first 8 bytes.
    pub const OVERSIZE: u16 = 1 << 11;
}

/// OpenTelemetry's SpanKind with its wire values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum SpanKind {
    /// An operation inside the application.
    #[default]
    Internal = 1,
    /// Handles a request from a remote client.
    Server = 2,
    /// A request to a remote server.
    Client = 3,
    /// Creates a message for later processing.
    Producer = 4,
    /// Processes a message.
    Consumer = 5,
}

impl SpanKind {
    /// Case-insensitive OpenTelemetry name.
    pub fn parse(text: &str) -> Option<Self> {
        const ALL: [SpanKind; 5] =
            [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];
        ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(text))
    }

    /// OpenTelemetry name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Server => "server",
            Self::Client => "client",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

/// OpenTelemetry's instrument kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum InstrumentKind {
    /// A sum that only grows.
    Counter = 1,
    /// A sum.
    UpDownCounter = 2,
    /// A distribution.
    Histogram = 3,
    /// A value that is set.
    Gauge = 4,
    /// A growing total, asked for.
    ObservableCounter = 5,
    /// A total, asked for.
    ObservableUpDownCounter = 6,
    /// A value, asked for.
    ObservableGauge = 7,
}

impl InstrumentKind {
    /// Its values are asked for at each collection and are totals, not changes.
    pub const fn is_observable(self) -> bool {
        matches!(self, Self::ObservableCounter | Self::ObservableUpDownCounter | Self::ObservableGauge)
    }
}

/// OpenTelemetry's short name of a severity number; empty for 0 (not set) and above 24.
pub const fn severity_name(number: u8) -> &'static str {
    const NAMES: &[&str; 25] = &[
        "", "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG", "DEBUG2", "DEBUG3", "DEBUG4", "INFO", "INFO2",
        "INFO3", "INFO4", "WARN", "WARN2", "WARN3", "WARN4", "ERROR", "ERROR2", "ERROR3", "ERROR4", "FATAL",
        "FATAL2", "FATAL3", "FATAL4",
    ];
    if (number as usize) < NAMES.len() { NAMES[number as usize] } else { "" }
}

/// A measured value: integers stay integers until a double joins them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// 64-bit integer.
    Int(i64),
    /// Double.
    Double(f64),
}

impl Number {
    /// As a double; integers beyond 2^53 are rounded.
    #[inline]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Double(value) => value,
        }
    }

    /// [`Header::detail`] and `end` of a measurement: two registers, where an enum of an integer and a double would go
    /// through memory.
    #[inline(always)]
    pub const fn to_bits(self) -> (u8, u64) {
        match self {
            Self::Int(value) => (0, value as u64),
            Self::Double(value) => (1, value.to_bits()),
        }
    }

    /// What [`Number::to_bits`] was given.
    #[inline(always)]
    pub const fn from_bits(detail: u8, bits: u64) -> Self {
        if detail == 0 { Self::Int(bits as i64) } else { Self::Double(f64::from_bits(bits)) }
    }
}

/// OpenTelemetry's StatusCode with its wire values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum StatusCode {
    /// Not set.
    #[default]
    Unset = 0,
    /// Set to success by the application; final.
    Ok = 1,
    /// The operation failed.
    Error = 2,
}

/// The first slot of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Header {
    /// One of [`kind`].
    pub kind: u8,
    /// Span: [`SpanKind`] in the low four bits, [`StatusCode`] in the high four. Log: severity number, 0 for none.
    /// Measurement: 0 when `end` holds an integer, 1 for a double.
    pub detail: u8,
    /// Span: trace sinks that want it, a bit each. Measurements that share a record: see [`shared::Measured`]. Otherwise 0.
    pub mask: u16,
    /// Bytes of items, or of rows that share the record, after the header (the last slot's rest is padding).
    pub payload_bytes: u32,
    /// Span: its name, or NONE when a NAME item holds it. Measurement: the instrument's id in the session.
    pub name: StrId,
    /// Index of the instrumentation scope.
    pub scope: u16,
    /// W3C trace flags in the low byte, [`flag`] bits above.
    pub flags: u16,
    /// The trace; of a log or measurement, that of the span it was made in, NONE outside. Spans that share a record: see
    /// [`shared::CountedSpan`].
    pub trace_id: TraceId,
    /// The span; of a log or measurement, the one it was made in.
    pub span_id: SpanId,
    /// Span: its parent, NONE for a root. Measurement: the id of the bound attributes, all zero for none.
    pub parent_span_id: SpanId,
    /// Ticks, or Unix nanoseconds by flag. Measurement: ticks, 0 where the time does not matter.
    pub start: u64,
    /// Span: like `start`. Log: when it was observed, ticks. Measurement: the value's bits.
    pub end: u64,
}

const _: () = assert!(size_of::<Header>() == SLOT_BYTES && align_of::<Header>() == SLOT_BYTES);

impl Header {
    /// Slots that a record with this many payload bytes takes, its header included.
    pub const fn slots_for(payload_bytes: usize) -> usize {
        1 + payload_bytes.div_ceil(SLOT_BYTES)
    }

    /// Span kind of a span record; unknown bits read as internal.
    pub fn span_kind(&self) -> SpanKind {
        match self.detail & 15 {
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Internal,
        }
    }

    /// How many spans, logs or measurements the record is: more than one where they share it.
    pub const fn count(&self) -> usize {
        let row_bytes = match self.kind {
            kind::COUNTED_SPANS => size_of::<shared::CountedSpan>(),
            kind::MEASUREMENTS => size_of::<shared::Measured>(),
            _ => return 1,
        };
        self.payload_bytes as usize / row_bytes
    }

    /// Status code of a span record; unknown bits read as unset.
    pub fn status(&self) -> StatusCode {
        match self.detail >> 4 {
            1 => StatusCode::Ok,
            2 => StatusCode::Error,
            _ => StatusCode::Unset,
        }
    }

    /// `detail` of a span.
    pub const fn span_detail(kind: SpanKind, status: StatusCode) -> u8 {
        kind as u8 | (status as u8) << 4
    }

    /// A measurement's value.
    #[inline]
    pub fn number(&self) -> Number {
        Number::from_bits(self.detail, self.end)
    }

    /// A measurement's bound attributes, 0 for none.
    #[inline]
    pub fn binding(&self) -> u32 {
        u64::from_ne_bytes(self.parent_span_id.0) as u32
    }

    /// The W3C trace flags.
    pub fn trace_flags(&self) -> u8 {
        self.flags as u8
    }
}
