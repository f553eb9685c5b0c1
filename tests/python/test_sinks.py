"""What goes over the wire to one endpoint, and what its answers mean."""

from __future__ import annotations

import time
from typing import Any

import pytest
from conftest import RunPython
from faults import hung
from otlp_server import Answer, OtlpServer, partial_success

# `start(**keywords)` with one sink; `record(count)`; `sink()` its books, which must balance.
START = """
    def start(*more, **keywords):
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", **keywords), *more], diagnostics="off"))
    def record(count=1):
        for number in range(count): ptx.start_span("op", {"number": number}).end()
    def sink(index=0):
        sink = ptx.stats()["trace_sinks"][index]
        assert sink["wanted"] == sink["exported"] + sum(sink["dropped"].values()) + sink["held_records"], sink
        return sink
"""


def arrived(collector: OtlpServer) -> list[int]:
    return sorted(span["attributes"]["number"] for span in collector.spans)


def test_a_batch_is_sent_when_it_is_full_or_old(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    start(batch_max_export=10, batch_schedule_delay_ms=60_000)
    record(25)
    while sink()["exported"] < 20: time.sleep(0.005)
    time.sleep(0.1)
    assert (sink()["exported"], sink()["held_records"], sink()["requests"]) == (20, 5, 2)
    assert ptx.shutdown()
    start(batch_max_export=10, batch_schedule_delay_ms=300)
    begun = time.monotonic()
    record(5)
    while not sink()["exported"]: time.sleep(0.005)
    assert time.monotonic() - begun > 0.25
    assert ptx.shutdown()
    """
    )
    assert [len(request.spans) for request in collector.requests] == [10, 10, 5, 5]
    assert collector.connections == 2


def test_headers(collector: OtlpServer, run_python: RunPython) -> None:
    run_python("""
        headers = {"Authorization": "Bearer c4n4ry", "X-Tenant": "ä b"}
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint + "/own/path?q=1", headers=headers)]))
        ptx.start_span("op").end()
        assert ptx.shutdown()
    """)
    [request] = collector.requests
    assert request.path == "/own/path?q=1"
    assert request.headers["content-type"] == "application/x-protobuf"
    assert request.headers["user-agent"].startswith("pytracingx/")
    assert request.headers["host"] == collector.endpoint[len("http://") :]
    assert request.headers["authorization"] == "Bearer c4n4ry"
    assert request.headers["x-tenant"].encode("latin-1").decode() == "ä b"
    assert "content-encoding" not in request.headers and "transfer-encoding" not in request.headers


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_compression(compression: str, collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    start(compression=sys.argv[1])
    record(500)
    assert ptx.shutdown()
    answer(sink())
    """,
        compression,
    )
    [request] = collector.requests
    assert request.headers.get("content-encoding", "none") == compression
    assert arrived(collector) == list(range(500))
    assert done.answer["body_bytes"] == len(request.body)
    assert done.answer["sent_bytes"] == request.wire_bytes
    assert (request.wire_bytes < 0.7 * len(request.body)) == (compression != "none")


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(503),
        Answer(429, {"retry-after": "0"}),
        Answer(502, body=b"<html>bad gateway</html>"),
        Answer(504, close=True),
        Answer(reset=True),
    ],
    ids=["503", "429", "502", "504", "reset"],
)
def test_what_may_pass_is_tried_again(trouble: Answer, collector: OtlpServer, run_python: RunPython) -> None:
    collector.answer_next(trouble, trouble)
    done = run_python(
        START
        + """
    start(batch_schedule_delay_ms=10)
    record(10)
    while not sink()["exported"]: time.sleep(0.01)
    answer(sink())
    assert ptx.shutdown()
    """
    )
    assert arrived(collector) == list(range(10))
    assert len({request.body for request in collector.requests}) == 1
    assert len(collector.requests) >= 3
    assert done.answer["dropped"] == {} and done.answer["retried"] >= 2
    assert done.answer["failures_in_a_row"] == 0 and done.answer["last_error"]


@pytest.mark.parametrize("status", [400, 401, 404, 408, 302, 500, 501])
def test_what_the_server_refuses_is_not_tried_again(
    status: int, collector: OtlpServer, run_python: RunPython
) -> None:
    elsewhere = {"location": collector.endpoint + "/elsewhere"} if status == 302 else {}
    collector.answer_next(Answer(status, elsewhere, body=b"no such thing"))
    done = run_python(
        START
        + """
    start()
    record(10)
    assert ptx.force_flush() is True
    record(10)
    assert ptx.shutdown() is True
    answer(sink())
    """
    )
    assert done.answer["dropped"] == {"refused": 10} and done.answer["exported"] == 10
    assert str(status) in done.answer["last_error"]
    assert [request.path for request in collector.requests] == ["/v1/traces"] * 2


def test_retry_after_is_obeyed(collector: OtlpServer, run_python: RunPython) -> None:
    collector.answer_next(Answer(429, {"retry-after": "2"}))
    run_python(
        START
        + """
    start(batch_schedule_delay_ms=10)
    record(10)
    assert ptx.force_flush(500) is False  # not before its time, flush or not
    assert sink()["held_records"] == 10 and sink()["state"] == "backing_off"
    while not sink()["exported"]: time.sleep(0.01)
    assert ptx.shutdown()
    """
    )
    first, second = collector.requests
    assert second.received_at - first.received_at > 1.9
    assert arrived(collector) == list(range(10))


