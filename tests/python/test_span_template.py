"""SpanTemplate: what is constant is converted once, what varies wins, in every session and process."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import OtlpServer
from recording import REMOTE, Recording, current

import pytracingx as ptx

BEGAN, ENDED = 1_700_000_000_000_000_000, 1_700_000_000_000_000_500
CONSTANT: dict[str, Any] = {"model": "qwen", "layers": [1, 2], "fp8": True, "map": {"a": b"b"}, "none": None}
SENT = {"model": "qwen", "layers": [1, 2], "fp8": True, "map": {"a": {"base64": "Yg=="}}}
TEMPLATE = ptx.SpanTemplate("decode", "server", CONSTANT)  # before init


def test_a_started_span(recording: Recording) -> None:
    with ptx.start_span("request") as parent:
        with TEMPLATE(attributes={"tokens": 3}) as span:
            assert ptx.current_span() is span
        assert ptx.current_span() is parent
    recording.expect("decode", parent, kind="server", attributes={**SENT, "tokens": 3})


def test_a_finished_span(recording: Recording) -> None:
    context = ptx.extract_context({"traceparent": REMOTE})
    made = TEMPLATE.record(
        BEGAN, ENDED, {"tokens": 3}, parent=context, status=("error", "why"), links=[context]
    )
    sent = recording.span("decode")
    assert (sent["trace_id"], sent["span_id"]) == (made.trace_id, made.span_id)
    assert (sent["kind"], sent["attributes"]) == ("server", {**SENT, "tokens": 3})
    assert (sent["start_time_unix_nano"], sent["end_time_unix_nano"]) == (BEGAN, ENDED)
    assert sent["status"] == {"code": "error", "message": "why"}
    assert len(sent["links"]) == 1
    drawn = ptx.new_context()
    assert TEMPLATE.record(BEGAN, ENDED, span_context=drawn) == drawn


def test_many_finished_spans(recording: Recording) -> None:
    parents = [ptx.start_span("request", activate=False) for _ in range(3)]
    parents[1].end()
    assert TEMPLATE.record_spans([*parents, None], BEGAN, [ENDED] * 4, {"tokens": [1, 2, 3, 4]}) == 3
    assert TEMPLATE.record_spans(ptx.parent_set(parents), BEGAN, ENDED) == 3
    sent = [span for span in recording.spans() if span["name"] == "decode"]
    assert [span["attributes"] for span in sent] == [
        *({**SENT, "tokens": tokens} for tokens in (1, 2, 3)),
        *[SENT] * 3,
    ]
    assert [span["parent_span_id"] for span in sent] == [parent.span_id() for parent in parents] * 2
    assert {span["kind"] for span in sent} == {"server"}
    with pytest.raises(ValueError, match="column 'tokens' has 1 values for 3 parents"):
        TEMPLATE.record_spans(parents, BEGAN, ENDED, {"tokens": [1]})


def test_what_varies_wins(recording: Recording) -> None:
    """Whatever the forms of the keys: seen for the first time, interned, too long to be, equal as text only."""
    long = "k" * 300
    template = ptx.SpanTemplate("won", attributes={"a": 1, "b": 2, long: 3, "7": 4, "unheard of": 5})
    parent = ptx.start_span("request", activate=False)
    varying: dict[Any, Any] = {"b": "x", long: "y", 7: "z", "unheard " + "of": "w"}
    expected = {"a": 1, "b": "x", long: "y", "7": "z", "unheard of": "w"}
    for _ in range(3):
        template(varying).end()
        template.record(BEGAN, ENDED, varying)
        assert template.record_spans([parent], BEGAN, ENDED, varying) == 1
        assert (
            template.record_spans([parent], BEGAN, ENDED, {key: [value] for key, value in varying.items()})
            == 1
        )
    sent = [span for span in recording.spans() if span["name"] == "won"]
    assert [span["attributes"] for span in sent] == [expected] * 12
    assert {span["dropped_attributes_count"] for span in sent} == {0}


def test_none_leaves_the_constant(recording: Recording) -> None:
    parent = ptx.start_span("request", activate=False)
    TEMPLATE({"model": None}).end()
    TEMPLATE.record_spans([parent], BEGAN, ENDED, {"model": None})
    assert [span["attributes"] for span in recording.spans() if span["name"] == "decode"] == [SENT] * 2


def test_the_mapping_is_read_once(recording: Recording) -> None:
    """Later changes of it, or of what it holds, are not seen; code of its values runs once."""

    class Odd:
        runs = 0

        def __str__(self) -> str:
            Odd.runs += 1
            return "odd"

    attributes: dict[str, Any] = {"list": [1], "odd": Odd()}
    template = ptx.SpanTemplate("op", attributes=attributes)
    attributes["list"].append(2)
    attributes["more"] = 3
    template().end()
    template().end()
    assert [span["attributes"] for span in recording.spans()] == [{"list": [1], "odd": "odd"}] * 2
    assert Odd.runs == 1


def test_limits(recording: Recording) -> None:
    """Constants come first; what is beyond is counted, in every session by its own limit."""
    template = ptx.SpanTemplate("op", attributes={"a": 1, "b": 2, "c": 3})
    parent = ptx.start_span("request", activate=False)
    for limit in (2, 4):
        recording.restart(max_attributes_per_span=limit)
        template({"d": 4, "e": 5}).end()
        template.record(BEGAN, ENDED, {"d": 4, "e": 5})
        assert template.record_spans([parent], BEGAN, ENDED, {"d": [4], "e": 5}) == 1
        ptx.force_flush()
    sent = [
        (span["attributes"], span["dropped_attributes_count"])
        for span in recording.spans()
        if span["name"] == "op"
    ]
    assert sent == [({"a": 1, "b": 2}, 3)] * 3 + [({"a": 1, "b": 2, "c": 3, "d": 4}, 1)] * 3
    many = ptx.SpanTemplate("many", attributes={"": 0, **{f"k{n}": n for n in range(200)}})
    recording.restart()
    many().end()
    found = recording.span("many")
    assert (len(found["attributes"]), found["dropped_attributes_count"]) == (128, 73)


def test_sampled_out(recording: Recording) -> None:
    recording.restart(sampler="always_off")
    with TEMPLATE({"k": 1}) as span:
        assert not span.is_recording() and current()[1] == span.span_id()
        assert TEMPLATE.record_spans([span], BEGAN, ENDED) == 0
    assert recording.spans() == []


def test_scopes(recording: Recording) -> None:
    tracer = ptx.get_tracer("scheduler", "1.0")
    template = ptx.SpanTemplate("op", tracer=tracer)
    del tracer
    for _ in range(2):
        template().end()
        recording.spans()
        recording.restart()
    TEMPLATE().end()
    scopes = [span["scope"] for span in recording.spans()]
    assert scopes == [{"name": "scheduler", "version": "1.0"}] * 2 + [
        {"name": "pytracingx", "version": ptx.__version__}
    ]


def test_calls_of_every_form(recording: Recording) -> None:
    """As a call site writes it, through a tuple and a dict, through functools and map."""
    import functools

    template = ptx.SpanTemplate("op")
    options: dict[str, Any] = {"activate": False, "start_time": BEGAN}
    template({"n": 1}, **options).end()
    template(*[{"n": 2}], activate=False).end()
    template.__call__({"n": 3}).end()
    functools.partial(template, activate=False)({"n": 4}).end()
    for span in map(template, [{"n": 5}, {"n": 6}]):
        span.end()
    template(attributes={"n": 7}).end()
    assert sorted(span["attributes"]["n"] for span in recording.spans()) == [1, 2, 3, 4, 5, 6, 7]
    assert recording.spans()[0]["start_time_unix_nano"] == BEGAN


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (lambda: ptx.SpanTemplate(5), "name must be a str, got int"),  # type: ignore[arg-type]
        (lambda: ptx.SpanTemplate("a", attributes=5), "attributes must be a mapping, got int"),  # type: ignore[arg-type]
        (lambda: ptx.SpanTemplate("a", attributes=[("a", 1)]), "attributes must be a mapping, got list"),  # type: ignore[arg-type]
        (lambda: ptx.SpanTemplate("a", tracer="t"), "tracer must be a Tracer, got str"),  # type: ignore[arg-type]
        (lambda: ptx.SpanTemplate(), "missing required argument: 'name'"),  # type: ignore[call-arg]
        (lambda: ptx.SpanTemplate("a", b=1), "unexpected keyword argument 'b'"),  # type: ignore[call-arg]
        (lambda: TEMPLATE({}, {}), "takes at most 1 positional argument"),  # type: ignore[call-arg]
        (lambda: TEMPLATE.record(1), "missing required argument: 'end_time'"),  # type: ignore[call-arg]
        (lambda: TEMPLATE.record_spans(5, 1, 2), "parents must be a sequence"),  # type: ignore[arg-type]
    ],
)
def test_wrong_arguments(recording: Recording, arguments: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        arguments()


def test_unknown_kinds() -> None:
    with pytest.raises(ValueError, match="unknown span kind 'x'"):
        ptx.SpanTemplate("a", "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown status"):
        TEMPLATE.record(1, 2, status="x")  # type: ignore[arg-type]
    assert repr(ptx.SpanTemplate("a", "CLIENT")) == '<SpanTemplate "a", client>'  # type: ignore[arg-type]


def test_references_return(recording: Recording) -> None:
    """Templates that are let go take their tracer, their names and all sessions' knowledge with them."""
    tracer, name, value = ptx.get_tracer("t"), "a name " * 50, "a value " * 50
    attributes = {name: value}
    held = [tracer, name, value, attributes]
    counts = [sys.getrefcount(each) for each in held]
    for _ in range(3):
        template = ptx.SpanTemplate(name, attributes=attributes, tracer=tracer)
        for _ in range(2):
            template(attributes).end()
            recording.restart()
        del template
    assert [sys.getrefcount(each) for each in held] == counts


