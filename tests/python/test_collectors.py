"""Programs that others wrote: what real collectors understood of us, and an HTTP/2 server that is none.

rotel comes from PyPI (requirements-rotel.txt). `OTELCOL` names a binary of the OpenTelemetry Collector; nghttpd is
Debian's nghttp2-server. The tests of the latter two are skipped where there is none.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from otlp_server import closed_port

import pytracingx as ptx

OTELCOL = os.environ.get("OTELCOL")
NGHTTPD = shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin")
# Where it is missing otherwise, it was not installed.
HAS_ROTEL_WHEEL = (
    sys.platform == "linux"
    and (3, 10) <= sys.version_info < (3, 14)
    and platform.machine() in ("x86_64", "aarch64")
    and platform.libc_ver()[0] == "glibc"
    and tuple(map(int, platform.libc_ver()[1].split("."))) >= (2, 34)
)


pytestmark = pytest.mark.usefixtures("session_ends")


@contextmanager
def running(*command: str, output: Path, ports: tuple[int, ...]) -> Iterator[None]:
    """This program, from the time it listens on all ports."""
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            wait_until(lambda: process.poll() is not None or all(map(is_open, ports)), 20, output.read_text)
            assert process.poll() is None, output.read_text()
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def wait_until(fact: Callable[[], bool], timeout_s: float, otherwise: Callable[[], str]) -> None:
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.01)


Endpoints = dict[str, str]


@contextmanager
def rotel(output: Path) -> Iterator[Endpoints]:
    spec = find_spec("rotel")
    assert spec and spec.origin, "requirements-rotel.txt is not installed"
    http, grpc = closed_port(), closed_port()
    addresses = [f"--otlp-http-endpoint=127.0.0.1:{http}", f"--otlp-grpc-endpoint=127.0.0.1:{grpc}"]
    prints = [f"--debug-log={signal}" for signal in ("traces", "metrics", "logs")]
    options = [*addresses, "--exporter=blackhole", *prints, "--debug-log-verbosity=detailed"]
    binary = str(Path(spec.origin).with_name("rotel-agent"))
    with running(binary, "start", *options, output=output, ports=(http, grpc)):
        yield {"http": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc}"}


@contextmanager
def otelcol(output: Path) -> Iterator[Endpoints]:
    assert OTELCOL
    http, grpc = closed_port(), closed_port()
    config = output.with_name("otelcol.yaml")
    pipeline = "{receivers: [otlp], exporters: [debug]}"
    config.write_text(
        f"""
        receivers:
          otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{http}"}}, grpc: {{endpoint: "127.0.0.1:{grpc}"}}}}}}
        exporters: {{debug: {{verbosity: detailed}}}}
        service:
          telemetry: {{metrics: {{level: none}}}}
          pipelines: {{traces: {pipeline}, metrics: {pipeline}, logs: {pipeline}}}
        """
    )
    with running(OTELCOL, "--config", str(config), output=output, ports=(http, grpc)):
        yield {"http": f"http://127.0.0.1:{http}", "grpc": f"http://127.0.0.1:{grpc}"}


needs_rotel = pytest.mark.skipif(
    find_spec("rotel") is None and not (sys.platform == "linux" and HAS_ROTEL_WHEEL),
    reason="no wheel of rotel",
)
needs_otelcol = pytest.mark.skipif(not OTELCOL, reason="OTELCOL names no collector")


def books() -> list[Any]:
    stats = ptx.stats()
    return [sink for signal in ("trace", "metric", "log") for sink in stats[f"{signal}_sinks"]]  # type: ignore[literal-required]


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize(
    "collector", [pytest.param(rotel, marks=needs_rotel), pytest.param(otelcol, marks=needs_otelcol)]
)
def test_a_real_collector_prints_what_we_sent(collector: Any, compression: Any, tmp_path: Path) -> None:
    """All three signals by both protocols, under names that tell the protocols apart."""
    output = tmp_path / "output"
    expected: list[list[str]] = []
    with collector(output) as endpoints:
        for protocol, endpoint in endpoints.items():
            settings = {"protocol": protocol, "compression": compression}
            sinks = [kind(endpoint, **settings) for kind in (ptx.TraceSink, ptx.MetricSink, ptx.OtlpLogSink)]
            ptx.init(ptx.Config(f"by {protocol}", sinks=sinks, console_output=False, diagnostics="off"))
            with ptx.start_span("op", {"from": protocol, "tokens": 512}) as span:
                ptx.get_logger("log").info("body", attributes={"told": protocol})
            ptx.get_meter("meter").counter(f"sum.{protocol}").add(42, {"of": protocol})
            assert [report["error"] for report in ptx.check()] == [None] * 3
            assert ptx.shutdown()
            assert [(sink["exported"], sink["dropped"], sink["retried"]) for sink in books()] == [
                (1, {}, 0)
            ] * 3
            expected += [
                [f"-> service.name: Str(by {protocol})"],
                [f"ID : {span.span_id()}", "Name : op"],
                [f"-> from: Str({protocol})", "-> tokens: Int(512)"],
                ["Body: Str(body)", "Attributes:", f"-> told: Str({protocol})"],
                [f"-> Name: sum.{protocol}"],
                [f"-> of: Str({protocol})"],
            ]

        def missing() -> list[list[str]]:
            printed = [" ".join(line.split()) for line in output.read_text().splitlines()]
            return [
                lines
                for lines in expected
                if not any(printed[at : at + len(lines)] == lines for at in range(len(printed)))
            ]

        wait_until(lambda: not missing(), 10, lambda: f"{missing()} not in\n{output.read_text()}")
        assert "Value: 42" in output.read_text()


@pytest.mark.skipif(not NGHTTPD, reason="no nghttpd")
@pytest.mark.parametrize(("options", "error"), [([], "404"), (["--echo-upload"], "without a gRPC status")])
def test_an_http_2_server_that_speaks_no_grpc(options: list[str], error: str, tmp_path: Path) -> None:
    """Its answers are final, each request has one, and the connection is kept."""
    assert NGHTTPD
    output = tmp_path / "output"
    port = closed_port()
    arguments = ["--no-tls", "--verbose", "--address=127.0.0.1", f"--htdocs={tmp_path}", *options, str(port)]
    with running(NGHTTPD, *arguments, output=output, ports=(port,)):
        sink = ptx.TraceSink(f"http://127.0.0.1:{port}", "grpc", batch_schedule_delay_ms=60_000)
        ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, diagnostics="off"))
        for number in range(1, 6):
            ptx.start_span("op").end()
            assert ptx.force_flush()
            (found,) = books()
            assert found["dropped"] == {"refused": number} and found["failures_in_a_row"] == 0
            assert error in found["last_error"], found["last_error"]
        ptx.shutdown()
    served = {line.split()[0] for line in output.read_text().splitlines() if "recv (stream_id=" in line}
    assert len(served) == 1, served
