"""Types of the extension module. Docstrings are those of the module, copied by tests/stub_docs.py."""

import os
from collections.abc import Callable, Generator, Iterable, Mapping, MutableMapping, Sequence
from contextvars import Token
from logging import Handler, LogRecord
from types import TracebackType
from typing import (
    Any,
    Final,
    Generic,
    Literal,
    Protocol,
    SupportsFloat,
    SupportsIndex,
    TypedDict,
    TypeVar,
    final,
)

from typing_extensions import Self, TypeAlias

__all__ = [
    "BoundCounter",
    "BoundGauge",
    "BoundHistogram",
    "BoundUpDownCounter",
    "Config",
    "ConfigError",
    "Counter",
    "ExtractedContext",
    "Gauge",
    "Generation",
    "Histogram",
    "Logger",
    "Meter",
    "MetricSink",
    "ObservableCounter",
    "ObservableGauge",
    "ObservableUpDownCounter",
    "Observation",
    "OtlpLogSink",
    "ParentSet",
    "RawOtlp",
    "Redact",
    "SlsLogSink",
    "Span",
    "SpanContext",
    "SpanTemplate",
    "Step",
    "StepRecorder",
    "TraceSink",
    "Tracer",
    "UpDownCounter",
    "View",
    "_Body",
    "_CredentialRequests",
    "_Observer",
    "_RequestSteps",
    "__version__",
    "_capture",
    "_captured",
    "_credentials",
    "_emit_stdlib",
    "_fetch",
    "_hasten_handler",
    "_non_recording",
    "_observer",
    "_restore_config",
    "_runs_callbacks",
    "_severity_for",
    "_shutdown_at_exit",
    "_span_kind",
    "_trace_context",
    "baggage",
    "check",
    "current_span",
    "current_trace_context",
    "emit_log_record",
    "extract_context",
    "extract_headers",
    "force_flush",
    "from_monotonic",
    "generation",
    "get_baggage",
    "get_logger",
    "get_meter",
    "get_tracer",
    "init",
    "inject_headers",
    "is_initialized",
    "new_context",
    "now",
    "parent_set",
    "record_span",
    "record_spans",
    "restore_context",
    "shutdown",
    "start_span",
    "stats",
    "step_recorder",
    "use_span",
]

__version__: Final[str]

_Path: TypeAlias = str | os.PathLike[str]
_Protocol: TypeAlias = Literal["http/protobuf", "http", "grpc"]
_Compression: TypeAlias = Literal["gzip", "zstd", "none"]
_Sampler: TypeAlias = Literal[
    "always_on",
    "always_off",
    "parent_based_traceid_ratio",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]
_Level: TypeAlias = Literal["trace", "debug", "info", "warn", "error", "fatal", "off"]
_ConsoleFormat: TypeAlias = Literal["compact", "pretty", "json"]
_InstrumentKind: TypeAlias = Literal[
    "counter",
    "up_down_counter",
    "histogram",
    "gauge",
    "observable_counter",
    "observable_up_down_counter",
    "observable_gauge",
]
_Aggregation: TypeAlias = Literal["default", "sum", "last_value", "explicit", "exponential", "drop"]
_Scalar: TypeAlias = str | bool | int | float
_ResourceValue: TypeAlias = _Scalar | Sequence[_Scalar] | None
_Sink: TypeAlias = TraceSink | MetricSink | OtlpLogSink | SlsLogSink

_Severity: TypeAlias = Literal["trace", "debug", "info", "warn", "warning", "error", "fatal", "critical"]
# As stdlib's logging takes it: True is the exception being handled.
_ExcInfo: TypeAlias = (
    BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | bool
    | None
)
_SpanKind: TypeAlias = Literal["internal", "server", "client", "producer", "consumer"]
_TokenDetail: TypeAlias = Literal["none", "array", "events"]
_SemConv: TypeAlias = Literal["latest", "legacy", "both"]
_StatusCode: TypeAlias = Literal["unset", "ok", "error"]
# str, bool, int, float and bytes, and lists, tuples and dicts of these, keep their type; any other object becomes text.
_Attributes: TypeAlias = Mapping[str, object]
_Context: TypeAlias = Span | SpanContext | Generation
_Current = TypeVar("_Current", Span, SpanContext, Generation)
_Links: TypeAlias = Iterable[_Context | tuple[_Context, _Attributes | None]]
_Parents: TypeAlias = ParentSet | Iterable[_Context | None]

class _SeverityNumber(Protocol):
    """OpenTelemetry's enumeration, which need not be installed."""

    @property
    def value(self) -> int: ...

