//! A span on the recording side, from start to end, once the arguments are converted: ids, clock, three attributes, one
//! record; beside the same with nothing on it, and what a sampled-out span costs.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use pytracingx::attrs::{Text, Value};
use pytracingx::config::SamplerConfig;
use pytracingx::emit::{self, Intake, LiveSpan, Parent, Start};
use pytracingx::ids::{SpanId, TraceId};
use pytracingx::intern::Interner;
use pytracingx::lane::Lanes;
use pytracingx::record::SpanKind;
use pytracingx::sampler::Sampler;
use pytracingx::stats::DropCounts;

use crate::measure::{Candidate, Options, Report, compare};

const OURS: &str = "ours: start + 3 attributes + end";
const BARE: &str = "ours: start + end";
const SAMPLED_OUT: &str = "ours: sampled out, with 3 attributes";

pub fn run(options: Options) -> Report {
    let spans = if options.check { 8 } else { 512 };
    let lanes = Lanes::new(32 << 20, 64 << 20).expect("address space");
    let drainer = RefCell::new(lanes.drainer().expect("the first drainer"));
    let strings = Arc::new(Interner::default());
    let [name, keys @ ..] = ["decode_step", "gen_ai.request.model", "batch_size", "kv_cache_usage"]
        .map(|text| Text::Id(strings.intern_now(text.as_bytes()).expect("room for a few texts")));
    let intake = Arc::new(Intake {
        strings,
        sampler: Sampler::new(&[SamplerConfig::AlwaysOn]),
        ..Intake::new(1, lanes)
    });
    emit::publish(Arc::clone(&intake));
    let not_wanted = Parent {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([1; 8]),
        trace_flags: 0,
        session: 1,
        mask: 0,
        is_remote: false,
        trace_state: None,
    };
    let span = |parent: Option<&Parent>, attributes: usize| {
        let session = emit::session();
        let start =
            Start { name, kind: SpanKind::Internal, scope: 0, parent, start_unix_nano: None, ids: None };
        let mut span =
            emit::with(session, |thread| LiveSpan::start(thread, &start)).expect("there is a session");
        let values = [Value::Str(b"qwen3-8b"), Value::Int(7), Value::Double(0.5)];
        emit::with(session, |thread| {
            for (key, value) in keys.into_iter().zip(values).take(attributes) {
                span.set_attribute(thread, key, value);
            }
        });
        emit::with(session, |thread| span.end(thread, None));
        black_box(&span);
    };
    // The exporter's part is measured elsewhere; here it only makes room.
    let round = |expected: usize, parent: Option<&Parent>, attributes: usize| {
        for _ in 0..spans {
            span(parent, attributes);
        }
        let bytes = drainer.borrow_mut().drain(
            &mut |run| {
                black_box(run);
            },
            &mut |_, _| {},
        );
        assert_eq!(bytes, expected * spans);
    };
    let with_attributes = {
        span(None, 3);
        drainer.borrow_mut().drain(&mut |_| {}, &mut |_, _| {})
    };
    let candidates = vec![
        Candidate::new(OURS, || round(with_attributes, None, 3)),
        Candidate::new(BARE, || round(64, None, 0)),
        Candidate::new(SAMPLED_OUT, || round(0, Some(&not_wanted), 3)),
    ];
    let report = compare("span", spans, options, candidates, (SAMPLED_OUT, OURS, 1.5));
    assert_eq!(DropCounts::read(&intake.counters.spans_dropped).total(), 0, "no span is lost");
    emit::retract();
    report
}
