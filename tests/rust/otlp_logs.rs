//! The log encoder against the official structs decoded by prost: every field, limits, selection, both clocks.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use proptest::prelude::*;
use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::encode::Lookup;
use pytracingx::encode::otlp::{self, logs::LogEncoder};
use pytracingx::intern::Interner;
use pytracingx::limits::LogLimits;
use pytracingx::record::severity_name;
use pytracingx::sys::ticks::Sample;

use crate::model::{Item, Name, Value};
use crate::model_logs::{self, LogModel};
use crate::otlp::{assert_same, resource, scopes, whole};
use crate::strategies::{log, log_limits};

fn plain(items: Vec<Item>) -> LogModel {
    LogModel {
        scope: 0,
        severity: 9,
        time: 1,
        explicit: false,
        observed: 2,
        trace_id: [0x11; 16],
        span_id: [0x22; 8],
        trace_flags: 1,
        items,
        oversize: false,
    }
}

fn body_of(
    models: &[LogModel],
    wanted: impl Fn(usize) -> bool,
    limits: &LogLimits,
    lookup: Lookup<'_>,
) -> Vec<u8> {
    let mut batch = Batch::default();
    models.iter().for_each(|model| model_logs::push(&mut batch, lookup.strings, model));
    let chunk = LogEncoder::default().encode(&batch, wanted, limits, lookup);
    let mut body = vec![0xff];
    otlp::request(&resource().0, &[whole(chunk)], &mut body);
    body
}

