"""Observable instruments: callbacks run just before a collection, each costs no more than its own data."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import RunPython
from otlp_server import OtlpServer, closed_port

START = """
    import logging
    meter = ptx.get_meter("observables")
    def begin(**options):
        sink = ptx.MetricSink(endpoint, "http", temporality=options.pop("temporality", None))
        ptx.init(ptx.Config("svc", sinks=[sink], **options))
    def counts():
        stats = ptx.stats()["measurements"]
        return {name: count for name, count in stats.items() if count}
    def worker():
        return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("pytracingx"))
"""


def values(collector: OtlpServer, name: str) -> dict[Any, Any]:
    """Value by the attribute `k` of the points delivered last."""
    return {point["attributes"].get("k"): point["value"] for point in collector.points(name)}


def test_whatever_a_callback_gives(collector: OtlpServer, run_python: RunPython) -> None:
    """With no argument or one; OpenTelemetry's observations and generators too."""
    done = run_python(
        START
        + """
    class Observation:  # of OpenTelemetry's shape
        def __init__(self, value, attributes=None, context=None): self.value, self.attributes = value, attributes
    def generator(options):
        yield Observation(1, {"k": "a"})
        yield ptx.Observation(2, {"k": "b"})
        yield 3.5, {"k": "c"}
        yield 4
    def sent():
        options = yield
        while True:
            options = yield [Observation(options.timeout_millis > 0)]
    def required(options): return options.timeout_millis > 0
    class Callable:
        def __call__(self): return 5
        def method(self, options=None): return [6] if options is None else "given an option it did not ask for"
    meter.observable_gauge("number", lambda: 1.5)
    meter.observable_gauge("pair", lambda: (1, {"k": "a"}))
    meter.observable_gauge("pairs", lambda: [(1, {"k": "a"}), (2, {"k": "b"})])
    meter.observable_gauge("numbers of one series", lambda: (1, 2))
    meter.observable_gauge("observation", lambda: ptx.Observation(1))
    meter.observable_gauge("generator", generator)
    meter.observable_gauge("sent", sent())
    meter.observable_gauge("required", required)
    meter.observable_gauge("callable", Callable())
    meter.observable_gauge("method", Callable().method)
    meter.observable_gauge("builtin", threading.active_count)
    meter.observable_gauge("none", lambda: None)
    meter.observable_gauge("nothing", lambda: [])
    meter.observable_counter("counter", lambda: 7)
    meter.observable_up_down_counter("up_down", lambda: -7)
    meter.observable_gauge("two", lambda: (1, {"k": "a"}))
    meter.observable_gauge("two", lambda: (2, {"k": "b"}))
    begin()
    assert ptx.force_flush()
    answer(counts())
    """
    )
    assert "callback_errors" not in done.answer and "not_a_number" not in done.answer
    assert "late_observations" not in done.answer
    seen = {metric["name"]: values(collector, metric["name"]) for metric in collector.metrics}
    assert seen.pop("builtin")[None] >= 2
    assert seen == {
        "number": {None: 1.5},
        "pair": {"a": 1},
        "pairs": {"a": 1, "b": 2},
        "numbers of one series": {None: 2},
        "observation": {None: 1},
        "generator": {"a": 1, "b": 2, "c": 3.5, None: 4},
        "sent": {None: 1},
        "required": {None: 1},
        "callable": {None: 5},
        "method": {None: 6},
        "counter": {None: 7},
        "up_down": {None: -7},
        "two": {"a": 1, "b": 2},
    }
    assert collector.metric("counter")["monotonic"] is True
    assert collector.metric("up_down")["monotonic"] is False


@pytest.mark.parametrize("temporality, expected", [("cumulative", [5, 8]), ("delta", [5, 3])])
def test_totals(collector: OtlpServer, run_python: RunPython, temporality: str, expected: list[int]) -> None:
    run_python(
        START
        + f"""
    totals = [5, 8]
    begin(temporality="{temporality}")
    meter.observable_counter("total", lambda: totals[0])
    assert ptx.force_flush()
    totals.pop(0)
    assert ptx.force_flush()
    """
    )
    assert [point["value"] for point in collector.points("total", every=True)][:2] == expected


