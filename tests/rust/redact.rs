//! What redaction leaves of a batch, against the same rules applied to the model of its spans.

use bytemuck::Zeroable;
use proptest::prelude::*;
use pytracingx::attrs::{self, Item as Decoded, Items, Text, tag};
use pytracingx::batch::Batch;
use pytracingx::config::{RedactAction, RedactRule, pattern_matches};
use pytracingx::intern::Interner;
use pytracingx::record::{Header, flag, kind};
use pytracingx::redact::Redactor;
use sha2::{Digest, Sha256};

use crate::model::{self, Attributes, Item, Name, SpanModel, Value};
use crate::strategies;

fn rule(key: &str, action: RedactAction) -> RedactRule {
    RedactRule { key: key.to_owned(), action }
}

// ---------------------------------------------------------------------------------------------- the model

fn json(value: &Value) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    match value {
        Value::Empty => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => format!("{number:?}"),
        Value::Str(text) => quoted(text),
        Value::Bytes(bytes) => quoted(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Value::Array(values) => format!("[{}]", values.iter().map(json).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let entry = |(name, value): &(Name, Value)| format!("{}:{}", quoted(&name.text), json(value));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
        }
    }
}

fn hash(value: &Value) -> Value {
    let text = match value {
        Value::Str(text) => text.clone().into_bytes(),
        Value::Bytes(bytes) => bytes.clone(),
        other => json(other).into_bytes(),
    };
    let digits: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    Value::Str(format!("sha256:{digits}"))
}

fn cut(value: Value, length: usize) -> Value {
    let first = |text: &str| text.chars().take(length).collect::<String>();
    match value {
        Value::Str(text) => Value::Str(first(&text)),
        Value::Bytes(mut bytes) => {
            bytes.truncate(length);
            Value::Bytes(bytes)
        }
        other if json(&other).chars().count() <= length => other,
        other => Value::Str(first(&json(&other))),
    }
}

fn inner(value: &Value, rules: &[RedactRule]) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(|value| inner(value, rules)).collect()),
        Value::Map(entries) => Value::Map(attributes(entries, rules).0),
        other => other.clone(),
    }
}

fn attribute(name: &Name, value: &Value, rules: &[RedactRule]) -> Option<Value> {
    match rules.iter().find(|rule| pattern_matches(&rule.key, &name.text)).map(|rule| rule.action) {
        Some(RedactAction::Drop) => None,
        Some(RedactAction::Hash) => Some(hash(value)),
        Some(RedactAction::Truncate(length)) => Some(cut(inner(value, rules), length as usize)),
        None => Some(inner(value, rules)),
    }
}

/// What is left, and how many are not.
fn attributes(all: &Attributes, rules: &[RedactRule]) -> (Attributes, u32) {
    let kept: Attributes =
        all.iter().filter_map(|(name, value)| Some((name.clone(), attribute(name, value, rules)?))).collect();
    let dropped = (all.len() - kept.len()) as u32;
    (kept, dropped)
}

fn redacted(span: &SpanModel, rules: &[RedactRule]) -> SpanModel {
    let (mut items, mut lost) = (Vec::new(), 0);
    for item in &span.items {
        let mut item = item.clone();
        match &mut item {
            Item::Attribute(name, value) => match attribute(name, value, rules) {
                Some(left) => *value = left,
                None => {
                    lost += 1;
                    continue;
                }
            },
            Item::Event { attributes: own, dropped, .. } | Item::Link { attributes: own, dropped, .. } => {
                let (left, lost) = attributes(own, rules);
                (*own, *dropped) = (left, dropped.saturating_add(lost));
            }
            Item::Body(value) => *value = inner(value, rules),
            _ => {}
        }
        items.push(item);
    }
    if lost > 0 {
        items.push(Item::Dropped { attributes: lost, events: 0, links: 0 });
    }
    SpanModel { items, ..span.clone() }
}

