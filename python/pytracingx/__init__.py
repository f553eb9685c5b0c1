"""OpenTelemetry traces, metrics and logs at minimal cost, from one native exporter thread."""

from __future__ import annotations

from ._native import (
    Config,
    ConfigError,
    MetricSink,
    OtlpLogSink,
    RawOtlp,
    SlsLogSink,
    TraceSink,
    __version__,
)

__all__ = [
    "Config",
    "ConfigError",
    "MetricSink",
    "OtlpLogSink",
    "RawOtlp",
    "SlsLogSink",
    "TraceSink",
    "__version__",
]
