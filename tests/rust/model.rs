//! Spans and items as a test describes them: written as records on one side, stated as official protobuf structs on the other,
//! with nothing of the encoder in between. The fuzz crate includes this file too.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span, status};
use pytracingx::attrs::{self, Text, tag};
use pytracingx::batch::Batch;
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::Interner;
use pytracingx::limits::SpanLimits;
use pytracingx::record::{Header, SpanKind, StatusCode, StrId, flag, kind};

/// A name or key, and whether the recording side asks for an id for it.
#[derive(Debug, Clone)]
pub(crate) struct Name {
    pub text: String,
    pub interned: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Empty,
    Bool(bool),
    Int(i64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Map(Attributes),
}

pub(crate) type Attributes = Vec<(Name, Value)>;

#[derive(Debug, Clone)]
pub(crate) enum Item {
    Attribute(Name, Value),
    Name(String),
    TraceState(String),
    Status(String),
    Event {
        name: Name,
        time: u64,
        explicit: bool,
        dropped: u32,
        attributes: Attributes,
    },
    Link {
        trace_id: [u8; 16],
        span_id: [u8; 8],
        flags: u32,
        trace_state: String,
        dropped: u32,
        attributes: Attributes,
    },
    Dropped {
        attributes: u32,
        events: u32,
        links: u32,
    },
    SeverityText(String),
    Body(Value),
}

#[derive(Debug, Clone)]
pub(crate) struct SpanModel {
    pub mask: u16,
    pub scope: u16,
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    pub remote: bool,
    pub trace_flags: u8,
    pub kind: SpanKind,
    pub status: StatusCode,
    /// The header's name; items name the span otherwise.
    pub name: Option<String>,
    pub start: u64,
    pub duration: u64,
    pub items: Vec<Item>,
    /// The items travel in the hand-over queue.
    pub oversize: bool,
}

// ---------------------------------------------------------------------------------------------- as records

/// The id of a text, which an interner gives at its second sighting.
pub(crate) fn intern(strings: &Interner, text: &str) -> Option<StrId> {
    (0..2).find_map(|_| strings.intern(text.as_bytes()))
}

fn text<'a>(strings: &Interner, name: &'a Name) -> Text<'a> {
    let id = if name.interned { intern(strings, &name.text) } else { None };
    id.map_or(Text::Inline(name.text.as_bytes()), Text::Id)
}

fn scalar(value: &Value) -> attrs::Value<'_> {
    match value {
        Value::Empty | Value::Array(_) | Value::Map(_) => attrs::Value::Empty,
        Value::Bool(truth) => attrs::Value::Bool(*truth),
        Value::Int(number) => attrs::Value::Int(*number),
        Value::Double(number) => attrs::Value::Double(*number),
        Value::Str(text) => attrs::Value::Str(text.as_bytes()),
        Value::Bytes(bytes) => attrs::Value::Bytes(bytes),
    }
}

pub(crate) fn write_element(out: &mut Vec<u8>, strings: &Interner, value: &Value) {
    match value {
        Value::Array(values) => {
            let open = attrs::open_element(out, tag::ARRAY);
            values.iter().for_each(|value| write_element(out, strings, value));
            attrs::close(out, open);
        }
        Value::Map(entries) => {
            let open = attrs::open_element(out, tag::MAP);
            write_attributes(out, strings, entries);
            attrs::close(out, open);
        }
        other => attrs::put_element(out, scalar(other)),
    }
}

fn write_attribute(out: &mut Vec<u8>, strings: &Interner, name: &Name, value: &Value) {
    let key = text(strings, name);
    match value {
        Value::Array(values) => {
            let open = attrs::open_array(out, key);
            values.iter().for_each(|value| write_element(out, strings, value));
            attrs::close(out, open);
        }
        Value::Map(entries) => {
            let open = attrs::open_map(out, key);
            write_attributes(out, strings, entries);
            attrs::close(out, open);
        }
        other => attrs::put_attribute(out, key, scalar(other)),
    }
}

pub(crate) fn write_attributes(out: &mut Vec<u8>, strings: &Interner, attributes: &Attributes) {
    attributes.iter().for_each(|(name, value)| write_attribute(out, strings, name, value));
}