def test_sessions_forks_and_threads(collector: OtlpServer, run_python: RunPython) -> None:
    """Before init, in two sessions, in a forked child and from many threads at a session's first use."""
    if sys.platform == "win32":
        pytest.skip("no fork")
    done = run_python("""
        template = ptx.SpanTemplate("op", attributes={"model": "qwen", "n": 1})
        with template({"x": 1}) as span: assert not span.is_recording()
        assert not template.record(1, 2).is_valid and template.record_spans(5, 1, 2) == 0
        def start(): ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        for session in range(2):
            start()
            barrier = threading.Barrier(8)
            def work():
                barrier.wait()
                for _ in range(50):
                    with template({"n": session, "pid": os.getpid()}): pass
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert ptx.shutdown(30_000)
        start()
        template({"pid": os.getpid(), "n": 2}).end()
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        template({"pid": os.getpid(), "n": 3}).end()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            answer([os.getpid(), pid])
    """)
    sent = Counter((span["attributes"]["pid"], span["attributes"]["n"]) for span in collector.spans)
    parent, child = done.answer
    assert sent == {(parent, 0): 400, (parent, 1): 400, (parent, 2): 1, (parent, 3): 1, (child, 3): 1}
    assert {span["attributes"]["model"] for span in collector.spans} == {"qwen"}
    assert len({span["span_id"] for span in collector.spans}) == 803
