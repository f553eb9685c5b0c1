"""`check()`: one record to each sink over a real socket, and what is said about it."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any, Callable

import pytest
import trustme
from conftest import RunPython
from faults import listening
from otlp_server import Answer, OtlpServer, closed_port, partial_success

import pytracingx as ptx

KEYS = {"signal", "endpoint", "protocol", "ok", "phase", "status", "latency_ms", "clock_skew_s", "error"}


def never_answering(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def answering(*lines: str) -> Callable[[socket.socket], None]:
    """Answers a request with these header lines and no body."""

    def serve(connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        connection.sendall("\r\n".join(["HTTP/1.1 200 OK", "content-length: 0", *lines, "", ""]).encode())

    return serve


@pytest.fixture
def check() -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Starts a session with these sinks and checks them; whatever session there is ends with the test."""

    def run(*sinks: ptx.TraceSink, timeout_ms: int = 3000) -> list[dict[str, Any]]:
        ptx.init(ptx.Config("checked", console_output=False, diagnostics="off", sinks=sinks))
        reports: Any = ptx.check(timeout_ms)
        assert all(set(report) == KEYS for report in reports)
        return reports

    yield run
    ptx.shutdown(0)


def test_before_init_nothing_is_checked() -> None:
    assert ptx.check() == []


def test_a_disabled_session_checks_nothing(collector: OtlpServer, run_python: RunPython) -> None:
    """OTEL_SDK_DISABLED: nothing leaves the process."""
    finished = run_python(
        """
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        answer(ptx.check())
        """,
        env={"OTEL_SDK_DISABLED": "true"},
    )
    assert finished.answer == [] and collector.requests == []


def test_a_server_that_takes_it(collector: OtlpServer, check: Any) -> None:
    """The span arrives, whatever the sampler says, compressed as the sink does; the exporter's books are untouched."""
    endpoint = f"{collector.endpoint}/with/token"
    [report] = check(ptx.TraceSink(endpoint, "http", sampler="always_off", compression="gzip"))
    shown = f"{collector.endpoint}/…"
    assert report.pop("latency_ms") > 0
    assert report == {
        "signal": "traces",
        "endpoint": shown,
        "protocol": "http/protobuf",
        "ok": True,
        "phase": "done",
        "status": 200,
        "clock_skew_s": 0.0,
        "error": None,
    }
    [request] = collector.requests
    assert request.path == "/with/token" and request.headers["content-encoding"] == "gzip"
    [span] = request.spans
    assert span["name"] == "pytracingx.check" and span["kind"] == "internal"
    assert span["resource"]["service.name"] == "checked" and span["scope"]["name"] == "pytracingx"
    assert span["start_time_unix_nano"] == span["end_time_unix_nano"]
    assert abs(span["start_time_unix_nano"] - time.time_ns()) < 60e9
    assert len(span["trace_id"]) == 32 and int(span["span_id"], 16) != 0 and span["parent_span_id"] == ""
    [books] = ptx.stats()["trace_sinks"]
    assert books["wanted"] == books["requests"] == 0
    assert ptx.stats()["spans"]["recorded"] == 0


def test_every_signal_is_checked(collector: OtlpServer, check: Any) -> None:
    """A span, a point and a log record, whatever order the sinks stand in, views and filters notwithstanding."""
    sinks = [
        ptx.OtlpLogSink(collector.endpoint, protocol="http", log_filter="off"),
        ptx.MetricSink(collector.endpoint, protocol="http", temporality="delta"),
        ptx.TraceSink(collector.endpoint, protocol="http"),
    ]
    reports = check(*sinks)
    assert [(report["signal"], report["ok"]) for report in reports] == [
        ("traces", True),
        ("metrics", True),
        ("logs", True),
    ]
    assert [span["name"] for span in collector.spans] == ["pytracingx.check"]
    assert [metric["name"] for metric in collector.metrics] == ["pytracingx.check"]
    [log] = collector.logs
    assert (log["body"], log["severity_number"]) == ("pytracingx.check", 9)
    stats = ptx.stats()
    for signal in ("trace", "metric", "log"):
        [books] = stats[f"{signal}_sinks"]
        assert books["wanted"] == books["requests"] == 0
    assert stats["logs"]["recorded"] == stats["measurements"]["recorded"] == 0


def test_sinks_are_checked_side_by_side(collector: OtlpServer, check: Any) -> None:
    """Those that hang hold up nobody, and end by the timeout or by their own; reports come in the sinks' order."""
    with listening(never_answering) as hung:
        sinks = [
            ptx.TraceSink(f"http://127.0.0.1:{hung}/v1/traces"),
            ptx.TraceSink(collector.endpoint, "http"),
            ptx.TraceSink(f"http://localhost:{hung}/v1/traces", timeout_ms=500),
            ptx.TraceSink(f"http://127.0.0.1:{closed_port()}/v1/traces"),
        ]
        ptx.init(ptx.Config("checked", console_output=False, sinks=sinks))
        began = time.monotonic()
        first, second, third, fourth = ptx.check(timeout_ms=700)
        took_ms = (time.monotonic() - began) * 1000
    assert first["latency_ms"] is not None and third["latency_ms"] is not None
    assert 500 <= third["latency_ms"] < 700 <= first["latency_ms"] <= took_ms
    assert took_ms < first["latency_ms"] + third["latency_ms"], "one after the other"
    assert (first["ok"], first["phase"], first["status"]) == (False, "receive", None)
    assert first["error"] == third["error"] == "timed out (receive)"
    assert (second["ok"], second["phase"], second["status"]) == (True, "done", 200)
    assert (fourth["ok"], fourth["phase"], fourth["status"]) == (False, "connect", None)
    assert fourth["error"] is not None and "cannot connect to 127.0.0.1" in fourth["error"]
    assert fourth["clock_skew_s"] is None


