//! From the sinks of a configuration to those of an exporter: the way to each endpoint, what its requests look like, and
//! which records it gets.

use std::sync::Arc;
use std::time::Duration;

use super::{CONTENT_TYPE, sls};
use crate::config::{
    BatchConfig, Config, LogFilter, Protocol, Resource, Signal, SlsSinkConfig, TransportConfig,
};
use crate::encode::otlp;
use crate::error::Error;
use crate::exporter::dialect::Otlp;
use crate::exporter::request::Settings;
use crate::exporter::sink::Sink;
use crate::exporter::{LogForm, Reading, Sinks};
use crate::ids::IdGenerator;
use crate::limits::FieldCounts;
use crate::log_routes::{LogRoute, LogRoutes};
use crate::stats::{SinkStats, Snapshot};
use crate::transport::memory::Memory;
use crate::transport::sls_credentials::Credentials;
use crate::transport::{Exchange, Grpc, Http1, USER_AGENT};

/// The way to a sink's endpoint, or why there is none.
pub(super) type MaybeExchange = Result<Box<dyn Exchange>, String>;

/// The ways to all endpoints.
pub(super) struct Exchanges {
    traces: Vec<MaybeExchange>,
    metrics: Vec<MaybeExchange>,
    logs: Vec<MaybeExchange>,
    sls: Vec<MaybeExchange>,
    captured: bool,
}

