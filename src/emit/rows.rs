//! Many finished spans in one call, as a scheduler's step over its batch makes them: a table whose rows are the parents
//! that somebody wants, and whose columns are attributes. Filled by whoever converts the arguments (no state of the
//! thread is held meanwhile), then written row by row in place, one run of records in the lane. Its memory is the
//! thread's, so nothing is allocated once it has grown to the size of the batches.

use std::sync::Arc;

use super::attributes::{MAX_BYTES, size_bound};
use super::counted::push_begin;
use super::{Parent, Thread};
use crate::attrs::{self, Text, Value, tag};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, SpanId, TraceId};
use crate::lane::{MAX_PAYLOAD_BYTES, PushError, Run};
use crate::record::{Header, SpanKind, StatusCode, StrId, flag, kind};
use crate::stats::DropReason;

/// What the spans of one call have in common.
#[derive(Debug, Clone, Copy)]
pub struct SpanBatch<'a> {
    /// Their name.
    pub name: Text<'a>,
    /// Their kind.
    pub kind: SpanKind,
    /// Index of their scope.
    pub scope: u16,
    /// When they began.
    pub start: Times,
    /// When they ended; before the start counts as equal to it.
    pub end: Times,
}

/// Unix nanoseconds: of all rows, or a column that [`SpanRows::numbers`] holds from here on.
#[derive(Debug, Clone, Copy)]
pub enum Times {
    /// The same for all.
    One(u64),
    /// One for each row.
    Each(usize),
}

/// A span to be: what it inherits, and which of the given parents that was.
#[derive(Debug)]
struct Row {
    trace_id: TraceId,
    parent_span_id: SpanId,
    trace_state: Option<Arc<str>>,
    index: u32,
    dropped_attributes: u32,
    mask: u16,
    flags: u16,
}

/// What the rows' payloads consist of, in this order.
#[derive(Debug)]
enum Part {
    /// The same bytes, of `items`.
    Constant(usize, usize),
    /// An attribute item's first word, and where the eight bytes after it lie in `numbers`.
    Number([u8; 4], usize),
    /// Items of any size; where they end in `items` lies in `ends`, from here on, after where the first begins.
    Items(usize),
}

/// The rows and columns of one call.
#[derive(Debug, Default)]
pub struct SpanRows {
    rows: Vec<Row>,
    parts: Vec<Part>,
    /// Numbers as bits, column after column, one for each row.
    pub numbers: Vec<u64>,
    items: Vec<u8>,
    ends: Vec<usize>,
    /// Attributes that no row has.
    dropped_attributes: u32,
    /// What a row has behind its parts.
    extra: Vec<u8>,
}

/// Larger tables are freed rather than kept: 256 KiB are a batch of two thousand with ten columns.
const MAX_POOLED_BYTES: usize = 256 * 1024;
/// An attribute item's word and its number.
const NUMBER_BYTES: usize = 4 + 8;

impl SpanRows {
    /// Adds the row of a parent, unless nobody wants its children.
    #[inline]
    pub fn add(&mut self, thread: &Thread, index: usize, parent: &Parent) {
        let mask = parent.mask(&thread.intake);
        if mask == 0 && !thread.intake.console_spans {
            thread.starts.count(false, 1);
            return;
        }
        let sampled = if mask == 0 { 0 } else { FLAG_SAMPLED };
        let remote = if parent.is_remote { flag::PARENT_IS_REMOTE } else { 0 };
        self.rows.push(Row {
            trace_id: parent.trace_id,
            parent_span_id: parent.span_id,
            trace_state: parent.trace_state.clone(),
            index: index as u32,
            dropped_attributes: 0,
            mask,
            flags: u16::from(parent.trace_flags & FLAG_RANDOM | sampled)
                | remote
                | flag::START_IS_UNIX_NANO
                | flag::END_IS_UNIX_NANO,
        });
    }

    /// Rows that will be recorded.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nobody wants any.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Which of the given parents the rows are of, in order.
    #[inline]
    pub fn indices(&self) -> impl Iterator<Item = usize> + Clone {
        self.rows.iter().map(|row| row.index as usize)
    }

    /// Which of the given parents the rows are of, and where a column of numbers may be appended to.
    #[inline]
    pub fn indices_and_numbers(&mut self) -> (impl Iterator<Item = usize> + Clone, &mut Vec<u64>) {
        (self.rows.iter().map(|row| row.index as usize), &mut self.numbers)
    }

