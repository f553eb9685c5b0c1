"""Metrics and logs of forked children: each process exports its own, from its own beginning, and nothing twice."""

from __future__ import annotations

import sys

import pytest
from conftest import RunPython
from otlp_server import Decoded, OtlpServer
from test_fork import CHILD

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

START = (
    CHILD
    + """
    meter, logger = ptx.get_meter("forked"), ptx.get_logger("forked")
    counter, bound = meter.counter("sum"), meter.counter("sum").bind({"bound": True})
    histogram, at = meter.histogram("histogram", boundaries=[1]), meter.gauge("at")
    def measure(value):
        counter.add(value)
        bound.add(value)
        histogram.record(value)
        at.set(time.time_ns())
    def begin(temporality="cumulative"):
        sinks = [ptx.MetricSink(endpoint, "http", temporality=temporality), ptx.OtlpLogSink(endpoint, "http")]
        ptx.init(ptx.Config("svc", sinks=sinks, console_level="off"))
"""
)


def by_pid(collector: OtlpServer, name: str) -> dict[int, list[Decoded]]:
    """Points by the process of their resource, in order of arrival."""
    found: dict[int, list[Decoded]] = {}
    for metric in collector.metrics:
        if metric["name"] == name:
            found.setdefault(metric["resource"]["process.pid"], []).extend(metric["points"])
    return found


def test_sums_begin_anew(collector: OtlpServer, run_python: RunPython) -> None:
    """What the parent measured, exported or not, is the parent's alone; a child's sums begin after the fork."""
    done = run_python(
        START
        + """
    begin()
    measure(1)
    assert ptx.force_flush()
    measure(10)
    def work():
        measure(100)
        assert ptx.force_flush()
        measure(1000)
    forked = time.time_ns()
    children = [child(work) for _ in range(3)]
    wait(*children)
    measure(5)
    assert ptx.shutdown()
    answer([os.getpid(), children, forked])
    """
    )
    parent, children, forked = done.answer
    assert done.stderr == ""
    expected = {parent: [1, 16], **{pid: [100, 1100] for pid in children}}
    sums, histograms, times = (by_pid(collector, name) for name in ("sum", "histogram", "at"))
    assert sums.keys() == histograms.keys() == times.keys() == expected.keys()
    for pid, values in expected.items():
        for attributes in ({}, {"bound": True}):
            found = [point["value"] for point in sums[pid] if point["attributes"] == attributes]
            assert found == values
        assert [point["sum"] for point in histograms[pid]] == values
        (start,) = {point["start"] for points in (sums, histograms) for point in points[pid]}
        assert (start > forked) == (pid != parent)
        assert start <= times[pid][0]["value"]


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_changes_are_exported_once(how: str, collector: OtlpServer, run_python: RunPython) -> None:
    """Forks while the parent's threads measure and log, its lanes are full, and its exporter is sending."""
    done = run_python(
        START
        + """
    import multiprocessing
    begin("delta")
    over = threading.Event()
    measured = [0, 0]
    def work(index):
        while not over.is_set():
            for _ in range(100):
                measure(1)
                measured[index] += 1
            logger.info("parent")
            time.sleep(0.001)
    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads: thread.start()
    def in_child():
        for _ in range(500): measure(1)
        for _ in range(20): logger.info("child")
    children = []
    if sys.argv[1] == "os.fork":
        for _ in range(6): children.append(child(in_child))
        wait(*children)
    else:
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=in_child) for _ in range(6)]
        for worker in workers: worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        children = [worker.pid for worker in workers]
    over.set()
    for thread in threads: thread.join()
    assert ptx.shutdown()
    answer([os.getpid(), children, sum(measured)])
    """,
        how,
    )
    parent, children, measured = done.answer
    assert done.stderr == ""
    expected = {parent: measured, **dict.fromkeys(children, 500)}
    sums = by_pid(collector, "sum")
    assert {pid: sum(point["value"] for point in points) for pid, points in sums.items()} == {
        pid: 2 * count for pid, count in expected.items()
    }
    counts = by_pid(collector, "histogram")
    assert {pid: sum(point["count"] for point in points) for pid, points in counts.items()} == expected
    bodies = [(log["body"], log["resource"]["process.pid"]) for log in collector.logs]
    assert {pid: bodies.count(("child", pid)) for pid in children} == dict.fromkeys(children, 20)
    assert {pid for body, pid in bodies if body == "parent"} == {parent}
    assert len(bodies) == 20 * len(children) + bodies.count(("parent", parent))


def test_observable_instruments_come_back(collector: OtlpServer, run_python: RunPython) -> None:
    """In a child that does nothing of its own but end, and of changes only what is the child's."""
    done = run_python(
        START
        + """
    meter.observable_gauge("pid", os.getpid)
    meter.observable_counter("total", lambda: 7)
    begin("delta")
    assert ptx.force_flush()
    children = [child(lambda: None), child(lambda: ptx.force_flush())]
    wait(*children)
    answer([os.getpid(), children])
    """
    )
    parent, children = done.answer
    assert done.stderr == ""
    found = by_pid(collector, "pid")
    assert set(found) == {parent, *children}
    assert all({point["value"] for point in points} == {pid} for pid, points in found.items())
    totals = by_pid(collector, "total")
    assert {pid: points[0]["value"] for pid, points in totals.items()} == dict.fromkeys(
        [parent, *children], 7
    )
    assert len(totals[children[1]]) >= 2


def test_logs_of_children_are_their_own(collector: OtlpServer, run_python: RunPython) -> None:
    """Whatever the parent has not sent yet; the handler of `logging` works on with no user code."""
    done = run_python(
        START
        + """
    import logging, pytracingx.logging
    begin()
    pytracingx.logging.install(logging.INFO, logging.getLogger("std"))
    logger.info("of the parent")
    def work():
        logger.info("of a child")
        logging.getLogger("std").warning("%s a child", "std of")
    with ptx.start_span("around") as span:
        children = [child(work) for _ in range(3)]
        wait(*children)
        ids = [span.trace_id(), span.span_id()]
    answer([os.getpid(), children, ids])
    """
    )
    parent, children, ids = done.answer
    assert done.stderr == ""
    assert collector.log("of the parent")["resource"]["process.pid"] == parent
    for body in ("of a child", "std of a child"):
        logs = [log for log in collector.logs if log["body"] == body]
        assert sorted(log["resource"]["process.pid"] for log in logs) == sorted(children)
        assert all([log["trace_id"], log["span_id"]] == ids for log in logs)
        instances = {log["resource"]["service.instance.id"] for log in collector.logs}
        assert len(instances) == 4
