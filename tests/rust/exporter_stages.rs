//! A panic of the exporter, once at each of its stages: what it costs is counted, everything else is delivered, and the
//! exporter goes on. Overload at one stage: the others have their share.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use pytracingx::accumulate::{Fold, Folds};
use pytracingx::attrs::{self, Text, Value};
use pytracingx::config::{BatchConfig, ConsoleFormat, LogFilter, Temporality};
use pytracingx::exporter::console::{Console, Layout, Shown};
use pytracingx::exporter::dialect::Otlp;
use pytracingx::exporter::flush::Goal;
use pytracingx::exporter::request::Settings;
use pytracingx::exporter::sink::Sink;
use pytracingx::exporter::{self, LogForm, Reading, Recorded, Shared, Sinks, Stage};
use pytracingx::instruments::{Definition, Instrument, Instruments};
use pytracingx::intern::Scope;
use pytracingx::lane::Lanes;
use pytracingx::limits::{LogLimits, SpanLimits};
use pytracingx::log_routes::{LogRoute, LogRoutes};
use pytracingx::record::{Header, InstrumentKind, Number, StrId, kind};
use pytracingx::stats::{DropReason, SinkStats, Snapshot};
use pytracingx::tally::Tallies;
use pytracingx::transport::memory::Memory;

const LONG: Duration = Duration::from_secs(20);
/// Of each round.
const SPANS: u64 = 3;
const LOGS: u64 = 4;
const MEASUREMENTS: u64 = 5;
/// Measurements of two attribute sets.
const FOLDED: [u64; 2] = [6, 7];
/// Additions to two tallies.
const TALLIED: [u64; 2] = [8, 9];
const MEASURED: u64 = MEASUREMENTS + FOLDED[0] + FOLDED[1] + TALLIED[0] + TALLIED[1];

/// An exporter without a session, with a sink for each signal that accepts everything.
struct Exporter {
    lanes: Arc<Lanes>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    metrics: Memory,
    recorded: Recorded,
    counters: [Arc<Instrument>; 2],
    fold: Arc<Fold>,
}

impl Exporter {
    /// It panics when it comes to `stage` for the first time.
    fn panicking(stage: Stage) -> Self {
        let mut panics = 1;
        Self::start(move |at| {
            if at == stage && panics > 0 {
                panics -= 1;
                panic!("a bug of ours at {at:?}, once");
            }
        })
    }

    fn start(probe: impl FnMut(Stage) + Send + 'static) -> Self {
        let lanes = Lanes::new(1 << 20, 1 << 20).unwrap();
        let instruments = Arc::new(Instruments::default());
        let counters = ["a", "b"].map(|name| counter(&instruments, name));
        let (folds, fold) = (Folds::default(), Arc::new(Fold::default()));
        folds.add(fold.clone());
        let recorded = Recorded {
            instruments,
            observations: Arc::default(),
            tallies: Arc::<Tallies>::default(),
            folds: Arc::new(folds),
        };
        let metrics = Memory::accepting();
        let peer = metrics.clone();
        let parts = exporter::Parts {
            drainer: lanes.drainer().unwrap(),
            strings: Arc::default(),
            counters: Arc::default(),
            recorded: recorded.clone(),
            sinks: Box::new(|| Sinks {
                traces: vec![(SpanLimits::default(), sink(Memory::accepting()))],
                metrics: vec![(Reading { temporality: Temporality::Cumulative, interval: LONG }, sink(peer))],
                logs: vec![(LogForm::Otlp(LogLimits::default()), sink(Memory::accepting()))],
            }),
            log_routes: LogRoutes::new(vec![LogRoute { filter: LogFilter::default(), sample_ratio: 1.0 }]),
            redactor: None,
            console: Console::new(Shown::default(), Layout { format: ConsoleFormat::Compact, color: false }),
            console_interval: LONG,
            sdk_metrics: false,
            diagnostics: false,
            warnings: vec![],
            probe: Some(Box::new(probe)),
        };
        let one = || vec![SinkStats::default()];
        let empty =
            Snapshot { trace_sinks: one(), metric_sinks: one(), log_sinks: one(), ..Snapshot::default() };
        let shared = Arc::new(Shared::new(lanes.clone(), empty));
        let thread = exporter::start(parts, shared.clone()).unwrap();
        Self { lanes, shared, thread, metrics, recorded, counters, fold }
    }

