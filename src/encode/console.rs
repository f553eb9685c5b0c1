//! Records as text for people, in three layouts. Appends to a `Vec<u8>`; no I/O. User data cannot break a line, drive a
//! terminal or reorder text: C0 and C1 controls, DEL, line and paragraph separators and bidirectional controls are
//! written as `\n`, `\r`, `\t` or `\uXXXX`, backslashes are doubled, and bytes that are not UTF-8 become U+FFFD. JSON
//! lines are valid JSON whatever the values are.
//!
//! ```text
//! 2023-11-14T22:13:20.001500Z ERROR pytracingx: span_end generate trace_id=… span_id=… duration_ms=1.500 model="m"
//! ```
//!
//! The level is `ERROR` for a span whose status is error, else `INFO`. A begun span is shown at its start, a finished
//! one at its end. Bytes values are lower-case hexadecimal in every layout. JSON keys: `timestamp`, `level`, `kind`
//! (`span_begin`, `span_end`), `name`, `logger` (the instrumentation scope), `trace_id`, `span_id`, `duration_ms` (not
//! for begun spans), `attributes`; numbers that JSON does not know are the strings `NaN`, `Infinity`, `-Infinity`.

use std::fmt;
use std::io::Write;

use crate::attrs::{Event, Item, Items, MAX_DEPTH, Text, Value};
use crate::batch::RecordRef;
use crate::config::ConsoleFormat;
use crate::encode::Lookup;
use crate::ids::hex_into;
use crate::intern::Interner;
use crate::record::{StatusCode, StrId, flag, kind};

/// Appends one span, begun or finished (by `header.kind`), as one entry ending in a newline.
pub fn span(
    record: RecordRef<'_>,
    lookup: Lookup<'_>,
    format: ConsoleFormat,
    color: bool,
    out: &mut Vec<u8>,
) {
    let span = SpanLine::new(record, lookup);
    let mut text = Layout { out, strings: lookup.strings, color };
    match format {
        ConsoleFormat::Compact => text.compact(&span),
        ConsoleFormat::Pretty => text.pretty(&span, lookup),
        ConsoleFormat::Json => text.json(&span),
    }
    out.push(b'\n');
}

/// What every layout shows of a span.
struct SpanLine<'a> {
    record: RecordRef<'a>,
    kind: &'static str,
    is_error: bool,
    unix_nano: u64,
    duration_nano: Option<u64>,
    name: &'a [u8],
    logger: String,
    /// Status description.
    message: &'a [u8],
}

impl<'a> SpanLine<'a> {
    fn new(record: RecordRef<'a>, lookup: Lookup<'a>) -> Self {
        let header = &record.header;
        let ended = header.kind != kind::SPAN_BEGIN;
        let explicit = |bit| header.flags & bit != 0;
        let (start, end) = lookup.timeline.span_times(
            header.start,
            explicit(flag::START_IS_UNIX_NANO),
            if ended { header.end } else { header.start },
            explicit(if ended { flag::END_IS_UNIX_NANO } else { flag::START_IS_UNIX_NANO }),
        );
        let (mut name, mut message) = (&[][..], &[][..]);
        if header.name != StrId::NONE {
            name = lookup.strings.resolve(header.name);
        }
        for item in Items::new(record.payload) {
            match item {
                Item::Name(text) if header.name == StrId::NONE => name = text,
                Item::Status(text) => message = text,
                _ => {}
            }
        }
        Self {
            record,
            kind: if ended { "span_end" } else { "span_begin" },
            is_error: header.status() == StatusCode::Error,
            unix_nano: end,
            duration_nano: ended.then_some(end - start),
            name,
            logger: lookup.strings.scope(header.scope).name,
            message,
        }
    }

    fn level(&self) -> &'static str {
        if self.is_error { "ERROR" } else { "INFO" }
    }
}

/// SGR parameters.
mod sgr {
    pub(super) const BOLD: &str = "1";
    pub(super) const DIM: &str = "2";
    pub(super) const RED: &str = "31";
    pub(super) const GREEN: &str = "32";
}

struct Layout<'a, 'out> {
    out: &'out mut Vec<u8>,
    strings: &'a Interner,
    color: bool,
}

