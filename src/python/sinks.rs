//! OTLP sinks as Python classes: immutable, checked when constructed, without side effects. They pickle with their secrets
//! (for `multiprocessing`'s own pipe) and print without.

use std::path::PathBuf;

use pyo3::prelude::*;

use super::arguments::{Int, Pairs, Real, Text, batch, choice, filter, set, set_milliseconds};
use super::describe::{Arguments, NewArguments, new_arguments, repr};
use crate::config::{
    BatchConfig, Compression, Endpoint, METRIC_EXPORT_INTERVAL_MS, METRIC_EXPORT_TIMEOUT_MS,
    MetricSinkConfig, OtlpLogSinkConfig, PathRule, ProxyChoice, Signal, TlsFiles, TraceSinkConfig,
    TransportConfig,
};
use crate::config::{certificates, check};
use crate::error::Error;
use crate::limits::{LogLimits, SpanLimits};
use crate::transport;

/// Low-level OTLP settings, kept for code written for earlier versions.
///
/// Args:
///     compression: "gzip", "zstd" or "none" (default), in any case. A sink's own `compression` wins over it.
///
/// Raises:
///     ConfigError: unknown compression.
///
/// Configuration time: costs less than a microsecond.
#[pyclass(frozen, module = "pytracingx", name = "RawOtlp")]
pub(crate) struct PyRawOtlp(Option<Compression>);

#[pymethods]
impl PyRawOtlp {
    #[new]
    #[pyo3(signature = (compression = None))]
    fn new(compression: Option<Text>) -> PyResult<Self> {
        Ok(Self(choice("compression", &check::COMPRESSIONS, compression)?))
    }

    fn __repr__(&self) -> String {
        let name = self.0.map(|compression| check::COMPRESSIONS.name(compression));
        name.map_or("RawOtlp()".to_owned(), |name| format!("RawOtlp(compression='{name}')"))
    }

    fn __getnewargs__(&self) -> (Option<&'static str>,) {
        (self.0.map(|compression| check::COMPRESSIONS.name(compression)),)
    }
}

/// Sends spans to an OTLP endpoint.
///
/// Args:
///     endpoint: `[http(s)://]host[:port][/path]`. Without a scheme TLS is used unless the host is a loopback one or
///         `insecure` is set. An HTTP endpoint without a path gets `/v1/traces`; one with a path is used as it is.
///     protocol: "http/protobuf" (also "http") or "grpc". Default: http/protobuf when the endpoint has a path or port
///         4318, else grpc.
///     headers: sent with each request (gRPC: metadata). Values are never printed.
///     timeout_ms: one request, in milliseconds. Default 10000.
///     sampler: "parent_based_traceid_ratio" (default), "always_on", "always_off", "traceidratio",
///         "parentbased_always_on", "parentbased_always_off" or "parentbased_traceidratio".
///     sampler_arg: share of traces that ratio samplers keep, 0 to 1 (what is beyond counts as the nearer). Default 1.0.
///     batch_max_queue: spans that may wait. Default None: only `max_queue_bytes` bounds them.
///     batch_max_export: spans in one request at most. Default 512.
///     batch_schedule_delay_ms: a span waits at most this long before its batch is sent, in milliseconds. Default 1000.
///     max_export_timeout_ms: a batch with its retries, in milliseconds. Default 300000.
///     max_attributes_per_span: attributes kept of a span. Default 128, as the next four.
///     max_events_per_span: events kept of a span.
///     max_links_per_span: links kept of a span.
///     max_attributes_per_event: attributes kept of an event.
///     max_attributes_per_link: attributes kept of a link.
///     raw_otlp: low-level settings.
///     ca_file: PEM file with the only accepted roots. Default: the system's.
///     client_cert_file: PEM certificate chain for mutual TLS; needs `client_key_file`.
///     client_key_file: PEM private key for mutual TLS.
///     insecure: no TLS, for endpoints without a scheme. Default: only for loopback hosts.
///     compression: "gzip" (of at most 1 MiB a request, else 4), "zstd" or "none" (default).
///     max_queue_bytes: bytes of encoded spans that may wait for this sink. Default 64 MiB.
///     max_attribute_value_length: characters kept of a string value. Default: Config's.
///     proxy: `http://[user:password@]host[:port]`, the HTTP proxy on the way to the endpoint; "" for none. User and
///         password are percent-encoded and never printed. TLS and gRPC go through a tunnel (CONNECT). Default: what
///         `https_proxy` or `http_proxy` (by the endpoint's scheme), `all_proxy` and `no_proxy` say, in lower or upper
///         case; loopback hosts are reached directly.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Configuration time: about a microsecond, and the reading of the certificate files that it names.
#[pyclass(frozen, module = "pytracingx", name = "TraceSink")]
pub(crate) struct PyTraceSink(pub(crate) TraceSinkConfig);

