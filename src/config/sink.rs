//! Sinks as data: where each sends, how often, what it keeps. See [`super::check`] for what is allowed.

use std::path::PathBuf;

use super::{Endpoint, LogFilter, PathRule, ProxyChoice, Secret, check};
use crate::error::Error;
use crate::limits::{LogLimits, SpanLimits};

/// Default of [`TransportConfig::timeout_ms`].
pub const TIMEOUT_MS: u64 = 10_000;
/// Default of [`TransportConfig::max_export_timeout_ms`].
pub const MAX_EXPORT_TIMEOUT_MS: u64 = 300_000;
/// Default of a metric sink's [`TransportConfig::max_export_timeout_ms`].
pub const METRIC_EXPORT_TIMEOUT_MS: u64 = 30_000;
/// Default of [`MetricSinkConfig::export_interval_ms`].
pub const METRIC_EXPORT_INTERVAL_MS: u64 = 60_000;
/// Default of [`TransportConfig::max_queue_bytes`] and [`SlsSinkConfig::max_queue_bytes`].
pub const MAX_QUEUE_BYTES: usize = 64 << 20;

/// OTLP transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 POST of protobuf.
    HttpProtobuf,
    /// gRPC over HTTP/2.
    Grpc,
}

/// What a sink carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Log records.
    Logs,
}

impl Signal {
    /// `traces`, `metrics` or `logs`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// Request body compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// gzip, level 1.
    Gzip,
    /// zstd, level 1.
    Zstd,
}

/// TLS material; `None` means the system's roots (bundled roots where there are none) and no client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// PEM file with the only accepted roots.
    pub ca_file: Option<PathBuf>,
    /// PEM certificate chain for mutual TLS.
    pub client_cert_file: Option<PathBuf>,
    /// PEM private key for mutual TLS.
    pub client_key_file: Option<PathBuf>,
}

/// How a sink reaches its endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct TransportConfig {
    /// Where.
    pub endpoint: Endpoint,
    /// How.
    pub protocol: Protocol,
    /// Additional headers (gRPC: metadata). Checked for CR, LF, NUL when constructed. Values may be secrets.
    pub headers: Vec<(String, Secret)>,
    /// One request from first byte of connect to last byte of answer, milliseconds. Default 10 000.
    pub timeout_ms: u64,
    /// A batch with all its retries, milliseconds. Default 300 000.
    pub max_export_timeout_ms: u64,
    /// Request compression.
    pub compression: Compression,
    /// Certificates.
    pub tls: TlsFiles,
    /// On the way there.
    pub proxy: ProxyChoice,
    /// Bytes of encoded records that may wait for this sink; above it the newest are dropped. Default 64 MiB.
    pub max_queue_bytes: usize,
}

impl TransportConfig {
    /// An endpoint with every default.
    pub fn new(endpoint: Endpoint, protocol: Protocol) -> Self {
        Self {
            endpoint,
            protocol,
            headers: Vec::new(),
            timeout_ms: TIMEOUT_MS,
            max_export_timeout_ms: MAX_EXPORT_TIMEOUT_MS,
            compression: Compression::None,
            tls: TlsFiles::default(),
            proxy: ProxyChoice::default(),
            max_queue_bytes: MAX_QUEUE_BYTES,
        }
    }
}

/// When a batch is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchConfig {
    /// Records per request at most. Default 512.
    pub max_export: usize,
    /// A record waits at most this long before its batch is sent, milliseconds. Default 1000.
    pub schedule_delay_ms: u64,
    /// Records that may wait; `None` (default): only bytes bound the queue.
    pub max_queue: Option<usize>,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self { max_export: 512, schedule_delay_ms: 1000, max_queue: None }
    }
}

/// How a trace sink decides which traces it wants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SamplerConfig {
    /// Everything.
    AlwaysOn,
    /// Nothing.
    AlwaysOff,
    /// By trace id.
    TraceIdRatio(f64),
    /// The remote parent's decision, else everything (true) or nothing (false).
    ParentBased(bool),
    /// The remote parent's decision, else by trace id.
    ParentBasedTraceIdRatio(f64),
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self::ParentBasedTraceIdRatio(1.0)
    }
}

/// One OTLP trace destination.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSinkConfig {
    /// Endpoint, headers, deadlines.
    pub transport: TransportConfig,
    /// Batching.
    pub batch: BatchConfig,
    /// Sampling.
    pub sampler: SamplerConfig,
    /// What is kept of a span.
    pub limits: SpanLimits,
}

/// Whether points carry totals or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Temporality {
    /// Totals since the start.
    #[default]
    Cumulative,
    /// Changes, except for up-down counters.
    Delta,
    /// Changes for synchronous counters and histograms, totals for the rest.
    LowMemory,
}

/// One OTLP metric destination.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSinkConfig {
    /// Endpoint, headers, deadlines. Here `max_export_timeout_ms` defaults to 30 000.
    pub transport: TransportConfig,
    /// Milliseconds between collections. Default 60 000.
    pub export_interval_ms: u64,
    /// Totals or changes.
    pub temporality: Temporality,
}

/// One OTLP log destination.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpLogSinkConfig {
    /// Endpoint, headers, deadlines.
    pub transport: TransportConfig,
    /// Batching.
    pub batch: BatchConfig,
    /// What is kept of a record.
    pub limits: LogLimits,
    /// Instead of the Config's.
    pub filter: Option<LogFilter>,
    /// Share of traces whose records are sent, 0 to 1; records outside a trace always are.
    pub sample_ratio: f64,
}

