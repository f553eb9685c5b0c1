//! Log records. The message stands where other entries have kind and name: text as it is, any other body as JSON.

use super::{Head, Layout};
use crate::attrs::{Item, Items, Value};
use crate::batch::RecordRef;
use crate::config::ConsoleFormat;
use crate::encode::Lookup;
use crate::record::{flag, severity_name};

pub(super) const KIND: &str = "log";

/// Appends one log record. Its level is OpenTelemetry's short name of the severity number (`INFO`, `WARN2`), or
/// `UNSPECIFIED`. JSON adds `trace_id` and `span_id` inside a span, and, as `pretty` does, `severity_text` where that says
/// something else than the level.
pub fn log(record: RecordRef<'_>, lookup: Lookup<'_>, format: ConsoleFormat, color: bool, out: &mut Vec<u8>) {
    let header = record.header;
    let is_unix_nano = header.flags & flag::START_IS_UNIX_NANO != 0;
    let (mut body, mut severity_text) = (Value::Empty, &[][..]);
    for item in Items::new(record.payload) {
        match item {
            Item::Body(value) => body = value,
            Item::SeverityText(text) => severity_text = text,
            _ => {}
        }
    }
    let level = match severity_name(header.detail) {
        "" => "UNSPECIFIED",
        name => name,
    };
    let mut text = Layout::new(lookup, format, color, out);
    text.begin(&Head {
        unix_nano: if is_unix_nano { header.start } else { lookup.timeline.unix_nano(header.start) },
        level,
        kind: KIND,
        scope: header.scope,
        subject: body,
    });
    text.ids(header);
    let says_more = !severity_text.is_empty() && !severity_text.eq_ignore_ascii_case(level.as_bytes());
    if says_more && format != ConsoleFormat::Compact {
        text.field("severity_text");
        text.quoted(severity_text);
    }
    text.attributes(Items::new(record.payload));
    out.push(b'\n');
}
