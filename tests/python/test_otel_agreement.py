"""The same random measurements through opentelemetry-sdk and through us: after every collection the same points.

Where that SDK and the specification part, `Sdk` and `same_exponential` say how and why.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

if sys.version_info < (3, 10):  # its last SDK takes 1, 1.0 and True for one attribute value
    pytest.skip("no current opentelemetry-sdk", allow_module_level=True)

import opentelemetry.sdk.metrics as otel
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from otlp_server import Decoded, OtlpServer

import pytracingx as ptx

MEASUREMENTS = 10_000
# How many measurements each collection follows: one of them follows none.
WINDOWS = (1, 2_499, 0, 5_000, 2_500)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
EXPONENTIAL_SIZES = (2, 20, 160)
TEMPORALITIES = ("cumulative", "delta")
VALUES = ("1", 1, 1.0, True, "other", (1, 2), ("1", "2"), b"1")
Attributes = dict[str, Any]
Key = frozenset[tuple[str, str]]
Points = dict[str, dict[Key, Decoded]]


def key_of(attributes: Attributes) -> Key:
    """With types: 1, 1.0, True and "1" are four attribute values."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in attributes.items()}
    return frozenset((k, repr({"base64": "MQ=="} if v == b"1" else v)) for k, v in plain.items())


def some_attributes(random: random.Random) -> Attributes:
    """None to four, in any order, of few values each."""
    keys = random.sample(["a", "b", "c", "d"], random.choice([0, 1, 1, 1, 2, 4]))
    return {key: random.choice(VALUES[: 8 if len(keys) == 1 else 2]) for key in keys}


def some_value(random: random.Random) -> float:
    """Any magnitude, zero, whole numbers, bounds of buckets; some that no counter and histogram takes."""
    return random.choice(
        [
            lambda: 0,
            lambda: random.randrange(1000),
            lambda: random.randrange(1000),
            lambda: random.choice(SECONDS),
            lambda: 2.0 ** random.randrange(-30, 30),
            lambda: random.lognormvariate(0, 3),
            lambda: 10 ** random.uniform(-9, 12),
            lambda: -random.randrange(1, 50) / random.choice([1, 4]),
        ]
    )()


class Sdk:
    """opentelemetry-sdk with a reader for each preference; `collect` gives points as `otlp.decode_point` does.

    It exports a negative change when an observed total has fallen, though the sum is monotonic; a total that fell began
    at zero again, so what is right is the total.

    Its readers choose the temporality of synchronous gauges too. OTLP has none for them, but the specification wants
    of a delta reader only what was measured since the last collection, so here gauges are told "delta".
    """

    def __init__(self) -> None:
        delta = AggregationTemporality.DELTA
        kinds = (otel.Counter, otel.Histogram, otel.ObservableCounter, otel._Gauge)
        preferences = [{}, dict.fromkeys(kinds, delta)]
        self.readers = [InMemoryMetricReader(preferred_temporality=each) for each in preferences]
        views = [
            View(
                instrument_name=f"exponential.{size}",
                aggregation=ExponentialBucketHistogramAggregation(max_size=size),
            )
            for size in EXPONENTIAL_SIZES
        ]
        self.provider = otel.MeterProvider(self.readers, views=views, shutdown_on_exit=False)
        self.meter = self.provider.get_meter("agreement")

    def collect(self, reader: int) -> dict[str, Decoded]:
        data = self.readers[reader].get_metrics_data()
        if data is None:
            return {}
        (resource,) = data.resource_metrics
        (scope,) = resource.scope_metrics
        return {metric.name: decoded(metric.data) for metric in scope.metrics if metric.data.data_points}


def decoded(data: Any) -> Decoded:
    """A metric's data of the SDK."""
    temporality = getattr(data, "aggregation_temporality", None)
    points = {}
    for point in data.data_points:
        attributes = key_of(dict(point.attributes))
        assert attributes not in points
        if hasattr(point, "value"):
            points[attributes] = {"value": point.value}
            continue
        points[attributes] = {name: getattr(point, name) for name in ("count", "sum", "min", "max")}
        if hasattr(point, "explicit_bounds"):
            points[attributes] |= {"bounds": list(point.explicit_bounds), "counts": list(point.bucket_counts)}
        else:
            points[attributes] |= {
                **{"scale": point.scale, "zero_count": point.zero_count},
                "positive": (point.positive.offset, list(point.positive.bucket_counts)),
                "negative": (point.negative.offset, list(point.negative.bucket_counts)),
            }
    return {
        "temporality": temporality and temporality.name.lower(),
        "monotonic": getattr(data, "is_monotonic", None),
        "points": points,
    }


