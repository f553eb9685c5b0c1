"""Instruments: what is measured arrives, exactly; what is no measurement is counted; nothing raises."""

from __future__ import annotations

import array
import decimal
import fractions
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Decoded, OtlpServer

import pytracingx as ptx

METER = ptx.get_meter("test.metrics", "1.2", "https://example.com/schema")


class Metrics:
    """A session of this process with one metric sink."""

    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector
        self.restart()

    def restart(self, *, temporality: Any = "delta", **options: Any) -> None:
        ptx.shutdown()
        sink = ptx.MetricSink(self.collector.endpoint, "http", temporality=temporality)
        ptx.init(ptx.Config("svc", sinks=[sink], diagnostics="off", **options))

    def metric(self, name: str) -> Decoded:
        assert ptx.force_flush()
        return self.collector.metric(name)

    def points(self, name: str) -> list[Decoded]:
        return list(self.metric(name)["points"])

    def point(self, name: str) -> Decoded:
        (point,) = self.points(name)
        return point

    def counts(self) -> Any:
        assert ptx.force_flush()
        return ptx.stats()["measurements"]


@pytest.fixture
def metrics(collector: OtlpServer) -> Iterator[Metrics]:
    yield Metrics(collector)
    ptx.shutdown()


class Index:
    def __index__(self) -> int:
        return 7


class Raising:
    def __float__(self) -> float:
        raise ValueError

    def __str__(self) -> str:
        raise ValueError


class Tensor:
    """Asking it for its value would wait."""

    def __dlpack__(self) -> None:
        raise AssertionError

    def __float__(self) -> float:
        raise AssertionError


class SubInt(int):
    def __index__(self) -> int:
        raise AssertionError


def test_every_kind_arrives(metrics: Metrics) -> None:
    counter = METER.counter("kind.counter", unit="1", description="how many")
    counter.add(2, {"k": "v"})
    counter.add(3, attributes={"k": "v"})
    METER.up_down_counter("kind.up_down").add(value=-1)
    METER.histogram("kind.histogram", boundaries=[1, 2.5]).record(2)
    METER.histogram("kind.exponential", aggregation="exponential", max_size=4).record(2)
    gauge = METER.gauge("kind.gauge")
    gauge.record(1)
    gauge.set(0.5)
    metric = metrics.metric("kind.counter")
    assert (metric["type"], metric["unit"], metric["description"]) == ("sum", "1", "how many")
    assert (metric["scope"], metric["scope_version"]) == ("test.metrics", "1.2")
    assert metric["schema_url"] == "https://example.com/schema"
    assert metric["monotonic"] is True
    assert (metric["points"][0]["value"], metric["points"][0]["attributes"]) == (5, {"k": "v"})
    up_down = metrics.collector.metric("kind.up_down")
    assert (up_down["points"][0]["value"], up_down["monotonic"]) == (-1, False)
    point = metrics.collector.points("kind.histogram")[0]
    assert (point["bounds"], point["counts"], point["sum"]) == ([1, 2.5], [0, 1, 0], 2)
    assert metrics.collector.metric("kind.exponential")["type"] == "exponential_histogram"
    gauges = metrics.collector.metric("kind.gauge")
    assert (gauges["type"], gauges["points"][0]["value"]) == ("gauge", 0.5)


@pytest.mark.parametrize(
    "values, total",
    [
        ([1, 2], 3),
        ([1, 2.5], 3.5),
        ([True, False, True], 2),
        ([2**63 - 1], 2**63 - 1),
        ([2**70], float(2**70)),
        ([SubInt(3)], 3),
        ([decimal.Decimal("1.5"), fractions.Fraction(1, 2)], 2.0),
        ([Index()], 7),
        ([-0.0], 0.0),
    ],
)
def test_numbers(metrics: Metrics, values: list[Any], total: float) -> None:
    """Ints stay ints until a float is added."""
    counter = METER.counter("numbers")
    for value in values:
        counter.add(value)
    value = metrics.point("numbers")["value"]
    assert (value, type(value)) == (total, type(total))
    assert metrics.counts()["not_a_number"] == 0


def test_numpy_scalars_are_numbers_and_arrays_are_not(metrics: Metrics) -> None:
    numpy = pytest.importorskip("numpy")
    counter = METER.counter("numpy")
    for value in (numpy.int64(1), numpy.float32(0.5), numpy.float64(2), numpy.bool_(True), numpy.uint64(4)):
        counter.add(value)
    counter.add(numpy.array(5))
    assert metrics.point("numpy")["value"] == 8.5
    assert metrics.counts()["not_a_number"] == 1