fn rules() -> impl Strategy<Value = Vec<RedactRule>> {
    let key = prop::sample::select(vec!["*", "*a*", "?b*", "*.*k", "k", "*e*o*k", "*x", "é*"]);
    let action = prop_oneof![
        Just(RedactAction::Drop),
        Just(RedactAction::Hash),
        (0..12_u32).prop_map(RedactAction::Truncate),
    ];
    prop::collection::vec((key, action).prop_map(|(key, action)| rule(key, action)), 0..4)
}

proptest! {
    #[test]
    fn leaves_what_the_rules_leave(spans in prop::collection::vec(strategies::span(), 1..6), rules in rules()) {
        let strings = Interner::new().unwrap();
        let (mut batch, mut expected) = (Batch::default(), Batch::default());
        for span in &spans {
            // A name is written after the other items, so it would stand elsewhere among them.
            let span = SpanModel { name: None, ..span.clone() };
            model::push(&mut batch, &strings, &span);
            model::push(&mut expected, &strings, &redacted(&span, &rules));
        }
        Redactor::new(rules).apply(&mut batch, &strings);
        for (found, wanted) in batch.spans().zip(expected.spans()) {
            prop_assert_eq!(Header { payload_bytes: 0, ..*found.header }, Header { payload_bytes: 0, ..*wanted.header });
            prop_assert_eq!(found.payload, wanted.payload);
        }
        prop_assert_eq!(batch.span_count(), spans.len());
    }

    #[test]
    fn any_bytes_are_survived(payload in prop::collection::vec(any::<u8>(), 0..200), rules in rules()) {
        let strings = Interner::new().unwrap();
        let mut batch = Batch::default();
        batch.push(Header { kind: kind::LOG, ..Header::zeroed() }, &payload);
        Redactor::new(rules).apply(&mut batch, &strings);
        prop_assert_eq!(batch.logs().count(), 1);
    }
}

// ---------------------------------------------------------------------------------------------- by hand

