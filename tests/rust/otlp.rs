//! The OTLP encoder against the official structs decoded by prost: every field, limits, masks, joining and splitting of
//! requests, and bytes checked by hand.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::{Resource, ResourceValue};
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::otlp::{self, trace::TraceEncoder};
use pytracingx::encode::wire;
use pytracingx::intern::{Interner, Scope};
use pytracingx::limits::SpanLimits;
use pytracingx::record::{SpanKind, StatusCode};

use crate::model::{self, Item, Name, SpanModel, Value};
use crate::strategies::{limits, span};

// ---------------------------------------------------------------------------------------------- machinery

/// An interner with three scopes besides the default one, and their official form by index.
pub(crate) fn scopes(strings: &Interner) -> Vec<(InstrumentationScope, String)> {
    let scope = |name: &str, version: &str, schema_url: &str| Scope {
        name: name.into(),
        version: version.into(),
        schema_url: schema_url.into(),
    };
    let own = env!("CARGO_PKG_VERSION");
    let all = [
        scope("pytracingx", own, ""),
        scope("a", "", ""),
        scope("b", "1.2", ""),
        scope("c", "", "https://s"),
    ];
    for (index, scope) in all.iter().enumerate().skip(1) {
        assert_eq!(strings.scope_index(scope), index as u16);
    }
    let official = |scope: &Scope| InstrumentationScope {
        name: scope.name.clone(),
        version: scope.version.clone(),
        ..Default::default()
    };
    all.iter().map(|scope| (official(scope), scope.schema_url.clone())).collect()
}

fn string(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(any_value::Value::StringValue(text.into())) })
}

pub(crate) fn resource() -> (Vec<u8>, ProtoResource) {
    let resource = Resource { attributes: vec![("service.name".into(), ResourceValue::Str("svc".into()))] };
    let attribute = KeyValue { key: "service.name".into(), value: string("svc"), ..Default::default() };
    (otlp::resource(&resource), ProtoResource { attributes: vec![attribute], ..Default::default() })
}

fn encode(models: &[SpanModel], mask: u16, limits: &SpanLimits, strings: &Interner) -> Chunk {
    let mut batch = Batch::default();
    models.iter().for_each(|model| model::push(&mut batch, strings, model));
    let timeline = Timeline::identity();
    TraceEncoder::default().encode(
        &batch,
        |wanted| wanted & mask != 0,
        limits,
        Lookup { strings, timeline: &timeline },
    )
}

/// What a request with these spans must be: neighbours of equal scope share a `ScopeSpans`.
fn envelope(spans: Vec<(u16, Span)>, scopes: &[(InstrumentationScope, String)]) -> ExportTraceServiceRequest {
    if spans.is_empty() {
        return ExportTraceServiceRequest::default();
    }
    let scope_spans = spans.chunk_by(|(a, _), (b, _)| a == b).map(|run| {
        let (scope, schema_url) = scopes[usize::from(run[0].0)].clone();
        ScopeSpans {
            scope: Some(scope),
            spans: run.iter().map(|(_, span)| span.clone()).collect(),
            schema_url,
        }
    });
    let resource = Some(resource().1);
    let scope_spans = scope_spans.collect();
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..Default::default() }],
    }
}

/// The wanted spans in the order of a chunk.
fn expected_spans(models: &[SpanModel], mask: u16, limits: &SpanLimits) -> Vec<(u16, Span)> {
    let wanted = models.iter().filter(|model| model.mask & mask != 0);
    let mut spans: Vec<_> = wanted.map(|model| (model.scope, model::expected(model, limits))).collect();
    spans.sort_by_key(|(scope, _)| *scope);
    spans
}

/// Structs are compared as prost writes them: NaN is equal to itself there. Ours must be as short.
pub(crate) fn assert_same<M: Message + Default + PartialEq + std::fmt::Debug>(body: &[u8], expected: &M) {
    let decoded = M::decode(body).expect("a request that decodes");
    if decoded.encode_to_vec() != expected.encode_to_vec() {
        assert_eq!(&decoded, expected);
        panic!("differs in a NaN only: {decoded:?}");
    }
    assert_eq!(body.len(), expected.encoded_len());
}

