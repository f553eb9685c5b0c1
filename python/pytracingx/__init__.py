"""OpenTelemetry traces, metrics and logs at minimal cost, from one native exporter thread.

    import pytracingx as ptx

    ptx.init(ptx.Config("my-service", sinks=[ptx.TraceSink("http://localhost:4318")]))
    with ptx.start_span("work", {"items": 3}):
        ...

After ``init`` nothing that records raises or blocks; what is lost is counted in ``stats()``.
"""

from __future__ import annotations

from ._native import (
    BoundCounter,
    BoundGauge,
    BoundHistogram,
    BoundUpDownCounter,
    Config,
    ConfigError,
    Counter,
    ExtractedContext,
    Gauge,
    Generation,
    Histogram,
    Logger,
    Meter,
    MetricSink,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    Observation,
    OtlpLogSink,
    ParentSet,
    RawOtlp,
    Redact,
    SlsLogSink,
    Span,
    SpanContext,
    SpanTemplate,
    Step,
    StepRecorder,
    Tracer,
    TraceSink,
    UpDownCounter,
    View,
    __version__,
    baggage,
    check,
    current_span,
    current_trace_context,
    emit_log_record,
    extract_context,
    extract_headers,
    force_flush,
    from_monotonic,
    generation,
    get_baggage,
    get_logger,
    get_meter,
    get_tracer,
    init,
    inject_headers,
    is_initialized,
    new_context,
    now,
    parent_set,
    record_span,
    record_spans,
    restore_context,
    shutdown,
    start_span,
    stats,
    step_recorder,
    use_span,
)

TYPE_CHECKING = False  # type checkers take it for typing's, which would cost every process 2 MB
if TYPE_CHECKING:
    from . import aliyun
    from ._sigterm import install_sigterm_flush
    from ._traced import traced
else:

    def __getattr__(name: str) -> object:
        # Imported when first used: `traced` needs `inspect`, which takes longer than all the rest.
        if name == "traced":
            from ._traced import traced as value
        elif name == "install_sigterm_flush":
            from ._sigterm import install_sigterm_flush as value
        elif name == "aliyun":
            import importlib

            value = importlib.import_module(".aliyun", __name__)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


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
    "__version__",
    "aliyun",
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
    "install_sigterm_flush",
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
    "traced",
    "use_span",
]
