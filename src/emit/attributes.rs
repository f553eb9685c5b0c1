//! Attributes under construction: items that know where each attribute lies, so that the last value for a key wins.

use crate::attrs::{self, Item, Items, Text, Value};
use crate::intern::Interner;

/// Attribute items with unique keys, in the order in which they were last set.
#[derive(Debug, Default)]
pub struct AttributeList {
    items: Vec<u8>,
    /// Where each attribute lies in `items`.
    places: Vec<(u32, u32)>,
}

impl AttributeList {
    /// Sets an attribute. False when it is new and `limit` attributes are there already.
    #[inline]
    pub fn set(&mut self, key: Text<'_>, value: Value<'_>, limit: u32, strings: Option<&Interner>) -> bool {
        let same = |(from, _): &(u32, u32)| has_key(&self.items[*from as usize..], key, strings);
        if let Some(position) = self.places.iter().position(same) {
            self.remove(position);
        } else if self.places.len() as u32 >= limit {
            return false;
        }
        self.push(key, value);
        true
    }

    /// Appends an attribute whose key is known to be new.
    #[inline]
    pub fn push(&mut self, key: Text<'_>, value: Value<'_>) {
        let from = self.items.len();
        attrs::put_attribute(&mut self.items, key, value);
        self.places.push((from as u32, self.items.len() as u32));
    }

    /// Appends attributes whose keys are known to be new and unique.
    pub fn extend(&mut self, items: Items<'_>) {
        for item in items {
            if let Item::Attribute(attribute) = item {
                self.push(attribute.key, attribute.value);
            }
        }
    }

    fn remove(&mut self, position: usize) {
        let (from, to) = self.places.remove(position);
        self.items.drain(from as usize..to as usize);
        for (other_from, other_to) in &mut self.places[position..] {
            *other_from -= to - from;
            *other_to -= to - from;
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