pub(crate) fn whole(chunk: Chunk) -> Part {
    let records = 0..chunk.len();
    Part { chunk: Arc::new(chunk), records }
}

fn plain(items: Vec<Item>) -> SpanModel {
    SpanModel {
        mask: 1,
        scope: 0,
        trace_id: [0x11; 16],
        span_id: [0x22; 8],
        parent: None,
        remote: false,
        trace_flags: 1,
        kind: SpanKind::Internal,
        status: StatusCode::Unset,
        name: Some("op".into()),
        start: 1,
        duration: 1,
        items,
        oversize: false,
    }
}

/// Encodes one span, decodes it, and hands it back.
fn round_trip(model: &SpanModel, limits: &SpanLimits) -> Span {
    let strings = Interner::default();
    let mut body = Vec::new();
    otlp::request(
        &resource().0,
        &[whole(encode(std::slice::from_ref(model), 1, limits, &strings))],
        &mut body,
    );
    let mut request = ExportTraceServiceRequest::decode(&*body).expect("a request that decodes");
    request.resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

// ---------------------------------------------------------------------------------------------- properties

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_decode_to_what_was_recorded(models in prop::collection::vec(span(), 0..8), limits in limits(), mask in 1..4_u16) {
        let strings = Interner::default();
        let scopes = scopes(&strings);
        let chunk = encode(&models, mask, &limits, &strings);
        let expected = expected_spans(&models, mask, &limits);
        prop_assert_eq!(chunk.len(), expected.len());
        let mut body = vec![0xff];
        otlp::request(&resource().0, &[whole(chunk)], &mut body);
        assert_same(&body, &envelope(expected, &scopes));
    }

    /// Two batches, cut anywhere, joined in order: nothing is lost, doubled or encoded again.
    #[test]
    fn requests_split_and_join_by_record(
        first in prop::collection::vec(span(), 0..6),
        second in prop::collection::vec(span(), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let strings = Interner::default();
        let scopes = scopes(&strings);
        let limits = SpanLimits::default();
        let (mut parts, mut expected) = (Vec::new(), Vec::new());
        for models in [&first, &second] {
            let spans = expected_spans(models, 3, &limits);
            let chunk = Arc::new(encode(models, 3, &limits, &strings));
            let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(spans.len() + 1)).chain([spans.len()]).collect();
            ends.sort_unstable();
            let mut start = 0;
            for end in ends {
                parts.push(Part { chunk: chunk.clone(), records: start..end });
                start = end;
            }
            expected.extend(spans);
        }
        let total: usize = parts.iter().map(Part::bytes).sum();
        let both = |spans: Vec<_>| spans.iter().map(|(_, span): &(u16, Span)| {
            let len = span.encoded_len();
            1 + prost::length_delimiter_len(len) + len
        }).sum::<usize>();
        prop_assert_eq!(total, both(expected.clone()));
        let mut body = Vec::new();
        otlp::request(&resource().0, &parts, &mut body);
        assert_same(&body, &envelope(expected.clone(), &scopes));

        // Halves, as after "request too large": together they are the whole.
        let (left, right) = parts.split_at(parts.len() / 2);
        let left_len = left.iter().map(|part| part.records.len()).sum();
        for (half, spans) in [(left, &expected[..left_len]), (right, &expected[left_len..])] {
            otlp::request(&resource().0, half, &mut body);
            assert_same(&body, &envelope(spans.to_vec(), &scopes));
        }
    }

    #[test]
    fn varints_are_those_of_prost(value in any::<u64>(), shift in 0..64_u32) {
        let value = value >> shift;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        wire::put_varint(&mut ours, value);
        prost::encode_length_delimiter(value as usize, &mut theirs).expect("a Vec grows");
        prop_assert_eq!(wire::varint_len(value), theirs.len());
        prop_assert_eq!(ours, theirs);
    }

    /// Whatever length was expected, the length on the wire is the shortest right one.
    #[test]
    fn wrong_guesses_do_not_show(
        expected in prop_oneof![0..300_usize, 16_000..17_000_usize, 2_000_000..2_200_000_usize],
        len in prop_oneof![0..300_usize, 16_380..16_390_usize, 2_097_150..2_097_155_usize],
    ) {
        let mut out = vec![9];
        let part = wire::open(&mut out, 0x0a, expected);
        out.extend((0..len).map(|at| at as u8));
        wire::close(&mut out, part);
        let mut canonical = vec![9, 0x0a];
        prost::encode_length_delimiter(len, &mut canonical).expect("a Vec grows");
        canonical.extend((0..len).map(|at| at as u8));
        prop_assert!(out == canonical);
    }
}