/// Who signs SLS requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlsCredentials {
    /// A key pair, with a token when it is temporary.
    Static {
        /// Access key id.
        ak_id: Secret,
        /// Access key secret.
        ak_secret: Secret,
        /// STS token.
        security_token: Option<Secret>,
    },
    /// A callable of the user's, asked when needed.
    Provider,
}

/// SLS request body compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlsCompression {
    /// lz4, raw block.
    #[default]
    Lz4,
    /// zstd.
    Zstd,
    /// zlib.
    Deflate,
    /// As it is.
    None,
}

/// Where attributes of a log record go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlsAttributes {
    /// Each under its own key.
    #[default]
    Flat,
    /// All in one JSON field.
    Json,
}

/// Names of SLS columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlsFieldNames {
    /// Today's, some of them renamed (from, to).
    Renamed(Vec<(String, String)>),
    /// The columns of pytracingx 0.3.
    V0_3,
}

/// One SLS logstore.
#[derive(Debug, Clone, PartialEq)]
pub struct SlsSinkConfig {
    /// Regional endpoint; `path` is `/`.
    pub endpoint: Endpoint,
    /// Project.
    pub project: String,
    /// Logstore.
    pub logstore: String,
    /// Who signs.
    pub credentials: SlsCredentials,
    /// Selects signature V4; `None` is V1.
    pub region: Option<String>,
    /// Topic, may be empty.
    pub topic: String,
    /// Source; `None` is the host name.
    pub source: Option<String>,
    /// Request compression.
    pub compression: SlsCompression,
    /// Batching. Defaults here: 4096 records, 3000 ms.
    pub batch: BatchConfig,
    /// One request, milliseconds. Default 10 000.
    pub timeout_ms: u64,
    /// A batch with all its retries, milliseconds. Default 300 000.
    pub max_export_timeout_ms: u64,
    /// On the way there.
    pub proxy: ProxyChoice,
    /// Tags of every log group.
    pub tags: Vec<(String, String)>,
    /// Layout of attributes.
    pub attributes: SlsAttributes,
    /// Names of columns.
    pub field_names: SlsFieldNames,
    /// Bytes of encoded records that may wait. Default 64 MiB.
    pub max_queue_bytes: usize,
    /// Instead of the Config's.
    pub filter: Option<LogFilter>,
    /// Share of traces whose records are sent, 0 to 1.
    pub sample_ratio: f64,
}

/// Such as `cn-hangzhou` or `ap-southeast-1`: nobody's host.
fn is_region_id(text: &str) -> bool {
    let words: Vec<_> = text.split('-').collect();
    let is_word =
        |word: &&str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    words.len() >= 2 && words[0].len() == 2 && words.iter().all(is_word)
}

impl SlsSinkConfig {
    /// A logstore with every default. Without a scheme the endpoint is `https`. `arguments` are the names of the
    /// endpoint, project and logstore settings in error texts.
    ///
    /// # Errors
    /// A bad endpoint or one with a path, a project or logstore that is empty or holds odd characters (the project
    /// becomes part of the host name, the logstore part of the path).
    pub fn new(
        arguments: [&str; 3],
        endpoint: &str,
        project: String,
        logstore: String,
        credentials: SlsCredentials,
    ) -> Result<Self, Error> {
        let [endpoint_argument, project_argument, logstore_argument] = arguments;
        check::non_empty(endpoint_argument, endpoint)?;
        check::name(project_argument, &project)?;
        check::name(logstore_argument, &logstore)?;
        if is_region_id(endpoint) {
            return Err(Error::config(format_args!(
                "{endpoint_argument} '{endpoint}' is a region, its endpoint is '{endpoint}.log.aliyuncs.com'"
            )));
        }
        let scheme = if endpoint.contains("://") { "" } else { "https://" };
        let (endpoint, _) = Endpoint::parse(
            endpoint_argument,
            &format!("{scheme}{endpoint}"),
            Some(Protocol::HttpProtobuf),
            None,
            PathRule::AsIs,
        )?;
        if endpoint.path != "/" {
            return Err(Error::config(format_args!("{endpoint_argument} '{endpoint}' must not have a path")));
        }
        Ok(Self {
            endpoint,
            project,
            logstore,
            credentials,
            region: None,
            topic: String::new(),
            source: None,
            compression: SlsCompression::default(),
            batch: BatchConfig { max_export: 4096, schedule_delay_ms: 3000, max_queue: None },
            timeout_ms: TIMEOUT_MS,
            max_export_timeout_ms: MAX_EXPORT_TIMEOUT_MS,
            proxy: ProxyChoice::default(),
            tags: Vec::new(),
            attributes: SlsAttributes::default(),
            field_names: SlsFieldNames::Renamed(Vec::new()),
            max_queue_bytes: MAX_QUEUE_BYTES,
            filter: None,
            sample_ratio: 1.0,
        })
    }

    /// Where to connect: the project's own host, or the endpoint's where that is an address or a `localhost`, which have
    /// no names below them.
    pub fn project_endpoint(&self) -> Endpoint {
        let name = self.endpoint.host.trim_end_matches('.');
        let is_itself =
            self.endpoint.address().is_some() || name == "localhost" || name.ends_with(".localhost");
        let mut endpoint = self.endpoint.clone();
        if !is_itself {
            endpoint.host = self.project_host().to_ascii_lowercase();
        }
        endpoint
    }

    /// The project's own host name below the endpoint's, which may have been given with it, as the console shows it.
    pub fn project_host(&self) -> String {
        let (host, project) = (self.endpoint.global_host(), &*self.project);
        let has_project = host.strip_prefix(project).is_some_and(|rest| rest.starts_with('.'));
        if has_project { host.to_owned() } else { format!("{project}.{host}") }
    }
}
