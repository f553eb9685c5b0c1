//! What a session is told: plain data, validated where it is built. Every field names its unit; nothing here is read
//! by recording threads.

use std::fmt;
use std::path::PathBuf;

use crate::limits::SpanLimits;

/// A value that must not appear in any output: `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where a sink sends: parsed and checked when the sink is constructed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// TLS or not.
    pub tls: bool,
    /// Host name or IP literal (no brackets).
    pub host: String,
    /// Port, defaulted by scheme.
    pub port: u16,
    /// Path and query as requested, at least `/`. Can hold a token: never printed.
    pub path: String,
}

/// OTLP transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 POST of protobuf.
    HttpProtobuf,
    /// gRPC over HTTP/2.
    Grpc,
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
    /// Bytes of encoded records that may wait for this sink; above it the newest are dropped. Default 64 MiB.
    pub max_queue_bytes: usize,
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

/// Everything `init` needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `OTEL_SDK_DISABLED`: nothing is recorded, propagation goes on.
    pub disabled: bool,
    /// What the user and the environment said about the entity; detection adds the rest when a session starts
    /// (and again in a forked child).
    pub resource: Resource,
    /// Spans on the console: begin and end.
    pub console_spans: bool,
    /// Console layout.
    pub console_format: ConsoleFormat,
    /// At most 16.
    pub trace_sinks: Vec<TraceSinkConfig>,
    /// Flush at interpreter exit waits at most this long, milliseconds. Default 2000.
    pub exit_timeout_ms: u64,
    /// Lane bytes one thread may fill before records are dropped. Default 8 MiB.
    pub ring_capacity_bytes: usize,
    /// Lane bytes of all threads together. Default 64 MiB of address space; only touched blocks are resident.
    pub lane_budget_bytes: usize,
    /// Warnings as `pytracingx: …` lines on stderr.
    pub diagnostics: bool,
}