impl<'a> Layout<'a, '_> {
    fn compact(&mut self, span: &SpanLine<'a>) {
        self.first_line(span);
        self.fmt(format_args!(
            " trace_id={:?} span_id={:?}",
            span.record.header.trace_id, span.record.header.span_id
        ));
        if let Some(nanos) = span.duration_nano {
            self.fmt(format_args!(" duration_ms={}", Millis(nanos, 3)));
        }
        if span.is_error && !span.message.is_empty() {
            self.fmt(format_args!(" status="));
            self.quoted(span.message);
        }
        for item in Items::new(span.record.payload) {
            if let Item::Attribute(attribute) = item {
                self.fmt(format_args!(" "));
                self.bare(self.text(attribute.key));
                self.fmt(format_args!("="));
                self.value(attribute.value, 0);
            }
        }
    }

    fn pretty(&mut self, span: &SpanLine<'a>, lookup: Lookup<'_>) {
        let header = &span.record.header;
        self.first_line(span);
        self.fmt(format_args!("\n    trace_id: {:?}\n    span_id: {:?}", header.trace_id, header.span_id));
        if header.parent_span_id.is_valid() {
            self.fmt(format_args!("\n    parent_span_id: {:?}", header.parent_span_id));
        }
        if let Some(nanos) = span.duration_nano {
            self.fmt(format_args!("\n    duration_ms: {}", Millis(nanos, 3)));
        }
        if span.is_error && !span.message.is_empty() {
            self.fmt(format_args!("\n    status: "));
            self.quoted(span.message);
        }
        for item in Items::new(span.record.payload) {
            match item {
                Item::Attribute(attribute) => self.line(4, attribute.key, attribute.value),
                Item::Event(event) => self.event(&event, lookup),
                Item::Link(link) => {
                    self.fmt(format_args!("\n    link {:?} {:?}", link.trace_id, link.span_id));
                    self.lines(8, link.attributes);
                }
                _ => {}
            }
        }
    }

    fn event(&mut self, event: &Event<'a>, lookup: Lookup<'_>) {
        let nanos = if event.time_is_unix_nano { event.time } else { lookup.timeline.unix_nano(event.time) };
        self.fmt(format_args!("\n    event {} ", Timestamp(nanos)));
        self.bare(self.text(event.name));
        self.lines(8, event.attributes);
    }

    fn lines(&mut self, indent: usize, items: Items<'a>) {
        for attribute in items.attributes() {
            self.line(indent, attribute.key, attribute.value);
        }
    }

    fn line(&mut self, indent: usize, key: Text<'a>, value: Value<'a>) {
        self.fmt(format_args!("\n{:indent$}", ""));
        self.bare(self.text(key));
        self.fmt(format_args!(": "));
        self.value(value, 0);
    }

    fn json(&mut self, span: &SpanLine<'a>) {
        self.fmt(format_args!(
            r#"{{"timestamp":"{}","level":"{}","kind":"{}","name":"#,
            Timestamp(span.unix_nano),
            span.level(),
            span.kind
        ));
        self.quoted(span.name);
        self.fmt(format_args!(r#","logger":"#));
        self.quoted(span.logger.as_bytes());
        let header = &span.record.header;
        self.fmt(format_args!(r#","trace_id":"{:?}","span_id":"{:?}""#, header.trace_id, header.span_id));
        if let Some(nanos) = span.duration_nano {
            self.fmt(format_args!(r#","duration_ms":{}"#, Millis(nanos, 6)));
        }
        self.fmt(format_args!(r#","attributes":"#));
        let attributes = Items::new(span.record.payload).filter_map(|item| match item {
            Item::Attribute(attribute) => Some((attribute.key, attribute.value)),
            _ => None,
        });
        self.object(attributes, 0);
        self.fmt(format_args!("}}"));
    }

    /// Time, level, logger, kind and name, as `compact` and `pretty` begin.
    fn first_line(&mut self, span: &SpanLine<'a>) {
        let level = if span.is_error { sgr::RED } else { sgr::GREEN };
        self.painted(sgr::DIM, |text| text.fmt(format_args!("{}", Timestamp(span.unix_nano))));
        self.fmt(format_args!(" "));
        self.painted(level, |text| text.fmt(format_args!("{:<5}", span.level())));
        self.fmt(format_args!(" "));
        self.painted(sgr::DIM, |text| {
            text.bare(span.logger.as_bytes());
            text.fmt(format_args!(":"));
        });
        self.fmt(format_args!(" {} ", span.kind));
        self.painted(sgr::BOLD, |text| text.bare(span.name));
    }

    fn painted(&mut self, sgr: &str, paint: impl FnOnce(&mut Self)) {
        if !self.color {
            return paint(self);
        }
        self.fmt(format_args!("\x1b[{sgr}m"));
        paint(self);
        self.fmt(format_args!("\x1b[0m"));
    }

    /// A value as JSON, which is also what the other layouts show. What nests deeper than values may is `null`.
    fn value(&mut self, value: Value<'a>, depth: usize) {
        match value {
            Value::Empty => self.fmt(format_args!("null")),
            Value::Bool(truth) => self.fmt(format_args!("{truth}")),
            Value::Int(number) => self.fmt(format_args!("{number}")),
            Value::Double(number) if number.is_finite() => self.fmt(format_args!("{number:?}")),
            Value::Double(number) if number.is_nan() => self.fmt(format_args!(r#""NaN""#)),
            Value::Double(number) => {
                self.fmt(format_args!(r#""{}Infinity""#, if number < 0.0 { "-" } else { "" }));
            }
            Value::Str(text) => self.quoted(text),
            Value::Bytes(bytes) => {
                let mut hex = vec![0; bytes.len() * 2];
                hex_into(bytes, &mut hex);
                self.quoted(&hex);
            }
            Value::Array(_) | Value::Map(_) if depth == MAX_DEPTH => self.fmt(format_args!("null")),
            Value::Array(values) => {
                let mut separator = "[";
                for value in values {
                    self.fmt(format_args!("{separator}"));
                    self.value(value, depth + 1);
                    separator = ",";
                }
                self.fmt(format_args!("{}", if separator == "[" { "[]" } else { "]" }));
            }
            Value::Map(items) => {
                self.object(items.attributes().map(|attribute| (attribute.key, attribute.value)), depth + 1);
            }
        }
    }

    fn object(&mut self, entries: impl Iterator<Item = (Text<'a>, Value<'a>)>, depth: usize) {
        let mut separator = "{";
        for (key, value) in entries {
            self.fmt(format_args!("{separator}"));
            self.quoted(self.text(key));
            self.fmt(format_args!(":"));
            self.value(value, depth);
            separator = ",";
        }
        self.fmt(format_args!("{}", if separator == "{" { "{}" } else { "}" }));
    }

    /// Text in double quotes, valid as a JSON string.
    fn quoted(&mut self, text: &[u8]) {
        self.out.push(b'"');
        self.escaped(text, true);
        self.out.push(b'"');
    }

    /// Text as it is but for what must be escaped.
    fn bare(&mut self, text: &[u8]) {
        self.escaped(text, false);
    }

    fn escaped(&mut self, text: &[u8], quotes: bool) {
        for chunk in text.utf8_chunks() {
            let mut rest = chunk.valid();
            while let Some(at) = rest.find(|c| is_hostile(c) || c == '\\' || quotes && c == '"') {
                let (plain, from) = rest.split_at(at);
                self.out.extend_from_slice(plain.as_bytes());
                let mut chars = from.chars();
                match chars.next() {
                    Some(c @ ('\\' | '"')) => self.fmt(format_args!("\\{c}")),
                    Some('\n') => self.fmt(format_args!("\\n")),
                    Some('\r') => self.fmt(format_args!("\\r")),
                    Some('\t') => self.fmt(format_args!("\\t")),
                    other => self.fmt(format_args!("\\u{:04x}", other.map_or(0, u32::from))),
                }
                rest = chars.as_str();
            }
            self.out.extend_from_slice(rest.as_bytes());
            if !chunk.invalid().is_empty() {
                self.fmt(format_args!("{}", char::REPLACEMENT_CHARACTER));
            }
        }
    }

    fn text(&self, text: Text<'a>) -> &'a [u8] {
        match text {
            Text::Id(id) => self.strings.resolve(id),
            Text::Inline(bytes) => bytes,
        }
    }

    fn fmt(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a Vec does not fail.
        let _ = self.out.write_fmt(text);
    }
}

/// What could break a line, drive a terminal, or show text in another order than it has. All below U+10000.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Nanoseconds as milliseconds with this many decimals (at most 6), cut, not rounded.
struct Millis(u64, usize);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = (self.0 % 1_000_000) / 10_u64.pow(6 - self.1 as u32);
        write!(f, "{}.{decimals:0width$}", self.0 / 1_000_000, width = self.1)
    }
}

/// Unix nanoseconds as an RFC 3339 time in UTC with microseconds.
struct Timestamp(u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0 / 1000 % 1_000_000;
        let seconds = self.0 / 1_000_000_000;
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// Days since 1970-01-01 to year, month, day: years begin in March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day - (153 * shifted + 2) / 5 + 1)
}
