"""Recording from inside whatever Python calls: while we record, while it collects, traces, audits, warns or logs. Every
record of such code arrives, or is dropped by a rule that is documented; nothing deadlocks, recurses or raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from conftest import RunPython
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


# What is asked of objects of which kind, and the answers, which take turns. `__bool__`, `__eq__`, `__int__`, `__contains__`
# and `__array__` are asked of none.
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


@pytest.mark.parametrize("where", ["gc callback", "profile", "trace", "audit", "warning", "logging"])
def test_hooks(where: str, collector: OtlpServer, run_python: RunPython) -> None:
    """Hooks that record, set while a program records: their records arrive beside the program's."""
    done = run_python(
        HOOKS,
        where,
        timeout_s=60,
    )
    hooked, rounds = done.answer
    names = Counter(span["name"] for span in collector.spans)
    assert names["outer"] == rounds
    assert names["hook"] == hooked > 0
    assert done.stderr == ""


HOOKS = """
    import gc, logging, warnings
    where = sys.argv[1]
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http"),
                                      ptx.MetricSink(endpoint, "http", export_interval_ms=60_000)], console_output=False, diagnostics="off"))
    hooked, inside = 0, False
    tokens, log = ptx.get_meter("m").counter("c"), ptx.get_logger("l")
    class Text:
        def __str__(self): return "text"
    def hook(*_, **__):
        global hooked, inside
        if inside: return hook
        inside = True
        try:
            with ptx.start_span("hook", {"k": Text()}): tokens.add(1, {"k": "v"}); log.info("hook", attributes={"k": Text()})
            hooked += 1
        finally: inside = False
        return hook
    class Handler(logging.Handler):
        def emit(self, record): hook()
    if where == "gc callback": gc.callbacks.append(hook); gc.set_threshold(5)
    if where == "profile": sys.setprofile(hook)
    if where == "trace": sys.settrace(hook)
    if where == "audit": sys.addaudithook(hook)
    if where == "warning": warnings.showwarning = hook; warnings.simplefilter("always")
    if where == "logging": logging.getLogger().addHandler(Handler())
    rounds = 300
    def outer():
        cycle = []; cycle.append(cycle)
        with ptx.start_span("outer", {"k": Text(), "l": [Text(), {"a": [1]}]}) as span:
            span.add_event("e", {"k": Text()})
            tokens.add(1, {"k": Text()})
            log.info("outer", attributes={"k": Text()})
            if where == "warning": warnings.warn("w")
            if where == "logging": logging.warning("w")
            if where == "audit": sys.audit("test.event")
    for _ in range(rounds): outer()
    sys.setprofile(None); sys.settrace(None); gc.callbacks.clear(); inside = True
    assert ptx.force_flush(20_000)
    answer([hooked, rounds])
"""