#[pymethods]
impl PyTraceSink {
    #[new]
    #[pyo3(signature = (
        endpoint, protocol = None, headers = None, timeout_ms = None, sampler = None, sampler_arg = None,
        batch_max_queue = None, batch_max_export = None, batch_schedule_delay_ms = None,
        max_export_timeout_ms = None, max_attributes_per_span = None, max_events_per_span = None,
        max_links_per_span = None, max_attributes_per_event = None, max_attributes_per_link = None,
        raw_otlp = None, *, ca_file = None, client_cert_file = None, client_key_file = None, insecure = None,
        compression = None, max_queue_bytes = None, max_attribute_value_length = None, proxy = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        endpoint: Text,
        protocol: Option<Text>,
        headers: Option<Pairs>,
        timeout_ms: Option<Int>,
        sampler: Option<Text>,
        sampler_arg: Option<Real>,
        batch_max_queue: Option<Int>,
        batch_max_export: Option<Int>,
        batch_schedule_delay_ms: Option<Int>,
        max_export_timeout_ms: Option<Int>,
        max_attributes_per_span: Option<Int>,
        max_events_per_span: Option<Int>,
        max_links_per_span: Option<Int>,
        max_attributes_per_event: Option<Int>,
        max_attributes_per_link: Option<Int>,
        raw_otlp: Option<&Bound<'_, PyRawOtlp>>,
        ca_file: Option<PathBuf>,
        client_cert_file: Option<PathBuf>,
        client_key_file: Option<PathBuf>,
        insecure: Option<bool>,
        compression: Option<Text>,
        max_queue_bytes: Option<Int>,
        max_attribute_value_length: Option<Int>,
        proxy: Option<Text>,
    ) -> PyResult<Self> {
        let tls = TlsFiles { ca_file, client_cert_file, client_key_file };
        let destination =
            Destination { signal: Signal::Traces, endpoint, protocol, headers, insecure, tls, proxy };
        let mut transport = destination.transport("TraceSink")?;
        set_milliseconds(&mut transport.timeout_ms, "timeout_ms", timeout_ms, 1)?;
        set_milliseconds(
            &mut transport.max_export_timeout_ms,
            "max_export_timeout_ms",
            max_export_timeout_ms,
            1,
        )?;
        set(&mut transport.max_queue_bytes, "max_queue_bytes", max_queue_bytes, 1)?;
        transport.compression = compression_of(compression, raw_otlp)?;
        let batch =
            batch(BatchConfig::default(), batch_max_queue, batch_max_export, batch_schedule_delay_ms)?;
        let sampler = check::sampler(sampler.as_ref().map(|name| &*name.0), sampler_arg.map(|arg| arg.0))?;
        let mut limits = SpanLimits::default();
        set(&mut limits.attributes, "max_attributes_per_span", max_attributes_per_span, 0)?;
        set(&mut limits.events, "max_events_per_span", max_events_per_span, 0)?;
        set(&mut limits.links, "max_links_per_span", max_links_per_span, 0)?;
        set(&mut limits.attributes_per_event, "max_attributes_per_event", max_attributes_per_event, 0)?;
        set(&mut limits.attributes_per_link, "max_attributes_per_link", max_attributes_per_link, 0)?;
        set(&mut limits.value_length, "max_attribute_value_length", max_attribute_value_length, 0)?;
        Ok(Self(TraceSinkConfig { transport, batch, sampler, limits }))
    }

    fn __repr__(&self) -> String {
        repr("TraceSink", &self.0.transport)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<NewArguments<'py>> {
        new_arguments(py, self.0.arguments(py, true)?)
    }
}

/// Sends metrics to an OTLP endpoint.
///
/// Args:
///     endpoint, protocol, headers, timeout_ms: as TraceSink's; the path is `/v1/metrics`.
///     export_interval_ms: between collections, in milliseconds. Default 60000.
///     export_timeout_ms: a collection's requests with their retries, in milliseconds. Default 30000.
///     temporality: "cumulative" (default), "delta" or "lowmemory".
///     raw_otlp, ca_file, client_cert_file, client_key_file, insecure, compression, max_queue_bytes, proxy: as
///         TraceSink's.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Configuration time: about a microsecond, and the reading of the certificate files that it names.
#[pyclass(frozen, module = "pytracingx", name = "MetricSink")]
pub(crate) struct PyMetricSink(pub(crate) MetricSinkConfig);

