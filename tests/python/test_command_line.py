"""`python -m pytracingx`, its `env` and its `demo`, as people run them: processes of their own, real collectors or none."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from canary import CANARY
from conftest import Command
from otlp_server import Answer, OtlpServer

import pytracingx as ptx


def test_env_names_the_variable_of_each_setting(
    command: Command,
) -> None:
    finished = command(
        "env",
        OTEL_SERVICE_NAME="chat",
        OTEL_RESOURCE_ATTRIBUTES="team=core",
        OTEL_EXPORTER_OTLP_ENDPOINT="https://all:4318",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://all:4318/other/path",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS=f"x=1,authorization={CANARY}",
        OTEL_EXPORTER_OTLP_HEADERS=f"x=1,authorization={CANARY}2",
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
    command: Command,
) -> None:
    finished = command("env", OTEL_TRACES_SAMPLER="sometimes")
    assert finished.returncode == 1 and "warning: OTEL_TRACES_SAMPLER: 'sometimes'" in finished.stdout


def test_env_has_every_setting_that_describe_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from pytracingx._cli import env

    config = ptx.Config.from_env()
    shown = {name for (_, name), _ in env._shown(config)}
    assert set(config.describe()) - set(env.NOT_SETTINGS) <= shown
    assert {name for sink in config.describe()["sinks"] for name in sink} - {"kind"} <= shown


def test_demo_goes_to_the_console_or_to_a_collector(collector: OtlpServer, command: Command) -> None:
    finished = command("demo")
    assert finished.returncode == 0 and "span_end POST /v1/chat/completions" in finished.stderr, finished
    assert finished.stderr.count("metric gen_ai.server.request.duration") == 1, "collected once"
    for arguments, variables in [
        (["--endpoint", collector.endpoint], {}),
        (["--endpoint", collector.endpoint], {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9"}),
        ([], {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}),
    ]:
        finished = command("demo", *arguments, **variables)
        assert finished.returncode == 0 and "delivered" in finished.stdout, finished
    assert [span["name"] for span in collector.spans].count("chat qwen3-8b") == 3
    assert len(collector.logs) == 3 and collector.metrics
    for span in collector.spans:
        parents = [parent for parent in collector.spans if parent["span_id"] == span["parent_span_id"]]
        assert all(parent["start_time_unix_nano"] <= span["start_time_unix_nano"] for parent in parents)
    collector.default_answer = Answer(400)
    finished = command("demo", "--endpoint", collector.endpoint)
    assert finished.returncode == 1 and "NOT delivered" in finished.stdout, finished
    assert f"python -m pytracingx doctor --endpoint {collector.endpoint}\n" in finished.stdout


def test_a_command_is_needed(command: Command) -> None:
    assert command().returncode == 2
    assert command("--version").stdout == f"pytracingx {ptx.__version__}\n"


def test_usage_is_told_without_a_traceback(
    command: Command,
) -> None:
    finished = command("doctor", "--timeout-ms=-5")
    assert finished.returncode == 2 and "-5 is less than 0" in finished.stderr


def test_a_terminal_that_knows_ascii_only(command: Command) -> None:
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
    command: Command,
) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    finished = command("demo", "--endpoint", "http://127.0.0.1:9", **none)
    assert finished.returncode == 1 and "not sent: OTEL_TRACES_EXPORTER" in finished.stdout
    finished = command("demo", OTEL_SDK_DISABLED="true")
    assert (finished.returncode, finished.stdout) == (1, "OTEL_SDK_DISABLED is set: nothing is recorded\n")


def test_demo_refuses_what_is_no_endpoint(
    command: Command,
) -> None:
    for arguments, said in [
        (["--endpoint", "http:/localhost:4318"], "with both slashes"),
        (["--endpoint", ""], "demo: error: argument --endpoint: must not be empty"),
        (
            ["--protocol", "carrier pigeon"],
            "demo: error: argument --protocol: unknown protocol 'carrier pigeon'",
        ),
    ]:
        finished = command("demo", *arguments)
        assert (finished.returncode, finished.stdout) == (2, "") and said in finished.stderr, finished


def test_demo_tells_a_trace_that_was_not_sent(collector: OtlpServer, command: Command) -> None:
    for variables, reason in [
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "sampled out (OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_EXPORTER": "none"}, "no sink takes spans (OTEL_TRACES_EXPORTER)"),
    ]:
        finished = command("demo", "--endpoint", collector.endpoint, **variables)
        assert finished.returncode == 0 and "not sent, for" in finished.stdout, finished
        assert reason in finished.stdout and "the rest delivered" in finished.stdout
    assert not collector.spans and len(collector.logs) == 2


def test_a_disk_that_is_full() -> None:
    with open("/dev/full", "wb") as output:
        finished = subprocess.run(
            [sys.executable, "-m", "pytracingx", "env"], stdout=output, stderr=subprocess.PIPE, timeout=60
        )
    assert (finished.returncode, finished.stderr) == (1, b"cannot write to stdout: No space left on device\n")


def test_a_stdout_that_is_closed() -> None:
    command = f"{shlex.quote(sys.executable)} -m pytracingx env >&-"
    finished = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, timeout=60)
    assert (finished.returncode, finished.stderr) == (0, b"")


def test_env_knows_what_is_read_elsewhere(command: Command) -> None:
    finished = command("env", PYTRACINGX_ENGINE="0", PYTRACINGX_GEN_AI_SEMCONV="both")
    assert finished.returncode == 0 and "PYTRACINGX_ENGINE: is off" in finished.stdout, finished
    assert "PYTRACINGX_GEN_AI_SEMCONV: names of" in finished.stdout
    capture = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    assert f"{capture}: if generation" in command("env", **{capture: "false"}).stdout
    finished = command("env", PYTRACINGX_GEN_AI_SEMCONV="1.36", **{capture: "maybe"})
    assert finished.returncode == 1
    assert "warning: PYTRACINGX_GEN_AI_SEMCONV: '1.36' is not 'latest' | 'legacy' | 'both'" in finished.stdout
    assert f"warning: {capture}: 'maybe' is not true, false, event_only," in finished.stdout


def test_env_knows_variables_of_sls_that_wait_for_others(command: Command) -> None:
    place = {f"PYTRACINGX_SLS_{name}": "localhost:9" for name in ("ENDPOINT", "PROJECT", "LOGSTORE")}
    place["PYTRACINGX_SLS_PROJECT"] = place["PYTRACINGX_SLS_LOGSTORE"] = "name"
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": CANARY}
    for missing in place:
        rest = {name: value for name, value in {**place, **key}.items() if name != missing}
        finished = command("env", **rest)
        assert finished.returncode == 1 and "changes nothing" not in finished.stdout, finished
        assert f"warning: the SLS sink lacks {missing}; ignored" in finished.stdout
        assert finished.stdout.count(": of an SLS sink, of which other variables are missing") == 2
    assert command("env", **key).stdout.count(": credentials of SLS sinks") == 2
    role = {"ALIBABA_CLOUD_ECS_METADATA": "role", "OTEL_TRACES_EXPORTER": "none"}
    lines = command("env", **place, **role).stdout.splitlines()
    (credentials,) = [line for line in lines if line.startswith("  credentials = ")]
    assert "ALIBABA_CLOUD_ECS_METADATA" in credentials and "OTEL_TRACES_EXPORTER" not in credentials


def test_env_has_every_variable_of_credentials() -> None:
    from pytracingx import aliyun
    from pytracingx._cli import env

    source = Path(aliyun.__file__).read_text(encoding="utf-8")
    assert set(re.findall(r"ALIBABA_CLOUD_(\w+)", source)) == set(env.SLS_CREDENTIALS)


def test_env_names_the_proxys_variable_in_both_cases(command: Command) -> None:
    finished = command(
        "env",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
        HTTP_PROXY="http://proxy:3128",
        http_proxy="http://proxy:3128",
    )
    lines = [line for line in finished.stdout.splitlines() if line.startswith("  proxy = ")]
    assert len(lines) == 3 and all("HTTP_PROXY, http_proxy" in line for line in lines), finished


def test_demo_tells_of_a_server_that_does_not_answer(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        finished = command("demo", "--endpoint", f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces")
    assert finished.returncode == 1 and "NOT delivered" in finished.stdout, finished
    assert ": None" not in finished.stdout
