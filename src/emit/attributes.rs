//! Attributes under construction: items that know where each attribute lies, so that the last value for a key wins.

use crate::attrs::{self, Item, Items, Text, Value};
use crate::intern::Interner;

/// All attributes of one span or event: more would not fit a request.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Attribute items with unique keys, in the order in which they were first set: the limits keep the first ones.
#[derive(Debug, Default)]
pub struct AttributeList {
    items: Vec<u8>,
    /// Where each attribute lies in `items`.
    places: Vec<(u32, u32)>,
}

impl AttributeList {
    /// Sets an attribute. False, changing nothing, when it is new and `limit` attributes are there already, or when all
    /// together would be too large.
    #[inline]
    pub fn set(&mut self, key: Text<'_>, value: Value<'_>, limit: u32, strings: Option<&Interner>) -> bool {
        if self.items.len() + size_bound(key, value) > MAX_BYTES {
            return false;
        }
        let same = |(from, _): &(u32, u32)| has_key(&self.items[*from as usize..], key, strings);
        if let Some(position) = self.places.iter().position(same) {
            self.replace(position, key, value);
            return true;
        }
        if self.places.len() as u32 >= limit {
            return false;
        }
        self.push(key, value);
        true
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
    }

    /// Appends an attribute whose key is known to be new.
    #[inline]
    pub fn push(&mut self, key: Text<'_>, value: Value<'_>) {
        let from = self.items.len();
        attrs::put_attribute(&mut self.items, key, value);
        self.places.push((from as u32, self.items.len() as u32));
    }

    /// Puts another value, of any size, where the attribute is.
    fn replace(&mut self, position: usize, key: Text<'_>, value: Value<'_>) {
        let (from, to) = self.places[position];
        let end = self.items.len();
        attrs::put_attribute(&mut self.items, key, value);
        let new = self.items.len() - end;
        self.items[from as usize..].rotate_right(new);
        let old = from as usize + new..to as usize + new;
        self.items.drain(old);
        self.places[position].1 = from + new as u32;
        for (other_from, other_to) in &mut self.places[position + 1..] {
            *other_from = *other_from - to + from + new as u32;
            *other_to = *other_to - to + from + new as u32;
        }
    }

    /// The items of the first `limit` attributes, and how many more there are.
    pub fn within(&self, limit: u32) -> (&[u8], u32) {
        let kept = self.places.len().min(limit as usize);
        let end = if kept == 0 { 0 } else { self.places[kept - 1].1 as usize };
        (&self.items[..end], (self.places.len() - kept) as u32)
    }

    /// All items; the list's memory may be appended to, which ends its use as a list.
    #[inline]
    pub(super) fn items_mut(&mut self) -> &mut Vec<u8> {
        &mut self.items
    }

    pub(super) fn capacity_bytes(&self) -> usize {
        self.items.capacity() + self.places.capacity() * size_of::<(u32, u32)>()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.places.clear();
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
#[inline]
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
#[inline]
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
