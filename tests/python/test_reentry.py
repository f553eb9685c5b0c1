"""Recording from inside whatever is asked of an object that we are given. Every record of such code arrives, or is dropped
by a rule that is documented; nothing deadlocks, recurses or raises."""

from __future__ import annotations

import array
import gc
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from otlp_server import OtlpServer

import pytracingx as ptx

meter = ptx.get_meter("reentry")
counter, histogram = meter.counter("sum"), meter.histogram("histogram")
bound = counter.bind({"inner": True})
log = ptx.get_logger("reentry")


class Signals:
    """One session with all three signals; how often each arrived."""

    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector
        sinks = [
            ptx.TraceSink(collector.endpoint, "http"),
            ptx.MetricSink(collector.endpoint, "http", export_interval_ms=60_000, temporality="delta"),
            ptx.OtlpLogSink(collector.endpoint, "http"),
        ]
        ptx.init(ptx.Config("svc", sinks=sinks, console_output=False))

    def counts(self) -> Counter[str]:
        assert ptx.force_flush(20_000)
        stats = ptx.stats()
        for sink in stats["trace_sinks"] + stats["log_sinks"]:
            assert sink["exported"] == sink["wanted"]
        self.dropped = (stats["spans"]["dropped"], stats["logs"]["dropped"])
        assert ptx.shutdown(20_000)
        found = Counter(span["name"] for span in self.collector.spans)
        found.update(f"log {record['body']}" for record in self.collector.logs)
        for metric in self.collector.metrics:
            for point in metric["points"]:
                if point["attributes"].get("inner"):
                    found[metric["name"]] += point["value"] if metric["name"] == "sum" else point["count"]
        return found


@pytest.fixture
def signals(collector: OtlpServer) -> Any:
    gc.collect()  # spans that earlier tests left in cycles would end in this session, and be counted
    session = Signals(collector)
    yield session
    ptx.shutdown()


def record() -> None:
    """One record of each signal; the attributes hold an object that is asked for its text."""
    with ptx.start_span("inner", {"k": Plain()}) as span:
        span.add_event("event", {"k": [Plain()]})
    bound.add(1)
    histogram.record(0.5, {"inner": True})
    log.info("inner", attributes={"k": Plain()})


class Plain:
    def __str__(self) -> str:
        return "plain"


def special(base: type, method: str, *results: Any) -> type:
    """A kind of `base` whose method records before it answers; what it answers cycles through `results`."""

    def answer(self: Any, *_: Any) -> Any:
        self.called += 1
        record()
        result = results[self.called % len(results)]
        if isinstance(result, BaseException):
            raise result
        return result

    return type("Recording", (base,), {"called": 0, method: answer})


# What is asked of objects of which kind, and the answers, which take turns.
ASKED: dict[str, tuple[list[type], tuple[Any, ...]]] = {
    "__str__": ([object, int, dict, list, bytes, BaseException], ("text", "other", ValueError("no text"))),
    "__repr__": ([object, float, tuple], ("text", 7, ValueError("no text"))),
    "__hash__": ([object, str, int], (1, 2)),
    "__len__": ([str, dict, list, tuple], (0, 3, ValueError("no length"))),
    "__iter__": ([object, str, dict, list, bytes], (iter(()), iter([1, 2]), TypeError("not iterable"))),
    "__index__": ([object, str, list], (1, 1 << 70, TypeError("no int"))),
    "__float__": ([object, str, list], (0.5, TypeError("no float"))),
    "keys": ([object, str, list, BaseException], (["a", "b"], [], TypeError("no keys"))),
    "__getitem__": ([object, int], ("value", KeyError("none"))),
}


@pytest.mark.parametrize(
    ("method", "base", "answers"),
    [(method, base, answers) for method, (bases, answers) in ASKED.items() for base in bases],
)
def test_whatever_is_asked_of_an_object(
    method: str, base: type, answers: tuple[Any, ...], signals: Signals
) -> None:
    """In every place that takes one, under a span that is open meanwhile."""
    kind = special(base, method, *answers)
    asked = 0

    def try_out(call: Callable[[Any], object]) -> None:
        nonlocal asked
        for _ in range(len(answers) * 2):
            given = kind()
            try:
                call(given)
            except (TypeError, ValueError, KeyError) as error:
                # Misuse of a signature, as for any function; never what the object raised.
                assert error not in answers, call
            asked += given.called

    with ptx.start_span("outer") as span:
        places: list[Callable[[Any], object]] = [
            lambda given: span.set_attribute("k", given),
            lambda given: span.set_attribute("k", [given, (given,), {"k": given}]),
            lambda given: span.set_attributes({"k": given}),
            lambda given: span.set_attributes(given),
            lambda given: span.set_attributes({given: 1}),
            lambda given: span.set_attribute(given, 1),
            lambda given: span.add_event("e", {"k": given}),
            lambda given: span.add_event(given),
            lambda given: span.update_name("outer") or span.set_status("ok", given),
            lambda given: ptx.start_span("asked", {"k": given}).end(),
            lambda given: ptx.start_span("asked", given).end(),
            lambda given: ptx.start_span("asked", activate=given).end(),
            lambda given: log.info("asked", attributes={"k": given}),
            lambda given: log.info("asked", attributes=given),
            lambda given: log.info({"k": [given]}),
            lambda given: counter.add(1, {"k": given}),
            lambda given: counter.add(1, given),
            lambda given: counter.add(given),
            lambda given: histogram.record(given),
            lambda given: histogram.record_many(given),
            lambda given: ptx.extract_headers(given).restore(),
            lambda given: ptx.inject_headers(given),
            lambda given: ptx.baggage(given).__enter__().__exit__(None, None, None),
            lambda given: ptx.baggage(k=given),
            lambda given: ptx.record_spans(
                "asked", [span], 1, 2, {"k": given, "l": [given], given: (given,)}
            ),
            lambda given: ptx.record_spans("asked", [span], given, [given], given),
            lambda given: ptx.record_spans(given, ptx.parent_set([given, span]), 1, 2),
            lambda given: ptx.record_spans("asked", given, 1, 2),
            lambda given: ptx.record_span("asked", given, given, given, links=given),
            lambda given: ptx.SpanTemplate("asked", attributes={"k": given}).record(1, 2, {"l": given}),
            lambda given: ptx.generation("asked", model=given, attributes=given).end(given, completion=given),
            lambda given: ptx.generation("asked").tokens_at(given),
            lambda given: ptx.step_recorder("asked", spans=0)(batch_size=given).set(waiting=given),
        ]
        for place in places:
            try_out(place)
    assert asked > 0
    found = signals.counts()
    assert (found["outer"], found["inner"]) == (1, asked)
    # What is logged while a log record is being made would go on for ever: it is counted instead.
    spans_dropped, logs_dropped = signals.dropped
    assert spans_dropped == {}
    assert found["log inner"] + logs_dropped.get("reentrant", 0) == asked
    assert logs_dropped.keys() <= {"reentrant"}


