"""Metrics and logs when something fails: sinks that are away, bodies that are huge, callbacks that hang or misbehave."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Answer, OtlpServer

import pytracingx as ptx

METER = ptx.get_meter("faults")
LOGGER = ptx.get_logger("faults")
MIB = 1 << 20
# Answered by what a proxy says of a server that is down; no failed connection is as quick.
DOWN = Answer(503)


@pytest.fixture(autouse=True)
def session_ends() -> Iterator[None]:
    yield
    ptx.shutdown(0)


def begin(*sinks: Any, **options: Any) -> None:
    ptx.init(ptx.Config("svc", sinks=list(sinks), console_level="off", diagnostics="off", **options))


def wait_until(fact: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def balanced(kind: str) -> list[Any]:
    """The books of these sinks, in which no record is missing."""
    sinks: list[Any] = ptx.stats()[kind]  # type: ignore[literal-required]
    for sink in sinks:
        lost = sum(sink["dropped"].values())
        assert sink["wanted"] == sink["exported"] + lost + sink["held_records"], sink
    return sinks


# Sinks that are away


def test_totals_are_right_after_an_outage(collector: OtlpServer) -> None:
    collector.default_answer = DOWN
    begin(ptx.MetricSink(collector.endpoint, "http", export_interval_ms=20))
    counter, histogram = METER.counter("sum"), METER.histogram("histogram")
    for _ in range(20):
        counter.add(1)
        histogram.record(2)
        ptx.force_flush(5)
    wait_until(lambda: balanced("metric_sinks")[0]["retried"] > 1)
    collector.default_answer = Answer()
    counter.add(1)
    assert ptx.shutdown()
    (point,) = collector.points("sum")
    (distribution,) = collector.points("histogram")
    assert (point["value"], distribution["count"], distribution["sum"]) == (21, 20, 40)
    (sink,) = balanced("metric_sinks")
    assert sink["dropped"] == {} and sink["held_records"] == 0
    values = [point["value"] for point in collector.points("sum", every=True)]
    assert values == sorted(values)


def test_changes_that_nobody_takes_are_counted(collector: OtlpServer) -> None:
    """Each is offered for `export_timeout_ms`; what was given up and what arrived is all there was."""
    collector.default_answer = DOWN
    sink = ptx.MetricSink(collector.endpoint, "http", temporality="delta", export_timeout_ms=150)
    begin(sink)
    counter = METER.counter("sum")
    added = 0

    def lost() -> int:
        nonlocal added
        counter.add(1)
        added += 1
        ptx.force_flush(5)
        return balanced("metric_sinks")[0]["dropped"].get("retry_timeout", 0)

    wait_until(lambda: lost() > 0)
    collector.default_answer = Answer()
    counter.add(1)
    assert ptx.shutdown()
    (books,) = balanced("metric_sinks")
    arrived = collector.points("sum", every=True)
    assert set(books["dropped"]) == {"retry_timeout"}
    assert sum(point["value"] for point in arrived) + books["dropped"]["retry_timeout"] == added + 1
    assert len(arrived) == books["exported"] > 0
    assert all(before["time"] <= after["start"] for before, after in zip(arrived, arrived[1:]))


def test_a_log_sink_that_is_down(collector: OtlpServer) -> None:
    """It holds up to its bound, the other one knows nothing of it, and the books balance throughout."""
    working = OtlpServer()
    collector.default_answer = DOWN
    begin(
        ptx.OtlpLogSink(collector.endpoint, "http", max_queue_bytes=50_000, batch_schedule_delay_ms=20),
        ptx.OtlpLogSink(working.endpoint, "http", batch_schedule_delay_ms=20),
    )
    for number in range(2_000):
        LOGGER.info("record %d", attributes={"number": number})
        if number % 200 == 0:
            ptx.force_flush(5)
            balanced("log_sinks")
    assert len(working.wait_for_logs(2_000)) == 2_000
    wait_until(lambda: balanced("log_sinks")[0]["retried"] > 0)
    away, there = balanced("log_sinks")
    assert (there["exported"], there["dropped"]) == (2_000, {})
    assert away["wanted"] == 2_000 and away["exported"] == 0
    assert set(away["dropped"]) == {"queue_full"} and 0 < away["held_bytes_max"] <= 50_000
    collector.default_answer = Answer()
    ptx.shutdown()
    away, _ = balanced("log_sinks")
    assert away["held_records"] == 0
    # What came first was held.
    numbers = [log["attributes"]["number"] for log in collector.logs]
    assert numbers[: away["held_records_max"]] == list(range(away["held_records_max"]))
    assert len(numbers) == away["exported"] == 2_000 - away["dropped"]["queue_full"]
    working.close()


def test_what_a_dead_log_sink_still_holds_at_the_end_is_counted(collector: OtlpServer) -> None:
    collector.default_answer = DOWN
    begin(ptx.OtlpLogSink(collector.endpoint, "http"))
    for _ in range(10):
        LOGGER.info("lost")
    assert ptx.shutdown(200) is False
    (sink,) = balanced("log_sinks")
    assert (sink["wanted"], sink["dropped"], sink["held_records"]) == (10, {"shutdown": 10}, 0)


# Bodies


@pytest.mark.parametrize("size", [MIB, 8 * MIB])
@pytest.mark.parametrize("options", [{}, {"ring_capacity": 262_144}], ids=["default", "small ring"])
def test_a_body_travels_whole(size: int, options: dict[str, int], collector: OtlpServer) -> None:
    """Also one larger than its ring, and than a request usually is."""
    begin(ptx.OtlpLogSink(collector.endpoint, "http"), **options)
    body = "0123456789abcdef" * (size // 16)
    LOGGER.info("before")
    LOGGER.info(body, attributes={"k": "v"})
    LOGGER.info("after")
    assert ptx.force_flush()
    # The two on both sides may go with it or without.
    bodies = {log["body"]: log["attributes"] for log in collector.logs}
    assert bodies == {"before": {}, body: {"k": "v"}, "after": {}}


def test_many_large_bodies_obey_the_bounds(collector: OtlpServer) -> None:
    """What the rings and the queue of the sink cannot hold is dropped and counted, and what arrives is whole."""
    collector.default_answer = Answer(delay_s=0.2)
    sink = ptx.OtlpLogSink(collector.endpoint, "http", max_queue_bytes=6 * MIB)
    begin(sink, ring_capacity=4 * MIB, lane_budget_bytes=8 * MIB)
    bodies = [chr(97 + number % 26) * MIB for number in range(26)]
    for number in range(104):
        LOGGER.info(bodies[number % 26], attributes={"number": number})
    ptx.force_flush()
    (books,) = balanced("log_sinks")
    recorded = ptx.stats()["logs"]
    on_the_way = recorded["dropped"]
    assert recorded["recorded"] == 104 == books["wanted"] + sum(on_the_way.values())
    assert set(on_the_way) <= {"ring_full", "oversize_full"} and set(books["dropped"]) <= {"queue_full"}
    assert sum(on_the_way.values()) + sum(books["dropped"].values()) > 0
    assert books["held_bytes_max"] <= 6 * MIB
    assert ptx.stats()["lanes"]["bytes_max"] <= 8 * MIB
    logs = collector.logs
    assert len(logs) == books["exported"] > 0
    assert all(log["body"] == bodies[log["attributes"]["number"] % 26] for log in logs)


# Callbacks

START = """
    meter = ptx.get_meter("callbacks")
    def begin(*sinks, **options):
        sinks = [ptx.MetricSink(endpoint, "http"), *sinks]
        ptx.init(ptx.Config("svc", sinks=sinks, console_level="off", **options))
    def hang(): threading.Event().wait()
    def took(call):
        began = time.monotonic()
        result = call()
        return [result, time.monotonic() - began]
