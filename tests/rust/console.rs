//! Console layouts as they look.

use pytracingx::attrs::{self, Text, Value, tag};
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::ConsoleFormat;
use pytracingx::encode::{Lookup, console};
use pytracingx::intern::Interner;
use pytracingx::record::{Header, StatusCode, kind};

use crate::model::{self, Item, Name, SpanModel};

fn name(text: &str) -> Name {
    Name { text: text.into(), interned: false }
}

fn attribute(key: &str, value: model::Value) -> Item {
    Item::Attribute(name(key), value)
}

/// A span of 1.5 ms that ended on 2023-11-14 22:13:20.0015 UTC.
fn model(items: Vec<Item>) -> SpanModel {
    SpanModel {
        mask: 0,
        scope: 0,
        trace_id: [0x5b; 16],
        span_id: [0xee; 8],
        parent: None,
        remote: false,
        trace_flags: 1,
        kind: Default::default(),
        status: StatusCode::Unset,
        name: Some("generate".into()),
        start: 1_700_000_000_000_000_000,
        duration: 1_500_999,
        items,
        oversize: false,
    }
}

fn draw(model: &SpanModel, begin: bool, format: ConsoleFormat, color: bool) -> String {
    let (strings, timeline) = (Interner::default(), Timeline::identity());
    let mut batch = Batch::default();
    model::push(&mut batch, &strings, model);
    let mut record = batch.spans().next().expect("one span");
    let begun = Header { kind: kind::SPAN_BEGIN, end: 0, ..*record.header };
    if begin {
        record.header = &begun;
    }
    let mut out = Vec::new();
    console::span(record, Lookup { strings: &strings, timeline: &timeline }, format, color, &mut out);
    String::from_utf8(out).expect("console output is UTF-8")
}

/// A span with everything that a layout can show.
fn rich() -> SpanModel {
    SpanModel {
        parent: Some([0xaa; 8]),
        status: StatusCode::Error,
        ..model(vec![
            attribute("gen_ai.request.model", model::Value::Str("m \"x\"".into())),
            attribute("tokens", model::Value::Int(3)),
            Item::Status("boom\n".into()),
            Item::Event {
                name: name("exception"),
                time: 1_700_000_000_001_000_000,
                explicit: true,
                dropped: 0,
                attributes: vec![(name("exception.type"), model::Value::Str("ValueError".into()))],
            },
            Item::Link {
                trace_id: [1; 16],
                span_id: [2; 8],
                flags: 0,
                trace_state: String::new(),
                dropped: 0,
                attributes: vec![(name("why"), model::Value::Bool(true))],
            },
        ])
    }
}

#[test]
fn compact_is_one_line() {
    assert_eq!(
        draw(&rich(), false, ConsoleFormat::Compact, false),
        "2023-11-14T22:13:20.001500Z ERROR pytracingx: span_end generate \
         trace_id=5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b span_id=eeeeeeeeeeeeeeee duration_ms=1.500 status=\"boom\\n\" \
         gen_ai.request.model=\"m \\\"x\\\"\" tokens=3\n"
    );
    assert_eq!(
        draw(&model(vec![]), true, ConsoleFormat::Compact, false),
        "2023-11-14T22:13:20.000000Z INFO  pytracingx: span_begin generate \
         trace_id=5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b span_id=eeeeeeeeeeeeeeee\n"
    );
}

#[test]
fn pretty_is_indented() {
    let expected = r#"2023-11-14T22:13:20.001500Z ERROR pytracingx: span_end generate
    trace_id: 5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b
    span_id: eeeeeeeeeeeeeeee
    parent_span_id: aaaaaaaaaaaaaaaa
    duration_ms: 1.500
    status: "boom\n"
    gen_ai.request.model: "m \"x\""
    tokens: 3
    event 2023-11-14T22:13:20.001000Z exception
        exception.type: "ValueError"
    link 01010101010101010101010101010101 0202020202020202
        why: true
"#;
    assert_eq!(draw(&rich(), false, ConsoleFormat::Pretty, false), expected);
}

#[test]
fn json_is_one_object_a_line() {
    assert_eq!(
        draw(&rich(), false, ConsoleFormat::Json, true),
        concat!(
            r#"{"timestamp":"2023-11-14T22:13:20.001500Z","level":"ERROR","kind":"span_end","name":"generate","#,
            r#""logger":"pytracingx","trace_id":"5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b","span_id":"eeeeeeeeeeeeeeee","#,
            r#""duration_ms":1.500999,"attributes":{"gen_ai.request.model":"m \"x\"","tokens":3}}"#,
            "\n"
        )
    );
    let begin = draw(&model(vec![]), true, ConsoleFormat::Json, false);
    let begin: serde_json::Value = serde_json::from_str(&begin).expect("valid JSON");
    assert_eq!((begin["kind"].as_str(), begin.get("duration_ms")), (Some("span_begin"), None));
}

#[test]
fn color_paints_time_level_logger_and_name() {
    assert_eq!(
        draw(&model(vec![]), true, ConsoleFormat::Compact, true),
        "\x1b[2m2023-11-14T22:13:20.000000Z\x1b[0m \x1b[32mINFO \x1b[0m \x1b[2mpytracingx:\x1b[0m span_begin \
         \x1b[1mgenerate\x1b[0m trace_id=5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b span_id=eeeeeeeeeeeeeeee\n"
    );
}

