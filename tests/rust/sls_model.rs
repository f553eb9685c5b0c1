//! Log records as a test describes them, the official `LogGroup` schema for prost, and what a log must hold, stated with
//! nothing of the encoder in between. The fuzz crate includes this file too.

use std::collections::BTreeSet;

use pytracingx::attrs::{self, tag};
use pytracingx::batch::Batch;
use pytracingx::config::{
    Resource, ResourceValue, SlsAttributes, SlsCredentials, SlsFieldNames, SlsSinkConfig,
};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::Interner;
use pytracingx::limits::LogLimits;
use pytracingx::record::{Header, StrId, flag, kind};

use crate::model::{self, Attributes, Item, Value};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pair {
    #[prost(string, required, tag = "1")]
    pub key: String,
    #[prost(string, required, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Log {
    #[prost(uint32, required, tag = "1")]
    pub time: u32,
    #[prost(message, repeated, tag = "2")]
    pub contents: Vec<Pair>,
    #[prost(fixed32, optional, tag = "4")]
    pub time_ns: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LogGroup {
    #[prost(message, repeated, tag = "1")]
    pub logs: Vec<Log>,
    #[prost(string, optional, tag = "2")]
    pub category: Option<String>,
    #[prost(string, optional, tag = "3")]
    pub topic: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub source: Option<String>,
    #[prost(string, optional, tag = "5")]
    pub machine_uuid: Option<String>,
    #[prost(message, repeated, tag = "6")]
    pub log_tags: Vec<Pair>,
}

pub(crate) fn pair(key: impl Into<String>, value: impl Into<String>) -> Pair {
    Pair { key: key.into(), value: value.into() }
}

#[derive(Debug, Clone)]
pub(crate) struct LogModel {
    pub severity_number: u8,
    pub severity_text: String,
    pub scope: u16,
    /// Trace and span.
    pub ids: Option<([u8; 16], [u8; 8])>,
    pub unix_nano: u64,
    pub body: Option<Value>,
    /// Keys are unique.
    pub attributes: Attributes,
    pub dropped: u32,
    /// The items travel in the hand-over queue.
    pub oversize: bool,
    /// Body and severity text after the attributes.
    pub body_last: bool,
}

impl LogModel {
    pub(crate) fn new(severity_number: u8, body: &str, attributes: Attributes) -> Self {
        Self {
            severity_number,
            severity_text: String::new(),
            scope: 0,
            ids: None,
            unix_nano: 1_709_622_489_123_456_789,
            body: Some(Value::Str(body.into())),
            attributes,
            dropped: 0,
            oversize: false,
            body_last: false,
        }
    }

    /// Attribute keys are unique, as recording keeps them.
    pub(crate) fn with_unique_keys(mut self) -> Self {
        let mut seen = BTreeSet::new();
        self.attributes.retain(|(name, _)| seen.insert(name.text.clone()));
        self
    }
}

/// Adds the record to a batch.
pub(crate) fn push(batch: &mut Batch, strings: &Interner, log: &LogModel) {
    let attributes: Vec<_> =
        log.attributes.iter().map(|(name, value)| Item::Attribute(name.clone(), value.clone())).collect();
    let attributes = model::payload(&attributes, strings);
    let mut own = Vec::new();
    if let Some(body) = &log.body {
        let mut element = Vec::new();
        model::write_element(&mut element, strings, body);
        attrs::put_body_element(&mut own, &element);
    }
    if !log.severity_text.is_empty() {
        attrs::put_text_item(&mut own, tag::SEVERITY_TEXT, log.severity_text.as_bytes());
    }
    if log.dropped > 0 {
        attrs::put_dropped(&mut own, log.dropped, 7, 7);
    }
    let mut payload = if log.body_last { [attributes, own] } else { [own, attributes] }.concat();
    let mut flags = 1 | flag::START_IS_UNIX_NANO;
    if log.oversize {
        flags |= flag::OVERSIZE;
        let ticket = batch.logs().count() as u64 + 1;
        batch.add_oversize(ticket, std::mem::take(&mut payload).into());
        payload = ticket.to_ne_bytes().to_vec();
    }
    let header = Header {
        kind: kind::LOG,
        detail: log.severity_number,
        mask: 0,
        payload_bytes: 0,
        name: StrId::NONE,
        scope: log.scope,
        flags,
        trace_id: log.ids.map_or(TraceId::NONE, |(trace, _)| TraceId(trace)),
        span_id: log.ids.map_or(SpanId::NONE, |(_, span)| SpanId(span)),
        parent_span_id: SpanId::NONE,
        start: log.unix_nano,
        end: 1,
    };
    batch.push(header, &payload);
}

/// The names of the scopes that models use, by index.
pub(crate) const LOGGERS: [&str; 3] = ["pytracingx", "app.db", ""];

pub(crate) fn config() -> SlsSinkConfig {
    SlsSinkConfig::new(
        ["endpoint", "project", "logstore"],
        "cn-hangzhou.log.aliyuncs.com",
        "my-project".into(),
        "app-log".into(),
        SlsCredentials::Provider,
    )
    .expect("a valid place")
}

pub(crate) fn resource() -> Resource {
    let text = |text: &str| ResourceValue::Str(text.into());
    let list = ResourceValue::Array(vec![ResourceValue::Int(1), ResourceValue::Bool(true), text("a\"b")]);
    let attributes = vec![
        ("host.name".into(), text("h1")),
        ("service.name".into(), text("svc")),
        ("process.pid".into(), ResourceValue::Int(42)),
        ("ratio".into(), ResourceValue::Double(1.0)),
        ("list".into(), list),
    ];
    Resource { attributes }
}

// ---------------------------------------------------------------------------------------------- as text

fn cut(text: &str, length: u32) -> String {
    text.chars().take(length as usize).collect()
}

fn hex(bytes: &[u8], length: u32) -> String {
    bytes.iter().take(length as usize).map(|byte| format!("{byte:02x}")).collect()
}

/// Exponents where Python has them too: below 1e-4 and from 1e16 on.
fn double(number: f64) -> Result<String, &'static str> {
    if number.is_finite() {
        let text = format!("{number:?}");
        assert_eq!(
            text.parse::<f64>().map(f64::to_bits),
            Ok(number.to_bits()),
            "reads back as the same number"
        );
        assert!(serde_json::from_str::<f64>(&text).is_ok(), "JSON: {text}");
        return Ok(text);
    }
    Err(match number {
        _ if number.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        _ => "-Infinity",
    })
}

