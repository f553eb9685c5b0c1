"""Counters that count by themselves: small ints, bound or without attributes, are no records but arrive all the same, once,
in the sums that records would have made."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Decoded, OtlpServer

import pytracingx as ptx

START = """
    meter = ptx.get_meter("tallies")
    def sink(**options): return ptx.MetricSink(endpoint, "http", **options)
    def begin(*sinks, **options):
        ptx.init(ptx.Config("svc", sinks=list(sinks) or [sink()], **options))
    def recorded(): return ptx.stats()["measurements"]["recorded"]
"""


def values(points: list[Decoded]) -> dict[Any, Any]:
    """By attributes."""
    return {tuple(sorted(point["attributes"].items())): point["value"] for point in points}


def test_ways_to_add_make_one_sum(collector: OtlpServer, run_python: RunPython) -> None:
    """Small and large, int and bool, plain, bound, given, by keyword; in readers of totals and of changes at once."""
    done = run_python(
        START
        + """
    begin(sink(), sink(temporality="delta"))
    counter, balance = meter.counter("sum"), meter.up_down_counter("balance")
    bound, owed = counter.bind({"k": 1}), balance.bind({"k": 1})
    for each in range(3):
        for add in (counter.add, bound.add, balance.add, owed.add):
            add(1); add(value=2); add(True); add(2**29); add(2**30); add(2**31); add(0)
        counter.add(1, {"k": 1}); counter.add(4, None)
        for add in (balance.add, owed.add): add(-5); add(-2**30)
        assert ptx.force_flush()
    for add in (counter.add, bound.add): add(-1)
    assert ptx.force_flush()
    answer([recorded(), ptx.stats()["measurements"]["negative"]])
    """
    )
    assert done.answer == [3 * (4 * 7 + 2 + 4), 2]
    each = 1 + 2 + 1 + 2**29 + 2**30 + 2**31
    plain, bound = (), (("k", 1),)
    sums = {plain: each + 4, bound: each + 1}
    totals: dict[str, list[dict[Any, Any]]] = {"cumulative": [], "delta": []}
    for metric in collector.metrics:
        if metric["name"] == "sum":
            totals[metric["temporality"]].append(values(metric["points"]))
    assert totals["cumulative"] == [
        {key: value * windows for key, value in sums.items()} for windows in (1, 2, 3, 3, 3)
    ]
    assert totals["delta"] == [sums] * 3
    rest = 3 * (each - 5 - 2**30)
    assert values(collector.points("balance")) == {plain: rest, bound: rest}


def test_a_sum_beyond_64_bits(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    begin()
    counter = meter.counter("sum").bind({})
    for _ in range(3): counter.add(2**62)
    for _ in range(1000): counter.add(2**30 - 1)
    """
    )
    (value,) = (point["value"] for point in collector.points("sum"))
    assert value == float(3 * 2**62 + 1000 * (2**30 - 1)) and type(value) is float


def test_a_float_makes_the_sum_a_float(collector: OtlpServer, run_python: RunPython) -> None:
    """And what is small beside all that came before is not lost in the changes of a later window."""
    run_python(
        START
        + """
    begin(sink(temporality="delta"))
    bound = meter.counter("sum").bind({"k": "v"})
    for add in (1, 2.5, 1e300, 3, 0.25):
        bound.add(add); bound.add(1)
        assert ptx.force_flush()
    """
    )
    found = [point["value"] for point in collector.points("sum", every=True)]
    assert found == [2, 3.5, 1e300, 4, 1.25]
    assert [type(value) for value in found] == [int, float, float, int, float]