/// The items as a recording thread writes them.
pub(crate) fn payload(items: &[Item], strings: &Interner) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::Attribute(name, value) => write_attribute(&mut out, strings, name, value),
            Item::Name(text) => attrs::put_text_item(&mut out, tag::NAME, text.as_bytes()),
            Item::TraceState(text) => attrs::put_text_item(&mut out, tag::TRACE_STATE, text.as_bytes()),
            Item::Status(text) => attrs::put_text_item(&mut out, tag::STATUS, text.as_bytes()),
            Item::Event { name, time, explicit, dropped, attributes } => {
                let mut inner = Vec::new();
                write_attributes(&mut inner, strings, attributes);
                attrs::put_event(&mut out, text(strings, name), *time, *explicit, *dropped, &inner);
            }
            Item::Link { trace_id, span_id, flags, trace_state, dropped, attributes } => {
                let mut inner = Vec::new();
                write_attributes(&mut inner, strings, attributes);
                let link = attrs::Link {
                    trace_id: TraceId(*trace_id),
                    span_id: SpanId(*span_id),
                    flags: *flags,
                    dropped_attributes: *dropped,
                    trace_state: trace_state.as_bytes(),
                    attributes: attrs::Items::new(&inner),
                };
                attrs::put_link(&mut out, &link);
            }
            Item::Dropped { attributes, events, links } => {
                attrs::put_dropped(&mut out, *attributes, *events, *links);
            }
            Item::SeverityText(text) => {
                attrs::put_text_item(&mut out, tag::SEVERITY_TEXT, text.as_bytes());
            }
            Item::Body(value) => {
                let mut element = Vec::new();
                write_element(&mut element, strings, value);
                attrs::put_body_element(&mut out, &element);
            }
        }
    }
    out
}

/// Adds the span to a batch.
pub(crate) fn push(batch: &mut Batch, strings: &Interner, model: &SpanModel) {
    let mut payload = payload(&model.items, strings);
    let name = model.name.as_ref().and_then(|text| intern(strings, text));
    if let (None, Some(text)) = (name, &model.name) {
        attrs::put_text_item(&mut payload, tag::NAME, text.as_bytes());
    }
    let mut flags = u16::from(model.trace_flags) | flag::START_IS_UNIX_NANO | flag::END_IS_UNIX_NANO;
    if model.remote {
        flags |= flag::PARENT_IS_REMOTE;
    }
    if model.oversize {
        flags |= flag::OVERSIZE;
        let ticket = batch.span_count() as u64 + 1;
        batch.add_oversize(ticket, std::mem::take(&mut payload).into());
        payload = ticket.to_ne_bytes().to_vec();
    }
    let header = Header {
        kind: kind::SPAN,
        detail: Header::span_detail(model.kind, model.status),
        mask: model.mask,
        payload_bytes: 0,
        name: name.unwrap_or(StrId::NONE),
        scope: model.scope,
        flags,
        trace_id: TraceId(model.trace_id),
        span_id: SpanId(model.span_id),
        parent_span_id: model.parent.map_or(SpanId::NONE, SpanId),
        start: model.start,
        end: model.start.saturating_add(model.duration),
    };
    batch.push(header, &payload);
}

// ---------------------------------------------------------------------------------------------- as protobuf

/// Message levels below an attribute's value, so that a request nests no more than 100.
pub(crate) const LEVELS: usize = 92;

pub(crate) fn expected_value(value: &Value, length: usize, levels: usize) -> AnyValue {
    use any_value::Value as Any;
    let value = match value {
        Value::Empty => None,
        Value::Bool(truth) => Some(Any::BoolValue(*truth)),
        Value::Int(number) => Some(Any::IntValue(*number)),
        Value::Double(number) => Some(Any::DoubleValue(*number)),
        Value::Str(text) => Some(Any::StringValue(text.chars().take(length).collect())),
        Value::Bytes(bytes) => Some(Any::BytesValue(bytes.iter().copied().take(length).collect())),
        Value::Array(values) => levels.checked_sub(2).map(|levels| {
            let values = values.iter().map(|value| expected_value(value, length, levels)).collect();
            Any::ArrayValue(ArrayValue { values })
        }),
        Value::Map(entries) => levels.checked_sub(3).map(|levels| {
            let values =
                entries.iter().map(|(name, value)| expected_entry(name, value, length, levels)).collect();
            Any::KvlistValue(KeyValueList { values })
        }),
    };
    AnyValue { value }
}

fn expected_entry(name: &Name, value: &Value, length: usize, levels: usize) -> KeyValue {
    let value = Some(expected_value(value, length, levels));
    KeyValue { key: name.text.clone(), value, ..Default::default() }
}

