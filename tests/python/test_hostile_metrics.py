"""Measurements of any value with any attributes: what is a number arrives under its attributes, what is none is counted."""

from __future__ import annotations

import array
import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlp_server import OtlpServer
from values import as_double, as_json, attributes, hostile, mapped_attributes, measured, numbers

import pytracingx as ptx
from pytracingx import _worker

METER = ptx.get_meter("hostile")
COUNTER, GAUGE = METER.counter("counter"), METER.gauge("gauge")
HISTOGRAM, MANY = METER.histogram("histogram"), METER.histogram("many")
BOUND, BOUND_MANY = METER.counter("bound"), METER.histogram("bound many")


@pytest.fixture
def observed() -> Iterator[None]:
    """Two observable instruments; their callbacks would be asked in every later session of this process too."""
    METER.observable_gauge("observed", lambda: given_by_callback)
    METER.observable_gauge("beside", lambda: 7)
    yield
    del _worker._observables[-2:]


# What the callback gives in this example.
given_by_callback: Any = None


class Collections:
    """A session with one delta metric sink; each look is a collection."""

    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector
        ptx.init(
            ptx.Config(
                "svc",
                sinks=[ptx.MetricSink(collector.endpoint, "http", temporality="delta")],
                diagnostics="off",
            )
        )
        self.refused = 0

    def points(self) -> dict[str, list[dict[str, Any]]]:
        """The points of what was measured since the last look, by metric."""
        before = len(self.collector.requests)
        assert ptx.force_flush(20_000)
        found = [metric for request in self.collector.requests[before:] for metric in request.metrics]
        assert len({metric["name"] for metric in found}) == len(found)
        return {metric["name"]: metric["points"] for metric in found}

    def newly_refused(self) -> int:
        stats = ptx.stats()["measurements"]
        before, self.refused = (
            self.refused,
            sum(stats[key] for key in ("negative", "not_finite", "not_a_number")),
        )
        return self.refused - before


@pytest.fixture
def collections(collector: OtlpServer) -> Iterator[Collections]:
    yield Collections(collector)
    ptx.shutdown()


@hostile
@given(numbers, attributes)
def test_any_measurement(collections: Collections, value: Any, given: Any) -> None:
    """By every instrument, bound and in bulk."""
    number, kept = measured(value), mapped_attributes(given).kept
    adds = number is not None and math.isfinite(number) and number >= 0
    COUNTER.add(value, given)
    BOUND.bind(given).add(value)
    GAUGE.set(value, given)
    HISTOGRAM.record(value, given)
    MANY.record_many([value, 1, value], given)
    BOUND_MANY.bind(given).record_many((value, value))
    points = collections.points()
    expected = {"counter", "bound", "histogram", "many", "bound many"} if adds else {"many"}
    assert points.keys() == expected | ({"gauge"} if number is not None else set())
    for name, (point,) in points.items():
        assert as_json(point["attributes"]) == as_json(kept)
        if "value" in point:
            # A stream that has seen a float stays one of floats; a sum begins with 0, which is not -0.0.
            assert as_json(float(point["value"])) == as_json(
                as_double(number) + (0.0 if name != "gauge" else -0.0)
            )
        elif name != "many":
            assert point["count"] == (2 if name == "bound many" else 1)
            assert point["min"] == point["max"] == as_double(number)
        else:
            assert point["count"] == (3 if adds else 1)
    assert collections.newly_refused() == (0 if adds else 7) + (number is None)


formats = st.sampled_from("bBhHiIlLqQfd")


@hostile
@given(st.data())
def test_any_buffer(collections: Collections, data: Any) -> None:
    """Numbers in memory of every format, strided, backwards, read-only, empty; what a format cannot hold is none of them."""
    kind = data.draw(formats)
    ints = array.array(kind, data.draw(st.lists(st.integers(0, 127), max_size=9)))
    view: Any = memoryview(ints)[:: data.draw(st.sampled_from([1, 2, -1, -2, 3]))]
    if data.draw(st.booleans()):
        view = view.toreadonly()
    expected = view.tolist()
    HISTOGRAM.record_many(view, {"k": kind})
    points = collections.points().get("histogram", [])
    assert [point["count"] for point in points] == ([len(expected)] if expected else [])
    assert [point["sum"] for point in points] == ([sum(expected)] if expected else [])


@hostile
@given(
    st.one_of(
        numbers,
        st.tuples(numbers, attributes),
        st.lists(st.tuples(numbers, attributes), max_size=3),
        attributes,
    )
)
def test_any_observation(observed: None, collections: Collections, given: Any) -> None:
    """Whatever a callback gives, other instruments are not concerned, and what is a number with attributes arrives."""
    global given_by_callback
    given_by_callback = given
    GAUGE.set(1)
    points = collections.points()
    assert [point["value"] for point in points["gauge"]] == [1]
    assert [point["value"] for point in points["beside"]] == [7]
    if isinstance(given, list) and given and all(isinstance(each, tuple) for each in given):
        # Of equal attributes the last counts.
        series = {
            as_json(mapped_attributes(of).kept): measured(number)
            for number, of in given
            if measured(number) is not None
        }
        assert {as_json(point["attributes"]) for point in points.get("observed", [])} == set(series)
        for point in points.get("observed", []):
            number = series[as_json(point["attributes"])]
            assert as_json(float(point["value"])) == as_json(float(number))
