//! Attribute sets as series tell them apart: by text and value, whatever the order of the keys and whichever of them were
//! interned. Allocates per set, so it is for sets that no cache knows.

use crate::attrs::{self, Items, MAX_DEPTH, Text, Value, tag};
use crate::intern::Interner;

/// The attributes of one set: sorted by key, each key once, the last value for it.
pub(super) struct AttributeSet<'a> {
    sorted: Vec<(&'a [u8], Value<'a>)>,
    strings: &'a Interner,
}

impl<'a> AttributeSet<'a> {
    /// The attributes in `items`, up to the first item that is none.
    pub(super) fn read(items: &'a [u8], strings: &'a Interner) -> Self {
        Self { sorted: sorted(Items::new(items), strings), strings }
    }

    /// The set of an overflow series.
    pub(super) fn is_overflow(&self) -> bool {
        matches!(*self.sorted, [(b"otel.metric.overflow", Value::Bool(true))])
    }

    /// Appends the items that `keys` (sorted) keeps, in canonical form; `None` keeps all.
    pub(super) fn put_kept(&self, keys: Option<&[String]>, out: &mut Vec<u8>) {
        self.put(out, |key| keys.is_none_or(|keys| contains(keys, key)));
    }

    /// Appends the items that `keys` (sorted) leaves out.
    pub(super) fn put_left_out(&self, keys: &[String], out: &mut Vec<u8>) {
        self.put(out, |key| !contains(keys, key));
    }

    fn put(&self, out: &mut Vec<u8>, wanted: impl Fn(&[u8]) -> bool) {
        for (key, value) in self.sorted.iter().filter(|(key, _)| wanted(key)) {
            put_attribute(out, key, *value, self.strings, 0);
        }
    }
}

fn contains(keys: &[String], key: &[u8]) -> bool {
    keys.binary_search_by(|kept| kept.as_bytes().cmp(key)).is_ok()
}

fn sorted<'a>(items: Items<'a>, strings: &'a Interner) -> Vec<(&'a [u8], Value<'a>)> {
    let text = |key| match key {
        Text::Id(id) => strings.resolve(id),
        Text::Inline(text) => text,
    };
    let mut sorted: Vec<_> = items.attributes().map(|item| (text(item.key), item.value)).collect();
    // Stable, so of one key the last comes last; looked at from the back, that is the one to keep.
    sorted.sort_by_key(|(key, _)| *key);
    sorted.reverse();
    sorted.dedup_by_key(|(key, _)| *key);
    sorted.reverse();
    sorted
}

/// Maps inside values get the same form as the set itself.
fn put_attribute(out: &mut Vec<u8>, key: &[u8], value: Value<'_>, strings: &Interner, depth: usize) {
    let key = Text::Inline(key);
    let open = match value {
        Value::Map(_) if depth < MAX_DEPTH => attrs::open_map(out, key),
        Value::Array(_) if depth < MAX_DEPTH => attrs::open_array(out, key),
        value => return attrs::put_attribute(out, key, value),
    };
    put_inside(out, value, strings, depth + 1);
    attrs::close(out, open);
}

fn put_element(out: &mut Vec<u8>, value: Value<'_>, strings: &Interner, depth: usize) {
    let open = match value {
        Value::Map(_) if depth < MAX_DEPTH => attrs::open_element(out, tag::MAP),
        Value::Array(_) if depth < MAX_DEPTH => attrs::open_element(out, tag::ARRAY),
        value => return attrs::put_element(out, value),
    };
    put_inside(out, value, strings, depth + 1);
    attrs::close(out, open);
}

fn put_inside(out: &mut Vec<u8>, value: Value<'_>, strings: &Interner, depth: usize) {
    match value {
        Value::Map(items) => {
            for (key, value) in sorted(items, strings) {
                put_attribute(out, key, value, strings, depth);
            }
        }
        Value::Array(values) => values.for_each(|value| put_element(out, value, strings, depth)),
        _ => {}
    }
}
