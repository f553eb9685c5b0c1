//! The unit that waits for sinks: records encoded once, shared by every sink that wants them, cut and joined by
//! record when a request is built, so a request that was too large can be halved without encoding again. Reading a part
//! allocates nothing.

use std::ops::Range;
use std::sync::Arc;

/// Encoded records of one signal: each is a complete length-delimited field (tag, length, message), so any range of
/// records is a contiguous slice.
#[derive(Debug, Default)]
pub struct Chunk {
    /// The fields.
    pub bytes: Vec<u8>,
    /// End offset of each record in `bytes`, ascending.
    pub ends: Vec<usize>,
    /// Metrics: how many data points each record holds. Empty: each record counts as one.
    pub points: Vec<u32>,
    /// Scope of a run of records: index of the run's first record, and the encoded `InstrumentationScope` and schema
    /// URL that its `ScopeSpans` (or `ScopeLogs`) needs. Ascending, the first at record 0. Empty where records have no scopes
    /// around them (SLS).
    pub runs: Vec<(usize, Arc<ScopeBytes>)>,
}

/// The encoded parts of a `ScopeSpans` besides its spans.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ScopeBytes {
    /// `InstrumentationScope` message, without tag and length.
    pub scope: Vec<u8>,
    /// Schema URL, empty for none.
    pub schema_url: String,
}

impl Chunk {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// No records.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What a range of records counts as, in spans, log records or data points.
    pub fn count(&self, records: Range<usize>) -> u64 {
        if self.points.is_empty() {
            records.len() as u64
        } else {
            self.points[records].iter().map(|points| u64::from(*points)).sum()
        }
    }

    /// Bytes of a range of records.
    pub fn size_of(&self, records: Range<usize>) -> usize {
        self.slice(records).len()
    }

    /// The encoded fields of a range of records.
    pub fn slice(&self, records: Range<usize>) -> &[u8] {
        &self.bytes[self.offset(records.start)..self.offset(records.end)]
    }

    /// Where a record begins in `bytes`.
    pub(super) fn offset(&self, record: usize) -> usize {
        if record == 0 { 0 } else { self.ends[record - 1] }
    }
}

/// Some records of a chunk.
#[derive(Debug, Clone)]
pub struct Part {
    /// The shared chunk.
    pub chunk: Arc<Chunk>,
    /// Which of its records.
    pub records: Range<usize>,
}

impl Part {
    /// Its spans, log records or data points.
    pub fn count(&self) -> u64 {
        self.chunk.count(self.records.clone())
    }

    /// Bytes of its records.
    pub fn bytes(&self) -> usize {
        self.chunk.size_of(self.records.clone())
    }

    /// Its records by scope: the scope of each run and the encoded fields of the run's records, in order. Never an empty
    /// run.
    pub fn runs(&self) -> impl Iterator<Item = (&ScopeBytes, &[u8])> {
        let Range { start, end } = self.records;
        let runs = &self.chunk.runs;
        let first = runs.partition_point(|(record, _)| *record <= start).saturating_sub(1);
        (first..runs.len()).map_while(move |run| {
            let from = runs[run].0.max(start);
            let to = runs.get(run + 1).map_or(end, |(record, _)| end.min(*record));
            (from < to).then(|| (&*runs[run].1, self.chunk.slice(from..to)))
        })
    }
}

/// Up to so much encoded records go through memory that is kept, and are copied to a chunk of their exact size: a fresh
/// allocation of the size that they may have costs more in page faults at each batch, several times the encoding.
const SCRATCH_BYTES: usize = 1 << 20;

/// Memory that an encoder writes to, kept between batches unless one was large.
#[derive(Debug, Default)]
pub struct Scratch(Vec<u8>);

impl Scratch {
    /// To write to, empty. `expected_bytes`: a guess of how much.
    pub fn take(&mut self, expected_bytes: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.0);
        bytes.clear();
        bytes.reserve_exact(expected_bytes.min(SCRATCH_BYTES));
        bytes
    }

    /// What was written, in memory of its size.
    pub fn keep(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if bytes.capacity() > SCRATCH_BYTES {
            bytes.shrink_to_fit();
            return bytes;
        }
        let exact = bytes.as_slice().into();
        self.0 = bytes;
        exact
    }

    /// What was written is not needed any more.
    pub fn put_back(&mut self, bytes: Vec<u8>) {
        if bytes.capacity() <= SCRATCH_BYTES {
            self.0 = bytes;
        }
    }
}
