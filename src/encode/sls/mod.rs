//! Aliyun SLS: log records to the logs of a `LogGroup`, and the group around them. Allocates for its output, at the first
//! sight of a logger for its name, and where an attribute's key has to change. Text is copied as it is: recording
//! guarantees UTF-8, and SLS refuses a whole request for one text that is not. Items may come in any order; of BODY and
//! SEVERITY_TEXT the last counts.
//!
//! | column | value | 0.3 |
//! |---|---|---|
//! | `level` | `TRACE` `DEBUG` `INFO` `WARN` `ERROR` `FATAL`; without a number the severity's text | `ERROR` for fatal, `TRACE` for none |
//! | `message` | the body | same |
//! | `logger_name`, `service.name` | unless empty | same |
//! | `traceID`, `spanID` | lower-case hexadecimal, inside a span | `trace_id`, `span_id` |
//! | `severity_text` | where it says something else than the level | – |
//! | attributes | each under its own key, or all as JSON in `attributes` | JSON |
//! | `resource` | JSON, with JSON attributes; else the resource is tags | – |
//! | `dropped_attributes_count` | unless 0 | – |

mod envelope;
mod fields;
pub mod log_group;
mod text;

pub use envelope::{Envelope, PackIds, sls_request};
pub use fields::{Layout, MAX_KEY_BYTES, MAX_VALUE_BYTES};

use fields::{Column, cut_bytes};
use text::Texts;

use super::Lookup;
use super::chunk::{Chunk, Scratch};
use crate::attrs::{Attribute, Item, Items, Value};
use crate::batch::{Batch, RecordRef};
use crate::config::{Resource, SlsCredentials, SlsSinkConfig, check};
use crate::error::Error;
pub use crate::limits::FieldCounts;
use crate::limits::LogLimits;
use crate::record::{Header, flag};

/// Bytes of a request before compression: what the server takes at most.
pub const MAX_GROUP_BYTES: usize = 10 << 20;
/// Bytes of an encoded log; contents beyond are cut or left out. A request with one such log still fits.
pub const MAX_LOG_BYTES: usize = 8 << 20;

/// Finds what SLS would refuse of a sink's settings.
///
/// # Errors
/// As of [`Envelope::new`] and [`Layout::new`], which fail for no resource's sake; a region or key that cannot be one.
pub fn check(config: &SlsSinkConfig) -> Result<(), Error> {
    if let Some(region) = &config.region {
        check::name("region", region)?;
    }
    if let SlsCredentials::Static { ak_id, ak_secret, security_token } = &config.credentials {
        let keys = [
            ("ak_id", Some(ak_id)),
            ("ak_secret", Some(ak_secret)),
            ("security_token", security_token.as_ref()),
        ];
        for (argument, key) in keys {
            // A line break of the file it was read from would only show as a refused signature.
            if key.is_some_and(|key| !key.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(Error::config(format_args!(
                    "{argument} must be visible ASCII, without spaces or line breaks (not shown)"
                )));
            }
        }
    }
    let resource = Resource::default();
    Envelope::new(config, &resource, "")?;
    Layout::new(config, &resource)?;
    Ok(())
}

/// Keeps what outlives one batch. Belongs to one interner, whose scope indexes it knows.
#[derive(Debug)]
pub struct LogGroupEncoder {
    layout: Layout,
    /// Names by scope index.
    loggers: Vec<Option<Box<str>>>,
    counts: FieldCounts,
    scratch: Scratch,
}

impl LogGroupEncoder {
    /// An encoder for the sinks of this layout.
    pub fn new(layout: Layout) -> Self {
        Self { layout, loggers: Vec::new(), counts: FieldCounts::default(), scratch: Scratch::default() }
    }

    /// What has changed so far.
    pub fn counts(&self) -> FieldCounts {
        self.counts
    }

    /// Encodes the log records for whose index in `batch.logs()` `wanted` holds, in the batch's order: each a complete
    /// `Logs` field of a `LogGroup`. Without runs, for SLS has no scopes. An empty chunk if there are none.
    pub fn encode(
        &mut self,
        batch: &Batch,
        wanted: impl Fn(usize) -> bool,
        limits: &LogLimits,
        lookup: Lookup<'_>,
    ) -> Chunk {
        let mut out = self.scratch.take(4 * batch.byte_len());
        let mut ends = Vec::new();
        for (_, record) in batch.logs().enumerate().filter(|(index, _)| wanted(*index)) {
            let mut log = Log {
                start: out.len(),
                out: &mut out,
                layout: &self.layout,
                counts: &mut self.counts,
                texts: Texts { strings: lookup.strings, value_length: limits.value_length },
            };
            let logger = logger(&mut self.loggers, record.header.scope, lookup);
            log.put(&record, logger, limits, lookup);
            ends.push(out.len());
        }
        Chunk { bytes: self.scratch.keep(out), ends, ..Chunk::default() }
    }
}