def test_what_is_no_measurement_is_counted_and_ignored(metrics: Metrics) -> None:
    counter, up_down = METER.counter("odd.counter"), METER.up_down_counter("odd.up_down")
    histogram, gauge = METER.histogram("odd.histogram"), METER.gauge("odd.gauge")
    calls = [counter.add, up_down.add, histogram.record, gauge.record, gauge.set, counter.bind({}).add]
    no_numbers = ["1", b"1", None, object(), Raising(), Tensor(), [1], 1j, {}]
    for call in calls:
        for value in no_numbers:
            call(value)  # type: ignore[arg-type]
    for call in calls[:3]:
        for value in (float("nan"), float("inf"), -float("inf"), 10**400):
            call(value)
    for call in (counter.add, histogram.record, counter.bind({"a": 1}).add):
        call(-1)
        call(-0.5)
    gauge.set(float("inf"))
    counts = metrics.counts()
    assert counts["not_a_number"] == len(calls) * len(no_numbers)
    assert (counts["not_finite"], counts["negative"], counts["recorded"]) == (12, 6, 1)
    assert metrics.point("odd.gauge")["value"] == float("inf")
    assert not metrics.collector.points("odd.counter", every=True)


def test_a_base_exception_passes(metrics: Metrics) -> None:
    class Interrupting:
        def __float__(self) -> float:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        METER.counter("interrupted").add(Interrupting())


@pytest.mark.parametrize("attributes", [5, "text", [1], Raising(), {"": 1}, {"k": None}])
def test_odd_attributes_do_not_raise(metrics: Metrics, attributes: Any) -> None:
    METER.counter("odd.attributes").add(1, attributes)
    METER.counter("odd.attributes").bind(attributes).add(1)
    point = metrics.point("odd.attributes")
    assert (point["value"], point["attributes"]) == (2, {})


def test_attributes_keep_their_types_and_128_are_kept(metrics: Metrics) -> None:
    typed: dict[str, Any] = {"s": "x", "i": 1, "f": 0.5, "b": True, "l": [1, 2], "o": Raising()}
    METER.counter("typed").add(1, typed)
    METER.counter("typed").bind(typed).add(1)
    point = metrics.point("typed")
    assert (point["value"], point["attributes"]) == (2, {**typed, "o": "Raising"})
    METER.counter("many").add(1, {f"k{i}": i for i in range(200)})
    METER.counter("many").bind({f"k{i}": i for i in range(200)}).add(1)
    assert len(metrics.point("many")["attributes"]) == 128


def test_a_bound_handle_is_the_same_series(metrics: Metrics) -> None:
    """In whatever order keys are given; values are taken when bound."""
    counter = METER.counter("bound")
    given = {"b": 1, "a": "x"}
    bound = counter.bind(given)
    given["b"] = 2
    bound.add(1)
    counter.add(2, {"a": "x", "b": 1})
    counter.bind({"a": "x", "b": 1}).add(value=4)
    counter.bind(None).add(8)
    counter.add(16)
    values = {tuple(sorted(point["attributes"].items())): point["value"] for point in metrics.points("bound")}
    assert values == {(("a", "x"), ("b", 1)): 7, (): 24}


def test_every_instrument_binds(metrics: Metrics) -> None:
    attributes = {"k": 1}
    METER.up_down_counter("b.up_down").bind(attributes).add(-2)
    METER.histogram("b.histogram").bind(attributes).record(3)
    METER.histogram("b.histogram").bind(attributes).record_many([1, 2])
    METER.gauge("b.gauge").bind(attributes).record(1)
    METER.gauge("b.gauge").bind(attributes).set(4)
    assert metrics.point("b.up_down")["value"] == -2
    (point,) = metrics.collector.points("b.histogram")
    assert (point["count"], point["sum"], point["attributes"]) == (3, 6, attributes)
    assert metrics.collector.points("b.gauge")[0]["value"] == 4


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1, 2.5], (2, 3.5)),
        ((1, 2), (2, 3)),
        (range(1000), (1000, 499500)),
        (iter([1, 2]), (2, 3)),
        (array.array("d", [0.5, 1.5]), (2, 2)),
        (array.array("f", [0.5]), (1, 0.5)),
        (array.array("b", [1]), (1, 1)),
        (array.array("H", [65535]), (1, 65535)),
        (array.array("l", range(300)), (300, 44850)),
        (array.array("Q", [2**64 - 1]), (1, float(2**64))),
        (memoryview(array.array("i", [1, 2, 3, 4]))[::2], (2, 4)),
        ([], None),
        ([1, -1, float("nan"), "x", 2], (2, 3)),
        (5, None),
        (None, None),
        (Tensor(), None),
    ],
    ids=repr,
)
def test_record_many(metrics: Metrics, values: Any, expected: tuple[int, float] | None) -> None:
    METER.histogram("many.values").record_many(values, {"k": "v"})
    assert ptx.force_flush()
    points = metrics.collector.points("many.values", every=True)
    assert [(point["count"], point["sum"]) for point in points] == ([expected] if expected else [])
    assert all(point["attributes"] == {"k": "v"} for point in points)