impl Exchanges {
    /// # Errors
    /// [`Error::Config`] for what the configuration itself could not check: files.
    pub(super) fn of(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            traces: all(&config.trace_sinks, |sink| exchange(&sink.transport, Signal::Traces))?,
            metrics: all(&config.metric_sinks, |sink| exchange(&sink.transport, Signal::Metrics))?,
            logs: all(&config.otlp_log_sinks, |sink| exchange(&sink.transport, Signal::Logs))?,
            sls: all(&config.sls_log_sinks, sls_exchange)?,
            captured: false,
        })
    }

    /// What is wrong with a sink's files is its own `last_error`.
    pub(super) fn where_possible(config: &Config) -> Self {
        let to = |transport, signal| exchange(transport, signal).map_err(|error| error.to_string());
        let to_sls = |sink| sls_exchange(sink).map_err(|error| error.to_string());
        Self {
            traces: config.trace_sinks.iter().map(|sink| to(&sink.transport, Signal::Traces)).collect(),
            metrics: config.metric_sinks.iter().map(|sink| to(&sink.transport, Signal::Metrics)).collect(),
            logs: config.otlp_log_sinks.iter().map(|sink| to(&sink.transport, Signal::Logs)).collect(),
            sls: config.sls_log_sinks.iter().map(to_sls).collect(),
            captured: false,
        }
    }

    /// No way leads out: what would be sent stays in `captured`.
    pub(super) fn captured(config: &Config, captured: &Captured) -> Self {
        let to = |memory: &Memory| -> MaybeExchange { Ok(Box::new(memory.clone())) };
        Self {
            traces: config.trace_sinks.iter().map(|_| to(&captured.traces)).collect(),
            metrics: config.metric_sinks.iter().map(|_| to(&captured.metrics)).collect(),
            logs: config.otlp_log_sinks.iter().map(|_| to(&captured.logs)).collect(),
            sls: config.sls_log_sinks.iter().map(|_| to(&captured.logs)).collect(),
            captured: true,
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
    /// To log sinks, all as OTLP.
    pub logs: Memory,
}

impl Captured {
    pub(super) fn new() -> Self {
        Self { traces: Memory::accepting(), metrics: Memory::accepting(), logs: Memory::accepting() }
    }
}

/// # Errors
/// [`Error::Config`] for headers and files that cannot be used.
pub(super) fn exchange(transport: &TransportConfig, signal: Signal) -> Result<Box<dyn Exchange>, Error> {
    Ok(match transport.protocol {
        Protocol::HttpProtobuf => Box::new(Http1::new(transport, CONTENT_TYPE, USER_AGENT)?),
        Protocol::Grpc => Box::new(Grpc::new(transport, signal, USER_AGENT)?),
    })
}

fn sls_exchange(sink: &SlsSinkConfig) -> Result<Box<dyn Exchange>, Error> {
    Ok(Box::new(sls::http(sink)?))
}

fn all<S>(
    sinks: &[S],
    exchange: impl Fn(&S) -> Result<Box<dyn Exchange>, Error>,
) -> Result<Vec<MaybeExchange>, Error> {
    sinks.iter().map(|sink| exchange(sink).map(Ok)).collect()
}

/// What the records of a session belong to, and who signs for each SLS sink, in order.
pub(super) struct Origin {
    /// Complete.
    pub(super) resource: Resource,
    pub(super) credentials: Vec<Credentials>,
}

pub(super) fn build(config: &Config, exchanges: Exchanges, origin: Origin) -> Sinks {
    let resource: Arc<[u8]> = otlp::resource(&origin.resource).into();
    let settings = |transport: &TransportConfig, batch| {
        // What answers from memory speaks HTTP.
        let protocol = if exchanges.captured { Protocol::HttpProtobuf } else { transport.protocol };
        let (resource, compression) = (resource.clone(), transport.compression);
        settings(transport, batch, Otlp { protocol, resource, compression, ..Otlp::default() })
    };
    let traces = config.trace_sinks.iter().zip(exchanges.traces).map(|(sink, exchange)| {
        (sink.limits, Sink::new(settings(&sink.transport, sink.batch.clone()), exchange))
    });
    let metrics = config.metric_sinks.iter().zip(exchanges.metrics).map(|(sink, exchange)| {
        // What a collection yields is sent at once.
        let batch = BatchConfig { max_export: usize::MAX, schedule_delay_ms: 0, max_queue: None };
        let interval = Duration::from_millis(sink.export_interval_ms);
        let reading = Reading { temporality: sink.temporality, interval };
        (reading, Sink::new(settings(&sink.transport, batch), exchange))
    });
    let otlp_logs = config.otlp_log_sinks.iter().zip(exchanges.logs).map(|(sink, exchange)| {
        let form = LogForm::Otlp(sink.limits);
        (form, Sink::new(settings(&sink.transport, sink.batch.clone()), exchange))
    });
    let sls = config.sls_log_sinks.iter().zip(exchanges.sls).zip(origin.credentials);
    let sls_logs = sls.map(|((sink, exchange), credentials)| {
        if exchanges.captured {
            sls::unsent(sink, Otlp { resource: resource.clone(), ..Otlp::default() }, exchange)
        } else {
            sls::sink(sink, &origin.resource, credentials, exchange)
        }
    });
    Sinks { traces: traces.collect(), metrics: metrics.collect(), logs: otlp_logs.chain(sls_logs).collect() }
}

fn settings(transport: &TransportConfig, batch: BatchConfig, otlp: Otlp) -> Settings {
    Settings {
        endpoint: transport.endpoint.to_string().into(),
        batch,
        timeout: Duration::from_millis(transport.timeout_ms),
        max_export_timeout: Duration::from_millis(transport.max_export_timeout_ms),
        max_queue_bytes: transport.max_queue_bytes,
        dialect: Box::new(otlp),
        seed: IdGenerator::from_entropy().trace_id().low64(),
    }
}

/// The endpoints of the trace, metric and log sinks, as they are shown.
fn endpoints(config: &Config) -> [Vec<String>; 3] {
    let shown = |transport: &TransportConfig| transport.endpoint.to_string();
    let otlp_logs = config.otlp_log_sinks.iter().map(|sink| shown(&sink.transport));
    let sls_logs = config.sls_log_sinks.iter().map(|sink| sink.endpoint.to_string());
    [
        config.trace_sinks.iter().map(|sink| shown(&sink.transport)).collect(),
        config.metric_sinks.iter().map(|sink| shown(&sink.transport)).collect(),
        otlp_logs.chain(sls_logs).collect(),
    ]
}

/// The books before the first turn.
pub(super) fn empty_stats(config: &Config) -> Snapshot {
    let sinks = |endpoints: Vec<String>| {
        let sink = |endpoint: String| SinkStats { endpoint: endpoint.into(), ..SinkStats::default() };
        endpoints.into_iter().map(sink).collect()
    };
    let [traces, metrics, logs] = endpoints(config);
    let mut log_sinks: Vec<SinkStats> = sinks(logs);
    for sls in log_sinks.iter_mut().skip(config.otlp_log_sinks.len()) {
        sls.fields = Some(FieldCounts::default());
    }
    Snapshot { trace_sinks: sinks(traces), metric_sinks: sinks(metrics), log_sinks, ..Snapshot::default() }
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
