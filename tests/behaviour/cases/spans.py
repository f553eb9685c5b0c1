"""The life of a span, and which one is current."""

from __future__ import annotations

import contextvars
import gc

from trial import NO_CONTEXT, Trial, case


@case()
def span_defaults(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op") as span:
        t.note("is_recording", span.is_recording())
        t.note("trace_id_is_hex", [len(span.trace_id()), span.trace_id() == span.trace_id().lower()])
        t.note("span_id_is_hex", [len(span.span_id()), span.span_id() == span.span_id().lower()])
    with ptx.start_span(""):
        pass
    with ptx.start_span("näme ⚡"):
        pass
    ptx.shutdown()


@case()
def span_kinds(t: Trial) -> None:
    ptx = t.start()
    for kind in ("internal", "server", "client", "producer", "consumer"):
        with ptx.start_span(f"kind_{kind}", kind=kind):
            pass
    for kind in ("SERVER", "Client", "", "weird", None, 1):
        t.attempt(f"kind_{kind!r}", lambda kind=kind: ptx.start_span("odd", kind=kind).end())
    ptx.shutdown()


@case()
def status_codes(t: Trial) -> None:
    ptx = t.start()
    for name, calls in {
        "ok": [("ok",)],
        "ok_described": [("ok", "ignored")],
        "error": [("error",)],
        "error_described": [("error", "why")],
        "unset": [("unset",)],
        "ok_then_error": [("ok",), ("error", "late")],
        "error_then_ok": [("error", "early"), ("ok",)],
        "error_then_unset": [("error", "early"), ("unset",)],
        "error_then_error": [("error", "early"), ("error", "late")],
    }.items():
        with ptx.start_span(name) as span:
            for call in calls:
                span.set_status(*call)
    with ptx.start_span("odd") as span:
        for code in ("OK", "Error", "bogus", "", None, 1):
            t.attempt(f"code_{code!r}", lambda code=code: span.set_status(code))
    ptx.shutdown()


@case()
def update_name(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("before") as span:
        span.update_name("between")
        span.update_name("after")
    ptx.shutdown()


@case()
def events(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op") as span:
        span.add_event("plain")
        span.add_event("with", {"step": 1, "text": "x"})
        span.add_event("plain")
    ptx.shutdown()


@case()
def use_after_end(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op")
    ids = (span.trace_id(), span.span_id())
    span.end()
    t.note("is_recording", span.is_recording())
    t.note("ids_stay", (span.trace_id(), span.span_id()) == ids)
    t.attempt("set_attribute", lambda: span.set_attribute("late", 1))
    t.attempt("set_status", lambda: span.set_status("error", "late"))
    t.attempt("update_name", lambda: span.update_name("late"))
    t.attempt("add_event", lambda: span.add_event("late"))
    t.attempt("record_exception", lambda: span.record_exception(ValueError("late")))
    t.attempt("unknown_status", lambda: span.set_status("bogus"))
    t.attempt("end", span.end)
    t.attempt("enter", lambda: span.__enter__() is span)
    t.attempt("exit", lambda: span.__exit__(None, None, None))
    ptx.shutdown()


@case()
def end_inside_with(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("outer") as outer:
        with ptx.start_span("inner") as inner:
            inner.end()
            t.note_current("after_end", outer=outer, inner=inner)
        t.note_current("after_with", outer=outer, inner=inner)
    ptx.shutdown()


@case()
def entered_twice(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op")
    with span:
        pass

    def again() -> None:
        with span:
            t.note_current("inside", op=span)

    t.attempt("again", again)
    ptx.shutdown()


@case()
def nesting(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("parent") as parent:
        t.note_current("in_parent", parent=parent)
        with ptx.start_span("child") as child:
            t.note_current("in_child", parent=parent, child=child)
            t.note("one_trace", child.trace_id() == parent.trace_id())
        t.note_current("after_child", parent=parent, child=child)
        with ptx.start_span("sibling"):
            pass
    t.note_current("after_parent", parent=parent)
    with ptx.start_span("unrelated"):
        pass
    ptx.shutdown()


@case()
def started_without_with(t: Trial) -> None:
    ptx = t.start()
    a = ptx.start_span("a")
    b = ptx.start_span("b")
    t.note_current("current", a=a, b=b)
    b.end()
    t.note_current("after_b", a=a, b=b)
    a.end()
    t.note_current("after_a", a=a, b=b)
    ptx.shutdown()


@case()
def ended_out_of_order(t: Trial) -> None:
    ptx = t.start()
    a = ptx.start_span("a")
    b = ptx.start_span("b")
    t.attempt("end_a", a.end)
    t.note_current("after_a", a=a, b=b)
    with ptx.start_span("c"):
        pass
    t.attempt("end_b", b.end)
    t.note_current("after_b", a=a, b=b)
    ptx.shutdown()


@case()
def never_ended(t: Trial) -> None:
    ptx = t.start()
    kept = ptx.start_span("kept")
    ptx.shutdown()
    t.note("is_recording", kept.is_recording())


@case()
def dropped_unended(t: Trial) -> None:
    ptx = t.start()

    def leak() -> None:
        ptx.start_span("leaked")

    contextvars.copy_context().run(leak)
    gc.collect()
    t.note_current("current")
    ptx.shutdown()


@case()
def dropped_unended_while_current(t: Trial) -> None:
    ptx = t.start()
    ptx.start_span("leaked")
    gc.collect()
    t.note("something_is_current", ptx.current_trace_context() != NO_CONTEXT)
    with ptx.start_span("next"):
        pass
    ptx.shutdown()
