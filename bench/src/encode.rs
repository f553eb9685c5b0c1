//! Encoding: 512 spans with three attributes, 512 log records with a body and three attributes, and 512 data points of a
//! counter with one attribute, from drained records to a finished request body, against opentelemetry-proto structs built
//! from the same records, encoded by prost, and dropped.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric as ProtoMetric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use pytracingx::aggregate::{self, Data, Metric, Point};
use pytracingx::attrs::{self, Item, Items, Text, Value};
use pytracingx::batch::{Batch, RecordRef};
use pytracingx::clock::Timeline;
use pytracingx::config::{Resource, ResourceValue};
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::otlp::logs::LogEncoder;
use pytracingx::encode::otlp::metrics::MetricEncoder;
use pytracingx::encode::otlp::{self, trace::TraceEncoder};
use pytracingx::ids::{IdGenerator, SpanId};
use pytracingx::intern::{Interner, Scope};
use pytracingx::limits::{LogLimits, SpanLimits};
use pytracingx::record::{Header, Number, SpanKind, StatusCode, StrId, kind, severity_name};

use crate::measure::{Candidate, Options, Report, compare};

pub(crate) const REQUEST: &str = "ours: encode + request";
pub(crate) const PROST: &str = "prost: build + encode + drop";

/// What a benchmark's records look things up in.
pub(crate) struct Session {
    pub(crate) strings: Interner,
    timeline: Timeline,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self { strings: Interner::default(), timeline: Timeline::identity() }
    }

    pub(crate) fn lookup(&self) -> Lookup<'_> {
        Lookup { strings: &self.strings, timeline: &self.timeline }
    }

    fn intern(&self, text: &str) -> StrId {
        (0..2).find_map(|_| self.strings.intern(text.as_bytes())).expect("room for a few texts")
    }

    fn scope(&self) -> InstrumentationScope {
        let Scope { name, version, .. } = self.strings.scope(0);
        InstrumentationScope { name, version, ..Default::default() }
    }
}

