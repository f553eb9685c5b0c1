//! The records that a check sends: as small as they can be, through the encoders that everything goes through.

use std::sync::Arc;

use crate::aggregate::{Data, Metric, Point, Value as PointValue};
use crate::attrs::{Value, put_body, put_text_item, tag};
use crate::batch::{Batch, Lookup};
use crate::clock::Timeline;
use crate::config::Signal;
use crate::encode::chunk::Part;
use crate::encode::otlp::logs::LogEncoder;
use crate::encode::otlp::metrics::MetricEncoder;
use crate::encode::otlp::trace::TraceEncoder;
use crate::encode::sls::{Layout, LogGroupEncoder};
use crate::ids::{FLAG_RANDOM, FLAG_SAMPLED, IdGenerator, SpanId};
use crate::intern::Interner;
use crate::limits::{LogLimits, SpanLimits};
use crate::record::{Header, Number, SpanKind, StatusCode, StrId, flag, kind};
use crate::sys::ticks;

const NAME: &str = "pytracingx.check";
/// INFO.
const SEVERITY_NUMBER: u8 = 9;

/// The encoded record; `columns`: for SLS.
pub(super) fn part(signal: Signal, columns: Option<Layout>) -> Part {
    let lookup = Lookup { strings: &Interner::default(), timeline: &Timeline::new() };
    let now = ticks::unix_nano();
    let mut items = Vec::new();
    let mut batch = Batch::default();
    let chunk = match signal {
        Signal::Traces => {
            put_text_item(&mut items, tag::NAME, NAME.as_bytes());
            let detail = Header::span_detail(SpanKind::Internal, StatusCode::Unset);
            batch.push(header(kind::SPAN, detail, now), &items);
            TraceEncoder::default().encode(&batch, |_| true, &SpanLimits::default(), lookup)
        }
        Signal::Logs => {
            put_body(&mut items, Value::Str(NAME.as_bytes()));
            batch.push(header(kind::LOG, SEVERITY_NUMBER, now), &items);
            let limits = LogLimits::default();
            match columns {
                Some(layout) => LogGroupEncoder::new(layout).encode(&batch, |_| true, &limits, lookup),
                None => LogEncoder::default().encode(&batch, |_| true, &limits, lookup),
            }
        }
        Signal::Metrics => {
            let mut encoder = MetricEncoder::default();
            let point = Point {
                attributes: &[],
                start_unix_nano: 0,
                time_unix_nano: now,
                value: PointValue::Number(Number::Int(1)),
                exemplars: &[],
            };
            let (data, points) = (Data::Gauge, vec![point]);
            encoder.put(&Metric { scope: 0, name: NAME, description: "", unit: "", data, points }, lookup);
            encoder.finish()
        }
    };
    Part { records: 0..chunk.len(), chunk: Arc::new(chunk) }
}

fn header(kind: u8, detail: u8, now_unix_nano: u64) -> Header {
    let mut ids = IdGenerator::from_entropy();
    let times = flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO;
    Header {
        kind,
        detail,
        mask: 0,
        payload_bytes: 0,
        name: StrId::NONE,
        scope: 0,
        flags: u16::from(FLAG_SAMPLED | FLAG_RANDOM) | if kind == kind::SPAN { times } else { 0 },
        trace_id: ids.trace_id(),
        span_id: ids.span_id(),
        parent_span_id: SpanId::NONE,
        start: if kind == kind::SPAN { now_unix_nano } else { ticks::now() },
        end: if kind == kind::SPAN { now_unix_nano } else { ticks::now() },
    }
}
