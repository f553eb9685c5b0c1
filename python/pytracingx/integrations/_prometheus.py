"""The three metric classes of prometheus_client, as far as engines use them, over instruments of ours.

Names and labels are as a scrape would show them: a counter's ends in ``_total``. No unit is set, because OTLP
receivers append it to the name. A child is made once for each set of labels and costs what a bound instrument
costs. Nothing here needs prometheus_client.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any, TypeVar

import pytracingx

Self = TypeVar("Self", bound="_Metric")


class _Metric:
    meter: pytracingx.Meter

    def __init__(
        self, name: str, documentation: str = "", labelnames: Iterable[str] = (), **options: Any
    ) -> None:
        self._labelnames = tuple(labelnames or ())
        self._instrument = self._make(name, documentation, options)
        self._bound: Any = None if self._labelnames else self._instrument.bind({})

    def _make(self, name: str, description: str, options: dict[str, Any]) -> Any:
        raise NotImplementedError

    def labels(self: Self, *values: object, **by_name: object) -> Self:
        """The child of these labels, given in order or by name."""
        if len(values) + len(by_name) != len(self._labelnames):
            raise ValueError(f"labels: expected {self._labelnames}")
        named = {**dict(zip(self._labelnames, values)), **by_name}
        child = type(self).__new__(type(self))
        child._labelnames = ()
        child._instrument = self._instrument
        child._bound = self._instrument.bind({name: str(named[name]) for name in self._labelnames})
        child._begin()
        return child

    def _begin(self) -> None:
        """A series that has not been touched is scraped all the same."""


class Counter(_Metric):
    def _make(self, name: str, description: str, options: dict[str, Any]) -> Any:
        name = name if name.endswith("_total") else f"{name}_total"
        return self.meter.counter(name, description=description)

    def _begin(self) -> None:
        self._bound.add(0)

    def inc(self, amount: float = 1) -> None:
        self._bound.add(amount)


class Gauge(_Metric):
    def _make(self, name: str, description: str, options: dict[str, Any]) -> Any:
        return self.meter.gauge(name, description=description)

    def _begin(self) -> None:
        self._bound.record(0)

    def set(self, value: float) -> None:
        self._bound.record(value)

    def set_to_current_time(self) -> None:
        self._bound.record(time.time())


class Histogram(_Metric):
    def _make(self, name: str, description: str, options: dict[str, Any]) -> Any:
        buckets = options.get("buckets")
        boundaries = None if buckets is None else [float(bound) for bound in buckets if bound != math.inf]
        return self.meter.histogram(name, description=description, boundaries=boundaries)

    def observe(self, amount: float) -> None:
        self._bound.record(amount)


def classes(meter: pytracingx.Meter) -> tuple[type[Gauge], type[Counter], type[Histogram]]:
    """The three, of instruments of this meter."""

    def of(metric: type[Self]) -> type[Self]:
        return type(metric.__name__, (metric,), {"meter": meter})

    return of(Gauge), of(Counter), of(Histogram)