def test_a_name_that_does_not_exist(check: Any) -> None:
    [report] = check(ptx.TraceSink("http://no-such-host.invalid:4318"), timeout_ms=2000)
    assert (report["ok"], report["phase"]) == (False, "resolve") and report["error"]


def test_tls(tmp_path: Path, check: Any) -> None:
    """An unknown issuer and a server that speaks no TLS end in `tls`; the right `ca_file` gets through."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            answering()(secure)

    def hang_up(connection: socket.socket) -> None:
        connection.recv(1)

    with listening(serve) as port, listening(hang_up) as rude:
        good, bad, none = check(
            ptx.TraceSink(f"https://localhost:{port}/v1/traces", ca_file=tmp_path / "ca.pem"),
            ptx.TraceSink(f"https://localhost:{port}/v1/traces", ca_file=tmp_path / "other.pem"),
            ptx.TraceSink(f"https://localhost:{rude}/v1/traces", ca_file=tmp_path / "ca.pem"),
        )
    assert (good["ok"], good["phase"], good["status"]) == (True, "done", 200), good
    assert good["clock_skew_s"] is None, "no Date header"
    assert (bad["ok"], bad["phase"], bad["status"]) == (False, "tls", None)
    assert bad["error"] == "TLS failed: invalid peer certificate: UnknownIssuer"
    assert (none["ok"], none["phase"]) == (False, "tls")


def test_a_certificate_file_that_is_gone(tmp_path: Path, check: Any) -> None:
    """Read again for the check: what is wrong with it now is reported, not raised."""
    ca_file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    sink = ptx.TraceSink("https://localhost:1/v1/traces", ca_file=ca_file)
    ptx.init(ptx.Config("checked", console_output=False, sinks=[sink]))
    ca_file.unlink()
    [report] = ptx.check()
    assert (report["ok"], report["phase"], report["latency_ms"]) == (False, None, None)
    assert report["error"] is not None and report["error"].startswith("ca_file: ")


@pytest.mark.parametrize(
    ("answer", "status", "error"),
    [
        (Answer(401, {"content-type": "text/plain"}, b"bad token"), 401, "HTTP 401: bad token"),
        (Answer(503), 503, "HTTP 503"),
        (Answer(413), 413, "HTTP 413: the server found the request too large"),
        (Answer(301, {"location": "/"}), 301, "HTTP 301: redirects are not followed"),
        (partial_success(1, "no room"), 200, "no room"),
        (partial_success(1), 200, "the server rejected the record"),
    ],
)
def test_a_server_that_refuses(
    answer: Answer, status: int, error: str, collector: OtlpServer, check: Any
) -> None:
    """An answer is `done` whatever it says, and is not repeated."""
    collector.answer_next(answer)
    [report] = check(ptx.TraceSink(collector.endpoint, "http"))
    assert (report["ok"], report["phase"], report["status"]) == (False, "done", status)
    assert report["error"] == error
    assert len(collector.requests) == 1


def test_a_remark_is_passed_on(collector: OtlpServer, check: Any) -> None:
    collector.answer_next(partial_success(0, "old client"))
    [report] = check(ptx.TraceSink(collector.endpoint, "http"))
    assert report["ok"] and report["error"] == "old client"


def test_a_connection_that_breaks(collector: OtlpServer, check: Any) -> None:
    collector.answer_next(Answer(reset=True))
    [report] = check(ptx.TraceSink(collector.endpoint, "http"))
    assert (report["ok"], report["phase"], report["status"]) == (False, "receive", None)
    assert report["error"].startswith("connection lost")


@pytest.mark.parametrize("ahead_s", [3600, -90])
def test_clock_skew(ahead_s: int, check: Any) -> None:
    """Positive when this machine is ahead; to half a second, since a Date header has whole seconds."""
    with listening(answering(f"date: {formatdate(time.time() - ahead_s, usegmt=True)}")) as port:
        [report] = check(ptx.TraceSink(f"http://127.0.0.1:{port}/v1/traces"))
    assert report["clock_skew_s"] == pytest.approx(ahead_s, abs=2)


def test_grpc_to_a_server_that_speaks_http_1(check: Any) -> None:
    with listening(answering()) as port:
        [report] = check(ptx.TraceSink(f"http://127.0.0.1:{port}", "grpc"))
    assert (report["ok"], report["protocol"], report["phase"]) == (False, "grpc", "receive")
    assert report["error"].endswith("the server does not speak HTTP/2 on this port")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_in_a_forked_child(collector: OtlpServer, run_python: RunPython) -> None:
    """The parent's configuration is checked, without starting anything in the child."""
    run_python(
        """
        ptx.init(ptx.Config("svc", console_output=False, sinks=[ptx.TraceSink(endpoint, "http")]))
        child = os.fork()
        if child == 0:
            [report] = ptx.check()
            os._exit(0 if report["ok"] and len(os.listdir("/proc/self/task")) == 1 else 1)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert [span["name"] for span in collector.spans] == ["pytracingx.check"]


def test_ctrl_c_ends_it(run_python: RunPython) -> None:
    """Long before the timeout, and other threads run meanwhile: the interpreter is not held."""
    with listening(never_answering) as port:
        finished = run_python(
            """
            import signal
            sink = ptx.TraceSink(f"http://127.0.0.1:{sys.argv[1]}/v1/traces", timeout_ms=30000)
            ptx.init(ptx.Config("svc", console_output=False, exit_timeout_ms=0, sinks=[sink]))
            threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            try:
                ptx.check(30000)
            except KeyboardInterrupt:
                answer("interrupted")
            """,
            str(port),
            timeout_s=20,
        )
    assert finished.answer == "interrupted"
