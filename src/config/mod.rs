//! What a session is told: plain data, validated where it is built. Every field names its unit; nothing here is read
//! by recording threads. Building a value reads no environment and, certificates aside, no file; the environment's reader is handed the variables it may see.

#[cfg(feature = "net")]
pub mod certificates;
pub mod check;
mod endpoint;
mod environment;
mod filter;
mod proxy;
mod sink;
mod variables;
mod view;

use std::fmt;

use zeroize::Zeroizing;

pub use endpoint::{Endpoint, PathRule};
pub use filter::{EVERY_LOGGER, Level, LogFilter};
pub use proxy::{Proxies, Proxy, ProxyChoice};
pub use sink::*;
pub use view::*;

/// `service.name` of a process that was not given one.
pub const UNKNOWN_SERVICE: &str = "unknown_service:python";
/// A mask has one bit per trace sink.
pub const MAX_TRACE_SINKS: usize = 16;
/// A mask has one bit per metric sink.
pub const MAX_METRIC_SINKS: usize = 16;
/// A mask has one bit per log sink, OTLP and SLS together, and one for the console.
pub const MAX_LOG_SINKS: usize = 15;
/// Default of [`Config::ring_capacity_bytes`].
pub const RING_CAPACITY_BYTES: usize = 8 << 20;
/// Default of [`Config::lane_budget_bytes`].
pub const LANE_BUDGET_BYTES: usize = 64 << 20;
/// A lane starts with one block; neither limit above may be smaller.
pub const MIN_LANE_BYTES: usize = 256 << 10;

/// A value that must not appear in any output: `Debug` prints `***`. Its memory is zeroed when it is dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(Zeroizing::new(value.into()))
    }

    /// The secret itself, for the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Blots itself out of a server's words, for servers quote what they refuse. Keeps the length.
    pub fn redact(&self, text: &mut [u8]) {
        let secret = self.0.as_bytes();
        let mut from = 0;
        while !secret.is_empty()
            && let Some(at) = memchr::memmem::find(&text[from..], secret)
        {
            text[from + at..][..secret.len()].fill(b'*');
            from += at + secret.len();
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Console layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConsoleFormat {
    /// One line each.
    #[default]
    Compact,
    /// Indented, with attributes.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// A format in which context crosses process boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagator {
    /// `traceparent`, `tracestate`.
    TraceContext,
    /// `baggage`.
    Baggage,
}

/// Bucket layout of histograms that do not choose one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistogramAggregation {
    /// Fixed boundaries.
    #[default]
    Explicit,
    /// Base-2 exponential, at most 160 buckets.
    Exponential,
}

/// Which measurements may become exemplars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExemplarFilter {
    /// Those made inside a sampled span.
    #[default]
    TraceBased,
    /// All.
    AlwaysOn,
    /// None.
    AlwaysOff,
}

/// A resource attribute value.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceValue {
    /// Text.
    Str(String),
    /// Integer.
    Int(i64),
    /// Double.
    Double(f64),
    /// Boolean.
    Bool(bool),
    /// List.
    Array(Vec<ResourceValue>),
}

/// Attributes of the entity that produces telemetry, in order, keys unique.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    /// Key and value.
    pub attributes: Vec<(String, ResourceValue)>,
}

impl Resource {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&ResourceValue> {
        self.attributes.iter().find(|(k, _)| k == key).map(|(_, value)| value)
    }

    /// Sets an attribute, replacing an older value.
    pub fn set(&mut self, key: &str, value: ResourceValue) {
        match self.attributes.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((key.to_owned(), value)),
        }
    }

    /// Adds what is not there yet: who speaks first wins.
    pub fn add_missing(&mut self, key: &str, value: ResourceValue) {
        if self.get(key).is_none() {
            self.attributes.push((key.to_owned(), value));
        }
    }
}

