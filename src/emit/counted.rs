//! The spans of one step, written as their parents come along: what [`super::rows`] does by a table, for spans that have one
//! number each and everything else in common. A scheduler's step runs with cold caches, and memory that is not touched
//! costs nothing: what the spans have in common is written once for many, and what each has is half a line
//! ([`crate::record::shared`]). Allocates for constants, a tracestate or a name that is not interned only: those spans are
//! written one by one.

use arrayvec::ArrayVec;
use bytemuck::Zeroable;

use super::{Constants, Intake, Parent, Thread};
use crate::attrs::{self, Text, tag};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, IdGenerator, SpanId, TraceId};
use crate::lane::Run;
use crate::record::shared::CountedSpan;
use crate::record::{Header, SpanKind, StatusCode, StrId, flag, kind};
use crate::stats::DropReason;

/// What the spans of one step have in common.
#[derive(Debug, Clone, Copy)]
pub struct CountedBatch<'a> {
    /// Their name.
    pub name: Text<'a>,
    /// Their kind.
    pub kind: SpanKind,
    /// Index of their scope.
    pub scope: u16,
    /// When they began, in Unix nanoseconds.
    pub start: u64,
    /// When they ended; before the start counts as equal to it.
    pub end: u64,
    /// Attributes of all.
    pub constants: Option<&'a Constants>,
    /// The number's key.
    pub key: Option<StrId>,
}

/// What a parent gives its children, as their records say it: worked out once in a session, and half a line.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub struct Inherited {
    trace_id: TraceId,
    span_id: SpanId,
    shared: Shared,
}

const _: () = assert!(size_of::<Inherited>() == 32);

/// What spans of one record have in common beside their batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shared {
    mask: u16,
    flags: u16,
    /// A record of its own is needed, for the parent's tracestate.
    is_alone: bool,
}

impl Inherited {
    /// By children that begin and end at given times in this session.
    pub fn of(parent: &Parent, intake: &Intake) -> Self {
        let mask = parent.mask(intake);
        let sampled = if mask == 0 { 0 } else { FLAG_SAMPLED };
        let remote = if parent.is_remote { flag::PARENT_IS_REMOTE } else { 0 };
        let times = flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO;
        let flags = u16::from(parent.trace_flags & FLAG_RANDOM | sampled) | remote | times;
        let shared = Shared { mask, flags, is_alone: parent.trace_state.is_some() };
        Self { trace_id: parent.trace_id, span_id: parent.span_id, shared }
    }
}

/// Spans that share a record: with their header, half a page.
const SHARING: usize = 62;

/// Spans on their way into the lane.
struct Writing<'a> {
    intake: &'a Intake,
    ids: &'a mut IdGenerator,
    run: Run<'a>,
    batch: &'a CountedBatch<'a>,
    /// Of a record; `key` is that of its numbers, or NONE.
    header: Header,
    key: StrId,
    /// Those that will share the next record, and what they have in common.
    spans: ArrayVec<CountedSpan, SHARING>,
    shared: Option<Shared>,
    recorded: usize,
    unwanted: u64,
    lost: u64,
    /// By reasons of their own, and counted as such.
    dropped: u64,
}

impl Thread {
    /// Records a span for each parent and number, or counts it as lost. Returns how many were recorded. Of the parents
    /// themselves only those that have a tracestate are looked at.
    #[inline(always)]
    pub fn record_counted<'p>(
        &mut self,
        batch: &CountedBatch<'_>,
        rows: impl Iterator<Item = (&'p Inherited, &'p Parent, Option<i64>)>,
    ) -> usize {
        let mut writing = Writing {
            intake: &self.intake,
            ids: &mut self.ids,
            run: self.producer.run(),
            batch,
            header: Header {
                detail: Header::span_detail(batch.kind, StatusCode::Unset),
                name: if let Text::Id(id) = batch.name { id } else { StrId::NONE },
                scope: batch.scope,
                start: batch.start,
                end: batch.end,
                ..Header::zeroed()
            },
            key: StrId::NONE,
            spans: ArrayVec::new(),
            shared: None,
            recorded: 0,
            unwanted: 0,
            lost: 0,
            dropped: 0,
        };
        for (inherited, parent, number) in rows {
            let (key, value) = batch.key.zip(number).unwrap_or((StrId::NONE, 0));
            let joins = writing.shared == Some(inherited.shared) && writing.key == key;
            if joins && !writing.spans.is_full() || writing.may_share(inherited, parent, key, value) {
                let Inherited { trace_id, span_id, .. } = *inherited;
                writing.spans.push(CountedSpan { trace_id, parent_span_id: span_id, number: value });
            }
        }
        writing.write();
        let Writing { recorded, unwanted, lost, dropped, run, .. } = writing;
        drop(run);
        self.starts.count(true, recorded as u64 + lost + dropped);
        self.starts.count(false, unwanted);
        if lost > 0 {
            self.intake.counters.spans_dropped.add(DropReason::RingFull, lost);
        }
        recorded
    }
}

