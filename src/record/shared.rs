//! Records that several spans or measurements share: the header says what they have in common, the payload has a row for each.
//! A scheduler's step finds most memory in no cache, so it writes as little as it can; the exporter makes records of
//! their own of the rows ([`crate::batch::Batch`]), and nothing behind that knows that they were shared. Plain data.

use bytemuck::{Pod, Zeroable};

use super::{Header, StrId, kind};
use crate::ids::{SpanId, TraceId};

/// Finished spans that have a number each and differ in these fields and in their ids only. A header of theirs is that of
/// each of them, but for `trace_id`, whose first four bytes are the key of the numbers (NONE: there are none), and
/// `span_id`, which their ids follow from by their index ([`SpanId::nth`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CountedSpan {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its parent.
    pub parent_span_id: SpanId,
    /// Its one attribute, of the record's key.
    pub number: i64,
}

/// One of several measurements of one moment, with bound attributes. Which of them are doubles, want to know the time, and
/// the span that they were made in, say three sets of bits in the header: `mask`, and the lower and the upper half of `name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Measured {
    /// The instrument's id in the session.
    pub instrument: u32,
    /// Its bound attributes, not 0.
    pub binding: u32,
    /// See [`super::Number::to_bits`].
    pub bits: u64,
}

/// As many as the sets have bits.
pub const MEASURED_MAX: usize = 16;

impl CountedSpan {
    /// Puts the key of the numbers into a header.
    pub fn set_key(header: &mut Header, key: StrId) {
        header.trace_id.0[..4].copy_from_slice(&key.0.to_ne_bytes());
    }

    /// The key of the numbers.
    pub fn key(header: &Header) -> StrId {
        let [a, b, c, d, ..] = header.trace_id.0;
        StrId(u32::from_ne_bytes([a, b, c, d]))
    }

    /// The header of its own, of the one at an index; without what its number takes.
    pub fn header(&self, shared: &Header, index: usize) -> Header {
        Header {
            kind: kind::SPAN,
            payload_bytes: 0,
            trace_id: self.trace_id,
            span_id: shared.span_id.nth(index as u64),
            parent_span_id: self.parent_span_id,
            ..*shared
        }
    }
}

impl Measured {
    /// The header of its own, of the one at an index.
    pub fn header(&self, shared: &Header, index: usize) -> Header {
        let has = |set: u32| set >> index & 1 != 0;
        let mut header = Header {
            kind: kind::MEASUREMENT,
            detail: has(shared.mask.into()).into(),
            mask: 0,
            payload_bytes: 0,
            name: StrId(self.instrument),
            parent_span_id: SpanId(u64::from(self.binding).to_ne_bytes()),
            end: self.bits,
            ..*shared
        };
        if !has(shared.name.0) {
            header.start = 0;
        }
        if !has(shared.name.0 >> MEASURED_MAX) {
            (header.trace_id, header.span_id, header.flags) = (TraceId::NONE, SpanId::NONE, 0);
        }
        header
    }
}
