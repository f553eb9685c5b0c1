//! Log records out of fuzzer bytes are encoded for SLS and decoded by prost with the official schema: they must equal the
//! logs that the same records state, in every layout, whole and cut.

#![cfg_attr(fuzzing, no_main)]

#[path = "../../tests/rust/model.rs"]
#[allow(dead_code, reason = "only payloads are written here")]
mod model;
mod shim;
#[path = "../../tests/rust/sls_model.rs"]
#[allow(dead_code, reason = "records are drawn here, not written out")]
mod sls_model;
#[allow(dead_code, reason = "only values are drawn here")]
mod structured;

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::config::{SlsAttributes, SlsFieldNames, SlsSinkConfig};
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::Part;
use pytracingx::encode::sls::{Envelope, Layout, LogGroupEncoder, sls_request};
use pytracingx::intern::{Interner, Scope};
use pytracingx::limits::LogLimits;

use model::{Name, Value};
use sls_model::{LOGGERS, LogGroup, LogModel, expected, resource};

fuzz_target!(run);

fn run(data: &[u8]) {
    // Too few bytes for a record is no finding.
    let _ = compare(&mut Unstructured::new(data));
}

fn config(u: &mut Unstructured<'_>) -> Result<SlsSinkConfig> {
    let config = sls_model::config();
    Ok(match u.int_in_range(0..=3)? {
        0 => config,
        1 => SlsSinkConfig { attributes: SlsAttributes::Json, ..config },
        2 => SlsSinkConfig { field_names: SlsFieldNames::V0_3, ..config },
        _ => {
            let names = vec![("k".into(), "a".into()), ("__time__".into(), "k".repeat(128))];
            SlsSinkConfig { field_names: SlsFieldNames::Renamed(names), ..config }
        }
    })
}

/// Keys of columns and of SLS itself, and long ones that begin alike, among those that mean nothing.
fn attributes(u: &mut Unstructured<'_>) -> Result<Vec<(Name, Value)>> {
    let known = ["level", "attr_level", "message", "__time__", "__tag__:a", "", "k", "a", "a_2"];
    let mut attributes = structured::attributes(u)?;
    for (name, _) in &mut attributes {
        match u.int_in_range(0..=3)? {
            0 => name.text = (*u.choose(&known)?).into(),
            1 => name.text = format!("{}{}", "é".repeat(64), u.int_in_range(0..=2)?),
            _ => {}
        }
    }
    Ok(attributes)
}

fn log(u: &mut Unstructured<'_>) -> Result<LogModel> {
    let severity_text = if u.arbitrary()? { "INFO".to_owned() } else { structured::text(u)? };
    let ids: ([u8; 16], [u8; 8]) = u.arbitrary()?;
    let body = if u.arbitrary()? { Some(structured::value(u, 0)?) } else { None };
    let log = LogModel {
        severity_number: u.int_in_range(0..=30)?,
        severity_text,
        scope: u.int_in_range(0..=2)?,
        ids: (ids.0 != [0; 16]).then_some(ids),
        unix_nano: u.arbitrary()?,
        body,
        attributes: attributes(u)?,
        dropped: if u.arbitrary()? { u.arbitrary()? } else { 0 },
        oversize: u.arbitrary()?,
        body_last: u.arbitrary()?,
    };
    Ok(log.with_unique_keys())
}

fn compare(u: &mut Unstructured<'_>) -> Result<()> {
    let config = config(u)?;
    let attributes = if u.arbitrary()? { 128 } else { u.int_in_range(0..=4)? };
    let value_length = if u.arbitrary()? { u32::MAX } else { u.int_in_range(0..=20)? };
    let limits = LogLimits { attributes, value_length };
    let cut: usize = u.arbitrary()?;
    let mut models = vec![log(u)?];
    while !u.is_empty() && models.len() < 8 {
        models.push(log(u)?);
    }

    let strings = Interner::default();
    for name in &LOGGERS[1..] {
        strings.scope_index(&Scope { name: (*name).into(), ..Scope::default() });
    }
    let timeline = Timeline::identity();
    let lookup = Lookup { strings: &strings, timeline: &timeline };
    let mut batch = Batch::default();
    models.iter().for_each(|model| sls_model::push(&mut batch, &strings, model));
    let mut encoder = LogGroupEncoder::new(Layout::new(&config, &resource()).expect("a layout"));
    let chunk = Arc::new(encoder.encode(&batch, |_| true, &limits, lookup));
    assert_eq!(chunk.len(), models.len());

    // Cut into two parts, joined again: the same request.
    let cut = cut % (models.len() + 1);
    let part = |records| Part { chunk: chunk.clone(), records };
    let envelope = Envelope::new(&config, &resource(), "h").expect("an envelope");
    let (mut whole, mut joined) = (Vec::new(), Vec::new());
    sls_request(&envelope, &[part(0..models.len())], "P-0", &mut whole);
    sls_request(&envelope, &[part(0..cut), part(cut..models.len())], "P-0", &mut joined);
    assert_eq!(whole, joined);

    let group = LogGroup::decode(&*whole).expect("official code decodes it");
    assert_eq!(group.encode_to_vec(), whole, "as short, and in the same order");
    assert_eq!(group.logs.len(), models.len());
    for (log, model) in group.logs.iter().zip(&models) {
        let stated = expected(model, &config, &limits);
        // Values can be megabytes: the first that differs is enough.
        for (pair, stated) in log.contents.iter().zip(&stated.contents) {
            assert_eq!(pair, stated);
        }
        assert_eq!(log, &stated);
    }
    Ok(())
}