/// Everything that could break a line, drive a terminal or reorder text, wherever user data goes.
#[test]
fn user_data_cannot_forge_output() {
    let controls = (0..0x20).chain([0x7f]).chain(0x80..0xa0);
    let others = [0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e];
    let hostile: String = controls
        .chain(others)
        .chain(0x2066..0x206a)
        .map(|c| char::from_u32(c).expect("a character"))
        .collect();
    let text = || format!("a{hostile}z\\");
    let span = SpanModel {
        name: Some(text()),
        status: StatusCode::Error,
        ..model(vec![
            attribute(&text(), model::Value::Str(text())),
            attribute("map", model::Value::Map(vec![(name(&text()), model::Value::Str(text()))])),
            Item::Status(text()),
            Item::Event { name: name(&text()), time: 1, explicit: true, dropped: 0, attributes: vec![] },
        ])
    };
    for format in [ConsoleFormat::Compact, ConsoleFormat::Pretty, ConsoleFormat::Json] {
        let drawn = draw(&span, false, format, false);
        let lines = if format == ConsoleFormat::Pretty { 8 } else { 1 };
        assert_eq!(drawn.lines().count(), lines, "{drawn}");
        let found: Vec<_> = drawn.chars().filter(|c| *c != '\n' && hostile.contains(*c)).collect();
        assert_eq!(found, [], "{format:?}");
    }
    let json = draw(&span, false, ConsoleFormat::Json, false);
    let json: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
    assert_eq!(json["name"], text());
    assert_eq!(json["attributes"][text()], text());
    assert_eq!(json["attributes"]["map"][text()], text());
}

#[test]
fn json_knows_every_value() {
    use model::Value::*;
    let values = [
        ("nan", Double(f64::NAN), serde_json::json!("NaN")),
        ("inf", Double(f64::INFINITY), serde_json::json!("Infinity")),
        ("-inf", Double(f64::NEG_INFINITY), serde_json::json!("-Infinity")),
        ("tiny", Double(f64::MIN_POSITIVE), serde_json::json!(f64::MIN_POSITIVE)),
        ("huge", Double(f64::MAX), serde_json::json!(f64::MAX)),
        ("min", Int(i64::MIN), serde_json::json!(i64::MIN)),
        ("bytes", Bytes(vec![0, 0xff]), serde_json::json!("00ff")),
        ("empty", Empty, serde_json::json!(null)),
        ("list", Array(vec![Int(1), Array(vec![]), Map(vec![])]), serde_json::json!([1, [], {}])),
        (
            "map",
            Map(vec![(name("k"), Bool(true)), (name("l"), Str("é😀".into()))]),
            serde_json::json!({"k": true, "l": "é😀"}),
        ),
    ];
    let items = values.iter().map(|(key, value, _)| attribute(key, value.clone())).collect();
    let json = draw(&model(items), false, ConsoleFormat::Json, false);
    let json: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
    for (key, _, expected) in values {
        assert_eq!(json["attributes"][key], expected, "{key}");
    }
}

/// Bytes that recording never writes: text that is not UTF-8, and nesting without end.
#[test]
fn hostile_payloads_stay_valid_and_bounded() {
    let mut nested = Vec::new();
    let mut depth = vec![attrs::open_array(&mut nested, Text::Inline(b"deep"))];
    depth.extend((0..100_000).map(|_| attrs::open_element(&mut nested, tag::ARRAY)));
    depth.into_iter().rev().for_each(|open| attrs::close(&mut nested, open));
    attrs::put_attribute(&mut nested, Text::Inline(b"bad\xff"), Value::Str(b"\xc3(\xe2\x82"));

    let (strings, timeline) = (Interner::default(), Timeline::identity());
    let mut batch = Batch::default();
    model::push(&mut batch, &strings, &model(vec![]));
    let header = batch.spans().next().expect("one span").header;
    let record = pytracingx::batch::RecordRef { header, payload: &nested };
    let mut out = Vec::new();
    console::span(
        record,
        Lookup { strings: &strings, timeline: &timeline },
        ConsoleFormat::Json,
        false,
        &mut out,
    );
    let json: serde_json::Value = serde_json::from_slice(&out).expect("valid JSON");
    assert_eq!(json["attributes"]["bad\u{fffd}"], "\u{fffd}(\u{fffd}");
    let deep = json["attributes"]["deep"].to_string();
    assert_eq!(deep, format!("{}null{}", "[".repeat(64), "]".repeat(64)));
}

#[test]
fn timestamps_are_calendar_dates() {
    let dates = [
        (0, "1970-01-01T00:00:00.000000Z"),
        (951_782_399_999_999_999, "2000-02-28T23:59:59.999999Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000Z"),
        (951_868_800_000_000_000, "2000-03-01T00:00:00.000000Z"),
        (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000Z"),
        (1_735_689_599_000_001_000, "2024-12-31T23:59:59.000001Z"),
        (u64::MAX, "2554-07-21T23:34:33.709551Z"),
    ];
    for (start, expected) in dates {
        let span = SpanModel { start, ..model(vec![]) };
        let line = draw(&span, true, ConsoleFormat::Compact, false);
        assert_eq!(line.split(' ').next(), Some(expected));
    }
}
