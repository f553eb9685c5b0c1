//! Records that one sink holds: waiting in order, or taken for the request under way. Bounded in bytes, and in records
//! if the user says so; what is taken still counts, so putting it back never breaks the bound. When full, the newest
//! records are refused. Plain data, no time of its own, no I/O.
//!
//! Records are spans, log records or data points. What is cut is the field of a chunk, which holds one span or log
//! record, but a whole `Metric` message with all its data points.
//!
//! The bytes are those of the encoded records. A chunk that several sinks hold is in memory once but counts in each of
//! them. A chunk of which only a part fits is copied, so what was refused does not stay in memory; one that is sent
//! piece by piece stays whole until its last piece is gone (one chunk a sink at most, at the front).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::encode::chunk::{Chunk, Part, ScopeBytes};

/// Bytes that a `ScopeSpans` adds around its scope and spans, at most: four tags and lengths.
const SCOPE_FRAMING_BYTES: usize = 24;

/// See the module documentation.
#[derive(Debug)]
pub struct Pending {
    max_bytes: usize,
    max_records: usize,
    waiting: VecDeque<Entry>,
    /// In order, all older than `waiting`; one instant for each part.
    taken: Vec<Part>,
    taken_since: Vec<Instant>,
    waiting_size: Size,
    taken_size: Size,
    most: Size,
    entered: u64,
    left: u64,
}

#[derive(Debug)]
struct Entry {
    part: Part,
    since: Instant,
}

/// How much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Spans, log records or data points.
    pub records: usize,
    /// Their encoded bytes.
    pub bytes: usize,
}

impl Size {
    fn of(part: &Part) -> Self {
        Self { records: part.count() as usize, bytes: part.bytes() }
    }

    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }

    fn subtract(&mut self, other: Self) {
        self.records -= other.records;
        self.bytes -= other.bytes;
    }
}

impl Pending {
    /// `max_records` of `None`: only bytes bound it.
    pub fn new(max_bytes: usize, max_records: Option<usize>) -> Self {
        Self {
            max_bytes,
            max_records: max_records.unwrap_or(usize::MAX),
            waiting: VecDeque::new(),
            taken: Vec::new(),
            taken_since: Vec::new(),
            waiting_size: Size::default(),
            taken_size: Size::default(),
            most: Size::default(),
            entered: 0,
            left: 0,
        }
    }

    /// Appends what fits, oldest records first. Returns how many records were refused. `since`: no record of the part
    /// is older than that.
    pub fn push(&mut self, part: &Part, since: Instant) -> usize {
        let held = self.held();
        let room = Size {
            records: self.max_records.saturating_sub(held.records),
            bytes: self.max_bytes.saturating_sub(held.bytes),
        };
        let fits = prefix(&part.chunk, part.records.clone(), room);
        let all = part.count() as usize;
        if fits == 0 {
            return all;
        }
        let part = if fits == part.records.len() { part.clone() } else { copy_front(part, fits) };
        let size = Size::of(&part);
        self.waiting_size.add(size);
        self.entered += size.records as u64;
        self.waiting.push_back(Entry { part, since });
        let held = self.held();
        self.most.records = self.most.records.max(held.records);
        self.most.bytes = self.most.bytes.max(held.bytes);
        all - size.records
    }

    /// Takes the oldest records for a request: at most `max_records`, and `max_bytes` with the framing of their
    /// scopes, but at least one field of a chunk. Only while nothing is taken. Returns what a request of them would
    /// hold in bytes.
    pub fn take(&mut self, max_records: usize, max_bytes: usize) -> usize {
        debug_assert!(self.taken.is_empty() && self.taken_since.is_empty());
        let mut left = Size { records: max_records.max(1), bytes: max_bytes };
        let mut cost = 0;
        while let Some(front) = self.waiting.front_mut() {
            let (mut count, mut part_cost) = fitting(&front.part, left);
            if count == 0 {
                if !self.taken.is_empty() {
                    break;
                }
                let one = front.part.records.start..front.part.records.start + 1;
                let lone = Part { chunk: front.part.chunk.clone(), records: one };
                (count, part_cost) = fitting(&lone, Size { records: usize::MAX, bytes: usize::MAX });
            }
            let all = count == front.part.records.len();
            let middle = front.part.records.start + count;
            let part = Part { chunk: front.part.chunk.clone(), records: front.part.records.start..middle };
            let size = Size::of(&part);
            self.waiting_size.subtract(size);
            self.taken_size.add(size);
            self.taken.push(part);
            self.taken_since.push(front.since);
            cost += part_cost;
            left.records = left.records.saturating_sub(size.records);
            left.bytes = left.bytes.saturating_sub(part_cost);
            if !all {
                front.part.records.start = middle;
                break;
            }
            self.waiting.pop_front();
        }
        cost
    }

    /// What is taken, in order.
    pub fn parts(&self) -> &[Part] {
        &self.taken
    }

    /// Whether less could be taken: more than one field of a chunk is.
    pub fn divisible(&self) -> bool {
        self.taken.iter().map(|part| part.records.len()).sum::<usize>() > 1
    }

