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
use crate::record::{Header, Number, SpanKind, StatusCode, StrId, flag, kind};
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

/// What spans of one record have in common beside their batch, in one word: compared for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shared(u64);

impl Shared {
    /// Of spans that have a number.
    const NUMBER: Self = Self(1 << 32);
    /// Of spans that need a record of their own, for the parent's tracestate.
    const ALONE: Self = Self(1 << 33);

    /// Never [`Shared::NOBODY`]: there are flags.
    fn new(mask: u16, flags: u16) -> Self {
        Self(u64::from(mask) | u64::from(flags) << 16)
    }

    /// Of no span.
    const NOBODY: Self = Self(0);

    fn mask(self) -> u16 {
        self.0 as u16
    }

    fn flags(self) -> u16 {
        (self.0 >> 16) as u16
    }

    fn has(self, bit: Self) -> bool {
        self.0 & bit.0 != 0
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Inherited {
    /// By children that begin and end at given times in this session.
    pub fn of(parent: &Parent, intake: &Intake) -> Self {
        let mask = parent.mask(intake);
        let sampled = if mask == 0 { 0 } else { FLAG_SAMPLED };
        let remote = if parent.is_remote { flag::PARENT_IS_REMOTE } else { 0 };
        let times = flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO;
        let flags = u16::from(parent.trace_flags & FLAG_RANDOM | sampled) | remote | times;
        let alone = if parent.trace_state.is_some() { Shared::ALONE } else { Shared::NOBODY };
        let shared = Shared::new(mask, flags).and(alone);
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
    /// Of the next record.
    header: Header,
    /// Those that will share it, and what they have in common.
    spans: ArrayVec<CountedSpan, SHARING>,
    shared: Shared,
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
            spans: ArrayVec::new(),
            shared: Shared::NOBODY,
            recorded: 0,
            unwanted: 0,
            lost: 0,
            dropped: 0,
        };
        let counted = if batch.key.is_some() { Shared::NUMBER } else { Shared::NOBODY };
        rows.for_each(|(inherited, parent, number)| {
            let &Inherited { trace_id, span_id: parent_span_id, shared } = inherited;
            let shared = if number.is_some() { shared.and(counted) } else { shared };
            // Made where it is needed: one that a call is given lies in memory, for both ways.
            let span = || CountedSpan { trace_id, parent_span_id, number: number.unwrap_or(0) };
            if writing.shared != shared || writing.spans.is_full() {
                writing.begin(shared, span(), parent);
            } else {
                writing.spans.push(span());
            }
        });
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
    /// A span that does not join the latest ones: it begins a record that others may share, or has one of its own.
    #[inline(never)]
    fn begin(&mut self, shared: Shared, span: CountedSpan, parent: &Parent) {
        let console = self.intake.console_spans;
        if shared.mask() == 0 && !console {
            self.unwanted += 1;
            return;
        }
        self.write();
        if self.lost > 0 {
            self.lost += 1;
            return;
        }
        let constants = self.batch.constants;
        let has_constants = constants.is_some_and(|all| !all.items().is_empty() || all.dropped() != 0);
        (self.header.mask, self.header.flags) = (shared.mask(), shared.flags());
        let is_alone = shared.has(Shared::ALONE) || has_constants || console;
        if !is_alone && self.header.name != StrId::NONE {
            self.shared = shared;
            self.spans.push(span);
            return;
        }
        let header = Header {
            kind: kind::SPAN,
            trace_id: span.trace_id,
            span_id: self.ids.span_id(),
            parent_span_id: span.parent_span_id,
            ..self.header
        };
        let key = self.batch.key.filter(|_| shared.has(Shared::NUMBER));
        let number = key.map(|key| (key, span.number));
        match push_alone(&mut self.run, header, self.batch, parent, number, console) {
            Ok(()) => self.recorded += 1,
            Err(DropReason::RingFull) => self.lost += 1,
            Err(reason) => {
                self.dropped += 1;
                self.intake.counters.spans_dropped.add(reason, 1);
            }
        }
    }

    /// Writes the record that the latest spans share, if there are any. The next one shares another.
    fn write(&mut self) {
        let count = self.spans.len();
        let shared = std::mem::replace(&mut self.shared, Shared::NOBODY);
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
        let key = self.batch.key.filter(|_| shared.has(Shared::NUMBER));
        CountedSpan::set_key(&mut header, key.unwrap_or(StrId::NONE));
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
        items.extend_from_slice(&attrs::number_item(key, Number::Int(number)));
    }
    if console {
        push_begin(run, header, batch.name);
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

/// What the console shows a span's beginning by. The header by value: a reference to it would force it through the stack where
/// nothing is shown, too.
#[cold]
#[inline(never)]
pub(super) fn push_begin(run: &mut Run<'_>, header: Header, name: Text<'_>) {
    let mut items = Vec::new();
    if let Text::Inline(name) = name {
        attrs::put_text_item(&mut items, tag::NAME, name);
    }
    let begin = Header { kind: kind::SPAN_BEGIN, payload_bytes: items.len() as u32, end: 0, ..header };
    // The span itself finds the lane full next, and is counted.
    let _ = run.push_any(&begin, &items);
}