// ---------------------------------------------------------------------------------------------- by hand

#[test]
fn varint_lengths_at_their_edges() {
    for bits in 0..64 {
        let value = 1_u64 << bits;
        for value in [value - 1, value, value | 1] {
            let mut out = Vec::new();
            wire::put_varint(&mut out, value);
            assert_eq!(out.len(), wire::varint_len(value), "{value:#x}");
            assert_eq!(prost::decode_length_delimiter(&*out).ok(), Some(value as usize), "{value:#x}");
        }
    }
}

/// Each byte written out from the `.proto` files, not from any encoder.
#[test]
fn golden_request() {
    let model = SpanModel {
        scope: 1,
        parent: Some([0x33; 8]),
        remote: true,
        kind: SpanKind::Server,
        status: StatusCode::Error,
        start: 0x0102_0304_0506_0708,
        duration: 1,
        items: vec![
            Item::Attribute(Name { text: "k".into(), interned: true }, Value::Int(300)),
            Item::Status("no".into()),
        ],
        ..plain(vec![])
    };
    let strings = Interner::default();
    scopes(&strings);
    let chunk = encode(&[model], 1, &SpanLimits::default(), &strings);
    let mut body = Vec::new();
    otlp::request(&resource().0, &[whole(chunk)], &mut body);

    let mut expected = Vec::new();
    expected.extend([0x0a, 0x78]); // resource_spans, 120 bytes
    expected.extend([0x0a, 0x17, 0x0a, 0x15]); // resource, 23; attributes, 21
    expected.extend(b"\x0a\x0cservice.name\x12\x05\x0a\x03svc");
    expected.extend([0x12, 0x5d]); // scope_spans, 93
    expected.extend(b"\x0a\x03\x0a\x01a"); // scope, 3; name, 1
    expected.extend([0x12, 0x56]); // spans, 86
    expected.extend([0x0a, 0x10]); // trace_id
    expected.extend([0x11; 16]);
    expected.extend([0x12, 0x08]); // span_id
    expected.extend([0x22; 8]);
    expected.extend([0x30, 0x02]); // kind: server
    expected.extend([0x39, 8, 7, 6, 5, 4, 3, 2, 1]); // start_time_unix_nano
    expected.extend([0x41, 9, 7, 6, 5, 4, 3, 2, 1]); // end_time_unix_nano
    expected.extend([0x85, 0x01, 0x01, 0x03, 0, 0]); // flags: sampled, has_is_remote, is_remote
    expected.extend([0x22, 0x08]); // parent_span_id
    expected.extend([0x33; 8]);
    expected.extend(b"\x2a\x02op"); // name
    expected.extend(b"\x4a\x08\x0a\x01k\x12\x03\x18\xac\x02"); // attributes: k = 300
    expected.extend(b"\x7a\x06\x12\x02no\x18\x02"); // status: message, error
    assert_eq!(body, expected);
}

#[test]
fn scalars_of_every_type_are_present_even_when_default() {
    let values = [Value::Empty, Value::Bool(false), Value::Int(0), Value::Double(0.0), Value::Str("".into())];
    let key = |index: usize| Name { text: index.to_string(), interned: false };
    let items = values.iter().enumerate().map(|(index, value)| Item::Attribute(key(index), value.clone()));
    let span = round_trip(&plain(items.collect()), &SpanLimits::default());
    let decoded: Vec<_> =
        span.attributes.into_iter().map(|attribute| attribute.value.unwrap().value).collect();
    use any_value::Value::*;
    let string = StringValue(String::new());
    assert_eq!(
        decoded,
        [None, Some(BoolValue(false)), Some(IntValue(0)), Some(DoubleValue(0.0)), Some(string)]
    );
}