class Instruments:
    """The same of both; `record` measures with all of them, and keeps what the exponential ones took."""

    def __init__(self, sdk: Any) -> None:
        ours = ptx.get_meter("agreement")
        self.totals: dict[Key, tuple[Attributes, float]] = {}
        self.taken: list[tuple[Key, float]] = []
        pairs: list[tuple[Callable[..., None], Callable[..., None], bool]] = []

        def pair(ours: Any, theirs: Any, call: str, ints: bool = False) -> None:
            ways = [
                getattr(ours, call),
                lambda value, attributes: getattr(ours.bind(attributes), call)(value),
            ]
            if hasattr(ours, "record_many"):
                ways.append(lambda value, attributes: ours.record_many([value], attributes))
            ways_in_turn = itertools.cycle(ways)
            theirs_call = theirs.set if hasattr(theirs, "set") else getattr(theirs, call)
            pairs.append((lambda *given: next(ways_in_turn)(*given), theirs_call, ints))

        for name, ints in (("mixed", False), ("ints", True)):
            pair(ours.counter(f"c.{name}"), sdk.create_counter(f"c.{name}"), "add", ints)
            pair(ours.up_down_counter(f"u.{name}"), sdk.create_up_down_counter(f"u.{name}"), "add", ints)
            pair(ours.gauge(f"g.{name}"), sdk.create_gauge(f"g.{name}"), "record", ints)
        for name, bounds in (("default", None), ("own", [-1.5, 0, 1, 10, 999, 1e9]), ("none", [])):
            theirs = sdk.create_histogram(f"h.{name}", explicit_bucket_boundaries_advisory=bounds)
            pair(ours.histogram(f"h.{name}", boundaries=bounds), theirs, "record")
        # The boundaries of seconds are ours.
        theirs = sdk.create_histogram("h.s", unit="s", explicit_bucket_boundaries_advisory=SECONDS)
        pair(ours.histogram("h.s", unit="s"), theirs, "record")
        for size in EXPONENTIAL_SIZES:
            name = f"exponential.{size}"
            mine = ours.histogram(name, aggregation="exponential", max_size=size)
            pair(mine, sdk.create_histogram(name), "record")
        self.pairs = pairs
        for kind in ("counter", "up_down_counter", "gauge"):
            getattr(ours, f"observable_{kind}")(f"o.{kind}", self.observe)
            getattr(sdk, f"create_observable_{kind}")(f"o.{kind}", [self.observe])

    def observe(self, options: CallbackOptions) -> Iterator[Observation]:
        for attributes, total in list(self.totals.values()):
            yield Observation(total, attributes)

    def record(self, value: float, attributes: Attributes) -> None:
        for ours, theirs, ints in self.pairs:
            each = int(value) if ints else value
            ours(each, attributes)
            theirs(each, attributes)
        key = key_of(attributes)
        if value >= 0:
            self.taken.append((key, value))
            self.totals[key] = attributes, self.totals.get(key, (attributes, 0))[1] + value


@pytest.fixture
def collectors() -> Iterator[list[OtlpServer]]:
    servers = [OtlpServer() for _ in TEMPORALITIES]
    yield servers
    ptx.shutdown()
    for server in servers:
        server.close()


def test_every_collection_has_the_same_points(collectors: list[OtlpServer]) -> None:
    """Values, buckets, types, temporality and monotonicity by attribute set; windows that touch."""
    draw = random.Random(20)
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # it warns of every negative value
    sinks = [
        ptx.MetricSink(collector.endpoint, "http", temporality=temporality)
        for collector, temporality in zip(collectors, TEMPORALITIES)
    ]
    ptx.init(ptx.Config("svc", sinks=sinks))
    sdk = Sdk()
    both = Instruments(sdk.meter)
    windows = [Windows() for _ in TEMPORALITIES]
    negative = 0
    for measurements in WINDOWS:
        before = len(both.taken)
        for _ in range(measurements):
            value = some_value(draw)
            negative += value < 0
            both.record(value, some_attributes(draw))
        for _ in range(draw.randrange(3) if both.totals else 0):
            # What is not observed any more; it begins at zero when it returns.
            both.totals.pop(draw.choice(sorted(both.totals, key=sorted)))
        arrived = [len(collector.requests) for collector in collectors]
        assert ptx.force_flush()
        for index, temporality in enumerate(TEMPORALITIES):
            found = [
                metric
                for request in collectors[index].requests[arrived[index] :]
                for metric in request.metrics
            ]
            taken = both.taken if temporality == "cumulative" else both.taken[before:]
            compare(found, sdk.collect(index), both, grouped(taken))
            windows[index].look(found)
    assert sum(WINDOWS) == MEASUREMENTS and negative > 1000
    stats = ptx.stats()["measurements"]
    # A negative fraction is no negative whole number.
    refusing = 1 + 4 + len(EXPONENTIAL_SIZES)
    assert negative * refusing <= stats["negative"] < negative * (refusing + 1)
    assert stats["late_observations"] == stats["callback_errors"] == stats["conflicts"] == 0
    sdk.provider.shutdown()
    both.totals.clear()  # callbacks stay for the process: these have nothing more to say


