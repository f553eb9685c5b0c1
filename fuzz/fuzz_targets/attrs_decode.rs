//! Bytes that no recording thread wrote, and written ones with a few changed, as a record's items: reading, encoding and
//! drawing never panic, and end. As long as all text is UTF-8 the request decodes, and JSON lines are UTF-8 always.

#![cfg_attr(fuzzing, no_main)]

#[path = "../../tests/rust/model.rs"]
#[allow(dead_code, reason = "only payloads are written here")]
mod model;
mod shim;
#[allow(dead_code, reason = "only spans are drawn here")]
mod structured;

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use pytracingx::attrs::{Item, Items, Text, Value};
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::ConsoleFormat;
use pytracingx::encode::chunk::Part;
use pytracingx::encode::otlp::{self, logs::LogEncoder, trace::TraceEncoder};
use pytracingx::encode::{Lookup, console};
use pytracingx::intern::Interner;
use pytracingx::record::{Header, StrId, kind};

fuzz_target!(run);

fn run(data: &[u8]) {
    let strings = Interner::default();
    match data.split_first() {
        Some((choice, data)) if choice & 1 == 0 => check(data, &strings),
        Some((_, data)) => {
            let mut u = Unstructured::new(data);
            let edits: arbitrary::Result<[(u16, u8); 3]> = Arbitrary::arbitrary(&mut u);
            if let (Ok(edits), Ok(span)) = (edits, structured::span(&mut u)) {
                let mut payload = model::payload(&span.items, &strings);
                for (at, byte) in edits {
                    let len = payload.len();
                    if len > 0 {
                        payload[usize::from(at) % len] = byte;
                    }
                }
                check(&payload, &strings);
            }
        }
        None => check(data, &strings),
    }
}

fn check(payload: &[u8], strings: &Interner) {
    let mut utf8 = true;
    let mut items = Items::new(payload);
    let mut rest = payload.len();
    while let Some(item) = items.next() {
        utf8 &= item_is_utf8(&item);
        assert!(items.as_bytes().len() < rest, "an item takes at least a byte");
        rest = items.as_bytes().len();
    }
    assert!(items.as_bytes().is_empty(), "the sequence ended");

    let mut batch = Batch::default();
    let zero: Header = Header {
        kind: kind::SPAN,
        detail: 0x21,
        mask: 1,
        payload_bytes: 0,
        name: StrId::NONE,
        scope: 0,
        flags: 0,
        trace_id: Default::default(),
        span_id: Default::default(),
        parent_span_id: Default::default(),
        start: 1,
        end: 2,
    };
    batch.push(zero, payload);
    batch.push(Header { kind: kind::LOG, ..zero }, payload);
    let timeline = Timeline::identity();
    let lookup = Lookup { strings, timeline: &timeline };
    let chunk = TraceEncoder::default().encode(&batch, |_| true, &Default::default(), lookup);
    let mut body = Vec::new();
    otlp::request(b"", &[Part { chunk: Arc::new(chunk), records: 0..1 }], &mut body);
    if utf8 {
        ExportTraceServiceRequest::decode(&*body).expect("official code decodes it");
    }
    let chunk = LogEncoder::default().encode(&batch, |_| true, &Default::default(), lookup);
    otlp::request(b"", &[Part { chunk: Arc::new(chunk), records: 0..1 }], &mut body);
    if utf8 {
        ExportLogsServiceRequest::decode(&*body).expect("official code decodes it");
    }

    let record = batch.span(0);
    for format in [ConsoleFormat::Compact, ConsoleFormat::Pretty, ConsoleFormat::Json] {
        for draw in [console::span, console::log] {
            let mut out = Vec::new();
            draw(record, lookup, format, false, &mut out);
            let text = std::str::from_utf8(&out).expect("console output is UTF-8");
            let body = text.strip_suffix('\n').expect("an entry ends its line");
            assert!(format == ConsoleFormat::Pretty || !body.contains(|c: char| c.is_control()));
        }
    }
}

fn item_is_utf8(item: &Item<'_>) -> bool {
    match item {
        Item::Attribute(attribute) => text_is_utf8(attribute.key) && value_is_utf8(attribute.value, 0),
        Item::Name(text) | Item::TraceState(text) | Item::Status(text) | Item::SeverityText(text) => {
            is_utf8(text)
        }
        Item::Body(value) => value_is_utf8(*value, 0),
        Item::Event(event) => text_is_utf8(event.name) && items_are_utf8(event.attributes, 0),
        Item::Link(link) => is_utf8(link.trace_state) && items_are_utf8(link.attributes, 0),
        Item::Dropped { .. } => true,
    }
}

fn items_are_utf8(items: Items<'_>, depth: usize) -> bool {
    items.attributes().all(|attribute| text_is_utf8(attribute.key) && value_is_utf8(attribute.value, depth))
}

fn value_is_utf8(value: Value<'_>, depth: usize) -> bool {
    match value {
        Value::Str(text) => is_utf8(text),
        // Deeper than anything that is encoded.
        _ if depth == 100 => true,
        Value::Array(mut values) => values.all(|value| value_is_utf8(value, depth + 1)),
        Value::Map(items) => items_are_utf8(items, depth + 1),
        _ => true,
    }
}

fn text_is_utf8(text: Text<'_>) -> bool {
    if let Text::Inline(bytes) = text { is_utf8(bytes) } else { true }
}

fn is_utf8(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}
