//! Reading items. Allocates nothing, and never panics or reads past the end whatever the bytes are: what does not parse ends
//! the sequence.

use super::{Attribute, Event, Item, Link, Text, Value, tag};
use crate::ids::{SpanId, TraceId};
use crate::record::StrId;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    #[inline]
    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    #[inline]
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.bytes(len as usize)
    }

    #[inline]
    fn named(&mut self, id: StrId) -> Option<Text<'a>> {
        if id == StrId::NONE { self.text().map(Text::Inline) } else { Some(Text::Id(id)) }
    }

    #[inline]
    fn value(&mut self, tag: u8) -> Option<Value<'a>> {
        Some(match tag {
            tag::EMPTY => Value::Empty,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => Value::Int(i64::from_ne_bytes(self.array()?)),
            tag::DOUBLE => Value::Double(f64::from_bits(self.u64()?)),
            tag::STR => Value::Str(self.text()?),
            tag::BYTES => Value::Bytes(self.text()?),
            tag::ARRAY => Value::Array(Values(Reader { rest: self.text()? })),
            tag::MAP => Value::Map(Items::new(self.text()?)),
            _ => return None,
        })
    }

    fn item(&mut self) -> Option<Item<'a>> {
        let word = self.u32()?;
        let (tag, id) = (word as u8, StrId(word >> 8));
        Some(match tag {
            ..=tag::LAST_VALUE => {
                let key = self.named(id)?;
                Item::Attribute(Attribute { key, value: self.value(tag)? })
            }
            tag::NAME => Item::Name(self.text()?),
            tag::TRACE_STATE => Item::TraceState(self.text()?),
            tag::STATUS => Item::Status(self.text()?),
            tag::EVENT => Item::Event(Event {
                name: self.named(id)?,
                time: self.u64()?,
                time_is_unix_nano: self.u32()? != 0,
                dropped_attributes: self.u32()?,
                attributes: Items::new(self.text()?),
            }),
            tag::LINK => Item::Link(Link {
                trace_id: TraceId(self.array()?),
                span_id: SpanId(self.array()?),
                flags: self.u32()?,
                dropped_attributes: self.u32()?,
                trace_state: self.text()?,
                attributes: Items::new(self.text()?),
            }),
            tag::DROPPED => {
                Item::Dropped { attributes: self.u32()?, events: self.u32()?, links: self.u32()? }
            }
            tag::SEVERITY_TEXT => Item::SeverityText(self.text()?),
            tag::BODY => {
                let [tag] = self.array()?;
                Item::Body(self.value(tag)?)
            }
            _ => return None,
        })
    }
}

/// The key of the attribute item that `bytes` begins with.
#[inline]
pub fn key_of(bytes: &[u8]) -> Option<Text<'_>> {
    let mut reader = Reader { rest: bytes };
    let word = reader.u32()?;
    reader.named(StrId(word >> 8))
}

/// Iterates over items. Ends at the first byte sequence that is not one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Items<'a>(Reader<'a>);

impl<'a> Items<'a> {
    /// Items in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Reader { rest: bytes })
    }

    /// What has not been read yet.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.rest
    }

    /// The attributes up to the first item that is none: all there can be inside maps, events and links.
    #[inline]
    pub fn attributes(mut self) -> impl Iterator<Item = Attribute<'a>> {
        std::iter::from_fn(move || self.next_attribute())
    }

    /// The next item if it is a body; `None`, reading nothing, if it is something else or the end.
    #[inline]
    pub fn next_body(&mut self) -> Option<Value<'a>> {
        let mut reader = self.0;
        if reader.u32()? as u8 != tag::BODY {
            return None;
        }
        let [tag] = reader.array()?;
        let value = reader.value(tag)?;
        self.0 = reader;
        Some(value)
    }

    /// The next item if it is an attribute; `None`, reading nothing, if it is something else or the end.
    #[inline]
    pub fn next_attribute(&mut self) -> Option<Attribute<'a>> {
        let (key, value) = self.next_attribute_as(|key| key)?;
        Some(Attribute { key, value })
    }

    /// [`Items::next_attribute`], the key being what `resolve` makes of it. The value is read last: who looks at its kind
    /// next lets the compiler look once.
    #[inline(always)]
    pub fn next_attribute_as<K>(&mut self, resolve: impl FnOnce(Text<'a>) -> K) -> Option<(K, Value<'a>)> {
        let mut reader = self.0;
        let word = reader.u32()?;
        let (tag, id) = (word as u8, StrId(word >> 8));
        if tag > tag::LAST_VALUE {
            return None;
        }
        let key = resolve(reader.named(id)?);
        let value = reader.value(tag)?;
        self.0 = reader;
        Some((key, value))
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let item = self.0.item();
        if item.is_none() {
            self.0.rest = &[];
        }
        item
    }
}

/// Iterates over the elements of an array. Ends at the first byte sequence that is not one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Values<'a>(Reader<'a>);

impl<'a> Values<'a> {
    /// Elements in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Reader { rest: bytes })
    }

    /// What has not been read yet.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0.rest
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let value = self.0.array::<1>().and_then(|[tag]| self.0.value(tag));
        if value.is_none() {
            self.0.rest = &[];
        }
        value
    }
}