    /// What is taken is dealt with. Returns how many records that were.
    pub fn finish(&mut self) -> u64 {
        let count = self.taken_size.records as u64;
        self.left += count;
        self.taken_size = Size::default();
        self.taken.clear();
        self.taken_since.clear();
        count
    }

    /// What is taken waits again, in front, in its order.
    pub fn put_back(&mut self) {
        self.waiting_size.add(self.taken_size);
        self.taken_size = Size::default();
        let entries = self.taken.drain(..).zip(self.taken_since.drain(..)).rev();
        for (part, since) in entries {
            self.waiting.push_front(Entry { part, since });
        }
    }

    /// Forgets everything. Returns how many records that were.
    pub fn clear(&mut self) -> u64 {
        self.put_back();
        let count = self.waiting_size.records as u64;
        self.left += count;
        self.waiting_size = Size::default();
        self.waiting.clear();
        count
    }

    /// Waiting, not taken.
    pub fn waiting(&self) -> Size {
        self.waiting_size
    }

    /// Taken for a request.
    pub fn taken(&self) -> Size {
        self.taken_size
    }

    /// Waiting or taken.
    pub fn held(&self) -> Size {
        let mut held = self.waiting_size;
        held.add(self.taken_size);
        held
    }

    /// The most that was ever held, records and bytes each for itself.
    pub fn most(&self) -> Size {
        self.most
    }

    /// Nothing that waits is older.
    pub fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|entry| entry.since)
    }

    /// Records that ever entered. Once [`Pending::left`] reaches this number, all of them are dealt with, because they
    /// leave in order.
    pub fn entered(&self) -> u64 {
        self.entered
    }

    /// Records that ever left.
    pub fn left(&self) -> u64 {
        self.left
    }
}

fn start_of(chunk: &Chunk, record: usize) -> usize {
    if record == 0 { 0 } else { chunk.ends[record - 1] }
}

/// How many of the first fields are at most so large.
fn prefix(chunk: &Chunk, records: Range<usize>, max: Size) -> usize {
    let start = start_of(chunk, records.start);
    let count = if chunk.points.is_empty() {
        records.len().min(max.records)
    } else {
        let mut room = max.records;
        let fits = |points: &&u32| {
            let left = room.checked_sub(**points as usize);
            room = left.unwrap_or_default();
            left.is_some()
        };
        chunk.points[records.clone()].iter().take_while(fits).count()
    };
    chunk.ends[records][..count].partition_point(|end| end - start <= max.bytes)
}

/// How many of the first fields of `part` fit with the framing of their scopes, and the bytes these take.
fn fitting(part: &Part, max: Size) -> (usize, usize) {
    if part.chunk.runs.is_empty() {
        let count = prefix(&part.chunk, part.records.clone(), max);
        let start = part.records.start;
        return (count, part.chunk.size_of(start..start + count));
    }
    let within = prefix(&part.chunk, part.records.clone(), Size { bytes: usize::MAX, ..max });
    let end = part.records.start + within;
    let (mut count, mut left) = (0, max.bytes);
    for (records, scope) in runs_in(&part.chunk, part.records.start..end) {
        let framing = scope.scope.len() + scope.schema_url.len() + SCOPE_FRAMING_BYTES;
        let room = left.checked_sub(framing);
        let fits =
            room.map_or(0, |bytes| prefix(&part.chunk, records.clone(), Size { records: usize::MAX, bytes }));
        if fits > 0 {
            count += fits;
            left -= framing + part.chunk.size_of(records.start..records.start + fits);
        }
        if fits < records.len() {
            break;
        }
    }
    (count, max.bytes - left)
}

/// The runs of equal scope that a range of records touches, cut to it.
fn runs_in(chunk: &Chunk, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, &Arc<ScopeBytes>)> {
    let first = chunk.runs.partition_point(|(start, _)| *start <= range.start).saturating_sub(1);
    let ends = chunk.runs.iter().skip(first + 1).map(|(start, _)| *start).chain([chunk.len()]);
    let limit = range.end;
    chunk.runs[first..]
        .iter()
        .zip(ends)
        .map(move |((start, scope), end)| ((*start).max(range.start)..end.min(limit), scope))
        .take_while(|(records, _)| !records.is_empty())
}

/// The first `count` fields of `part` as a chunk of their own.
fn copy_front(part: &Part, count: usize) -> Part {
    let range = part.records.start..part.records.start + count;
    let start = start_of(&part.chunk, range.start);
    let chunk = Chunk {
        bytes: part.chunk.slice(range.clone()).to_vec(),
        ends: part.chunk.ends[range.clone()].iter().map(|end| end - start).collect(),
        points: part.chunk.points.get(range.clone()).unwrap_or_default().to_vec(),
        runs: runs_in(&part.chunk, range.clone())
            .map(|(records, scope)| (records.start - range.start, scope.clone()))
            .collect(),
    };
    Part { chunk: Arc::new(chunk), records: 0..count }
}