def test_record_many_takes_numpy(metrics: Metrics) -> None:
    numpy = pytest.importorskip("numpy")
    histogram = METER.histogram("many.numpy")
    for kind in ("f8", "f4", "f2", "i8", "i4", "u1", "?", ">f8"):
        histogram.record_many(numpy.ones(3, dtype=kind))
    histogram.record_many(numpy.ones((2, 2)))
    assert metrics.point("many.numpy")["count"] == 28
    assert metrics.counts()["not_a_number"] == 0


def test_exemplars_carry_the_span(metrics: Metrics, collector: OtlpServer) -> None:
    """A histogram's measurements inside sampled spans; those outside leave none."""
    ptx.shutdown()
    sinks = [ptx.TraceSink(collector.endpoint, "http"), ptx.MetricSink(collector.endpoint, "http")]
    ptx.init(ptx.Config("svc", sinks=sinks))
    histogram = METER.histogram("with.exemplars", boundaries=[10])
    with ptx.start_span("measured") as span:
        histogram.record(1)
    histogram.record(20)
    (exemplar,) = metrics.point("with.exemplars")["exemplars"]
    assert (exemplar["trace_id"], exemplar["span_id"]) == (span.trace_id(), span.span_id())
    assert exemplar["value"] == 1


def test_instruments_work_in_every_session(metrics: Metrics) -> None:
    counter = METER.counter("sessions")
    bound = counter.bind({"k": 1})
    for total in (1, 2):
        for _ in range(total):
            counter.add(1, {"k": 1})
            bound.add(1)
        assert metrics.point("sessions")["value"] == 2 * total
        metrics.restart()
    ptx.shutdown()
    counter.add(1)
    bound.add(1)


def test_views_that_drop_make_calls_cheap(metrics: Metrics) -> None:
    metrics.restart(views=[ptx.View(instrument_name="dropped.*", drop=True)])
    METER.counter("dropped.counter").add(1, Raising())  # type: ignore[arg-type]
    METER.counter("dropped.counter").add("no number")  # type: ignore[arg-type]
    assert metrics.counts()["recorded"] == metrics.counts()["not_a_number"] == 0


def test_without_anybody_who_wants_metrics_nothing_is_read(collector: OtlpServer) -> None:
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(collector.endpoint, "http")]))
    METER.counter("unwanted").add(Tensor(), Raising())  # type: ignore[arg-type]
    assert ptx.stats()["measurements"]["not_a_number"] == 0
    ptx.shutdown()


def test_the_same_name_twice_is_the_same_instrument(metrics: Metrics) -> None:
    METER.counter("twice").add(1)
    METER.counter("twice").add(2)
    METER.counter("TWICE", description="another").add(4)
    assert metrics.point("twice")["value"] == 7
    assert metrics.counts()["conflicts"] == 1