class Key(str):
    """Equal to none, but asked: all have one hash."""

    asked = 0

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        Key.asked += 1
        record()
        return self is other


class Pairs:
    """A mapping that is no dict, so its keys are compared."""

    def keys(self) -> list[Key]:
        return [Key("a"), Key("b"), Key("c")]

    def __getitem__(self, key: Key) -> str:
        return "value"


class Shown:
    """Shows memory by calls to its own code."""

    asked = 0

    def __init__(self) -> None:
        self.memory = array.array("q", [1, 2])

    def _shown(self, what: Any) -> Any:
        Shown.asked += 1
        record()
        return what


class Array(Shown):
    @property
    def __array_interface__(self) -> Any:
        return self._shown(
            {"version": 3, "typestr": "<i8", "shape": (2,), "data": (self.memory.buffer_info()[0], False)}
        )


class Tensor(Shown):
    __dlpack__ = None

    def __dlpack_device__(self) -> Any:
        return self._shown((1, 0))

    def tolist(self) -> Any:
        return self._shown([1, 2])


class Buffer(Shown):
    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self._shown(self.memory))

    def __release_buffer__(self, view: memoryview) -> None:
        self._shown(view).release()


def test_keys_that_are_compared(signals: Signals) -> None:
    """`__eq__` of a mapping's keys, which no dict of ours asks for twice."""
    Key.asked = 0
    given: Any = Pairs()
    with ptx.start_span("outer", given) as span:
        span.set_attributes(given)
        span.add_event("e", given)
        counter.add(1, given)
        log.info("compared", attributes=given)
        ptx.record_spans("asked", [span], 1, 2, given)
    assert Key.asked > 0
    found = signals.counts()
    assert (found["outer"], found["inner"]) == (1, Key.asked)
    assert signals.collector.span("outer")["attributes"] == dict.fromkeys("abc", "value")


@pytest.mark.parametrize(
    "kind",
    [
        Array,
        Tensor,
        pytest.param(Buffer, marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="C only")),
    ],
)
def test_memory_shown_by_python_code(kind: type[Shown], signals: Signals) -> None:
    """Before it is read, and after; it is a column of a batch and numbers of a histogram."""
    Shown.asked = 0
    parents = [ptx.SpanContext("1" * 32, "2" * 16, 1)] * 2
    assert ptx.record_spans("outer", parents, 1, 2, {"k": kind()}) == 2
    assert ptx.record_spans("outer", parents, kind(), 2) == 2
    histogram.record_many(kind())
    asked = Shown.asked
    assert asked > 0
    found = signals.counts()
    assert (found["outer"], found["inner"]) == (4, asked)
    rows = [span["attributes"] for span in signals.collector.spans if span["name"] == "outer"]
    assert rows == [{"k": 1}, {"k": 2}, {}, {}]


# What never needs an answer: whether an object is true, equal to another, or contains something.
@pytest.mark.parametrize(
    "method", ["__bool__", "__int__", "__contains__", "__array__", "__call__", "__del__", "__get__"]
)
def test_what_is_asked_of_none(method: str, signals: Signals) -> None:
    def asked(*_: Any) -> Any:
        if method != "__del__":
            pytest.fail(f"{method} was asked")
        record()

    kind = type("Object", (), {method: asked, "__str__": lambda _: "object"})
    with ptx.start_span("outer", {"k": kind(), kind(): [kind()]}) as span:
        span.set_attributes(kind())
        span.add_event(kind(), {"k": kind()})  # type: ignore[arg-type]
        counter.add(kind())  # type: ignore[arg-type]
        log.info(kind())
        ptx.record_spans("asked", [span], kind(), 2, {"k": kind()})  # type: ignore[arg-type]
        ptx.extract_headers(kind()).restore()  # type: ignore[arg-type]
    found = signals.counts()
    assert found["outer"] == 1
    assert found["inner"] == (11 if method == "__del__" else 0)
