"""gRPC in processes of their own: a server without one of the signals, forks, and all of it from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import RunPython

grpc = pytest.importorskip("grpc", reason="no wheel of grpcio for this interpreter")
from grpc_server import Call, GrpcAnswer, GrpcServer, serving  # noqa: E402


@pytest.fixture
def server() -> Iterator[GrpcServer]:
    with serving() as server:
        yield server


# A server without one of the signals


def test_a_signal_that_the_server_does_not_have(run_python: RunPython) -> None:
    """Said once, and then nothing; the other signals are sent."""
    with serving(signals=["traces"]) as server:
        done = run_python(
            """
            address = sys.argv[1]
            ptx.init(ptx.Config("svc", console_output=False, sinks=[
                ptx.TraceSink(address, "grpc"), ptx.OtlpLogSink(address, "grpc"), ptx.MetricSink(address, "grpc"),
            ]))
            logger, counter = ptx.get_logger("log"), ptx.get_meter("meter").counter("sum")
            for _ in range(10):
                ptx.start_span("op").end()
                logger.info("body")
                counter.add(1)
                assert ptx.force_flush(1_000)
            answer(ptx.stats())
            assert ptx.shutdown()
            """,
            server.endpoint,
        )
        assert len(server.spans) == 10
    (trace,), (log,), (metric,) = (done.answer[f"{signal}_sinks"] for signal in ("trace", "log", "metric"))
    assert (trace["exported"], trace["dropped"]) == (10, {})
    for sink in (log, metric):
        assert (sink["exported"], sum(sink["dropped"].values()), sink["held_records"]) == (0, 10, 0)
        assert "UNIMPLEMENTED" in sink["last_error"]
        assert sink["requests"] == 1 and sink["state"] == "unsupported"
    said = [line for line in done.stderr.splitlines() if "UNIMPLEMENTED" in line]
    assert len(said) == 2, done.stderr


# Processes


def test_forked_children_have_connections_of_their_own(server: GrpcServer, run_python: RunPython) -> None:
    """The parent's stays whole: nobody else speaks on it."""
    run_python(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "grpc")]))
        for _ in range(5):
            ptx.start_span("parent").end()
            assert ptx.force_flush()
            pid = os.fork()
            if pid == 0:
                for _ in range(3):
                    ptx.start_span("child").end()
                    assert ptx.force_flush()
                sys.exit(0 if ptx.shutdown() else 1)
            assert os.waitpid(pid, 0)[1] == 0
        [sink] = ptx.stats()["trace_sinks"]
        assert (sink["exported"], sink["retried"], sink["dropped"]) == (5, 0, {})
        assert ptx.shutdown()
        """,
        server.endpoint,
    )
    callers: dict[int, set[str]] = {}
    for call in server.requests:
        callers.setdefault(call.connection, set()).update(span["name"] for span in call.spans)
    assert sorted(map(sorted, callers.values())) == [["child"]] * 5 + [["parent"]]
    assert len(server.spans) == 20


def test_a_fork_under_a_call(server: GrpcServer, run_python: RunPython) -> None:
    """The call stays the parent's: answered once, while the child makes and ends connections of its own."""
    server.answer_next(GrpcAnswer(delay_s=0.3))
    run_python(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "grpc", batch_schedule_delay_ms=1)]))
        ptx.start_span("parent").end()
        while ptx.stats()["trace_sinks"][0]["state"] != "sending": time.sleep(0.001)
        pid = os.fork()
        if pid == 0:
            ptx.start_span("child").end()
            sys.exit(0 if ptx.shutdown() else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert ptx.force_flush()
        ptx.start_span("parent").end()
        assert ptx.shutdown()
        [sink] = ptx.stats()["trace_sinks"]
        assert (sink["exported"], sink["requests"], sink["retried"], sink["dropped"]) == (2, 2, 0, {})
        """,
        server.endpoint,
    )
    assert sorted(span["name"] for span in server.spans) == ["child", "parent", "parent"]
    assert server.connections == 2


# The environment


@pytest.mark.parametrize(
    ("endpoint", "more"),
    [
        ("http://127.0.0.1:{port}", {}),
        ("http://localhost:{port}/", {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}),
        ("127.0.0.1:{port}", {}),
        # No loopback address, though it leads there.
        ("0.0.0.0:{port}", {"OTEL_EXPORTER_OTLP_INSECURE": "true"}),
        ("http://127.0.0.1:{port}/some/path", {"OTEL_EXPORTER_OTLP_TIMEOUT": "5000"}),
    ],
)
def test_all_from_the_environment(
    endpoint: str, more: dict[str, str], server: GrpcServer, run_python: RunPython
) -> None:
    """All three signals to one endpoint, whatever its form; gRPC knows no path."""
    run_python(
        """
        ptx.init()
        ptx.start_span("op").end()
        ptx.get_meter("meter").counter("sum").add(1)
        ptx.get_logger("log").info("body")
        assert ptx.shutdown()
        """,
        env={
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.format(port=server.port),
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20c4n4ry,x-tenant=a",
            **more,
        },
    )
    assert server.span("op") and server.log("body") and server.points("sum")[0]["value"] == 1
    for call in server.requests:
        assert call.headers["authorization"] == "Bearer c4n4ry" and call.headers["x-tenant"] == "a"
    expected = 5 if "OTEL_EXPORTER_OTLP_TIMEOUT" in more else 10
    deadlines = [call.deadline_s for call in server.requests if isinstance(call, Call)]
    assert all(deadline and expected - 2 < deadline <= expected for deadline in deadlines), deadlines


def test_without_a_scheme_a_host_is_asked_for_tls(server: GrpcServer, run_python: RunPython) -> None:
    done = run_python(
        "ptx.init(); ptx.start_span('op').end(); answer([ptx.shutdown(300), ptx.stats()['trace_sinks'][0]['last_error']])",
        env={"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": f"0.0.0.0:{server.port}"},
    )
    delivered, error = done.answer
    assert delivered is False and "TLS" in error, error
    assert server.requests == []


def test_a_protocol_for_one_signal(server: GrpcServer, run_python: RunPython, collector: Any) -> None:
    run_python(
        """
        ptx.init()
        ptx.start_span("op").end()
        ptx.get_logger("log").info("body")
        assert ptx.shutdown()
        """,
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": server.endpoint,
        },
    )
    assert server.span("op") and server.logs == []
    assert collector.log("body") and collector.spans == []