/// Encodes one log record, decodes it, and hands it back.
fn round_trip(model: &LogModel, limits: &LogLimits, timeline: &Timeline) -> LogRecord {
    let strings = Interner::default();
    let lookup = Lookup { strings: &strings, timeline };
    let body = body_of(std::slice::from_ref(model), |_| true, limits, lookup);
    let mut request = ExportLogsServiceRequest::decode(&*body).expect("a request that decodes");
    request.resource_logs.remove(0).scope_logs.remove(0).log_records.remove(0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn logs_decode_to_what_was_recorded(
        models in prop::collection::vec((log(), any::<bool>()), 0..8),
        limits in log_limits(),
    ) {
        let strings = Interner::default();
        let scopes = scopes(&strings);
        let (models, wanted): (Vec<_>, Vec<_>) = models.into_iter().unzip();
        let timeline = Timeline::identity();
        let lookup = Lookup { strings: &strings, timeline: &timeline };
        let body = body_of(&models, |index| wanted[index], &limits, lookup);

        let mut kept: Vec<_> = models.iter().zip(&wanted).filter_map(|(model, wanted)| wanted.then_some(model)).collect();
        kept.sort_by_key(|model| model.scope);
        let scope_logs = kept.chunk_by(|a, b| a.scope == b.scope).map(|run| {
            let (scope, schema_url) = scopes[usize::from(run[0].scope)].clone();
            let log_records = run.iter().map(|model| model_logs::expected(model, &limits)).collect();
            ScopeLogs { scope: Some(scope), log_records, schema_url }
        });
        let scope_logs: Vec<_> = scope_logs.collect();
        let resource_logs = if scope_logs.is_empty() {
            vec![]
        } else {
            vec![ResourceLogs { resource: Some(resource().1), scope_logs, ..Default::default() }]
        };
        assert_same(&body, &ExportLogsServiceRequest { resource_logs });
    }
}

/// Each byte written out from the `.proto` files, not from any encoder.
#[test]
fn golden_log_record() {
    let model = LogModel {
        scope: 1,
        time: 0x0102_0304_0506_0708,
        observed: 0x0102_0304_0506_0709,
        severity: 18,
        items: vec![
            Item::Body(Value::Str("hi".into())),
            Item::Attribute(Name { text: "k".into(), interned: true }, Value::Int(300)),
            Item::Dropped { attributes: 5, events: 0, links: 0 },
        ],
        ..plain(vec![])
    };
    let strings = Interner::default();
    scopes(&strings);
    let timeline = Timeline::identity();
    let body =
        body_of(&[model], |_| true, &LogLimits::default(), Lookup { strings: &strings, timeline: &timeline });

    let mut expected = Vec::new();
    expected.extend([0x0a, 0x71]); // resource_logs, 113 bytes
    expected.extend([0x0a, 0x17, 0x0a, 0x15]); // resource, 23; attributes, 21
    expected.extend(b"\x0a\x0cservice.name\x12\x05\x0a\x03svc");
    expected.extend([0x12, 0x56]); // scope_logs, 86
    expected.extend(b"\x0a\x03\x0a\x01a"); // scope, 3; name, 1
    expected.extend([0x12, 0x4f]); // log_records, 79
    expected.extend([0x09, 8, 7, 6, 5, 4, 3, 2, 1]); // time_unix_nano
    expected.extend([0x59, 9, 7, 6, 5, 4, 3, 2, 1]); // observed_time_unix_nano
    expected.extend([0x4a, 0x10]); // trace_id
    expected.extend([0x11; 16]);
    expected.extend([0x52, 0x08]); // span_id
    expected.extend([0x22; 8]);
    expected.extend([0x45, 1, 0, 0, 0]); // flags: sampled
    expected.extend(b"\x32\x08\x0a\x01k\x12\x03\x18\xac\x02"); // attributes: k = 300
    expected.extend(b"\x2a\x04\x0a\x02hi"); // body
    expected.extend([0x10, 18]); // severity_number
    expected.extend(b"\x1a\x06ERROR2"); // severity_text
    expected.extend([0x38, 5]); // dropped_attributes_count
    assert_eq!(body, expected);
}

#[test]
fn ticks_are_converted_and_given_times_are_not() {
    // Ticks are nanoseconds that began at 1000.
    let timeline = Timeline::starting_with(Sample { ticks: 1000, monotonic_nano: 0, unix_nano: 5_000_000 });
    let times = |time, explicit| {
        let model = LogModel { time, explicit, observed: 1500, ..plain(vec![]) };
        let log = round_trip(&model, &LogLimits::default(), &timeline);
        (log.time_unix_nano, log.observed_time_unix_nano)
    };
    assert_eq!(times(1200, false), (5_000_200, 5_000_500));
    assert_eq!(times(1500, false), (5_000_500, 5_000_500));
    assert_eq!(times(1500, true), (1500, 5_000_500));
}

#[test]
fn limits_do_not_cut_the_body() {
    let nested = || {
        let key = Name { text: "key".into(), interned: false };
        Value::Map(vec![(key, Value::Array(vec![Value::Str("abc".into()), Value::Empty, Value::Bool(true)]))])
    };
    let attribute = Item::Attribute(Name { text: "a".into(), interned: false }, nested());
    let limits = LogLimits { attributes: 1, value_length: 1 };
    let log = round_trip(&plain(vec![attribute, Item::Body(nested())]), &limits, &Timeline::identity());
    let text = |value: &Option<AnyValue>| {
        let Some(any_value::Value::KvlistValue(map)) = value.as_ref().and_then(|any| any.value.clone())
        else {
            panic!("{value:?} is no map");
        };
        let Some(any_value::Value::ArrayValue(array)) =
            map.values[0].value.as_ref().and_then(|any| any.value.clone())
        else {
            panic!("{map:?} holds no array");
        };
        assert_eq!(array.values.len(), 3);
        array.values[0].value.clone()
    };
    let string = |text: &str| Some(any_value::Value::StringValue(text.into()));
    assert_eq!(text(&log.body), string("abc"));
    assert_eq!(text(&log.attributes[0].value), string("a"));
}

#[test]
fn severities_have_their_short_names() {
    let all: Vec<_> = (0..=24).map(severity_name).collect();
    assert_eq!(all[..6], ["", "TRACE", "TRACE2", "TRACE3", "TRACE4", "DEBUG"]);
    assert_eq!((all[9], all[13], all[17], all[21], all[24]), ("INFO", "WARN", "ERROR", "FATAL", "FATAL4"));
    assert_eq!((severity_name(25), severity_name(255)), ("", ""));
}
