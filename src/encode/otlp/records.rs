//! What the encoders of all signals share beside values: encoded scopes, the order of records in a chunk, counts of what
//! limits cut. Allocates for the chunk and, at the first sight of a scope, for the encoded scope.

use std::mem;
use std::sync::Arc;

use super::common;
use crate::batch::RecordRef;
use crate::encode::Lookup;
use crate::encode::chunk::{Chunk, ScopeBytes, Scratch};
use crate::encode::wire;

/// Encoded scopes by index. Belongs to one interner, whose scope indexes it knows.
#[derive(Debug, Default)]
pub(super) struct Scopes(Vec<Option<Arc<ScopeBytes>>>);

impl Scopes {
    /// Encodes the parts of a scope that go around its records, once.
    pub(super) fn get(&mut self, index: u16, lookup: Lookup<'_>) -> Arc<ScopeBytes> {
        let at = usize::from(index);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        let encode = || {
            let scope = lookup.strings.scope(index);
            let mut bytes = Vec::new();
            wire::put_optional_field(&mut bytes, common::SCOPE_NAME, scope.name.as_bytes());
            wire::put_optional_field(&mut bytes, common::SCOPE_VERSION, scope.version.as_bytes());
            Arc::new(ScopeBytes { scope: bytes, schema_url: scope.schema_url })
        };
        self.0[at].get_or_insert_with(encode).clone()
    }
}

/// Puts one batch's records of a signal into a chunk, scope by scope.
#[derive(Debug, Default)]
pub(super) struct Records {
    scopes: Scopes,
    /// Indexes of the wanted records. Only filled while encoding.
    order: Vec<usize>,
    scratch: Scratch,
}

impl Records {
    /// Encodes the `wanted` ones of the batch's records, each as one field by `put`. Those of one scope follow each
    /// other, otherwise in the batch's order.
    #[inline(always)]
    pub(super) fn encode<'a>(
        &mut self,
        wanted: impl Iterator<Item = usize>,
        expected_bytes: usize,
        record: impl Fn(usize) -> RecordRef<'a>,
        lookup: Lookup<'_>,
        put: impl Fn(&mut Vec<u8>, &RecordRef<'a>),
    ) -> Chunk {
        let mut order = mem::take(&mut self.order);
        order.clear();
        let scope = |index: &usize| record(*index).header.scope;
        let (mut last, mut is_sorted) = (0, true);
        order.extend(wanted.inspect(|index| {
            let next = scope(index);
            is_sorted &= last <= next;
            last = next;
        }));
        let mut bytes = self.scratch.take(if order.is_empty() { 0 } else { expected_bytes });
        if !is_sorted {
            order.sort_by_key(scope);
        }
        let mut chunk = Chunk { ends: Vec::with_capacity(order.len()), ..Chunk::default() };
        let mut current = None;
        for record in order.iter().map(|index| record(*index)) {
            if current != Some(record.header.scope) {
                current = Some(record.header.scope);
                chunk.runs.push((chunk.ends.len(), self.scopes.get(record.header.scope, lookup)));
            }
            put(&mut bytes, &record);
            chunk.ends.push(bytes.len());
        }
        chunk.bytes = self.scratch.keep(bytes);
        self.order = order;
        chunk
    }
}

/// Whether one more is kept; else counts it as dropped.
#[inline]
pub(super) fn count(kept: &mut u32, dropped: &mut u32, limit: u32) -> bool {
    let keep = *kept < limit;
    if keep {
        *kept += 1;
    } else {
        *dropped = dropped.saturating_add(1);
    }
    keep
}

/// Appends a count unless it is 0.
#[inline]
pub(super) fn put_count(out: &mut Vec<u8>, tag: u8, count: u32) {
    if count != 0 {
        wire::put_varint_field(out, tag, u64::from(count));
    }
}
