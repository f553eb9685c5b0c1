//! One record to each sink, and what came of it: for start-up checks and for people at a prompt. Runs on the calling
//! thread over exchanges of its own, all sinks at once, waiting in one `poll`; the exporter and its sinks notice
//! nothing. Never longer than the timeout, but for reading certificate files.

mod record;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::header::DATE;

use super::sinks::exchange;
use super::{SLICE, complete_resource, sls};
use crate::config::{Config, Resource, Signal, SlsSinkConfig, TransportConfig};
use crate::encode::otlp;
use crate::error::Error;
use crate::exporter::dialect::{Body, Dialect, Otlp};
use crate::exporter::request::{Scratch, after};
use crate::stats::SinkProtocol;
use crate::sys::poll::wait;
use crate::transport::retry::Outcome;
use crate::transport::sls_credentials::Credentials;
use crate::transport::{Exchange, Failure, Request, Response};

/// What a Date header leaves open: it has whole seconds, cut off.
const DATE_RESOLUTION_S: f64 = 1.0;

/// What came of one sink's record.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What the sink carries.
    pub signal: Signal,
    /// `scheme://host:port/…`.
    pub endpoint: String,
    /// Over what.
    pub protocol: SinkProtocol,
    /// The server took the record.
    pub ok: bool,
    /// Where it ended: `resolve`, `connect`, `proxy`, `tls`, `send`, `receive`, or `done` with a complete answer, whatever
    /// that said. `None`: nothing could be tried.
    pub phase: Option<&'static str>,
    /// HTTP status of the answer; gRPC's own status is in `error`.
    pub status: Option<u16>,
    /// From the beginning of name resolution to the answer or the failure.
    pub latency: Option<Duration>,
    /// Seconds that this machine's clock is ahead of the server's by the answer's Date header, to half a second; 0
    /// when the two may agree. `None` without such a header.
    pub clock_skew_s: Option<f64>,
    /// What was wrong, one line without secrets; with `ok`, what the server remarked.
    pub error: Option<String>,
}

impl Report {
    fn new(signal: Signal, endpoint: String, protocol: SinkProtocol) -> Self {
        Self {
            signal,
            endpoint,
            protocol,
            ok: false,
            phase: None,
            status: None,
            latency: None,
            clock_skew_s: None,
            error: None,
        }
    }
}

/// Sends a record named `pytracingx.check` (a span, a gauge's point, a log record) to each sink, once, within `timeout`
/// and the sink's own. In the order of signals and sinks. When `should_stop` (asked every 50 ms) says so, it returns at
/// once with what it has.
pub(super) fn run(
    config: &Config,
    credentials: Vec<Credentials>,
    timeout: Duration,
    should_stop: &mut dyn FnMut() -> bool,
) -> Vec<Report> {
    let resource = complete_resource(config);
    let encoded: Arc<[u8]> = otlp::resource(&resource).into();
    let until = after(Instant::now(), timeout);
    let traces = config.trace_sinks.iter().map(|sink| (Signal::Traces, &sink.transport));
    let metrics = config.metric_sinks.iter().map(|sink| (Signal::Metrics, &sink.transport));
    let logs = config.otlp_log_sinks.iter().map(|sink| (Signal::Logs, &sink.transport));
    let mut probes: Vec<_> = traces
        .chain(metrics)
        .chain(logs)
        .map(|(signal, transport)| Probe::otlp(signal, transport, &encoded, until))
        .collect();
    let sls = config.sls_log_sinks.iter().zip(credentials);
    probes.extend(sls.map(|(sink, credentials)| Probe::sls(sink, &resource, credentials, until)));
    loop {
        let mut busy = false;
        for probe in &mut probes {
            busy |= probe.step();
        }
        if !busy || should_stop() {
            break;
        }
        wait_for(&probes);
    }
    probes.into_iter().map(|probe| probe.report).collect()
}

/// One sink's request.
struct Probe {
    report: Report,
    dialect: Box<dyn Dialect>,
    /// `None` once it is over.
    exchange: Option<Box<dyn Exchange>>,
    began: Instant,
    began_unix: Duration,
}

impl Probe {
    fn otlp(signal: Signal, transport: &TransportConfig, resource: &Arc<[u8]>, until: Instant) -> Self {
        let compression = transport.compression;
        let protocol = transport.protocol;
        let mut dialect = Otlp { protocol, resource: resource.clone(), compression, ..Otlp::default() };
        let report = Report::new(signal, transport.endpoint.to_string(), dialect.protocol());
        let body = dialect.build(&[record::part(signal, None)], &mut Scratch::default());
        let mut probe = Self::new(report, Box::new(dialect));
        probe.begin(exchange(transport, signal), &body, transport.timeout_ms, until);
        probe
    }

