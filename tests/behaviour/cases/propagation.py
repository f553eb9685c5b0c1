"""W3C headers in and out."""

from __future__ import annotations

import contextvars
from typing import Any

from trial import NO_CONTEXT, REMOTE, UNSAMPLED, Trial, case


@case()
def inject(t: Trial) -> None:
    ptx = t.start()
    empty: dict[str, str] = {}
    ptx.inject_headers(empty)
    t.note("without_a_span", empty)
    with ptx.start_span("op") as span:
        headers = {"kept": "1"}
        ptx.inject_headers(headers)
        t.note("keys", sorted(headers))
        t.note("as_specified", headers["traceparent"][:53] == f"00-{span.trace_id()}-{span.span_id()}-")
        t.note("tracestate", headers.get("tracestate"))
        t.attempt("into_none", lambda: ptx.inject_headers(None))
        t.attempt("into_a_list", lambda: ptx.inject_headers([]))
    ptx.shutdown()


@case()
def extract(t: Trial) -> None:
    ptx = t.start()
    with ptx.extract_headers({"traceparent": REMOTE, "tracestate": "a=1,b=2"}) as extracted:
        t.note("type", extracted)
        t.note("current", ptx.current_trace_context())
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        t.note("injected", headers)
        with ptx.start_span("server", kind="server"):
            inner: dict[str, str] = {}
            ptx.inject_headers(inner)
            t.note("tracestate_of_child", inner.get("tracestate"))
    t.note_current("after")
    ptx.shutdown()


@case()
def extract_without_with(t: Trial) -> None:
    ptx = t.start()
    extracted = ptx.extract_headers({"traceparent": REMOTE})
    t.note("active_at_once", ptx.current_trace_context()["trace_id"])
    with ptx.start_span("server"):
        pass
    t.attempt("restore", extracted.restore)
    t.note_current("after")
    t.attempt("restore_again", extracted.restore)
    t.attempt("restore_context_of_it", lambda: ptx.restore_context(extracted))
    ptx.shutdown()


@case()
def extract_invalid(t: Trial) -> None:
    ptx = t.start()
    for name, value in {
        "missing": None,
        "empty": "",
        "words": "not a traceparent",
        "zero_trace": "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "zero_span": "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "upper_case": REMOTE.upper(),
        "version_ff": "ff" + REMOTE[2:],
        "future_version": "cc" + REMOTE[2:] + "-what",
        "version_00_longer": REMOTE + "-what",
        "short": REMOTE[:-1],
        "spaces": f" {REMOTE} ",
    }.items():
        carrier = {} if value is None else {"traceparent": value}
        with ptx.start_span(f"around_{name}"), ptx.extract_headers(carrier):
            current = ptx.current_trace_context()
            if current == NO_CONTEXT:
                t.note(name, "none")
            else:
                t.note(name, "remote" if current["trace_id"] == REMOTE[3:35] else "around")
            with ptx.start_span(f"under_{name}"):
                pass
    ptx.shutdown()


@case()
def extract_carriers(t: Trial) -> None:
    ptx = t.start()

    def trace_of(carrier: Any) -> Any:
        with ptx.extract_headers(carrier):
            return ptx.current_trace_context()["trace_id"]

    t.attempt("capitals", lambda: trace_of({"Traceparent": REMOTE}))
    t.attempt("upper_case", lambda: trace_of({"TRACEPARENT": REMOTE}))
    t.attempt("bytes", lambda: trace_of({"traceparent": REMOTE.encode()}))
    t.attempt("pairs", lambda: trace_of([("traceparent", REMOTE)]))
    t.attempt("none", lambda: trace_of(None))
    t.attempt("bad_tracestate", lambda: trace_of({"traceparent": REMOTE, "tracestate": "=,=,"}))
    ptx.shutdown()


@case()
def extract_unsampled(t: Trial) -> None:
    ptx = t.start()
    with ptx.extract_headers({"traceparent": UNSAMPLED}), ptx.start_span("unsampled") as span:
        t.note("is_recording", span.is_recording())
        t.note("continues_the_trace", span.trace_id() == UNSAMPLED[3:35])
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        t.note("flags", headers["traceparent"][-2:])
    ptx.shutdown()


@case()
def restore_context(t: Trial) -> None:
    ptx = t.start()
    other = contextvars.ContextVar("other")
    t.attempt("none", lambda: ptx.restore_context(None))
    t.attempt("text", lambda: ptx.restore_context("token"))
    t.attempt("foreign_token", lambda: ptx.restore_context(other.set(1)))
    ptx.shutdown()


@case()
def restored_before_the_span_ends(t: Trial) -> None:
    ptx = t.start()
    extracted = ptx.extract_headers({"traceparent": REMOTE})
    span = ptx.start_span("server")
    t.attempt("restore", extracted.restore)
    t.note_current("after_restore", server=span)
    t.attempt("end", span.end)
    t.note("after_end", ptx.current_trace_context())
    ptx.shutdown()
