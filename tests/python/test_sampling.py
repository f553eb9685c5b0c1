"""Which sink gets which span, how much of it, and what holds over several sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import OtlpServer
from recording import REMOTE, REMOTE_TRACE, Recording, current, ids

import pytracingx as ptx


class Untouchable:
    """Fails the test when its text is asked for."""

    touched = 0

    def __str__(self) -> str:
        Untouchable.touched += 1
        return "touched"


@pytest.fixture
def other() -> Iterator[OtlpServer]:
    """A second collector."""
    server = OtlpServer()
    yield server
    server.close()


def names(server: OtlpServer) -> list[str]:
    assert ptx.force_flush()
    return sorted(span["name"] for span in server.spans)


def use_every_method(span: ptx.Span) -> None:
    """Give a span values whose text must not be asked for."""
    untouchable: Any = Untouchable()
    span.set_attribute("k", untouchable)
    span.set_attributes({"k": untouchable})
    span.add_event("e", {"k": untouchable})
    span.add_link(span, {"k": untouchable})
    span.record_exception(ValueError(untouchable), attributes={"k": untouchable})


def test_sampled_out(recording: Recording) -> None:
    """A span that nobody wants has ids, propagates them with flag 0, and reads no attribute."""
    recording.restart(sampler="always_off")
    Untouchable.touched = 0
    with ptx.start_span("op", {"k": Untouchable()}, links=[Untouchable()]) as span:
        use_every_method(span)
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        with ptx.start_span("child") as child:
            assert child.trace_id() == span.trace_id()
        ptx.record_span("recorded", ptx.now(), ptx.now(), {"k": Untouchable()}, links=[Untouchable()])
    assert not span.is_recording()
    assert headers["traceparent"] == f"00-{span.trace_id()}-{span.span_id()}-02"
    assert Untouchable.touched == 0
    assert recording.spans() == []


def test_no_trace_sink(recording: Recording) -> None:
    """Without a trace sink ids are drawn and propagated all the same, so that logs correlate."""
    ptx.shutdown()
    ptx.init(ptx.Config("svc", sinks=[], console_output=False))
    Untouchable.touched = 0
    with ptx.start_span("op", {"k": Untouchable()}) as span:
        use_every_method(span)
        assert current() == ids(span)
        assert int(span.trace_id(), 16)
        assert ptx.new_context().trace_id == span.trace_id()
    assert Untouchable.touched == 0


def test_before_init_nothing_is_read(recording: Recording) -> None:
    """Before `init` calls are no-ops that read nothing."""
    ptx.shutdown()
    Untouchable.touched = 0
    with ptx.start_span("op", {"k": Untouchable()}) as span:
        use_every_method(span)
        assert span.trace_id() is None
        assert current() == (None, None)
    assert not ptx.record_span("op", 1, 2, {"k": Untouchable()}).is_valid
    assert not ptx.new_context().is_valid
    assert Untouchable.touched == 0


def test_two_sinks_with_samplers_of_their_own(recording: Recording, other: OtlpServer) -> None:
    """Each sink gets the traces that its sampler wants, whole; the propagated flag is the union."""
    recording.restart(recording.sink(), ptx.TraceSink(other.endpoint, "http", sampler="always_off"))
    with ptx.start_span("root") as root, ptx.start_span("child"):
        assert ptx.current_span().context.trace_flags & 1
    assert root.is_recording() is False
    assert (names(recording.collector), names(other)) == (["child", "root"], [])


def test_ratio_sinks_agree_with_a_trace(recording: Recording, other: OtlpServer) -> None:
    """A half-ratio sink gets whole traces: decided at the root, inherited by children and by drawn contexts."""
    recording.restart(recording.sink(), ptx.TraceSink(other.endpoint, "http", sampler_arg=0.5))
    for _ in range(64):
        with ptx.start_span("root"):
            context = ptx.new_context()
            with ptx.start_span("child"):
                pass
            ptx.record_span("drawn", ptx.now(), ptx.now(), span_context=context)
    got = names(other)
    assert len(names(recording.collector)) == 3 * 64
    assert 0 < got.count("root") < 64
    assert got.count("root") == got.count("child") == got.count("drawn")
    assert len({span["trace_id"] for span in other.spans}) == got.count("root")


@pytest.mark.parametrize(
    ("sampler", "wanted"),
    [
        ("always_on", [True, True]),
        ("always_off", [False, False]),
        ("parent_based_traceid_ratio", [False, True]),
        ("parentbased_always_on", [False, True]),
        ("parentbased_always_off", [False, True]),
        ("parentbased_traceidratio", [False, True]),
    ],
)
def test_remote_flag(recording: Recording, sampler: Any, wanted: list[bool]) -> None:
    """Parent-based samplers follow a remote parent's flag, whatever they would say of a root; others do not."""
    recording.restart(sampler=sampler)
    for flag in (0, 1):
        remote = ptx.extract_headers({"traceparent": f"{REMOTE[:-2]}{flag:02x}"})
        with remote, ptx.start_span(f"op{flag}") as span:
            assert span.is_recording() is wanted[flag]
            assert span.context.trace_flags == int(wanted[flag])
            assert span.trace_id() == REMOTE_TRACE
    assert names(recording.collector) == [f"op{flag}" for flag in (0, 1) if wanted[flag]]


