//! The exporter's way of 512 spans with three attributes, of 512 log records with a body and three attributes or none, and
//! of 512 data points of a counter with one attribute: from ring record (a point: from the collected series) to finished request
//! body. Beside it opentelemetry-proto's structs, built from the same records after the same drain, encoded by prost, and
//! dropped. Both bodies must decode, by prost, to the same message, and be of the same length.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use pytracingx::aggregate::{self, Data, Metric, Point};
use pytracingx::attrs::{self, Text, Value};
use pytracingx::batch::Batch;
use pytracingx::config::{Resource, ResourceValue};
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::otlp::logs::LogEncoder;
use pytracingx::encode::otlp::metrics::MetricEncoder;
use pytracingx::encode::otlp::{self, trace::TraceEncoder};
use pytracingx::limits::{LogLimits, SpanLimits};
use pytracingx::record::Number;

use crate::count::Counted;
use crate::measure::{Candidate, Options, Report, compare};
use crate::records::{self, Record, Session, Source};
use crate::structs::{build_log, build_span, build_sum, proto_resource, proto_scope};

pub(crate) const ENCODE: &str = "ours: encode";
pub(crate) const BODY: &str = "ours: ring record to body";
pub(crate) const PROST: &str = "prost: drain + build + encode + drop";

/// Spans.
pub fn run(options: Options) -> Report {
    let session = Session::new();
    let (encode, structs) = of_spans(&session);
    against_prost("span", records::spans(count(options), &session), options, encode, structs)
}

/// Encodes the batch's spans, and builds the rival's.
fn of_spans(
    session: &Session,
) -> (impl FnMut(&Batch) -> Chunk, impl Fn(&Batch) -> ExportTraceServiceRequest) {
    let limits = SpanLimits::default();
    let mut encoder = TraceEncoder::default();
    let encode = move |batch: &Batch| encoder.encode(batch, |mask| mask & 1 != 0, &limits, session.lookup());
    let structs = |batch: &Batch| ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(proto_resource()),
            scope_spans: vec![ScopeSpans {
                scope: Some(proto_scope(&session.strings)),
                spans: batch.spans().map(|record| build_span(record, &session.strings)).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    (encode, structs)
}

/// Log records.
pub fn run_logs(options: Options) -> Report {
    let session = Session::new();
    let (encode, structs) = of_logs(&session);
    against_prost("log", records::logs(count(options), &session, true), options, encode, structs)
}

/// Log records without attributes.
pub fn run_plain_logs(options: Options) -> Report {
    let session = Session::new();
    let (encode, structs) = of_logs(&session);
    against_prost("log", records::logs(count(options), &session, false), options, encode, structs)
}

/// Encodes the batch's log records, and builds the rival's.
fn of_logs(session: &Session) -> (impl FnMut(&Batch) -> Chunk, impl Fn(&Batch) -> ExportLogsServiceRequest) {
    let limits = LogLimits::default();
    let mut encoder = LogEncoder::default();
    let encode = move |batch: &Batch| encoder.encode(batch, |_| true, &limits, session.lookup());
    let structs = |batch: &Batch| ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(proto_resource()),
            scope_logs: vec![ScopeLogs {
                scope: Some(proto_scope(&session.strings)),
                log_records: batch.logs().map(|record| build_log(record, &session.strings)).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    (encode, structs)
}

/// The exporter's work as [`run`] and [`run_logs`] time it, for counting: fills the lane, then makes a batch of it, or a
/// body.
pub(crate) fn bodies<'a>(session: &'a Session, items: usize) -> [Counted<'a>; 4] {
    let (spans, _) = of_spans(session);
    let (logs, _) = of_logs(session);
    [
        ("a span: lane to batch", Box::new(drained(records::spans(items, session)))),
        ("a span: lane to body", Box::new(body(records::spans(items, session), spans))),
        ("a log record: lane to batch", Box::new(drained(records::logs(items, session, true)))),
        ("a log record: lane to body", Box::new(body(records::logs(items, session, true), logs))),
    ]
}

/// Fills the lane, then makes a batch of it.
pub(crate) fn drained(records: Vec<Record>) -> impl FnMut() {
    let mut source = Source::new(records);
    move || {
        source.record();
        source.drain();
        black_box(&source.batch);
    }
}

fn body(records: Vec<Record>, mut encode: impl FnMut(&Batch) -> Chunk) -> impl FnMut() {
    let mut source = Source::new(records);
    let (resource, mut body) = (resource(), Vec::new());
    move || {
        source.record();
        source.drain();
        request(&resource, encode(&source.batch), &mut body);
        black_box(&body);
    }
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
    let mut encoder = MetricEncoder::default();
    let encode = |_: &Batch| {
        encoder.put(&metric, session.lookup());
        encoder.finish()
    };
    let structs = |_: &Batch| ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(proto_resource()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(proto_scope(&session.strings)),
                metrics: vec![build_sum(&metric, &session.strings)],
                ..Default::default()
            }],
            ..Default::default()
        }],
    };
    against_prost("point", Vec::new(), options, encode, structs)
}

pub(crate) fn count(options: Options) -> usize {
    if options.check { 8 } else { 512 }
}

fn resource() -> Vec<u8> {
    let service = ResourceValue::Str("bench".into());
    otlp::resource(&Resource { attributes: vec![("service.name".into(), service)] })
}

fn request(resource: &[u8], chunk: Chunk, body: &mut Vec<u8>) {
    let records = 0..chunk.len();
    otlp::request(resource, &[Part { chunk: Arc::new(chunk), records }], body);
}

fn against_prost<M: Message + Default + PartialEq>(
    unit: &'static str,
    records: Vec<Record>,
    options: Options,
    encode: impl FnMut(&Batch) -> Chunk,
    structs: impl Fn(&Batch) -> M,
) -> Report {
    let items = count(options);
    let resource = resource();
    let source = RefCell::new(Source::new(records));
    let encode = RefCell::new(encode);
    let encode = || encode.borrow_mut()(&source.borrow().batch);
    let record = || source.borrow_mut().record();
    let drain = || source.borrow_mut().drain();

    let mut body = Vec::new();
    record();
    drain();
    let chunk = encode();
    assert_eq!(chunk.count(0..chunk.len()), items as u64);
    request(&resource, chunk, &mut body);
    let decoded = M::decode(&*body).expect("our request decodes");
    let rivals = structs(&source.borrow().batch);
    assert!(decoded == rivals, "both paths say the same");
    assert_eq!(body.len(), rivals.encoded_len(), "in as many bytes");

    let mut rival = Vec::new();
    let candidates = vec![
        Candidate::new(ENCODE, || {
            black_box(encode());
        }),
        Candidate::after(record, BODY, || {
            drain();
            request(&resource, encode(), &mut body);
            black_box(&body);
        }),
        Candidate::after(record, PROST, || {
            drain();
            let request = structs(&source.borrow().batch);
            rival.clear();
            request.encode(&mut rival).expect("a Vec grows");
            black_box(&rival);
        }),
    ];
    compare(unit, items, options, candidates, (BODY, PROST, 6.0))
}
