"""No measurement is lost: full lanes, threads that come and go, windows, more attribute sets than are told apart."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Decoded, OtlpServer

THREADS, EACH = 4, 250_000
SMALLEST = {"ring_capacity": 262_144, "lane_budget_bytes": 262_144}

START = """
    meter = ptx.get_meter("all")
    def begin(temporality="cumulative", *sinks, **options):
        sinks = [ptx.MetricSink(endpoint, "http", temporality=temporality), *sinks]
        ptx.init(ptx.Config("svc", sinks=sinks, **options))
    def counts():
        return {name: count for name, count in ptx.stats()["measurements"].items() if count}
    def run(*works):
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
"""


def only(collector: OtlpServer, name: str) -> Decoded:
    (point,) = collector.points(name)
    return point


def overflow_of(points: list[Decoded]) -> list[Decoded]:
    return [point for point in points if point["attributes"] == {"otel.metric.overflow": True}]


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("options", [{}, SMALLEST], ids=["default", "smallest"])
def test_a_million_of_four_threads(
    options: dict[str, int], temporality: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """With and without a handle, while collections pass by."""
    done = run_python(
        START
        + f"""
    begin({temporality!r}, **{options})
    counter, bound = meter.counter("sum"), meter.counter("sum").bind({{}})
    over = threading.Event()
    def one_by_one(add):
        def work():
            for _ in range({EACH}): add(1)
        return work
    def collect():
        while not over.wait(0.02): assert ptx.force_flush()
    collecting = threading.Thread(target=collect)
    collecting.start()
    run(*[one_by_one(each) for each in (counter.add, bound.add) for _ in range({THREADS} // 2)])
    over.set()
    collecting.join()
    assert ptx.force_flush()
    answer(counts())
    """
    )
    values = [point["value"] for point in collector.points("sum", every=True)]
    assert (values[-1] if temporality == "cumulative" else sum(values)) == THREADS * EACH
    assert {type(value) for value in values} == {int}
    assert done.answer.pop("folded", 0) <= done.answer["recorded"]
    assert done.answer == {"recorded": THREADS * EACH}


def test_lanes_full_of_spans(collector: OtlpServer, run_python: RunPython) -> None:
    """Measurements that find no room are folded: sums, buckets and last values are right all the same."""
    done = run_python(
        START
        + f"""
    begin("cumulative", ptx.TraceSink(endpoint, "http"), diagnostics="off", **{SMALLEST})
    given = {{"k": "v", "n": 1}}
    counter, up_down, gauge = meter.counter("sum"), meter.up_down_counter("up_down"), meter.gauge("last")
    explicit = meter.histogram("explicit", boundaries=[1, 2, 3])
    exponential = meter.histogram("exponential", aggregation="exponential", max_size=4)
    calls = [(counter.add, 1), (up_down.add, -1), (explicit.record, 3), (exponential.record, 3)]
    bound = [(counter.bind(given).add, 1), (explicit.bind(given).record, 3), (exponential.bind(given).record, 3)]
    text = "x" * 2000
    def work():
        for index in range(3000):
            for _ in range(4): ptx.start_span("flood", {{"text": text}}, activate=False).end()
            value = index % 4 + 1
            for call, factor in calls:
                call(value * factor)
                call(value * factor, given)
            for call, factor in bound: call(value * factor)
            gauge.set(index)
    run(*[work] * {THREADS})
    assert ptx.force_flush(30_000)
    answer([counts(), ptx.stats()["spans"]["dropped"]])
    """
    )
    counts, dropped = done.answer
    assert counts["recorded"] == THREADS * 3000 * 12
    assert 0 < counts["folded"] < counts["recorded"] and dropped["ring_full"] > 0
    times = THREADS * 3000
    total = times * 2.5
    plain, given = (), (("k", "v"), ("n", 1))

    def points(name: str) -> dict[Any, Decoded]:
        return {tuple(sorted(point["attributes"].items())): point for point in collector.points(name)}

    assert {key: point["value"] for key, point in points("sum").items()} == {plain: total, given: 2 * total}
    assert {key: point["value"] for key, point in points("up_down").items()} == {plain: -total, given: -total}
    assert only(collector, "last")["value"] == 2999
    for key, factor in ((plain, 1), (given, 2)):
        point = points("explicit")[key]
        quarter = times * factor // 4
        assert (point["count"], point["sum"]) == (times * factor, 3 * total * factor)
        assert (point["min"], point["max"], point["counts"]) == (3, 12, [0, 0, quarter, 3 * quarter])
        point = points("exponential")[key]
        assert (point["count"], point["sum"], point["zero_count"]) == (times * factor, 3 * total * factor, 0)
        assert (point["min"], point["max"]) == (3, 12)
        # 3, 6, 9, 12 at the finest scale at which they fit four buckets.
        assert (point["scale"], point["positive"]) == (0, (1, [quarter, quarter, 2 * quarter]))


def test_threads_that_come_and_go(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + f"""
    begin(**{SMALLEST})
    counter, bound = meter.counter("sum"), meter.histogram("histogram").bind({{"k": "v"}})
    def work():
        for _ in range(20):
            counter.add(1)
            bound.record(0.5)
    for _ in range(50): run(*[work] * 10)
    assert ptx.force_flush()
    answer([counts(), ptx.stats()["lanes"]["lanes"]])
    """
    )
    counts, lanes = done.answer
    assert counts.pop("folded", 0) <= 20_000 and counts == {"recorded": 20_000} and lanes < 50
    assert only(collector, "sum")["value"] == 10_000
    point = only(collector, "histogram")
    assert (point["count"], point["sum"], point["attributes"]) == (10_000, 5_000, {"k": "v"})


def test_windows_of_changes_touch(collector: OtlpServer, run_python: RunPython) -> None:
    """As fast as can be collected, by interval and by flush: no gap, no overlap, no measurement twice."""
    done = run_python(
        START
        + """
    sink = ptx.MetricSink(endpoint, "http", temporality="delta", export_interval_ms=5)
    counter, histogram = meter.counter("sum"), meter.histogram("histogram", boundaries=[])
    meter.observable_counter("clock", time.monotonic_ns)
    ptx.init(ptx.Config("svc", sinks=[sink]))
    over = threading.Event()
    def work():
        while not over.is_set():
            counter.add(1)
            histogram.record(1)
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers: worker.start()
    for _ in range(30): assert ptx.force_flush()
    over.set()
    for worker in workers: worker.join()
    assert ptx.force_flush()
    answer(counts())
    """
    )
    assert "late_observations" not in done.answer
    windows = [(point["start"], point["time"]) for point in collector.points("clock", every=True)]
    assert len(windows) > 30 and all(start < end for start, end in windows)
    assert [start for start, _ in windows[1:]] == [end for _, end in windows[:-1]]
    total = 0
    for name, field in (("sum", "value"), ("histogram", "count")):
        points = collector.points(name, every=True)
        assert len(points) > 10 and {(point["start"], point["time"]) for point in points} <= set(windows)
        total += sum(point[field] for point in points)
    clock = len(windows) - 2  # that of the end comes after the count
    assert clock <= done.answer["recorded"] - total <= len(windows)


# Cardinality


def test_beyond_2000_attribute_sets_one_series_has_the_rest(
    collector: OtlpServer, run_python: RunPython
) -> None:
    """The overflow series is one of the 2000. Series that are there keep their own measurements."""
    done = run_python(
        START
        + """
    begin()
    counter, histogram = meter.counter("sum"), meter.histogram("histogram", boundaries=[10])
    for index in range(5000):
        counter.add(index, {"index": index})
        histogram.record(1, {"index": index})
    for index in range(5000): counter.bind({"index": index}).add(1)
    counter.add(7)
    assert ptx.force_flush()
    answer(counts())
    """
    )
    assert done.answer == {"recorded": 15_001, "overflowed": 3 * 3001 + 1}
    points = collector.points("sum")
    (overflow,) = overflow_of(points)
    values = {point["attributes"]["index"]: point["value"] for point in points if point is not overflow}
    assert values == {index: index + 1 for index in range(1999)}
    assert overflow["value"] == sum(range(1999, 5000)) + 3001 + 7
    points = collector.points("histogram")
    (overflow,) = overflow_of(points)
    assert (len(points), overflow["count"], overflow["counts"]) == (2000, 3001, [3001, 0])


def test_a_views_limit(collector: OtlpServer, run_python: RunPython) -> None:
    """Each window of changes tells others apart; a cumulative sink the first ones."""
    run_python(
        START
        + """
    view = ptx.View(instrument_name="limited", cardinality_limit=3)
    begin("delta", ptx.MetricSink(endpoint + "/totals", "http"), views=[view])
    for window in range(2):
        for index in range(5):
            meter.counter("limited").add(1, {"set": f"{window}.{index}"})
            meter.counter("unlimited").add(1, {"set": f"{window}.{index}"})
        assert ptx.force_flush()
    """
    )

    def windows(path: str) -> list[dict[Any, int]]:
        metrics = [metric for request in collector.accepted(path) for metric in request.metrics]
        return [
            {point["attributes"].get("set"): point["value"] for point in metric["points"]}
            for metric in metrics
            if metric["name"] == "limited"
        ]

    first = {"0.0": 1, "0.1": 1, None: 3}
    assert windows("/v1/metrics") == [first, {"1.0": 1, "1.1": 1, None: 3}]
    assert windows("/totals")[:2] == [first, {"0.0": 1, "0.1": 1, None: 8}]
    unlimited = [
        metric for metric in collector.accepted("/totals")[1].metrics if metric["name"] == "unlimited"
    ]
    assert len(unlimited[0]["points"]) == 10


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_memory_is_bounded_whatever_is_distinct(
    temporality: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """300 000 sets take no more than the first 100 000, and their sum is right."""
    done = run_python(
        START
        + f"""
    def resident():
        with open("/proc/self/statm") as file: return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    begin({temporality!r}, ring_capacity=1 << 20)
    counter, histogram = meter.counter("sum"), meter.histogram("histogram", aggregation="exponential")
    def stream(start):
        for index in range(start, start + 100_000):
            counter.add(1, {{"request": f"request-{{index}}"}})
            histogram.record(index, {{"request": f"request-{{index}}"}})
        assert ptx.force_flush()
        return resident()
    answer([stream(0), stream(100_000), stream(200_000), counts()["overflowed"]])
    """
    )
    first, second, third, overflowed = done.answer
    assert third - first < 16 << 20, (first, second, third)
    points = [
        point
        for metric in (collector.metrics if temporality == "delta" else [collector.metric("sum")])
        if metric["name"] == "sum"
        for point in metric["points"]
    ]
    assert sum(point["value"] for point in points) == 300_000
    assert overflowed >= 2 * (300_000 - 3 * 2000)


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_distinct_sets_of_threads_without_a_lane(
    temporality: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """What is folded tells as few sets apart, and loses none of them."""
    done = run_python(
        START
        + f"""
    begin({temporality!r}, **{SMALLEST})
    counter, histogram = meter.counter("sum"), meter.histogram("histogram")
    def work(thread):
        for index in range(20_000):
            given = {{"request": f"{{thread}} {{index}}"}}
            counter.add(2, given)
            histogram.record(2, given)
    run(*[lambda thread=thread: work(thread) for thread in range({THREADS})])
    assert ptx.force_flush()
    answer(counts())
    """
    )
    assert done.answer["recorded"] == THREADS * 40_000 and done.answer["folded"] > 0
    for name, field in (("sum", "value"), ("histogram", "sum"), ("histogram", "count")):
        metrics = [metric for metric in collector.metrics if metric["name"] == name]
        points = [point for metric in metrics for point in metric["points"]]
        if temporality == "cumulative":
            # Those of the last collection: what is large comes in several messages.
            last = max(point["time"] for point in points)
            points = [point for point in points if point["time"] == last]
        assert len({point["time"] for point in points}) > 1 or len(points) <= 2000
        assert sum(point[field] for point in points) == THREADS * (20_000 if field == "count" else 40_000)
