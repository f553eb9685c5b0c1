//! Logs encoded for SLS and decoded again, as SLS would.

use std::sync::Arc;

use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::{SlsAttributes, SlsFieldNames, SlsSinkConfig};
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::sls::{Envelope, FieldCounts, Layout, LogGroupEncoder, sls_request};
use pytracingx::intern::{Interner, Scope};
use pytracingx::limits::LogLimits;

use crate::model::{Name, Value};
use crate::sls_model::{self, LOGGERS, LogGroup, LogModel, config, resource};

pub(crate) fn encode(
    models: &[LogModel],
    config: &SlsSinkConfig,
    limits: &LogLimits,
) -> (Chunk, FieldCounts) {
    let strings = Interner::default();
    for (index, name) in LOGGERS.iter().enumerate() {
        let version = if index == 0 { env!("CARGO_PKG_VERSION") } else { "" };
        let scope = Scope { name: (*name).into(), version: version.into(), ..Scope::default() };
        assert_eq!(strings.scope_index(&scope), index as u16);
    }
    let mut batch = Batch::default();
    models.iter().for_each(|model| sls_model::push(&mut batch, &strings, model));
    let timeline = Timeline::identity();
    let mut encoder = LogGroupEncoder::new(Layout::new(config, &resource()).expect("a layout"));
    let chunk = encoder.encode(&batch, |_| true, limits, Lookup { strings: &strings, timeline: &timeline });
    (chunk, encoder.counts())
}

pub(crate) fn request(chunk: Chunk, config: &SlsSinkConfig) -> LogGroup {
    let envelope = Envelope::new(config, &resource(), "host-1").expect("an envelope");
    let records = 0..chunk.len();
    let mut body = vec![0xff];
    sls_request(&envelope, &[Part { chunk: Arc::new(chunk), records }], "P-0", &mut body);
    let group = LogGroup::decode(&*body).expect("official code decodes it");
    assert_eq!(group.encode_to_vec(), body, "as short, and in the same order");
    group
}

pub(crate) fn contents(model: LogModel, config: &SlsSinkConfig) -> (Vec<(String, String)>, FieldCounts) {
    let (chunk, counts) = encode(&[model], config, &LogLimits::default());
    let log = request(chunk, config).logs.remove(0);
    (log.contents.into_iter().map(|pair| (pair.key, pair.value)).collect(), counts)
}

pub(crate) fn attribute(key: &str, value: Value) -> (Name, Value) {
    (Name { text: key.into(), interned: false }, value)
}

pub(crate) fn renamed(names: &[(&str, &str)]) -> SlsSinkConfig {
    let names = names.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
    SlsSinkConfig { field_names: SlsFieldNames::Renamed(names), ..config() }
}

pub(crate) fn published() -> SlsSinkConfig {
    SlsSinkConfig { field_names: SlsFieldNames::V0_3, ..config() }
}

pub(crate) fn json() -> SlsSinkConfig {
    SlsSinkConfig { attributes: SlsAttributes::Json, ..config() }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
