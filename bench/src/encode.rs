//! Encoding: 512 spans with three attributes from drained records to a finished request body, against
//! opentelemetry-proto structs built from the same records, encoded by prost, and dropped.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use pytracingx::attrs::{self, Item, Items, Text, Value};
use pytracingx::batch::{Batch, RecordRef};
use pytracingx::clock::Timeline;
use pytracingx::config::{Resource, ResourceValue};
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::otlp;
use pytracingx::encode::otlp::trace::TraceEncoder;
use pytracingx::ids::{IdGenerator, SpanId};
use pytracingx::intern::{Interner, Scope};
use pytracingx::limits::SpanLimits;
use pytracingx::record::{Header, SpanKind, StatusCode, StrId, kind};

use crate::measure::{Candidate, Options, Report, compare};

const REQUEST: &str = "ours: encode + request";

pub fn run(options: Options) -> Report {
    let spans = if options.check { 8 } else { 512 };
    let strings = Interner::default();
    let timeline = Timeline::identity();
    let lookup = Lookup { strings: &strings, timeline: &timeline };
    let batch = batch(spans, &strings);
    let limits = SpanLimits::default();
    let resource = otlp::resource(&Resource {
        attributes: vec![("service.name".into(), ResourceValue::Str("bench".into()))],
    });
    let scope = strings.scope(0);

    let encoder = RefCell::new(TraceEncoder::default());
    let encode = || encoder.borrow_mut().encode(&batch, |mask| mask & 1 != 0, &limits, lookup);
    let request = |chunk: Chunk, body: &mut Vec<u8>| {
        let records = 0..chunk.len();
        otlp::request(&resource, &[Part { chunk: Arc::new(chunk), records }], body);
    };
    let structs = || build(&batch, &strings, &scope);

    let mut body = Vec::new();
    request(encode(), &mut body);
    let decoded = ExportTraceServiceRequest::decode(&*body).expect("our request decodes");
    assert!(decoded == structs(), "both paths say the same");
    assert_eq!(decoded.resource_spans[0].scope_spans[0].spans.len(), spans);
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
        Candidate::new("prost: build + encode + drop", || {
            let request = structs();
            rival.clear();
            request.encode(&mut rival).expect("a Vec grows");
            black_box(&rival);
        }),
    ];
    compare("span", spans, options, candidates, (REQUEST, "prost: build + encode + drop", 4.0))
}

/// Records as a recording thread writes them: name and keys interned, values inline.
fn batch(spans: usize, strings: &Interner) -> Batch {
    let mut ids = IdGenerator::from_seed(std::array::from_fn(|at| at as u8));
    let intern =
        |text: &str| (0..2).find_map(|_| strings.intern(text.as_bytes())).expect("room for a few texts");
    let name = intern("decode_step");
    let keys = ["gen_ai.request.model", "batch_size", "kv_cache_usage"].map(|key| Text::Id(intern(key)));
    let trace_id = ids.trace_id();
    let mut batch = Batch::default();
    let mut parent_span_id = SpanId::NONE;
    for index in 0..spans as u64 {
        let mut payload = Vec::new();
        attrs::put_attribute(&mut payload, keys[0], Value::Str(b"qwen3-8b"));
        attrs::put_attribute(&mut payload, keys[1], Value::Int(index as i64));
        attrs::put_attribute(&mut payload, keys[2], Value::Double(0.5));
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

fn build(batch: &Batch, strings: &Interner, scope: &Scope) -> ExportTraceServiceRequest {
    let spans = batch.spans().map(|record| build_span(record, strings)).collect();
    let Scope { name, version, .. } = scope.clone();
    let scope = InstrumentationScope { name, version, ..Default::default() };
    let service = any_value::Value::StringValue("bench".into());
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(ProtoResource {
                attributes: vec![key_value("service.name".into(), service)],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

fn build_span(record: RecordRef<'_>, strings: &Interner) -> Span {
    let header = &record.header;
    let text = |id: StrId| string(strings.resolve(id));
    let mut attributes = Vec::with_capacity(4);
    for item in Items::new(record.payload) {
        if let Item::Attribute(attribute) = item {
            let key = match attribute.key {
                Text::Id(id) => text(id),
                Text::Inline(bytes) => string(bytes),
            };
            let value = match attribute.value {
                Value::Str(bytes) => any_value::Value::StringValue(string(bytes)),
                Value::Int(number) => any_value::Value::IntValue(number),
                Value::Double(number) => any_value::Value::DoubleValue(number),
                other => unreachable!("the batch holds no {other:?}"),
            };
            attributes.push(key_value(key, value));
        }
    }
    let parent = header.parent_span_id;
    Span {
        trace_id: header.trace_id.0.to_vec(),
        span_id: header.span_id.0.to_vec(),
        parent_span_id: if parent.is_valid() { parent.0.to_vec() } else { Vec::new() },
        flags: u32::from(header.trace_flags()) | 0x100,
        name: text(header.name),
        kind: header.span_kind() as i32,
        start_time_unix_nano: header.start,
        end_time_unix_nano: header.end,
        attributes,
        status: None::<Status>,
        ..Default::default()
    }
}

fn key_value(key: String, value: any_value::Value) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// As cheap as a `String` of our bytes can be had.
fn string(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).expect("the batch holds UTF-8").to_owned()
}