def test_counts_are_there_without_a_flush(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    begin(sink(export_interval_ms=3_600_000))
    counter = meter.counter("sum")
    counter.add(1)  # the first one of a session may be a record
    assert ptx.force_flush()
    before = recorded()
    for _ in range(1000): counter.add(2)
    during = recorded()
    ptx.shutdown()
    answer([before, during, recorded()])
    """
    )
    assert done.answer == [1, 1001, 1001]
    assert collector.points("sum")[0]["value"] == 2001


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_threads_and_handles_of_one_set(
    temporality: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """Each its own handle, some dropped at once, while collections pass by; recorded from a signal handler too."""
    done = run_python(
        START
        + f"""
    import signal
    begin(sink(temporality={temporality!r}, export_interval_ms=5))
    counter = meter.counter("sum")
    signals = 0
    def from_signal(*_):
        global signals
        signals += 1
        counter.bind({{"k": "v"}}).add(1)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, from_signal)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    class Finalized:
        def __del__(self): counter.bind({{"k": "v"}}).add(1)
    def work():
        bound = counter.bind({{"k": "v"}})
        for index in range(20_000):
            bound.add(2)
            counter.add(3)
            if index % 20 == 0:
                counter.bind({{"k": "v"}}).add(1)
                cycle = [Finalized()]
                cycle.append(cycle)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    if hasattr(signal, "setitimer"): signal.setitimer(signal.ITIMER_REAL, 0)
    import gc; gc.collect()
    assert ptx.force_flush()
    answer([signals, recorded()])
    """
    )
    signals, recorded = done.answer
    total: dict[Any, int] = {}
    for point in collector.points("sum", every=True):
        key = tuple(point["attributes"])
        total[key] = point["value"] + (total.get(key, 0) if temporality == "delta" else 0)
    times = 4 * 20_000
    assert total == {(): 3 * times, ("k",): 2 * times + 2 * times // 20 + signals}
    assert recorded == 2 * times + 2 * times // 20 + signals


def test_sessions_begin_anew(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    counter = meter.counter("sum")
    bound = counter.bind({"k": "v"})
    for session in range(1, 4):
        begin()
        for _ in range(10): counter.add(session); bound.add(session)
        assert ptx.shutdown()
        for _ in range(10): counter.add(1000); bound.add(1000)
    """
    )
    by_session = [values(metric["points"]) for metric in collector.metrics]
    assert by_session == [{(): 10 * session, (("k", "v"),): 10 * session} for session in (1, 2, 3)]


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_each_process_exports_its_own(collector: OtlpServer, run_python: RunPython) -> None:
    """Forked with amounts that nobody has read yet, while threads add."""
    done = run_python(
        START
        + """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)
    counter = meter.counter("sum")
    bound = counter.bind({"k": "v"})
    begin()
    added, over = [], threading.Event()
    def work():
        count = 0
        while not over.is_set():
            bound.add(1)
            count += 1
        added.append(count)
    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(100): counter.add(1)
    children = []
    for number in range(1, 4):
        pid = os.fork()
        if pid == 0:
            for _ in range(50): counter.add(number); bound.add(number)
            if number == 3:  # a child of a child that has recorded
                pid = os.fork()
                if pid == 0:
                    counter.add(7)
                    sys.exit(0)
                assert os.waitpid(pid, 0)[1] == 0
            sys.exit(0)
        children.append(pid)
    for pid in children: assert os.waitpid(pid, 0)[1] == 0
    over.set()
    thread.join()
    answer([os.getpid(), added[0], children])
    """
    )
    parent, added, children = done.answer
    found: dict[int, dict[Any, Any]] = {}
    for metric in collector.metrics:
        found.setdefault(metric["resource"]["process.pid"], {}).update(values(metric["points"]))
    bound = (("k", "v"),)
    expected = {pid: {(): 50 * number, bound: 50 * number} for number, pid in enumerate(children, 1)}
    (grandchild,) = found.keys() - expected.keys() - {parent}
    assert found == {**expected, parent: {(): 100, bound: added}, grandchild: {(): 7}}


def test_views(collector: OtlpServer, run_python: RunPython) -> None:
    """What a view makes of a counter it makes of one that counts by itself; what is no sum is recorded."""
    run_python(
        START
        + """
    views = [
        ptx.View(instrument_name="kept", attribute_keys=["k"]),
        ptx.View(instrument_name="last", aggregation="last_value"),
        ptx.View(instrument_name="sizes", aggregation="explicit", boundaries=[5]),
        ptx.View(instrument_name="sizes", name="sizes_sum", attribute_keys=[]),
        ptx.View(instrument_name="few", cardinality_limit=3),
        ptx.View(instrument_name="dropped", drop=True),
    ]
    begin(views=views)
    for name in ("kept", "last", "sizes", "few", "dropped"):
        counter = meter.counter(name)
        for index in range(8):
            bound = counter.bind({"k": index // 4, "n": index})
            bound.add(1)
            bound.add(index)
    assert ptx.force_flush()
    answer(ptx.stats()["measurements"])
    """
    )
    assert values(collector.points("kept")) == {(("k", 0),): 4 + 6, (("k", 1),): 4 + 22}
    assert list(values(collector.points("last")).values()) == list(range(8))
    assert [point["counts"] for point in collector.points("sizes")] == [[2, 0]] * 6 + [[1, 1]] * 2
    assert values(collector.points("sizes_sum")) == {(): 8 + 28}
    few = values(collector.points("few"))
    overflow = few.pop((("otel.metric.overflow", True),))
    assert len(few) == 2 and overflow + sum(few.values()) == 8 + 28
    assert not [metric for metric in collector.metrics if metric["name"] == "dropped"]


