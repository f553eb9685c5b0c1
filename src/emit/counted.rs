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
    mask: u16,
    flags: u16,
    has_state: bool,
}

const _: () = assert!(size_of::<Inherited>() == 32);

impl Inherited {
    /// By children that begin and end at given times in this session.
    pub fn of(parent: &Parent, intake: &Intake) -> Self {
        let mask = parent.mask(intake);
        let sampled = if mask == 0 { 0 } else { FLAG_SAMPLED };
        let remote = if parent.is_remote { flag::PARENT_IS_REMOTE } else { 0 };
        let times = flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO;
        Self {
            trace_id: parent.trace_id,
            span_id: parent.span_id,
            mask,
            flags: u16::from(parent.trace_flags & FLAG_RANDOM | sampled) | remote | times,
            has_state: parent.trace_state.is_some(),
        }
    }
}

/// Spans that share a record: with their header, half a page.
const SHARING: usize = 62;

/// Spans that will share a record.
struct Sharing {
    header: Header,
    key: StrId,
    spans: ArrayVec<CountedSpan, SHARING>,
}

impl Sharing {
    /// Whether this one may join: all else is the same in a step.
    #[inline(always)]
    fn fits(&self, inherited: &Inherited, key: StrId) -> bool {
        (self.header.mask, self.header.flags) == (inherited.mask, inherited.flags)
            && self.key == key
            && !self.spans.is_full()
    }

    /// Writes the record, if there is anything for it. Returns how many spans are recorded, and how many lost.
    #[inline]
    fn write(&mut self, run: &mut Run<'_>, ids: &mut IdGenerator) -> (usize, u64) {
        let count = self.spans.len();
        if count == 0 {
            return (0, 0);
        }
        let rows: &[u8] = bytemuck::cast_slice(&self.spans);
        let mut header = Header { payload_bytes: rows.len() as u32, span_id: ids.span_id(), ..self.header };
        CountedSpan::set_key(&mut header, self.key);
        let pushed = run.push(&header, |payload| payload.copy_from_slice(rows));
        self.spans.clear();
        if pushed.is_ok() { (count, 0) } else { (0, count as u64) }
    }
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
        let Self { producer, ids, intake, starts, .. } = self;
        let (mut recorded, mut wanted, mut unwanted, mut lost) = (0, 0, 0, 0);
        let name = if let Text::Id(id) = batch.name { id } else { StrId::NONE };
        let has_constants = batch.constants.is_some_and(|all| !all.items().is_empty() || all.dropped() != 0);
        let is_plain = !has_constants && name != StrId::NONE && !intake.console_spans;
        let header = Header {
            kind: kind::COUNTED_SPANS,
            detail: Header::span_detail(batch.kind, StatusCode::Unset),
            name,
            scope: batch.scope,
            start: batch.start,
            end: batch.end,
            ..Header::zeroed()
        };
        let mut sharing = Sharing { header, key: StrId::NONE, spans: ArrayVec::new() };
        let mut run = producer.run();
        for (inherited, parent, number) in rows {
            let &Inherited { trace_id, span_id, mask, flags, has_state } = inherited;
            if mask == 0 && !intake.console_spans {
                unwanted += 1;
                continue;
            }
            wanted += 1;
            if lost > 0 {
                lost += 1;
                continue;
            }
            let shares = is_plain && !has_state;
            let (key, value) = batch.key.zip(number).unwrap_or((StrId::NONE, 0));
            if !shares || !sharing.fits(inherited, key) {
                let (written, full) = sharing.write(&mut run, ids);
                (recorded, lost) = (recorded + written, lost + full);
                (sharing.key, sharing.header) = (key, Header { mask, flags, ..sharing.header });
            }
            if shares {
                sharing.spans.push(CountedSpan { trace_id, parent_span_id: span_id, number: value });
                continue;
            }
            let header = Header {
                kind: kind::SPAN,
                trace_id,
                span_id: ids.span_id(),
                parent_span_id: span_id,
                ..sharing.header
            };
            let number = batch.key.zip(number);
            match push_alone(&mut run, header, batch, parent, number, intake.console_spans) {
                Ok(()) => recorded += 1,
                Err(DropReason::RingFull) => lost += 1,
                Err(reason) => intake.counters.spans_dropped.add(reason, 1),
            }
        }
        let (written, full) = sharing.write(&mut run, ids);
        (recorded, lost) = (recorded + written, lost + full);
        drop(run);
        starts.count(true, wanted);
        starts.count(false, unwanted);
        if lost > 0 {
            intake.counters.spans_dropped.add(DropReason::RingFull, lost);
        }
        recorded
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
