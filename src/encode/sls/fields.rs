//! Columns of a logstore: what they are called, and under which key an attribute may stand beside them. Settled once per
//! sink; asking for a key costs one look-up in a table and allocates only where a key has to change.
//!
//! A record's attribute keys are taken to be unique, as recording keeps them; what is changed here stays unique too. A key
//! that is a column's, or that SLS keeps for itself, gets `attr_` in front; one beyond [`MAX_KEY_BYTES`] is cut; one that
//! then meets another of its record gets `_2`, `_3` … at its end.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::text::{put_resource_object, put_resource_value};
use super::{FieldCounts, log_group};
use crate::config::{Resource, SlsAttributes, SlsFieldNames, SlsSinkConfig};
use crate::error::Error;

/// Bytes of a key.
pub const MAX_KEY_BYTES: usize = 128;
/// Bytes of a value.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// Keys that SLS refuses, or reads as something else than a content.
const RESERVED: [&str; 8] = [
    "__time__",
    "__time_ns_part__",
    "__source__",
    "__topic__",
    "__partition_time__",
    "_extract_others_",
    "__extract_others__",
    "__pack_id__",
];
/// How queries name tags.
const TAG_PREFIX: &[u8] = b"__tag__:";
const ATTRIBUTE_PREFIX: &[u8] = b"attr_";

/// What a record is made of besides its attributes. Where both versions have a column, 0.3's value is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Column {
    Level,
    Message,
    LoggerName,
    ServiceName,
    TraceId,
    SpanId,
    Attributes,
    /// From here on: not in 0.3.
    SeverityText,
    DroppedAttributes,
    Resource,
}

const NAMES: [&str; 10] = [
    "level",
    "message",
    "logger_name",
    "service.name",
    "traceID",
    "spanID",
    "attributes",
    "severity_text",
    "dropped_attributes_count",
    "resource",
];
const NAMES_0_3: [&str; 7] =
    ["level", "message", "logger_name", "service.name", "trace_id", "span_id", "attributes"];

/// Where resource attributes go; `service.name` has a column of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResourcePlace {
    Tags,
    Column,
    Nowhere,
}

impl ResourcePlace {
    pub(super) fn of(config: &SlsSinkConfig) -> Self {
        match (&config.field_names, config.attributes) {
            (SlsFieldNames::V0_3, _) => Self::Nowhere,
            (_, SlsAttributes::Flat) => Self::Tags,
            (_, SlsAttributes::Json) => Self::Column,
        }
    }
}

type Key = Box<[u8]>;

/// The columns of one sink. Sinks whose layouts are equal can share encoded records.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    /// By [`Column`].
    names: Vec<Box<str>>,
    pub(super) is_0_3: bool,
    pub(super) json_attributes: bool,
    /// Encoded contents that every record has: service name, resource.
    pub(super) constant: Vec<u8>,
    /// Attribute keys that cannot stand as they are: what the user calls them, `None` for reserved ones.
    replaced: HashMap<Key, Option<Key>, RandomState>,
    /// The [`fingerprint`]s of these: most keys need no look-up.
    fingerprints: u64,
}

impl Layout {
    /// Settles the columns.
    ///
    /// # Errors
    /// [`Error::Config`] when `field_names` gives a column or attribute a name that is empty, too long, reserved, or
    /// another column's.
    pub fn new(config: &SlsSinkConfig, resource: &Resource) -> Result<Self, Error> {
        let (defaults, renames, is_0_3) = match &config.field_names {
            SlsFieldNames::V0_3 => (&NAMES_0_3[..], &[][..], true),
            SlsFieldNames::Renamed(renames) => (&NAMES[..], &renames[..], false),
        };
        let json_attributes = is_0_3 || config.attributes == SlsAttributes::Json;
        let place = ResourcePlace::of(config);
        let used = |name: &str| match name {
            "attributes" => json_attributes,
            "resource" => place == ResourcePlace::Column,
            _ => true,
        };
        check_renames(renames, defaults, used)?;

        let renamed = |name: &&str| renames.iter().rfind(|(from, _)| from == name);
        let names: Vec<Box<str>> =
            defaults.iter().map(|name| renamed(name).map_or(*name, |(_, to)| to).into()).collect();
        let mut replaced = HashMap::default();
        if !json_attributes {
            let columns = defaults.iter().zip(&names).filter(|(name, _)| used(name)).map(|(_, name)| &**name);
            replaced.extend(columns.chain(RESERVED).map(|name| (name.as_bytes().into(), None)));
            let ours = |from: &str| defaults.iter().any(|name| *name == from && used(name));
            for (from, to) in renames.iter().filter(|(from, to)| from != to && !ours(from)) {
                replaced.insert(from.as_bytes().into(), Some(to.as_bytes().into()));
            }
        }
        let fingerprints = replaced.keys().fold(0, |all, key: &Key| all | fingerprint(key));
        let constant = Vec::new();
        let mut layout = Self { names, is_0_3, json_attributes, constant, replaced, fingerprints };
        layout.put_constant(resource, place);
        Ok(layout)
    }

