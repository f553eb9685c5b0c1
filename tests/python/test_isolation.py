"""An endpoint's trouble is its own: a healthy sink beside it gets its batches when they are due, deadlines are
kept, what is told is true, and every record is accounted for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from conftest import RunPython
from faults import black_hole, endless_body, garbage, hung, refusing, trickling
from otlp_server import OtlpServer, closed_port

import pytracingx as ptx

Fault = Callable[[], AbstractContextManager[str]]

FAULTS: list[Fault] = [refusing, black_hole, hung, trickling, garbage, endless_body]
# How the bad endpoint is spoken to; the good one speaks HTTP.
PROTOCOLS = ["http", "grpc"]

# `start(*bad, **keywords)`: the good sink and bad ones, by their endpoints. `record(count)`. `sinks()`: the books, which
# must balance. `timed(call, *arguments)`: its result and how long it took.
PRELUDE = """
    def start(*bad, protocol="http", **keywords):
        good = ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=50, **keywords)
        bad = [ptx.TraceSink(url, protocol, batch_schedule_delay_ms=50, **keywords) for url in bad]
        ptx.init(ptx.Config("svc", sinks=[good, *bad], diagnostics="off"))
    recorded = 0
    def record(count):
        global recorded
        for number in range(recorded, recorded + count): ptx.start_span("op", {"number": number}).end()
        recorded += count
    def sinks():
        sinks = ptx.stats()["trace_sinks"]
        for sink in sinks:
            assert sink["wanted"] == sink["exported"] + sum(sink["dropped"].values()) + sink["held_records"], sink
        return sinks
    def timed(call, *arguments):
        begun = time.monotonic()
        return [call(*arguments), time.monotonic() - begun]
    def delivery(count):
        "Records; how long until the good sink has delivered that."
        before = sinks()[0]["exported"]
        record(count)
        begun = time.monotonic()
        while sinks()[0]["exported"] < before + count:
            assert time.monotonic() < begun + 10, sinks()
            time.sleep(0.005)
        return time.monotonic() - begun
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_bad_endpoint_costs_its_own_data_only(
    fault: Fault, protocol: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """Before, during and after a flush that waits for the bad one in vain."""
    with fault() as bad:
        done = run_python(
            PRELUDE
            + """
    start(sys.argv[1], protocol=sys.argv[2])
    waits = [delivery(20) for _ in range(5)]
    flushed = []
    flush = threading.Thread(target=lambda: flushed.extend(timed(ptx.force_flush, 700)))
    flush.start()
    waits.append(delivery(20))
    flush.join()
    waits.append(delivery(20))
    ended = timed(ptx.shutdown, 500)
    answer([waits, flushed, ended, recorded, sinks(), ptx.stats()])
    """,
            bad,
            protocol,
        )
    waits, (flushed, flush_s), (ended, end_s), recorded, (good, bad_books), stats = done.answer
    assert sorted(waits)[3] < 0.55, "the median of batches that are due after 50 ms"
    assert flush_s < 0.7 + 1 and end_s < 0.5 + 1
    assert stats["spans"] == {"recorded": recorded, "dropped": {}, "abandoned": 0}
    assert sorted(span["attributes"]["number"] for span in collector.spans) == list(range(recorded))
    assert (good["exported"], good["dropped"], good["requests"] > 0) == (recorded, {}, True)
    assert (bad_books["wanted"], bad_books["exported"], bad_books["held_records"]) == (recorded, 0, 0)
    # An answer beyond the limits may come from a server that took the request: it counts as refused, for good. All
    # other trouble may pass, so that what was held until the end is lost only then.
    final = fault is endless_body and protocol == "http"
    assert set(bad_books["dropped"]) == {"refused" if final else "shutdown"}
    assert (flushed, ended) == (final, final)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_fifteen_bad_endpoints_of_every_kind(
    protocol: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """With compressed bodies of megabytes for all of them at once."""
    with ExitStack() as stack:
        bad = [stack.enter_context(FAULTS[number % len(FAULTS)]()) for number in range(15)]
        done = run_python(
            PRELUDE
            + """
    start(*sys.argv[2:], protocol=sys.argv[1], compression="gzip")
    blocks = [os.urandom(50_000).hex() for _ in range(20)]
    for block in blocks: ptx.start_span("large", {"block": block}).end()
    waits = [delivery(20) for _ in range(5)]
    flushed, ended = timed(ptx.force_flush, 500), timed(ptx.shutdown, 500)
    answer([waits, flushed, ended, sinks(), ptx.stats()])
    """,
            protocol,
            *bad,
        )
    waits, (flushed, flush_s), (ended, end_s), (good, *rest), stats = done.answer
    assert (flushed, ended) == (False, False)
    assert flush_s < 0.5 + 1 and end_s < 0.5 + 1
    assert max(waits) < 5 and sorted(waits)[2] < 1
    assert (good["exported"], good["dropped"]) == (120, {}) and len(collector.spans) == 120
    assert stats["spans"]["dropped"] == {}
    assert {(books["wanted"], books["exported"], books["held_records"]) for books in rest} == {(120, 0, 0)}


def test_what_came_while_an_endpoint_was_down_arrives_when_it_is_back() -> None:
    """Two minutes of this, and waits of half a minute: tests/rust/outage.rs, in simulated time."""
    port = closed_port()
    sink = ptx.TraceSink(f"http://127.0.0.1:{port}", "http", batch_schedule_delay_ms=20, batch_max_export=64)
    ptx.init(ptx.Config("svc", sinks=[sink], diagnostics="off"))
    try:
        for number in range(1000):
            ptx.start_span("op", {"number": number}).end()
        assert ptx.force_flush(200) is False
        (books,) = ptx.stats()["trace_sinks"]
        assert books["held_records"] == 1000 and books["failures_in_a_row"] >= 1
        server = OtlpServer(port)
        try:
            server.wait_for_spans(1000)
            assert ptx.shutdown() is True
        finally:
            server.close()
    finally:
        ptx.shutdown(0)
    assert sorted(span["attributes"]["number"] for span in server.spans) == list(range(1000))
    (books,) = ptx.stats()["trace_sinks"]
    assert (books["wanted"], books["exported"], books["dropped"]) == (1000, 1000, {})