    /// One of everything. The records appear in the lane all at once, so that one batch has them.
    fn record(&self) {
        let [first, second] = &self.counters;
        for (counter, count) in self.counters.iter().zip(TALLIED) {
            let tally = self.recorded.tallies.get(1, counter.id, 0);
            (0..count).for_each(|_| assert!(tally.add(1)));
        }
        let mut items = Vec::new();
        for count in FOLDED {
            (0..count).for_each(|_| self.fold.record(first, 0, &items, Number::Int(1), 0));
            attrs::put_attribute(&mut items, Text::Inline(b"another"), Value::Bool(true));
        }
        let span = Header { kind: kind::SPAN, mask: 1, ..Header::zeroed() };
        let log = Header { kind: kind::LOG, detail: 17, ..Header::zeroed() };
        let name = StrId(second.id);
        let measurement = Header { kind: kind::MEASUREMENT, name, end: 1, ..Header::zeroed() };
        let mut producer = self.lanes.attach();
        let mut run = producer.run();
        for (header, count) in [(span, SPANS), (log, LOGS), (measurement, MEASUREMENTS)] {
            (0..count).for_each(|_| run.push(&header, |_| {}).unwrap());
        }
    }

    fn ask(&self, goal: Goal) -> Option<bool> {
        let ticket = self.shared.asks.ask(goal, Instant::now() + LONG);
        self.shared.lanes.waker().wake();
        self.shared.asks.wait(&ticket, Instant::now() + LONG)
    }

    /// All sums that arrived last.
    fn sums(&self) -> u64 {
        let requests = self.metrics.requests();
        let last = ExportMetricsServiceRequest::decode(&requests.last().unwrap().body[..]).unwrap();
        let metrics =
            last.resource_metrics.iter().flat_map(|of| &of.scope_metrics).flat_map(|of| &of.metrics);
        let points = metrics.flat_map(|metric| match &metric.data {
            Some(metric::Data::Sum(sum)) => &sum.data_points[..],
            other => panic!("{other:?}"),
        });
        let value = |value: Option<number_data_point::Value>| match value {
            Some(number_data_point::Value::AsInt(value)) => value as u64,
            other => panic!("{other:?}"),
        };
        points.map(|point| value(point.value)).sum()
    }
}

fn counter(instruments: &Instruments, name: &str) -> Arc<Instrument> {
    let definition = Definition {
        scope: Scope::default(),
        name: name.into(),
        unit: String::new(),
        description: String::new(),
        kind: InstrumentKind::Counter,
        boundaries: None,
        exponential_max_size: None,
    };
    instruments.register(&definition).unwrap()
}

fn sink(peer: Memory) -> Sink {
    let settings = Settings {
        endpoint: "memory".into(),
        batch: BatchConfig { max_export: usize::MAX, schedule_delay_ms: 0, max_queue: None },
        timeout: LONG,
        max_export_timeout: LONG,
        max_queue_bytes: 1 << 20,
        dialect: Box::new(Otlp::default()),
        seed: 1,
    };
    Sink::new(settings, Ok(Box::new(peer)))
}

/// What the sink lost by a bug of ours. All that it was to get is told.
fn internal(sink: &SinkStats) -> u64 {
    assert_eq!(sink.wanted, sink.exported + sink.dropped.total() + sink.held_records, "{sink:?}");
    assert_eq!(sink.dropped.total(), sink.dropped.get(DropReason::Internal), "{sink:?}");
    sink.dropped.get(DropReason::Internal)
}