    /// Makes the numbers from `from` on a column: bits of `i64` or `f64`, one for each row. Fewer or more are no column.
    pub fn add_numbers(&mut self, key: StrId, is_double: bool, from: usize) {
        if self.numbers.len() != from + self.rows.len() {
            self.numbers.truncate(from);
            self.drop_attributes(1);
            return;
        }
        let tag = if is_double { tag::DOUBLE } else { tag::INT };
        self.parts.push(Part::Number(attrs::item_word(tag, key), from));
    }

    /// Adds an attribute that is the same in every row: items that are encoded already.
    pub fn add_constant(&mut self, items: &[u8]) {
        if items.is_empty() {
            return;
        }
        let from = self.items.len();
        self.items.extend_from_slice(items);
        match self.parts.last_mut() {
            Some(Part::Constant(_, to)) if *to == from => *to = self.items.len(),
            _ => self.parts.push(Part::Constant(from, self.items.len())),
        }
    }

    /// Adds an attribute that is the same in every row.
    pub fn add_value(&mut self, key: Text<'_>, value: Value<'_>) {
        if self.items.len() + size_bound(key, value) > MAX_BYTES {
            self.drop_attributes(1);
            return;
        }
        let mut item = std::mem::take(&mut self.extra);
        attrs::put_attribute(&mut item, key, value);
        self.add_constant(&item);
        item.clear();
        self.extra = item;
    }

    /// Counts attributes that are given for every row and cannot be kept.
    pub fn drop_attributes(&mut self, count: u32) {
        self.dropped_attributes = self.dropped_attributes.saturating_add(count);
    }

    /// Begins a column of any values; [`ItemColumn::finish`] adds it.
    pub fn item_column(&mut self) -> ItemColumn<'_> {
        let from = self.ends.len();
        self.ends.push(self.items.len());
        ItemColumn { table: self, from, row: 0 }
    }

    /// What is kept for the next call.
    pub(super) fn is_small(&self) -> bool {
        self.rows.capacity() * size_of::<Row>()
            + (self.numbers.capacity() + self.ends.capacity()) * 8
            + self.items.capacity()
            + self.extra.capacity()
            <= MAX_POOLED_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.parts.clear();
        self.numbers.clear();
        self.items.clear();
        self.ends.clear();
        self.extra.clear();
        self.dropped_attributes = 0;
    }
}

/// A column of any values under construction. Dropped unfinished it leaves the table without it.
#[derive(Debug)]
pub struct ItemColumn<'a> {
    table: &'a mut SpanRows,
    from: usize,
    row: usize,
}

impl ItemColumn<'_> {
    /// Which parent the next row is of; `None`: the column is complete.
    #[inline]
    pub fn next_index(&self) -> Option<usize> {
        self.table.rows.get(self.row).map(|row| row.index as usize)
    }

    /// The next row's value: `item` appends one attribute item, or nothing for none. What is too large is dropped and
    /// counted, as one attribute of the row.
    #[inline]
    pub fn put(&mut self, item: impl FnOnce(&mut Vec<u8>)) {
        let from = self.table.items.len();
        item(&mut self.table.items);
        if self.table.items.len() > MAX_BYTES {
            self.table.items.truncate(from);
            let row = &mut self.table.rows[self.row];
            row.dropped_attributes = row.dropped_attributes.saturating_add(1);
        }
        self.table.ends.push(self.table.items.len());
        self.row += 1;
    }

    /// Adds the column. Every row must have its value.
    pub fn finish(self) {
        debug_assert_eq!(self.row, self.table.rows.len());
        self.table.parts.push(Part::Items(self.from));
    }
}

impl Times {
    #[inline]
    fn of(self, row: usize, numbers: &[u64]) -> u64 {
        match self {
            Self::One(time) => time,
            Self::Each(from) => numbers[from + row],
        }
    }
}

/// A payload being written in place.
struct Cursor<'a>(&'a mut [u8]);

impl Cursor<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let (to, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        to.copy_from_slice(bytes);
        self.0 = rest;
    }
}

impl SpanRows {
    /// Bytes of the parts that are equally large in every row.
    fn fixed_bytes(&self) -> usize {
        let bytes = |part: &Part| match part {
            Part::Constant(from, to) => to - from,
            Part::Number(..) => NUMBER_BYTES,
            Part::Items(_) => 0,
        };
        self.parts.iter().map(bytes).sum()
    }

    /// Bytes of the others.
    fn varying_bytes(&self, row: usize) -> usize {
        let bytes = |part: &Part| match part {
            Part::Items(from) => self.ends[from + row + 1] - self.ends[from + row],
            _ => 0,
        };
        self.parts.iter().map(bytes).sum()
    }

