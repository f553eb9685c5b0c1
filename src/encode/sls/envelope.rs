//! What stands around the logs of a request: topic, source, tags, and the id of the batch. Settled once per sink; building
//! a request copies bytes.

use super::fields::{MAX_KEY_BYTES, ResourcePlace, SERVICE_NAME, cut_bytes};
use super::log_group;
use super::text::put_resource_value;
use crate::config::{Resource, SlsSinkConfig};
use crate::encode::chunk::Part;
use crate::error::Error;

/// Bytes of topic, source and tags together.
const MAX_ENVELOPE_BYTES: usize = 1 << 20;
/// Bytes of topic and source each.
const MAX_TOPIC_BYTES: usize = 128;
/// The tag by which SLS shows what stands around a log.
const PACK_ID: &str = "__pack_id__";

/// What surrounds the logs of every request of one sink: topic, source and tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Encoded; the pack id follows.
    fields: Vec<u8>,
}

impl Envelope {
    /// Settles the envelope. Without a source it is `host_name`, except with 0.3's columns, where it was left out then.
    /// Resource attributes that a tag of the user's hides, or that the envelope has no room for, are left out.
    ///
    /// # Errors
    /// [`Error::Config`] for a topic, source or tag that SLS would refuse.
    pub fn new(config: &SlsSinkConfig, resource: &Resource, host_name: &str) -> Result<Self, Error> {
        for (argument, text) in [("topic", Some(&config.topic)), ("source", config.source.as_ref())] {
            if let Some(len) = text.map(String::len).filter(|len| *len > MAX_TOPIC_BYTES) {
                return Err(Error::config(format_args!(
                    "{argument} must have at most {MAX_TOPIC_BYTES} bytes, got {len}"
                )));
            }
        }
        let place = ResourcePlace::of(config);
        let host_name = if place == ResourcePlace::Nowhere { "" } else { host_name };
        let host_name = String::from_utf8_lossy(cut_bytes(host_name.as_bytes(), MAX_TOPIC_BYTES));
        let source = config.source.as_deref().unwrap_or(&host_name);
        let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let mut fields = Vec::new();
        log_group::put_topic_and_source(&mut fields, given(&config.topic), given(source));

        let has_room = |fields: &[u8], key: &[u8], value: &[u8]| {
            fields.len() + log_group::tag_len(key.len(), value.len()) <= MAX_ENVELOPE_BYTES
        };
        let mut keys: Vec<&[u8]> = Vec::new();
        for (key, value) in &config.tags {
            let refuse = |what: &str| Err(Error::config(format_args!("tags: {key:?} {what}")));
            match key.as_bytes() {
                [] => return refuse("must not be empty"),
                key if key.len() > MAX_KEY_BYTES => return refuse("must have at most 128 bytes"),
                _ if key == PACK_ID => return refuse("is set by the exporter itself"),
                key if keys.contains(&key) => return refuse("is given more than once"),
                key if !has_room(&fields, key, value.as_bytes()) => {
                    return refuse("is too much: 1 MiB in all");
                }
                key => {
                    log_group::put_tag(&mut fields, key, value.as_bytes());
                    keys.push(key);
                }
            }
        }
        if place == ResourcePlace::Tags {
            for (key, value) in resource.attributes.iter().filter(|(key, _)| key != SERVICE_NAME) {
                let mut text = Vec::new();
                put_resource_value(&mut text, value);
                let key = cut_bytes(key.as_bytes(), MAX_KEY_BYTES);
                let usable = !key.is_empty() && key != PACK_ID.as_bytes() && !keys.contains(&key);
                if usable && has_room(&fields, key, &text) {
                    log_group::put_tag(&mut fields, key, &text);
                    keys.push(key);
                }
            }
        }
        Ok(Self { fields })
    }

    /// Bytes it adds to a request, pack id included.
    pub fn bytes(&self) -> usize {
        self.fields.len() + log_group::tag_len(PACK_ID.len(), PackIds::MAX_BYTES)
    }
}

/// Builds a complete `LogGroup` from parts, in order, replacing `out`. Copies bytes; encodes nothing again. Without
/// records `out` is left empty: an empty group is never sent.
pub fn sls_request(envelope: &Envelope, parts: &[Part], pack_id: &str, out: &mut Vec<u8>) {
    out.clear();
    let logs: usize = parts.iter().map(Part::bytes).sum();
    if logs == 0 {
        return;
    }
    out.reserve_exact(logs + envelope.fields.len() + log_group::tag_len(PACK_ID.len(), pack_id.len()));
    for part in parts {
        out.extend_from_slice(part.chunk.slice(part.records.clone()));
    }
    out.extend_from_slice(&envelope.fields);
    log_group::put_tag(out, PACK_ID.as_bytes(), pack_id.as_bytes());
}

/// Names batches in the order of their making, so that SLS can show what stands around a log. One per sink.
#[derive(Debug)]
pub struct PackIds {
    producer: u64,
    next: u64,
}

impl PackIds {
    const MAX_BYTES: usize = 16 + 1 + 16;

    /// `producer`: any number that no other producer has, at random.
    pub fn new(producer: u64) -> Self {
        Self { producer, next: 0 }
    }

    /// The next batch's; a repetition of a request keeps the one it has.
    pub fn next_id(&mut self) -> String {
        let id = format!("{:016X}-{:X}", self.producer, self.next);
        self.next += 1;
        id
    }
}
