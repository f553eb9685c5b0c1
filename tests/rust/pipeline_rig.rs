//! A collector on a socket, a session that exports to it, and tests that run in a process of their own, since sessions and
//! forks are process-wide.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use pytracingx::attrs::Text;
use pytracingx::config::{
    BatchConfig, Config, Endpoint, Protocol, SamplerConfig, TraceSinkConfig, TransportConfig,
};
use pytracingx::emit::{self, LiveSpan, Start};
use pytracingx::limits::SpanLimits;
use pytracingx::record::SpanKind;
use pytracingx::session;
use pytracingx::stats::Snapshot;

pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Answers 200 unless told otherwise, and keeps what it was sent with a 200.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) port: u16,
    pub(crate) spans: Arc<Mutex<Vec<Span>>>,
    pub(crate) answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let port = listener.local_addr().unwrap().port();
        let collector = Self { port, spans: Arc::default(), answers: Arc::default() };
        let of_thread = collector.clone();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let collector = of_thread.clone();
                thread::spawn(move || collector.serve(connection.unwrap()));
            }
        });
        collector
    }

    pub(crate) fn serve(&self, connection: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(connection);
        loop {
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).ok()? == 0 {
                    return None;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let status = self.answers.lock().unwrap().pop_front().unwrap_or(200);
            if status == 200 {
                let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
                let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
                self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
            }
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).ok()?;
        }
    }

    pub(crate) fn sink(&self) -> TraceSinkConfig {
        sink(self.port)
    }

    /// Numbers that the spans are named by, sorted.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> =
            self.spans.lock().unwrap().iter().map(|span| span.name.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    }
}

pub(crate) fn sink(port: u16) -> TraceSinkConfig {
    let endpoint = Endpoint { tls: false, host: "127.0.0.1".to_owned(), port, path: "/v1/traces".to_owned() };
    TraceSinkConfig {
        transport: TransportConfig::new(endpoint, Protocol::HttpProtobuf),
        batch: BatchConfig { max_export: 512, schedule_delay_ms: 1000, max_queue: None },
        sampler: SamplerConfig::AlwaysOn,
        limits: SpanLimits::default(),
    }
}

/// A port where nobody listens, and the right to listen there later.
pub(crate) fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn config(trace_sinks: Vec<TraceSinkConfig>) -> Config {
    Config { trace_sinks, console_spans: false, ..Config::new("pipeline") }
}

/// Spans named by their numbers.
pub(crate) fn record(numbers: Range<u32>) {
    for number in numbers {
        record_named(number.to_string().as_bytes());
    }
}

pub(crate) fn record_named(name: &[u8]) {
    let start = Start {
        name: Text::Inline(name),
        kind: SpanKind::Internal,
        scope: 0,
        parent: None,
        start_unix_nano: None,
        ids: None,
    };
    emit::with(emit::session(), |thread| LiveSpan::start(thread, &start).end(thread, None));
}

pub(crate) fn flush(timeout: Duration) -> bool {
    session::force_flush(timeout, &mut || false)
}

pub(crate) fn shutdown(timeout: Duration) -> bool {
    session::shutdown(timeout, &mut || false)
}

/// The session's counters, which must balance.
pub(crate) fn stats() -> Snapshot {
    let stats = session::stats().unwrap();
    for sink in &stats.trace_sinks {
        assert_eq!(sink.wanted, sink.exported + sink.dropped.total() + sink.held_records, "{sink:?}");
    }
    stats
}

/// Waits for what another thread brings about.
pub(crate) fn wait_until(mut happened: impl FnMut() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < LONG, "it never happened");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn alone(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "--test-threads=1", test]);
    command
}

pub(crate) fn run_alone(test: &str) {
    let output = alone(test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}