/// Spans, log records and measurements that a panic at a stage costs; of measurements either of two.
fn cost(stage: Stage) -> (u64, u64, [u64; 2]) {
    match stage {
        // A span comes first.
        Stage::Record => (1, 0, [0; 2]),
        Stage::Redaction => (SPANS, LOGS, [0; 2]),
        Stage::Spans => (SPANS, 0, [0; 2]),
        Stage::Logs => (0, LOGS, [0; 2]),
        Stage::Measurement => (0, 0, [1; 2]),
        Stage::Fold => (0, 0, FOLDED),
        Stage::Tally => (0, 0, TALLIED),
        Stage::Drain | Stage::Console | Stage::Collection | Stage::End => (0, 0, [0; 2]),
    }
}

fn a_panic_at(stage: Stage) {
    let exporter = Exporter::panicking(stage);
    exporter.record();
    assert!(exporter.ask(Goal::Flush).is_some(), "{stage:?}: answered");
    exporter.record();
    assert_eq!(exporter.ask(Goal::Flush), Some(true), "{stage:?}: the second flush finds nothing wrong");
    assert_eq!(exporter.ask(Goal::Shutdown), Some(stage != Stage::End), "{stage:?}");
    let stats = exporter.shared.stats();
    assert_eq!(stats.exporter_restarts, 1, "{stage:?}");

    let (spans, logs, measurements) = cost(stage);
    assert_eq!((stats.spans_recorded, stats.logs_recorded), (2 * SPANS, 2 * LOGS));
    let (of_spans, of_logs) = (&stats.trace_sinks[0], &stats.log_sinks[0]);
    let before = [&stats.spans_dropped, &stats.logs_dropped].map(|dropped| dropped.get(DropReason::Internal));
    assert_eq!((of_spans.wanted + before[0], of_logs.wanted + before[1]), (2 * SPANS, 2 * LOGS), "{stage:?}");
    let lost = (internal(of_spans) + before[0], internal(of_logs) + before[1]);
    assert_eq!(lost, (spans, logs), "{stage:?}");
    let tallied = exporter.recorded.tallies.additions();
    assert_eq!(stats.measurements.recorded + tallied, 2 * MEASURED, "{stage:?}");
    assert!(measurements.contains(&stats.measurements.internal), "{stage:?}: {:?}", stats.measurements);
    assert_eq!(exporter.sums(), 2 * MEASURED - stats.measurements.internal, "{stage:?}");
    assert_eq!(internal(&stats.metric_sinks[0]) > 0, stage == Stage::Collection, "{stage:?}");
    exporter.thread.join().unwrap();
}

#[test]
fn a_panic_at_any_stage_costs_what_was_in_hand_there_and_is_counted() {
    for stage in [
        Stage::Drain,
        Stage::Record,
        Stage::Redaction,
        Stage::Spans,
        Stage::Logs,
        Stage::Measurement,
        Stage::Console,
        Stage::Fold,
        Stage::Tally,
        Stage::Collection,
        Stage::End,
    ] {
        a_panic_at(stage);
    }
}

/// One for each kind of record, and one of no kind: a corrupt header in the lane itself.
#[test]
fn a_record_that_cannot_be_read_costs_itself_and_is_counted() {
    let mut at = 0;
    let exporter = Exporter::start(move |stage| {
        at += u64::from(stage == Stage::Record);
        // The first of each kind.
        if stage == Stage::Record && [1, 1 + SPANS, 1 + SPANS + LOGS].contains(&at) {
            panic!("a bug of ours at record {at}");
        }
    });
    exporter.record();
    let corrupt = Header { kind: 99, payload_bytes: 100, ..Header::zeroed() };
    exporter.lanes.attach().push(&corrupt, &[0; 100]).unwrap();
    exporter.record();
    assert_eq!(exporter.ask(Goal::Flush), Some(false));
    assert_eq!(exporter.ask(Goal::Shutdown), Some(true));
    let stats = exporter.shared.stats();
    assert_eq!(stats.exporter_restarts, 4);
    assert_eq!((stats.spans_recorded, stats.logs_recorded), (2 * SPANS, 2 * LOGS));
    for (dropped, sink, recorded) in [
        (&stats.spans_dropped, &stats.trace_sinks[0], 2 * SPANS),
        (&stats.logs_dropped, &stats.log_sinks[0], 2 * LOGS),
    ] {
        assert_eq!((dropped.get(DropReason::Internal), dropped.total()), (1, 1));
        assert_eq!((sink.wanted, sink.exported), (recorded - 1, recorded - 1));
    }
    let tallied = exporter.recorded.tallies.additions();
    assert_eq!(stats.measurements.recorded + tallied, 2 * MEASURED);
    assert_eq!(stats.measurements.internal, 1);
    assert_eq!(exporter.sums(), 2 * MEASURED - 1);
    exporter.thread.join().unwrap();
}