"""


@pytest.mark.parametrize("timeout_ms", [200, 1000])
@pytest.mark.parametrize("end", ["force_flush", "shutdown"])
def test_hanging_callbacks_hold_nobody(
    end: str, timeout_ms: int, collector: OtlpServer, run_python: RunPython
) -> None:
    """Within the time that the caller gave, and everybody else's data arrives."""
    done = run_python(
        START
        + """
    for index in range(8): meter.observable_gauge(f"hung.{index}", hang)
    begin()
    meter.counter("sum").add(1)
    meter.histogram("histogram").record(1)
    answer(took(lambda: getattr(ptx, sys.argv[1])(int(sys.argv[2]))))
    os._exit(0)
    """,
        end,
        str(timeout_ms),
    )
    _, seconds = done.answer
    assert seconds < timeout_ms / 1000 + 0.1
    assert collector.points("sum")[0]["value"] == 1 and collector.points("histogram")[0]["count"] == 1


def test_the_others_of_one_that_hangs_are_observed(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    meter.observable_gauge("before", lambda: 1)
    meter.observable_gauge("hung", hang)
    meter.observable_gauge("after", lambda: 1)
    begin()
    answer([*took(lambda: ptx.force_flush(1000)), ptx.stats()["measurements"]["late_observations"]])
    os._exit(0)
    """
    )
    delivered, seconds, late = done.answer
    assert delivered and late == 0 and seconds < 1.1
    assert {metric["name"] for metric in collector.metrics} == {"before", "after"}


@pytest.mark.parametrize("end", ["force_flush", "shutdown"])
def test_one_that_flushes_or_ends_us(end: str, collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    def within():
        getattr(ptx, sys.argv[1])()
        return 1
    meter.observable_gauge("within", within)
    meter.observable_gauge("after", lambda: 1)
    begin()
    meter.counter("sum").add(1)
    first = took(lambda: ptx.force_flush())
    answer([first, took(lambda: ptx.shutdown())])
    """,
        end,
    )
    (_, flush), (_, shutdown) = done.answer
    assert flush < 2 and shutdown < 2
    assert collector.points("sum")[0]["value"] == 1


