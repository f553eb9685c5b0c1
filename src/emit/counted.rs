//! The spans of one step, written straight into the lane as their parents come along: what [`super::rows`] does by a table,
//! for spans that have one number each and everything else in common. A scheduler's step runs with cold caches, and
//! memory that is not touched costs nothing. Allocates for a tracestate or a name that is not interned only.

use super::{Constants, Parent, Thread};
use crate::attrs::{self, Text, tag};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED};
use crate::lane::Run;
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

/// An attribute item's word and its number.
const NUMBER_BYTES: usize = 4 + 8;

impl Thread {
    /// Records a span for each parent and number, or counts it as lost. Returns how many were recorded.
    #[inline(always)]
    pub fn record_counted<'p>(
        &mut self,
        batch: &CountedBatch<'_>,
        rows: impl Iterator<Item = (&'p Parent, Option<i64>)>,
    ) -> usize {
        let Self { producer, ids, intake, starts, .. } = self;
        let (mut recorded, mut wanted, mut unwanted, mut lost) = (0, 0, 0, 0);
        let word = batch.key.map(|key| attrs::item_word(tag::INT, key));
        let constants = batch.constants.map_or(&[][..], Constants::items);
        let dropped = batch.constants.map_or(0, Constants::dropped);
        let detail = Header::span_detail(batch.kind, StatusCode::Unset);
        let name = if let Text::Id(id) = batch.name { id } else { StrId::NONE };
        let is_plain = constants.is_empty() && dropped == 0 && name != StrId::NONE && !intake.console_spans;
        let mut run = producer.run();
        for (parent, number) in rows {
            let mask = parent.mask(intake);
            if mask == 0 && !intake.console_spans {
                unwanted += 1;
                continue;
            }
            wanted += 1;
            if lost > 0 {
                lost += 1;
                continue;
            }
            let sampled = if mask == 0 { 0 } else { FLAG_SAMPLED };
            let remote = if parent.is_remote { flag::PARENT_IS_REMOTE } else { 0 };
            let number = word.zip(number);
            let header = Header {
                kind: kind::SPAN,
                detail,
                mask,
                payload_bytes: if number.is_some() { NUMBER_BYTES as u32 } else { 0 },
                name,
                scope: batch.scope,
                flags: u16::from(parent.trace_flags & FLAG_RANDOM | sampled)
                    | remote
                    | flag::START_IS_UNIX_NANO
                    | flag::END_IS_UNIX_NANO,
                trace_id: parent.trace_id,
                span_id: ids.span_id(),
                parent_span_id: parent.span_id,
                start: batch.start,
                end: batch.end,
            };
            let pushed = if is_plain && parent.trace_state.is_none() {
                run.push(&header, |payload| {
                    if let Some((word, number)) = number {
                        payload[..4].copy_from_slice(&word);
                        payload[4..].copy_from_slice(&number.to_ne_bytes());
                    }
                })
            } else {
                let mut items = constants.to_vec();
                if let Some((word, number)) = number {
                    items.extend_from_slice(&word);
                    items.extend_from_slice(&number.to_ne_bytes());
                }
                if intake.console_spans {
                    push_begin(&mut run, &header, batch.name);
                }
                if let Text::Inline(name) = batch.name {
                    attrs::put_text_item(&mut items, tag::NAME, name);
                }
                if let Some(trace_state) = &parent.trace_state {
                    attrs::put_text_item(&mut items, tag::TRACE_STATE, trace_state.as_bytes());
                }
                if dropped != 0 {
                    attrs::put_dropped(&mut items, dropped, 0, 0);
                }
                run.push_any(&Header { payload_bytes: items.len() as u32, ..header }, &items)
            };
            match pushed.map_err(DropReason::from) {
                Ok(()) => recorded += 1,
                Err(DropReason::RingFull) => lost += 1,
                Err(reason) => intake.counters.spans_dropped.add(reason, 1),
            }
        }
        drop(run);
        starts.count(true, wanted);
        starts.count(false, unwanted);
        if lost > 0 {
            intake.counters.spans_dropped.add(DropReason::RingFull, lost);
        }
        recorded
    }
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
