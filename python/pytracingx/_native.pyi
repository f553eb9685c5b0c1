"""Types of the extension module; the classes' own docstrings have units, defaults and errors."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, final

from typing_extensions import Self, TypeAlias

__all__ = [
    "Config",
    "ConfigError",
    "MetricSink",
    "OtlpLogSink",
    "RawOtlp",
    "SlsLogSink",
    "TraceSink",
    "__version__",
    "_restore_config",
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
_Scalar: TypeAlias = str | bool | int | float
_ResourceValue: TypeAlias = _Scalar | Sequence[_Scalar] | None
_Sink: TypeAlias = TraceSink | MetricSink | OtlpLogSink | SlsLogSink

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
    sinks: list[dict[str, Any]]
    warnings: list[str]

class ConfigError(ValueError, RuntimeError): ...

@final
class RawOtlp:
    def __new__(cls, compression: _Compression | None = None) -> Self: ...
    def __getnewargs__(self) -> tuple[str | None]: ...

@final
class TraceSink:
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
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class MetricSink:
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
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class OtlpLogSink:
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
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class SlsLogSink:
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
        credentials: Callable[[], tuple[str, str, str | None]] | None = None,
        security_token: str | None = None,
        region: str | None = None,
        compression: Literal["lz4", "zstd", "deflate", "none"] = "lz4",
        batch_max_export: int = 4096,
        batch_schedule_delay_ms: int = 3000,
        timeout_ms: int | None = None,
        tags: Mapping[str, str] | None = None,
        attributes: Literal["flat", "json"] = "flat",
        field_names: Mapping[str, str] | Literal["0.3"] | None = None,
        max_queue_bytes: int | None = None,
        log_filter: str | None = None,
        sample_ratio: float = 1.0,
    ) -> Self: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Config:
    def __new__(
        cls,
        service_name: str,
        resource_attributes: Mapping[str, _ResourceValue] | None = None,
        console_output: bool | None = None,
        console_level: _Level | _ConsoleFormat = "info",
        console_format: _ConsoleFormat | Iterable[_Sink] = "compact",
        log_filter: str | None = None,
        sinks: Iterable[_Sink] | None = None,
        *,
        views: None = None,
        redact: None = None,
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
    def from_env() -> Config: ...
    def describe(self) -> _Description: ...

def _restore_config(keywords: dict[str, Any], extra: dict[str, Any]) -> Config: ...