/// Spans.
pub fn run(options: Options) -> Report {
    let spans = count(options);
    let session = Session::new();
    let batch = batch(spans, &session);
    let limits = SpanLimits::default();
    let encoder = RefCell::new(TraceEncoder::default());
    let encode = || encoder.borrow_mut().encode(&batch, |mask| mask & 1 != 0, &limits, session.lookup());
    let structs = || ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(proto_resource()),
            scope_spans: vec![ScopeSpans {
                scope: Some(session.scope()),
                spans: batch.spans().map(|record| build_span(record, &session.strings)).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    against_prost("span", spans, options, encode, structs)
}

/// Log records.
pub fn run_logs(options: Options) -> Report {
    let logs = count(options);
    let session = Session::new();
    let batch = log_batch(logs, &session);
    let limits = LogLimits::default();
    let encoder = RefCell::new(LogEncoder::default());
    let encode = || encoder.borrow_mut().encode(&batch, |_| true, &limits, session.lookup());
    let structs = || ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(proto_resource()),
            scope_logs: vec![ScopeLogs {
                scope: Some(session.scope()),
                log_records: batch.logs().map(|record| build_log(record, &session.strings)).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    against_prost("log", logs, options, encode, structs)
}

/// Data points of a counter.
pub fn run_points(options: Options) -> Report {
    let points = count(options);
    let session = Session::new();
    let key = Text::Id(session.intern("gen_ai.request.model"));
    let attributes: Vec<Vec<u8>> = (0..points)
        .map(|index| {
            let mut items = Vec::new();
            attrs::put_attribute(&mut items, key, Value::Str(format!("model-{index}").as_bytes()));
            items
        })
        .collect();
    let metric = Metric {
        scope: 0,
        name: "gen_ai.server.tokens",
        description: "Tokens produced",
        unit: "{token}",
        data: Data::Sum { monotonic: true, delta: false },
        points: attributes
            .iter()
            .zip(0..)
            .map(|(attributes, index)| Point {
                attributes,
                start_unix_nano: 1_700_000_000_000_000_000,
                time_unix_nano: 1_700_000_060_000_000_000,
                value: aggregate::Value::Number(Number::Int(index)),
                exemplars: &[],
            })
            .collect(),
    };
    let encoder = RefCell::new(MetricEncoder::default());
    let encode = || {
        let mut encoder = encoder.borrow_mut();
        encoder.put(&metric, session.lookup());
        encoder.finish()
    };
    let structs = || ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(proto_resource()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(session.scope()),
                metrics: vec![build_sum(&metric, &session.strings)],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    against_prost("point", points, options, encode, structs)
}

pub(crate) fn count(options: Options) -> usize {
    if options.check { 8 } else { 512 }
}

fn against_prost<M: Message + Default + PartialEq>(
    unit: &'static str,
    items: usize,
    options: Options,
    encode: impl Fn() -> Chunk,
    structs: impl Fn() -> M,
) -> Report {
    let resource = otlp::resource(&Resource {
        attributes: vec![("service.name".into(), ResourceValue::Str("bench".into()))],
    });
    let request = |chunk: Chunk, body: &mut Vec<u8>| {
        let records = 0..chunk.len();
        otlp::request(&resource, &[Part { chunk: Arc::new(chunk), records }], body);
    };

    let mut body = Vec::new();
    let chunk = encode();
    assert_eq!(chunk.count(0..chunk.len()), items as u64);
    request(chunk, &mut body);
    let decoded = M::decode(&*body).expect("our request decodes");
    assert!(decoded == structs(), "both paths say the same");
    assert_eq!(body.len(), structs().encoded_len(), "in as many bytes");

    let mut rival = Vec::new();
    let candidates = vec![
        Candidate::new("ours: encode", || {
            black_box(encode());
        }),
        Candidate::new(REQUEST, || {
            request(encode(), &mut body);
            black_box(&body);
        }),
        Candidate::new(PROST, || {
            let request = structs();
            rival.clear();
            request.encode(&mut rival).expect("a Vec grows");
            black_box(&rival);
        }),
    ];
    compare(unit, items, options, candidates, (REQUEST, PROST, 4.0))
}

/// Records as a recording thread writes them: name and keys interned, values inline.
fn batch(spans: usize, session: &Session) -> Batch {
    let mut ids = IdGenerator::from_seed(std::array::from_fn(|at| at as u8));
    let name = session.intern("decode_step");
    let keys = keys(session);
    let trace_id = ids.trace_id();
    let mut batch = Batch::default();
    let mut parent_span_id = SpanId::NONE;
    for index in 0..spans as u64 {
        let mut payload = Vec::new();
        put_attributes(&mut payload, &keys, index);
        let span_id = ids.span_id();
        let header = Header {
            kind: kind::SPAN,
            detail: Header::span_detail(SpanKind::Internal, StatusCode::Unset),
            mask: 1,
            payload_bytes: 0,
            name,
            scope: 0,
            flags: 1,
            trace_id,
            span_id,
            parent_span_id,
            start: 1_700_000_000_000_000_000 + index,
            end: 1_700_000_000_000_500_000 + index,
        };
        batch.push(header, &payload);
        parent_span_id = span_id;
    }
    batch
}

/// As [`batch`], with a body.
pub(crate) fn log_batch(logs: usize, session: &Session) -> Batch {
    let mut ids = IdGenerator::from_seed(std::array::from_fn(|at| at as u8));
    let keys = keys(session);
    let (trace_id, span_id) = (ids.trace_id(), ids.span_id());
    let mut batch = Batch::default();
    for index in 0..logs as u64 {
        let mut payload = Vec::new();
        attrs::put_body(&mut payload, Value::Str(b"request finished"));
        put_attributes(&mut payload, &keys, index);
        let header = Header {
            kind: kind::LOG,
            detail: 9,
            mask: 0,
            payload_bytes: 0,
            name: StrId::NONE,
            scope: 0,
            flags: 1,
            trace_id,
            span_id,
            parent_span_id: SpanId::NONE,
            start: 1_700_000_000_000_000_000 + index,
            end: 1_700_000_000_000_000_000 + index,
        };
        batch.push(header, &payload);
    }
    batch
}

fn keys(session: &Session) -> [Text<'static>; 3] {
    ["gen_ai.request.model", "batch_size", "kv_cache_usage"].map(|key| Text::Id(session.intern(key)))
}

fn put_attributes(payload: &mut Vec<u8>, keys: &[Text<'_>; 3], index: u64) {
    attrs::put_attribute(payload, keys[0], Value::Str(b"qwen3-8b"));
    attrs::put_attribute(payload, keys[1], Value::Int(index as i64));
    attrs::put_attribute(payload, keys[2], Value::Double(0.5));
}

fn proto_resource() -> ProtoResource {
    let service = any_value::Value::StringValue("bench".into());
    ProtoResource { attributes: vec![key_value("service.name".into(), service)], ..Default::default() }
}

fn build_span(record: RecordRef<'_>, strings: &Interner) -> Span {
    let header = &record.header;
    let parent = header.parent_span_id;
    Span {
        trace_id: header.trace_id.0.to_vec(),
        span_id: header.span_id.0.to_vec(),
        parent_span_id: if parent.is_valid() { parent.0.to_vec() } else { Vec::new() },
        flags: u32::from(header.trace_flags()) | 0x100,
        name: string(strings.resolve(header.name)),
        kind: header.span_kind() as i32,
        start_time_unix_nano: header.start,
        end_time_unix_nano: header.end,
        attributes: build_attributes(record.payload, strings),
        status: None::<Status>,
        ..Default::default()
    }
}

fn build_log(record: RecordRef<'_>, strings: &Interner) -> LogRecord {
    let header = &record.header;
    let body = Items::new(record.payload).find_map(|item| match item {
        Item::Body(Value::Str(bytes)) => Some(any_value::Value::StringValue(string(bytes))),
        _ => None,
    });
    LogRecord {
        time_unix_nano: header.start,
        observed_time_unix_nano: header.end,
        severity_number: header.detail.into(),
        severity_text: severity_name(header.detail).into(),
        body: Some(AnyValue { value: body }),
        attributes: build_attributes(record.payload, strings),
        flags: header.trace_flags().into(),
        trace_id: header.trace_id.0.to_vec(),
        span_id: header.span_id.0.to_vec(),
        ..Default::default()
    }
}

fn build_sum(metric: &Metric<'_>, strings: &Interner) -> ProtoMetric {
    let point = |point: &Point<'_>| NumberDataPoint {
        attributes: build_attributes(point.attributes, strings),
        start_time_unix_nano: point.start_unix_nano,
        time_unix_nano: point.time_unix_nano,
        value: match point.value {
            aggregate::Value::Number(Number::Int(value)) => Some(number_data_point::Value::AsInt(value)),
            other => unreachable!("the metric holds no {other:?}"),
        },
        ..Default::default()
    };
    let data = metric::Data::Sum(Sum {
        data_points: metric.points.iter().map(point).collect(),
        aggregation_temporality: AggregationTemporality::Cumulative as i32,
        is_monotonic: true,
    });
    ProtoMetric {
        name: metric.name.into(),
        description: metric.description.into(),
        unit: metric.unit.into(),
        data: Some(data),
        ..Default::default()
    }
}

fn build_attributes(items: &[u8], strings: &Interner) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(4);
    for item in Items::new(items) {
        if let Item::Attribute(attribute) = item {
            let key = match attribute.key {
                Text::Id(id) => string(strings.resolve(id)),
                Text::Inline(bytes) => string(bytes),
            };
            let value = match attribute.value {
                Value::Str(bytes) => any_value::Value::StringValue(string(bytes)),
                Value::Int(number) => any_value::Value::IntValue(number),
                Value::Double(number) => any_value::Value::DoubleValue(number),
                other => unreachable!("the items hold no {other:?}"),
            };
            attributes.push(key_value(key, value));
        }
    }
    attributes
}

fn key_value(key: String, value: any_value::Value) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// As cheap as a `String` of our bytes can be had.
pub(crate) fn string(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).expect("the batch holds UTF-8").to_owned()
}
