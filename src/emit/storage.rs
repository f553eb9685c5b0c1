//! The variable part of a span while it is open, and how it becomes the items of its record. Plain data that threads pool
//! ([`Thread`](super::Thread)); allocates only while it grows to its working size.

use super::AttributeList;
use crate::attrs::{self, Text, Value, tag};

/// See [`LiveSpan`](super::LiveSpan).
#[derive(Debug, Default)]
pub(super) struct Storage {
    pub(super) attributes: AttributeList,
    /// [`Storage::more`] was asked for: most spans have attributes only, and never look at the rest.
    has_more: bool,
    more: More,
}

/// What few spans have beside attributes.
#[derive(Debug, Default)]
pub(super) struct More {
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

/// Larger parts of storage are freed rather than pooled.
const MAX_POOLED_BYTES: usize = 16 * 1024;

impl Storage {
    /// To be written to.
    #[inline]
    pub(super) fn more(&mut self) -> &mut More {
        self.has_more = true;
        &mut self.more
    }

    /// As it is: empty if nothing was written.
    pub(super) fn more_so_far(&self) -> &More {
        &self.more
    }

    /// Counts an attribute that the limits do not let in.
    #[cold]
    pub(super) fn drop_attributes(&mut self, count: u32) {
        let dropped = &mut self.more().dropped_attributes;
        *dropped = dropped.saturating_add(count);
    }

    /// Completes the items for the record.
    #[inline(always)]
    pub(super) fn seal(&mut self, trace_state: Option<&str>, name_is_inline: bool) -> &[u8] {
        debug_assert!(self.has_more || !name_is_inline);
        if self.has_more || trace_state.is_some() {
            self.append_more(trace_state, name_is_inline);
        }
        self.attributes.items()
    }

    #[inline(never)]
    fn append_more(&mut self, trace_state: Option<&str>, name_is_inline: bool) {
        let (items, more) = (self.attributes.items_mut(), &self.more);
        items.extend_from_slice(&more.events_and_links);
        if name_is_inline {
            attrs::put_text_item(items, tag::NAME, &more.name);
        }
        if let Some(trace_state) = trace_state {
            attrs::put_text_item(items, tag::TRACE_STATE, trace_state.as_bytes());
        }
        if !more.status.is_empty() {
            attrs::put_text_item(items, tag::STATUS, &more.status);
        }
        if more.dropped_attributes | more.dropped_events | more.dropped_links != 0 {
            attrs::put_dropped(items, more.dropped_attributes, more.dropped_events, more.dropped_links);
        }
    }

    #[inline]
    pub(super) fn is_small(&self) -> bool {
        self.attributes.capacity_bytes() <= MAX_POOLED_BYTES && (!self.has_more || self.more.is_small())
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.attributes.clear();
        if std::mem::take(&mut self.has_more) {
            self.more.clear();
        }
    }
}

impl More {
    fn is_small(&self) -> bool {
        let texts = self.name.capacity() + self.status.capacity();
        self.events_and_links.capacity() + texts <= MAX_POOLED_BYTES
    }

    fn clear(&mut self) {
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
        debug_assert!(storage.attributes.is_empty() && storage.more.dropped_attributes == 0);
        Self { storage, limit }
    }

    /// Adds one, or counts it as dropped.
    #[inline(always)]
    pub fn add(&mut self, key: Text<'_>, value: Value<'_>) {
        if !self.storage.attributes.add(key, value, self.limit) {
            self.storage.drop_attributes(1);
        }
    }

    /// As if there had been none.
    #[cold]
    pub fn undo(self) {
        self.storage.attributes.clear();
        self.storage.more.dropped_attributes = 0;
    }
}