impl Writing<'_> {
    /// Whether a span that does not join the latest ones shall begin a record that others may share. If not it is dealt with.
    #[inline(never)]
    fn may_share(&mut self, inherited: &Inherited, parent: &Parent, key: StrId, number: i64) -> bool {
        let Shared { mask, flags, is_alone } = inherited.shared;
        let console = self.intake.console_spans;
        if mask == 0 && !console {
            self.unwanted += 1;
            return false;
        }
        self.write();
        if self.lost > 0 {
            self.lost += 1;
            return false;
        }
        let constants = self.batch.constants;
        let has_constants = constants.is_some_and(|all| !all.items().is_empty() || all.dropped() != 0);
        (self.key, self.header.mask, self.header.flags) = (key, mask, flags);
        if !is_alone && !has_constants && self.header.name != StrId::NONE && !console {
            self.shared = Some(inherited.shared);
            return true;
        }
        let header = Header {
            kind: kind::SPAN,
            trace_id: inherited.trace_id,
            span_id: self.ids.span_id(),
            parent_span_id: inherited.span_id,
            ..self.header
        };
        let number = (key != StrId::NONE).then_some((key, number));
        match push_alone(&mut self.run, header, self.batch, parent, number, console) {
            Ok(()) => self.recorded += 1,
            Err(DropReason::RingFull) => self.lost += 1,
            Err(reason) => {
                self.dropped += 1;
                self.intake.counters.spans_dropped.add(reason, 1);
            }
        }
        false
    }

    /// Writes the record that the latest spans share, if there are any. The next one shares another.
    fn write(&mut self) {
        let count = self.spans.len();
        self.shared = None;
        if count == 0 {
            return;
        }
        let rows: &[u8] = bytemuck::cast_slice(&self.spans);
        let mut header = Header {
            kind: kind::COUNTED_SPANS,
            payload_bytes: rows.len() as u32,
            span_id: self.ids.span_id(),
            ..self.header
        };
        CountedSpan::set_key(&mut header, self.key);
        match self.run.push(&header, |payload| payload.copy_from_slice(rows)) {
            Ok(()) => self.recorded += count,
            Err(_) => self.lost += count as u64,
        }
        self.spans.clear();
    }
}

/// A span in a record of its own.
#[cold]
fn push_alone(
    run: &mut Run<'_>,
    header: Header,
    batch: &CountedBatch<'_>,
    parent: &Parent,
    number: Option<(StrId, i64)>,
    console: bool,
) -> Result<(), DropReason> {
    let mut items = batch.constants.map_or(&[][..], Constants::items).to_vec();
    if let Some((key, number)) = number {
        items.extend_from_slice(&attrs::item_word(tag::INT, key));
        items.extend_from_slice(&number.to_ne_bytes());
    }
    if console {
        push_begin(run, &header, batch.name);
    }
    if let Text::Inline(name) = batch.name {
        attrs::put_text_item(&mut items, tag::NAME, name);
    }
    if let Some(trace_state) = &parent.trace_state {
        attrs::put_text_item(&mut items, tag::TRACE_STATE, trace_state.as_bytes());
    }
    if let Some(dropped) = batch.constants.map(Constants::dropped).filter(|dropped| *dropped != 0) {
        attrs::put_dropped(&mut items, dropped, 0, 0);
    }
    Ok(run.push_any(&Header { payload_bytes: items.len() as u32, ..header }, &items)?)
}

/// What the console shows a span's beginning by.
#[cold]
fn push_begin(run: &mut Run<'_>, header: &Header, name: Text<'_>) {
    let mut items = Vec::new();
    if let Text::Inline(name) = name {
        attrs::put_text_item(&mut items, tag::NAME, name);
    }
    let begin = Header { kind: kind::SPAN_BEGIN, payload_bytes: items.len() as u32, end: 0, ..*header };
    // The span itself finds the lane full next, and is counted.
    let _ = run.push_any(&begin, &items);
}