def test_threads_lose_nothing(metrics: Metrics) -> None:
    """Whatever the ring holds: what it has no room for is folded."""
    metrics.restart(temporality="cumulative", ring_capacity=262144)
    counter, bound = METER.counter("threads"), METER.counter("threads").bind({"k": "v"})
    histogram = METER.histogram("threads.histogram")

    def work() -> None:
        for _ in range(20_000):
            counter.add(1)
            counter.add(1, {"k": "v"})
            bound.add(1)
            histogram.record(1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    values = {len(point["attributes"]): point["value"] for point in metrics.points("threads")}
    assert values == {0: 80_000, 1: 160_000}
    assert metrics.collector.points("threads.histogram")[0]["count"] == 80_000
    assert metrics.counts()["recorded"] == 320_000


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: METER.counter(""), ptx.ConfigError, "name must not be empty"),
        (lambda: METER.counter(5), TypeError, "str"),  # type: ignore[arg-type]
        (
            lambda: METER.histogram("h", boundaries=[1, 1]),
            ptx.ConfigError,
            "boundaries must ascend, got 1 after 1",
        ),
        (
            lambda: METER.histogram("h", boundaries=[float("inf")]),
            ptx.ConfigError,
            "boundaries must be finite",
        ),
        (
            lambda: METER.histogram("h", boundaries=["1"]),  # type: ignore[list-item]
            TypeError,
            "boundaries must be a list of numbers, got str in it",
        ),
        (
            lambda: METER.histogram("h", boundaries=5),  # type: ignore[arg-type]
            TypeError,
            "boundaries must be a list of numbers, got int",
        ),
        (
            lambda: METER.histogram("h", aggregation="sum"),  # type: ignore[arg-type]
            ValueError,
            "unknown aggregation 'sum', expected 'explicit' or 'exponential'",
        ),
        (lambda: METER.histogram("h", max_size=1), ptx.ConfigError, "max_size must be 2 to 16384, got 1"),
        (
            lambda: METER.histogram("h", aggregation="exponential", boundaries=[1]),
            ptx.ConfigError,
            "boundaries must be None",
        ),
        (lambda: METER.observable_gauge("g", 5), TypeError, "callback must be callable, got int"),  # type: ignore[arg-type]
        (
            lambda: METER.observable_gauge("g", lambda a, b: 1),  # type: ignore[misc,arg-type]
            TypeError,
            "callback must take no argument or one",
        ),
    ],
)
def test_what_cannot_be_made_raises(make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def test_wrong_calls_raise() -> None:
    counter: Any = METER.counter("calls")
    for call in (
        lambda: counter.add(),
        lambda: counter.add(1, {}, 2),
        lambda: counter.add(1, tags={}),
        lambda: counter.bind({}).add(1, {}),
        lambda: counter.bind(),
    ):
        with pytest.raises(TypeError, match=r"(add|bind)\(\)"):
            call()


@pytest.mark.parametrize(
    "make", [lambda: METER, lambda: METER.counter("c"), lambda: METER.gauge("g").bind({})]
)
def test_nothing_pickles(make: Any) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(make())


def test_names() -> None:
    assert repr(METER.counter("a'b")) == """<Counter "a'b" of meter "test.metrics">"""
    assert repr(METER) == "<Meter 'test.metrics'>"
    assert repr(ptx.Observation(1, {"k": 2})) == "Observation(1, {'k': 2})"


def test_references_return(metrics: Metrics) -> None:
    """Keys and values are held by nobody once the calls are over."""
    key = "a key longer than " + "the interner takes, " * 10
    text, attributes = "text " * 30, {}
    attributes[key] = text
    counter, histogram = METER.counter("references"), METER.histogram("references.histogram")
    before = [sys.getrefcount(each) for each in (key, text, attributes)]
    for _ in range(100):
        counter.add(1, attributes)
        counter.bind(attributes).add(1)
        histogram.record_many([1.5, 2.5], attributes)
    assert [sys.getrefcount(each) for each in (key, text, attributes)] == before


def test_a_forked_child_goes_on(collector: OtlpServer, run_python: RunPython) -> None:
    """With instruments and handles of its parent, and counts of its own."""
    if sys.platform == "win32":
        pytest.skip("no fork")
    done = run_python(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        meter = ptx.get_meter("m")
        counter = meter.counter("forked")
        bound = counter.bind({"k": 1})
        meter.observable_gauge("pid", lambda: os.getpid())
        ptx.init(ptx.Config("svc", sinks=[ptx.MetricSink(endpoint, "http")]))
        counter.add(1); bound.add(1)
        pid = os.fork()
        if pid == 0:
            counter.add(2); bound.add(2)
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        answer([os.getpid(), pid])
        """
    )
    parent, child = done.answer
    found = {}
    for metric in collector.metrics:
        for point in metric["points"]:
            process = metric["resource"]["process.pid"]
            found[process, metric["name"], len(point["attributes"])] = point["value"]
    values = {(parent, "forked"): 1, (child, "forked"): 2}
    assert found == {
        **{(*key, count): value for key, value in values.items() for count in (0, 1)},
        (parent, "pid", 0): parent,
        (child, "pid", 0): child,
    }
    assert done.stderr == ""
