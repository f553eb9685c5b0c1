//! Sampling masks, against what opentelemetry-sdk decides.

use pytracingx::config::SamplerConfig::{
    self, AlwaysOff, AlwaysOn, ParentBased, ParentBasedTraceIdRatio, TraceIdRatio,
};
use pytracingx::ids::TraceId;
use pytracingx::sampler::Sampler;

const REMOTES: [Option<bool>; 3] = [None, Some(true), Some(false)];

/// `sampler.tsv` is what `sampler.py` beside it printed.
#[test]
fn decides_as_opentelemetry_does() {
    let table = include_str!("../data/sampler.tsv");
    for line in table.lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let rate = || cells[1].parse().unwrap();
        let config = match cells[0] {
            "always_on" => AlwaysOn,
            "always_off" => AlwaysOff,
            "parentbased_always_on" => ParentBased(true),
            "parentbased_always_off" => ParentBased(false),
            "traceidratio" => TraceIdRatio(rate()),
            "parentbased_traceidratio" => ParentBasedTraceIdRatio(rate()),
            other => panic!("{other}"),
        };
        let sampler = Sampler::new(&[config]);
        let trace_id = TraceId::from_hex(cells[2].as_bytes()).unwrap();
        let decisions = REMOTES.map(|remote| sampler.decide(trace_id, remote).to_string());
        assert_eq!(decisions, cells[3..], "{line}");
    }
    assert!(table.lines().count() > 100);
}

#[test]
fn every_sink_has_its_bit() {
    let kinds = [
        AlwaysOn,
        TraceIdRatio(0.25),
        ParentBased(false),
        ParentBasedTraceIdRatio(0.75),
        AlwaysOff,
        ParentBased(true),
        TraceIdRatio(1.0),
        ParentBasedTraceIdRatio(0.0),
    ];
    let sinks: Vec<SamplerConfig> = kinds.into_iter().chain(kinds.into_iter().rev()).collect();
    let all = Sampler::new(&sinks);
    for low in [1, 1 << 62, 1 << 63, 3 << 62, u64::MAX] {
        let mut trace_id = TraceId([7; 16]);
        trace_id.0[8..].copy_from_slice(&low.to_be_bytes());
        for remote in REMOTES {
            let alone =
                |(i, sink): (usize, &SamplerConfig)| Sampler::new(&[*sink]).decide(trace_id, remote) << i;
            let expected = sinks.iter().enumerate().map(alone).fold(0, |mask, bit| mask | bit);
            assert_eq!(all.decide(trace_id, remote), expected, "{trace_id:?} {remote:?}");
        }
    }
}

#[test]
fn no_sink_and_a_seventeenth_get_nothing() {
    let id = TraceId([1; 16]);
    assert_eq!(Sampler::new(&[]).decide(id, Some(true)), 0);
    assert_eq!(Sampler::new(&[AlwaysOn; 17]).decide(id, None), u16::MAX);
    assert_eq!(Sampler::new(&[TraceIdRatio(f64::NAN)]).decide(id, None), 0);
}