#[test]
fn resource_values_keep_their_types() {
    let array = vec![ResourceValue::Int(-1), ResourceValue::Array(vec![ResourceValue::Str("é".repeat(100))])];
    let attributes = vec![
        ("s".into(), ResourceValue::Str("x".repeat(200))),
        ("i".into(), ResourceValue::Int(i64::MIN)),
        ("d".into(), ResourceValue::Double(0.5)),
        ("b".into(), ResourceValue::Bool(true)),
        ("a".into(), ResourceValue::Array(array)),
    ];
    let decoded = ProtoResource::decode(&*otlp::resource(&Resource { attributes })).expect("a resource");
    let any = |value| Some(AnyValue { value: Some(value) });
    let list = |values: Vec<Option<AnyValue>>| {
        let values = values.into_iter().flatten().collect();
        any(any_value::Value::ArrayValue(ArrayValue { values }))
    };
    let expected = [
        ("s", string(&"x".repeat(200))),
        ("i", any(any_value::Value::IntValue(i64::MIN))),
        ("d", any(any_value::Value::DoubleValue(0.5))),
        ("b", any(any_value::Value::BoolValue(true))),
        ("a", list(vec![any(any_value::Value::IntValue(-1)), list(vec![string(&"é".repeat(100))])])),
    ];
    let expected = expected.map(|(key, value)| KeyValue { key: key.into(), value, ..Default::default() });
    assert_eq!(decoded.attributes, expected);
}

/// The deepest value sits in an event's attribute. What official decoders would refuse is cut, not sent: the request,
/// and with it all other spans, arrives.
#[test]
fn depth_is_cut_where_decoders_give_up() {
    let key = || Name { text: "k".into(), interned: false };
    let nest = |wrap: &dyn Fn(Value) -> Value| (0..200).fold(Value::Int(7), |value, _| wrap(value));
    let arrays = nest(&|value| Value::Array(vec![value]));
    let maps = nest(&|value| Value::Map(vec![(key(), value)]));
    let depth = |value: &Option<AnyValue>| {
        let (mut depth, mut value) = (0, value.clone());
        while let Some(AnyValue { value: Some(inner) }) = value {
            value = match inner {
                any_value::Value::ArrayValue(mut array) => array.values.pop(),
                any_value::Value::KvlistValue(mut map) => map.values.pop().and_then(|entry| entry.value),
                other => panic!("{other:?} is deeper than any decoder goes"),
            };
            depth += 1;
        }
        depth
    };
    for (value, levels) in [(arrays, 46), (maps, 30)] {
        let attributes = vec![(key(), value)];
        let event = Item::Event { name: key(), time: 1, explicit: true, dropped: 0, attributes };
        let span = round_trip(&plain(vec![event]), &SpanLimits::default());
        assert_eq!(depth(&span.events[0].attributes[0].value), levels);
    }
}

#[test]
fn without_records_there_is_no_envelope() {
    let strings = Interner::default();
    let chunk = encode(&[plain(vec![])], 2, &SpanLimits::default(), &strings);
    assert!(chunk.is_empty() && chunk.bytes.is_empty() && chunk.runs.is_empty());
    let mut body = vec![1, 2, 3];
    otlp::request(&resource().0, &[whole(chunk)], &mut body);
    assert!(body.is_empty());
}

/// A payload whose hand-over never arrived costs its items, not the span.
#[test]
fn a_lost_oversize_payload_leaves_the_span() {
    let model = SpanModel { oversize: true, ..plain(vec![Item::TraceState("a=b".into())]) };
    let strings = Interner::default();
    let mut whole_batch = Batch::default();
    model::push(&mut whole_batch, &strings, &model);
    let record = whole_batch.spans().next().expect("one span");
    assert!(!record.payload.is_empty());
    let mut batch = Batch::default();
    batch.push(*record.header, &77_u64.to_ne_bytes());
    assert_eq!(batch.spans().next().expect("one span").payload, b"");
}