    fn sls(sink: &SlsSinkConfig, resource: &Resource, credentials: Credentials, until: Instant) -> Self {
        let report = Report::new(Signal::Logs, sink.endpoint.to_string(), SinkProtocol::Sls);
        match sls::dialect(sink, resource, credentials) {
            Ok((layout, mut dialect)) => {
                let record = record::part(Signal::Logs, Some(layout));
                let body = dialect.build(&[record], &mut Scratch::default());
                let mut probe = Self::new(report, Box::new(dialect));
                let exchange = sls::http(sink).map(|http| Box::new(http) as Box<dyn Exchange>);
                probe.begin(exchange, &body, sink.timeout_ms, until);
                probe
            }
            Err(error) => {
                let report = Report { error: Some(error.to_string()), ..report };
                Self::new(report, Box::new(Otlp::default()))
            }
        }
    }

    fn new(report: Report, dialect: Box<dyn Dialect>) -> Self {
        Self { report, dialect, exchange: None, began: Instant::now(), began_unix: unix_time() }
    }

    fn begin(
        &mut self,
        exchange: Result<Box<dyn Exchange>, Error>,
        body: &Body,
        timeout_ms: u64,
        until: Instant,
    ) {
        // Reading certificates is no part of the latency.
        (self.began, self.began_unix) = (Instant::now(), unix_time());
        let now_unix = self.began_unix.as_secs();
        let headers = self.dialect.prepare(now_unix).and_then(|()| self.dialect.headers(body, now_unix));
        let exchange = exchange.map_err(|error| error.to_string());
        match exchange.and_then(|exchange| Ok((exchange, headers?))) {
            Err(error) => self.report.error = Some(error),
            Ok((mut exchange, headers)) => {
                let deadline = after(self.began, Duration::from_millis(timeout_ms)).min(until);
                exchange.begin(Request { headers, body: body.bytes.clone(), deadline }, self.began);
                self.exchange = Some(exchange);
            }
        }
    }

    /// False once it is over.
    fn step(&mut self) -> bool {
        let Some(exchange) = &mut self.exchange else {
            return false;
        };
        let Some(mut result) = exchange.step(Instant::now()) else {
            return true;
        };
        self.report.phase = Some(if result.is_ok() { "done" } else { exchange.last_phase() });
        self.report.latency = Some(self.began.elapsed());
        self.exchange = None;
        self.settle(&mut result);
        false
    }

    fn settle(&mut self, result: &mut Result<Response, Failure>) {
        let now_unix = unix_time();
        if let Ok(response) = result {
            self.report.status = Some(response.status);
            self.report.clock_skew_s = clock_skew_s(response, self.began_unix, now_unix);
        }
        let (ok, error) = match self.dialect.classify(result, now_unix.as_secs()) {
            Outcome::Delivered { rejected, message } => (rejected == 0, message),
            Outcome::Retry { reason, .. } | Outcome::Refused { reason } | Outcome::Unsupported { reason } => {
                let cause = self.dialect.hint();
                (false, Some(cause.map_or_else(|| reason.clone(), |hint| format!("{hint}: {reason}"))))
            }
            Outcome::TooLarge => (false, Some("HTTP 413: the server found the request too large".to_owned())),
        };
        self.report.ok = ok;
        self.report.error = error.or_else(|| (!ok).then(|| "the server rejected the record".to_owned()));
    }
}

/// The server read its clock between `sent` and `received`, both since 1970.
fn clock_skew_s(response: &Response, sent: Duration, received: Duration) -> Option<f64> {
    let date = httpdate::parse_http_date(response.headers.get(DATE)?.to_str().ok()?).ok()?;
    let date_s = date.duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let least = sent.as_secs_f64() - date_s - DATE_RESOLUTION_S;
    let most = received.as_secs_f64() - date_s;
    let agree = least <= 0.0 && most >= 0.0;
    Some(if agree { 0.0 } else { (least + most).round() / 2.0 })
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Until a socket is ready or something is due, 50 ms at most.
fn wait_for(probes: &[Probe]) {
    let now = Instant::now();
    let mut due = now + SLICE;
    let mut fds = Vec::new();
    for exchange in probes.iter().filter_map(|probe| probe.exchange.as_ref()) {
        let interest = exchange.interest(now);
        due = due.min(interest.wake_at.unwrap_or(due));
        fds.extend(interest.poll_fd());
    }
    wait(&mut fds, due.saturating_duration_since(now));
}