def grouped(taken: Sequence[tuple[Key, float]]) -> dict[Key, list[float]]:
    found: dict[Key, list[float]] = {}
    for key, value in taken:
        found.setdefault(key, []).append(value)
    return found


def compare(
    ours: list[Decoded], theirs: dict[str, Decoded], both: Instruments, taken: dict[Key, list[float]]
) -> None:
    by_name = {metric["name"]: metric for metric in ours}
    assert len(by_name) == len(ours)
    assert set(by_name) == set(theirs)
    for name, expected in theirs.items():
        metric = by_name[name]
        points = {key_of(point["attributes"]): point for point in metric["points"]}
        assert len(points) == len(metric["points"])
        assert points.keys() == expected["points"].keys(), name
        assert (metric["temporality"], metric["monotonic"]) == (
            expected["temporality"],
            expected["monotonic"],
        ), name
        for key, point in expected["points"].items():
            if expected["monotonic"] and point["value"] < 0:
                point = {"value": both.totals[key][1]}
            same_point(name, points[key], point, taken.get(key, []))


def same_point(name: str, ours: Decoded, theirs: Decoded, taken: Sequence[float]) -> None:
    if "value" in theirs:
        assert type(ours["value"]) is type(theirs["value"]), name
        assert math.isclose(ours["value"], theirs["value"], rel_tol=1e-12, abs_tol=1e-9), name
        return
    # Sums of the same numbers in another order.
    assert math.isclose(ours["sum"], theirs["sum"], rel_tol=1e-12), name
    for field in ("count", "min", "max", "bounds", "counts", "zero_count"):
        if field in theirs:
            assert ours[field] == theirs[field], (name, field)
    if "scale" in theirs:
        same_exponential(ours, theirs, int(name.rpartition(".")[2]), taken)


def same_exponential(ours: Decoded, theirs: Decoded, max_size: int, taken: Sequence[float]) -> None:
    """Where the SDK once had to be coarse it stays so, also in the next delta window; the specification wants the
    best resolution that its bound allows. So ours is the finest scale at which these values fit, and the SDK's
    buckets are ours at the SDK's scale.
    """
    assert ours["scale"] == finest_scale(taken, max_size)
    assert ours["scale"] >= theirs["scale"] or not any(taken)
    for sign in ("positive", "negative"):
        assert len(ours[sign][1]) <= max_size
        assert coarser(*ours[sign], ours["scale"] - theirs["scale"]) == coarser(*theirs[sign], 0)


def finest_scale(values: Sequence[float], max_size: int) -> int:
    """By the definition of buckets: (base^i, base^(i+1)], base = 2^(2^-scale)."""
    above = [value for value in values if value > 0]
    if not above:
        return 0
    low, high = min(above), max(above)

    def index(value: float, scale: int) -> int:
        fraction, exponent = math.frexp(value)
        if fraction == 0.5:  # a power of two is an upper bound, exactly
            return math.ceil(math.ldexp(exponent - 1, scale)) - 1
        return math.ceil(math.ldexp(math.log2(value), scale)) - 1

    scale = 20
    while index(high, scale) - index(low, scale) >= max_size:
        scale -= 1
    return scale


def coarser(offset: int, counts: Sequence[int], shift: int) -> dict[int, int]:
    """Counts that are not zero by index, at a scale that is lower by `shift`."""
    found: dict[int, int] = {}
    for index, count in enumerate(counts, offset):
        if count:
            found[index >> shift] = found.get(index >> shift, 0) + count
    return found


class Windows:
    """What a sink's windows must be: cumulative ones begin where the first did, delta ones where the last ended."""

    def __init__(self) -> None:
        self.first: set[int] = set()
        self.ended: int | None = None

    def look(self, metrics: list[Decoded]) -> None:
        points = [(metric, point) for metric in metrics for point in metric["points"]]
        ends = {point["time"] for _, point in points}
        assert len(ends) <= 1
        starts = {point["start"] for metric, point in points if metric["temporality"] == "delta"}
        self.first |= {point["start"] for metric, point in points if metric["temporality"] == "cumulative"}
        assert len(starts) <= 1 and len(self.first) <= 1
        if starts and self.ended is not None:
            assert starts == {self.ended}
        if ends:
            self.ended = ends.pop()
        assert all(first < (self.ended or 0) for first in self.first)
