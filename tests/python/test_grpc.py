"""OTLP over gRPC against grpcio and the services of the official `opentelemetry-proto`; frames:
test_grpc_wire.py, processes: test_grpc_processes.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Callable

import pytest
from conftest import RunPython
from faults import black_hole, hung, refusing, trickling
from one_sink import FLUSH_MS, begin, books, spans, verdict, wait_until
from otlp_server import closed_port

import pytracingx as ptx

grpc = pytest.importorskip("grpc", reason="no wheel of grpcio for this interpreter")
from grpc_server import CODES, Call, GrpcAnswer, GrpcServer, serving  # noqa: E402

pytestmark = pytest.mark.usefixtures("session_ends")
LOGGER = ptx.get_logger("grpc")
METER = ptx.get_meter("grpc")
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def server() -> Iterator[GrpcServer]:
    with serving() as server:
        yield server


def numbers(*servers: GrpcServer) -> list[int]:
    """Of the spans that arrived."""
    return sorted(span["attributes"]["number"] for server in servers for span in server.spans)


# What is sent


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_all_signals_arrive(compression: Any, server: GrpcServer) -> None:
    """Each sink over one connection for all its calls."""
    settings: Any = {"protocol": "grpc", "compression": compression}
    more = [kind(server.endpoint, **settings) for kind in (ptx.MetricSink, ptx.OtlpLogSink)]
    begin(server.endpoint, "grpc", *more, compression=compression)
    counter = METER.counter("sum")
    for number in range(20):
        spans(20)
        counter.add(1)
        LOGGER.info("body %d", attributes={"number": number})
        assert ptx.force_flush()
    assert numbers(server) == sorted([*range(20)] * 20)
    assert [log["attributes"]["number"] for log in server.logs] == list(range(20))
    assert [point["value"] for point in server.points("sum", every=True)] == list(range(1, 21))
    assert len(server.requests) == 60 and server.connections == 3
    for signal in ("trace", "metric", "log"):
        sink = books(signal)
        assert (sink["requests"], sink["retried"], sink["dropped"]) == (20, 0, {})
        assert (sink["sent_bytes"] < sink["body_bytes"]) == (compression == "gzip"), signal


def test_a_compression_that_the_server_does_not_know(server: GrpcServer) -> None:
    """It says so, in one way or another, and so do we."""
    begin(server.endpoint, "grpc", compression="zstd")
    spans(10)
    assert ptx.force_flush()
    assert books()["dropped"] == {"refused": 10} and "INTERNAL" in books()["last_error"]


@pytest.mark.parametrize("form", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://localhost:{port}/"])
def test_an_endpoint_without_a_path_is_grpc(form: str, server: GrpcServer) -> None:
    begin(form.format(port=server.port), None)
    spans(1)
    assert ptx.force_flush() and numbers(server) == [0]


def test_metadata(server: GrpcServer) -> None:
    headers = {"Authorization": "Bearer c4n4ry", "X-Tenant": "a  b", "trace-bin": "AAEC/w=="}
    begin(server.endpoint, "grpc", headers=headers, timeout_ms=5_000)
    spans(1)
    assert ptx.force_flush()
    (call,) = server.requests
    assert isinstance(call, Call)
    assert call.headers["authorization"] == "Bearer c4n4ry" and call.headers["x-tenant"] == "a  b"
    assert call.headers["trace-bin"] == b"\x00\x01\x02\xff"
    assert call.headers["user-agent"].startswith("pytracingx/")
    assert call.deadline_s and 0 < call.deadline_s <= 5


def test_messages_of_all_sizes() -> None:
    """From the smallest to 20 MiB, whole and over one connection."""
    sizes = [0, 1, 100, 16 * KIB - 1, 16 * KIB, 64 * KIB, MIB, 4 * MIB, 20 * MIB]
    with serving(options=[("grpc.max_receive_message_length", -1)]) as server:
        ptx.init(
            ptx.Config(
                "svc",
                sinks=[ptx.OtlpLogSink(server.endpoint, "grpc")],
                console_output=False,
                diagnostics="off",
            )
        )
        for size in sizes:
            LOGGER.info("x" * size)
            assert ptx.force_flush()
        assert [len(log["body"]) for log in server.logs] == sizes
        assert server.connections == 1 and books("log")["retried"] == 0


def test_requests_stay_below_what_servers_take_by_default(server: GrpcServer) -> None:
    """4 MiB. 16 MiB wait while the first call is held up; all of it arrives, in few calls, and none is refused."""
    server.answer_next(GrpcAnswer(delay_s=0.3))
    sink = ptx.OtlpLogSink(server.endpoint, "grpc", batch_schedule_delay_ms=10)
    ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, diagnostics="off", ring_capacity=4 * MIB))
    for number in range(320):
        LOGGER.info("x" * 50 * KIB, attributes={"number": number})
        if number % 20 == 19:
            wait_until(lambda count=number + 1: books("log")["wanted"] == count)  # type: ignore[misc]
    assert ptx.force_flush()
    assert [log["attributes"]["number"] for log in server.logs] == list(range(320))
    assert (books("log")["dropped"], books("log")["retried"]) == ({}, 0)
    calls = [len(call.body) for call in server.requests]
    assert max(calls) < 4 * MIB and len(calls) <= 10, calls


def test_a_message_larger_than_the_server_takes_is_halved() -> None:
    """grpcio says RESOURCE_EXHAUSTED, as it says of much else; what is too large alone is dropped as that."""
    with serving(options=[("grpc.max_receive_message_length", 4_000)]) as server:
        begin(server.endpoint, "grpc")
        spans(200)
        assert ptx.force_flush()
        assert numbers(server) == list(range(200))
        assert all(len(call.body) <= 4_000 for call in server.requests)
        ptx.start_span("large", {"value": "x" * 5_000}).end()
        assert ptx.force_flush()
        sink = books()
        assert (sink["exported"], sink["dropped"], sink["retried"]) == (200, {"too_large": 1}, 0)


# What answers mean


def test_every_code_is_final_or_not(server: GrpcServer) -> None:
    """As OTLP says. UNIMPLEMENTED has a test of its own: it is final for the sink."""
    begin(server.endpoint, "grpc")
    found = {}
    for code in [code for code in range(17) if code != 12]:
        server.answer_next(GrpcAnswer(code, f"words of {code}" if code else ""))
        found[code] = verdict()
        assert code == 0 or f"words of {code}" in books()["last_error"]
        assert code == 0 or CODES[code].name in books()["last_error"]
    retryable = {1, 4, 10, 11, 14, 15}
    expected = {code: "tried again" if code in retryable else "refused" for code in found}
    assert found == {**expected, 0: "delivered"}
    assert server.connections == 1


@pytest.mark.parametrize("code", [8, 14])
def test_retry_info_is_obeyed(code: int, server: GrpcServer) -> None:
    """RESOURCE_EXHAUSTED is tried again with it and only with it; no flush comes before its time."""
    server.answer_next(GrpcAnswer(code, "busy", retry_after_s=1.2))
    begin(server.endpoint, "grpc", batch_schedule_delay_ms=10)
    spans(1)
    assert ptx.force_flush(FLUSH_MS) is False
    assert ptx.force_flush(FLUSH_MS) is False and len(server.requests) == 1
    assert books()["held_records"] == 1 and books()["state"] == "backing_off"
    first, second = server.wait_for_requests(2)
    assert second.received_at - first.received_at >= 1.2
    assert ptx.force_flush() and numbers(server) == [0]


def test_the_last_flush_does_not_wait_an_hour(server: GrpcServer) -> None:
    """Whatever the server asked for: at the end everything is tried once more."""
    server.answer_next(GrpcAnswer(14, retry_after_s=3_600))
    begin(server.endpoint, "grpc")
    spans(1)
    assert ptx.force_flush(FLUSH_MS) is False
    assert ptx.shutdown(5_000) and numbers(server) == [0]


def test_retry_info_of_nothing_is_no_wait(server: GrpcServer) -> None:
    """RetryInfo 0 s makes RESOURCE_EXHAUSTED retryable; the backoff stays ours."""
    server.answer_next(GrpcAnswer(8, retry_after_s=0.0))
    begin(server.endpoint, "grpc", batch_schedule_delay_ms=10)
    spans(1)
    server.wait_for_spans(1)
    first, second = server.requests
    assert second.received_at - first.received_at >= 0.4


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_partial_success_is_counted(compression: grpc.Compression) -> None:
    """Whether the server compresses its answers or not."""
    with serving(compression=compression) as server:
        server.answer_next(
            GrpcAnswer(rejected=3, message="three were bad, as is usual: " + "z" * 100),
            GrpcAnswer(message="a warning"),
            GrpcAnswer(rejected=1 << 40),
        )
        begin(server.endpoint, "grpc")
        for exported, rejected, words in [(7, 3, "three were bad"), (17, 3, "a warning"), (17, 13, "")]:
            spans(10)
            assert ptx.force_flush()
            sink = books()
            assert (sink["exported"], sink["dropped"], sink["retried"]) == (
                exported,
                {"rejected": rejected},
                0,
            )
            assert words in sink["last_error"]


# Connections


def test_no_call_is_lost_to_goaway() -> None:
    """A server that closes every connection after 20 ms, gracefully, between and under hundreds of calls."""
    options = [("grpc.max_connection_age_ms", 20), ("grpc.max_connection_age_grace_ms", 2_000)]
    with serving(options=options) as server:
        begin(server.endpoint, "grpc")
        calls = 0
        while calls < 300 or server.connections < 10:
            ptx.start_span("op", {"number": calls}).end()
            assert ptx.force_flush(), books()
            calls += 1
        assert numbers(server) == list(range(calls))
        assert (books()["exported"], books()["dropped"]) == (calls, {})
        assert books()["failures_in_a_row"] == 0


def test_a_server_that_comes_back_on_its_port() -> None:
    with serving() as server:
        begin(server.endpoint, "grpc")
        spans(1)
        assert ptx.force_flush()
        server.close()
        spans(2)
        assert ptx.force_flush(FLUSH_MS) is False
        with serving(port=server.port) as again:
            assert ptx.force_flush(), books()
            assert numbers(server) == [0] and numbers(again) == [0, 1]
            # Gone and back between two calls: nobody notices.
            again.close()
            with serving(port=server.port) as third:
                spans(3)
                assert ptx.force_flush()
                assert numbers(third) == [0, 1, 2]
    assert (books()["exported"], books()["dropped"]) == (6, {})


def test_an_answer_after_the_deadline_is_none(server: GrpcServer) -> None:
    """The call is given up and made again, and the server knows how long it has."""
    server.answer_next(GrpcAnswer(delay_s=0.6))
    begin(server.endpoint, "grpc", timeout_ms=150)
    assert verdict() == "tried again"
    # Both sides count; which is heard first is chance.
    assert books()["last_error"].startswith(("timed out", "gRPC DEADLINE_EXCEEDED"))
    server.wait_for_requests(2)
    assert all(
        isinstance(call, Call) and call.deadline_s and call.deadline_s <= 0.15 for call in server.requests
    )
    assert len(server.spans) == 1
    assert [verdict() for _ in range(10)] == ["delivered"] * 10


@contextmanager
def mute() -> Iterator[str]:
    """The endpoint of a server that takes calls and never answers."""
    with serving() as server:
        server.default_answer = GrpcAnswer(delay_s=60)
        yield server.endpoint


@pytest.mark.parametrize("end", ["force_flush", "shutdown"])
@pytest.mark.parametrize("fault", [mute, hung, trickling, black_hole, refusing])
def test_no_endpoint_holds_up_an_end(
    fault: Callable[[], AbstractContextManager[str]], end: str, server: GrpcServer
) -> None:
    """It returns by the time that it was given, and the sink beside gets everything."""
    with fault() as endpoint:
        begin(endpoint, "grpc", ptx.TraceSink(server.endpoint, "grpc"))
        spans(10)
        began = time.monotonic()
        assert getattr(ptx, end)(300) is False
        assert time.monotonic() - began < 0.4
        assert numbers(server) == list(range(10))
        if end == "force_flush":
            ptx.shutdown(0)
        assert books()["dropped"] == {"shutdown": 10}


def test_what_we_say_about_ourselves(server: GrpcServer) -> None:
    """`sdk_metrics` name the protocol, the server, and gRPC's code where it was not OK."""
    traces = GrpcServer()
    traces.answer_next(GrpcAnswer(), GrpcAnswer(16), GrpcAnswer())
    sinks = [ptx.TraceSink(traces.endpoint, "grpc"), ptx.MetricSink(server.endpoint, "grpc")]
    ptx.init(ptx.Config("svc", sinks=sinks, sdk_metrics=True, console_output=False, diagnostics="off"))
    for _ in range(3):
        spans(1)
        assert ptx.force_flush()
    # Of requests that ended before it.
    assert ptx.force_flush()
    points = server.points("otel.sdk.exporter.operation.duration")
    kind = "otlp_grpc_span_exporter"
    common = {
        "otel.component.type": kind,
        "otel.component.name": f"{kind}/0",
        "server.address": "127.0.0.1",
        "server.port": traces.port,
    }
    ended = [(point["attributes"], point["count"]) for point in points]
    assert ({**common, "rpc.response.status_code": "OK"}, 2) in ended
    refused = {"rpc.response.status_code": "UNAUTHENTICATED", "error.type": "UNAUTHENTICATED"}
    assert ({**common, **refused}, 1) in ended
    traces.close()