    fn put_constant(&mut self, resource: &Resource, place: ResourcePlace) {
        let mut constant = Vec::new();
        let mut put = |column, mut text: Vec<u8>| {
            text.truncate(cut_bytes(&text, MAX_VALUE_BYTES).len());
            log_group::put_content(&mut constant, self.name(column), &text);
        };
        let mut text = Vec::new();
        if let Some(name) = resource.get(SERVICE_NAME) {
            put_resource_value(&mut text, name);
        }
        if !text.is_empty() {
            put(Column::ServiceName, text);
        }
        if place == ResourcePlace::Column {
            let mut text = Vec::new();
            put_resource_object(&mut text, resource.attributes.iter().filter(|(key, _)| key != SERVICE_NAME));
            put(Column::Resource, text);
        }
        self.constant = constant;
    }

    /// What a column is called; 0.3's layout has only those up to [`Column::Attributes`].
    #[inline]
    pub(super) fn name(&self, column: Column) -> &[u8] {
        self.names.get(column as usize).map_or(&[], |name| name.as_bytes())
    }

    /// The key can stand as it is.
    #[inline]
    pub(super) fn takes(&self, key: &[u8]) -> bool {
        (1..=MAX_KEY_BYTES).contains(&key.len())
            && !key.starts_with(TAG_PREFIX)
            && (self.fingerprints & fingerprint(key) == 0 || !self.replaced.contains_key(key))
    }

    /// The key under which an attribute stands whose own key is not taken. `is_in_use` says whether another attribute
    /// of the record has, or had, that key.
    #[cold]
    pub(super) fn replacement(
        &self,
        key: &[u8],
        counts: &mut FieldCounts,
        is_in_use: impl Fn(&[u8]) -> bool,
    ) -> Vec<u8> {
        let reserved = || key.is_empty() || key.starts_with(TAG_PREFIX);
        let wanted = match self.replaced.get(key) {
            Some(Some(name)) => name.to_vec(),
            None if !reserved() => key.to_vec(),
            _ => {
                counts.renamed_keys += 1;
                [ATTRIBUTE_PREFIX, key].concat()
            }
        };
        let mut replacement = cut_bytes(&wanted, MAX_KEY_BYTES).to_vec();
        counts.cut_keys += u64::from(replacement.len() < wanted.len());
        let mut number = 2;
        while self.replaced.get(&*replacement) == Some(&None) || is_in_use(&replacement) {
            let suffix = format!("_{number}");
            replacement = cut_bytes(&wanted, MAX_KEY_BYTES - suffix.len()).to_vec();
            replacement.extend_from_slice(suffix.as_bytes());
            number += 1;
        }
        replacement
    }
}

/// One bit of 64, the same for equal keys.
#[inline]
fn fingerprint(key: &[u8]) -> u64 {
    let byte = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    1 << ((byte(key.first()) + 5 * byte(key.last()) + 11 * key.len()) % 64)
}

/// The resource attribute that has a column of its own.
pub(super) const SERVICE_NAME: &str = "service.name";

fn check_renames(
    renames: &[(String, String)],
    defaults: &[&str],
    used: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    for (from, to) in renames {
        let refuse =
            |why: &str| Err(Error::config(format_args!("field_names: {from:?} cannot be {to:?}: {why}")));
        if to.is_empty() || to.len() > MAX_KEY_BYTES {
            return refuse("a name has 1 to 128 bytes");
        }
        if RESERVED.contains(&&**to) || to.as_bytes().starts_with(TAG_PREFIX) {
            return refuse("SLS keeps that name for itself");
        }
        let renamed = |name: &str| renames.iter().any(|(from, _)| from == name);
        if defaults.iter().any(|name| name == to && from != to && used(name) && !renamed(name)) {
            return refuse("that is another column");
        }
        if renames.iter().any(|(other, same)| same == to && other != from) {
            return refuse("another field has that name");
        }
    }
    Ok(())
}

/// The longest prefix of at most `bytes` bytes that ends with a character.
pub(super) fn cut_bytes(text: &[u8], bytes: usize) -> &[u8] {
    if text.len() <= bytes {
        return text;
    }
    // A character starts at every byte that is not a continuation byte.
    let end = (bytes.saturating_sub(3)..=bytes).rfind(|at| text[*at] & 0xc0 != 0x80);
    &text[..end.unwrap_or(bytes)]
}
