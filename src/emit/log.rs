//! Log records: one record each, whose items are body, attributes and severity text, in any order.

use super::{SpanIds, Thread};
use crate::attrs;
use crate::ids::SpanId;
use crate::lane::PushError;
use crate::record::{Header, StrId, flag, kind};
use crate::stats::DropReason;
use crate::sys::ticks;

/// What a recording call knows, beside the items.
#[derive(Debug, Clone, Copy)]
pub struct LogRecord {
    /// 1 to 24, 0 for none.
    pub severity_number: u8,
    /// Index of the logger's scope.
    pub scope: u16,
    /// The span it is made in, NONE outside.
    pub span: SpanIds,
    /// When it happened, Unix nanoseconds; `None`: now.
    pub unix_nano: Option<u64>,
}

impl LogRecord {
    /// Reads the clock.
    #[inline(always)]
    fn header(&self, payload_bytes: usize) -> Header {
        let now = ticks::now();
        let given = if self.unix_nano.is_some() { flag::START_IS_UNIX_NANO } else { 0 };
        Header {
            kind: kind::LOG,
            detail: self.severity_number,
            mask: 0,
            payload_bytes: payload_bytes as u32,
            name: StrId::NONE,
            scope: self.scope,
            flags: u16::from(self.span.flags) | given,
            trace_id: self.span.trace_id,
            span_id: self.span.span_id,
            parent_span_id: SpanId::NONE,
            start: self.unix_nano.unwrap_or(now),
            end: now,
        }
    }
}

impl Thread {
    /// Records a log record with its items, or counts it as lost. Items too large for the lane are handed over without
    /// another copy.
    #[inline(always)]
    pub fn log(&mut self, log: &LogRecord, mut items: Vec<u8>) {
        let pushed = self.producer.push_owned(&log.header(items.len()), &mut items);
        self.return_items(items);
        self.count_if_lost(pushed);
    }

    /// [`Thread::log`] of a text of at most [`attrs::SHORT_BYTES`] and nothing else, which is written where it stays.
    #[inline(always)]
    pub fn log_short_text(&mut self, log: LogRecord, text: &[u8]) {
        let items = attrs::short_body_bytes(text);
        let pushed = self.producer.run().push(&log.header(items), |to| attrs::write_short_body(to, text));
        self.count_if_lost(pushed);
    }

    #[inline(always)]
    fn count_if_lost(&self, pushed: Result<(), PushError>) {
        if let Err(error) = pushed {
            self.intake.counters.logs_dropped.add(DropReason::from(error), 1);
        }
    }

    /// Memory for a record's items; give it to [`Thread::log`], or back with [`Thread::return_items`].
    #[inline]
    pub fn take_items(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.items)
    }

    /// Keeps the memory for the next record.
    #[inline]
    pub fn return_items(&mut self, mut items: Vec<u8>) {
        if items.capacity() <= super::POOLED_ITEM_BYTES {
            items.clear();
            self.items = items;
        }
    }
}
