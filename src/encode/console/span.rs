//! Spans: a begun one at its start, a finished one at its end. The level is `ERROR` when the status is error, else `INFO`.

use super::{Head, Layout, Millis, Timestamp};
use crate::attrs::{Event, Item, Items, Value};
use crate::batch::RecordRef;
use crate::config::ConsoleFormat;
use crate::encode::Lookup;
use crate::record::{StatusCode, StrId, flag, kind};

/// Appends one span, begun or finished (by `header.kind`). JSON adds `trace_id`, `span_id`, and of a finished one
/// `duration_ms`; `pretty` shows events and links too.
pub fn span(
    record: RecordRef<'_>,
    lookup: Lookup<'_>,
    format: ConsoleFormat,
    color: bool,
    out: &mut Vec<u8>,
) {
    let header = record.header;
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
    let is_error = header.status() == StatusCode::Error;
    let mut text = Layout::new(lookup, format, color, out);
    text.begin(&Head {
        unix_nano: end,
        level: if is_error { "ERROR" } else { "INFO" },
        kind: if ended { "span_end" } else { "span_begin" },
        scope: header.scope,
        subject: Value::Str(name),
    });
    text.ids(header);
    let pretty = format == ConsoleFormat::Pretty;
    if pretty && header.parent_span_id.is_valid() {
        text.word("parent_span_id", format_args!("{:?}", header.parent_span_id));
    }
    if ended {
        let decimals = if format == ConsoleFormat::Json { 6 } else { 3 };
        text.field("duration_ms");
        text.fmt(format_args!("{}", Millis(end - start, decimals)));
    }
    if is_error && !message.is_empty() && format != ConsoleFormat::Json {
        text.field("status");
        text.quoted(message);
    }
    text.attributes(Items::new(record.payload));
    if pretty {
        text.events_and_links(Items::new(record.payload), lookup);
    }
    out.push(b'\n');
}

impl<'a> Layout<'a, '_> {
    fn events_and_links(&mut self, items: Items<'a>, lookup: Lookup<'_>) {
        for item in items {
            let attributes = match item {
                Item::Event(event) => {
                    self.event(&event, lookup);
                    event.attributes
                }
                Item::Link(link) => {
                    self.fmt(format_args!("\n    link {:?} {:?}", link.trace_id, link.span_id));
                    link.attributes
                }
                _ => continue,
            };
            attributes.attributes().for_each(|attribute| self.line(8, attribute));
        }
    }

    fn event(&mut self, event: &Event<'a>, lookup: Lookup<'_>) {
        let nanos = if event.time_is_unix_nano { event.time } else { lookup.timeline.unix_nano(event.time) };
        self.fmt(format_args!("\n    event {} ", Timestamp(nanos)));
        self.bare(self.text(event.name));
    }
}
