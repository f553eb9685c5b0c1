//! Log records on the console as they look.

use pytracingx::attrs::{self, Text, Value, tag};
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::ConsoleFormat;
use pytracingx::encode::{Lookup, console};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::{Interner, Scope};
use pytracingx::record::{Header, StrId, flag, kind};

/// 2023-11-14 22:13:20.000250 UTC.
const TIME: u64 = 1_700_000_000_000_250_999;

/// A log record outside any span.
pub(crate) fn header(severity_number: u8, unix_nano: u64) -> Header {
    Header {
        kind: kind::LOG,
        detail: severity_number,
        mask: 0,
        payload_bytes: 0,
        name: StrId::NONE,
        scope: 0,
        flags: flag::START_IS_UNIX_NANO,
        trace_id: TraceId::NONE,
        span_id: SpanId::NONE,
        parent_span_id: SpanId::NONE,
        start: unix_nano,
        end: unix_nano + 1,
    }
}

fn inside_a_span(header: Header) -> Header {
    Header { trace_id: TraceId([0x5b; 16]), span_id: SpanId([0xee; 8]), ..header }
}

fn draw(header: Header, payload: &[u8], format: ConsoleFormat, color: bool) -> String {
    let (strings, timeline) = (Interner::default(), Timeline::identity());
    let scope = strings.scope_index(&Scope { name: "app.scheduler".into(), ..Scope::default() });
    let mut batch = Batch::default();
    batch.push(Header { scope, ..header }, payload);
    let record = batch.logs().next().expect("one record");
    let mut out = Vec::new();
    console::log(record, Lookup { strings: &strings, timeline: &timeline }, format, color, &mut out);
    String::from_utf8(out).expect("console output is UTF-8")
}

fn attribute(out: &mut Vec<u8>, key: &str, value: Value<'_>) {
    attrs::put_attribute(out, Text::Inline(key.as_bytes()), value);
}

/// A warning with attributes on both sides of its body, as items may stand.
fn rich() -> Vec<u8> {
    let mut items = Vec::new();
    attribute(&mut items, "depth", Value::Int(17));
    attrs::put_body(&mut items, Value::Str("queue is\nlong".as_bytes()));
    attrs::put_text_item(&mut items, tag::SEVERITY_TEXT, b"WARNING");
    attribute(&mut items, "queue", Value::Str(b"prefill"));
    items
}

#[test]
fn compact_is_one_line() {
    assert_eq!(
        draw(inside_a_span(header(13, TIME)), &rich(), ConsoleFormat::Compact, false),
        "2023-11-14T22:13:20.000250Z WARN  app.scheduler: queue is\\nlong trace_id=5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b \
         span_id=eeeeeeeeeeeeeeee depth=17 queue=\"prefill\"\n"
    );
    assert_eq!(
        draw(header(9, TIME), &[], ConsoleFormat::Compact, false),
        "2023-11-14T22:13:20.000250Z INFO  app.scheduler:\n"
    );
}

#[test]
fn pretty_is_indented() {
    let expected = r#"2023-11-14T22:13:20.000250Z WARN  app.scheduler: queue is\nlong
    trace_id: 5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b
    span_id: eeeeeeeeeeeeeeee
    severity_text: "WARNING"
    depth: 17
    queue: "prefill"
"#;
    assert_eq!(draw(inside_a_span(header(13, TIME)), &rich(), ConsoleFormat::Pretty, false), expected);
}

#[test]
fn json_is_one_object_a_line() {
    assert_eq!(
        draw(inside_a_span(header(13, TIME)), &rich(), ConsoleFormat::Json, true),
        concat!(
            r#"{"timestamp":"2023-11-14T22:13:20.000250Z","level":"WARN","kind":"log","message":"queue is\nlong","#,
            r#""logger":"app.scheduler","trace_id":"5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b","span_id":"eeeeeeeeeeeeeeee","#,
            r#""severity_text":"WARNING","attributes":{"depth":17,"queue":"prefill"}}"#,
            "\n"
        )
    );
    assert_eq!(
        draw(header(9, TIME), &[], ConsoleFormat::Json, false),
        concat!(
            r#"{"timestamp":"2023-11-14T22:13:20.000250Z","level":"INFO","kind":"log","message":null,"#,
            r#""logger":"app.scheduler","attributes":{}}"#,
            "\n"
        )
    );
}

#[test]
fn a_body_of_any_type_is_a_value() {
    let mut element = Vec::new();
    let open = attrs::open_element(&mut element, tag::MAP);
    attribute(&mut element, "role", Value::Str(b"user"));
    attribute(&mut element, "tokens", Value::Int(3));
    attrs::close(&mut element, open);
    let mut items = Vec::new();
    attrs::put_body_element(&mut items, &element);
    let compact = draw(header(9, TIME), &items, ConsoleFormat::Compact, false);
    assert!(compact.ends_with(" app.scheduler: {\"role\":\"user\",\"tokens\":3}\n"), "{compact}");
    let json = draw(header(9, TIME), &items, ConsoleFormat::Json, false);
    let json: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
    assert_eq!(json["message"], serde_json::json!({"role": "user", "tokens": 3}));
}

#[test]
fn levels_are_named_and_painted() {
    let expected = [
        (0, "UNSPECIFIED", "32"),
        (1, "TRACE", "35"),
        (5, "DEBUG", "34"),
        (8, "DEBUG4", "34"),
        (9, "INFO ", "32"),
        (13, "WARN ", "33"),
        (17, "ERROR", "31"),
        (21, "FATAL", "1;31"),
        (24, "FATAL4", "1;31"),
        (25, "UNSPECIFIED", "32"),
    ];
    for (number, level, sgr) in expected {
        assert_eq!(
            draw(header(number, TIME), &[], ConsoleFormat::Compact, true),
            format!(
                "\x1b[2m2023-11-14T22:13:20.000250Z\x1b[0m \x1b[{sgr}m{level}\x1b[0m \x1b[2mapp.scheduler:\x1b[0m\n"
            )
        );
    }
}

#[test]
fn severity_text_is_shown_where_it_says_something_else() {
    for (text, shown) in [("warn", false), ("WARN", false), ("", false), ("NOTICE", true), ("WARN\n", true)] {
        let mut items = Vec::new();
        attrs::put_text_item(&mut items, tag::SEVERITY_TEXT, text.as_bytes());
        let json = draw(header(13, TIME), &items, ConsoleFormat::Json, false);
        let json: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
        assert_eq!(json["level"], "WARN");
        assert_eq!(json.get("severity_text").and_then(|text| text.as_str()), shown.then_some(text));
    }
}

#[test]
fn a_time_of_its_own_or_ticks() {
    let ticks = Header { flags: 0, ..header(9, 1_000_000_000) };
    let line = draw(ticks, &[], ConsoleFormat::Compact, false);
    assert!(line.starts_with("1970-01-01T00:00:01.000000Z "), "{line}");
}
