//! Whatever is recorded: JSON lines are JSON, and nothing breaks a line or drives a terminal.

use proptest::collection::vec;
use proptest::prelude::*;
use pytracingx::accumulate::{Buckets, ExplicitHistogram, ExponentialHistogram};
use pytracingx::aggregate::{self, Data};
use pytracingx::attrs::{self, Text, Value, tag};
use pytracingx::batch::RecordRef;
use pytracingx::clock::Timeline;
use pytracingx::config::ConsoleFormat;
use pytracingx::encode::{Lookup, console};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::Interner;
use pytracingx::record::{Header, Number, kind};

use crate::{console_logs, console_metrics};

const FORMATS: [ConsoleFormat; 3] = [ConsoleFormat::Compact, ConsoleFormat::Pretty, ConsoleFormat::Json];

/// Text of the kinds that go wrong.
fn text() -> impl Strategy<Value = String> {
    let hostile =
        "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}\"\\\\]{0,6}";
    prop_oneof![hostile, "[a-z \"\\\\{}=:,]{0,12}", vec(any::<char>(), 0..6).prop_map(String::from_iter)]
}

/// One value, as [`attrs::put_element`] writes it.
fn element() -> impl Strategy<Value = Vec<u8>> {
    fn put(value: Value<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        attrs::put_element(&mut out, value);
        out
    }
    let leaf = prop_oneof![
        Just(put(Value::Empty)),
        any::<bool>().prop_map(|truth| put(Value::Bool(truth))),
        any::<i64>().prop_map(|number| put(Value::Int(number))),
        number().prop_map(|number| put(Value::Double(number))),
        text().prop_map(|text| put(Value::Str(text.as_bytes()))),
        vec(any::<u8>(), 0..9).prop_map(|bytes| put(Value::Str(&bytes))),
        vec(any::<u8>(), 0..9).prop_map(|bytes| put(Value::Bytes(&bytes))),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|elements| {
                let mut out = Vec::new();
                let open = attrs::open_element(&mut out, tag::ARRAY);
                out.extend(elements.concat());
                attrs::close(&mut out, open);
                out
            }),
            vec((text(), inner), 0..4).prop_map(|entries| {
                let mut out = Vec::new();
                let open = attrs::open_element(&mut out, tag::MAP);
                entries.iter().for_each(|(key, element)| put_attribute(&mut out, key, element));
                attrs::close(&mut out, open);
                out
            }),
        ]
    })
}

fn put_attribute(out: &mut Vec<u8>, key: &str, element: &[u8]) {
    if let Some(value) = attrs::Values::new(element).next() {
        attrs::put_attribute(out, Text::Inline(key.as_bytes()), value);
    }
}

fn attributes() -> impl Strategy<Value = Vec<u8>> {
    vec((text(), element()), 0..4).prop_map(|entries| {
        let mut out = Vec::new();
        entries.iter().for_each(|(key, element)| put_attribute(&mut out, key, element));
        out
    })
}

/// Any bits, with more of what is not finite.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(vec![0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX]),
    ]
}

/// Whole lines; only `pretty` entries have several, and indents all but the first.
fn check(drawn: &str, format: ConsoleFormat) -> Result<(), TestCaseError> {
    let hostile = |c: char| {
        c.is_control()
            || "\u{61c}\u{200e}\u{200f}".contains(c)
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let lines: Vec<_> = drawn.strip_suffix('\n').expect("an end of line").split('\n').collect();
    prop_assert!(lines.iter().all(|line| !line.contains(hostile)), "{drawn:?}");
    prop_assert!(lines[1..].iter().all(|line| line.starts_with("    ")), "{drawn:?}");
    if format != ConsoleFormat::Pretty {
        prop_assert_eq!(lines.len(), 1);
    }
    if format == ConsoleFormat::Json {
        let parsed = serde_json::from_str::<serde_json::Value>(drawn);
        prop_assert!(parsed.is_ok_and(|value| value["attributes"].is_object()), "{drawn:?}");
    }
    Ok(())
}

fn histograms() -> impl Strategy<Value = (ExplicitHistogram, ExponentialHistogram)> {
    let counts = || vec(prop_oneof![Just(0), 0..9_u64, any::<u64>()], 0..40);
    let buckets = || (any::<i32>(), counts()).prop_map(|(offset, counts)| Buckets { offset, counts });
    let sides = (buckets(), buckets(), prop_oneof![-10..=20, any::<i32>()], any::<u64>());
    let numbers = (number(), number(), number(), any::<u64>());
    (vec(number(), 0..40), counts(), sides, numbers).prop_map(
        |(boundaries, counts, (positive, negative, scale, zero_count), (sum, min, max, count))| {
            let explicit = ExplicitHistogram { boundaries: boundaries.into(), counts, count, sum, min, max };
            (explicit, ExponentialHistogram { scale, count, sum, min, max, zero_count, positive, negative })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn spans_and_logs(
        (name, body, severity_text) in (text(), element(), text()),
        attributes in attributes(),
        (severity, ids, start) in (any::<u8>(), any::<u8>(), any::<u64>()),
    ) {
        let (strings, timeline) = (Interner::default(), Timeline::identity());
        let lookup = Lookup { strings: &strings, timeline: &timeline };
        let mut payload = attributes;
        attrs::put_text_item(&mut payload, tag::NAME, name.as_bytes());
        attrs::put_text_item(&mut payload, tag::STATUS, name.as_bytes());
        attrs::put_text_item(&mut payload, tag::SEVERITY_TEXT, severity_text.as_bytes());
        attrs::put_body_element(&mut payload, &body);
        let log = Header {
            trace_id: TraceId([ids & 1; 16]),
            span_id: SpanId([ids >> 1 & 1; 8]),
            ..console_logs::header(severity, start)
        };
        let span = Header { kind: kind::SPAN, end: start, ..log };
        for format in FORMATS {
            let mut drawn = Vec::new();
            console::log(RecordRef { header: &log, payload: &payload }, lookup, format, false, &mut drawn);
            check(&String::from_utf8(drawn).expect("UTF-8"), format)?;
            let mut drawn = Vec::new();
            console::span(RecordRef { header: &span, payload: &payload }, lookup, format, false, &mut drawn);
            check(&String::from_utf8(drawn).expect("UTF-8"), format)?;
        }
    }

    #[test]
    fn metrics(
        (name, unit) in (text(), text()),
        attributes in attributes(),
        (explicit, exponential) in histograms(),
        value in number(),
        delta in any::<bool>(),
    ) {
        let values = [
            (Data::Gauge, aggregate::Value::Number(Number::Double(value))),
            (Data::Sum { monotonic: true, delta }, aggregate::Value::Number(Number::Double(value))),
            (Data::Histogram { delta }, aggregate::Value::Explicit(&explicit)),
            (Data::ExponentialHistogram { delta }, aggregate::Value::Exponential(&exponential)),
        ];
        for (data, value) in values {
            let given =
                console_metrics::Given { name: &name, unit: &unit, data, value, attributes: &attributes };
            for format in FORMATS {
                check(&console_metrics::draw(&given, format, false), format)?;
            }
        }
    }
}