fn json(value: &Value, length: u32, depth: usize) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("a text");
    match value {
        Value::Empty => "null".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => double(*number).unwrap_or_else(quoted),
        Value::Str(text) => quoted(&cut(text, length)),
        Value::Bytes(bytes) => quoted(&hex(bytes, length)),
        Value::Array(_) | Value::Map(_) if depth == 64 => "null".into(),
        Value::Array(values) => {
            let values: Vec<_> = values.iter().map(|value| json(value, length, depth + 1)).collect();
            format!("[{}]", values.join(","))
        }
        Value::Map(entries) => object(entries, length, depth + 1),
    }
}

fn object(entries: &[(model::Name, Value)], length: u32, depth: usize) -> String {
    let entry = |(name, value): &(model::Name, Value)| {
        format!("{}:{}", serde_json::to_string(&name.text).expect("a text"), json(value, length, depth))
    };
    format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(","))
}

fn alone(value: &Value, length: u32) -> String {
    match value {
        Value::Empty => String::new(),
        Value::Str(text) => cut(text, length),
        Value::Bytes(bytes) => hex(bytes, length),
        Value::Double(number) => double(*number).unwrap_or_else(str::to_owned),
        other => json(other, length, 0),
    }
}

// ---------------------------------------------------------------------------------------------- as a log

const FORBIDDEN: [&str; 8] = [
    "__time__",
    "__source__",
    "__topic__",
    "__partition_time__",
    "_extract_others_",
    "__extract_others__",
    "__time_ns_part__",
    "__pack_id__",
];

/// To a number of bytes, but no character in two.
fn cut_bytes(text: &str, bytes: usize) -> String {
    let end = (0..=bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or(0)].to_owned()
}

