"""Promises of SECURITY.md that no other test is about: TLS versions, redirects, smuggled headers, what a server says on a
terminal, and what a session changes in its process."""

from __future__ import annotations

import re
import socket
import ssl
import sys
import warnings
from pathlib import Path

import pytest
import trustme
from canary import CANARY
from conftest import RunPython
from otlp_server import Answer, OtlpServer, partial_success
from sls_session import KEY

import pytracingx as ptx

SEND = """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http", ca_file=sys.argv[2], timeout_ms=1000)], diagnostics="off"))
    ptx.start_span("op").end()
    flushed = ptx.force_flush(1500)
    answer([flushed, ptx.stats()["trace_sinks"][0]["last_error"]])
    ptx.shutdown(0)
"""


@pytest.mark.parametrize("newest", ["TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_old_tls_is_not_spoken(newest: str, tmp_path: Path, run_python: RunPython) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def limited(protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion[newest]
        if newest == "TLSv1_1":
            context.set_ciphers("ALL:@SECLEVEL=0")
        return context

    context = limited(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server = OtlpServer(tls=context)
    try:
        client = limited(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(client)
        try:
            with socket.create_connection(("127.0.0.1", server.port)) as plain:
                client.wrap_socket(plain, server_hostname="localhost").close()
        except ssl.SSLError:
            pytest.skip(f"OpenSSL here speaks no {newest}")
        flushed, error = run_python(SEND, server.endpoint, str(tmp_path / "ca.pem")).answer
        if newest == "TLSv1_1":
            assert not flushed and error and not server.requests
        else:
            assert flushed and server.span("op")
    finally:
        server.close()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_reaches_a_redirects_target(
    status: int, collector: OtlpServer, run_python: RunPython
) -> None:
    """By no sink, no check and no request of a provider."""
    target = OtlpServer()
    try:
        collector.default_answer = Answer(status, {"location": f"{target.endpoint}/v1/traces"})
        run_python(
            f"""
            secret = {CANARY!r}
            where, headers = sys.argv[1], {{"authorization": secret, "x-api-key": secret}}
            sinks = [kind(where, "http", headers=headers) for kind in (ptx.TraceSink, ptx.MetricSink, ptx.OtlpLogSink)]
            sls = ptx.SlsLogSink(where, "proj", "store", {KEY.id!r}, secret)
            config = ptx.Config("svc", sinks=[*sinks, sls], diagnostics="off", console_output=False)
            ptx.init(config)
            assert not any(each["ok"] for each in ptx.check())
            ptx.start_span("op").end()
            ptx.get_meter("m").counter("c").add(1)
            ptx.get_logger("l").info("log")
            ptx.force_flush(1000)
            from pytracingx._native import _fetch
            assert _fetch("POST", where, headers, b"", 2000, False)[0] == {status}
            ptx.shutdown(0)
            """,
            collector.endpoint,
        )
        assert {request.path for request in collector.requests} >= {"/v1/traces", "/v1/metrics", "/v1/logs"}
        assert target.connections == 0
    finally:
        target.close()


@pytest.mark.parametrize("kind", [ptx.TraceSink, ptx.MetricSink, ptx.OtlpLogSink])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_headers_that_would_be_several(kind: type, protocol: str) -> None:
    """Every control character but the tab, in values; anything but a token, in names. The error shows no value."""
    for code in [*range(0x20), 0x7F]:
        text = f"{CANARY}{chr(code)}x-smuggled: 1"
        if code != 9:
            with pytest.raises(ptx.ConfigError, match="headers: a value must not hold") as raised:
                kind("http://h:1", protocol, {"authorization": text})
            assert CANARY not in str(raised.value)
        with pytest.raises(ptx.ConfigError, match="headers: a name must be"):
            kind("http://h:1", protocol, {f"x{chr(code)}y": "1"})


def test_headers_of_the_environment_cannot_be_several(collector: OtlpServer, run_python: RunPython) -> None:
    """Percent-decoded, they are checked as any; then none of the list is sent, and the warning shows no value."""
    done = run_python(
        "ptx.init(); ptx.start_span('op').end(); assert ptx.shutdown()",
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_HEADERS": f"a={CANARY}%0d%0ax-smuggled:%201,b={CANARY}%00,c={CANARY}",
        },
    )
    [request] = collector.requests
    assert not {"x-smuggled", "a", "b", "c"} & request.headers.keys()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in done.stderr


HOSTILE = "\x1b]0;owned\x07\x1b[31m\r\nerror: \x9b5m\u202e\u2028end\0"


@pytest.mark.parametrize(
    "answer", [Answer(400, body=HOSTILE.encode()), partial_success(1, HOSTILE)], ids=["body", "partial"]
)
def test_what_a_server_says_cannot_drive_a_terminal(
    answer: Answer, collector: OtlpServer, run_python: RunPython
) -> None:
    collector.default_answer = answer
    done = run_python(
        """
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        ptx.start_span("op").end()
        ptx.force_flush()
        answer(ptx.stats()["trace_sinks"][0]["last_error"])
        ptx.shutdown()
        """
    )
    assert "pytracingx:" in done.stderr
    control = "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
    assert not re.findall(control, done.stderr) and not re.findall(control, done.answer or "")
    assert all(line.startswith("pytracingx:") for line in done.stderr.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_session_changes_no_signal_and_adds_one_thread(
    collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(
        """
        def state():
            status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
            return [status[key].strip() for key in ("SigCgt", "SigIgn", "SigBlk", "Threads")]
        other = threading.Thread(target=int)  # with the first of which the C library takes a signal of its own
        other.start(); other.join()
        while state()[3] != "1": time.sleep(0.001)
        before = state()
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http")]))
        ptx.start_span("op").end()
        assert ptx.force_flush()
        answer([before, state()])
        """
    )
    before, after = done.answer
    assert after[:3] == before[:3]
    assert (before[3], after[3]) == ("1", "2")
