"""Many threads, short-lived threads, full speed and full lanes: every span arrives once, or is counted as lost."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from conftest import RunPython
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_server import OtlpServer


def span_ids(collector: OtlpServer) -> Counter[bytes]:
    """How often each span id arrived; undecoded otherwise, for these are many."""
    found: Counter[bytes] = Counter()
    for request in collector.requests:
        for resource_spans in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                found.update(span.span_id for span in scope_spans.spans)
    return found


# `books()` checks that nothing is unaccounted for, and returns recorded, exported and lost in lanes.
BOOKS = """
    def books():
        stats = ptx.stats()
        recorded, dropped = stats["spans"]["recorded"], sum(stats["spans"]["dropped"].values())
        for sink in stats["trace_sinks"]:
            assert sink["wanted"] == recorded - dropped == sink["exported"], stats
        assert stats["exporter_restarts"] == 0
        return recorded, recorded - dropped, stats["spans"]["dropped"]
    def resident_kib():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
    def run(count, work):
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
"""
START = (
    BOOKS
    + """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
"""
)


def assert_arrived_once(collector: OtlpServer, count: int) -> None:
    found = span_ids(collector)
    assert len(found) == count
    assert set(found.values()) == {1}


def test_eight_threads(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    def work():
        for _ in range(50_000):
            with ptx.start_span("op"): pass
    run(8, work)
    assert ptx.shutdown(60_000) is True
    answer(books())
    """
    )
    assert done.answer == [400_000, 400_000, {}]
    assert_arrived_once(collector, 400_000)


