"""What there is to import, and how it may be called."""

from __future__ import annotations

from trial import Trial, case


@case()
def surface(t: Trial) -> None:
    ptx = t.ptx
    t.note("at_least_all", sorted(ptx.__all__))
    t.note("version_is_text", isinstance(ptx.__version__, str) and bool(ptx.__version__))
    for name in (
        "Config",
        "TraceSink",
        "MetricSink",
        "OtlpLogSink",
        "SlsLogSink",
        "RawOtlp",
        "Span",
        "ExtractedContext",
    ):
        t.note(f"at_least_{name}", [key for key in dir(getattr(ptx, name)) if not key.startswith("_")])


@case()
def keyword_names(t: Trial) -> None:
    ptx = t.ptx
    ptx.init(config=t.config())
    span = ptx.start_span(name="op", attributes={"a": 1}, kind="client")
    span.set_attribute(key="k", value=2)
    span.set_status(code="error", description="d")
    span.update_name(name="renamed")
    span.add_event(name="e", attributes={"x": 1})
    span.record_exception(exception=ValueError("v"), escaped=True)
    carrier: dict[str, str] = {}
    ptx.inject_headers(carrier=carrier)
    extracted = ptx.extract_headers(carrier=carrier)
    extracted.restore()
    span.end()
    ptx.shutdown()


@case()
def positional_arguments(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op", {"a": 1}, "server")
    span.set_status("error", "why")
    span.add_event("e", {"x": 1})
    span.record_exception(ValueError("v"), True)
    span.end()
    ptx.shutdown()
