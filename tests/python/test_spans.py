"""What a span holds and sends: every argument and method, status, exceptions, times."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest
from recording import REMOTE_SPAN, REMOTE_TRACE, ROOT_FLAGS, Recording, current, ids

import pytracingx as ptx

T0 = 1_700_000_000_000_000_000
OK = {"code": "ok", "message": ""}


def error(message: str = "") -> dict[str, str]:
    return {"code": "error", "message": message}


def test_defaults(recording: Recording) -> None:
    """A span without arguments is an internal root."""
    before = ptx.now()
    with ptx.start_span("op") as span:
        assert span.is_recording()
    sent = recording.expect("op")
    assert ids(sent) == ids(span)
    assert before <= sent["start_time_unix_nano"] <= sent["end_time_unix_nano"] <= ptx.now()


@pytest.mark.parametrize("kind", ["internal", "SERVER", "Client", "producer", "cOnSuMeR"])
def test_kinds_in_any_case(recording: Recording, kind: str) -> None:
    """The kind is matched without regard to case."""
    ptx.start_span("op", None, kind).end()
    recording.expect("op", kind=kind.lower())


@pytest.mark.parametrize("kind", ["", "weird", None, 1, "server\0", b"server"])
def test_unknown_kinds_raise(recording: Recording, kind: Any) -> None:
    """An unknown kind is a ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=r"unknown span kind '.*', expected 'internal' \| 'server'"):
        ptx.start_span("op", kind=kind)
    with pytest.raises(ValueError, match="unknown span kind"):
        ptx.record_span("op", T0, T0, kind=kind)


def test_attributes_by_position(recording: Recording) -> None:
    """Name, attributes and kind may be given by position."""
    ptx.start_span("op", {"a": 1, "b": "x"}, "client").end()
    recording.expect("op", attributes={"a": 1, "b": "x"}, kind="client")


def test_parent_span(recording: Recording) -> None:
    """An explicit parent wins over the current span."""
    parent = ptx.start_span("parent", activate=False)
    with ptx.start_span("current"), ptx.start_span("op", parent=parent):
        pass
    recording.expect("op", parent)


def test_parent_context(recording: Recording) -> None:
    """A local SpanContext as parent: same trace, not marked remote."""
    parent = ptx.start_span("parent", activate=False)
    ptx.start_span("op", parent=parent.context).end()
    recording.expect("op", parent)


def test_constructed_local_parent(recording: Recording) -> None:
    """`is_remote=False` is believed: the child is not marked as having a remote parent."""
    for remote in (False, True):
        context = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, is_remote=remote)
        ptx.start_span(f"op{remote}", parent=context).end()
        recording.expect(
            f"op{remote}",
            trace_id=REMOTE_TRACE,
            parent_span_id=REMOTE_SPAN,
            flags=0x301 if remote else 0x101,
        )


@pytest.mark.parametrize("parent", [5, "x", object(), {}])
def test_odd_parents_start_a_trace(recording: Recording, parent: Any) -> None:
    """What is no context is no parent."""
    with ptx.start_span("current"):
        ptx.start_span("op", parent=parent).end()
    recording.expect("op")


def test_no_parent_is_the_current_one(recording: Recording) -> None:
    """`parent=None` means the current span."""
    with ptx.start_span("parent") as parent:
        ptx.start_span("op", parent=None, links=None, start_time=None).end()
    recording.expect("op", parent)


def link(of: Any, attributes: dict[str, Any] | None = None, flags: int = ROOT_FLAGS) -> dict[str, Any]:
    trace_id, span_id = ids(of)
    plain = {"trace_state": "", "flags": flags, "dropped_attributes_count": 0}
    return {"trace_id": trace_id, "span_id": span_id, "attributes": attributes or {}, **plain}


def test_links(recording: Recording) -> None:
    """Links are contexts, spans, or pairs with attributes; anything else is left out."""
    span = ptx.start_span("linked", activate=False)
    remote = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, "a=1,b=2")
    links = [remote, span, (remote, {"k": [1, 2]}), (span, None), None, 5, ("x", {}), ptx.current_span()]
    ptx.start_span("op", links=iter(links)).end()
    remote_link = {**link(remote, flags=0x301), "trace_state": "a=1,b=2"}
    expected = [remote_link, link(span), {**remote_link, "attributes": {"k": [1, 2]}}, link(span)]
    recording.expect("op", links=expected)


def test_links_that_raise(recording: Recording) -> None:
    """Links that cannot be iterated to the end keep those before."""
    span = ptx.start_span("linked", activate=False)

    def links() -> Any:
        yield span
        raise RuntimeError

    ptx.start_span("op", links=links()).end()
    ptx.start_span("none", links=5).end()  # type: ignore[arg-type]
    recording.expect("op", links=[link(span)])
    recording.expect("none")


def test_add_link(recording: Recording) -> None:
    """`add_link` takes a span or a context, with attributes."""
    with ptx.start_span("linked") as linked:
        pass
    with ptx.start_span("op") as span:
        span.add_link(linked)
        span.add_link(linked.context, attributes={"a": 1})
        span.add_link("nonsense")  # type: ignore[arg-type]
    recording.expect("op", links=[link(linked), link(linked, {"a": 1})])