def test_limits(recording: Recording) -> None:
    """Attributes, events, links, and attributes of either, are cut to the first, and the rest is counted."""
    recording.restart(
        max_attributes_per_span=2,
        max_events_per_span=3,
        max_links_per_span=1,
        max_attributes_per_event=1,
        max_attributes_per_link=2,
    )
    five = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    with ptx.start_span("op", five) as span:
        span.set_attribute("f", 6)
        span.set_attribute("a", "again")
        for _ in range(5):
            span.add_event("e", five)
            span.add_link(ptx.SpanContext(REMOTE_TRACE, "1" * 16), five)
    sent = recording.span("op")
    assert sent["attributes"] == {"a": "again", "b": 2}
    counts = [sent[f"dropped_{what}_count"] for what in ("attributes", "events", "links")]
    assert counts == [4, 2, 4]
    assert [event["attributes"] for event in sent["events"]] == [{"a": 1}] * 3
    assert [event["dropped_attributes_count"] for event in sent["events"]] == [4] * 3
    assert [(ln["attributes"], ln["dropped_attributes_count"]) for ln in sent["links"]] == [
        ({"a": 1, "b": 2}, 3)
    ]


def test_limits_of_two_sinks(recording: Recording, other: OtlpServer) -> None:
    """Each sink's own limits cut what it gets: the first ones stay, though one of them was set again."""
    small = ptx.TraceSink(
        other.endpoint, "http", max_attributes_per_span=2, max_events_per_span=0, max_links_per_span=1
    )
    recording.restart(recording.sink(max_attributes_per_span=4), small)
    with ptx.start_span("op", {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}) as span:
        span.set_attribute("a", "a longer value")
        for _ in range(2):
            span.add_event("e")
            span.add_link(ptx.SpanContext(REMOTE_TRACE, "1" * 16))
    large = recording.span("op")
    assert (large["attributes"], large["dropped_attributes_count"]) == (
        {"a": "a longer value", "b": 2, "c": 3, "d": 4},
        1,
    )
    cut = other.span("op")
    assert cut["attributes"] == {"a": "a longer value", "b": 2}
    counts = [cut[f"dropped_{what}_count"] for what in ("attributes", "events", "links")]
    assert counts == [3, 2, 1]


def test_default_limits(recording: Recording) -> None:
    """128 of each."""
    many = {f"k{n}": n for n in range(130)}
    with ptx.start_span("op", many) as span:
        for _ in range(129):
            span.add_event("e", many)
            span.add_link(span, many)
    sent = recording.span("op")
    assert list(sent["attributes"]) == list(many)[:128]
    assert [sent[f"dropped_{what}_count"] for what in ("attributes", "events", "links")] == [2, 1, 1]
    assert all(len(entry["attributes"]) == 128 for entry in [*sent["events"], *sent["links"]])


def test_value_length(recording: Recording) -> None:
    """Text is cut in characters, also inside lists; bytes in bytes; numbers are not."""
    ptx.shutdown()
    ptx.init(ptx.Config("svc", sinks=[recording.sink()], max_attribute_value_length=3))
    values = {
        "text": "äöüß",
        "list": ["abcd", 12345],
        "bytes": b"abcd",
        "int": 12345,
        "map": {"long key": "abcd"},
    }
    with ptx.start_span("op", values) as span:
        span.add_event("an event", values)
    expected = {
        "text": "äöü",
        "list": ["abc", 12345],
        "bytes": {"base64": "YWJj"},
        "int": 12345,
        "map": {"long key": "abc"},
    }
    sent = recording.span("op")
    assert sent["attributes"] == expected
    assert [(event["name"], event["attributes"]) for event in sent["events"]] == [("an event", expected)]


def test_handles_work_in_every_session(recording: Recording) -> None:
    """A tracer made before `init`, or under an earlier session, works in the next."""
    ptx.shutdown()
    tracer = ptx.get_tracer("lib", "1")
    tracer.start_span("never").end()
    for session in range(3):
        recording.restart()
        ptx.get_tracer(f"another{session}").start_span("x").end()
        tracer.start_span(f"op{session}").end()
        recording.expect(f"op{session}", scope={"name": "lib", "version": "1"})


def test_a_span_of_an_earlier_session(recording: Recording) -> None:
    """Ended under another session it restores the context and is counted; nothing of it is sent."""
    span = ptx.start_span("old")
    recording.restart()
    assert not span.is_recording()
    span.set_attribute("a", 1)
    span.end()
    assert current() == (None, None)
    assert recording.spans() == []
    assert ptx.stats()["spans"]["dropped"] == {"other_session": 1}


def test_a_parent_of_an_earlier_session(recording: Recording, other: OtlpServer) -> None:
    """Its children continue the trace; which of the new sinks want them is decided by its flag."""
    recording.restart(ptx.TraceSink(other.endpoint, "http", sampler="always_off"), recording.sink())
    with ptx.start_span("old") as old:
        recording.restart()
        ptx.start_span("child").end()
    recording.expect("child", old)


def test_names_outlive_a_session(recording: Recording) -> None:
    """The caches behind names and keys belong to one session: the next sends the same texts."""
    for session in range(3):
        recording.restart()
        for n in range(50):
            ptx.start_span("op", {f"key{session}": n, "shared": n}).end()
        sent = [span for span in recording.spans() if f"key{session}" in span["attributes"]]
        assert [span["attributes"] for span in sent] == [{f"key{session}": n, "shared": n} for n in range(50)]


def test_import_initialises_nothing(run_python: RunPython) -> None:
    """Handles, contexts and headers work in a process that never calls `init`."""
    code = """
        headers = {}
        with ptx.get_tracer("x").start_span("op"), ptx.extract_headers({"traceparent": sys.argv[1]}):
            ptx.inject_headers(headers)
        assert headers == {"traceparent": sys.argv[1]}, headers
        assert not ptx.is_initialized()
    """
    run_python(code, REMOTE)