/// The keys that attributes stand under, given the columns' names and what the user renames.
fn final_keys(attributes: &Attributes, columns: &[&str], renames: &[(String, String)]) -> Vec<String> {
    let own: BTreeSet<&str> = attributes.iter().map(|(name, _)| &*name.text).collect();
    let taken: BTreeSet<&str> = columns.iter().copied().chain(FORBIDDEN).collect();
    let mut given = BTreeSet::new();
    let mut keys = Vec::new();
    for (name, _) in attributes {
        let key = &*name.text;
        let wanted = if let Some((_, to)) = renames.iter().find(|(from, to)| from == key && from != to) {
            to.clone()
        } else if key.is_empty() || key.starts_with("__tag__:") || taken.contains(key) {
            format!("attr_{key}")
        } else if key.len() <= 128 {
            keys.push(key.to_owned());
            continue;
        } else {
            key.to_owned()
        };
        let candidates = std::iter::once(cut_bytes(&wanted, 128)).chain((2..).map(|number| {
            let suffix = format!("_{number}");
            cut_bytes(&wanted, 128 - suffix.len()) + &suffix
        }));
        let free = |key: &String| !own.contains(&**key) && !given.contains(key) && !taken.contains(&**key);
        let key = { candidates }.find(free).expect("numbers do not end");
        given.insert(key.clone());
        keys.push(key);
    }
    keys
}

/// What a log must be, for a sink of [`resource`] that renames attributes, if anything, and no columns.
pub(crate) fn expected(log: &LogModel, config: &SlsSinkConfig, limits: &LogLimits) -> Log {
    let (is_0_3, renames) = match &config.field_names {
        SlsFieldNames::V0_3 => (true, &[][..]),
        SlsFieldNames::Renamed(renames) => (false, &renames[..]),
    };
    let is_json = is_0_3 || config.attributes == SlsAttributes::Json;
    let level = match log.severity_number {
        0 if is_0_3 => "TRACE",
        0 => &log.severity_text,
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        _ if is_0_3 => "ERROR",
        _ => "FATAL",
    };
    let mut contents = Vec::new();
    let mut put = |key: &str, value: String| contents.push(pair(key, cut_bytes(&value, 1 << 20)));
    if !level.is_empty() {
        put("level", level.to_owned());
    }
    put("message", log.body.as_ref().map_or(String::new(), |body| alone(body, u32::MAX)));
    let logger = LOGGERS[usize::from(log.scope)];
    if !logger.is_empty() {
        put("logger_name", logger.to_owned());
    }
    put("service.name", "svc".into());
    if is_json && !is_0_3 {
        put("resource", r#"{"host.name":"h1","process.pid":42,"ratio":1.0,"list":[1,true,"a\"b"]}"#.into());
    }
    if let Some((trace, span)) = &log.ids {
        put(if is_0_3 { "trace_id" } else { "traceID" }, hex(trace, 16));
        put(if is_0_3 { "span_id" } else { "spanID" }, hex(span, 8));
    }
    if !is_0_3 && !log.severity_text.is_empty() && log.severity_text != level {
        put("severity_text", log.severity_text.clone());
    }
    let kept = log.attributes.len().min(limits.attributes as usize);
    if is_json && kept > 0 {
        put("attributes", object(&log.attributes[..kept], limits.value_length, 0));
    }
    if !is_json {
        let columns = [
            "level",
            "message",
            "logger_name",
            "service.name",
            "traceID",
            "spanID",
            "severity_text",
            "dropped_attributes_count",
        ];
        let keys = final_keys(&log.attributes, &columns, renames);
        for (key, (_, value)) in keys.iter().zip(&log.attributes).take(kept) {
            put(key, alone(value, limits.value_length));
        }
    }
    let dropped = log.dropped.saturating_add((log.attributes.len() - kept) as u32);
    if dropped > 0 && !is_0_3 {
        put("dropped_attributes_count", dropped.to_string());
    }
    Log {
        time: u32::try_from(log.unix_nano / 1_000_000_000).unwrap_or(u32::MAX),
        contents,
        time_ns: (!is_0_3).then_some((log.unix_nano % 1_000_000_000) as u32),
    }
}
