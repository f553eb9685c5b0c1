//! Attributes under construction: items that know where each attribute lies, so that the last value for a key wins.

use crate::attrs::{self, Item, Items, Text, Value};
use crate::intern::Interner;
use crate::record::StrId;

/// All attributes of one span or event: more would not fit a request.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Attribute items with unique keys, in the order in which they were first set: the limits keep the first ones.
#[derive(Debug, Default)]
pub struct AttributeList {
    items: Vec<u8>,
    places: Vec<Place>,
    /// Some key has no id: then ids alone do not tell whether two keys are the same.
    has_inline_key: bool,
}

/// Where an attribute lies in the items: up to the next one.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// NONE for an inline key. Kept here so that looking for a key compares words, one an attribute.
    key: StrId,
    from: u32,
}

impl AttributeList {
    /// Sets an attribute. False, changing nothing, when it is new and `limit` attributes are there already, or when all
    /// together would be too large.
    #[inline(always)]
    pub fn set(&mut self, key: Text<'_>, value: Value<'_>, limit: u32, strings: Option<&Interner>) -> bool {
        match self.position(key, strings) {
            None => self.add(key, value, limit),
            Some(position) => self.replace(position, key, value),
        }
    }

    /// Adds an attribute whose key is known to be new. Results as of [`AttributeList::set`].
    #[inline(always)]
    pub fn add(&mut self, key: Text<'_>, value: Value<'_>, limit: u32) -> bool {
        let has_room = (self.places.len() as u32) < limit && !self.would_be_too_large(key, value);
        if has_room {
            self.push(key, value);
        }
        has_room
    }

    /// Sets attributes that have inline keys, all new to the list, of which one may occur twice.
    pub fn set_all(&mut self, items: Items<'_>, limit: u32) {
        for item in items {
            if let Item::Attribute(attribute) = item {
                self.set(attribute.key, attribute.value, limit, None);
            }
        }
    }

    /// Begins an empty list with what another one holds.
    #[inline]
    pub(super) fn begin_with(&mut self, constants: &Constants) {
        debug_assert!(self.places.is_empty());
        self.items.extend_from_slice(&constants.list.items);
        self.places.extend_from_slice(&constants.list.places);
        self.has_inline_key = constants.list.has_inline_key;
    }

    /// Appends an attribute whose key is known to be new.
    #[inline(always)]
    pub fn push(&mut self, key: Text<'_>, value: Value<'_>) {
        let id = if let Text::Id(id) = key { id } else { StrId::NONE };
        self.has_inline_key |= id == StrId::NONE;
        self.places.push(Place { key: id, from: self.items.len() as u32 });
        attrs::put_attribute(&mut self.items, key, value);
    }

    #[inline(always)]
    fn would_be_too_large(&self, key: Text<'_>, value: Value<'_>) -> bool {
        self.items.len() + size_bound(key, value) > MAX_BYTES
    }

    #[inline(always)]
    fn position(&self, key: Text<'_>, strings: Option<&Interner>) -> Option<usize> {
        match key {
            Text::Id(id) if !self.has_inline_key => self.places.iter().position(|place| place.key == id),
            _ => self.position_by_text(key, strings),
        }
    }

    #[cold]
    #[inline(never)]
    fn position_by_text(&self, key: Text<'_>, strings: Option<&Interner>) -> Option<usize> {
        self.places.iter().position(|place| has_key(&self.items[place.from as usize..], key, strings))
    }

    /// Where the attribute at a position ends.
    fn end(&self, position: usize) -> usize {
        self.places.get(position + 1).map_or(self.items.len(), |next| next.from as usize)
    }

    /// Puts another value, of any size, where the attribute is. False, changing nothing: it is too large.
    #[inline(never)]
    fn replace(&mut self, position: usize, key: Text<'_>, value: Value<'_>) -> bool {
        if self.would_be_too_large(key, value) {
            return false;
        }
        let (from, to) = (self.places[position].from as usize, self.end(position));
        let before = self.items.len();
        attrs::put_attribute(&mut self.items, key, value);
        let new = self.items.len() - before;
        self.items[from..].rotate_right(new);
        self.items.drain(from + new..to + new);
        for place in &mut self.places[position + 1..] {
            place.from = place.from - to as u32 + (from + new) as u32;
        }
        self.places[position].key = if let Text::Id(id) = key { id } else { StrId::NONE };
        self.has_inline_key |= matches!(key, Text::Inline(_));
        true
    }

    /// The items of the first `limit` attributes, and how many more there are.
    pub fn within(&self, limit: u32) -> (&[u8], u32) {
        let kept = self.places.len().min(limit as usize);
        let end = if kept == 0 { 0 } else { self.end(kept - 1) };
        (&self.items[..end], (self.places.len() - kept) as u32)
    }

    /// All items.
    #[inline]
    pub(super) fn items(&self) -> &[u8] {
        &self.items
    }

    /// All items; the list's memory may be appended to, which ends its use as a list.
    #[inline]
    pub(super) fn items_mut(&mut self) -> &mut Vec<u8> {
        &mut self.items
    }

    /// Holds nothing.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.items.capacity() + self.places.capacity() * size_of::<Place>()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
        self.has_inline_key = false;
    }
}

/// Attributes that many spans have: converted once, for one session's interner and limits.
#[derive(Debug, Default)]
pub struct Constants {
    list: AttributeList,
    dropped: u32,
}

impl Constants {
    /// From items with inline keys, of which one may occur twice; `dropped` could not be encoded.
    pub fn new(items: Items<'_>, dropped: u32, limit: u32, strings: &Interner) -> Self {
        let mut constants = Self { list: AttributeList::default(), dropped };
        for attribute in items.attributes() {
            let key = match attribute.key {
                // At its second sighting a text is interned, and many are to follow.
                Text::Inline(text) => strings.intern(text).or_else(|| strings.intern(text)),
                Text::Id(id) => Some(id),
            };
            let key = key.map_or(attribute.key, Text::Id);
            if !constants.list.set(key, attribute.value, limit, Some(strings)) {
                constants.dropped += 1;
            }
        }
        constants
    }

    /// As items, with unique keys.
    pub fn items(&self) -> &[u8] {
        &self.list.items
    }

    /// How many were given beyond.
    pub fn dropped(&self) -> u32 {
        self.dropped
    }
}

/// At least the bytes of an attribute item.
#[inline(always)]
pub(super) fn size_bound(key: Text<'_>, value: Value<'_>) -> usize {
    let key = if let Text::Inline(key) = key { key.len() } else { 0 };
    let value = match value {
        Value::Str(bytes) | Value::Bytes(bytes) => bytes.len(),
        Value::Array(values) => values.as_bytes().len(),
        Value::Map(items) => items.as_bytes().len(),
        _ => 8,
    };
    16 + key + value
}

/// Whether the attribute item at the beginning of `item` has this key. A key may have been inline at its first
/// sighting and interned at its second, so unequal forms are compared by text.
fn has_key(item: &[u8], key: Text<'_>, strings: Option<&Interner>) -> bool {
    match (attrs::key_of(item), key) {
        (Some(Text::Id(stored)), Text::Id(key)) => stored == key,
        (Some(Text::Inline(stored)), Text::Inline(key)) => stored == key,
        (Some(Text::Inline(text)), Text::Id(id)) | (Some(Text::Id(id)), Text::Inline(text)) => {
            strings.is_some_and(|strings| strings.resolve(id) == text)
        }
        (None, _) => false,
    }
}
