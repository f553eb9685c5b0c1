//! Which destinations a log record goes to.

use proptest::prelude::*;
use pytracingx::config::{LogFilter, SamplerConfig};
use pytracingx::ids::TraceId;
use pytracingx::log_routes::{LogRoute, LogRoutes, MAX_DESTINATIONS, NOTHING};
use pytracingx::sampler::Sampler;

fn route(filter: &str, sample_ratio: f64) -> LogRoute {
    LogRoute { filter: LogFilter::parse("log_filter", filter).unwrap(), sample_ratio }
}

fn routes(filters: &[&str]) -> LogRoutes {
    LogRoutes::new(filters.iter().map(|filter| route(filter, 1.0)).collect())
}

#[test]
fn levels_are_the_lowest_severity_numbers_of_their_names() {
    let levels = ["trace", "debug", "info", "warn", "error", "fatal", "off"];
    let numbers = levels.map(|level| routes(&[level]).threshold("any"));
    assert_eq!(numbers, [0, 5, 9, 13, 17, 21, NOTHING]);
}

#[test]
fn the_longest_prefix_decides_wherever_it_stands() {
    for filter in ["a.b=warn,info,a=debug,a.b.c=off", "a.b.c=off,a=debug,a.b=warn,info"] {
        let routes = routes(&[filter]);
        let thresholds =
            ["", "z", "a", "a.x", "a.b", "a.bc", "a.b.c", "a.b.c.d"].map(|name| routes.threshold(name));
        assert_eq!(thresholds, [9, 9, 5, 5, 13, 13, NOTHING, NOTHING], "{filter}");
    }
    assert_eq!(routes(&["a=warn,a=debug"]).threshold("a"), 5, "of equal prefixes the last");
}

#[test]
fn the_target_of_earlier_versions_means_every_logger() {
    for filter in ["pytracingx::log=debug", "pytracingx::log=debug,info", "warn,pytracingx::log=debug"] {
        assert_eq!(routes(&[filter]).threshold("lib"), 5, "{filter}");
    }
    assert_eq!(routes(&["lib=error,pytracingx::log=debug"]).threshold("lib"), 17);
}

#[test]
fn a_logger_that_nothing_matches_gets_nothing() {
    assert_eq!(routes(&["a=trace"]).threshold("b"), NOTHING);
    assert_eq!(LogRoutes::new(Vec::new()).threshold("a"), NOTHING);
}

#[test]
fn a_recording_thread_asks_for_the_least_and_the_exporter_for_each() {
    let routes = routes(&["off", "warn", "off,a=debug", "info"]);
    assert_eq!((routes.threshold("a"), routes.threshold("b")), (5, 9));
    let mut expected = [NOTHING; MAX_DESTINATIONS];
    expected[..4].copy_from_slice(&[NOTHING, 13, 5, 9]);
    assert_eq!(routes.thresholds("a"), expected);
}

#[test]
fn no_bit_beyond_the_last_destination() {
    let routes = LogRoutes::new((0..20).map(|_| route("trace", 1.0)).collect());
    assert_eq!(routes.thresholds("a"), [0; MAX_DESTINATIONS]);
    assert_eq!(routes.sampled(TraceId::NONE), u16::MAX);
}

#[test]
fn records_outside_a_trace_always_pass() {
    let routes = LogRoutes::new(vec![route("info", 0.0), route("info", 0.5), route("info", 1.0)]);
    assert_eq!(routes.sampled(TraceId::NONE), 0b111);
    assert_eq!(routes.sampled(TraceId([0xff; 16])), 0b100);
    assert_eq!(routes.sampled(TraceId([1; 16])), 0b110);
}

proptest! {
    /// A log sink and a trace sink of one ratio keep the same traces.
    #[test]
    fn samples_as_spans_are(id in prop::array::uniform16(1_u8..), ratios in prop::collection::vec(0.0..=1.0, 1..16)) {
        let sampler: Vec<_> = ratios.iter().map(|ratio| SamplerConfig::TraceIdRatio(*ratio)).collect();
        let routes = LogRoutes::new(ratios.iter().map(|ratio| route("info", *ratio)).collect());
        prop_assert_eq!(routes.sampled(TraceId(id)), Sampler::new(&sampler).decide(TraceId(id), None));
    }
}
