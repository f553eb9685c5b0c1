//! Metrics and log records out of fuzzer bytes are encoded and decoded by prost: they must equal the official structs that
//! the same records state, and their order, scopes and counts must hold.

#![cfg_attr(fuzzing, no_main)]

#[path = "../../tests/rust/model.rs"]
#[expect(dead_code, reason = "another target's spans")]
mod model;
#[path = "../../tests/rust/model_logs.rs"]
mod model_logs;
#[path = "../../tests/rust/model_metrics.rs"]
mod model_metrics;
mod shim;
#[expect(dead_code, reason = "another target's spans")]
mod structured;
mod structured_metrics;

use std::fmt::Debug;
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::encode::Lookup;
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::encode::otlp::{self, logs::LogEncoder, metrics::MetricEncoder};
use pytracingx::intern::{Interner, Scope};

use crate::model_metrics::MetricModel;

fuzz_target!(run);

const SCOPES: [&str; 4] = ["pytracingx", "a", "b", "c"];

fn run(data: &[u8]) {
    // Too few bytes for a record is no finding.
    let _ = compare(&mut Unstructured::new(data));
}

fn compare(u: &mut Unstructured<'_>) -> Result<()> {
    let strings = Interner::default();
    for name in &SCOPES[1..] {
        strings.scope_index(&Scope { name: (*name).into(), ..Scope::default() });
    }
    let timeline = Timeline::identity();
    let lookup = Lookup { strings: &strings, timeline: &timeline };
    if u.arbitrary()? { compare_metrics(u, lookup) } else { compare_logs(u, lookup) }
}

fn compare_metrics(u: &mut Unstructured<'_>, lookup: Lookup<'_>) -> Result<()> {
    let cut = u.arbitrary()?;
    let mut models = vec![structured_metrics::metric(u)?];
    while !u.is_empty() && models.len() < 8 {
        models.push(structured_metrics::metric(u)?);
    }
    let mut encoder = MetricEncoder::default();
    for model in &models {
        model_metrics::hand_out(model, lookup.strings, &mut |metric| encoder.put(metric, lookup));
    }
    let chunk = encoder.finish();
    // A large metric is several messages, which together have its points.
    let mut counts = chunk.points.clone().into_iter();
    let mut stated = Vec::new();
    for model in models {
        let mut points = model.points.iter().cloned();
        while points.len() > 0 {
            let count = counts.next().expect("a message for each point");
            let some: Vec<_> = points.by_ref().take(count as usize).collect();
            assert_eq!(some.len(), count as usize);
            let message = model_metrics::expected(&MetricModel { points: some, ..model.clone() });
            stated.push((SCOPES[usize::from(model.scope)], message));
        }
    }
    assert_eq!(counts.next(), None);

    let body = joined(chunk, cut);
    let request = ExportMetricsServiceRequest::decode(&*body).expect("official code decodes it");
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics.iter().map(|metric| (name_of(&scope.scope), metric)));
    assert_same(metrics, stated.into_iter());
    Ok(())
}

fn compare_logs(u: &mut Unstructured<'_>, lookup: Lookup<'_>) -> Result<()> {
    let limits = structured_metrics::log_limits(u)?;
    let (cut, mask): (usize, u8) = (u.arbitrary()?, u.arbitrary()?);
    let mut models = vec![structured_metrics::log(u)?];
    while !u.is_empty() && models.len() < 8 {
        models.push(structured_metrics::log(u)?);
    }
    let wanted = |index: usize| mask >> index & 1 == 1;
    let mut batch = Batch::default();
    models.iter().for_each(|model| model_logs::push(&mut batch, lookup.strings, model));
    let chunk = LogEncoder::default().encode(&batch, wanted, &limits, lookup);

    let mut expected: Vec<_> =
        models.iter().enumerate().filter(|(index, _)| wanted(*index)).map(|(_, model)| model).collect();
    expected.sort_by_key(|model| model.scope);
    assert_eq!(chunk.len(), expected.len());

    let body = joined(chunk, cut);
    let request = ExportLogsServiceRequest::decode(&*body).expect("official code decodes it");
    let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
    let logs = scopes.flat_map(|scope| scope.log_records.iter().map(|log| (name_of(&scope.scope), log)));
    let stated =
        expected.iter().map(|model| (SCOPES[usize::from(model.scope)], model_logs::expected(model, &limits)));
    assert_same(logs, stated);
    Ok(())
}

/// The request of a chunk, which is the same when the chunk is cut into two parts.
fn joined(chunk: Chunk, cut: usize) -> Vec<u8> {
    let (len, chunk) = (chunk.len(), Arc::new(chunk));
    let cut = cut % (len + 1);
    let part = |records| Part { chunk: chunk.clone(), records };
    let (mut whole, mut joined) = (Vec::new(), Vec::new());
    otlp::request(b"", &[part(0..len)], &mut whole);
    otlp::request(b"", &[part(0..cut), part(cut..len)], &mut joined);
    assert_eq!(whole, joined);
    whole
}

fn name_of(scope: &Option<InstrumentationScope>) -> &str {
    &scope.as_ref().expect("a scope").name
}

/// Compared as prost writes them: NaN is equal to itself there.
fn assert_same<'a, M: Message + Debug + 'a>(
    decoded: impl Iterator<Item = (&'a str, &'a M)>,
    stated: impl ExactSizeIterator<Item = (&'static str, M)>,
) {
    let (mut seen, all) = (0, stated.len());
    for ((scope, decoded), (stated_scope, stated)) in decoded.zip(stated) {
        assert_eq!(scope, stated_scope);
        if decoded.encode_to_vec() != stated.encode_to_vec() {
            panic!("decoded {decoded:#?}\nstated {stated:#?}");
        }
        seen += 1;
    }
    assert_eq!(seen, all);
}