def test_explicit_times(recording: Recording) -> None:
    """Start, end and event times are sent as given."""
    span = ptx.start_span("op", start_time=T0)
    span.add_event("e", {"k": 1}, T0 + 3)
    span.end(T0 + 5)
    event = {"name": "e", "time_unix_nano": T0 + 3, "attributes": {"k": 1}, "dropped_attributes_count": 0}
    recording.expect("op", start_time_unix_nano=T0, end_time_unix_nano=T0 + 5, events=[event])


def test_end_before_start(recording: Recording) -> None:
    """A negative duration is sent as zero."""
    ptx.start_span("op", start_time=T0).end(T0 - 5)
    recording.expect("op", start_time_unix_nano=T0, end_time_unix_nano=T0)


ODD_TIMES = [1.7e18, 1_700_000_000, time.time(), -5, 0, True, "now", 2**63, 10**40, object(), -(10**40)]


@pytest.mark.parametrize("odd", ODD_TIMES, ids=lambda value: type(value).__name__)
def test_unusable_times(recording: Recording, odd: Any) -> None:
    """What is no integer of Unix nanoseconds is counted, and now stands in."""
    before = ptx.now()
    span = ptx.start_span("op", start_time=odd)
    span.add_event("e", timestamp=odd)
    span.record_exception(ValueError(), timestamp=odd)
    span.end(odd)
    sent = recording.span("op")
    times = [sent["start_time_unix_nano"], *(e["time_unix_nano"] for e in sent["events"])]
    assert all(before <= moment <= ptx.now() for moment in [*times, sent["end_time_unix_nano"]])
    assert ptx.stats()["unusable_times"] == 4


def test_unusable_times_of_record_span(recording: Recording) -> None:
    """`record_span` replaces both of its times too."""
    before = ptx.now()
    ptx.record_span("op", 1.5, None)  # type: ignore[arg-type]
    sent = recording.expect("op")
    assert before <= sent["start_time_unix_nano"] <= sent["end_time_unix_nano"]
    assert ptx.stats()["unusable_times"] == 1


def test_from_monotonic(recording: Recording) -> None:
    """A monotonic stamp is converted to the Unix time it was taken at."""
    low, stamp, high = ptx.now(), time.monotonic(), ptx.now()
    assert low - 2_000_000 <= ptx.from_monotonic(stamp) <= high + 2_000_000
    assert all(isinstance(ptx.from_monotonic(x), int) for x in (float("nan"), 1e300, -1e300))


def test_not_activated(recording: Recording) -> None:
    """`activate=False` leaves the context alone, inside and after."""
    with ptx.start_span("op", activate=False):
        assert current() == (None, None)
        ptx.start_span("other").end()
    recording.expect("other")


@pytest.mark.parametrize(
    ("calls", "sent"),
    [
        ([("ok",)], OK),
        ([("OK", "ignored")], OK),
        ([("error",)], error()),
        ([("Error", "why")], error("why")),
        ([("unset",)], {"code": "unset", "message": ""}),
        ([("ok",), ("error", "late")], OK),
        ([("error", "early"), ("ok",)], OK),
        ([("error", "early"), ("unset",)], error("early")),
        ([("error", "early"), ("error",)], error()),
        ([("error", "early"), ("error", "late")], error("late")),
        ([("error", 5)], error("5")),
    ],
    ids=str,
)
def test_status(recording: Recording, calls: list[Any], sent: dict[str, str]) -> None:
    """`ok` is final, a description counts for error only, `unset` changes nothing."""
    with ptx.start_span("op") as span:
        for call in calls:
            span.set_status(*call)
    recording.expect("op", status=sent)


@pytest.mark.parametrize("code", ["bogus", "", None, 1])
def test_unknown_status_raises(recording: Recording, code: Any) -> None:
    """An unknown status code is a ValueError that says what is allowed."""
    with pytest.raises(ValueError, match=r"unknown status code '.*', expected 'ok' \| 'error'"):
        ptx.start_span("op").set_status(code)


@pytest.mark.parametrize("name", ["after", "", "nä\0me ⚡", "x" * 5000, "\ud800", 5])
def test_update_name(recording: Recording, name: Any) -> None:
    """The last name counts, whatever it is."""
    with ptx.start_span("before") as span:
        span.update_name("between")
        span.update_name(name)
    recording.expect(str(name).replace("\ud800", "\ufffd"))


def test_events(recording: Recording) -> None:
    """Events keep their order, names may repeat, and lie within the span."""
    with ptx.start_span("op") as span:
        span.add_event("e")
        span.add_event("f", {"step": 1, "list": ["a", "b"]})
        span.add_event("e", attributes={"none": None})
    sent = recording.span("op")
    names = [(event["name"], event["attributes"]) for event in sent["events"]]
    assert names == [("e", {}), ("f", {"step": 1, "list": ["a", "b"]}), ("e", {})]
    times = [event["time_unix_nano"] for event in sent["events"]]
    assert [sent["start_time_unix_nano"], *times, sent["end_time_unix_nano"]] == sorted(
        [sent["start_time_unix_nano"], *times, sent["end_time_unix_nano"]]
    )


