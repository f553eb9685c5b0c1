//! Records that several sinks want are encoded once and shared, by sampling mask and limits, log form, or the way metrics
//! are read; and a flush tries every sink at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use parking_lot::Mutex;
use pytracingx::config::{
    BatchConfig, ConsoleFormat, ExemplarFilter, HistogramAggregation, LogFilter, Temporality,
};
use pytracingx::encode::chunk::{Chunk, Part};
use pytracingx::exporter::console::{Console, Layout, Shown};
use pytracingx::exporter::dialect::{Body, Dialect, Headers, Otlp};
use pytracingx::exporter::flush::Goal;
use pytracingx::exporter::request::{Scratch, Settings};
use pytracingx::exporter::sink::Sink;
use pytracingx::exporter::{self, LogForm, Reading, Recorded, Shared, Sinks};
use pytracingx::instruments::{Definition, Instruments};
use pytracingx::intern::Scope;
use pytracingx::lane::{Lanes, Producer};
use pytracingx::limits::{LogLimits, SpanLimits};
use pytracingx::log_routes::{LogRoute, LogRoutes};
use pytracingx::record::{Header, InstrumentKind, StrId, kind};
use pytracingx::stats::{SinkProtocol, SinkStats, Snapshot};
use pytracingx::transport::memory::Memory;
use pytracingx::transport::retry::Outcome;
use pytracingx::transport::{Failure, Response};

const LONG: Duration = Duration::from_secs(20);

/// Every chunk that a sink sent, in order. Kept, so that no two of them are ever at the same address.
type Sent = Arc<Mutex<Vec<Arc<Chunk>>>>;

/// OTLP that keeps what it is given to send.
#[derive(Debug, Default)]
struct Witness {
    otlp: Otlp,
    sent: Sent,
}

impl Dialect for Witness {
    fn request_bytes(&self) -> usize {
        self.otlp.request_bytes()
    }

    fn envelope_bytes(&self) -> usize {
        self.otlp.envelope_bytes()
    }

    fn build(&mut self, parts: &[Part], scratch: &mut Scratch) -> Body {
        self.sent.lock().extend(parts.iter().map(|part| part.chunk.clone()));
        self.otlp.build(parts, scratch)
    }

    fn headers(&mut self, body: &Body, now_unix_seconds: u64) -> Result<Headers, String> {
        self.otlp.headers(body, now_unix_seconds)
    }

    fn classify(&mut self, result: &mut Result<Response, Failure>, now_unix_seconds: u64) -> Outcome {
        self.otlp.classify(result, now_unix_seconds)
    }

    fn protocol(&self) -> SinkProtocol {
        self.otlp.protocol()
    }

    fn next_wait(&mut self, random: u64) -> Option<Duration> {
        self.otlp.next_wait(random)
    }

    fn reset(&mut self) {
        self.otlp.reset();
    }
}

/// A sink that sends only when flushed, and what it sent.
fn sink(peer: Memory) -> (Sent, Sink) {
    let witness = Witness::default();
    let sent = witness.sent.clone();
    let settings = Settings {
        endpoint: "memory".into(),
        batch: BatchConfig { max_export: 1000, schedule_delay_ms: 3_600_000, max_queue: None },
        timeout: LONG,
        max_export_timeout: LONG,
        max_queue_bytes: 1 << 20,
        dialect: Box::new(witness),
        seed: 1,
    };
    (sent, Sink::new(settings, Ok(Box::new(peer))))
}

struct Rig {
    shared: Arc<Shared>,
    producer: Producer,
    instruments: Arc<Instruments>,
    thread: std::thread::JoinHandle<()>,
}

impl Rig {
    fn start(sinks: Sinks, routes: LogRoutes) -> Self {
        let books = |count| vec![SinkStats::default(); count];
        let stats = Snapshot {
            trace_sinks: books(sinks.traces.len()),
            metric_sinks: books(sinks.metrics.len()),
            log_sinks: books(sinks.logs.len()),
            ..Snapshot::default()
        };
        let lanes = Lanes::new(1 << 20, 1 << 20).unwrap();
        let exemplars = ExemplarFilter::default();
        let instruments = Arc::new(Instruments::new(Vec::new(), HistogramAggregation::default(), exemplars));
        let parts = exporter::Parts {
            drainer: lanes.drainer().unwrap(),
            strings: Arc::default(),
            counters: Arc::default(),
            recorded: Recorded {
                instruments: instruments.clone(),
                observations: Arc::default(),
                folds: Arc::default(),
                tallies: Arc::default(),
            },
            sinks: Box::new(move || sinks),
            log_routes: routes,
            redactor: None,
            console: Console::new(Shown::default(), Layout { format: ConsoleFormat::Compact, color: false }),
            console_interval: LONG,
            sdk_metrics: false,
            diagnostics: false,
            warnings: vec![],
            probe: None,
        };
        let producer = lanes.attach();
        let shared = Arc::new(Shared::new(lanes, stats));
        Self { thread: exporter::start(parts, shared.clone()).unwrap(), shared, producer, instruments }
    }

    fn record(&mut self, header: Header) {
        self.producer.push(&header, &[]).unwrap();
    }

    fn ask(&self, goal: Goal) -> Option<bool> {
        let ticket = self.shared.asks.ask(goal, Instant::now() + LONG);
        self.shared.lanes.waker().wake();
        self.shared.asks.wait(&ticket, Instant::now() + LONG)
    }

    fn end(self) {
        assert_eq!(self.ask(Goal::Shutdown), Some(true));
        self.thread.join().unwrap();
    }
}

