"""What type checkers must make of metrics; checked with mypy, never run."""

from __future__ import annotations

import array
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from typing_extensions import assert_type

import pytracingx as ptx

meter = ptx.get_meter("name", "1.0", schema_url=None)
assert_type(meter, ptx.Meter)
counter = meter.counter("c", unit="1", description=None)
assert_type(counter, ptx.Counter)
counter.add(1)
counter.add(Decimal("1.5"), {"k": [1, "x"]})
counter.add(True, attributes=None)
assert_type(counter.bind({"k": 1}), ptx.BoundCounter)
counter.bind({}).add(1)
counter.record(1)  # type: ignore[attr-defined]
counter.add("1")  # type: ignore[arg-type]
counter.add(1, {1: 2})  # type: ignore[dict-item]

histogram = meter.histogram("h", unit="s", boundaries=(1, 2.5), aggregation="explicit")
assert_type(histogram, ptx.Histogram)
histogram.record_many([1, 2.5], {"k": "v"})
histogram.record_many(array.array("d", [1.0]))
histogram.bind({}).record_many(range(3))
meter.histogram("h", aggregation="sum")  # type: ignore[arg-type]

gauge = meter.gauge("g")
gauge.set(1)
gauge.bind({}).set(0.5)
assert_type(meter.up_down_counter("u").bind({}), ptx.BoundUpDownCounter)


def observe() -> Iterator[ptx.Observation]:
    yield ptx.Observation(1, {"k": "v"})


def observe_with(options: Any) -> list[tuple[float, dict[str, int]]]:
    return [(options.timeout_millis, {"k": 1})]


assert_type(meter.observable_counter("oc", observe), ptx.ObservableCounter)
meter.observable_up_down_counter("ou", observe_with, unit="1")
assert_type(meter.observable_gauge("og", lambda: 1.5), ptx.ObservableGauge)
meter.observable_gauge("og", 5)  # type: ignore[arg-type]