    /// What few rows have: a name that is not interned, a tracestate, counts of what was dropped.
    #[inline]
    fn fill_extra(&mut self, row: usize, name: Text<'_>) {
        let Self { rows, extra, dropped_attributes, .. } = self;
        let row = &rows[row];
        let dropped = dropped_attributes.saturating_add(row.dropped_attributes);
        if extra.is_empty() && row.trace_state.is_none() && dropped == 0 && matches!(name, Text::Id(_)) {
            return;
        }
        extra.clear();
        if let Text::Inline(name) = name {
            attrs::put_text_item(extra, tag::NAME, name);
        }
        if let Some(trace_state) = &row.trace_state {
            attrs::put_text_item(extra, tag::TRACE_STATE, trace_state.as_bytes());
        }
        if dropped != 0 {
            attrs::put_dropped(extra, dropped, 0, 0);
        }
    }

    #[inline(always)]
    fn write(&self, row: usize, payload: &mut [u8]) {
        let mut cursor = Cursor(payload);
        for part in &self.parts {
            match *part {
                Part::Number(word, from) => {
                    cursor.put(&word);
                    cursor.put(&self.numbers[from + row].to_ne_bytes());
                }
                Part::Constant(from, to) => cursor.put(&self.items[from..to]),
                Part::Items(from) => {
                    cursor.put(&self.items[self.ends[from + row]..self.ends[from + row + 1]]);
                }
            }
        }
        if !self.extra.is_empty() {
            cursor.put(&self.extra);
        }
    }
}

impl Thread {
    /// Memory for a table; give it back with [`Thread::return_rows`].
    #[inline]
    pub fn take_rows(&mut self) -> Box<SpanRows> {
        self.rows.take().unwrap_or_default()
    }

    /// Keeps the memory for the next table.
    #[inline]
    pub fn return_rows(&mut self, mut rows: Box<SpanRows>) {
        if rows.is_small() {
            rows.clear();
            self.rows = Some(rows);
        }
    }

    /// Records a span for each row, or counts it as lost: once the lane is full, all that follow. Returns how many were
    /// recorded.
    pub fn record_rows(&mut self, batch: &SpanBatch<'_>, table: &mut SpanRows) -> usize {
        let Self { producer, ids, intake, starts, .. } = self;
        let counters = &intake.counters;
        starts.count(true, table.len() as u64);
        table.extra.clear();
        let detail = Header::span_detail(batch.kind, StatusCode::Unset);
        let name = if let Text::Id(id) = batch.name { id } else { StrId::NONE };
        let fixed_bytes = table.fixed_bytes();
        let varies = table.parts.iter().any(|part| matches!(part, Part::Items(_)));
        let mut recorded = 0;
        let mut run = producer.run();
        for index in 0..table.rows.len() {
            table.fill_extra(index, batch.name);
            let varying = if varies { table.varying_bytes(index) } else { 0 };
            let payload_bytes = fixed_bytes + varying + table.extra.len();
            let row = &table.rows[index];
            let header = Header {
                kind: kind::SPAN,
                detail,
                mask: row.mask,
                payload_bytes: payload_bytes as u32,
                name,
                scope: batch.scope,
                flags: row.flags,
                trace_id: row.trace_id,
                span_id: ids.span_id(),
                parent_span_id: row.parent_span_id,
                start: batch.start.of(index, &table.numbers),
                end: batch.end.of(index, &table.numbers),
            };
            if intake.console_spans {
                push_begin(&mut run, header, batch.name);
            }
            let pushed = if payload_bytes <= MAX_PAYLOAD_BYTES {
                run.push(&header, |payload| table.write(index, payload))
            } else {
                push_large(&mut run, header, table, index)
            };
            match pushed.map_err(DropReason::from) {
                Ok(()) => recorded += 1,
                Err(DropReason::RingFull) => {
                    counters.spans_dropped.add(DropReason::RingFull, (table.rows.len() - index) as u64);
                    break;
                }
                Err(reason) => counters.spans_dropped.add(reason, 1),
            }
        }
        recorded
    }
}

/// A row that no block has room for. The header by value, as in [`push_begin`].
#[cold]
#[inline(never)]
fn push_large(run: &mut Run<'_>, header: Header, table: &SpanRows, row: usize) -> Result<(), PushError> {
    let mut payload = vec![0; header.payload_bytes as usize];
    table.write(row, &mut payload);
    run.push_any(&header, &payload)
}
