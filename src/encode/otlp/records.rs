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
    /// Of each run of records of one scope, the scope and the first record. Only filled while encoding.
    runs: Vec<(u16, usize)>,
    scratch: Scratch,
}

impl Records {
    /// Encodes the `wanted` ones of a batch's records, at most `most`, each as one field by `put`. Those of one scope
    /// follow each other, otherwise in the order given.
    #[inline(always)]
    pub(super) fn encode<'a>(
        &mut self,
        wanted: impl Iterator<Item = RecordRef<'a>>,
        most: usize,
        expected_bytes: usize,
        lookup: Lookup<'_>,
        put: impl Fn(&mut Vec<u8>, RecordRef<'a>),
    ) -> Chunk {
        let mut runs = mem::take(&mut self.runs);
        runs.clear();
        let mut bytes = self.scratch.take(if most == 0 { 0 } else { expected_bytes });
        let mut ends = Vec::with_capacity(most);
        let mut current = None;
        for record in wanted {
            if current != Some(record.header.scope) {
                current = Some(record.header.scope);
                runs.push((record.header.scope, ends.len()));
            }
            put(&mut bytes, record);
            ends.push(bytes.len());
        }
        ends.shrink_to_fit();
        let chunk = Chunk { bytes, ends, ..Chunk::default() };
        let chunk = if runs.is_sorted() {
            self.in_order(chunk, &runs, lookup)
        } else {
            self.gathered(chunk, &runs, lookup)
        };
        self.runs = runs;
        chunk
    }

    /// The chunk, its runs being those of one scope each.
    fn in_order(&mut self, chunk: Chunk, runs: &[(u16, usize)], lookup: Lookup<'_>) -> Chunk {
        let runs = runs.iter().map(|(scope, first)| (*first, self.scopes.get(*scope, lookup)));
        Chunk { runs: runs.collect(), bytes: self.scratch.keep(chunk.bytes), ..chunk }
    }

    /// The chunk with the runs of each scope brought together, by the copy that an exact size takes anyway.
    fn gathered(&mut self, chunk: Chunk, runs: &[(u16, usize)], lookup: Lookup<'_>) -> Chunk {
        let ends = runs.iter().skip(1).map(|(_, first)| *first).chain([chunk.len()]);
        let mut runs: Vec<_> =
            runs.iter().zip(ends).map(|((scope, first), end)| (*scope, *first..end)).collect();
        runs.sort_by_key(|(scope, _)| *scope);
        let mut gathered = Chunk {
            bytes: Vec::with_capacity(chunk.bytes.len()),
            ends: Vec::with_capacity(chunk.len()),
            ..Chunk::default()
        };
        for of_scope in runs.chunk_by(|(a, _), (b, _)| a == b) {
            gathered.runs.push((gathered.len(), self.scopes.get(of_scope[0].0, lookup)));
            for (_, records) in of_scope {
                let (from, to) = (chunk.offset(records.start), gathered.bytes.len());
                gathered.bytes.extend_from_slice(chunk.slice(records.clone()));
                gathered.ends.extend(chunk.ends[records.clone()].iter().map(|end| end - from + to));
            }
        }
        self.scratch.put_back(chunk.bytes);
        gathered
    }
}

/// How many more are kept of what a limit applies to.
#[derive(Debug)]
pub(super) struct Quota {
    pub(super) left: u32,
    /// What was left out.
    pub(super) dropped: u32,
}

impl Quota {
    pub(super) fn new(limit: u32) -> Self {
        Self { left: limit, dropped: 0 }
    }

    /// Whether one more is kept.
    #[inline]
    pub(super) fn take(&mut self) -> bool {
        let keep = self.left > 0;
        if keep {
            self.left -= 1;
        } else {
            self.drop_more(1);
        }
        keep
    }

    /// So many were left out before.
    #[inline]
    pub(super) fn drop_more(&mut self, count: u32) {
        self.dropped = self.dropped.saturating_add(count);
    }
}

/// Appends a count unless it is 0.
#[inline]
pub(super) fn put_count(out: &mut Vec<u8>, tag: u8, count: u32) {
    if count != 0 {
        wire::put_varint_field(out, tag, u64::from(count));
    }
}