def test_one_thread_at_full_speed(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    for number in range(200_000):
        with ptx.start_span("op", {"model": "m", "tokens": number, "ratio": 0.5}): pass
    assert ptx.shutdown(60_000) is True
    answer(books())
    """
    )
    assert done.answer == [200_000, 200_000, {}]
    assert_arrived_once(collector, 200_000)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_short_lived_threads(collector: OtlpServer, run_python: RunPython) -> None:
    """Resident memory after 10 000 threads is what it was after 1 000."""
    done = run_python(
        START
        + """
    def work():
        with ptx.start_span("op", {"thread": "short-lived"}): pass
    def churn(count):
        for _ in range(count // 20): run(20, work)
        assert ptx.force_flush(30_000)
        return resident_kib()
    before, after = churn(1_000), churn(9_000)
    lanes = ptx.stats()["lanes"]
    assert ptx.shutdown(30_000) is True
    answer([before, after, lanes, books()])
    """
    )
    before, after, lanes, books = done.answer
    assert books == [10_000, 10_000, {}]
    assert lanes["lanes"] <= 65
    assert after - before < 2048, f"{before} KiB after 1 000 threads, {after} KiB after 10 000"
    assert_arrived_once(collector, 10_000)


def test_what_a_thread_leaves_behind_records_when_it_ends(
    collector: OtlpServer, run_python: RunPython
) -> None:
    """Python clears a thread's locals when the thread is past its code, as it is past ours."""
    done = run_python(
        START
        + """
    left = threading.local()
    class Late:
        def __del__(self):
            with ptx.start_span("late", {"k": [1, "x"]}): pass
    def work():
        left.late = Late()
        with ptx.start_span("op"): pass
    for _ in range(50): run(4, work)
    assert ptx.shutdown() is True
    answer(books())
    """
    )
    assert done.answer == [400, 400, {}] and done.stderr == ""
    assert_arrived_once(collector, 400)


def test_spans_that_end_in_another_thread(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    from queue import SimpleQueue
    spans = SimpleQueue()
    def end():
        while True:
            span = spans.get()
            if span is None: return
            span.set_attribute("ended", "elsewhere")
            span.end()
    enders = [threading.Thread(target=end) for _ in range(4)]
    for thread in enders: thread.start()
    def begin():
        for _ in range(2_000): spans.put(ptx.start_span("op", activate=False))
    run(4, begin)
    for _ in enders: spans.put(None)
    for thread in enders: thread.join()
    assert ptx.shutdown(30_000) is True
    answer(books())
    """
    )
    assert done.answer == [8_000, 8_000, {}]
    assert_arrived_once(collector, 8_000)
    assert all(span["attributes"] == {"ended": "elsewhere"} for span in collector.spans)


def test_a_full_lane_drops_the_newest_and_counts(collector: OtlpServer, run_python: RunPython) -> None:
    """Spans of 3 kB into the smallest lane: copied faster than they can be encoded."""
    done = run_python(
        BOOKS
        + """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")], ring_capacity=262_144))
    ptx.start_span("first", {"number": -1}).end()
    assert ptx.force_flush()
    payload = "x" * 3_000
    slowest = 0
    for number in range(20_000):
        begun = time.perf_counter()
        ptx.start_span("op", {"number": number, "payload": payload}).end()
        slowest = max(slowest, time.perf_counter() - begun)
    assert ptx.shutdown(60_000) is True
    answer([books(), slowest])
    """
    )
    (recorded, exported, dropped), slowest = done.answer
    assert recorded == 20_001
    assert dropped == {"ring_full": recorded - exported} and 0 < exported < recorded
    assert slowest < 5
    assert_arrived_once(collector, exported)
    assert "losing spans on their way to the exporter: ring_full" in done.stderr
    assert f"lost {recorded - exported} spans on their way to the exporter: ring_full" in done.stderr


def test_a_beginning_that_is_not_shown_is_no_lost_span(collector: OtlpServer, run_python: RunPython) -> None:
    """Where spans are shown, each has a second record, which finds a full lane as well."""
    done = run_python(
        BOOKS
        + """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")], ring_capacity=262_144, console_output=True))
    payload = "x" * 3_000
    parent = ptx.start_span("parent", activate=False)
    batch = ptx.parent_set([parent] * 100)
    parent.end()
    for number in range(3_000):
        with ptx.start_span("op", {"payload": payload}): ptx.start_span("child").end()
        if number % 100 == 0: ptx.record_spans("row", batch, 1, 2, {"payload": payload})
    assert ptx.shutdown(60_000) is True
    answer(books())
    """
    )
    recorded, exported, dropped = done.answer
    assert recorded == 1 + 6_000 + 30 * 100
    assert dropped == {"ring_full": recorded - exported} and 0 < exported < recorded
    assert_arrived_once(collector, exported)


def test_many_threads_share_a_small_budget(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        BOOKS
        + """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")], ring_capacity=262_144,
                        lane_budget_bytes=1_048_576, diagnostics="off"))
    everyone = threading.Barrier(40)
    def work():
        everyone.wait()
        for _ in range(500):
            with ptx.start_span("op", {"payload": "x" * 1000}): pass
    run(40, work)
    lanes = ptx.stats()["lanes"]
    assert ptx.shutdown(60_000) is True
    answer([books(), lanes])
    """
    )
    (recorded, exported, dropped), lanes = done.answer
    assert recorded == 20_000 == exported + dropped.get("ring_full", 0)
    assert set(dropped) <= {"ring_full"}
    assert lanes["bytes_max"] <= 1_048_576
    assert_arrived_once(collector, exported)


def test_oversized_spans_are_handed_over_in_bounded_number(
    collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(
        BOOKS
        + """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", compression="gzip")]))
    payload = "x" * 1_000_000
    for number in range(300):
        with ptx.start_span("op", {"payload": payload, "number": number}): pass
        if number % 10 == 0: ptx.force_flush(10_000)
    assert ptx.shutdown(60_000) is True
    answer(books())
    """
    )
    recorded, exported, dropped = done.answer
    assert recorded == 300 == exported + dropped.get("oversize_full", 0)
    assert_arrived_once(collector, exported)
    assert {len(span["attributes"]["payload"]) for span in collector.spans[:20]} == {1_000_000}