class _Column(Protocol):
    """A buffer, an array or a tensor; what it holds is seen at run time."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Any: ...

_Times: TypeAlias = int | _Column
_Header: TypeAlias = str | bytes
_CarrierIn: TypeAlias = Mapping[Any, Any] | Iterable[tuple[_Header, _Header]]
_CarrierOut: TypeAlias = MutableMapping[str, str] | list[tuple[str, str]] | list[tuple[bytes, bytes]]
_DropReason: TypeAlias = Literal[
    "ring_full",
    "oversize_full",
    "reentrant",
    "queue_full",
    "refused",
    "rejected",
    "too_large",
    "retry_timeout",
    "shutdown",
    "other_session",
    "inherited",
    "thread_exit",
    "unsupported",
    "internal",
]

class _SpanStats(TypedDict):
    recorded: int
    dropped: dict[_DropReason, int]
    abandoned: int

class _SinkStats(TypedDict):
    endpoint: str
    state: Literal["idle", "sending", "backing_off", "circuit_open", "unsupported"]
    wanted: int
    exported: int
    dropped: dict[_DropReason, int]
    held_records: int
    held_records_max: int
    held_bytes: int
    held_bytes_max: int
    requests: int
    retried: int
    body_bytes: int
    sent_bytes: int
    failures_in_a_row: int
    last_error: str | None

class _ConsoleStats(TypedDict):
    entries: int
    dropped: int

class _LaneStats(TypedDict):
    lanes: int
    bytes: int
    bytes_max: int

class _Stats(TypedDict):  # empty before the first init(), which is no reason to ask before each look
    spans: _SpanStats
    logs: _LogStats
    measurements: _MeasurementStats
    unusable_times: int
    baggage_left_out: int
    trace_sinks: list[_SinkStats]
    metric_sinks: list[_SinkStats]
    log_sinks: list[_SinkStats]
    console: _ConsoleStats
    lanes: _LaneStats
    exporter_restarts: int

class _Check(TypedDict):
    signal: Literal["traces", "metrics", "logs"]
    endpoint: str
    protocol: Literal["http/protobuf", "grpc", "sls"]
    ok: bool
    phase: Literal["resolve", "connect", "proxy", "tls", "send", "receive", "done"] | None
    status: int | None
    latency_ms: float | None
    clock_skew_s: float | None
    error: str | None

class _TraceContext(TypedDict):
    trace_id: str | None
    span_id: str | None

class _Description(TypedDict):
    service_name: str
    resource_attributes: dict[str, _Scalar | list[_Scalar]]
    console_output: bool
    console_level: _Level
    console_format: _ConsoleFormat
    console_spans: bool
    console_metrics: bool
    console_logs: bool
    log_filter: str | None
    traces: int
    metrics: int
    otlp_logs: int
    sls_logs: int
    sls_log: bool
    disabled: bool
    propagators: list[str]
    sdk_metrics: bool
    default_histogram: Literal["explicit", "exponential"]
    exemplar_filter: Literal["trace_based", "always_on", "always_off"]
    max_attribute_value_length: int | None
    exit_timeout_ms: int
    ring_capacity: int
    lane_budget_bytes: int
    diagnostics: Literal["warn", "off"]
    views: list[dict[str, Any]]
    redact: list[dict[str, Any]]
    sinks: list[dict[str, Any]]
    warnings: list[str]

class ConfigError(ValueError, RuntimeError):
    """A setting that is not allowed. The text names the argument, the value and what is allowed."""

@final
class RawOtlp:
    """Low-level OTLP settings, kept for code written for earlier versions.

    Args:
        compression: "gzip", "zstd" or "none" (default), in any case. A sink's own `compression` wins over it.

    Raises:
        ConfigError: unknown compression.

    Configuration time: costs less than a microsecond.
    """
    def __new__(cls, compression: _Compression | None = None) -> Self: ...
    def __getnewargs__(self) -> tuple[str | None]: ...

@final
class TraceSink:
    """Sends spans to an OTLP endpoint.

    Args:
        endpoint: `[http(s)://]host[:port][/path]`. Without a scheme TLS is used unless the host is a loopback one or
            `insecure` is set. An HTTP endpoint without a path gets `/v1/traces`; one with a path is used as it is.
        protocol: "http/protobuf" (also "http") or "grpc". Default: http/protobuf when the endpoint has a path or port
            4318, else grpc.
        headers: sent with each request (gRPC: metadata). Values are never printed.
        timeout_ms: one request, in milliseconds. Default 10000.
        sampler: "parent_based_traceid_ratio" (default), "always_on", "always_off", "traceidratio",
            "parentbased_always_on", "parentbased_always_off" or "parentbased_traceidratio".
        sampler_arg: share of traces that ratio samplers keep, 0 to 1 (what is beyond counts as the nearer). Default 1.0.
        batch_max_queue: spans that may wait. Default None: only `max_queue_bytes` bounds them.
        batch_max_export: spans in one request at most. Default 512.
        batch_schedule_delay_ms: a span waits at most this long before its batch is sent, in milliseconds. Default 1000.
        max_export_timeout_ms: a batch with its retries, in milliseconds. Default 300000.
        max_attributes_per_span: attributes kept of a span. Default 128, as the next four.
        max_events_per_span: events kept of a span.
        max_links_per_span: links kept of a span.
        max_attributes_per_event: attributes kept of an event.
        max_attributes_per_link: attributes kept of a link.
        raw_otlp: low-level settings.
        ca_file: PEM file with the only accepted roots. Default: the system's.
        client_cert_file: PEM certificate chain for mutual TLS; needs `client_key_file`.
        client_key_file: PEM private key for mutual TLS.
        insecure: no TLS, for endpoints without a scheme. Default: only for loopback hosts.
        compression: "gzip" (of at most 1 MiB a request, else 4), "zstd" or "none" (default).
        max_queue_bytes: bytes of encoded spans that may wait for this sink. Default 64 MiB.
        max_attribute_value_length: characters kept of a string value. Default: Config's.
        proxy: `http://[user:password@]host[:port]`, the HTTP proxy on the way to the endpoint; "" for none. User and
            password are percent-encoded and never printed. TLS and gRPC go through a tunnel (CONNECT). Default: what
            `https_proxy` or `http_proxy` (by the endpoint's scheme), `all_proxy` and `no_proxy` say, in lower or upper
            case; loopback hosts are reached directly.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Configuration time: about a microsecond, and the reading of the certificate files that it names.
    """
    def __new__(
        cls,
        endpoint: str,
        protocol: _Protocol | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        sampler: _Sampler | None = None,
        sampler_arg: float | None = None,
        batch_max_queue: int | None = None,
        batch_max_export: int | None = None,
        batch_schedule_delay_ms: int | None = None,
        max_export_timeout_ms: int | None = None,
        max_attributes_per_span: int | None = None,
        max_events_per_span: int | None = None,
        max_links_per_span: int | None = None,
        max_attributes_per_event: int | None = None,
        max_attributes_per_link: int | None = None,
        raw_otlp: RawOtlp | None = None,
        *,
        ca_file: _Path | None = None,
        client_cert_file: _Path | None = None,
        client_key_file: _Path | None = None,
        insecure: bool | None = None,
        compression: _Compression | None = None,
        max_queue_bytes: int | None = None,
        max_attribute_value_length: int | None = None,
        proxy: str | None = None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class MetricSink:
    """Sends metrics to an OTLP endpoint.

    Args:
        endpoint, protocol, headers, timeout_ms: as TraceSink's; the path is `/v1/metrics`.
        export_interval_ms: between collections, in milliseconds. Default 60000.
        export_timeout_ms: a collection's requests with their retries, in milliseconds. Default 30000.
        temporality: "cumulative" (default), "delta" or "lowmemory".
        raw_otlp, ca_file, client_cert_file, client_key_file, insecure, compression, max_queue_bytes, proxy: as
            TraceSink's.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Configuration time: about a microsecond, and the reading of the certificate files that it names.
    """
    def __new__(
        cls,
        endpoint: str,
        protocol: _Protocol | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        export_interval_ms: int | None = None,
        export_timeout_ms: int | None = None,
        temporality: Literal["cumulative", "delta", "lowmemory"] | None = None,
        raw_otlp: RawOtlp | None = None,
        *,
        ca_file: _Path | None = None,
        client_cert_file: _Path | None = None,
        client_key_file: _Path | None = None,
        insecure: bool | None = None,
        compression: _Compression | None = None,
        max_queue_bytes: int | None = None,
        proxy: str | None = None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class OtlpLogSink:
    """Sends log records to an OTLP endpoint.

    Args:
        endpoint, protocol, headers, timeout_ms: as TraceSink's; the path is `/v1/logs`.
        batch_max_queue, batch_max_export, batch_schedule_delay_ms, max_export_timeout_ms: as TraceSink's, in records.
        raw_otlp, ca_file, client_cert_file, client_key_file, insecure, compression, max_queue_bytes, proxy: as
            TraceSink's.
        log_filter: "info,noisy.lib=warn" by logger-name prefix. Default: Config's.
        sample_ratio: share of traces whose records are sent, 0 to 1. Default 1.0.
        max_attributes_per_record: attributes kept of a record. Default 128.
        max_attribute_value_length: characters kept of a string value. Default: Config's.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Configuration time: about a microsecond, and the reading of the certificate files that it names.
    """
    def __new__(
        cls,
        endpoint: str,
        protocol: _Protocol | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_ms: int | None = None,
        batch_max_queue: int | None = None,
        batch_max_export: int | None = None,
        batch_schedule_delay_ms: int | None = None,
        max_export_timeout_ms: int | None = None,
        raw_otlp: RawOtlp | None = None,
        *,
        ca_file: _Path | None = None,
        client_cert_file: _Path | None = None,
        client_key_file: _Path | None = None,
        insecure: bool | None = None,
        compression: _Compression | None = None,
        max_queue_bytes: int | None = None,
        log_filter: str | None = None,
        sample_ratio: float = 1.0,
        max_attributes_per_record: int | None = None,
        max_attribute_value_length: int | None = None,
        proxy: str | None = None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

class _AccessKey(Protocol):
    @property
    def access_key_id(self) -> str: ...
    @property
    def access_key_secret(self) -> str: ...
    @property
    def security_token(self) -> str | None: ...

_Credentials: TypeAlias = tuple[str, str, str | None] | tuple[str, str, str | None, float | None] | _AccessKey

@final
class SlsLogSink:
    """Sends log records to an Aliyun SLS logstore.

    Args:
        endpoint: regional endpoint such as "cn-hangzhou.log.aliyuncs.com", `https` unless it says otherwise.
        project, logstore: where, both of letters, digits, "-" and "_".
        ak_id, ak_secret: access key pair; never printed.
        topic: of every log group. Default "".
        source: of every log group. Default: the host name.
        credentials: callable, instead of a key pair, that returns `(ak_id, ak_secret, security_token)`, the same with
            `expires_unix_seconds`, or an object with the attributes `access_key_id`, `access_key_secret` and
            `security_token`. Called on a thread of its own, again before they expire and after a 401; if it raises, again
            after 1 second, then 2, up to 60. `pytracingx.aliyun` has some.
        security_token: STS token that belongs to the key pair.
        region: selects signature V4. Default: V1.
        compression: "lz4" (default), "zstd", "deflate" or "none".
        batch_max_export: records in one request at most. Default 4096.
        batch_schedule_delay_ms: a record waits at most this long, in milliseconds. Default 3000.
        timeout_ms: one request, in milliseconds. Default 10000.
        max_export_timeout_ms: a batch with its retries, in milliseconds. Default 300000.
        tags: of every log group.
        attributes: "flat" (default), each under its own key, or "json", all in one field.
        field_names: renames columns; "0.3" restores the columns of pytracingx 0.3.
        max_queue_bytes: bytes of encoded records that may wait. Default 64 MiB.
        log_filter: "info,noisy.lib=warn" by logger-name prefix. Default: Config's.
        sample_ratio: share of traces whose records are sent, 0 to 1. Default 1.0.
        proxy: as TraceSink's. Requests to STS and other providers of `credentials` follow the environment.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Costs a few microseconds, once.
    """
    def __new__(
        cls,
        endpoint: str,
        project: str,
        logstore: str,
        ak_id: str | None = None,
        ak_secret: str | None = None,
        topic: str = "",
        source: str = "",
        *,
        credentials: Callable[[], _Credentials] | None = None,
        security_token: str | None = None,
        region: str | None = None,
        compression: Literal["lz4", "zstd", "deflate", "none"] = "lz4",
        batch_max_export: int = 4096,
        batch_schedule_delay_ms: int = 3000,
        timeout_ms: int | None = None,
        max_export_timeout_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        attributes: Literal["flat", "json"] = "flat",
        field_names: Mapping[str, str] | Literal["0.3"] | None = None,
        max_queue_bytes: int | None = None,
        log_filter: str | None = None,
        sample_ratio: float = 1.0,
        proxy: str | None = None,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class View:
    """What metric streams become of the instruments it matches. What is None matches everything, or changes nothing. An
    instrument that several views match has a stream for each; one that none matches has its own.

    Args:
        instrument_name: the instrument's, in any case; `*` stands for any text, `?` for one character.
        meter_name: the meter's.
        instrument_kind: "counter", "up_down_counter", "histogram", "gauge", "observable_counter",
            "observable_up_down_counter" or "observable_gauge".
        unit: the instrument's.
        name: the stream's instead of the instrument's; needs an `instrument_name` without `*` and `?`.
        attribute_keys: the only attributes that are kept; series that then are equal are added up.
        aggregation: "default" (None), "sum", "last_value", "explicit", "exponential" or "drop".
        boundaries: of the buckets of aggregation "explicit", ascending. Alone they mean it. Default: the instrument's.
        drop: nothing is recorded; the same as aggregation "drop".
        cardinality_limit: attribute sets, before the rest share one series. Default 2000.
        max_size: buckets on each side of zero of aggregation "exponential", at least 2. Default 160.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Configuration time: costs less than a microsecond.
    """
    def __new__(
        cls,
        instrument_name: str | None = None,
        meter_name: str | None = None,
        instrument_kind: _InstrumentKind | None = None,
        unit: str | None = None,
        name: str | None = None,
        attribute_keys: Iterable[str] | None = None,
        aggregation: _Aggregation | None = None,
        boundaries: Sequence[float] | None = None,
        drop: bool = False,
        cardinality_limit: int | None = None,
        max_size: int | None = None,
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Redact:
    """Hides attributes of spans, their events and links, and log records, before anything leaves the process. The first
    rule that matches a key decides; keys inside dicts count too, those of a log record's body among them. A text has no
    keys: messages, names, status descriptions and `exception.message` stay (unless a rule names that attribute).

    Args:
        key: the attribute's key; `*` stands for any text, `?` for one character.
        action: "drop" (default): left out, and counted in dropped_attributes_count. "hash": "sha256:" and the SHA-256
            of the value's text in hexadecimal. "truncate": the first `length` characters.
        length: characters (of bytes: bytes) that "truncate" keeps.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Configuration time: costs less than a microsecond.
    """
    def __new__(
        cls, key: str, action: Literal["drop", "hash", "truncate"] = "drop", length: int | None = None
    ) -> Self: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Config:
    """What `init` is told.

    Args:
        service_name: `service.name` of everything recorded.
        resource_attributes: of the entity that produces telemetry (str, bool, int, float, lists of these). The
            environment's OTEL_RESOURCE_ATTRIBUTES and detected attributes are added, arguments win.
        console_output: None (default): log records go to the console, spans and metrics only when there are no sinks.
            True: everything. False: nothing.
        console_level: the least severe log records on the console: "trace", "debug", "info", "warn", "error", "fatal"
            or "off". With a log_filter the console shows what passes both; without one it shows everything from this
            level on, whatever RUST_LOG says. Default None: the console shows what log_filter lets pass, or RUST_LOG
            where there is none, else "info".
        console_format: "compact" (default), "pretty" or "json". May also stand fourth, and `sinks` fifth, as in 0.3.
        log_filter: "info,noisy.lib=warn" by logger-name prefix, for the console and every log sink: the longest
            prefix decides, and without a bare level all other loggers are off. Default: the environment's RUST_LOG,
            else "info".
        sinks: TraceSink, MetricSink, OtlpLogSink and SlsLogSink objects, any number; at most 16
            TraceSinks, 16 MetricSinks, and 15 log sinks.
        views: View objects: what metric streams become of the instruments they match.
        redact: Redact objects: attributes of spans and log records that must not leave; the first that matches a key
            decides.
        sdk_metrics: metrics about pytracingx itself. Default False.
        default_histogram: "explicit" (default) or "exponential", for histograms that do not choose.
        exemplar_filter: "trace_based" (default), "always_on" or "always_off".
        max_attribute_value_length: characters kept of a string value. Default None: all.
        exit_timeout_ms: how long the flush at interpreter exit may take, in milliseconds. Default 2000.
        ring_capacity: bytes of records that may wait in one thread, at least 262144. Default 8 MiB.
        lane_budget_bytes: the same for all threads together. Default 64 MiB.
        diagnostics: "warn" (default): lines `pytracingx: …` on stderr tell what is lost; "off": none.

    Raises:
        ConfigError: a value that is not allowed; the text names the argument, the value and what is allowed.

    Configuration time: costs a microsecond or so.
    """
    def __new__(
        cls,
        service_name: str,
        resource_attributes: Mapping[str, _ResourceValue] | None = None,
        console_output: bool | None = None,
        console_level: _Level | _ConsoleFormat | None = None,
        console_format: _ConsoleFormat | Iterable[_Sink] = "compact",
        log_filter: str | None = None,
        sinks: Iterable[_Sink] | None = None,
        *,
        views: Iterable[View] | None = None,
        redact: Iterable[Redact] | None = None,
        sdk_metrics: bool = False,
        default_histogram: Literal["explicit", "exponential"] = "explicit",
        exemplar_filter: Literal["trace_based", "always_on", "always_off"] = "trace_based",
        max_attribute_value_length: int | None = None,
        exit_timeout_ms: int = 2000,
        ring_capacity: int = 8388608,
        lane_budget_bytes: int = 67108864,
        diagnostics: Literal["warn", "off"] = "warn",
    ) -> Self: ...
    @staticmethod
    def from_env() -> Config:
        """What the OpenTelemetry environment variables say, with one OTLP sink per signal unless they say otherwise. A
        value that cannot be used is ignored, and told when a session starts.

        PYTRACINGX_SLS_ENDPOINT, PYTRACINGX_SLS_PROJECT and PYTRACINGX_SLS_LOGSTORE add an SLS sink, PYTRACINGX_SLS_REGION
        selects signature V4. It signs with ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, if set,
        ALIBABA_CLOUD_SECURITY_TOKEN; without a key with a role's credentials, as aliyun.from_environment() gets them, where
        ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN and ALIBABA_CLOUD_OIDC_TOKEN_FILE are set, or
        ALIBABA_CLOUD_ECS_METADATA.

        Configuration time: costs about ten microseconds, and the reading of the files that variables name.
        """
    def describe(self) -> _Description:
        """The settings in force, the environment merged: counts under `traces`, `metrics`, `otlp_logs`, `sls_logs`, each
        sink's settings under `sinks`, those of views and redactions, and what was odd under `warnings`. No secret and
        no path of an endpoint.

        Costs about ten microseconds.
        """

@final
class SpanContext:
    """What identifies a span across processes: immutable, hashable, picklable. As in the OpenTelemetry API.

    Args:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        trace_flags: W3C flags, 0 to 255; 1 (default) is "sampled".
        trace_state: W3C tracestate header value, default empty. A malformed one counts as empty.
        is_remote: Whether it came from another process; default True.

    Raises:
        ValueError: an id that is not hexadecimal digits of that length, or flags out of range. All zeros are allowed for
            both ids together: the invalid context.

    Costs a quarter of a microsecond.
    """
    def __new__(
        cls,
        trace_id: str,
        span_id: str,
        trace_flags: int = 1,
        trace_state: str = "",
        is_remote: bool = True,
    ) -> Self: ...
    @property
    def trace_id(self) -> str:
        """32 lower-case hexadecimal digits."""
    @property
    def span_id(self) -> str:
        """16 lower-case hexadecimal digits."""
    @property
    def trace_flags(self) -> int:
        """W3C trace flags."""
    @property
    def trace_state(self) -> str:
        """W3C tracestate, empty when there is none."""
    @property
    def is_remote(self) -> bool:
        """Whether it came from another process."""
    @property
    def is_valid(self) -> bool:
        """Whether both ids are there."""
    @property
    def traceparent(self) -> str:
        """The W3C traceparent header value."""
    @staticmethod
    def from_traceparent(traceparent: str, trace_state: str | None = None) -> SpanContext | None:
        """Parses header values, by W3C Trace Context level 2.

        Args:
            traceparent: The header's value.
            trace_state: The tracestate header's value, default none. A malformed one counts as empty.

        Returns:
            A remote SpanContext, or None when the traceparent is malformed.

        Costs a quarter of a microsecond.
        """
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __reduce__(self) -> tuple[type[SpanContext], tuple[str, str, int, str, bool]]: ...

@final
class Span:
    """A span that has begun. Made by start_span(); ends with end(), or by leaving `with` or `async with`.

    May be used and ended on any thread or task. No method raises for odd values; what cannot be kept is counted. After the
    end, and when no sink wants it, calls do nothing. Unreferenced and unended it is ended when collected, and counted.

    Leaving `with` on an exception records it and sets status error, unless a status was set; KeyboardInterrupt, SystemExit
    and GeneratorExit do not count, asyncio.CancelledError leaves an event `cancelled`.

    As OpenTelemetry's Span.
    """
    @property
    def context(self) -> SpanContext:
        """The span's SpanContext: immutable, picklable; the same after the end."""
    def set_attribute(self, key: str, value: object) -> None:
        """Sets an attribute; the last value for a key wins.

        Args:
            key: The name; an empty one is dropped and counted.
            value: str, bool, int, float, bytes, or a list, tuple or dict of these. None is dropped; ints beyond 64 bits and other
                objects become text (at most 4 KiB), tensors and arrays their type's name.

        Some 40 nanoseconds for numbers and short texts.
        """
    def set_attributes(self, attributes: _Attributes) -> None:
        """Sets several attributes.

        Args:
            attributes: A mapping; keys and values as for set_attribute(). Anything else is counted.

        Costs what as many set_attribute() calls cost; attributes given to start_span() cost less.
        """
    def set_status(self, code: _StatusCode, description: str | None = None) -> None:
        """Sets the status.

        Args:
            code: 'ok' (final: later ones are ignored), 'error' or 'unset' (ignored), in any case.
            description: Kept with 'error' only.

        Raises:
            ValueError: unknown code.

        Some 70 nanoseconds.
        """
    def update_name(self, name: str) -> None:
        """Replaces the name. Sampling is not decided again.

        Args:
            name: As for start_span().

        Some 30 nanoseconds.
        """
    def add_event(
        self, name: str, attributes: _Attributes | None = None, timestamp: int | None = None
    ) -> None:
        """Adds an event. 128 are kept unless the sinks say otherwise.

        Args:
            name: What happened.
            attributes: Mapping, as for set_attribute(); 128 are kept.
            timestamp: Integer Unix nanoseconds (see now()); default now. Anything else is counted and replaced by now.

        Some 50 nanoseconds, and 40 an attribute.
        """
    def add_link(self, context: _Context, attributes: _Attributes | None = None) -> None:
        """Links another span, of this or another trace. 128 are kept unless the sinks say otherwise.

        Args:
            context: A SpanContext or a Span; anything else, and one without ids, is ignored.
            attributes: Mapping, as for set_attribute(); 128 are kept.

        Some 70 nanoseconds, and 40 an attribute.
        """
    def record_exception(
        self,
        exception: BaseException,
        escaped: bool = False,
        *,
        attributes: _Attributes | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Adds an event `exception` (type, message, stacktrace) and sets status error with the message.

        The same exception leaving `with` afterwards is not recorded twice.

        Args:
            exception: The exception.
            escaped: What `exception.escaped` says: whether it left the span's scope.
            attributes: Mapping of further attributes of the event; they win over its own.
            timestamp: Integer Unix nanoseconds (see now()); default now.

        Ten microseconds and more: the traceback is formatted, by Python's own `traceback`.
        """
    def end(self, end_time: int | None = None) -> None:
        """Ends the span and makes current again what was before it, if it is current itself.

        Args:
            end_time: Integer Unix nanoseconds (see now()); default now. One before the start counts as equal to it.

        A second call does nothing. Half of what start_span() says a span costs.
        """
    def trace_id(self) -> str | None:
        """The trace id: 32 lower-case hexadecimal digits, also after the end; None before init().

        Costs tens of nanoseconds.
        """
    def span_id(self) -> str | None:
        """The span id: 16 lower-case hexadecimal digits, also after the end; None before init().

        Costs tens of nanoseconds.
        """
    def is_recording(self) -> bool:
        """Whether what is set on the span is kept: it has not ended, and some sink wants it.

        Costs tens of nanoseconds.
        """
    def __enter__(self) -> Self:
        """The span itself."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        """Ends the span; records the exception, if there is one, and lets it pass."""
    async def __aenter__(self) -> Self:
        """The span itself, for `async with`."""
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        """As __exit__, for `async with`."""

@final
class Tracer:
    """Starts spans under one instrumentation scope. Made by get_tracer(); works before init() and in every session.

    As OpenTelemetry's Tracer. The module's own functions of these names are those of a tracer named 'pytracingx'.
    """
    def start_span(
        self,
        name: str,
        attributes: _Attributes | None = None,
        kind: _SpanKind = "internal",
        *,
        parent: _Context | None = None,
        links: _Links | None = None,
        start_time: int | None = None,
        activate: bool = True,
    ) -> Span:
        """Starts a span and makes it current; end it with end() or by leaving `with`.

        Args:
            name: What is done, of low cardinality ('decode', not 'decode 4711').
            attributes: Mapping of initial attributes: str, bool, int, float, bytes, lists, tuples and dicts of these. None is
                dropped, ints beyond 64 bits and other objects become text. 128 are kept unless the sinks say otherwise.
            kind: 'internal' (default), 'server', 'client', 'producer' or 'consumer', in any case.
            parent: A Span or SpanContext instead of the current one.
            links: Iterable of SpanContext or Span, or of (context, attributes) pairs.
            start_time: Integer Unix nanoseconds (see now()); default now. Anything else is counted and replaced by now.
            activate: False leaves the context alone: cheaper, and right where parents are passed explicitly.

        Returns:
            The Span. Before init() and with recording off, a shared one that records nothing.

        Raises:
            ValueError: unknown kind. Values of odd types do not raise: they degrade, and are counted.

        Never blocks, takes no lock, makes no system call; a few tenths of a microsecond with its end(). As the OpenTelemetry
        trace API; the current span lives in contextvars, so asyncio tasks, threads and executors see what Python says.
        """
    def record_span(
        self,
        name: str,
        start_time: int,
        end_time: int,
        attributes: _Attributes | None = None,
        kind: _SpanKind = "internal",
        *,
        parent: _Context | None = None,
        links: _Links | None = None,
        status: _StatusCode | tuple[_StatusCode, str | None] | None = None,
        span_context: SpanContext | None = None,
    ) -> SpanContext:
        """Records a finished span in one call, without touching the context: the cheapest way to record.

        Args:
            name: As for start_span().
            start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
            end_time: As start_time; one before it counts as equal to it.
            attributes: As for start_span().
            kind: As for start_span().
            parent: A Span or SpanContext; default the current one.
            links: As for start_span().
            status: 'ok', 'error', or a (code, description) pair; default unset.
            span_context: Ids and sampling decision drawn in advance with new_context(); default drawn now.

        Returns:
            The span's SpanContext, for children and links.

        Raises:
            ValueError: unknown kind or status. Values of odd types do not raise: they degrade, and are counted.
        """
    def record_spans(
        self,
        name: str,
        parents: _Parents,
        start_time: _Times,
        end_time: _Times,
        attributes: _Attributes | None = None,
        kind: _SpanKind = "internal",
    ) -> int:
        """Records many finished spans in one call: one for each parent, as a scheduler's step over its batch makes them.

        Args:
            name: As for start_span(), of all of them.
            parents: Iterable of N Span, SpanContext or None; or a ParentSet made once with parent_set(), which is fastest. A row
                whose parent is None or unsampled is skipped.
            start_time: Integer Unix nanoseconds (see now()) for all rows, or a column of N. Anything else is counted and replaced
                by now.
            end_time: As start_time; one before the start counts as equal to it.
            attributes: Mapping, as for start_span(). A list, a tuple, or memory of numbers (array.array, numpy, memoryview, a
                tensor in the processor's memory) is a column: a value for each row, None for none. Everything else is the same
                for all rows, and converted once.
            kind: As for start_span().

        Returns:
            How many were recorded: rows that are not skipped, and found room.

        Raises:
            ValueError: a column that has not N values, by its name; unknown kind.
            TypeError: parents that cannot be iterated over. Values of odd types do not raise: they degrade, and are counted.

        Touches no context; blocks, locks and calls the system as little as start_span(). Some tens of nanoseconds a span: numbers
        cost least, in arrays less than in lists; text is copied; elements of other types may run their own code. When no row
        is wanted nothing else is looked at but the lengths of lists, tuples and arrays.
        """

@final
class SpanTemplate:
    """Name, kind and constant attributes of spans, converted once: each span pays only for what varies.

        decode = SpanTemplate('decode', attributes={'gen_ai.request.model': 'qwen3-8b'})
        with decode({'batch_size': 8}) as span: ...
        decode.record_spans(parents, began, ended, {'tokens': tokens})

    Calling it starts a span, as start_span() does.

    Args:
        name: The spans' name.
        kind: As for start_span().
        attributes: Mapping, as for start_span(), read now. An attribute of the same key given later wins.
        tracer: A Tracer whose instrumentation scope the spans have; default the module's.

    Raises:
        TypeError: a name that is no str, attributes that are no mapping, a tracer that is none.
        ValueError: unknown kind.

    Make it once and keep it: works before init(), in every session and in forked children.

    Costs about half a microsecond, once.
    """
    def __new__(
        cls,
        name: str,
        kind: _SpanKind = "internal",
        attributes: _Attributes | None = None,
        *,
        tracer: Tracer | None = None,
    ) -> Self: ...
    def __call__(
        self,
        attributes: _Attributes | None = None,
        *,
        parent: _Context | None = None,
        links: _Links | None = None,
        start_time: int | None = None,
        activate: bool = True,
    ) -> Span: ...
    def record(
        self,
        start_time: int,
        end_time: int,
        attributes: _Attributes | None = None,
        *,
        parent: _Context | None = None,
        links: _Links | None = None,
        status: _StatusCode | tuple[_StatusCode, str | None] | None = None,
        span_context: SpanContext | None = None,
    ) -> SpanContext:
        """Records a finished span, as record_span() does.

        Args:
            start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
            end_time: As start_time; one before it counts as equal to it.
            attributes: Mapping of what varies, as for start_span().
            parent: A Span or SpanContext; default the current one.
            links: As for start_span().
            status: 'ok', 'error', or a (code, description) pair; default unset.
            span_context: Ids and sampling decision drawn in advance with new_context(); default drawn now.

        Returns:
            The span's SpanContext, for children and links.

        Raises:
            ValueError: unknown status.
        """
    def record_spans(
        self,
        parents: _Parents,
        start_time: _Times,
        end_time: _Times,
        attributes: _Attributes | None = None,
    ) -> int:
        """Records many finished spans in one call, as the module's record_spans() does.

        Args:
            parents: Iterable of N Span, SpanContext or None, or a ParentSet.
            start_time: Integer Unix nanoseconds for all rows, or a column of N.
            end_time: As start_time.
            attributes: Mapping of what varies: columns of N, or values for all rows.

        Returns:
            How many were recorded.

        Raises:
            ValueError: a column that has not N values, by its name.
            TypeError: parents that cannot be iterated over.
        """

@final
class ParentSet:
    """Parents for record_spans(), prepared once: what a step needs to know of each (ids, sampling decision, tracestate) is
    copied out of the spans, so a step looks at no Python object at all. Made by parent_set(); as a list, it keeps its order.

    A scheduler's batch changes by few requests a step, so the set follows it instead of being made anew: add() when a
    request is admitted, discard() when it leaves. Rows behind one that leaves move up by one, as in the scheduler's own
    list of what runs, which therefore gives the columns their order. Works before init(), in every session and in forked
    children; a span's end does not change it. Making an empty one costs tens of nanoseconds.
    """
    def add(self, parent: _Context | None, /) -> int:
        """Adds a row at the end.

        Args:
            parent: A Span or SpanContext. With anything else (None) the row is there and nothing is recorded for it.

        Returns:
            The row's index.

        Costs a few tens of nanoseconds.
        """
    def discard(self, parent: _Context | None, /) -> int | None:
        """Removes the first row of a parent; those behind it move up.

        Args:
            parent: The Span, or its SpanContext. One without ids is in no set: `del` removes its row by index.

        Returns:
            The index that the row had, None when the set had none of this parent.

        Costs a nanosecond for each row.
        """
    def clear(self) -> None:
        """Removes all rows.

        Costs tens of nanoseconds.
        """
    def __len__(self) -> int:
        """Return len(self)."""
    def __delitem__(self, key: int, /) -> None:
        """Delete self[key]."""

@final
class ExtractedContext:
    """What extract_headers() made current. A context manager: leaving it is restore()."""
    @property
    def span_context(self) -> SpanContext | None:
        """The remote SpanContext, or None."""
    @property
    def is_valid(self) -> bool:
        """Whether the headers named a context."""
    def restore(self) -> None:
        """Makes current again what was before. A second call does nothing.

        Costs about half a microsecond.
        """
    def __enter__(self) -> Self:
        """The context itself."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        /,
    ) -> Literal[False]:
        """As restore(); lets exceptions pass."""

@final
class use_span(Generic[_Current]):
    """Makes a Span or SpanContext current while a `with` block runs, without ending it: for executors and callbacks.

    Args:
        span: What spans started in the block get as their parent. `with` gives it back.

    May be entered again, also while entered. Never raises.

    Costs about half a microsecond.
    """
    def __new__(cls, span: _Current, /) -> Self: ...
    def __enter__(self) -> _Current:
        """Makes it current; gives it back."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        /,
    ) -> Literal[False]:
        """Makes current again what was before; lets exceptions pass."""

@final
class Logger:
    """Records log records under one instrumentation scope. Made by get_logger(); works before init() and in every session.

    Records carry the ids of the current span, and the time of the call. As OpenTelemetry's Logger.
    """
    def trace(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity TRACE (1).

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def debug(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity DEBUG (5).

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def info(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity INFO (9).

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def warn(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity WARN (13).

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def warning(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity WARN (13), as warn().

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def error(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity ERROR (17).

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def fatal(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity FATAL (21).

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def critical(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = None
    ) -> None:
        """Records a log record of severity FATAL (21), as fatal().

        Args:
            message: The body: a str, or a dict, list, number or bytes, which keep their type; any other object becomes text.
            attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
            exc_info: An exception, a tuple as of sys.exc_info(), or True for the exception being handled: adds
                exception.type, exception.message and exception.stacktrace.

        Never raises for odd values, never blocks. Below every destination's `log_filter` nothing is looked at.

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def exception(
        self, message: object, *, attributes: _Attributes | None = None, exc_info: _ExcInfo = True
    ) -> None:
        """Records a log record of severity ERROR (17) with the exception being handled, as error() with exc_info=True.

        Args:
            message: As for info().
            attributes: As for info().
            exc_info: As for info().

        Costs some microseconds: the stack trace becomes text.
        """
    def log(
        self,
        severity_number: int | _Severity | _SeverityNumber,
        message: object,
        *,
        attributes: _Attributes | None = None,
        exc_info: _ExcInfo = None,
    ) -> None:
        """Records a log record of any severity.

        Args:
            severity_number: OpenTelemetry's, 1 (TRACE) to 24 (FATAL4), which are not logging's: 20 is ERROR4; 0 is none, and counts
                as lowest. Or a member of its SeverityNumber, or a level's name, as for enabled(). Anything else counts as ERROR (17).
            message: As for info().
            attributes: As for info().
            exc_info: As for info().

        Costs about 50 nanoseconds, and as much again for an attribute; less below the filter.
        """
    def enabled(self, level: _Severity | int) -> bool:
        """Whether a record of this severity goes anywhere: some destination's `log_filter` takes it from this logger.

        Args:
            level: 'trace', 'debug', 'info', 'warn' ('warning'), 'error' or 'fatal' ('critical'), in any case, or OpenTelemetry's
                severity number.

        Returns:
            False before init() and after shutdown() too.

        Raises:
            ValueError: unknown level.

        Costs tens of nanoseconds.
        """

@final
class baggage:
    """Adds to the baggage of the current context while a `with` block runs: inject_headers() sends it.

    Args:
        mapping: Keys and values. A key must be a token: letters, digits and !#$%&'*+-.^_`|~.
        entries: The same as keyword arguments; they win.

    An entry replaces one of the same key. A value is a str; int, float and bool become text, None is left out. What is
    not like this, or does not fit in 180 entries and 8192 bytes, is left out and counted as `baggage_left_out` in
    stats(). May be entered again, also while entered. Never raises.

    Costs about a microsecond.
    """
    def __new__(
        cls, mapping: Mapping[str, str | float | None] | None = None, /, **entries: str | float | None
    ) -> Self: ...
    def __enter__(self) -> Self:
        """Sets the entries; gives itself back."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        /,
    ) -> Literal[False]:
        """Makes current again what was before; lets exceptions pass."""

@final
class _Body:
    """The body of a generator: while a `with` block runs one step of it, what was current when the last step ended is
    current again, at first the span given. A span that the body holds open at a yield so never leaks to whoever drives
    the generator, in whatever order and thread that happens.
    """
    def __new__(cls, span: Span, /) -> Self: ...
    def __enter__(self) -> None:
        """Begins a step."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
        /,
    ) -> None:
        """Ends a step."""

_non_recording: Final[Span]

def init(config: Config | None = None) -> None:
    """Starts recording.

    Args:
        config: A Config; None reads the environment (Config.from_env()).

    Raises:
        ConfigError: already initialized, or a certificate file that cannot be used.

    A forked child records into a session of its own without calling this; its first init() replaces that session. At
    interpreter exit everything is flushed within `exit_timeout_ms`, in multiprocessing children too; whoever leaves by
    os._exit or is killed by a signal flushes nothing.

    Costs a few milliseconds: the exporter's thread and its sinks are made here.
    """

def shutdown(timeout_ms: int = 5000) -> bool:
    """Stops recording: sends what was recorded, ends the exporter thread.

    Args:
        timeout_ms: Milliseconds, default 5000. Returns within this time and a tenth of a second, whatever the
            endpoints do.

    Returns:
        True if everything accepted was delivered or finally refused by its server. What could not be sent is counted
        in stats() as dropped for `shutdown`.

    Raises:
        ConfigError: a negative timeout. TypeError: one that is no int.

    Called again, it waits for the same end and returns the same; init() may follow, with another configuration.
    Releases the GIL; Ctrl-C ends the wait.

    Costs the caller its wait, `timeout_ms` at most.
    """

def force_flush(timeout_ms: int = 5000) -> bool:
    """Sends all that any thread recorded before the call.

    Args:
        timeout_ms: Milliseconds, default 5000. Returns within this time and a tenth of a second, whatever the
            endpoints do.

    Returns:
        True if all of it was delivered or finally refused. What could not be sent in time stays queued.

    Raises:
        ConfigError: a negative timeout. TypeError: one that is no int.

    Releases the GIL; Ctrl-C ends the wait.

    Costs the caller its wait, `timeout_ms` at most.
    """

def is_initialized() -> bool:
    """Whether there is a session: between init() and shutdown(), also in a child forked in between.

    Costs tens of nanoseconds.
    """

def stats() -> _Stats:
    """Counters of the current session, by signal and sink.

    Returns:
        An empty dict before the first init(); after shutdown() the counters of the session that ended. The keys:

        spans: `recorded`, those that were to be exported; `dropped` before they reached the exporter, by reason;
            `abandoned`, collected without having been ended (they are recorded).
        logs: The same of log records: `recorded`, `dropped`.
        measurements: `recorded`; of these `folded` because the thread's ring was full, or many came at once (none is lost),
            `overflowed` into the series otel.metric.overflow=true, and lost: `internal`, by a bug of pytracingx, and
            `shutdown`, too late for the last collection. Not recorded: `negative`, `not_finite`, `not_a_number`.
            `conflicts`, instruments made again with another definition. Of observable instruments:
            `late_observations`, collections that did not wait for all of them, and `callback_errors`.
        unusable_times: Times that were not integer Unix nanoseconds and were replaced by now.
        baggage_left_out: Entries that baggage() left out: they did not fit, or were no text under a valid key.
        trace_sinks: For each sink `endpoint`, `state` (idle, sending, backing_off, circuit_open, unsupported), `wanted`
            (its sampler's yes), `exported`, `dropped` by reason, `held_records` and `held_bytes` with their `_max`,
            `requests`, `retried`, `body_bytes` before compression, `sent_bytes`, `failures_in_a_row`, `last_error`.
        metric_sinks: The same; their records are data points.
        log_sinks: The same, those of OTLP first. Those of SLS have what its limits changed too: `renamed_keys` (reserved),
            `cut_keys`, `cut_values`, `omitted_fields`.
        console: `entries` written to stderr, `dropped`.
        lanes: How many `lanes`, `bytes`, `bytes_max`.
        exporter_restarts: After a bug of ours.

    Counts behind the lanes are as of the exporter's last turn, at most 250 ms ago; after force_flush() they hold all of
    it. For every sink, exactly: wanted = exported + the sum of dropped + held_records.

    Reasons of `dropped` on the way to the exporter: `ring_full` (the thread's lane was full), `oversize_full` (too many large
    records at once), `reentrant` (a log record made by what another one ran), `thread_exit`, `other_session` (ended in
    another session than begun in), `inherited` (not among `recorded`, and no loss: a span that a forked child ended is
    its parent's to record). Of a sink:
    `queue_full`, `refused` (a final answer), `rejected` (of a request that was taken in part), `too_large` (for the server),
    `retry_timeout`, `shutdown` (its time was up), `unsupported` (it cannot send: see `last_error`). Of either: `internal`, a
    bug of pytracingx.
    """

def check(timeout_ms: int = 3000) -> list[_Check]:
    """Sends one record named `pytracingx.check` (a span, a gauge's point or a log record) to every sink, and says what came
    of each: for start-up checks.

    Args:
        timeout_ms: Milliseconds, default 3000. Returns within this time; a sink's own `timeout_ms`, if shorter, ends
            its attempt.

    Returns:
        A dict for each sink: those of traces, of metrics, of logs (OTLP before SLS), each in the order of the
        configuration. An empty list before init(). Its keys:

        signal: 'traces', 'metrics' or 'logs'.
        endpoint: `scheme://host:port/…`.
        protocol: 'http/protobuf', 'grpc' or 'sls'.
        ok: Whether the server took the record.
        phase: How far it came: 'resolve', 'connect', 'proxy', 'tls', 'send', 'receive', or 'done' with a complete
            answer, whatever that said. None if nothing could be tried.
        status: HTTP status, or None without an answer.
        latency_ms: From the beginning of name resolution to the answer or the failure.
        clock_skew_s: Seconds that this machine's clock is ahead of the server's by its Date header, which has whole
            seconds only; 0.0 when the two may agree, None without an answer that has one.
        error: What was wrong, one line without secrets, or None. With ok, what the server remarked.

    Raises:
        ConfigError: a negative timeout. TypeError: one that is no int.

    All sinks at once, over connections of their own: the exporter's are not touched. Sampling, views and filters do not
    apply. Releases the GIL; Ctrl-C ends the wait.

    Costs the caller its wait, `timeout_ms` at most.
    """

def get_baggage() -> dict[str, str]:
    """The baggage of the current context: what extract_headers() found and baggage() set.

    Returns:
        A new dict of str to str, percent-decoded. Of several entries with one key the last; their properties are not
        in it, but travel on.

    Costs tens of nanoseconds.
    """

def get_logger(name: str, version: str | None = None) -> Logger:
    """A logger whose records carry an instrumentation scope of their own.

    Args:
        name: Usually the module's or library's name; what `log_filter` goes by.
        version: Its version; default none.

    Returns:
        A Logger. May be called before init(); it works in every session. Make it once and keep it.

    Raises:
        TypeError: what is no str.

    Costs a tenth of a microsecond or two: make it once and keep it.
    """

def emit_log_record(
    name: str,
    message: object,
    *,
    severity_number: int,
    severity_text: str | None,
    attributes: _Attributes | None = None,
    timestamp: int | None = None,
    body: object = None,
) -> None:
    """Records a log record under a logger's name, for bridges from other logging libraries.

    Args:
        name: The logger's name: the instrumentation scope, and what `log_filter` goes by.
        message: The body, as for Logger.info().
        severity_number: OpenTelemetry's, 1 (TRACE) to 24 (FATAL4); 0 is none, and counts as lowest.
        severity_text: The source's own name of the severity; None or '' is OpenTelemetry's.
        attributes: Mapping, as for start_span(); 128 are kept unless the sinks say otherwise.
        timestamp: When it happened, in integer Unix nanoseconds (see now()); default now. Anything else is counted and
            replaced by now.
        body: The body instead of the message, of any type an attribute can have.

    Never raises for odd values, never blocks.
    """

def get_tracer(name: str, version: str | None = None) -> Tracer:
    """A tracer whose spans carry an instrumentation scope of their own.

    Args:
        name: Usually the instrumented library's name.
        version: Its version; default none.

    Returns:
        A Tracer. May be called before init(); it works in every session. Make it once and keep it.

    Raises:
        TypeError: what is no str.

    Costs a tenth of a microsecond or two: make it once and keep it.
    """

def start_span(
    name: str,
    attributes: _Attributes | None = None,
    kind: _SpanKind = "internal",
    *,
    parent: _Context | None = None,
    links: _Links | None = None,
    start_time: int | None = None,
    activate: bool = True,
) -> Span:
    """Starts a span and makes it current; end it with end() or by leaving `with`.

    Args:
        name: What is done, of low cardinality ('decode', not 'decode 4711').
        attributes: Mapping of initial attributes: str, bool, int, float, bytes, lists, tuples and dicts of these. None is
            dropped, ints beyond 64 bits and other objects become text. 128 are kept unless the sinks say otherwise.
        kind: 'internal' (default), 'server', 'client', 'producer' or 'consumer', in any case.
        parent: A Span or SpanContext instead of the current one.
        links: Iterable of SpanContext or Span, or of (context, attributes) pairs.
        start_time: Integer Unix nanoseconds (see now()); default now. Anything else is counted and replaced by now.
        activate: False leaves the context alone: cheaper, and right where parents are passed explicitly.

    Returns:
        The Span. Before init() and with recording off, a shared one that records nothing.

    Raises:
        ValueError: unknown kind. Values of odd types do not raise: they degrade, and are counted.

    Never blocks, takes no lock, makes no system call; a few tenths of a microsecond with its end(). As the OpenTelemetry
    trace API; the current span lives in contextvars, so asyncio tasks, threads and executors see what Python says.
    """

def record_span(
    name: str,
    start_time: int,
    end_time: int,
    attributes: _Attributes | None = None,
    kind: _SpanKind = "internal",
    *,
    parent: _Context | None = None,
    links: _Links | None = None,
    status: _StatusCode | tuple[_StatusCode, str | None] | None = None,
    span_context: SpanContext | None = None,
) -> SpanContext:
    """Records a finished span in one call, without touching the context: the cheapest way to record.

    Args:
        name: As for start_span().
        start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
        end_time: As start_time; one before it counts as equal to it.
        attributes: As for start_span().
        kind: As for start_span().
        parent: A Span or SpanContext; default the current one.
        links: As for start_span().
        status: 'ok', 'error', or a (code, description) pair; default unset.
        span_context: Ids and sampling decision drawn in advance with new_context(); default drawn now.

    Returns:
        The span's SpanContext, for children and links.

    Raises:
        ValueError: unknown kind or status. Values of odd types do not raise: they degrade, and are counted.
    """

def record_spans(
    name: str,
    parents: _Parents,
    start_time: _Times,
    end_time: _Times,
    attributes: _Attributes | None = None,
    kind: _SpanKind = "internal",
) -> int:
    """Records many finished spans in one call: one for each parent, as a scheduler's step over its batch makes them.

    Args:
        name: As for start_span(), of all of them.
        parents: Iterable of N Span, SpanContext or None; or a ParentSet made once with parent_set(), which is fastest. A row
            whose parent is None or unsampled is skipped.
        start_time: Integer Unix nanoseconds (see now()) for all rows, or a column of N. Anything else is counted and replaced
            by now.
        end_time: As start_time; one before the start counts as equal to it.
        attributes: Mapping, as for start_span(). A list, a tuple, or memory of numbers (array.array, numpy, memoryview, a
            tensor in the processor's memory) is a column: a value for each row, None for none. Everything else is the same
            for all rows, and converted once.
        kind: As for start_span().

    Returns:
        How many were recorded: rows that are not skipped, and found room.

    Raises:
        ValueError: a column that has not N values, by its name; unknown kind.
        TypeError: parents that cannot be iterated over. Values of odd types do not raise: they degrade, and are counted.

    Touches no context; blocks, locks and calls the system as little as start_span(). Some tens of nanoseconds a span: numbers
    cost least, in arrays less than in lists; text is copied; elements of other types may run their own code. When no row
    is wanted nothing else is looked at but the lengths of lists, tuples and arrays.
    """

def parent_set(spans: Iterable[_Context | None] | None = None) -> ParentSet:
    """Prepares the parents of a batch for record_spans().

    Args:
        spans: Iterable of Span, SpanContext or None, a row for each; default none.

    Returns:
        A ParentSet, to keep from step to step.

    Raises:
        TypeError: `spans` is not iterable.

    Costs some tens of nanoseconds a row.
    """

def new_context(parent: _Context | None = None) -> SpanContext:
    """Draws ids and the sampling decision for a span that will be recorded later, or elsewhere.

    Args:
        parent: A Span or SpanContext; default the current one. Without either, the ids begin a new trace.

    Returns:
        A SpanContext to propagate now and to give to record_span(span_context=…). Before init() one without ids.

    Costs tens of nanoseconds.
    """

def current_span() -> Span:
    """The current span of this task or thread, never None: without one, a shared span that records nothing.

    Under a remote context (extract_headers()) that is this shared one too; current_trace_context() has its ids.

    Costs tens of nanoseconds.
    """

def current_trace_context() -> _TraceContext:
    """Ids of the current span or remote context, for log records and messages.

    Returns:
        Always a dict with `trace_id` (32 hexadecimal digits) and `span_id` (16), both None when nothing is current.

    Costs a tenth of a microsecond or two.
    """

def extract_context(carrier: _CarrierIn) -> SpanContext | None:
    """The span context that a carrier's headers name; activates nothing.

    Args:
        carrier: A mapping, or an iterable of pairs, of str or bytes; header names in any case.

    Returns:
        A remote SpanContext, or None without exactly one valid `traceparent`.

    Costs about half a microsecond.
    """

def extract_headers(carrier: _CarrierIn) -> ExtractedContext:
    """Makes the context that a carrier's headers name current, at this call: spans started next continue that trace.

    Args:
        carrier: A mapping, or an iterable of pairs, of str or bytes (ASGI); header names in any case.

    Returns:
        An ExtractedContext: a context manager, whose restore() ends it too. Without either it lasts as long as the task.

    W3C Trace Context level 2 and W3C Baggage. Without exactly one valid `traceparent`, what follows starts a new trace.
    Never raises.

    Costs about a microsecond.
    """

def inject_headers(carrier: _CarrierOut, context: _Context | None = None) -> None:
    """Writes `traceparent` (and `tracestate`, `baggage` if there are any) of the current context into a carrier.

    Args:
        carrier: A mutable mapping, or a list that gets (name, value) pairs appended (bytes pairs if it holds such).
        context: A Span or SpanContext instead of the current one.

    Without a current context it writes nothing. W3C Trace Context level 2 and W3C Baggage. Never raises.

    Costs a quarter of a microsecond.
    """

def restore_context(token: ExtractedContext | Token[Any]) -> None:
    """Makes current again what was before extract_headers().

    Args:
        token: What extract_headers() returned. Anything else is ignored, a second call does nothing.

    Costs about half a microsecond.
    """

def now() -> int:
    """The current time in integer Unix nanoseconds, as every `*_time` and `timestamp` argument takes it.

    Costs one clock read, under 0.1 µs.
    """

def from_monotonic(seconds: float, /) -> int:
    """The Unix nanoseconds of an instant that `time.monotonic()` gave, in seconds.

    Args:
        seconds: As time.monotonic() gives it.

    Returns:
        Integer Unix nanoseconds, for record_span() and its siblings: engines stamp their stages with the monotonic clock.

    Raises:
        TypeError: what is no number.

    The wall clock is read now: a stamp from before a step of the wall clock is converted as if there had been none.
    """

def _capture(config: Config) -> None:
    """init(), but whatever the config's OTLP sinks would send stays in memory, for pytracingx.testing."""

def _captured() -> list[list[bytes]] | None:
    """The bodies of the trace, metric and log requests that a session begun by _capture() would have sent; None if that
    is not the last that was begun.
    """

def _restore_config(keywords: dict[str, Any], extra: dict[str, Any]) -> Config:
    """Unpickles a Config."""

def _shutdown_at_exit() -> bool:
    """What the exit handlers call: shutdown() within `exit_timeout_ms`; two refused connections end a sink's wait."""

def _span_kind(kind: str) -> _SpanKind:
    """The kind in lower case.

    Raises:
        ValueError: unknown kind.
    """

def _severity_for(levelno: int, /) -> tuple[int, str]:
    """OpenTelemetry's severity number and the standard level's text for a level of stdlib's logging. Levels between the
    standard ones get the numbers between: 21 is INFO2.
    """

def _trace_context() -> tuple[str, str, bool]:
    """What `TraceContextFilter` puts on records: trace id, span id, whether it is sampled."""

def _hasten_handler(handler_type: type[Handler], /) -> None:
    """Gives the class a native `handle()`, which leaves all but the plain case to the one it has."""

def _emit_stdlib(handler: Handler, record: LogRecord, plain: bool, /) -> None:
    """Records a logging.LogRecord. An Exception of its formatting is raised after it was recorded without its arguments.

    Args:
        handler: Whose format() is called.
        record: The record.
        plain: The handler's format() is the standard one, with no formatter.
    """

_Number: TypeAlias = SupportsFloat | SupportsIndex

_Numbers: TypeAlias = Iterable[_Number]

_Observed: TypeAlias = _HasValue | _Number | tuple[_Number, _Attributes | None]

_Observations: TypeAlias = _Observed | Iterable[_Observed] | None

_Callback: TypeAlias = Callable[[], _Observations] | Callable[[Any], _Observations] | Generator[Any, Any, Any]

class _LogStats(TypedDict):
    recorded: int
    dropped: dict[_DropReason, int]

class _MeasurementStats(TypedDict):
    recorded: int
    folded: int
    overflowed: int
    internal: int
    shutdown: int
    negative: int
    not_finite: int
    not_a_number: int
    conflicts: int
    late_observations: int
    callback_errors: int

@final
class Counter:
    """A sum that only grows. Made by Meter.counter(); works before init() and in every session.

    As OpenTelemetry's Counter.
    """
    def add(self, value: _Number, attributes: _Attributes | None = None) -> None:
        """Adds to the sum.

        Args:
            value: An int or float, not negative. Ints stay ints until a float is added.
            attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

        Never raises, blocks or loses a value: what is no number, negative, NaN or infinite is ignored, and counted in stats().

        Costs tens of nanoseconds without attributes, about a hundred with one.
        """
    def bind(self, attributes: _Attributes | None) -> BoundCounter:
        """A handle for these attributes, whose calls pay for the value only.

        Args:
            attributes: Mapping, as for start_span(), converted now; 128 are kept. None is the empty set.

        Returns:
            The handle. Make it once and keep it: what converts the attributes is paid here.

        Never raises: attributes that cannot be converted are left out, as in the instrument's own calls.

        Costs less than a microsecond, once; what it returns pays for no attributes again.
        """

@final
class UpDownCounter:
    """A sum. Made by Meter.up_down_counter(); works before init() and in every session.

    As OpenTelemetry's UpDownCounter.
    """
    def add(self, value: _Number, attributes: _Attributes | None = None) -> None:
        """Adds to the sum.

        Args:
            value: An int or float. Ints stay ints until a float is added.
            attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

        Never raises, blocks or loses a value: what is no number, NaN or infinite is ignored, and counted in stats().

        Costs tens of nanoseconds without attributes, about a hundred with one.
        """
    def bind(self, attributes: _Attributes | None) -> BoundUpDownCounter:
        """A handle for these attributes, whose calls pay for the value only.

        Args:
            attributes: Mapping, as for start_span(), converted now; 128 are kept. None is the empty set.

        Returns:
            The handle. Make it once and keep it: what converts the attributes is paid here.

        Never raises: attributes that cannot be converted are left out, as in the instrument's own calls.

        Costs less than a microsecond, once; what it returns pays for no attributes again.
        """

@final
class Histogram:
    """A distribution of values. Made by Meter.histogram(); works before init() and in every session.

    As OpenTelemetry's Histogram.
    """
    def record(self, value: _Number, attributes: _Attributes | None = None) -> None:
        """Records a value of the distribution.

        Args:
            value: An int or float, not negative.
            attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

        Never raises, blocks or loses a value: what is no number, negative, NaN or infinite is ignored, and counted in stats().
        Inside a sampled span the value may be exported as an exemplar, with the span's ids.

        Costs tens of nanoseconds without attributes, about a hundred with one.
        """
    def record_many(self, values: _Numbers, attributes: _Attributes | None = None) -> None:
        """Records many values in one call; their attributes are converted once.

        Args:
            values: A buffer of numbers (array.array, numpy, memoryview), which is fastest, or any iterable of them.
            attributes: As for record().

        As that many calls of record(): never raises, blocks or loses a value.

        Costs one call and a nanosecond or two for each value.
        """
    def bind(self, attributes: _Attributes | None) -> BoundHistogram:
        """A handle for these attributes, whose calls pay for the value only.

        Args:
            attributes: Mapping, as for start_span(), converted now; 128 are kept. None is the empty set.

        Returns:
            The handle. Make it once and keep it: what converts the attributes is paid here.

        Never raises: attributes that cannot be converted are left out, as in the instrument's own calls.

        Costs less than a microsecond, once; what it returns pays for no attributes again.
        """

@final
class Gauge:
    """A value that is set: the last one is exported. Made by Meter.gauge(); works before init() and in every session.

    As OpenTelemetry's Gauge.
    """
    def record(self, value: _Number, attributes: _Attributes | None = None) -> None:
        """Sets the value.

        Args:
            value: An int or float, also NaN and infinities.
            attributes: Mapping, as for start_span(); 128 are kept. Each distinct set is a series of its own.

        Never raises or blocks: what is no number is ignored, and counted in stats().

        Costs tens of nanoseconds without attributes, about a hundred with one.
        """
    def set(self, value: _Number, attributes: _Attributes | None = None) -> None:
        """As record().

        Args:
            value: An int or float, also NaN and infinities.
            attributes: As for record().

        Never raises or blocks, as record(), and costs the same.
        """
    def bind(self, attributes: _Attributes | None) -> BoundGauge:
        """A handle for these attributes, whose calls pay for the value only.

        Args:
            attributes: Mapping, as for start_span(), converted now; 128 are kept. None is the empty set.

        Returns:
            The handle. Make it once and keep it: what converts the attributes is paid here.

        Never raises: attributes that cannot be converted are left out, as in the instrument's own calls.

        Costs less than a microsecond, once; what it returns pays for no attributes again.
        """

@final
class BoundCounter:
    """An instrument with its attributes: a call pays for the value only. Made by bind(); works before init() and in
    every session. Keep it: each session keeps what it knows of up to 65,536 bound attribute sets.

    A call takes some tens of nanoseconds, and what it is given is judged as by the instrument: it never raises, blocks or
    loses a value.
    """
    def add(self, value: _Number) -> None:
        """Adds to the sum.

        Args:
            value: As for Counter.add().

        Costs tens of nanoseconds: no attributes to convert.
        """

@final
class BoundUpDownCounter:
    """An instrument with its attributes: a call pays for the value only. Made by bind(); works before init() and in
    every session. Keep it: each session keeps what it knows of up to 65,536 bound attribute sets.

    A call takes some tens of nanoseconds, and what it is given is judged as by the instrument: it never raises, blocks or
    loses a value.
    """
    def add(self, value: _Number) -> None:
        """Adds to the sum.

        Args:
            value: As for UpDownCounter.add().

        Costs tens of nanoseconds: no attributes to convert.
        """

@final
class BoundHistogram:
    """An instrument with its attributes: a call pays for the value only. Made by bind(); works before init() and in
    every session. Keep it: each session keeps what it knows of up to 65,536 bound attribute sets.

    A call takes some tens of nanoseconds, and what it is given is judged as by the instrument: it never raises, blocks or
    loses a value.
    """
    def record(self, value: _Number) -> None:
        """Records a value of the distribution.

        Args:
            value: As for Histogram.record().

        Costs tens of nanoseconds: no attributes to convert.
        """
    def record_many(self, values: _Numbers) -> None:
        """Records many values in one call.

        Args:
            values: As for Histogram.record_many().

        Costs one call and a nanosecond or two for each value.
        """

@final
class BoundGauge:
    """An instrument with its attributes: a call pays for the value only. Made by bind(); works before init() and in
    every session. Keep it: each session keeps what it knows of up to 65,536 bound attribute sets.

    A call takes some tens of nanoseconds, and what it is given is judged as by the instrument: it never raises, blocks or
    loses a value.
    """
    def record(self, value: _Number) -> None:
        """Sets the value.

        Args:
            value: As for Gauge.record().

        Costs tens of nanoseconds: no attributes to convert.
        """
    def set(self, value: _Number) -> None:
        """As record().

        Args:
            value: As for Gauge.record().

        Costs tens of nanoseconds: no attributes to convert.
        """

@final
class ObservableCounter:
    """An instrument whose values a callback gives at each collection. Made by a Meter; lives as long as the process."""

@final
class ObservableUpDownCounter:
    """An instrument whose values a callback gives at each collection. Made by a Meter; lives as long as the process."""

@final
class ObservableGauge:
    """An instrument whose values a callback gives at each collection. Made by a Meter; lives as long as the process."""

@final
class Observation:
    """One value of an observable instrument, as its callback gives it. As OpenTelemetry's Observation.

    Args:
        value: An int or float.
        attributes: Mapping, as for start_span(); default none.

    Costs about the creation of two small objects.
    """
    def __new__(cls, value: _Number, attributes: _Attributes | None = None) -> Self: ...
    @property
    def value(self) -> _Number:
        """The int or float."""
    @property
    def attributes(self) -> _Attributes | None:
        """The mapping, or None."""

@final
class Meter:
    """Makes instruments of one instrumentation scope. Made by get_meter(); works before init() and in every session.

    As OpenTelemetry's Meter. The same name twice gives the same instrument; when unit, description or anything else
    differs, that is counted in stats() and warned about once.
    """
    def counter(self, name: str, *, unit: str | None = None, description: str | None = None) -> Counter:
        """A sum that only grows: requests, tokens, bytes.

        Args:
            name: As OpenTelemetry names metrics ('http.server.requests'); any text that is not empty.
            unit: UCUM unit ('s', 'By', '{request}'); default none.
            description: For people; default none.

        Raises:
            ConfigError: an empty name.

        Costs a tenth of a microsecond or two: make it once and keep it.
        """
    def up_down_counter(
        self, name: str, *, unit: str | None = None, description: str | None = None
    ) -> UpDownCounter:
        """A sum: queue lengths, requests in flight.

        Args:
            name: As for counter().
            unit: As for counter().
            description: As for counter().

        Raises:
            ConfigError: an empty name.

        Costs a tenth of a microsecond or two: make it once and keep it.
        """
    def gauge(self, name: str, *, unit: str | None = None, description: str | None = None) -> Gauge:
        """A value that is set: temperatures, cache use.

        Args:
            name: As for counter().
            unit: As for counter().
            description: As for counter().

        Raises:
            ConfigError: an empty name.

        Costs a tenth of a microsecond or two: make it once and keep it.
        """
    def histogram(
        self,
        name: str,
        *,
        unit: str | None = None,
        description: str | None = None,
        boundaries: Iterable[float] | None = None,
        aggregation: Literal["explicit", "exponential"] | None = None,
        max_size: int = 160,
    ) -> Histogram:
        """A distribution of values: durations, sizes.

        Args:
            name: As for counter().
            unit: As for counter(). For 's' the default boundaries go from 0.005 to 10 seconds.
            description: As for counter().
            boundaries: Ascending finite numbers, each the last value of its bucket. Default OpenTelemetry's, 0 to 10,000.
            aggregation: 'explicit' (those boundaries) or 'exponential' (base-2 buckets that find their scale
                themselves); default that of Config(default_histogram=…).
            max_size: Exponential buckets on each side of zero, 2 to 16,384; default 160.

        Raises:
            ConfigError: an empty name, boundaries that do not ascend or are not finite, boundaries of an exponential
                histogram, an unknown aggregation, max_size out of range. TypeError: boundaries that are no numbers.

        Costs a tenth of a microsecond or two: make it once and keep it.
        """
    def observable_counter(
        self, name: str, callback: _Callback, *, unit: str | None = None, description: str | None = None
    ) -> ObservableCounter:
        """A growing total that is asked for at each collection: CPU time, bytes read.

        Args:
            name: As for counter(). The same instrument may be made several times, each with a callback of its own.
            callback: A function of no argument, or of one (an object whose `timeout_millis` says how long it may take).
                It returns a number, an Observation or a (value, attributes) pair, or yields or returns any number of these;
                OpenTelemetry's Observation will do too, and a generator that is sent that one argument.
            unit: As for counter().
            description: As for counter().

        Raises:
            ConfigError: an empty name. TypeError: callback is not callable, or needs other arguments.

        Callbacks run in a thread of ours, one after the other, just before a collection. One that raises, or takes longer
        than `timeout_millis`, costs its own data only: counted in stats(), warned about once. The instrument and its
        callback live as long as the process.
        """
    def observable_up_down_counter(
        self, name: str, callback: _Callback, *, unit: str | None = None, description: str | None = None
    ) -> ObservableUpDownCounter:
        """A total that is asked for at each collection: memory in use, items in a pool.

        Args:
            name: As for observable_counter().
            callback: As for observable_counter().
            unit: As for counter().
            description: As for counter().

        Raises:
            ConfigError: an empty name. TypeError: callback is not callable, or needs other arguments.

        Costs a tenth of a microsecond or two: make it once and keep it.
        """
    def observable_gauge(
        self, name: str, callback: _Callback, *, unit: str | None = None, description: str | None = None
    ) -> ObservableGauge:
        """A value that is asked for at each collection: temperatures, ages.

        Args:
            name: As for observable_counter().
            callback: As for observable_counter().
            unit: As for counter().
            description: As for counter().

        Raises:
            ConfigError: an empty name. TypeError: callback is not callable, or needs other arguments.

        Costs a tenth of a microsecond or two: make it once and keep it.
        """

class _HasValue(Protocol):
    @property
    def value(self) -> Any: ...

@final
class _RequestSteps:
    """Requests under way, for the thread that runs their scheduler. Private to pytracingx.integrations.

    Args:
        request: SpanTemplate of a request's span.
        step: SpanTemplate of the span of a request in a step.
        column: Attribute of the latter that says how many tokens.
        keys: Attributes that a request's span gets at its end, beside those of the template.
        recorder: StepRecorder of the steps themselves.
    """
    def __new__(
        cls,
        request: SpanTemplate,
        step: SpanTemplate,
        column: str,
        keys: Sequence[str],
        recorder: StepRecorder,
    ) -> Self: ...
    def __len__(self) -> int:
        """Return len(self)."""
    def begin(self, name: str, parent: _Context | None, start_time: int) -> bool:
        """A request begins, with its first step or before: draws its ids.

        Args:
            name: The engine's for it, a str.
            parent: As for start_span(), but None is a trace of its own.
            start_time: Integer Unix nanoseconds.

        Returns:
            Whether it is traced: there is a session, and no request of the name.
        """
    def step(
        self,
        batch: dict[str, int] | list[str],
        start_time: int,
        end_time: int | None = None,
        tokens: int | list[int] | None = None,
        scheduled_tokens: int | None = None,
        waiting: int | None = None,
        kv_cache_usage: float | None = None,
        preemptions: int | None = None,
        /,
    ) -> int:
        """A step of these requests is over: each that is known gets a span, until end_time, and the recorder a step, until now.

        Args:
            batch: Dict of names to numbers of tokens, or a list of names.
            start_time: Integer Unix nanoseconds.
            end_time: As start_time; None is now.
            tokens: With a list: of all, a list of each, or None.
            scheduled_tokens: As for StepRecorder.step(), and so are those that follow.
            waiting: As scheduled_tokens.
            kv_cache_usage: As scheduled_tokens.
            preemptions: As scheduled_tokens.

        Returns:
            How many spans of requests were recorded.
        """
    def end(self, name: str, error: bool, /, *values: object) -> bool:
        """A request has ended: records its span.

        Args:
            name: As for begin().
            error: Whether its status is error.
            values: Of the keys, in their order; None for none.

        Returns:
            Whether it was known.
        """
    def end_all(self) -> None:
        """Ends all, without attributes but the first key's: the name."""

@final
class _Observer:
    """What a worker of one session uses."""
    def attend(self) -> None:
        """From now on the exporter asks."""
    def wait(self) -> int | None:
        """Waits for a question; the number to answer with. None: the session has ended."""
    def record(self, instrument: Any, value: Any, attributes: Any) -> None:
        """Records what a callback gave."""
    def failed(self, warning: str | None) -> None:
        """A callback gave nothing usable. `warning`, if any, is told."""
    def answer(self, round: int) -> None:
        """All that there is has been recorded."""

@final
class _CredentialRequests:
    """The SLS sinks that one provider gives credentials to."""
    def wait(self) -> bool:
        """Waits until credentials are wanted. False: the session has ended."""
    def answer(
        self,
        ak_id: str,
        ak_secret: str,
        security_token: str | None = None,
        expires_unix_seconds: int | None = None,
    ) -> None:
        """The provider's answer."""
    def failed(self, error: str) -> None:
        """The provider gave nothing usable. The first time in a row it is told."""

def _credentials(sinks: Sequence[int]) -> _CredentialRequests | None:
    """Of the current session, for its SLS sinks with these numbers. None: it has no such sinks, or sends nothing."""

def _fetch(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    timeout_ms: int,
    proxy: bool,
) -> tuple[int, bytes]:
    """One HTTP request, for a provider: status and body of the answer, whatever it says. `proxy`: through the one that the
    environment names for the URL, if any. OSError: there is none, in one
    line without anything of the request but its host.
    """

def _observer() -> _Observer | None:
    """For the worker of the current session. None: nobody wants its metrics, it has a worker already, or there is no session."""

def _runs_callbacks() -> None:
    """From now on what this thread logs does not come back to us: it runs callbacks."""

def get_meter(name: str, version: str | None = None, schema_url: str | None = None) -> Meter:
    """A meter, whose metrics carry an instrumentation scope of their own.

    Args:
        name: Usually the instrumented library's name.
        version: Its version; default none.
        schema_url: Of the semantic conventions that its metrics follow; default none.

    Returns:
        A Meter. May be called before init(); it works in every session.

    Raises:
        TypeError: what is no str.

    Costs a tenth of a microsecond or two: make it once and keep it.
    """

@final
class Generation:
    """The life of one LLM request: a span with the GenAI attributes, measurements, and times of its tokens. Made by
    generation(); ends with end(), or by leaving `with` or `async with`.

    May be used and ended on any thread or task, one at a time; leaves the current context alone. No method raises for odd
    values; what cannot be kept is counted in stats(). After the end calls do nothing. Unreferenced and unended it is ended
    when collected, and counted as abandoned. Holds 8 bytes for each of the first 4,096 arrivals of tokens; from there on 23 KiB
    in all, and percentiles within 0.8 %.
    """
    @property
    def context(self) -> SpanContext:
        """The span's SpanContext: for children (parent=…) and headers; the same after the end. Without ids before init()."""
    @property
    def span_context(self) -> SpanContext:
        """The span's SpanContext: for children (parent=…) and headers; the same after the end. Without ids before init()."""
    @property
    def token_count(self) -> int:
        """Output tokens so far; 0 after the end."""
    def token(self) -> None:
        """An output token arrived, now.

        Costs one clock read and one store: no lock, no system call, no allocation but for amortised growth.
        """
    def tokens(self, count: SupportsIndex) -> None:
        """Some output tokens arrived at once, now.

        Args:
            count: How many, an int. They count as one arrival: percentiles of the time between tokens are those of the time
                between arrivals. 0 is nothing; what is negative or no int is ignored, and counted in stats().

        Costs tens of nanoseconds.
        """
    def tokens_at(self, times: Iterable[SupportsIndex]) -> None:
        """Output tokens arrived at these times, one each.

        Args:
            times: Integer Unix nanoseconds (see now() and from_monotonic()), as a buffer of 64-bit integers (array.array('q'), numpy,
                memoryview), which is fastest, or any iterable of int, in any order: beyond 4,096 tokens they are put in order within
                runs of 256. Anything else is counted and replaced by now.
        """
    def stage(
        self,
        name: str,
        start_time: int,
        end_time: int | None = None,
        attributes: _Attributes | None = None,
    ) -> None:
        """Records a stage of the request as a finished child span.

        Args:
            name: 'queue', 'tokenize', 'schedule', 'prefill', 'decode', 'detokenize', or any other.
            start_time: Integer Unix nanoseconds (see now() and from_monotonic()). Anything else is counted and replaced by now.
            end_time: As start_time; default now.
            attributes: As for start_span().
        """
    def end(
        self,
        finish_reason: str | None = None,
        *,
        attributes: _Attributes | None = None,
        end_time: int | None = None,
        error: BaseException | str | bool | None = None,
        input_tokens: SupportsIndex | None = None,
        output_tokens: SupportsIndex | None = None,
        prompt: object = None,
        completion: object = None,
    ) -> None:
        """Ends the request: feeds the metrics, ends the span.

        Args:
            finish_reason: Why the model stopped ('stop', 'length', 'tool_calls', 'abort').
            attributes: Mapping of further attributes, as for start_span(); they win over ours.
            end_time: Integer Unix nanoseconds (see now()); default now. One before the start counts as equal to it.
            error: An exception (its type is `error.type`, and it is recorded as an event), the class of the error as text, or True.
                asyncio.CancelledError is no error but leaves an event `cancelled`; KeyboardInterrupt, SystemExit and GeneratorExit
                leave nothing.
            input_tokens: Instead of what generation() was told.
            output_tokens: Instead of what was counted: of a client, whose chunks are not tokens.
            prompt: What was asked, of any type an attribute can have; looked at only if `capture_content` wants it. Then it goes,
                with `completion`, into a log record (INFO) of the logger 'pytracingx.llm.content', in the trace of this request.
            completion: What was answered.

        A second call does nothing.
        """
    def __enter__(self) -> Self:
        """The generation itself."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        """Ends the generation, with the exception as error if there is one, and lets it pass."""
    async def __aenter__(self) -> Self:
        """The generation itself, for `async with`."""
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        """As __exit__, for `async with`."""

@final
class StepRecorder:
    """Records the steps of one scheduler loop. Made by step_recorder(); works before init() and in every session.

    Feeds llm.engine.step.duration and llm.engine.step.gap (from the end of a step to the beginning of the next: what an
    accelerator waited for), and what a step is told: batch_size, requests_running, scheduled_tokens, kv_cache_usage,
    requests_waiting, preemptions, prefix_cache.queries, prefix_cache.hits and prefix_cache.hit_rate.
    """
    def step(
        self,
        *,
        batch_size: _Number | None = None,
        scheduled_tokens: _Number | None = None,
        kv_cache_usage: _Number | None = None,
        preemptions: _Number | None = None,
        prefix_cache_queries: _Number | None = None,
        prefix_cache_hits: _Number | None = None,
        waiting: _Number | None = None,
    ) -> Step:
        """A step, to be entered with `with`; what is not known yet can be set on it.

        Args:
            batch_size: Requests in the step.
            scheduled_tokens: Tokens scheduled in it.
            kv_cache_usage: Share of the KV cache in use, 0 to 1.
            preemptions: Requests put back in this step.
            prefix_cache_queries: Tokens looked up in the prefix cache in this step.
            prefix_cache_hits: Tokens found there.
            waiting: Requests that wait.

        Values that are no numbers, negative, NaN or infinite are ignored, and counted in stats(). A few tenths of a microsecond
        with its end.
        """
    def __call__(
        self,
        *,
        batch_size: _Number | None = None,
        scheduled_tokens: _Number | None = None,
        kv_cache_usage: _Number | None = None,
        preemptions: _Number | None = None,
        prefix_cache_queries: _Number | None = None,
        prefix_cache_hits: _Number | None = None,
        waiting: _Number | None = None,
    ) -> Step:
        """As step()."""
    def record(
        self,
        start_time: int,
        /,
        *,
        batch_size: _Number | None = None,
        scheduled_tokens: _Number | None = None,
        kv_cache_usage: _Number | None = None,
        preemptions: _Number | None = None,
        prefix_cache_queries: _Number | None = None,
        prefix_cache_hits: _Number | None = None,
        waiting: _Number | None = None,
    ) -> None:
        """Records a step that is over, in one call: for loops whose steps overlap, or begin and end in different places.

        Args:
            start_time: Integer Unix nanoseconds (see now()). Anything else is counted and replaced by now.
            batch_size: As for step().
            scheduled_tokens: As for step().
            kv_cache_usage: As for step().
            preemptions: As for step().
            prefix_cache_queries: As for step().
            prefix_cache_hits: As for step().
            waiting: As for step().

        Lasts until now; a step of the wall clock meanwhile counts. Half of what `with` costs.
        """
    def idle(self) -> None:
        """Nothing to run: what passes until the next step begins is no gap.

        Costs tens of nanoseconds.
        """

@final
class Step:
    """One step of a scheduler's loop. Made by calling a StepRecorder; begins and ends with `with`.

    An exception that leaves it sets status error and `error.type`; KeyboardInterrupt, SystemExit, GeneratorExit and
    asyncio.CancelledError do not count. Unreferenced and still entered, its span is ended when collected, and counted.
    """
    def set(
        self,
        *,
        batch_size: _Number | None = None,
        scheduled_tokens: _Number | None = None,
        kv_cache_usage: _Number | None = None,
        preemptions: _Number | None = None,
        prefix_cache_queries: _Number | None = None,
        prefix_cache_hits: _Number | None = None,
        waiting: _Number | None = None,
    ) -> None:
        """Sets what became known during the step; the last value of each counts.

        Args:
            batch_size: As for StepRecorder.step().
            scheduled_tokens: As for StepRecorder.step().
            kv_cache_usage: As for StepRecorder.step().
            preemptions: As for StepRecorder.step().
            prefix_cache_queries: As for StepRecorder.step().
            prefix_cache_hits: As for StepRecorder.step().
            waiting: As for StepRecorder.step().

        Costs a few tens of nanoseconds.
        """
    def __enter__(self) -> Self:
        """Begins the step; gives it back."""
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> Literal[False]:
        """Ends the step; lets exceptions pass."""

def generation(
    name: str = "chat",
    *,
    model: str | None = None,
    provider: str | None = None,
    input_tokens: SupportsIndex | None = None,
    parent: _Context | None = None,
    start_time: int | None = None,
    attributes: _Attributes | None = None,
    kind: _SpanKind = "server",
    operation: str | None = None,
    detail: _TokenDetail = "none",
    detail_if_slower_than_ms: _Number | None = None,
    semconv: _SemConv | None = None,
    capture_content: bool | float | None = None,
) -> Generation:
    """Begins the life of one LLM request.

    Args:
        name: The operation as the GenAI conventions call it ('chat', 'text_completion', 'embeddings'); the span is called
            '{name} {model}', or `name` alone where `operation` is given.
        model: The model that was asked for.
        provider: The provider as the conventions call it ('openai', 'anthropic'), or the engine's name.
        input_tokens: Tokens of the prompt, if known yet.
        parent: A Span, SpanContext or Generation instead of the current span.
        start_time: When the request arrived, in integer Unix nanoseconds (see now() and from_monotonic()); default now.
            Anything else is counted and replaced by now.
        attributes: Mapping of further attributes, as for start_span().
        kind: 'server' (default) where the model runs, 'client' for its callers, which choose the metrics; or any other kind.
        operation: Default `name`.
        detail: Times of single tokens on the span, at most 512: 'array' (microseconds since the start, one attribute), 'events'
            (as many as the sinks' limits allow), or 'none'. Of more tokens every second, fourth, … is kept; count and stride
            are attributes.
        detail_if_slower_than_ms: Keeps them only when the request took at least so long, or failed; 'array' unless `detail` says
            otherwise.
        semconv: 'latest' (OpenTelemetry's GenAI conventions of 1.42, status Development), 'legacy' (what vLLM and SGLang emit)
            or 'both'; default PYTRACINGX_GEN_AI_SEMCONV, else 'latest'.
        capture_content: Whether end(prompt=…, completion=…) records them: a bool, or the share of traces, 0 to 1. Default: off,
            unless OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says true (then PYTRACINGX_GEN_AI_CONTENT_SAMPLE_RATIO is
            the share). The environment is read once per process.

    Returns:
        A Generation. Before init() one that does nothing.

    Raises:
        ValueError: unknown kind, detail or semconv. Values of odd types do not raise: they degrade.

    The span has gen_ai.operation.name, gen_ai.provider.name, gen_ai.request.model, gen_ai.usage.input_tokens and output_tokens,
    gen_ai.response.finish_reasons, time_to_first_chunk, time_per_output_token, inter_token_latency.p50, .p99 and .max (seconds)
    and tokens_per_second. Whether or not it is sampled, it feeds gen_ai.server.time_to_first_token, time_per_output_token and
    inter_token_latency (if it succeeded), request.duration, input_tokens and output_tokens; of kind 'client'
    gen_ai.client.operation.time_to_first_chunk, time_per_output_chunk and duration; of both gen_ai.client.token.usage.
    Never blocks; two microseconds with its end, and some nanoseconds a token.
    """

def step_recorder(
    name: str,
    *,
    spans: SupportsIndex = 1,
    attributes: _Attributes | None = None,
    semconv: _SemConv | None = None,
) -> StepRecorder:
    """Records the steps of a scheduler's loop.

    Args:
        name: What a step is ('decode'): the name of its span, and the attribute `llm.engine.step.name`.
        spans: Every so many steps have a span, a root of its own that sinks sample as any other; 1 (default) is every step,
            0 none. Metrics are fed by all.
        attributes: Mapping of the metrics' attributes ({'engine': 0}), converted now.
        semconv: As for generation().

    Returns:
        A StepRecorder. May be called before init(); it works in every session. Make one for each loop and keep it.

    Raises:
        ValueError: unknown semconv, or spans that are not an integer from 0 on.

        step = ptx.step_recorder('decode')
        while True:
            with step(waiting=len(queue)) as s:
                batch = schedule()
                s.set(batch_size=len(batch), scheduled_tokens=batch.tokens)
                run(batch)

    Costs about half a microsecond, once.
    """