@pytest.mark.parametrize("fault", [mute, hung, refusing])
def test_a_process_ends(fault: Callable[[], AbstractContextManager[str]], run_python: RunPython) -> None:
    """Without a shutdown, and whatever its endpoint does."""
    with fault() as endpoint:
        run_python(
            """
            sink = ptx.TraceSink(sys.argv[1], "grpc")
            ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, exit_timeout_ms=1_000))
            ptx.start_span("op").end()
            """,
            endpoint,
            timeout_s=10,
        )


# check()


@pytest.fixture
def check() -> Callable[..., Any]:
    def run(*sinks: Any) -> Any:
        ptx.init(ptx.Config("checked", console_output=False, diagnostics="off", sinks=sinks))
        return ptx.check(500)

    return run


def test_check_of_a_server_that_takes_it(server: GrpcServer, check: Any) -> None:
    """One record of each signal; the sinks' books are untouched."""
    reports = check(
        *(kind(server.endpoint, "grpc") for kind in (ptx.TraceSink, ptx.MetricSink, ptx.OtlpLogSink))
    )
    assert [report["signal"] for report in reports] == ["traces", "metrics", "logs"]
    for report in reports:
        assert (report["ok"], report["phase"], report["error"]) == (True, "done", None)
        assert report["protocol"] == "grpc" and report["latency_ms"] > 0
    assert server.span("pytracingx.check") and server.log("pytracingx.check")
    assert server.points("pytracingx.check")[0]["value"] == 1
    assert books()["wanted"] == books()["requests"] == 0


@pytest.mark.parametrize("code", [3, 7, 8, 12, 14, 16])
def test_check_of_a_server_that_refuses(code: int, server: GrpcServer, check: Any) -> None:
    server.default_answer = GrpcAnswer(code, "for this reason")
    [report] = check(ptx.TraceSink(server.endpoint, "grpc"))
    assert (report["ok"], report["phase"]) == (False, "done")
    assert CODES[code].name in report["error"] and "for this reason" in report["error"]
    assert len(server.requests) == 1


def test_check_of_what_is_no_grpc_server(check: Any, collector: Any) -> None:
    """One that is away, one that says nothing, and one that speaks HTTP/1.1."""
    with hung() as silent:
        endpoints = [f"http://127.0.0.1:{closed_port()}", silent, collector.endpoint]
        reports = check(*(ptx.TraceSink(endpoint, "grpc") for endpoint in endpoints))
    assert [report["ok"] for report in reports] == [False] * 3
    assert [report["phase"] for report in reports] == ["connect", "receive", "receive"]
    away, silent, http_1 = (report["error"] for report in reports)
    assert "refused" in away and "timed out" in silent and "HTTP/2" in http_1
    assert collector.requests == []
