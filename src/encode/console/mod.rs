//! Records and metric points as text for people, in three layouts. Appends to a `Vec<u8>`; no I/O. User data cannot break
//! a line, drive a terminal or reorder text: C0 and C1 controls, DEL, line and paragraph separators and bidirectional
//! controls are written as `\n`, `\r`, `\t` or `\uXXXX`, backslashes are doubled, and bytes that are not UTF-8 become
//! U+FFFD. JSON lines are valid JSON whatever the values are.
//!
//! ```text
//! 2023-11-14T22:13:20.000000Z INFO  pytracingx: span_begin generate trace_id=… span_id=…
//! 2023-11-14T22:13:20.001000Z WARN  app.scheduler: queue is long trace_id=… span_id=… depth=17
//! 2023-11-14T22:13:20.001500Z ERROR pytracingx: span_end generate trace_id=… span_id=… duration_ms=1.500 model="m"
//! 2023-11-14T22:13:21.000000Z INFO  pytracingx: metric llm.ttft histogram s count=3 sum=0.4 min=… p50≈0.12 {model="m"}
//! ```
//!
//! Each entry ends in a newline, and only `pretty` entries have further lines, which are indented. Bytes values are
//! lower-case hexadecimal in every layout. JSON keys: `timestamp`, `level`, `kind` (`span_begin`, `span_end`, `log`,
//! `metric`), `name` (of a log record: `message`), `logger` (the instrumentation scope), what the kind adds (see each
//! function), `attributes`; numbers that JSON does not know are the strings `NaN`, `Infinity`, `-Infinity`.

mod log;
mod metric;
mod span;

use std::fmt;
use std::io::Write;

pub use self::log::log;
pub use self::metric::metric;
pub use self::span::span;
use crate::attrs::{Attribute, Item, Items, MAX_DEPTH, Text, Value};
use crate::config::ConsoleFormat;
use crate::encode::Lookup;
use crate::ids::hex_into;
use crate::intern::Interner;
use crate::record::Header;

/// SGR parameters.
mod sgr {
    pub(super) const BOLD: &str = "1";
    pub(super) const DIM: &str = "2";
    pub(super) const RED: &str = "31";
    pub(super) const BOLD_RED: &str = "1;31";
    pub(super) const GREEN: &str = "32";
    pub(super) const YELLOW: &str = "33";
    pub(super) const BLUE: &str = "34";
    pub(super) const MAGENTA: &str = "35";
}

/// What every entry begins with.
struct Head<'a> {
    unix_nano: u64,
    /// In capitals, as OpenTelemetry names severities.
    level: &'static str,
    kind: &'static str,
    scope: u16,
    /// The name, or a log record's body.
    subject: Value<'a>,
}

impl Head<'_> {
    /// A log record says what it says; the others are named.
    fn is_named(&self) -> bool {
        self.kind != log::KIND
    }

    fn sgr(&self) -> &'static str {
        match self.level.as_bytes().first() {
            Some(b'T') => sgr::MAGENTA,
            Some(b'D') => sgr::BLUE,
            Some(b'W') => sgr::YELLOW,
            Some(b'E') => sgr::RED,
            Some(b'F') => sgr::BOLD_RED,
            _ => sgr::GREEN,
        }
    }
}

/// One entry being written.
struct Layout<'a, 'out> {
    out: &'out mut Vec<u8>,
    strings: &'a Interner,
    format: ConsoleFormat,
    color: bool,
}

impl<'a, 'out> Layout<'a, 'out> {
    fn new(lookup: Lookup<'a>, format: ConsoleFormat, color: bool, out: &'out mut Vec<u8>) -> Self {
        Self { out, strings: lookup.strings, format, color }
    }

    /// Time, level, logger, kind and subject.
    fn begin(&mut self, head: &Head<'a>) {
        let logger = self.strings.scope(head.scope).name;
        if self.format == ConsoleFormat::Json {
            self.fmt(format_args!(
                r#"{{"timestamp":"{}","level":"{}","kind":"{}","{}":"#,
                Timestamp(head.unix_nano),
                head.level,
                head.kind,
                if head.is_named() { "name" } else { "message" },
            ));
            self.value(head.subject, 0);
            self.fmt(format_args!(r#","logger":"#));
            return self.quoted(logger.as_bytes());
        }
        self.painted(sgr::DIM, |text| text.fmt(format_args!("{}", Timestamp(head.unix_nano))));
        self.fmt(format_args!(" "));
        self.painted(head.sgr(), |text| text.fmt(format_args!("{:<5}", head.level)));
        self.fmt(format_args!(" "));
        self.painted(sgr::DIM, |text| {
            text.bare(logger.as_bytes());
            text.fmt(format_args!(":"));
        });
        if head.is_named() {
            self.fmt(format_args!(" {}", head.kind));
        }
        match head.subject {
            Value::Empty => {}
            Value::Str(name) if head.is_named() => {
                self.fmt(format_args!(" "));
                self.painted(sgr::BOLD, |text| text.bare(name));
            }
            Value::Str(message) => {
                self.fmt(format_args!(" "));
                self.bare(message);
            }
            other => {
                self.fmt(format_args!(" "));
                self.value(other, 0);
            }
        }
    }

    /// What a value follows.
    fn field(&mut self, key: &str) {
        match self.format {
            ConsoleFormat::Compact => self.fmt(format_args!(" {key}=")),
            ConsoleFormat::Pretty => self.fmt(format_args!("\n    {key}: ")),
            ConsoleFormat::Json => self.fmt(format_args!(r#","{key}":"#)),
        }
    }

    /// A field whose value is a word of ours.
    fn word(&mut self, key: &str, word: impl fmt::Display) {
        self.field(key);
        match self.format {
            ConsoleFormat::Json => self.fmt(format_args!(r#""{word}""#)),
            _ => self.fmt(format_args!("{word}")),
        }
    }

    /// The record's trace and span, if it has them.
    fn ids(&mut self, header: &Header) {
        if header.trace_id.is_valid() {
            self.word("trace_id", format_args!("{:?}", header.trace_id));
        }
        if header.span_id.is_valid() {
            self.word("span_id", format_args!("{:?}", header.span_id));
        }
    }

    /// The attributes among a record's items, and of a JSON line the end.
    fn attributes(&mut self, items: Items<'a>) {
        let attributes = items.filter_map(|item| match item {
            Item::Attribute(attribute) => Some(attribute),
            _ => None,
        });
        match self.format {
            ConsoleFormat::Compact => {
                for attribute in attributes {
                    self.fmt(format_args!(" "));
                    self.pair(attribute);
                }
            }
            ConsoleFormat::Pretty => attributes.for_each(|attribute| self.line(4, attribute)),
            ConsoleFormat::Json => {
                self.field("attributes");
                self.object(attributes, 0);
                self.fmt(format_args!("}}"));
            }
        }
    }

    fn pair(&mut self, attribute: Attribute<'a>) {
        self.bare(self.text(attribute.key));
        self.fmt(format_args!("="));
        self.value(attribute.value, 0);
    }

    fn line(&mut self, indent: usize, attribute: Attribute<'a>) {
        self.fmt(format_args!("\n{:indent$}", ""));
        self.bare(self.text(attribute.key));
        self.fmt(format_args!(": "));
        self.value(attribute.value, 0);
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
                self.object(items.attributes(), depth + 1);
            }
        }
    }

    fn object(&mut self, entries: impl Iterator<Item = Attribute<'a>>, depth: usize) {
        let mut separator = "{";
        for Attribute { key, value } in entries {
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
