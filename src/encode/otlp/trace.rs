//! Spans: a record and its items to a `Span` message.

use crate::batch::Batch;
use crate::encode::Lookup;
use crate::encode::chunk::Chunk;
use crate::limits::SpanLimits;

/// Keeps what outlives one batch: encoded scopes, scratch memory.
#[derive(Debug, Default)]
pub struct TraceEncoder {}

impl TraceEncoder {
    /// Encodes the spans for which `wanted(header.mask)` holds, cut to `limits`. An empty chunk if there are none.
    pub fn encode(
        &mut self,
        _batch: &Batch,
        _wanted: impl Fn(u16) -> bool,
        _limits: &SpanLimits,
        _lookup: Lookup<'_>,
    ) -> Chunk {
        todo!()
    }
}
