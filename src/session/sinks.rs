//! From the sinks of a configuration to those of an exporter: the way to each endpoint, what its requests look like, and
//! which records it gets.

use std::sync::Arc;
use std::time::Duration;

use super::CONTENT_TYPE;
use crate::config::{BatchConfig, Compression, Config, LogFilter, Protocol, SlsSinkConfig, TransportConfig};
use crate::encode::otlp;
use crate::error::Error;
use crate::exporter::request::{Dialect, Settings};
use crate::exporter::sink::Sink;
use crate::exporter::{Reading, Sinks};
use crate::ids::IdGenerator;
use crate::limits::LogLimits;
use crate::log_routes::{LogRoute, LogRoutes};
use crate::transport::memory::Memory;
use crate::transport::retry::classify_otlp_http;
use crate::transport::{Exchange, Http1, USER_AGENT};

/// The way to a sink's endpoint, or why there is none in this build.
type MaybeExchange = Result<Box<dyn Exchange>, String>;

/// The ways to all OTLP endpoints.
pub(super) struct Exchanges {
    traces: Vec<MaybeExchange>,
    metrics: Vec<MaybeExchange>,
    logs: Vec<MaybeExchange>,
}

impl Exchanges {
    /// # Errors
    /// [`Error::Config`] for what the configuration itself could not check: files.
    pub(super) fn of(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            traces: config.trace_sinks.iter().map(|s| exchange(&s.transport)).collect::<Result<_, _>>()?,
            metrics: config.metric_sinks.iter().map(|s| exchange(&s.transport)).collect::<Result<_, _>>()?,
            logs: config.otlp_log_sinks.iter().map(|s| exchange(&s.transport)).collect::<Result<_, _>>()?,
        })
    }

    /// What is wrong with a sink's files is its own `last_error`.
    pub(super) fn where_possible(config: &Config) -> Self {
        let to = |transport| exchange(transport).unwrap_or_else(|error| Err(error.to_string()));
        Self {
            traces: config.trace_sinks.iter().map(|sink| to(&sink.transport)).collect(),
            metrics: config.metric_sinks.iter().map(|sink| to(&sink.transport)).collect(),
            logs: config.otlp_log_sinks.iter().map(|sink| to(&sink.transport)).collect(),
        }
    }

    /// No way leads out: what would be sent stays in `captured`.
    pub(super) fn captured(config: &Config, captured: &Captured) -> Self {
        let to = |memory: &Memory| -> MaybeExchange { Ok(Box::new(memory.clone())) };
        Self {
            traces: config.trace_sinks.iter().map(|_| to(&captured.traces)).collect(),
            metrics: config.metric_sinks.iter().map(|_| to(&captured.metrics)).collect(),
            logs: config.otlp_log_sinks.iter().map(|_| to(&captured.logs)).collect(),
        }
    }
}

/// The requests of a session with [`Config::capture`], by signal.
#[derive(Debug, Clone)]
pub struct Captured {
    /// To trace sinks.
    pub traces: Memory,
    /// To metric sinks.
    pub metrics: Memory,
    /// To OTLP log sinks.
    pub logs: Memory,
}

impl Captured {
    pub(super) fn new() -> Self {
        Self { traces: Memory::accepting(), metrics: Memory::accepting(), logs: Memory::accepting() }
    }
}

fn exchange(transport: &TransportConfig) -> Result<MaybeExchange, Error> {
    Ok(match transport.protocol {
        Protocol::HttpProtobuf => Ok(Box::new(Http1::new(transport, CONTENT_TYPE, USER_AGENT)?)),
        Protocol::Grpc => Err("the protocol grpc is not available in this build".to_owned()),
    })
}

