//! Hides what the configuration says must not leave: rewrites the attributes of a batch's spans (their events and links
//! too) and log records before anything is encoded. Keys inside maps count as keys, those of a log record's body too;
//! names, a status description and a text as body have none. A key is matched against the rules once and remembered. Without rules it
//! costs nothing; with them it allocates for the records it changes.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::attrs::{self, Attribute, Item, Items, MAX_DEPTH, Text, Value, Values};
use crate::batch::Batch;
use crate::config::{RedactAction, RedactRule, pattern_matches};
use crate::ids::hex_into;
use crate::intern::Interner;

/// See the module documentation. Belongs to one interner.
#[derive(Debug)]
pub struct Redactor {
    rules: Vec<RedactRule>,
    /// By id of the key: whether it has been matched, and by which rule.
    decided: Vec<Option<Option<RedactAction>>>,
}

impl Redactor {
    /// The first rule that matches a key decides.
    pub fn new(rules: Vec<RedactRule>) -> Self {
        Self { rules, decided: Vec::new() }
    }

    /// Rewrites what the rules match.
    pub fn apply(&mut self, batch: &mut Batch, strings: &Interner) {
        if self.rules.is_empty() {
            return;
        }
        batch.rewrite_items(|items, out| {
            let rewritten = Pass { redactor: self, strings }.items(items, out, 0);
            if let Some(dropped) = rewritten.filter(|dropped| *dropped > 0) {
                attrs::put_dropped(out, dropped, 0, 0);
            }
            rewritten.is_some()
        });
    }

    fn action(&mut self, key: Text<'_>, strings: &Interner) -> Option<RedactAction> {
        let id = match key {
            Text::Inline(key) => return action(&self.rules, key),
            Text::Id(id) => id,
        };
        let at = id.0 as usize;
        if at >= self.decided.len() {
            self.decided.resize(at + 1, None);
        }
        *self.decided[at].get_or_insert_with(|| action(&self.rules, strings.resolve(id)))
    }
}

fn action(rules: &[RedactRule], key: &[u8]) -> Option<RedactAction> {
    let key = String::from_utf8_lossy(key);
    rules.iter().find(|rule| pattern_matches(&rule.key, &key)).map(|rule| rule.action)
}

/// One walk over a batch. Each method answers `None` where nothing changes, having written nothing.
struct Pass<'a> {
    redactor: &'a mut Redactor,
    strings: &'a Interner,
}