def test_one_that_fails_costs_its_own_data_only(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    def half():
        yield 1, {"k": "a"}
        raise KeyError("secret")
    def leaves(): sys.exit(3)
    class Value:
        value = property(lambda self: 1 / 0)
    for index, callback in enumerate([lambda: 1 / 0, half, leaves, lambda: Value(), lambda: [Value()]]):
        meter.observable_gauge(f"bad.{index}", callback)
    for index, callback in enumerate([lambda: "text", lambda: [None], lambda: {"a": 1}, lambda: [(1, 2, 3)], object]):
        meter.observable_gauge(f"garbage.{index}", callback)
    meter.observable_gauge("good", lambda: 1)
    begin()
    assert ptx.force_flush() and ptx.force_flush()
    answer(counts())
    """
    )
    assert (done.answer["callback_errors"], done.answer["not_a_number"]) == (10, 10)
    assert {metric["name"] for metric in collector.metrics} == {"good", "bad.1"}
    assert values(collector, "bad.1") == {"a": 1}
    assert done.stderr.count("KeyError") == 1 and "secret" not in done.stderr
    assert 'callback of <ObservableGauge "bad.1" of meter "observables">' in done.stderr


def test_one_that_hangs_costs_its_own_data_only(collector: OtlpServer, run_python: RunPython) -> None:
    """It is left alone until it comes back."""
    done = run_python(
        START
        + """
    release, came_back = threading.Event(), threading.Event()
    def hang():
        if release.is_set(): return 2
        release.wait()
        came_back.set()
        return 1
    meter.observable_gauge("before", lambda: 1)
    meter.observable_gauge("hung", hang)
    meter.observable_gauge("after", lambda: 1)
    meter.observable_gauge("endless", lambda: iter(lambda: 1, None))
    begin()
    assert ptx.force_flush()
    began = time.monotonic()
    assert ptx.force_flush()
    seen = [counts().get("callback_errors"), time.monotonic() - began < 0.4]
    release.set()
    came_back.wait()
    while len(worker()) > 2: time.sleep(0.001)
    assert ptx.force_flush()
    answer([*seen, counts().get("late_observations")])
    """
    )
    assert done.answer[0] == 1 and done.answer[1] and done.answer[2] is None
    assert "no answer within 400 ms" in done.stderr
    assert values(collector, "before") == values(collector, "after") == {None: 1}
    assert [point["value"] for point in collector.points("hung", every=True)][:1] == [2]


def test_one_that_ends_at_its_deadline_is_asked_again(run_python: RunPython) -> None:
    """Whoever is first, callback or deadline, the other notices."""
    done = run_python(
        """
    from pytracingx import _worker
    _worker._CALLBACK_MS = 2
    sys.setswitchinterval(1e-5)
    calls, slow = [], True
    def edge():
        end = time.perf_counter() + 0.002 * slow
        while time.perf_counter() < end: pass
        calls.append(None)
        return 1
    ptx.get_meter("observables").observable_gauge("edge", edge)
    ptx.init(ptx.Config("svc", sinks=[ptx.MetricSink(sys.argv[1])], diagnostics="off", exit_timeout_ms=0))
    for _ in range(400): ptx.force_flush(20)
    slow = False
    asked = len(calls)
    given_up = time.monotonic() + 10
    while len(calls) < asked + 3 and time.monotonic() < given_up: ptx.force_flush(20)
    answer(len(calls) - asked)
    """,
        f"http://127.0.0.1:{closed_port()}",
    )
    # One may have been under way.
    assert done.answer > 2


def test_the_worker_lives_as_long_as_its_session(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    seen = [worker()]
    begin()
    seen.append(worker())
    meter.observable_gauge("value", lambda: 1)
    seen.append(worker())
    assert ptx.force_flush()
    seen.append(worker())
    assert ptx.shutdown()
    while worker(): time.sleep(0.001)
    begin()
    seen.append(worker())
    assert ptx.shutdown()
    while worker(): time.sleep(0.001)
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")], console_output=False))
    seen.append(worker())
    answer(seen)
    """
    )
    both = ["pytracingx-callbacks", "pytracingx-worker"]
    assert done.answer == [[], [], ["pytracingx-worker"], both, ["pytracingx-worker"], []]
    # A flush and two ends.
    assert len(collector.points("value", every=True)) == 3


def test_shutdown_means_the_session_it_was_called_in(collector: OtlpServer, run_python: RunPython) -> None:
    """Not one that was begun while the callbacks were asked for the last time."""
    done = run_python(
        START
        + """
    asked, release = threading.Event(), threading.Event()
    def slow():
        asked.set()
        release.wait(10)
        return 1
    meter.observable_gauge("slow", slow)
    begin()
    thread = threading.Thread(target=ptx.shutdown)
    thread.start()
    asked.wait()
    ptx.shutdown(0)
    begin()
    release.set()
    thread.join()
    answer(ptx.is_initialized())
    """
    )
    assert done.answer is True


def test_the_last_values_are_collected_at_exit(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    meter.observable_gauge("value", lambda: 1)
    begin()
    """
    )
    assert values(collector, "value") == {None: 1}
    assert done.stderr == ""


def test_what_a_callback_does_to_us_ends_nothing(collector: OtlpServer, run_python: RunPython) -> None:
    """Spans, measurements, flushing, forking, and another observable, from within."""
    done = run_python(
        START
        + """
    counter = meter.counter("counter")
    def busy():
        counter.add(1)
        ptx.force_flush(10)
        if not made:
            made.append(meter.observable_gauge("inner", lambda: 2))
        return 1
    made = []
    meter.observable_gauge("busy", busy)
    begin()
    assert ptx.force_flush() and ptx.force_flush()
    """
    )
    assert values(collector, "busy") == {None: 1}
    assert values(collector, "inner") == {None: 2}
    assert done.stderr == ""


def test_children_of_a_process_with_a_busy_worker(collector: OtlpServer, run_python: RunPython) -> None:
    """A fork at any moment leaves the child a worker of its own."""
    done = run_python(
        START
        + """
    if not hasattr(os, "fork"): sys.exit()
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    meter.observable_gauge("pid", lambda: os.getpid())
    begin()
    stop = threading.Event()
    def flushing():
        while not stop.is_set(): ptx.force_flush()
    thread = threading.Thread(target=flushing)
    thread.start()
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            ptx.shutdown()
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    stop.set()
    thread.join()
    answer(children)
    """
    )
    pids = {point["value"] for point in collector.points("pid", every=True)}
    assert set(done.answer or []) <= pids
    assert done.stderr == ""