/// For each sink which chunks it sent, numbered in the order of first appearance.
fn numbered(sent: &[Sent]) -> Vec<Vec<usize>> {
    let mut known: Vec<Arc<Chunk>> = Vec::new();
    let mut number = |chunk: &Arc<Chunk>| {
        known.iter().position(|other| Arc::ptr_eq(other, chunk)).unwrap_or_else(|| {
            known.push(chunk.clone());
            known.len() - 1
        })
    };
    sent.iter().map(|sent| sent.lock().iter().map(&mut number).collect()).collect()
}

#[test]
fn spans_once_for_each_mask_and_limits() {
    let narrow = SpanLimits { attributes: 1, ..SpanLimits::default() };
    let limits = [SpanLimits::default(), narrow, SpanLimits::default(), narrow, SpanLimits::default()];
    let (sent, sinks): (Vec<_>, Vec<_>) = limits.iter().map(|_| sink(Memory::accepting())).unzip();
    let traces = limits.into_iter().zip(sinks).collect();
    let mut rig = Rig::start(Sinks { traces, ..Sinks::default() }, LogRoutes::default());
    for mask in [0b11111, 0b00101, 0b11111, 0b00101, 0] {
        rig.record(Header { kind: kind::SPAN, mask, ..Header::zeroed() });
    }
    assert_eq!(rig.ask(Goal::Flush), Some(true));
    // Two masks for the wide sinks 0, 2 and 4, of which 4 wants one; one for the narrow sinks 1 and 3.
    let chunks = numbered(&sent);
    assert_eq!(chunks[0].len(), 2);
    assert_eq!((&chunks[2], chunks[4].len(), chunks[0].contains(&chunks[4][0])), (&chunks[0], 1, true));
    assert_eq!((chunks[1].len(), &chunks[3], chunks[0].contains(&chunks[1][0])), (1, &chunks[1], false));
    rig.end();
}

#[test]
fn log_records_once_for_each_destination_set_and_form() {
    let narrow = LogForm::Otlp(LogLimits { attributes: 1, ..LogLimits::default() });
    let wide = LogForm::Otlp(LogLimits::default());
    let forms = [wide.clone(), narrow, wide.clone(), wide];
    let (sent, sinks): (Vec<_>, Vec<_>) = forms.iter().map(|_| sink(Memory::accepting())).unzip();
    let route = |filter| LogRoute { filter: LogFilter::parse("", filter).unwrap(), sample_ratio: 1.0 };
    let routes = LogRoutes::new(["info", "info", "info", "error", "off"].map(route).to_vec());
    let logs = forms.into_iter().zip(sinks).collect();
    let mut rig = Rig::start(Sinks { logs, ..Sinks::default() }, routes);
    for severity in [9, 17, 9, 17] {
        rig.record(Header { kind: kind::LOG, detail: severity, ..Header::zeroed() });
    }
    assert_eq!(rig.ask(Goal::Flush), Some(true));
    let chunks = numbered(&sent);
    assert_eq!(chunks[0].len(), 2, "what all wide sinks want, and what one of them does not");
    assert_eq!((&chunks[2], chunks[3].len(), chunks[0].contains(&chunks[3][0])), (&chunks[0], 1, true));
    assert_eq!((chunks[1].len(), chunks[0].contains(&chunks[1][0])), (1, false));
    rig.end();
}

#[test]
fn metrics_once_for_each_way_of_reading() {
    let reading = |temporality, seconds| Reading { temporality, interval: Duration::from_secs(seconds) };
    let hourly = reading(Temporality::Cumulative, 3600);
    let readings =
        [hourly, reading(Temporality::Delta, 3600), hourly, reading(Temporality::Cumulative, 7200), hourly];
    let (sent, sinks): (Vec<_>, Vec<_>) = readings.iter().map(|_| sink(Memory::accepting())).unzip();
    let metrics = readings.into_iter().zip(sinks).collect();
    let mut rig = Rig::start(Sinks { metrics, ..Sinks::default() }, LogRoutes::default());
    let definition = Definition {
        scope: Scope::default(),
        name: "requests".into(),
        unit: String::new(),
        description: String::new(),
        kind: InstrumentKind::Counter,
        boundaries: None,
        exponential_max_size: None,
    };
    let counter = rig.instruments.register(&definition).unwrap();
    rig.record(Header { kind: kind::MEASUREMENT, name: StrId(counter.id), end: 5, ..Header::zeroed() });
    assert_eq!(rig.ask(Goal::Flush), Some(true));
    assert_eq!(numbered(&sent), [[0], [1], [0], [2], [0]]);
    rig.end();
}

#[test]
fn a_flush_tries_every_sink_at_once_past_its_wait() {
    let peers: Vec<Memory> = (0..16).map(|_| Memory::default()).collect();
    let (_, sinks): (Vec<_>, Vec<_>) = peers.iter().map(|peer| sink(peer.clone())).unzip();
    let traces = sinks.into_iter().map(|sink| (SpanLimits::default(), sink)).collect();
    let mut rig = Rig::start(Sinks { traces, ..Sinks::default() }, LogRoutes::default());
    rig.record(Header { kind: kind::SPAN, mask: u16::MAX, ..Header::zeroed() });
    let refused = || Err(Failure::Connect("refused".to_owned()));
    peers.iter().for_each(|peer| peer.answer(refused()));
    let soon = Instant::now() + Duration::from_millis(300);
    let ticket = rig.shared.asks.ask(Goal::Flush, soon);
    rig.shared.lanes.waker().wake();
    assert_eq!(rig.shared.asks.wait(&ticket, Instant::now() + LONG), Some(false));
    peers.iter().for_each(|peer| peer.answer_status(200));
    assert_eq!(rig.ask(Goal::Flush), Some(true), "each was waiting for half a second at least");
    assert!(peers.iter().all(|peer| peer.requests().len() == 2));
    rig.end();
}
