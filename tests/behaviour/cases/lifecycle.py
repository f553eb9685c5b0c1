"""init, force_flush, shutdown, and calls outside of a session."""

from __future__ import annotations

import os

from trial import REMOTE, Trial, case


@case()
def before_init(t: Trial) -> None:
    ptx = t.ptx
    t.attempt("force_flush", ptx.force_flush)
    t.attempt("shutdown", ptx.shutdown)
    t.note("current", ptx.current_trace_context())
    span = t.attempt("start_span", lambda: ptx.start_span("early", {"a": 1}, "server"))
    if span is None:
        return
    t.note("is_recording", span.is_recording())
    t.note("has_ids", [span.trace_id() is not None, span.span_id() is not None])
    t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
    t.attempt("set_status", lambda: span.set_status("ok"))
    t.attempt("add_event", lambda: span.add_event("e"))
    t.attempt("record_exception", lambda: span.record_exception(ValueError("v")))
    t.attempt("unknown_kind", lambda: ptx.start_span("early", kind="weird"))
    headers: dict[str, str] = {}
    t.attempt("inject", lambda: ptx.inject_headers(headers))
    t.note("injected", sorted(headers))
    t.attempt("end", span.end)
    t.attempt("extract", lambda: ptx.extract_headers({"traceparent": REMOTE}).restore())
    t.attempt("init_afterwards", lambda: ptx.init(t.config()))
    with ptx.start_span("late"):
        pass
    ptx.shutdown()


@case()
def return_values(t: Trial) -> None:
    ptx = t.ptx
    t.attempt("init", lambda: ptx.init(t.config()))
    t.attempt("init_again", lambda: ptx.init(t.config()))
    span = t.attempt("start_span", lambda: ptx.start_span("op"))
    t.note("enter_is_the_span", span.__enter__() is span)
    t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
    t.attempt("set_status", lambda: span.set_status("unset"))
    t.attempt("update_name", lambda: span.update_name("op2"))
    t.attempt("add_event", lambda: span.add_event("e"))
    t.attempt("record_exception", lambda: span.record_exception(ValueError("v")))
    t.attempt("exit", lambda: span.__exit__(None, None, None))
    t.attempt("end_again", span.end)
    extracted = t.attempt("extract_headers", lambda: ptx.extract_headers({}))
    t.note("extracted_enter_is_itself", extracted.__enter__() is extracted)
    t.attempt("extracted_exit", lambda: extracted.__exit__(None, None, None))
    t.attempt("restore_after_exit", extracted.restore)
    t.attempt("inject_headers", lambda: ptx.inject_headers({}))
    t.attempt("force_flush", ptx.force_flush)
    t.attempt("force_flush_again", ptx.force_flush)
    t.attempt("shutdown", ptx.shutdown)
    t.attempt("shutdown_again", ptx.shutdown)
    t.attempt("force_flush_after_shutdown", ptx.force_flush)


@case(only="0.2.0")
def is_initialized(t: Trial) -> None:
    ptx = t.ptx
    t.note("before", ptx.is_initialized())
    t.start()
    t.note("between", ptx.is_initialized())
    ptx.shutdown()
    t.note("after", ptx.is_initialized())


@case()
def init_with_something_else(t: Trial) -> None:
    t.attempt("text", lambda: t.ptx.init("svc"))


@case()
def after_shutdown(t: Trial) -> None:
    ptx = t.start()
    held = ptx.start_span("held_over_shutdown")
    ptx.shutdown()
    t.attempt("end_held", held.end)
    span = t.attempt("start_span", lambda: ptx.start_span("late"))
    if span is None:
        return
    t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
    t.attempt("end", span.end)
    t.attempt("extract", lambda: ptx.extract_headers({"traceparent": REMOTE}).restore())
    headers: dict[str, str] = {}
    t.attempt("inject", lambda: ptx.inject_headers(headers))
    t.note_current("current")


@case()
def init_again_after_shutdown(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("first"):
        pass
    ptx.shutdown()
    t.attempt("init", lambda: ptx.init(t.config(service_name="svc2")))
    with ptx.start_span("second"):
        pass
    t.attempt("shutdown", ptx.shutdown)


@case()
def exit_without_shutdown(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op"):
        pass


@case()
def flush_sends(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("flushed"):
        pass
    ptx.force_flush()
    os._exit(0)


@case()
def dead_endpoint(t: Trial) -> None:
    ptx = t.ptx
    sink = ptx.TraceSink(
        "http://127.0.0.1:1/v1/traces", "http/protobuf", timeout_ms=300, max_export_timeout_ms=500
    )
    ptx.init(t.config(sinks=[sink]))
    with ptx.start_span("op"):
        pass
    t.attempt("force_flush", ptx.force_flush)
    t.attempt("shutdown", ptx.shutdown)