fn log(attributes: &[(&str, attrs::Value<'_>)]) -> Vec<u8> {
    let mut out = Vec::new();
    attrs::put_body(&mut out, attrs::Value::Str(b"the secret stays: this is no attribute"));
    for (key, value) in attributes {
        attrs::put_attribute(&mut out, Text::Inline(key.as_bytes()), *value);
    }
    attrs::put_text_item(&mut out, tag::SEVERITY_TEXT, b"INFO");
    out
}

/// The log record's attributes as text, and its dropped count.
fn attributes_of(batch: &Batch) -> (Vec<String>, u32) {
    let (mut shown, mut lost) = (Vec::new(), 0);
    let record = batch.logs().next().unwrap();
    for item in Items::new(record.payload) {
        match item {
            Decoded::Attribute(attrs::Attribute { key: Text::Inline(key), value }) => {
                let key = String::from_utf8_lossy(key);
                shown.push(match value {
                    attrs::Value::Str(text) => format!("{key}={}", String::from_utf8_lossy(text)),
                    other => format!("{key}={other:?}"),
                });
            }
            Decoded::Dropped { attributes, .. } => lost += attributes,
            _ => {}
        }
    }
    (shown, lost)
}

#[test]
fn log_attributes_are_hidden_and_counted_and_a_text_body_is_left() {
    let strings = Interner::new().unwrap();
    for oversize in [false, true] {
        let mut batch = Batch::default();
        let items = log(&[
            ("prompt", attrs::Value::Str(b"a secret")),
            ("user", attrs::Value::Str(b"ann")),
            ("text", attrs::Value::Str("äöü€😀!".as_bytes())),
            ("flag", attrs::Value::Bool(true)),
            ("Prompt", attrs::Value::Int(7)),
        ]);
        let header = Header { kind: kind::LOG, ..Header::zeroed() };
        if oversize {
            batch.add_oversize(3, items.into());
            batch.push(Header { flags: flag::OVERSIZE, ..header }, &3_u64.to_ne_bytes());
        } else {
            batch.push(header, &items);
        }
        let mut redactor = Redactor::new(vec![
            rule("prompt", RedactAction::Drop),
            rule("user", RedactAction::Hash),
            rule("t*", RedactAction::Truncate(4)),
            rule("*", RedactAction::Truncate(3)),
        ]);
        redactor.apply(&mut batch, &strings);
        let (shown, lost) = attributes_of(&batch);
        assert_eq!(shown[0], "user=sha256:49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1");
        assert_eq!(shown[1..], ["text=äöü€", "flag=tru", "Prompt=Int(7)"]);
        assert_eq!(lost, 1);
        let payload = batch.logs().next().unwrap().payload;
        let holds = |text: &[u8]| payload.windows(text.len()).any(|window| window == text);
        assert!(holds(b"the secret stays") && !holds(b"a secret") && !holds(b"ann"));
    }
}

#[test]
fn keys_inside_a_structured_body_are_hidden() {
    let strings = Interner::new().unwrap();
    let (mut map, mut items) = (Vec::new(), Vec::new());
    attrs::put_attribute(&mut map, Text::Inline(b"prompt"), attrs::Value::Str(b"a secret"));
    attrs::put_attribute(&mut map, Text::Inline(b"model"), attrs::Value::Str(b"m"));
    attrs::put_body(&mut items, attrs::Value::Map(Items::new(&map)));
    attrs::put_attribute(&mut items, Text::Inline(b"kept"), attrs::Value::Int(1));
    let mut batch = Batch::default();
    batch.push(Header { kind: kind::LOG, ..Header::zeroed() }, &items);
    Redactor::new(vec![rule("prompt", RedactAction::Drop)]).apply(&mut batch, &strings);
    let body = Items::new(batch.logs().next().unwrap().payload).find_map(|item| match item {
        Decoded::Body(attrs::Value::Map(items)) => Some(items.attributes().collect::<Vec<_>>()),
        _ => None,
    });
    let model = attrs::Attribute { key: Text::Inline(b"model"), value: attrs::Value::Str(b"m") };
    assert_eq!(body, Some(vec![model]));
    assert_eq!(attributes_of(&batch), (vec!["kept=Int(1)".to_owned()], 0));
}

#[test]
fn without_rules_nothing_is_touched() {
    let strings = Interner::new().unwrap();
    let mut batch = Batch::default();
    batch.push(Header { kind: kind::LOG, ..Header::zeroed() }, &log(&[("a", attrs::Value::Int(1))]));
    let bytes = batch.byte_len();
    Redactor::new(Vec::new()).apply(&mut batch, &strings);
    Redactor::new(vec![rule("b", RedactAction::Drop)]).apply(&mut batch, &strings);
    assert_eq!((batch.byte_len(), attributes_of(&batch).0), (bytes, vec!["a=Int(1)".to_owned()]));
}

#[test]
fn a_hash_is_that_of_the_text() {
    let strings = Interner::new().unwrap();
    let mut array = Vec::new();
    attrs::put_element(&mut array, attrs::Value::Str(b"q\"\\\n\x08\x01/"));
    attrs::put_element(&mut array, attrs::Value::Double(1.0));
    let values = [
        (attrs::Value::Str(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (attrs::Value::Bytes(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (attrs::Value::Int(-42), "fec80006df0542549b4cbaafb8987eee00bb49bca396eefe9ac8be5b5928e8f6"),
        (attrs::Value::Double(0.5), "d2cbad71ff333de67d07ec676e352ab7f38248eb69c942950157220607c55e84"),
        (attrs::Value::Bool(false), "fcbcf165908dd18a9e49f7ff27810176db8e9f63b4352213741664245224f8aa"),
        (
            attrs::Value::Array(attrs::Values::new(&array)),
            "24a52412d8fbd36cf973f4ab9b2aaa702d8071bb82ec788018421900f8c12ec4",
        ),
    ];
    for (value, expected) in values {
        let mut batch = Batch::default();
        batch.push(Header { kind: kind::LOG, ..Header::zeroed() }, &log(&[("k", value)]));
        Redactor::new(vec![rule("k", RedactAction::Hash)]).apply(&mut batch, &strings);
        assert_eq!(attributes_of(&batch).0, [format!("k=sha256:{expected}")], "{value:?}");
    }
}
