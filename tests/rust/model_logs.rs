//! Log records as a test describes them: written as records on one side, stated as official protobuf structs on the
//! other. The fuzz crate includes this file too.

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use pytracingx::batch::Batch;
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::Interner;
use pytracingx::limits::LogLimits;
use pytracingx::record::{Header, StrId, flag, kind};

use crate::model::{self, Item};

#[derive(Debug, Clone)]
pub(crate) struct LogModel {
    pub scope: u16,
    pub severity: u8,
    pub time: u64,
    /// `time` is Unix nanoseconds.
    pub explicit: bool,
    pub observed: u64,
    /// All zero for none.
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub trace_flags: u8,
    pub items: Vec<Item>,
    /// The items travel in the hand-over queue.
    pub oversize: bool,
}

/// Adds the log record to a batch.
pub(crate) fn push(batch: &mut Batch, strings: &Interner, model: &LogModel) {
    let mut payload = model::payload(&model.items, strings);
    let mut flags = u16::from(model.trace_flags);
    if model.explicit {
        flags |= flag::START_IS_UNIX_NANO;
    }
    if model.oversize {
        flags |= flag::OVERSIZE;
        let ticket = batch.log_count() as u64 + 1;
        batch.add_oversize(ticket, std::mem::take(&mut payload).into());
        payload = ticket.to_ne_bytes().to_vec();
    }
    let header = Header {
        kind: kind::LOG,
        detail: model.severity,
        mask: 0,
        payload_bytes: 0,
        name: StrId::NONE,
        scope: model.scope,
        flags,
        trace_id: TraceId(model.trace_id),
        span_id: SpanId(model.span_id),
        parent_span_id: SpanId::NONE,
        start: model.time,
        end: model.observed,
    };
    batch.push(header, &payload);
}

fn short_name(severity: u8) -> String {
    let Some(index) = severity.checked_sub(1) else {
        return String::new();
    };
    let name = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"][usize::from(index / 4)];
    if index % 4 == 0 { name.into() } else { format!("{name}{}", index % 4 + 1) }
}

/// What a log record must be on the wire when ticks are Unix nanoseconds.
pub(crate) fn expected(model: &LogModel, limits: &LogLimits) -> LogRecord {
    let own = model.items.iter().filter_map(|item| match item {
        Item::Attribute(name, value) => Some((name, value)),
        _ => None,
    });
    let (attributes, mut dropped_attributes_count) =
        model::expected_attributes(own, limits.attributes, limits.value_length);
    let (mut severity_text, mut body) = (short_name(model.severity), None);
    for item in &model.items {
        match item {
            Item::Dropped { attributes, .. } => {
                dropped_attributes_count = dropped_attributes_count.saturating_add(*attributes);
            }
            Item::SeverityText(text) => severity_text.clone_from(text),
            Item::Body(value) => body = Some(model::expected_value(value, usize::MAX, model::LEVELS)),
            _ => {}
        }
    }
    let valid = model.trace_id != [0; 16] && model.span_id != [0; 8];
    LogRecord {
        time_unix_nano: model.time,
        observed_time_unix_nano: model.observed,
        severity_number: model.severity.into(),
        severity_text,
        body,
        attributes,
        dropped_attributes_count,
        flags: if valid { model.trace_flags.into() } else { 0 },
        trace_id: if valid { model.trace_id.to_vec() } else { Vec::new() },
        span_id: if valid { model.span_id.to_vec() } else { Vec::new() },
        ..Default::default()
    }
}
