//! The variable part of a span while it is open, and how it becomes the items of its record. Plain data that threads pool
//! ([`Thread`](super::Thread)); allocates only while it grows to its working size.

use super::AttributeList;
use crate::attrs::{self, Text, Value, tag};

/// See [`LiveSpan`](super::LiveSpan).
#[derive(Debug, Default)]
pub(super) struct Storage {
    pub(super) attributes: AttributeList,
    /// Event and link items.
    pub(super) events_and_links: Vec<u8>,
    /// When not interned.
    pub(super) name: Vec<u8>,
    pub(super) status: Vec<u8>,
    pub(super) events: u32,
    pub(super) links: u32,
    pub(super) dropped_attributes: u32,
    pub(super) dropped_events: u32,
    pub(super) dropped_links: u32,
}

/// Larger storage is freed rather than pooled.
const MAX_POOLED_BYTES: usize = 16 * 1024;

impl Storage {
    /// Completes the items for the record.
    #[inline]
    pub(super) fn seal(&mut self, name_is_inline: bool, trace_state: Option<&str>) -> &[u8] {
        let items = self.attributes.items_mut();
        if !self.events_and_links.is_empty() {
            items.extend_from_slice(&self.events_and_links);
        }
        if name_is_inline {
            attrs::put_text_item(items, tag::NAME, &self.name);
        }
        if let Some(trace_state) = trace_state {
            attrs::put_text_item(items, tag::TRACE_STATE, trace_state.as_bytes());
        }
        if !self.status.is_empty() {
            attrs::put_text_item(items, tag::STATUS, &self.status);
        }
        if self.dropped_attributes | self.dropped_events | self.dropped_links != 0 {
            attrs::put_dropped(items, self.dropped_attributes, self.dropped_events, self.dropped_links);
        }
        items
    }

    pub(super) fn is_small(&self) -> bool {
        let texts = self.name.capacity() + self.status.capacity();
        self.attributes.capacity_bytes() + self.events_and_links.capacity() + texts <= MAX_POOLED_BYTES
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        self.events_and_links.clear();
        self.name.clear();
        self.status.clear();
        (self.events, self.links) = (0, 0);
        (self.dropped_attributes, self.dropped_events, self.dropped_links) = (0, 0, 0);
    }
}

/// The first attributes of a span, of which no two have one key (as those of a dict): nothing is looked for.
#[derive(Debug)]
pub struct FirstAttributes<'a> {
    storage: &'a mut Storage,
    limit: u32,
}

impl<'a> FirstAttributes<'a> {
    pub(super) fn new(storage: &'a mut Storage, limit: u32) -> Self {
        debug_assert!(storage.attributes.is_empty() && storage.dropped_attributes == 0);
        Self { storage, limit }
    }

    /// Adds one, or counts it as dropped.
    #[inline(always)]
    pub fn add(&mut self, key: Text<'_>, value: Value<'_>) {
        if !self.storage.attributes.add(key, value, self.limit) {
            self.storage.dropped_attributes += 1;
        }
    }

    /// As if there had been none.
    #[cold]
    pub fn undo(self) {
        self.storage.attributes.clear();
        self.storage.dropped_attributes = 0;
    }
}