/// Attributes within the limit, and how many are beyond it.
pub(crate) fn expected_attributes<'a>(
    attributes: impl Iterator<Item = (&'a Name, &'a Value)>,
    limit: u32,
    length: u32,
) -> (Vec<KeyValue>, u32) {
    let all: Vec<_> = attributes.collect();
    let kept = all.len().min(limit as usize);
    let values = all[..kept].iter().map(|(name, value)| expected_entry(name, value, length as usize, LEVELS));
    (values.collect(), (all.len() - kept) as u32)
}

/// What a span must be on the wire.
pub(crate) fn expected(model: &SpanModel, limits: &SpanLimits) -> Span {
    let own = model.items.iter().filter_map(|item| match item {
        Item::Attribute(name, value) => Some((name, value)),
        _ => None,
    });
    let (attributes, mut dropped_attributes_count) =
        expected_attributes(own, limits.attributes, limits.value_length);
    let mut events: Vec<_> = model.items.iter().filter_map(|item| expected_event(item, limits)).collect();
    let mut links: Vec<_> = model.items.iter().filter_map(|item| expected_link(item, limits)).collect();
    let mut dropped_events_count = events.len().saturating_sub(limits.events as usize) as u32;
    let mut dropped_links_count = links.len().saturating_sub(limits.links as usize) as u32;
    events.truncate(limits.events as usize);
    links.truncate(limits.links as usize);
    for item in &model.items {
        if let Item::Dropped { attributes, events, links } = item {
            dropped_attributes_count = dropped_attributes_count.saturating_add(*attributes);
            dropped_events_count = dropped_events_count.saturating_add(*events);
            dropped_links_count = dropped_links_count.saturating_add(*links);
        }
    }
    let last = |pick: fn(&Item) -> Option<&String>| {
        model.items.iter().rev().find_map(pick).cloned().unwrap_or_default()
    };
    let message = last(|item| if let Item::Status(text) = item { Some(text) } else { None });
    let status = match model.status {
        StatusCode::Unset => None,
        StatusCode::Ok => Some(Status { message: String::new(), code: status::StatusCode::Ok as i32 }),
        StatusCode::Error => Some(Status { message, code: status::StatusCode::Error as i32 }),
    };
    let item_name = last(|item| if let Item::Name(text) = item { Some(text) } else { None });
    Span {
        trace_id: model.trace_id.to_vec(),
        span_id: model.span_id.to_vec(),
        trace_state: last(|item| if let Item::TraceState(text) = item { Some(text) } else { None }),
        parent_span_id: model.parent.map_or(Vec::new(), |id| id.to_vec()),
        flags: u32::from(model.trace_flags) + if model.remote { 0x300 } else { 0x100 },
        name: model.name.clone().unwrap_or(item_name),
        kind: match model.kind {
            SpanKind::Internal => span::SpanKind::Internal,
            SpanKind::Server => span::SpanKind::Server,
            SpanKind::Client => span::SpanKind::Client,
            SpanKind::Producer => span::SpanKind::Producer,
            SpanKind::Consumer => span::SpanKind::Consumer,
        } as i32,
        start_time_unix_nano: model.start,
        end_time_unix_nano: model.start.saturating_add(model.duration),
        attributes,
        dropped_attributes_count,
        events,
        dropped_events_count,
        links,
        dropped_links_count,
        status,
    }
}

fn expected_event(item: &Item, limits: &SpanLimits) -> Option<span::Event> {
    let Item::Event { name, time, explicit: _, dropped, attributes } = item else {
        return None;
    };
    let own = attributes.iter().map(|(name, value)| (name, value));
    let (attributes, cut) = expected_attributes(own, limits.attributes_per_event, limits.value_length);
    Some(span::Event {
        time_unix_nano: *time,
        name: name.text.clone(),
        attributes,
        dropped_attributes_count: dropped.saturating_add(cut),
    })
}

fn expected_link(item: &Item, limits: &SpanLimits) -> Option<span::Link> {
    let Item::Link { trace_id, span_id, flags, trace_state, dropped, attributes } = item else {
        return None;
    };
    let own = attributes.iter().map(|(name, value)| (name, value));
    let (attributes, cut) = expected_attributes(own, limits.attributes_per_link, limits.value_length);
    Some(span::Link {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        trace_state: trace_state.clone(),
        attributes,
        dropped_attributes_count: dropped.saturating_add(cut),
        flags: *flags,
    })
}