def test_double_end(recording: Recording) -> None:
    """A second end changes nothing."""
    span = ptx.start_span("op", start_time=T0)
    span.end(T0 + 1)
    span.end(T0 + 2)
    with span:
        pass
    recording.expect("op", start_time_unix_nano=T0, end_time_unix_nano=T0 + 1)


def test_use_after_end(recording: Recording) -> None:
    """After the end nothing is kept and nothing raises; the ids stay."""
    span = ptx.start_span("op")
    before = ids(span)
    span.end()
    span.set_attribute("late", 1)
    span.set_attributes({"late": 1})
    span.set_status("error", "late")
    span.update_name("late")
    span.add_event("late")
    span.add_link(span)
    span.record_exception(ValueError("late"))
    assert not span.is_recording()
    assert ids(span) == ids(span.context) == before
    recording.expect("op")


def test_async_with(recording: Recording) -> None:
    """`async with` is `with`: it gives the span, ends it and records what leaves."""

    async def main() -> None:
        async with ptx.start_span("op") as span:
            assert isinstance(span, ptx.Span)
            assert current() == ids(span)
        with pytest.raises(ValueError, match="x"):
            async with ptx.start_span("bad"):
                raise ValueError("x")

    asyncio.run(main())
    recording.expect("op")
    assert recording.span("bad")["status"] == error("x")


def test_abandoned(recording: Recording) -> None:
    """An unreferenced, unended span is ended when collected, and counted."""
    span = ptx.start_span("op", {"a": 1}, activate=False)
    del span
    gc.collect()
    recording.expect("op", attributes={"a": 1})
    assert ptx.stats()["spans"]["abandoned"] == 1


def test_scopes(recording: Recording) -> None:
    """A tracer's spans carry its scope; the same scope twice is one."""
    a, again = ptx.get_tracer("lib", "1.2"), ptx.get_tracer("lib", "1.2")
    with a.start_span("a"), ptx.get_tracer("bare").start_span("b"), ptx.start_span("c"):
        again.record_span("d", T0, T0 + 1)
    expected = {
        "a": ("lib", "1.2"),
        "b": ("bare", ""),
        "c": ("pytracingx", ptx.__version__),
        "d": ("lib", "1.2"),
    }
    sent = {span["name"]: (span["scope"]["name"], span["scope"]["version"]) for span in recording.spans()}
    assert sent == expected


def test_record_span(recording: Recording) -> None:
    """Every argument of `record_span`; the result identifies the span, and the context is left alone."""
    with ptx.start_span("parent") as parent:
        context = ptx.record_span(
            "op", T0, T0 + 7, {"a": 1}, "server", links=[parent], status=("error", "why")
        )
        assert current() == ids(parent)
    sent = recording.expect(
        "op",
        parent,
        attributes={"a": 1},
        kind="server",
        links=[link(parent)],
        status=error("why"),
        start_time_unix_nano=T0,
        end_time_unix_nano=T0 + 7,
    )
    assert ids(sent) == ids(context)
    assert not context.is_remote


@pytest.mark.parametrize(
    ("status", "sent"),
    [("ok", OK), ("ERROR", error()), (("error", None), error()), (("ok", "x"), OK), (None, None)],
    ids=str,
)
def test_record_span_status(recording: Recording, status: Any, sent: Any) -> None:
    """A status is a code or a pair."""
    ptx.record_span("op", T0, T0, status=status)
    recording.expect("op", status=sent or {"code": "unset", "message": ""})


def test_new_context(recording: Recording) -> None:
    """A context drawn in advance is given to children first and to its span last."""
    with ptx.start_span("root") as root:
        context = ptx.new_context()
    ptx.record_span("child", T0, T0 + 1, parent=context)
    assert ids(ptx.record_span("op", T0, T0 + 2, span_context=context)) == ids(context)
    recording.expect("op", root)
    assert ids(recording.span("op")) == ids(context)
    recording.expect("child", trace_id=context.trace_id, parent_span_id=context.span_id)


def test_new_context_of_a_root(recording: Recording) -> None:
    """Without a parent a new context is a root, of a trace of its own, and is sent as one."""
    context = ptx.new_context()
    assert ids(context)[0] != ids(ptx.new_context())[0]
    ptx.record_span("op", T0, T0, span_context=context)
    recording.expect("op", trace_id=context.trace_id, span_id=context.span_id)


def test_new_context_of_a_remote_parent(recording: Recording) -> None:
    """A remote parent is inherited with its tracestate, and marked."""
    remote = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, "a=1")
    ptx.record_span("op", T0, T0, span_context=ptx.new_context(parent=remote))
    expected = {"trace_id": REMOTE_TRACE, "parent_span_id": REMOTE_SPAN, "trace_state": "a=1", "flags": 0x301}
    recording.expect("op", **expected)