/// What is measured once the last collection has what it hands out, in each of the ways that there are.
#[test]
fn what_is_too_late_for_the_last_collection_is_counted_and_what_comes_later_is_not_recorded() {
    const LATE: u64 = 3;
    let late = Arc::new(Mutex::new(None::<Box<dyn FnMut() + Send>>));
    let doing = late.clone();
    let exporter = Exporter::start(move |at| {
        if matches!(at, Stage::Collection | Stage::End) {
            doing.lock().unwrap().as_mut().into_iter().for_each(|record| record());
        }
    });
    exporter.record();
    let [first, second] = &exporter.counters;
    let tallies = [first, second].map(|counter| exporter.recorded.tallies.get(1, counter.id, 0));
    let (fold, first, name) = (exporter.fold.clone(), first.clone(), StrId(second.id));
    let mut producer = exporter.lanes.attach();
    *late.lock().unwrap() = Some(Box::new(move || {
        tallies.iter().for_each(|tally| assert!(tally.add_alone(1)));
        let measurement = Header { kind: kind::MEASUREMENT, name, end: 1, ..Header::zeroed() };
        for _ in 0..LATE {
            fold.record(&first, 0, &[], Number::Int(1), 0);
            producer.push(&measurement, &[]).unwrap();
        }
    }));
    assert_eq!(exporter.ask(Goal::Shutdown), Some(true));
    late.lock().unwrap().take();
    let stats = exporter.shared.stats().measurements;
    let recorded = stats.recorded + exporter.recorded.tallies.additions();
    // At the turn of each of the two instruments.
    assert_eq!(stats.shutdown, 2 * (2 + 2 * LATE));
    assert_eq!((recorded, stats.internal), (MEASURED + stats.shutdown, 0));
    assert_eq!(exporter.sums() + stats.shutdown, recorded);
    exporter.thread.join().unwrap();
}

#[test]
fn records_that_never_end_leave_a_collection_its_share() {
    const INSTRUMENTS: usize = 2000;
    let (batches, collected) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (counting, seen) = (batches.clone(), collected.clone());
    let exporter = Exporter::start(move |at| match at {
        Stage::Redaction => {
            counting.fetch_add(1, Ordering::Relaxed);
            // More than a turn has for records.
            thread::sleep(Duration::from_millis(12));
        }
        Stage::Collection => seen.lock().unwrap().push(counting.load(Ordering::Relaxed)),
        _ => {}
    });
    for number in 0..INSTRUMENTS {
        let counter = counter(&exporter.recorded.instruments, &format!("counter {number}"));
        assert!(exporter.recorded.tallies.get(1, counter.id, 0).add(1));
    }
    let flushed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut producer = exporter.lanes.attach();
            while !flushed.load(Ordering::Relaxed) {
                let _ = producer.push(&Header { kind: kind::SPAN, ..Header::zeroed() }, &[]);
                thread::sleep(Duration::from_millis(1));
            }
        });
        // So that no turn is without records.
        while batches.load(Ordering::Relaxed) < 3 {
            thread::yield_now();
        }
        let answer = exporter.ask(Goal::Flush);
        flushed.store(true, Ordering::Relaxed);
        assert_eq!(answer, Some(true));
    });
    let collected = collected.lock().unwrap().clone();
    assert_eq!(collected.len(), INSTRUMENTS);
    let meanwhile = collected[INSTRUMENTS - 1] - collected[0];
    assert!(meanwhile < INSTRUMENTS / 4, "{meanwhile} batches between {INSTRUMENTS} instruments");
    assert_eq!(exporter.ask(Goal::Shutdown), Some(true));
}