/// `resource`: encoded.
pub(super) fn build(config: &Config, exchanges: Exchanges, resource: &Arc<[u8]>) -> Sinks {
    let traces = config.trace_sinks.iter().zip(exchanges.traces).map(|(sink, exchange)| {
        (sink.limits, Sink::new(settings(&sink.transport, sink.batch.clone(), resource), exchange))
    });
    let metrics = config.metric_sinks.iter().zip(exchanges.metrics).map(|(sink, exchange)| {
        // What a collection yields is sent at once.
        let batch = BatchConfig { max_export: usize::MAX, schedule_delay_ms: 0, max_queue: None };
        let interval = Duration::from_millis(sink.export_interval_ms);
        let reading = Reading { temporality: sink.temporality, interval };
        (reading, Sink::new(settings(&sink.transport, batch, resource), exchange))
    });
    let otlp_logs = config.otlp_log_sinks.iter().zip(exchanges.logs).map(|(sink, exchange)| {
        (sink.limits, Sink::new(settings(&sink.transport, sink.batch.clone(), resource), exchange))
    });
    let sls_logs = config.sls_log_sinks.iter().map(|sink| {
        let missing = "the SLS log sink is not available in this build".to_owned();
        (LogLimits::default(), Sink::new(sls_settings(sink), Err(missing)))
    });
    Sinks { traces: traces.collect(), metrics: metrics.collect(), logs: otlp_logs.chain(sls_logs).collect() }
}

fn settings(transport: &TransportConfig, batch: BatchConfig, resource: &Arc<[u8]>) -> Settings {
    Settings {
        endpoint: transport.endpoint.to_string().into(),
        batch,
        timeout: Duration::from_millis(transport.timeout_ms),
        max_export_timeout: Duration::from_millis(transport.max_export_timeout_ms),
        compression: transport.compression,
        max_queue_bytes: transport.max_queue_bytes,
        resource: resource.clone(),
        dialect: OTLP,
        seed: IdGenerator::from_entropy().trace_id().low64(),
    }
}

fn sls_settings(sink: &SlsSinkConfig) -> Settings {
    Settings {
        endpoint: sink.endpoint.to_string().into(),
        batch: sink.batch.clone(),
        timeout: Duration::from_millis(sink.timeout_ms),
        max_export_timeout: Duration::ZERO,
        compression: Compression::None,
        max_queue_bytes: sink.max_queue_bytes,
        resource: Arc::default(),
        dialect: OTLP,
        seed: 0,
    }
}

const OTLP: Dialect = Dialect { envelope: otlp::request, classify: classify_otlp_http };

/// The endpoints of the trace, metric and log sinks, as they are shown.
pub(super) fn endpoints(config: &Config) -> [Vec<String>; 3] {
    let shown = |transport: &TransportConfig| transport.endpoint.to_string();
    let otlp_logs = config.otlp_log_sinks.iter().map(|sink| shown(&sink.transport));
    let sls_logs = config.sls_log_sinks.iter().map(|sink| sink.endpoint.to_string());
    [
        config.trace_sinks.iter().map(|sink| shown(&sink.transport)).collect(),
        config.metric_sinks.iter().map(|sink| shown(&sink.transport)).collect(),
        otlp_logs.chain(sls_logs).collect(),
    ]
}

/// OTLP sinks, SLS sinks, the console.
pub(super) fn log_routes(config: &Config) -> LogRoutes {
    let common = config.log_filter.clone().unwrap_or_default();
    let route = |own: &Option<LogFilter>, sample_ratio| LogRoute {
        filter: own.clone().unwrap_or_else(|| common.clone()),
        sample_ratio,
    };
    let otlp = config.otlp_log_sinks.iter().map(|sink| route(&sink.filter, sink.sample_ratio));
    let sls = config.sls_log_sinks.iter().map(|sink| route(&sink.filter, sink.sample_ratio));
    let console = config.console_logs.then(|| LogRoute {
        filter: config.console_filter.as_ref().unwrap_or(&common).clone(),
        sample_ratio: 1.0,
    });
    LogRoutes::new(otlp.chain(sls).chain(console).collect())
}

/// The console shows metrics when the first metric sink gets them, without one at an interval of its own.
pub(super) fn console_interval(config: &Config) -> Duration {
    let of_sink = config.metric_sinks.first().map(|sink| sink.export_interval_ms);
    Duration::from_millis(of_sink.unwrap_or(config.metric_interval_ms))
}