#[pymethods]
impl PyMetricSink {
    #[new]
    #[pyo3(signature = (
        endpoint, protocol = None, headers = None, timeout_ms = None, export_interval_ms = None,
        export_timeout_ms = None, temporality = None, raw_otlp = None, *, ca_file = None,
        client_cert_file = None, client_key_file = None, insecure = None, compression = None,
        max_queue_bytes = None, proxy = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        endpoint: Text,
        protocol: Option<Text>,
        headers: Option<Pairs>,
        timeout_ms: Option<Int>,
        export_interval_ms: Option<Int>,
        export_timeout_ms: Option<Int>,
        temporality: Option<Text>,
        raw_otlp: Option<&Bound<'_, PyRawOtlp>>,
        ca_file: Option<PathBuf>,
        client_cert_file: Option<PathBuf>,
        client_key_file: Option<PathBuf>,
        insecure: Option<bool>,
        compression: Option<Text>,
        max_queue_bytes: Option<Int>,
        proxy: Option<Text>,
    ) -> PyResult<Self> {
        let tls = TlsFiles { ca_file, client_cert_file, client_key_file };
        let destination =
            Destination { signal: Signal::Metrics, endpoint, protocol, headers, insecure, tls, proxy };
        let mut transport = destination.transport("MetricSink")?;
        set_milliseconds(&mut transport.timeout_ms, "timeout_ms", timeout_ms, 1)?;
        transport.max_export_timeout_ms = METRIC_EXPORT_TIMEOUT_MS;
        set_milliseconds(&mut transport.max_export_timeout_ms, "export_timeout_ms", export_timeout_ms, 1)?;
        set(&mut transport.max_queue_bytes, "max_queue_bytes", max_queue_bytes, 1)?;
        transport.compression = compression_of(compression, raw_otlp)?;
        let mut interval_ms = METRIC_EXPORT_INTERVAL_MS;
        set_milliseconds(&mut interval_ms, "export_interval_ms", export_interval_ms, 1)?;
        let temporality = choice("temporality", &check::TEMPORALITIES, temporality)?.unwrap_or_default();
        Ok(Self(MetricSinkConfig { transport, export_interval_ms: interval_ms, temporality }))
    }

    fn __repr__(&self) -> String {
        repr("MetricSink", &self.0.transport)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<NewArguments<'py>> {
        new_arguments(py, self.0.arguments(py, true)?)
    }
}

/// Sends log records to an OTLP endpoint.
///
/// Args:
///     endpoint, protocol, headers, timeout_ms: as TraceSink's; the path is `/v1/logs`.
///     batch_max_queue, batch_max_export, batch_schedule_delay_ms, max_export_timeout_ms: as TraceSink's, in records.
///     raw_otlp, ca_file, client_cert_file, client_key_file, insecure, compression, max_queue_bytes, proxy: as
///         TraceSink's.
///     log_filter: "info,noisy.lib=warn" by logger-name prefix. Default: Config's.
///     sample_ratio: share of traces whose records are sent, 0 to 1. Default 1.0.
///     max_attributes_per_record: attributes kept of a record. Default 128.
///     max_attribute_value_length: characters kept of a string value. Default: Config's.
///
/// Raises:
///     ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.
///
/// Configuration time: about a microsecond, and the reading of the certificate files that it names.
#[pyclass(frozen, module = "pytracingx", name = "OtlpLogSink")]
pub(crate) struct PyOtlpLogSink(pub(crate) OtlpLogSinkConfig);

