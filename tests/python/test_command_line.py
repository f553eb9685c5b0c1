"""`python -m pytracingx`, as people run it: a process of its own, against a real collector or none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import TELEMETRY_VARIABLES
from otlp_server import Answer, OtlpServer

import pytracingx as ptx

SECRET = "c4n4ry-6f1c"
NO_GRPC = "no wheel of grpcio for this interpreter"


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command with these variables and no others that concern telemetry, in an empty directory."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(TELEMETRY_VARIABLES)}
        finished = subprocess.run(
            [sys.executable, "-m", "pytracingx", *arguments],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert SECRET not in finished.stdout + finished.stderr
        return finished

    return run


def test_doctor_finds_every_sink_well(
    collector: OtlpServer, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    finished = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert finished.returncode == 0, finished
    assert finished.stdout.count("resolve ok · connect ok · send ok · receive ok · answer 200") == 3
    assert "3 of 3 sinks take records" in finished.stdout
    assert collector.span("pytracingx.check")


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "other credentials"),
        (404, "not the path"),
        (429, "throttling"),
        (415, "not an OTLP endpoint"),
        (503, "own trouble"),
        (308, "address that it redirects to"),
    ],
)
def test_doctor_says_what_to_change(
    collector: OtlpServer, command: Callable[..., subprocess.CompletedProcess[str]], status: int, advice: str
) -> None:
    collector.default_answer = Answer(status)
    finished = command(
        "doctor",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{SECRET}",
    )
    assert finished.returncode == 1
    assert finished.stdout.count(f"answer {status}") == 3 and finished.stdout.count(advice) == 3, (
        finished.stdout
    )


def test_doctor_tells_how_far_it_came(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    only_traces = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    refused = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", **only_traces)
    assert "resolve ok · connect FAILED" in refused.stdout and "nothing answers" in refused.stdout
    unknown = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://no-such-host.invalid:4318", **only_traces)
    assert "  resolve FAILED" in unknown.stdout and "0 of 1 sinks take records" in unknown.stdout
    assert refused.returncode == unknown.returncode == 1


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("UNAUTHENTICATED", "other credentials"),
        ("PERMISSION_DENIED", "other credentials"),
        ("UNIMPLEMENTED", "no OTLP for this signal"),
        ("RESOURCE_EXHAUSTED", "throttling"),
        ("UNAVAILABLE", "own trouble"),
    ],
)
def test_doctor_knows_the_statuses_of_grpc(
    command: Callable[..., subprocess.CompletedProcess[str]], status: str, advice: str
) -> None:
    grpc = pytest.importorskip("grpc", reason=NO_GRPC)
    from grpc_server import GrpcAnswer, GrpcServer

    with closing(GrpcServer()) as server:
        server.default_answer = GrpcAnswer(grpc.StatusCode[status].value[0])
        finished = command(
            "doctor", OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
        )
    assert finished.returncode == 1 and finished.stdout.count(advice) == 3, finished.stdout


def test_doctor_tells_a_port_of_another_protocol(
    collector: OtlpServer, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pytest.importorskip("grpc", reason=NO_GRPC)
    from grpc_server import GrpcServer

    def advice(endpoint: str, protocol: str) -> str:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        return command("doctor", **variables).stdout

    with closing(GrpcServer()) as server:
        assert advice(server.endpoint, "http/protobuf").count("protocol='grpc'") == 3
    assert advice(collector.endpoint, "grpc").count("protocol='http/protobuf'") == 3
    encrypted = collector.endpoint.replace("http:", "https:")
    assert advice(encrypted, "http/protobuf").count("no TLS on this port") == 3
    with_proxy = command(
        "doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318", HTTP_PROXY="http://127.0.0.1:9"
    )
    assert with_proxy.stdout.count("nothing answers at the proxy") == 3


def test_doctor_knows_the_ports_of_the_protocols() -> None:
    from pytracingx._cli.doctor import advices

    check = {
        "ok": False,
        "phase": "receive",
        "status": None,
        "error": None,
        "endpoint": "http://c:4317/…",
        "protocol": "http/protobuf",
    }
    assert any("protocol='grpc'" in advice for advice in advices(check))
    assert any(
        "4317" in advice for advice in advices({**check, "endpoint": "http://c:4318/…", "protocol": "grpc"})
    )


def test_doctor_takes_a_config_of_a_module(
    collector: OtlpServer, command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "import pytracingx as ptx\n"
        f"config = ptx.Config('mine', sinks=[ptx.TraceSink('{collector.endpoint}/v1/traces')])\n"
        "def make(): return config\n"
        "number = 3\n"
    )
    for name in ("mine:config", "mine:make"):
        finished = command("doctor", "--config", name)
        assert finished.returncode == 0 and "1 of 1 sinks" in finished.stdout, finished
    for name, problem in [
        ("mine", "MODULE:NAME"),
        ("mine:nothing", "nothing"),
        ("mine:number", "int"),
        ("nowhere:config", "nowhere"),
    ]:
        finished = command("doctor", "--config", name)
        assert finished.returncode == 2 and problem in finished.stderr, finished
        assert "Traceback" not in finished.stderr


def test_doctor_without_sinks_and_disabled(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    finished = command("doctor", **none)
    assert finished.returncode == 0 and "no sinks" in finished.stdout
    finished = command("doctor", OTEL_SDK_DISABLED="true")
    assert finished.returncode == 1 and "OTEL_SDK_DISABLED" in finished.stdout


def test_env_names_the_variable_of_each_setting(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    finished = command(
        "env",
        OTEL_SERVICE_NAME="chat",
        OTEL_RESOURCE_ATTRIBUTES="team=core",
        OTEL_EXPORTER_OTLP_ENDPOINT="https://all:4318",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://all:4318/other/path",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS=f"x=1,authorization={SECRET}",
        OTEL_EXPORTER_OTLP_HEADERS=f"x=1,authorization={SECRET}2",
        PYTRACINGX_ENGINE="1",
        OTEL_UNHEARD_OF="1",
    )
    assert finished.returncode == 0, finished
    lines = [line.split() for line in finished.stdout.splitlines()]
    assert ["service.name", "=", "chat", "OTEL_SERVICE_NAME"] in lines
    assert ["team", "=", "core", "OTEL_RESOURCE_ATTRIBUTES"] in lines
    endpoints = [line[-1] for line in lines if line[:1] == ["endpoint"]]
    # Shown alike, without their paths, and told apart all the same.
    assert endpoints == [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ]
    headers = [line[-1] for line in lines if line[:1] == ["headers"]]
    assert headers == ["OTEL_EXPORTER_OTLP_HEADERS"] * 2 + ["OTEL_EXPORTER_OTLP_LOGS_HEADERS"]
    assert "OTEL_UNHEARD_OF: changes nothing" in finished.stdout
    assert "PYTRACINGX_ENGINE: instruments" in finished.stdout
    assert "timeout_ms" not in finished.stdout
    assert "timeout_ms = 10000" in command("env", "--all").stdout


def test_env_fails_on_values_that_cannot_be_used(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    finished = command("env", OTEL_TRACES_SAMPLER="sometimes")
    assert finished.returncode == 1 and "warning: OTEL_TRACES_SAMPLER: 'sometimes'" in finished.stdout


def test_env_has_every_setting_that_describe_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytracingx._cli import env

    config = ptx.Config.from_env()
    shown = {name for (_, name), _ in env._shown(config)}
    assert set(config.describe()) - set(env.NOT_SETTINGS) <= shown
    assert {name for sink in config.describe()["sinks"] for name in sink} - {"kind"} <= shown


def test_demo_goes_to_the_console_or_to_a_collector(
    collector: OtlpServer, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    finished = command("demo")
    assert finished.returncode == 0 and "span_end POST /v1/chat/completions" in finished.stderr, finished
    for arguments, variables in [
        (["--endpoint", collector.endpoint], {}),
        ([], {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}),
    ]:
        finished = command("demo", *arguments, **variables)
        assert finished.returncode == 0 and "delivered" in finished.stdout, finished
    assert [span["name"] for span in collector.spans].count("chat qwen3-8b") == 2
    assert len(collector.logs) == 2 and collector.metrics
    collector.default_answer = Answer(400)
    finished = command("demo", "--endpoint", collector.endpoint)
    assert finished.returncode == 1 and "NOT delivered" in finished.stdout, finished


def test_a_command_is_needed(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    assert command().returncode == 2
    assert command("--version").stdout == f"pytracingx {ptx.__version__}\n"


def test_usage_is_told_without_a_traceback(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    finished = command("doctor", "--timeout-ms=-5")
    assert finished.returncode == 2 and "-5 is less than 0" in finished.stderr


def test_a_terminal_that_knows_ascii_only(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    finished = command("env", PYTHONIOENCODING="ascii")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "http://localhost:4318/\\u2026" in finished.stdout


def test_a_reader_that_has_seen_enough() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        finished = subprocess.run(
            [sys.executable, "-m", "pytracingx", "env"], stdout=output, stderr=subprocess.PIPE, timeout=60
        )
    assert (finished.returncode, finished.stderr) == (1, b"")


def test_demo_does_not_say_what_is_not_so(
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    finished = command("demo", "--endpoint", "http://127.0.0.1:9", **none)
    assert finished.returncode == 1 and "not sent: OTEL_TRACES_EXPORTER" in finished.stdout
    finished = command("demo", OTEL_SDK_DISABLED="true")
    assert (finished.returncode, finished.stdout) == (1, "OTEL_SDK_DISABLED is set: nothing is recorded\n")


def test_demo_tells_a_trace_that_was_not_sent(
    collector: OtlpServer, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for variables, reason in [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "sampled out (OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "no sink takes spans (OTEL_TRACES_EXPORTER)"),
    ]:
        finished = command("demo", "--endpoint", collector.endpoint, **variables)
        assert finished.returncode == 0 and "not sent, for" in finished.stdout, finished
        assert reason in finished.stdout and "the rest delivered" in finished.stdout
    assert not collector.spans and len(collector.logs) == 2
