//! What is said on stderr, and how often.

use std::time::{Duration, Instant};

use pytracingx::diagnostics::Diagnostics;
use pytracingx::stats::{DropReason, SinkStats, Snapshot};

struct Rig {
    diagnostics: Diagnostics,
    stats: Snapshot,
    now: Instant,
}

impl Rig {
    fn new(enabled: bool) -> Self {
        let sink = SinkStats { endpoint: "http://collector:4318/…".into(), ..SinkStats::default() };
        let stats = Snapshot { trace_sinks: vec![sink], ..Snapshot::default() };
        Self { diagnostics: Diagnostics::new(enabled, 1), stats, now: Instant::now() }
    }

    fn sink(&mut self) -> &mut SinkStats {
        &mut self.stats.trace_sinks[0]
    }

    fn lose(&mut self, records: u64) {
        self.sink().dropped.add(DropReason::QueueFull, records);
    }

    /// What is said after so many seconds.
    fn said_after(&mut self, seconds: u64, last: bool) -> Vec<String> {
        self.now += Duration::from_secs(seconds);
        let mut lines = Vec::new();
        self.diagnostics.look(&self.stats, self.now, last, &mut |line| lines.push(line.to_string()));
        lines
    }
}

const LOSING: &str = "pytracingx: losing spans for http://collector:4318/…: queue_full";

#[test]
fn a_loss_is_told_when_it_begins_and_when_it_ends() {
    let mut rig = Rig::new(true);
    assert!(rig.said_after(0, false).is_empty());
    rig.lose(5);
    assert_eq!(rig.said_after(1, false), [LOSING]);
    for _ in 0..20 {
        rig.lose(1);
        assert!(rig.said_after(5, false).is_empty(), "it goes on");
    }
    assert!(rig.said_after(9, false).is_empty());
    assert_eq!(
        rig.said_after(1, false),
        ["pytracingx: lost 25 spans for http://collector:4318/…: queue_full"]
    );
    assert!(rig.said_after(1000, false).is_empty());
}

#[test]
fn a_loss_that_comes_and_goes_is_told_once_a_minute() {
    let mut rig = Rig::new(true);
    let mut lines = 0;
    for _ in 0..30 {
        rig.lose(1);
        lines += rig.said_after(1, false).len() + rig.said_after(11, false).len();
    }
    // Six minutes, a beginning and an end in each.
    assert!((8..=14).contains(&lines), "{lines}");
}

#[test]
fn what_is_lost_at_the_end_is_summed_up_in_one_line() {
    let mut rig = Rig::new(true);
    rig.sink().dropped.add(DropReason::Shutdown, 7);
    rig.stats.spans_dropped.add(DropReason::RingFull, 3);
    assert_eq!(
        rig.said_after(0, true),
        [
            "pytracingx: lost 3 spans on their way to the exporter: ring_full",
            "pytracingx: lost 7 spans for http://collector:4318/…: shutdown"
        ]
    );
}

#[test]
fn what_is_lost_at_the_end_is_told_with_its_cause_once() {
    let lost = "pytracingx: lost 1 spans for http://collector:4318/…: shutdown";
    for (failures, line) in [(1, format!("{lost}: cannot connect to collector")), (3, lost.into())] {
        let mut rig = Rig::new(true);
        rig.sink().last_error = Some("cannot connect to collector".into());
        rig.sink().failures_in_a_row = failures;
        assert_eq!(
            rig.said_after(0, false).len(),
            usize::from(failures == 3),
            "out of reach from the third on"
        );
        rig.sink().dropped.add(DropReason::Shutdown, 1);
        assert_eq!(rig.said_after(0, true), [line]);
    }
}

#[test]
fn an_endpoint_out_of_reach_is_told_with_its_error() {
    let mut rig = Rig::new(true);
    rig.sink().last_error = Some("cannot connect to collector".into());
    rig.sink().held_records = 12;
    rig.sink().failures_in_a_row = 2;
    assert!(rig.said_after(0, false).is_empty(), "it may come back");
    for failures in 3..10 {
        rig.sink().failures_in_a_row = failures;
        let lines = rig.said_after(30, false);
        let told = "pytracingx: cannot export spans to http://collector:4318/…: cannot connect to collector; \
                    retrying, 12 held";
        assert_eq!(lines, if failures == 3 { vec![told] } else { vec![] });
    }
    rig.sink().failures_in_a_row = 0;
    assert_eq!(rig.said_after(1, false), ["pytracingx: exporting spans to http://collector:4318/… again"]);
    rig.sink().failures_in_a_row = 3;
    assert_eq!(rig.said_after(1, false).len(), 1, "the last time was minutes ago");
}

#[test]
fn the_signal_is_named_since_sinks_share_endpoints() {
    let mut rig = Rig::new(true);
    rig.stats.logs_dropped.add(DropReason::RingFull, 2);
    assert_eq!(
        rig.said_after(0, true),
        ["pytracingx: lost 2 log records on their way to the exporter: ring_full"]
    );
}

#[test]
fn nothing_is_said_when_off() {
    let mut rig = Rig::new(false);
    rig.lose(5);
    assert!(rig.said_after(1, false).is_empty() && rig.said_after(1, true).is_empty());
}

#[test]
fn what_is_not_taken_as_given_is_told() {
    let mut rig = Rig::new(true);
    rig.stats.measurements.negative = 2;
    rig.stats.unusable_times = 1;
    rig.stats.measurements.overflowed = 7;
    assert_eq!(
        rig.said_after(1, false),
        [
            "pytracingx: ignoring negative measurements of counters or histograms",
            "pytracingx: a stream is beyond its cardinality limit: measurements join the series otel.metric.overflow=true",
            "pytracingx: taking the present for times that are no integer Unix nanoseconds",
        ]
    );
    rig.stats.measurements.negative = 5;
    rig.stats.measurements.not_finite = 3;
    assert_eq!(rig.said_after(1, false), ["pytracingx: ignoring measurements that are NaN or infinite"]);
    rig.stats.measurements.not_a_number = 4;
    rig.stats.baggage_left_out = 2;
    assert_eq!(
        rig.said_after(1, true),
        [
            "pytracingx: ignored 5 negative measurements of counters or histograms",
            "pytracingx: ignored 3 measurements that were NaN or infinite",
            "pytracingx: ignored 4 measurements that were no numbers",
            "pytracingx: put 7 measurements beyond a cardinality limit into the series otel.metric.overflow=true",
            "pytracingx: took the present for 1 times that were no integer Unix nanoseconds",
            "pytracingx: left out 2 entries of baggage that did not fit, or were no text under a valid key",
        ]
    );
}

#[test]
fn a_parents_span_that_a_child_ends_is_no_loss() {
    let mut rig = Rig::new(true);
    rig.stats.spans_dropped.add(DropReason::Inherited, 3);
    assert!(rig.said_after(1, true).is_empty());
    rig.stats.spans_dropped.add(DropReason::OtherSession, 1);
    assert_eq!(
        rig.said_after(1, true),
        ["pytracingx: lost 1 spans on their way to the exporter: other_session"]
    );
}

#[test]
fn the_stub_names_every_reason() {
    let stub = include_str!("../../python/pytracingx/_native.pyi");
    let literal = stub.split("_DropReason: TypeAlias = Literal[").nth(1).unwrap().split(']').next().unwrap();
    let named: Vec<_> = literal.split('"').skip(1).step_by(2).collect();
    assert_eq!(named, DropReason::ALL.map(DropReason::name));
}
