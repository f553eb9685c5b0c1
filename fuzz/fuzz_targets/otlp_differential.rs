//! Spans out of fuzzer bytes are recorded, encoded and decoded by prost: they must equal the official structs that the
//! same spans state, and their order, scopes and masks must hold.

#![cfg_attr(fuzzing, no_main)]

#[path = "../../tests/rust/model.rs"]
mod model;
mod shim;
mod structured;

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use pytracingx::batch::Batch;
use pytracingx::clock::Timeline;
use pytracingx::encode::chunk::Part;
use pytracingx::encode::otlp::{self, trace::TraceEncoder};
use pytracingx::encode::{Lookup, chunk::Chunk};
use pytracingx::intern::{Interner, Scope};

fuzz_target!(run);

fn run(data: &[u8]) {
    // Too few bytes for a span is no finding.
    let _ = compare(&mut Unstructured::new(data));
}

fn compare(u: &mut Unstructured<'_>) -> Result<()> {
    let limits = structured::limits(u)?;
    let mask = u.int_in_range(1..=3)?;
    let cut: usize = u.arbitrary()?;
    let mut models = vec![structured::span(u)?];
    while !u.is_empty() && models.len() < 8 {
        models.push(structured::span(u)?);
    }

    let strings = Interner::default();
    for name in ["a", "b", "c"] {
        strings.scope_index(&Scope { name: name.into(), ..Scope::default() });
    }
    let timeline = Timeline::identity();
    let lookup = Lookup { strings: &strings, timeline: &timeline };
    let mut batch = Batch::default();
    models.iter().for_each(|model| model::push(&mut batch, &strings, model));
    let chunk: Chunk = TraceEncoder::default().encode(&batch, |wanted| wanted & mask != 0, &limits, lookup);

    let mut expected: Vec<_> = models.iter().filter(|model| model.mask & mask != 0).collect();
    expected.sort_by_key(|model| model.scope);
    assert_eq!(chunk.len(), expected.len());

    // Cut into two parts, joined again: the same request.
    let (chunk, cut) = (Arc::new(chunk), cut % (expected.len() + 1));
    let part = |records| Part { chunk: chunk.clone(), records };
    let (mut whole, mut joined) = (Vec::new(), Vec::new());
    otlp::request(b"", &[part(0..expected.len())], &mut whole);
    otlp::request(b"", &[part(0..cut), part(cut..expected.len())], &mut joined);
    assert_eq!(whole, joined);

    let request = ExportTraceServiceRequest::decode(&*whole).expect("official code decodes it");
    let spans = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| {
        let name = &scope.scope.as_ref().expect("a scope").name;
        scope.spans.iter().map(move |span| (name.as_str(), span))
    });
    let mut seen = 0;
    for ((scope, span), model) in spans.zip(&expected) {
        assert_eq!(scope, ["pytracingx", "a", "b", "c"][usize::from(model.scope)]);
        let stated = model::expected(model, &limits);
        // Compared as prost writes them: NaN is equal to itself there.
        if span.encode_to_vec() != stated.encode_to_vec() {
            panic!("decoded {span:#?}\nstated {stated:#?}");
        }
        seen += 1;
    }
    assert_eq!(seen, expected.len());
    Ok(())
}
