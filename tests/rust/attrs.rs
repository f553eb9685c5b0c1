//! Items: what is written is read back, and bytes that nobody wrote end the sequence, no more.

use proptest::prelude::*;
use pytracingx::attrs::{self, Item, Items, Text, Value, tag};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::record::StrId;

const KEY: Text<'_> = Text::Id(StrId(7));

/// One item of each kind, every value type, arrays and maps nested in each other.
fn every_kind() -> Vec<u8> {
    let mut inner = Vec::new();
    attrs::put_attribute(&mut inner, Text::Inline(b"in"), Value::Bool(true));
    let link = attrs::Link {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        flags: 0x301,
        dropped_attributes: 4,
        trace_state: b"a=b",
        attributes: Items::new(&inner),
    };
    let mut out = Vec::new();
    attrs::put_attribute(&mut out, KEY, Value::Int(-1));
    attrs::put_attribute(&mut out, Text::Inline(b"double"), Value::Double(0.5));
    attrs::put_attribute(&mut out, KEY, Value::Bytes(b"\0\xff"));
    attrs::put_text_item(&mut out, tag::NAME, b"name");
    attrs::put_text_item(&mut out, tag::TRACE_STATE, b"t=s");
    attrs::put_text_item(&mut out, tag::STATUS, b"");
    let array = attrs::open_array(&mut out, Text::Inline(b"array"));
    attrs::put_element(&mut out, Value::Str(b"x"));
    attrs::put_element(&mut out, Value::Empty);
    let map = attrs::open_element(&mut out, tag::MAP);
    attrs::put_attribute(&mut out, KEY, Value::Bool(false));
    attrs::close(&mut out, map);
    attrs::close(&mut out, array);
    attrs::put_event(&mut out, KEY, 5, true, 6, &inner);
    attrs::put_link(&mut out, &link);
    attrs::put_dropped(&mut out, 1, 2, 3);
    out
}

#[test]
fn every_kind_of_item_is_read_back() {
    let bytes = every_kind();
    let drawing: Vec<String> = Items::new(&bytes).map(draw).collect();
    let expected = [
        "#7=-1",
        "double=0.5",
        "#7=bytes[0, 255]",
        "name name",
        "trace_state t=s",
        "status ",
        "array=[x,empty,{#7=false}]",
        "event #7 at 5 unix dropped 6 {in=true}",
        "link 01010101010101010101010101010101 0202020202020202 769 dropped 4 a=b {in=true}",
        "dropped 1 2 3",
    ];
    assert_eq!(drawing, expected);
}

fn draw(item: Item<'_>) -> String {
    let lossy = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match item {
        Item::Attribute(attribute) => draw_attribute(&attribute),
        Item::Name(text) => format!("name {}", lossy(text)),
        Item::TraceState(text) => format!("trace_state {}", lossy(text)),
        Item::Status(text) => format!("status {}", lossy(text)),
        Item::Event(event) => format!(
            "event {} at {} {} dropped {} {}",
            draw_text(event.name),
            event.time,
            if event.time_is_unix_nano { "unix" } else { "ticks" },
            event.dropped_attributes,
            draw_map(event.attributes)
        ),
        Item::Link(link) => format!(
            "link {:?} {:?} {} dropped {} {} {}",
            link.trace_id,
            link.span_id,
            link.flags,
            link.dropped_attributes,
            lossy(link.trace_state),
            draw_map(link.attributes)
        ),
        Item::Dropped { attributes, events, links } => format!("dropped {attributes} {events} {links}"),
        Item::SeverityText(text) => format!("severity_text {}", lossy(text)),
        Item::Body(value) => format!("body {}", draw_value(value)),
    }
}

fn draw_text(text: Text<'_>) -> String {
    match text {
        Text::Id(StrId(id)) => format!("#{id}"),
        Text::Inline(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn draw_attribute(attribute: &attrs::Attribute<'_>) -> String {
    format!("{}={}", draw_text(attribute.key), draw_value(attribute.value))
}

fn draw_map(items: Items<'_>) -> String {
    let entries: Vec<_> = items.attributes().map(|attribute| draw_attribute(&attribute)).collect();
    format!("{{{}}}", entries.join(","))
}

fn draw_value(value: Value<'_>) -> String {
    match value {
        Value::Empty => "empty".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Str(text) => String::from_utf8_lossy(text).into_owned(),
        Value::Bytes(bytes) => format!("bytes{bytes:?}"),
        Value::Array(values) => format!("[{}]", values.map(draw_value).collect::<Vec<_>>().join(",")),
        Value::Map(items) => draw_map(items),
    }
}

/// Wherever the bytes end, the items before that point are read and nothing else.
#[test]
fn cut_anywhere_the_whole_items_before_remain() {
    let bytes = every_kind();
    let all: Vec<_> = Items::new(&bytes).collect();
    let mut ends = Vec::new();
    let mut items = Items::new(&bytes);
    while items.next().is_some() {
        ends.push(bytes.len() - items.as_bytes().len());
    }
    for cut in 0..=bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        let read: Vec<_> = Items::new(&bytes[..cut]).collect();
        assert_eq!(read, all[..whole], "cut at {cut}");
    }
}

#[test]
fn next_attribute_reads_attributes_only() {
    let mut bytes = Vec::new();
    attrs::put_attribute(&mut bytes, KEY, Value::Int(1));
    attrs::put_text_item(&mut bytes, tag::NAME, b"n");
    attrs::put_attribute(&mut bytes, KEY, Value::Int(2));
    let mut items = Items::new(&bytes);
    assert_eq!(items.next_attribute().map(|attribute| attribute.value), Some(Value::Int(1)));
    assert_eq!(items.next_attribute(), None);
    assert_eq!(items.next(), Some(Item::Name(b"n")));
    assert_eq!(items.next_attribute().map(|attribute| attribute.value), Some(Value::Int(2)));
    assert_eq!((items.next_attribute(), items.next()), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes, and written ones with a few changed: drawing walks every value, and the sequence ends.
    #[test]
    fn arbitrary_bytes_end_the_sequence(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut edited = every_kind();
        for (at, byte) in edits {
            let at = at.index(edited.len());
            edited[at] = byte;
        }
        for bytes in [noise, edited] {
            let mut items = Items::new(&bytes);
            let mut rest = bytes.len();
            while let Some(item) = items.next() {
                draw(item);
                prop_assert!(items.as_bytes().len() < rest, "an item takes at least a byte");
                rest = items.as_bytes().len();
            }
            prop_assert_eq!(items.as_bytes(), b"", "it ended");
        }
    }
}