impl Pass<'_> {
    /// Appends the items as they may leave: how many attributes that costs.
    fn items(&mut self, items: &[u8], out: &mut Vec<u8>, depth: usize) -> Option<u32> {
        let mut rest = Items::new(items);
        let (mut copied, mut dropped, mut changed) = (0, 0, false);
        loop {
            let from = items.len() - rest.as_bytes().len();
            let Some(item) = rest.next() else { break };
            let Some(replacement) = self.item(item, depth) else { continue };
            out.extend_from_slice(&items[copied..from]);
            out.extend_from_slice(&replacement);
            copied = items.len() - rest.as_bytes().len();
            dropped += u32::from(replacement.is_empty());
            changed = true;
        }
        changed.then(|| {
            out.extend_from_slice(&items[copied..]);
            dropped
        })
    }

    /// What stands in for an item; empty for an attribute that is left out.
    fn item(&mut self, item: Item<'_>, depth: usize) -> Option<Vec<u8>> {
        let (mut out, mut attributes) = (Vec::new(), Vec::new());
        match item {
            Item::Attribute(attribute) => return self.attribute(attribute, depth),
            Item::Event(event) if depth == 0 => {
                let dropped = self.items(event.attributes.as_bytes(), &mut attributes, 1)?;
                let dropped = event.dropped_attributes.saturating_add(dropped);
                attrs::put_event(
                    &mut out,
                    event.name,
                    event.time,
                    event.time_is_unix_nano,
                    dropped,
                    &attributes,
                );
            }
            Item::Link(mut link) if depth == 0 => {
                let dropped = self.items(link.attributes.as_bytes(), &mut attributes, 1)?;
                link.dropped_attributes = link.dropped_attributes.saturating_add(dropped);
                attrs::put_link(&mut out, &attrs::Link { attributes: Items::new(&attributes), ..link });
            }
            Item::Body(value) if depth == 0 => {
                let inner = self.inner(value, depth)?;
                attrs::put_body(&mut out, with_inner(value, &inner));
            }
            _ => return None,
        }
        Some(out)
    }

    fn attribute(&mut self, Attribute { key, value }: Attribute<'_>, depth: usize) -> Option<Vec<u8>> {
        let action = self.redactor.action(key, self.strings);
        let mut out = Vec::new();
        match action {
            Some(RedactAction::Drop) => {}
            Some(RedactAction::Hash) => {
                attrs::put_attribute(&mut out, key, Value::Str(&hash(&self.text(value))));
            }
            _ => {
                let inner = self.inner(value, depth);
                let value = inner.as_ref().map_or(value, |inner| with_inner(value, inner));
                let text = if let Some(RedactAction::Truncate(length)) = action {
                    let text = self.text(value);
                    end_of(value, &text, length as usize).map(|end| text[..end].to_vec())
                } else {
                    None
                };
                let cut = text.as_ref().map(|text| match value {
                    Value::Bytes(_) => Value::Bytes(text),
                    _ => Value::Str(text),
                });
                attrs::put_attribute(&mut out, key, cut.or_else(|| inner.is_some().then_some(value))?);
            }
        }
        Some(out)
    }

    /// What a map's or an array's bytes become. Nothing that is recorded nests deeper than values may.
    fn inner(&mut self, value: Value<'_>, depth: usize) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        match value {
            Value::Array(_) | Value::Map(_) if depth > MAX_DEPTH => Some(out),
            Value::Map(items) => self.items(items.as_bytes(), &mut out, depth + 1).map(|_| out),
            Value::Array(values)
                if values.into_iter().any(|value| matches!(value, Value::Array(_) | Value::Map(_))) =>
            {
                let mut changed = false;
                for value in values {
                    let inner = self.inner(value, depth + 1);
                    changed |= inner.is_some();
                    attrs::put_element(
                        &mut out,
                        inner.as_ref().map_or(value, |inner| with_inner(value, inner)),
                    );
                }
                changed.then_some(out)
            }
            _ => None,
        }
    }

    /// A text or bytes as they are, anything else as JSON has it.
    fn text<'v>(&self, value: Value<'v>) -> Cow<'v, [u8]> {
        match value {
            Value::Str(bytes) | Value::Bytes(bytes) => Cow::Borrowed(bytes),
            _ => {
                let mut out = String::new();
                self.write(value, &mut out, 0);
                Cow::Owned(out.into_bytes())
            }
        }
    }

    fn write(&self, value: Value<'_>, out: &mut String, depth: usize) {
        let _ = match value {
            Value::Bool(truth) => write!(out, "{truth}"),
            Value::Int(number) => write!(out, "{number}"),
            Value::Double(number) => write!(out, "{number:?}"),
            Value::Str(text) => return quote(text, out),
            Value::Bytes(bytes) => return quote(&hex(bytes), out),
            Value::Array(values) if depth <= MAX_DEPTH => {
                out.push('[');
                for (i, value) in values.enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    self.write(value, out, depth + 1);
                }
                return out.push(']');
            }
            Value::Map(items) if depth <= MAX_DEPTH => {
                out.push('{');
                for (i, Attribute { key, value }) in items.attributes().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    match key {
                        Text::Id(id) => quote(self.strings.resolve(id), out),
                        Text::Inline(key) => quote(key, out),
                    }
                    out.push(':');
                    self.write(value, out, depth + 1);
                }
                return out.push('}');
            }
            Value::Empty | Value::Array(_) | Value::Map(_) => write!(out, "null"),
        };
    }
}

/// The map or array with other content.
fn with_inner<'a>(value: Value<'a>, inner: &'a [u8]) -> Value<'a> {
    match value {
        Value::Array(_) => Value::Array(Values::new(inner)),
        Value::Map(_) => Value::Map(Items::new(inner)),
        other => other,
    }
}

/// Where the character (of bytes: the byte) after the first `length` begins; `None` when there is none.
fn end_of(value: Value<'_>, text: &[u8], length: usize) -> Option<usize> {
    let starts = |(_, byte): &(usize, &u8)| matches!(value, Value::Bytes(_)) || **byte & 0xc0 != 0x80;
    text.iter().enumerate().filter(starts).nth(length).map(|(at, _)| at)
}

fn hash(text: &[u8]) -> Vec<u8> {
    [b"sha256:", &hex(&Sha256::digest(text))[..]].concat()
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; bytes.len() * 2];
    hex_into(bytes, &mut out);
    out
}

fn quote(text: &[u8], out: &mut String) {
    out.push('"');
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\0'..' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
