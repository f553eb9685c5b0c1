"""`python -m pytracingx doctor`, as people run it: a process of its own, against a real server or none."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest
from canary import CANARY
from conftest import Command
from otlp_server import Answer, OtlpServer
from proxy_server import Proxy

NO_GRPC = "no wheel of grpcio for this interpreter"


def test_doctor_finds_every_sink_well(collector: OtlpServer, command: Command) -> None:
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
    collector: OtlpServer, command: Command, status: int, advice: str
) -> None:
    collector.default_answer = Answer(status)
    finished = command(
        "doctor",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{CANARY}",
    )
    assert finished.returncode == 1
    assert finished.stdout.count(f"answer {status}") == 3 and finished.stdout.count(advice) == 3, (
        finished.stdout
    )


def test_doctor_tells_how_far_it_came(command: Command) -> None:
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
def test_doctor_knows_the_statuses_of_grpc(command: Command, status: str, advice: str) -> None:
    grpc = pytest.importorskip("grpc", reason=NO_GRPC)
    from grpc_server import GrpcAnswer, GrpcServer

    with closing(GrpcServer()) as server:
        server.default_answer = GrpcAnswer(grpc.StatusCode[status].value[0])
        finished = command(
            "doctor", OTEL_EXPORTER_OTLP_ENDPOINT=server.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
        )
    assert finished.returncode == 1 and finished.stdout.count(advice) == 3, finished.stdout


def test_doctor_tells_a_port_of_another_protocol(collector: OtlpServer, command: Command) -> None:
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


def test_doctor_takes_a_config_of_a_module(collector: OtlpServer, command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import pytracingx as ptx\n"
        f"config = ptx.Config('mine', sinks=[ptx.TraceSink('{collector.endpoint}/v1/traces')])\n"
        "def make(): return config\n"
        "number = 3\n"
    )
    for name in ("mine:config", "mine:make"):
        finished = command("doctor", "--config", name)
        assert finished.returncode == 0 and "1 of 1 sinks" in finished.stdout, finished
    (tmp_path / "begins.py").write_text("from mine import *\nptx.init(config)\n")
    finished = command("doctor", "--config", "begins:config")
    assert finished.returncode == 0 and "1 of 1 sinks" in finished.stdout, finished
    (tmp_path / "broken.py").write_text("{}['the key']\n")
    for name, problem in [
        ("mine", "MODULE:NAME"),
        ("mine:nothing", "nothing"),
        ("mine:number", "int"),
        ("nowhere:config", "nowhere"),
        ("broken:config", "KeyError: 'the key'"),
    ]:
        finished = command("doctor", "--config", name)
        assert finished.returncode == 2 and problem in finished.stderr, finished
        assert "Traceback" not in finished.stderr


def test_doctor_without_sinks_and_disabled(command: Command) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    finished = command("doctor", **none)
    assert finished.returncode == 0 and "no sinks: nothing goes anywhere" in finished.stdout
    finished = command(
        "doctor", **{**none, "OTEL_LOGS_EXPORTER": "console", "OTEL_TRACES_EXPORTER": "console"}
    )
    assert finished.returncode == 0 and "no sinks: spans and logs go to the console" in finished.stdout
    finished = command("doctor", OTEL_SDK_DISABLED="true")
    assert finished.returncode == 1 and "OTEL_SDK_DISABLED" in finished.stdout


def test_doctor_asks_where_it_is_told_to(collector: OtlpServer, command: Command) -> None:
    elsewhere = {
        f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT": "http://127.0.0.1:9"
        for signal in ("", "TRACES_", "METRICS_", "LOGS_")
    }
    elsewhere["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"] = "grpc"
    finished = command("doctor", "--endpoint", collector.endpoint, "--protocol", "http/protobuf", **elsewhere)
    assert finished.returncode == 0 and "3 of 3 sinks" in finished.stdout, finished
    assert finished.stdout.count("http/protobuf") == 3
    for arguments, said in [
        (["--endpoint", ""], "endpoint must not be empty"),
        (["--protocol", "carrier pigeon"], "carrier pigeon"),
        (["--config", "mine:config", "--protocol", "grpc"], "not --config"),
    ]:
        finished = command("doctor", *arguments)
        assert (finished.returncode, finished.stdout) == (2, "") and said in finished.stderr, finished
    assert command("doctor", "--protocol", "grpc").stdout.count("http://localhost:4317/…  grpc") == 3


def test_doctor_says_when_it_tries_the_default(command: Command) -> None:
    told = "no OTLP endpoint that can be used is configured"
    assert command("doctor").stdout.count(told) == 1
    assert command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http:/collector").stdout.count(told) == 1
    assert told not in command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318").stdout
    assert told not in command("doctor", "--endpoint", "http://127.0.0.1:9").stdout


def test_doctor_knows_that_paths_are_added_to_a_base(collector: OtlpServer, command: Command) -> None:
    collector.default_answer = Answer(404)
    finished = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=f"{collector.endpoint}/v1/traces")
    assert finished.stdout.count("is a base, to which /v1/traces and its like are added") == 3
    finished = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert "is a base" not in finished.stdout and finished.stdout.count("not the path") == 3


def test_doctor_suspects_the_proxy(collector: OtlpServer, command: Command) -> None:
    collector.default_answer = Answer(403)
    with closing(Proxy(collector.port)) as proxy:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318", "HTTP_PROXY": proxy.url}
        finished = command("doctor", **variables)
    assert finished.stdout.count("or is it the answer of the proxy http://127.0.0.1:") == 3, finished
    finished = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert finished.stdout.count("other credentials") == 3 and "of the proxy" not in finished.stdout


def test_doctor_knows_a_server_that_does_not_know_the_compression(command: Command) -> None:
    pytest.importorskip("grpc", reason=NO_GRPC)
    from grpc_server import GrpcServer

    with closing(GrpcServer()) as server:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        finished = command("doctor", **variables, OTEL_EXPORTER_OTLP_COMPRESSION="zstd")
        assert finished.stdout.count("OTEL_EXPORTER_OTLP_COMPRESSION=gzip") == 3, finished
        assert command("doctor", **variables, OTEL_EXPORTER_OTLP_COMPRESSION="gzip").returncode == 0


def test_doctor_names_the_protocol_of_sls(command: Command) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": CANARY}
    place = {"PYTRACINGX_SLS_PROJECT": "p", "PYTRACINGX_SLS_LOGSTORE": "l"}
    finished = command("doctor", **none, **key, **place, PYTRACINGX_SLS_ENDPOINT="http://127.0.0.1:9")
    assert "http://127.0.0.1:9/…  sls  FAILED" in finished.stdout, finished
    finished = command("doctor", **none, **key, **place)
    assert "the SLS sink lacks PYTRACINGX_SLS_ENDPOINT (" in finished.stderr, finished
