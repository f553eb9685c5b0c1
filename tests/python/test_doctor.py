"""`python -m pytracingx doctor`, as people run it: a process of its own, against a real server or none."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from canary import CANARY
from conftest import Command
from otlp_server import Answer, OtlpServer
from proxy_server import Proxy
from sls_server import Reply, SlsServer
from sls_session import KEY

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
    (tmp_path / "exits.py").write_text("raise SystemExit('no such region')\n")
    for name, problem in [
        ("exits:config", "SystemExit: no such region"),
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
        (["--endpoint", ""], "doctor: error: argument --endpoint: must not be empty"),
        (
            ["--protocol", "carrier pigeon"],
            "doctor: error: argument --protocol: unknown protocol 'carrier pigeon'",
        ),
        (["--config", "mine:config", "--protocol", "grpc"], "not --config"),
    ]:
        finished = command("doctor", *arguments)
        assert (finished.returncode, finished.stdout) == (2, "") and said in finished.stderr, finished
    assert command("doctor", "--protocol", "grpc").stdout.count("http://localhost:4317/…  grpc") == 3


@pytest.mark.parametrize(
    ("variables", "signals"),
    [
        ({}, "traces, metrics and logs"),
        ({"": "http:/collector"}, "traces, metrics and logs"),
        ({"": "http:/localhost:4318"}, "traces, metrics and logs"),
        ({"": "http://localhost:4318"}, None),
        ({"": " localhost:4318 "}, None),
        ({"TRACES_": "http://localhost:4318/v1/traces"}, "metrics and logs"),
        ({"TRACES_": "http://127.0.0.1:9", "METRICS_": "http://127.0.0.1:9"}, "logs"),
        ({"TRACES_": "http:/collector", "": "http://127.0.0.1:9"}, None),
    ],
)
def test_doctor_says_when_it_tries_the_default(
    command: Command, variables: dict[str, str], signals: str | None
) -> None:
    endpoints = {f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT": url for signal, url in variables.items()}
    told = [line for line in command("doctor", **endpoints).stdout.splitlines() if "no OTLP endpoint" in line]
    start = "no OTLP endpoint that can be used is configured for"
    assert told == ([f"{start} {signals}, so the default is"] if signals else [])


def test_doctor_tries_no_default_where_an_argument_says_more(command: Command) -> None:
    assert "the default is" not in command("doctor", "--endpoint", "http://localhost:4318").stdout
    assert command("doctor", "--protocol", "grpc").stdout.count("the default is") == 1


def test_doctor_knows_that_paths_are_added_to_a_base(collector: OtlpServer, command: Command) -> None:
    collector.default_answer = Answer(404)
    said = "is a base to which /v1/traces and its like are added"
    wrong, right = f"{collector.endpoint}/v1/traces", collector.endpoint
    assert command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=wrong).stdout.count(said) == 3
    assert command("doctor", "--endpoint", f"{wrong}/").stdout.count(said) == 3
    finished = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=right)
    assert said not in finished.stdout and finished.stdout.count("not the path") == 3
    finished = command(
        "doctor", OTEL_EXPORTER_OTLP_ENDPOINT=wrong, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{right}/v1/traces"
    )
    assert finished.stdout.count(said) == 2 and finished.stdout.count("not the path") == 1


@pytest.mark.parametrize(("status", "advice"), [(403, "other credentials"), (503, "own trouble")])
def test_doctor_suspects_the_proxy(
    collector: OtlpServer, command: Command, tmp_path: Path, status: int, advice: str
) -> None:
    collector.default_answer = Answer(status)
    (tmp_path / "mine.py").write_text(
        "import pytracingx as ptx\n"
        "config = ptx.Config('mine', sinks=[ptx.TraceSink('http://collector.example:4318/v1/traces')])\n"
    )
    said = "or is it the answer of the proxy http://***@127.0.0.1:"
    with closing(Proxy(collector.port, f"user:{CANARY}")) as proxy:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318", "HTTP_PROXY": proxy.url}
        finished = command("doctor", **variables)
        assert finished.stdout.count(said) == finished.stdout.count(advice) == 3, finished
        finished = command("doctor", "--config", "mine:config", HTTP_PROXY=proxy.url)
        assert finished.stdout.count(said) == 1, finished
        collector.default_answer = Answer(200)
        assert "of the proxy" not in command("doctor", **variables).stdout
    collector.default_answer = Answer(status)
    finished = command("doctor", OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert finished.stdout.count(advice) == 3 and "of the proxy" not in finished.stdout


def test_doctor_knows_a_server_that_does_not_know_the_compression(command: Command) -> None:
    pytest.importorskip("grpc", reason=NO_GRPC)
    from grpc_server import GrpcAnswer, GrpcServer

    said = "OTEL_EXPORTER_OTLP_COMPRESSION=gzip"
    with closing(GrpcServer()) as server:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        finished = command("doctor", **variables, OTEL_EXPORTER_OTLP_COMPRESSION="zstd")
        assert finished.stdout.count(said) == 3, finished
        assert command("doctor", **variables, OTEL_EXPORTER_OTLP_COMPRESSION="gzip").returncode == 0
        # As the servers of Go, Java and Rust word it.
        for code, message in [
            (12, 'grpc: Decompressor is not installed for grpc-encoding "zstd"'),
            (12, "Can't find decompressor for zstd"),
            (13, "Content is compressed with `zstd` which isn't supported"),
        ]:
            server.default_answer = GrpcAnswer(code, message)
            assert command("doctor", **variables).stdout.count(said) == 3, message
        server.default_answer = GrpcAnswer(8, "no memory to decompress")
        assert said not in command("doctor", **variables).stdout


def test_doctor_tells_a_tls_port_without_http2(command: Command, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("localhost").configure_cert(context)
    with closing(OtlpServer(tls=context)) as server:
        finished = command(
            "doctor",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"https://localhost:{server.port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
            OTEL_EXPORTER_OTLP_CERTIFICATE=str(tmp_path / "ca.pem"),
        )
    assert finished.stdout.count("no gRPC on this port: protocol='http/protobuf'") == 3, finished


def test_doctor_names_the_protocol_of_sls(command: Command) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": "id", "ALIBABA_CLOUD_ACCESS_KEY_SECRET": CANARY}
    place = {"PYTRACINGX_SLS_PROJECT": "p", "PYTRACINGX_SLS_LOGSTORE": "l"}
    finished = command("doctor", **none, **key, **place, PYTRACINGX_SLS_ENDPOINT="http://127.0.0.1:9")
    assert "http://127.0.0.1:9/…  sls  FAILED" in finished.stdout, finished
    finished = command("doctor", **none, **key, **place)
    assert "the SLS sink lacks PYTRACINGX_SLS_ENDPOINT; ignored" in finished.stderr, finished


@pytest.mark.parametrize(
    ("reply", "advice"),
    [
        (Reply(401, "SignatureNotMatch"), "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        (Reply(403, "ProjectForbidden"), "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"),
        (Reply(403, "WriteQuotaExceed"), "throttling"),
        (Reply(404, "LogStoreNotExist"), "the project or the logstore is not there"),
    ],
)
def test_doctor_knows_the_answers_of_sls(command: Command, reply: Reply, advice: str) -> None:
    none = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
    key = {"ALIBABA_CLOUD_ACCESS_KEY_ID": KEY.id, "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY.secret}
    with closing(SlsServer(KEY)) as server:
        server.answer_next(reply)
        place = {"ENDPOINT": server.endpoint, "PROJECT": "proj", "LOGSTORE": "store"}
        finished = command(
            "doctor", **none, **key, **{f"PYTRACINGX_SLS_{name}": value for name, value in place.items()}
        )
    assert finished.returncode == 1 and finished.stdout.count(advice) == 1, finished
    assert "OTEL_EXPORTER_OTLP" not in finished.stdout