def test_what_a_callback_logs_is_dropped(collector: OtlpServer, run_python: RunPython) -> None:
    """And counted, by whichever way it comes; what else it logs to is its own business."""
    done = run_python(
        START
        + """
    import logging, pytracingx.logging
    pytracingx.logging.install(logging.INFO, logging.getLogger("std"))
    logging.getLogger("std").addHandler(logging.StreamHandler(sys.stdout))
    logger = ptx.get_logger("ours")
    def callback():
        logging.getLogger("std").info("from a callback")
        logger.info("from a callback")
        ptx.emit_log_record("ours", "from a callback", severity_number=9, severity_text="INFO")
        return 1
    meter.observable_gauge("talkative", callback)
    begin(ptx.OtlpLogSink(endpoint, "http"))
    assert ptx.force_flush()
    logger.info("from the program")
    assert ptx.force_flush()
    answer(ptx.stats()["logs"])
    """
    )
    assert done.answer == {"recorded": 7, "dropped": {"reentrant": 6}}
    assert [log["body"] for log in collector.logs] == ["from the program"]
    assert done.stdout.splitlines() == ["from a callback"] * 3
    assert collector.points("talkative")[0]["value"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_during_a_hanging_callback(collector: OtlpServer, run_python: RunPython) -> None:
    """Ctrl-C ends the wait, not the session."""
    done = run_python(
        START
        + """
    import signal
    meter.observable_gauge("hung", hang)
    begin()
    meter.counter("sum").add(1)
    threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
    began = time.monotonic()
    try:
        ptx.force_flush(20_000)
        while True: time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    assert ptx.is_initialized()
    answer(time.monotonic() - began)
    assert ptx.shutdown(1000) in (True, False)
    """
    )
    assert done.answer < 1
    assert collector.points("sum")[0]["value"] == 1