#[pymethods]
impl PyOtlpLogSink {
    #[new]
    #[pyo3(signature = (
        endpoint, protocol = None, headers = None, timeout_ms = None, batch_max_queue = None,
        batch_max_export = None, batch_schedule_delay_ms = None, max_export_timeout_ms = None, raw_otlp = None,
        *, ca_file = None, client_cert_file = None, client_key_file = None, insecure = None, compression = None,
        max_queue_bytes = None, log_filter = None, sample_ratio = Real(1.0), max_attributes_per_record = None,
        max_attribute_value_length = None, proxy = None,
    ), text_signature = "(endpoint, protocol=None, headers=None, timeout_ms=None, batch_max_queue=None, \
        batch_max_export=None, batch_schedule_delay_ms=None, max_export_timeout_ms=None, raw_otlp=None, *, \
        ca_file=None, client_cert_file=None, client_key_file=None, insecure=None, compression=None, \
        max_queue_bytes=None, log_filter=None, sample_ratio=1.0, max_attributes_per_record=None, \
        max_attribute_value_length=None, proxy=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are the Python signature")]
    fn new(
        endpoint: Text,
        protocol: Option<Text>,
        headers: Option<Pairs>,
        timeout_ms: Option<Int>,
        batch_max_queue: Option<Int>,
        batch_max_export: Option<Int>,
        batch_schedule_delay_ms: Option<Int>,
        max_export_timeout_ms: Option<Int>,
        raw_otlp: Option<&Bound<'_, PyRawOtlp>>,
        ca_file: Option<PathBuf>,
        client_cert_file: Option<PathBuf>,
        client_key_file: Option<PathBuf>,
        insecure: Option<bool>,
        compression: Option<Text>,
        max_queue_bytes: Option<Int>,
        log_filter: Option<Text>,
        sample_ratio: Real,
        max_attributes_per_record: Option<Int>,
        max_attribute_value_length: Option<Int>,
        proxy: Option<Text>,
    ) -> PyResult<Self> {
        let tls = TlsFiles { ca_file, client_cert_file, client_key_file };
        let destination =
            Destination { signal: Signal::Logs, endpoint, protocol, headers, insecure, tls, proxy };
        let mut transport = destination.transport("OtlpLogSink")?;
        set_milliseconds(&mut transport.timeout_ms, "timeout_ms", timeout_ms, 1)?;
        set_milliseconds(
            &mut transport.max_export_timeout_ms,
            "max_export_timeout_ms",
            max_export_timeout_ms,
            1,
        )?;
        set(&mut transport.max_queue_bytes, "max_queue_bytes", max_queue_bytes, 1)?;
        transport.compression = compression_of(compression, raw_otlp)?;
        let batch =
            batch(BatchConfig::default(), batch_max_queue, batch_max_export, batch_schedule_delay_ms)?;
        let mut limits = LogLimits::default();
        set(&mut limits.attributes, "max_attributes_per_record", max_attributes_per_record, 0)?;
        set(&mut limits.value_length, "max_attribute_value_length", max_attribute_value_length, 0)?;
        let filter = filter(log_filter)?;
        let sample_ratio = check::ratio("sample_ratio", sample_ratio.0)?;
        Ok(Self(OtlpLogSinkConfig { transport, batch, limits, filter, sample_ratio }))
    }

    fn __repr__(&self) -> String {
        repr("OtlpLogSink", &self.0.transport)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<NewArguments<'py>> {
        new_arguments(py, self.0.arguments(py, true)?)
    }
}

struct Destination {
    signal: Signal,
    endpoint: Text,
    protocol: Option<Text>,
    headers: Option<Pairs>,
    insecure: Option<bool>,
    tls: TlsFiles,
    proxy: Option<Text>,
}

impl Destination {
    fn transport(self, sink: &str) -> Result<TransportConfig, Error> {
        let argument = format!("{sink} endpoint");
        check::non_empty(&argument, &self.endpoint.0)?;
        let protocol = choice("protocol", &check::PROTOCOLS, self.protocol)?;
        let rule = PathRule::Signal(self.signal);
        let (endpoint, protocol) =
            Endpoint::parse(&argument, &self.endpoint.0, protocol, self.insecure, rule)?;
        let mut transport = TransportConfig::new(endpoint, protocol);
        transport.headers = check::headers(self.headers.map(|pairs| pairs.0).unwrap_or_default())?;
        certificates::check(&self.tls)?;
        transport.tls = self.tls;
        transport.proxy =
            ProxyChoice::parse(&format!("{sink} proxy"), self.proxy.as_ref().map(|text| &*text.0))?;
        transport::check(&transport, self.signal)?;
        Ok(transport)
    }
}

fn compression_of(
    compression: Option<Text>,
    raw_otlp: Option<&Bound<'_, PyRawOtlp>>,
) -> Result<Compression, Error> {
    let own = choice("compression", &check::COMPRESSIONS, compression)?;
    Ok(own.or_else(|| raw_otlp.and_then(|raw| raw.get().0)).unwrap_or_default())
}