def test_too_large_is_halved(collector: OtlpServer, run_python: RunPython) -> None:
    collector.answer_next(Answer(413), Answer(413))
    done = run_python(
        START
        + """
    start()
    record(100)
    assert ptx.shutdown() is True
    answer(sink())
    """
    )
    assert arrived(collector) == list(range(100))
    assert done.answer["dropped"] == {}
    sizes = [len(request.spans) for request in collector.requests]
    assert sizes[0] == 100 and 0 < sizes[1] <= 50 and 0 < sizes[2] <= sizes[1] // 2


def test_too_large_alone_is_given_up(collector: OtlpServer, run_python: RunPython) -> None:
    collector.default_answer = Answer(413)
    done = run_python(
        START
        + """
    start()
    record(4)
    assert ptx.shutdown() is True
    answer(sink())
    """
    )
    assert done.answer["dropped"] == {"too_large": 4}


def test_partial_success_is_counted(collector: OtlpServer, run_python: RunPython) -> None:
    collector.answer_next(partial_success(3, "three were bad"), partial_success(0, "a warning"))
    done = run_python(
        START
        + """
    start()
    record(10)
    assert ptx.force_flush() is True
    first = sink()
    record(10)
    assert ptx.shutdown() is True
    answer([first, sink()])
    """
    )
    first, last = done.answer
    assert (first["exported"], first["dropped"]) == (7, {"rejected": 3})
    assert "three were bad" in first["last_error"]
    assert (last["exported"], last["dropped"]) == (17, {"rejected": 3})
    assert "a warning" in last["last_error"]


def test_a_batch_is_given_up_in_the_end(collector: OtlpServer, run_python: RunPython) -> None:
    collector.default_answer = Answer(503)
    done = run_python(
        START
        + """
    start(batch_schedule_delay_ms=10, max_export_timeout_ms=300)
    record(10)
    while not sink()["dropped"]: time.sleep(0.01)
    answer(sink())
    """
    )
    assert done.answer["dropped"] == {"retry_timeout": 10}
    assert "503" in done.answer["last_error"]


def test_a_request_has_a_timeout(run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            """
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], timeout_ms=100)], exit_timeout_ms=0))
            ptx.start_span("op").end()
            ptx.force_flush(1_500)
            answer(ptx.stats()["trace_sinks"][0])
            """,
            bad,
        )
    assert done.answer["requests"] >= 2 and done.answer["retried"] == done.answer["requests"] - 1
    assert "time" in done.answer["last_error"]


def test_requests_share_a_connection(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    start(batch_schedule_delay_ms=10)
    for _ in range(5):
        record(10)
        assert ptx.force_flush() is True
    answer(sink())
    """
    )
    assert done.answer["requests"] >= 5 and collector.connections == 1


def test_connections_closed_by_the_server_are_replaced(collector: OtlpServer, run_python: RunPython) -> None:
    collector.default_answer = Answer(close=True)
    done = run_python(
        START
        + """
    start(batch_schedule_delay_ms=60_000)
    for _ in range(10):
        record(10)
        assert ptx.force_flush() is True
    answer(sink())
    """
    )
    assert (done.answer["exported"], done.answer["dropped"], done.answer["retried"]) == (100, {}, 0)
    assert len(collector.spans) == 100 and collector.connections == 10


def test_an_outage(collector: OtlpServer, run_python: RunPython) -> None:
    """The server goes away with its connections and comes back on the same port."""
    import threading

    port = collector.port
    servers = [collector]

    def restart() -> None:
        collector.wait_for_spans(10)
        collector.close()
        time.sleep(0.5)
        servers.append(OtlpServer(port))

    restarter = threading.Thread(target=restart)
    restarter.start()
    done = run_python(
        START
        + """
    start(batch_schedule_delay_ms=10)
    for _ in range(100):
        record(10)
        time.sleep(0.01)
    while sink()["held_records"]: time.sleep(0.01)
    assert ptx.shutdown()
    answer(sink())
    """
    )
    restarter.join()
    servers[1].close()
    assert (done.answer["exported"], done.answer["dropped"]) == (1000, {})
    ids = {span["span_id"] for server in servers for span in server.spans}
    assert len(ids) == 1000


@pytest.mark.parametrize("bound", [{"max_queue_bytes": 20_000}, {"batch_max_queue": 100}])
def test_a_full_queue_drops_the_newest(
    bound: dict[str, Any], collector: OtlpServer, run_python: RunPython
) -> None:
    collector.default_answer = Answer(delay_s=0.5)
    done = run_python(
        START
        + f"""
    start(**{bound})
    record(5000)
    ptx.shutdown(30_000)
    answer(sink())
    """
    )
    sink = done.answer
    assert set(sink["dropped"]) == {"queue_full"} and sink["exported"] > 0
    assert sink["held_bytes_max"] <= bound.get("max_queue_bytes", 1 << 30)
    assert sink["held_records_max"] <= bound.get("batch_max_queue", 1 << 30)
    numbers = arrived(collector)
    assert len(numbers) == sink["exported"]
    assert numbers[: sink["held_records_max"]] == list(range(sink["held_records_max"]))