/// Everything `init` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `OTEL_SDK_DISABLED`: nothing is recorded, propagation goes on.
    pub disabled: bool,
    /// What OTLP sinks would send stays in memory, and no endpoint is contacted: for tests of programs that record.
    pub capture: bool,
    /// What the user and the environment said about the entity; detection adds the rest when a session starts
    /// (and again in a forked child).
    pub resource: Resource,
    /// Formats of `inject_headers` and `extract_headers`. Default both.
    pub propagators: Vec<Propagator>,
    /// Spans on the console: begin and end.
    pub console_spans: bool,
    /// Metrics on the console, at each collection.
    pub console_metrics: bool,
    /// Log records on the console.
    pub console_logs: bool,
    /// As given, see [`Config::set_console_level`].
    pub console_level: Option<Level>,
    /// What the console shows of log records; `None`: what `log_filter` lets pass.
    pub console_filter: Option<LogFilter>,
    /// Console layout.
    pub console_format: ConsoleFormat,
    /// Console and log sinks show what passes; `None`: the environment's `RUST_LOG`, else `info`.
    pub log_filter: Option<LogFilter>,
    /// Milliseconds between collections for the console when there is no metric sink. Default 60 000.
    pub metric_interval_ms: u64,
    /// At most [`MAX_TRACE_SINKS`].
    pub trace_sinks: Vec<TraceSinkConfig>,
    /// OTLP metric destinations, at most [`MAX_METRIC_SINKS`].
    pub metric_sinks: Vec<MetricSinkConfig>,
    /// OTLP log destinations.
    pub otlp_log_sinks: Vec<OtlpLogSinkConfig>,
    /// SLS logstores.
    pub sls_log_sinks: Vec<SlsSinkConfig>,
    /// Characters of string values, for sinks without a limit of their own; `None` is no limit.
    pub max_attribute_value_length: Option<u32>,
    /// How metric streams differ from what their instruments say.
    pub views: Vec<View>,
    /// Attributes to hide.
    pub redact: Vec<RedactRule>,
    /// Metrics about pytracingx itself (`otel.sdk.*`).
    pub sdk_metrics: bool,
    /// Buckets of histograms without boundaries.
    pub default_histogram: HistogramAggregation,
    /// Which measurements may become exemplars.
    pub exemplar_filter: ExemplarFilter,
    /// Flush at interpreter exit waits at most this long, milliseconds. Default 2000.
    pub exit_timeout_ms: u64,
    /// Lane bytes one thread may fill before records are dropped. Default 8 MiB.
    pub ring_capacity_bytes: usize,
    /// Lane bytes of all threads together. Default 64 MiB of address space; only touched blocks are resident.
    pub lane_budget_bytes: usize,
    /// Warnings as `pytracingx: …` lines on stderr.
    pub diagnostics: bool,
    /// What was odd about the settings, a line each and none twice, for `init` to tell once. Holds no secret.
    pub warnings: Vec<String>,
}

impl Config {
    /// Every default, no sink: spans, metrics and logs go to the console.
    pub fn new(service_name: &str) -> Self {
        let service = ResourceValue::Str(service_name.to_owned());
        Self {
            disabled: false,
            capture: false,
            resource: Resource { attributes: vec![("service.name".to_owned(), service)] },
            propagators: vec![Propagator::TraceContext, Propagator::Baggage],
            console_spans: true,
            console_metrics: true,
            console_logs: true,
            console_level: None,
            console_filter: None,
            console_format: ConsoleFormat::default(),
            log_filter: None,
            metric_interval_ms: METRIC_EXPORT_INTERVAL_MS,
            trace_sinks: Vec::new(),
            metric_sinks: Vec::new(),
            otlp_log_sinks: Vec::new(),
            sls_log_sinks: Vec::new(),
            max_attribute_value_length: None,
            views: Vec::new(),
            redact: Vec::new(),
            sdk_metrics: false,
            default_histogram: HistogramAggregation::default(),
            exemplar_filter: ExemplarFilter::default(),
            exit_timeout_ms: 2000,
            ring_capacity_bytes: RING_CAPACITY_BYTES,
            lane_budget_bytes: LANE_BUDGET_BYTES,
            diagnostics: true,
            warnings: Vec::new(),
        }
    }

    /// The least severe log records of the console, once [`Config::log_filter`] is known: with one the console shows what
    /// passes both, without one everything from the level on, whatever the environment says (as 0.2 did).
    pub fn set_console_level(&mut self, level: Level) {
        let filter = self.log_filter.clone().map(|filter| filter.at_least(level));
        self.console_filter = Some(filter.unwrap_or_else(|| LogFilter::from_level(level)));
        self.console_level = Some(level);
    }

    /// Remembers a line for `init` to print, unless it is known already.
    pub fn warn(&mut self, line: String) {
        if !self.warnings.contains(&line) {
            self.warnings.push(line);
        }
    }

    /// Gives sinks without a value limit of their own the common one.
    pub fn apply_value_limit(&mut self) {
        let Some(limit) = self.max_attribute_value_length else {
            return;
        };
        let traces = self.trace_sinks.iter_mut().map(|sink| &mut sink.limits.value_length);
        let logs = self.otlp_log_sinks.iter_mut().map(|sink| &mut sink.limits.value_length);
        traces.chain(logs).filter(|own| **own == u32::MAX).for_each(|own| *own = limit);
    }

    /// Warns of credentials that would travel in the clear.
    pub fn warn_of_plain_text(&mut self) {
        let traces = self.trace_sinks.iter().map(|sink| &sink.transport);
        let metrics = self.metric_sinks.iter().map(|sink| &sink.transport);
        let logs = self.otlp_log_sinks.iter().map(|sink| &sink.transport);
        let exposed = traces.chain(metrics).chain(logs).filter(|transport| {
            !transport.endpoint.tls && !transport.endpoint.is_loopback() && !transport.headers.is_empty()
        });
        let lines: Vec<_> = exposed
            .map(|transport| format!("headers for {} are sent without encryption", transport.endpoint))
            .collect();
        lines.into_iter().for_each(|line| self.warn(line));
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(UNKNOWN_SERVICE)
    }
}