fn logger<'a>(known: &'a mut Vec<Option<Box<str>>>, scope: u16, lookup: Lookup<'_>) -> &'a str {
    let at = usize::from(scope);
    if known.len() <= at {
        known.resize(at + 1, None);
    }
    known[at].get_or_insert_with(|| lookup.strings.scope(scope).name.into())
}

/// One log being written.
struct Log<'a, 'e> {
    out: &'e mut Vec<u8>,
    /// Where it begins.
    start: usize,
    layout: &'e Layout,
    counts: &'e mut FieldCounts,
    texts: Texts<'a>,
}

/// What stands once in a record, wherever it stands.
#[derive(Default)]
struct Own<'a> {
    body: Option<Value<'a>>,
    severity_text: &'a [u8],
    dropped_attributes: u32,
}

impl<'a> Log<'a, '_> {
    fn put(&mut self, record: &RecordRef<'a>, logger: &str, limits: &LogLimits, lookup: Lookup<'_>) {
        let RecordRef { header, payload } = record;
        let explicit = header.flags & flag::START_IS_UNIX_NANO != 0;
        let unix_nano = if explicit { header.start } else { lookup.timeline.unix_nano(header.start) };
        let seconds = u32::try_from(unix_nano / 1_000_000_000).unwrap_or(u32::MAX);
        let nanoseconds = (unix_nano % 1_000_000_000) as u32;
        let mut own = Own::default();
        let mut items = Items::new(payload);
        loop {
            while items.next_attribute().is_some() {}
            let Some(item) = items.next() else { break };
            match item {
                Item::Body(value) => own.body = Some(value),
                Item::SeverityText(text) => own.severity_text = text,
                Item::Dropped { attributes, .. } => {
                    own.dropped_attributes = own.dropped_attributes.saturating_add(attributes);
                }
                _ => {}
            }
        }

        let omitted_before = self.counts.omitted_fields;
        let log = log_group::open_log(self.out, seconds, 160 + self.layout.constant.len() + payload.len());
        self.put_columns(header, &own, logger);
        let attributes = attributes_of(payload);
        let dropped = if self.layout.json_attributes {
            self.put_json_attributes(attributes, limits.attributes)
        } else {
            self.put_flat_attributes(attributes, limits.attributes)
        };
        let omitted = u32::try_from(self.counts.omitted_fields - omitted_before).unwrap_or(u32::MAX);
        let dropped = own.dropped_attributes.saturating_add(dropped).saturating_add(omitted);
        if dropped > 0 && !self.layout.is_0_3 {
            let name = self.layout.name(Column::DroppedAttributes);
            log_group::put_content(self.out, name, dropped.to_string().as_bytes());
        }
        log_group::close_log(self.out, log, (!self.layout.is_0_3).then_some(nanoseconds));
    }

    fn put_columns(&mut self, header: &Header, own: &Own<'a>, logger: &str) {
        let level = level(header.detail, self.layout.is_0_3);
        let known = if level.is_empty() { own.severity_text } else { level.as_bytes() };
        if !known.is_empty() {
            self.text(self.layout.name(Column::Level), known);
        }
        match own.body {
            None | Some(Value::Empty) => self.text(self.layout.name(Column::Message), &[]),
            Some(Value::Str(text)) => self.text(self.layout.name(Column::Message), text),
            // The limit on values is one on attributes.
            Some(body) => {
                let texts = Texts { value_length: u32::MAX, ..self.texts };
                self.written(self.layout.name(Column::Message), 24, |out| texts.value(out, body));
            }
        }
        if !logger.is_empty() {
            self.text(self.layout.name(Column::LoggerName), logger.as_bytes());
        }
        self.out.extend_from_slice(&self.layout.constant);
        if header.trace_id.is_valid() {
            self.text(self.layout.name(Column::TraceId), &header.trace_id.to_hex());
            self.text(self.layout.name(Column::SpanId), &header.span_id.to_hex());
        }
        if !own.severity_text.is_empty() && own.severity_text != known && !self.layout.is_0_3 {
            self.text(self.layout.name(Column::SeverityText), own.severity_text);
        }
    }

    /// Returns how many were beyond the limit.
    fn put_flat_attributes(
        &mut self,
        attributes: impl Iterator<Item = Attribute<'a>> + Clone,
        limit: u32,
    ) -> u32 {
        let mut given = Vec::new();
        let mut seen = 0_u32;
        for attribute in attributes.clone() {
            seen += 1;
            if seen > limit {
                continue;
            }
            let key = self.texts.resolve(attribute.key);
            if self.layout.takes(key) {
                self.attribute(key, attribute.value);
                continue;
            }
            let others = attributes.clone();
            let texts = self.texts;
            let replacement = self.layout.replacement(key, self.counts, |key| {
                given.iter().any(|given| given == key)
                    || others.clone().any(|other| texts.resolve(other.key) == key)
            });
            self.attribute(&replacement, attribute.value);
            given.push(replacement);
        }
        seen.saturating_sub(limit)
    }

    fn put_json_attributes(
        &mut self,
        attributes: impl Iterator<Item = Attribute<'a>> + Clone,
        limit: u32,
    ) -> u32 {
        let count = u32::try_from(attributes.clone().count()).unwrap_or(u32::MAX);
        let kept = count.min(limit);
        if kept > 0 {
            let texts = self.texts;
            self.written(self.layout.name(Column::Attributes), 32 * kept as usize, |out| {
                texts.object(out, attributes.take(kept as usize), 0);
            });
        }
        count - kept
    }

    #[inline]
    fn attribute(&mut self, key: &[u8], value: Value<'a>) {
        match value {
            Value::Str(text) => self.text(key, self.texts.cut(text)),
            Value::Bool(truth) => self.text(key, if truth { b"true" } else { b"false" }),
            Value::Int(number) => self.text(key, text::int(number, &mut [0; _])),
            other => {
                if let Value::Double(number) = other
                    && let Some(text) = text::decimal(number, &mut [0; _])
                {
                    return self.text(key, text);
                }
                let texts = self.texts;
                self.written(key, 24, |out| texts.value(out, other));
            }
        }
    }

    /// Appends a content.
    #[inline]
    fn text(&mut self, key: &[u8], text: &[u8]) {
        match self.room(key) {
            Some(room) if text.len() <= room => log_group::put_content(self.out, key, text),
            Some(room) => {
                self.counts.cut_values += 1;
                log_group::put_content(self.out, key, cut_bytes(text, room));
            }
            None => self.counts.omitted_fields += 1,
        }
    }

    /// Appends a content whose value `write` appends.
    fn written(&mut self, key: &[u8], expected_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(room) = self.room(key) else {
            self.counts.omitted_fields += 1;
            return;
        };
        let content = log_group::open_content(self.out, key, expected_bytes);
        let start = self.out.len();
        write(self.out);
        let len = self.out.len() - start;
        if len > room {
            self.counts.cut_values += 1;
            let kept = cut_bytes(&self.out[start..], room).len();
            self.out.truncate(start + kept);
        }
        log_group::close_content(self.out, content);
    }

    /// Bytes that a value under this key may have; `None` when not even an empty one fits.
    #[inline]
    fn room(&self, key: &[u8]) -> Option<usize> {
        let used = self.out.len() - self.start + key.len() + log_group::CONTENT_OVERHEAD_BYTES;
        // Something is kept for the count of what was dropped, which comes last.
        Some((MAX_LOG_BYTES - 256).checked_sub(used)?.min(MAX_VALUE_BYTES))
    }
}

/// Attributes, wherever they stand.
fn attributes_of(payload: &[u8]) -> impl Iterator<Item = Attribute<'_>> + Clone {
    let mut items = Items::new(payload);
    std::iter::from_fn(move || {
        loop {
            if let Some(attribute) = items.next_attribute() {
                return Some(attribute);
            }
            items.next()?;
        }
    })
}

/// The name of a severity number's range; empty for none.
fn level(severity_number: u8, is_0_3: bool) -> &'static str {
    const NAMES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    match (severity_number, is_0_3) {
        (0, false) => "",
        (number, false) => NAMES[usize::from((number - 1) / 4).min(5)],
        // Its levels were those of a library that knows no fatal.
        (number, true) => NAMES[usize::from(number.saturating_sub(1) / 4).min(4)],
    }
}