def test_a_counter_with_examples_keeps_them(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    begin(exemplar_filter="always_on")
    counter = meter.counter("sum")
    for _ in range(3): counter.add(1)
    """
    )
    (point,) = collector.points("sum")
    assert point["value"] == 3 and len(point["exemplars"]) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no rusage")
def test_more_handles_than_are_kept(collector: OtlpServer, run_python: RunPython) -> None:
    """Each used once and gone: the sums are exact, and memory ends where the bounds of the session are."""
    done = run_python(
        START
        + """
    import resource
    begin(sink(export_interval_ms=3_600_000))
    counter = meter.counter("sum")
    for index in range(100_000): counter.bind({"k": index}).add(1)
    first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for index in range(100_000, 300_000): counter.bind({"k": index}).add(1)
    second = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert ptx.force_flush()
    answer([first, second, ptx.stats()["measurements"]])
    """
    )
    first, second, counts = done.answer
    # Of the default limit of 2,000 sets one is the overflow's.
    assert (counts["recorded"], counts["overflowed"]) == (300_000, 300_000 - 1_999)
    points = values(collector.points("sum"))
    assert points.pop((("otel.metric.overflow", True),)) == 300_000 - 1_999
    assert len(points) == 1_999 and set(points.values()) == {1}
    assert second - first < 32_768, "KiB"


def test_small_ints_are_read_as_they_are(collector: OtlpServer) -> None:
    """Whatever form the interpreter keeps them in."""
    ptx.init(ptx.Config("svc", sinks=[ptx.MetricSink(collector.endpoint, "http")]))
    try:
        sums = ptx.get_meter("tallies").up_down_counter("ints")
        edges = [0, 1, 5, 255, 256, 257, 2**15, 2**16, 2**29, 2**30 - 1, 2**30, 2**31, 2**45, 2**60, 2**62]
        bound = [(value, sums.bind({"v": value})) for edge in edges for value in (edge, -edge)]
        for value, handle in bound:
            handle.add(value)  # a record, as the first one of a session may be
            handle.add(value - value + value)
        assert ptx.force_flush()
        found = {point["attributes"]["v"]: point["value"] for point in collector.points("ints")}
        assert found == {value: sum(each * 2 for each, _ in bound if each == value) for value, _ in bound}
    finally:
        ptx.shutdown()


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_shutdown_while_threads_add(temporality: str, collector: OtlpServer, run_python: RunPython) -> None:
    """In each of the ways that there are. What is recorded is delivered or counted as too late; with Python's global lock
    nothing is too late: a call that had begun is over before the last collection begins."""
    done = run_python(
        START
        + f"""
    counter = meter.counter("sum")
    bound = counter.bind({{"way": "bound"}})
    histogram = meter.histogram("many")
    over, started = threading.Event(), threading.Barrier(5)
    def work(add):
        started.wait()
        while not over.is_set(): add()
    ways = [
        lambda: counter.add(1), lambda: bound.add(1), lambda: counter.add(1, {{"way": "given"}}),
        lambda: histogram.record_many([1, 1]),
    ]
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=work, args=(way,)) for way in ways]
    for thread in threads: thread.start()
    started.wait()
    books = []
    for session in range(40):
        begin(sink(temporality={temporality!r}))
        while recorded() < 100: time.sleep(0.001)
        assert ptx.shutdown()
        books.append(ptx.stats()["measurements"])
        time.sleep(0.001)
        assert ptx.stats()["measurements"] == books[-1]
    over.set()
    for thread in threads: thread.join()
    answer([books, getattr(sys, "_is_gil_enabled", lambda: True)()])
    """
    )
    books, locked = done.answer
    # A session of less than a minute exports once.
    requests = collector.accepted("/v1/metrics")
    assert len(books) == len(requests) == 40
    for book, request in zip(books, requests):
        delivered = 0
        for metric in request.metrics:
            delivered += sum(point.get("count", point.get("value")) for point in metric["points"])
        assert book["recorded"] == delivered + book["shutdown"] + book["internal"]
        assert (book["internal"], book["shutdown"] if locked else 0) == (0, 0)
