"""Proxies between a program and its endpoints: who is asked, who is told the password, and who never hears it."""

from __future__ import annotations

import json
import pickle
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import RunPython
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from otlp_server import OtlpServer, closed_port
from proxy_server import Proxy
from sls_server import Key, SlsServer

import pytracingx as ptx
from pytracingx.aliyun import CredentialsError, oidc_role

CANARY = "c4n4ry-password"

# The endpoint, the proxy and the CA file as arguments, empty for none.
SEND = """
    url, proxy, ca_file = sys.argv[1:]
    options = {"proxy": proxy} if proxy else {}
    if ca_file:
        options["ca_file"] = ca_file
    sinks = [sink(url, "http", {"x-key": "c4n4ry-header"}, **options)
             for sink in (ptx.TraceSink, ptx.MetricSink, ptx.OtlpLogSink)]
    config = ptx.Config("svc", sinks=sinks)
    ptx.init(config)
    ptx.start_span("op").end()
    ptx.get_meter("m").counter("sum").add(1)
    ptx.get_logger("l").info("hello")
    ptx.force_flush(1_000)
    stats = ptx.stats()
    print(config, sinks, config.describe(), stats, [ptx.check(500)])
    answer([stats[kind][0] for kind in ("trace_sinks", "metric_sinks", "log_sinks")])
    ptx.shutdown(0)
"""
PATHS = {"/v1/traces", "/v1/metrics", "/v1/logs"}


@pytest.fixture
def proxy(collector: OtlpServer) -> Iterator[Proxy]:
    proxy = Proxy(collector.port, f"user:{CANARY}")
    yield proxy
    proxy.close()


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """The CA file of the authority that `secure` has its certificate from."""
    return str(tmp_path / "ca.pem")


@pytest.fixture
def secure(authority: str) -> Iterator[OtlpServer]:
    """Serves https as `collector.example` and as `localhost`."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("collector.example", "localhost").configure_cert(context)
    server = OtlpServer(tls=context)
    yield server
    server.close()


def test_plain_requests_are_handed_to_the_proxy(
    proxy: Proxy, collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(SEND, "http://collector.example:4318", proxy.url, "")
    assert [sink["exported"] for sink in done.answer] == [1, 1, 1], done.answer
    lines = {head.splitlines()[0] for head in proxy.heads}
    assert lines == {f"POST http://collector.example:4318{path} HTTP/1.1" for path in PATHS}
    assert CANARY not in done.stdout + done.stderr and "c4n4ry-header" not in done.stdout + done.stderr


def test_tls_goes_through_a_tunnel_that_takes_the_password_alone(
    secure: OtlpServer, authority: str, run_python: RunPython
) -> None:
    proxy = Proxy(secure.port, f"user:{CANARY}")
    done = run_python(SEND, "https://collector.example", proxy.url, authority)
    proxy.close()
    assert [sink["exported"] for sink in done.answer] == [1, 1, 1], done.answer
    assert {head.splitlines()[0] for head in proxy.heads} == {"CONNECT collector.example:443 HTTP/1.1"}
    assert not any("x-key" in head or "/v1/" in head for head in proxy.heads)
    assert {request.path for request in secure.requests} == PATHS
    for request in secure.requests:
        assert not [name for name in request.headers if "proxy" in name]
    assert CANARY not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_the_environment_names_the_proxy(
    name: str, secure: OtlpServer, authority: str, run_python: RunPython
) -> None:
    proxy = Proxy(secure.port, f"user:{CANARY}")
    env = {name: proxy.url, "http_proxy": "http://127.0.0.1:1"}
    done = run_python(SEND, "https://collector.example", "", authority, env=env)
    assert [sink["exported"] for sink in done.answer] == [1, 1, 1], done.answer
    assert f"'proxy': 'http://***@127.0.0.1:{proxy.port}'" in done.stdout
    assert CANARY not in done.stdout + done.stderr
    heads = len(proxy.heads)
    exempt = {**env, "NO_PROXY": "10.0.0.0/8, .example"}
    done = run_python(SEND, "https://collector.example", "", authority, env=exempt, check=False)
    proxy.close()
    assert all("resolve" in str(sink["last_error"]) for sink in done.answer), done.answer
    assert len(proxy.heads) == heads and "'proxy': ''" in done.stdout


def test_the_environment_has_no_say_over_this_machine(collector: OtlpServer, run_python: RunPython) -> None:
    dead = f"http://127.0.0.1:{closed_port()}"
    env = {"http_proxy": dead, "HTTP_PROXY": dead, "all_proxy": dead}
    done = run_python(SEND, collector.endpoint, "", "", env=env)
    assert [sink["exported"] for sink in done.answer] == [1, 1, 1], done.answer
    done = run_python(SEND, collector.endpoint, dead, "")
    assert all(f"proxy {dead[7:]}" in sink["last_error"] for sink in done.answer), "an argument has it"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_wrong_password_costs_no_data_and_shows_nowhere(
    scheme: str, proxy: Proxy, run_python: RunPython
) -> None:
    url = proxy.url.replace("user", "other")
    done = run_python(SEND, f"{scheme}://collector.example/c4n4ry-path", url, "")
    for sink in done.answer:
        shown = f"http://***@127.0.0.1:{proxy.port}: HTTP 407 Proxy Authentication Required"
        assert sink["last_error"] == f"no way through the proxy {shown}"
        assert (sink["exported"], sink["held_records"], sink["dropped"]) == (0, 1, {}) or sink["dropped"] == {
            reason: 0 for reason in sink["dropped"]
        }
    assert "phase='proxy'" in done.stdout or "'phase': 'proxy'" in done.stdout, done.stdout
    assert "c4n4ry" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "proxy, text",
    [
        ("https://u:c4n4ry@proxy:1", r"proxy 'https://…' must begin with http://: .* TLS"),
        ("socks5://u:c4n4ry@proxy", r"proxy 'socks5://…' must begin with http://: .* SOCKS"),
        ("http://u:c4n4ry@proxy:x", r"proxy 'http://…' must have a port from 1 to 65535"),
        ("http://proxy/c4n4ry", r"proxy 'http://proxy/…' must have a host"),
    ],
)
def test_what_is_no_proxy_is_refused_at_once(proxy: str, text: str) -> None:
    for make in (
        lambda: ptx.TraceSink("http://a", proxy=proxy),
        lambda: ptx.MetricSink("http://a", proxy=proxy),
        lambda: ptx.OtlpLogSink("http://a", proxy=proxy),
        lambda: ptx.SlsLogSink("a", "p", "l", "i", "s", proxy=proxy),
    ):
        with pytest.raises(ptx.ConfigError, match=r"^(Trace|Metric|OtlpLog|SlsLog)Sink " + text) as raised:
            make()
        assert "c4n4ry" not in str(raised.value)


def test_a_proxy_travels_with_its_sink_and_is_not_shown() -> None:
    sinks = [
        make(proxy=value)
        for value in ("http://u:c4n4ry@proxy:3128", "")
        for make in (
            lambda proxy: ptx.TraceSink("http://a/c4n4ry", proxy=proxy),
            lambda proxy: ptx.SlsLogSink("a", "p", "l", "i", "s", proxy=proxy),
        )
    ]
    config = pickle.loads(pickle.dumps(ptx.Config("svc", sinks=sinks)))
    described = [sink["proxy"] for sink in config.describe()["sinks"]]
    assert sorted(described) == ["", "", "http://***@proxy:3128", "http://***@proxy:3128"]
    assert "c4n4ry" not in repr([sinks, config, config.describe()])
    arguments = [sink.__reduce_ex__(2)[2] or sink.__getnewargs_ex__()[1] for sink in sinks]
    assert "http://u:c4n4ry@proxy:3128" in json.dumps(arguments, default=str)


def test_sls_through_a_proxy() -> None:
    server = SlsServer(Key("id", "c4n4ry"))
    proxy = Proxy(server.server_address[1])
    sink = ptx.SlsLogSink(server.endpoint, "proj", "store", "id", "c4n4ry", proxy=proxy.url)
    ptx.shutdown(0)
    ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, diagnostics="off"))
    try:
        ptx.get_logger("l").info("hello")
        assert ptx.force_flush(), (ptx.stats()["log_sinks"], server.complaints)
        assert len(server.logs) == 1
        line = f"POST {server.endpoint}/logstores/store/shards/lb HTTP/1.1"
        assert proxy.heads[0].splitlines()[0] == line
    finally:
        ptx.shutdown(0)
        proxy.close()
        server.close()


def test_credentials_are_asked_for_by_the_same_rule(
    collector: OtlpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy for https is none for http; what is not encrypted it forwards, as it does for sinks."""
    proxy = Proxy(collector.port, f"user:{CANARY}")
    token = tmp_path / "token"
    token.write_text("token")
    provider = oidc_role("arn", "provider", str(token), sts_endpoint="http://sts.example")
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("no_proxy", "sts.example")
    with pytest.raises(CredentialsError, match=r"STS: sts.example: ") as raised:
        provider()
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    with pytest.raises(CredentialsError, match=r"STS: sts.example: "):
        provider()
    assert proxy.heads == []
    monkeypatch.setenv("http_proxy", proxy.url)
    with pytest.raises(CredentialsError, match="an answer without credentials"):
        provider()
    proxy.close()
    assert proxy.heads[0].startswith("POST http://sts.example/ HTTP/1.1")
    monkeypatch.setenv("http_proxy", proxy.url.replace("user", "other"))
    with pytest.raises(CredentialsError) as raised:
        provider()
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_grpc_always_goes_through_a_tunnel(scheme: str, authority: str, run_python: RunPython) -> None:
    """Also without TLS, where the server speaks first: its SETTINGS come right behind the proxy's answer."""
    grpc = pytest.importorskip("grpc", reason="no wheel of grpcio for this interpreter")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
        add_TraceServiceServicer_to_server,
    )

    ca = trustme.CA()
    ca.cert_pem.write_to_path(authority)
    leaf = ca.issue_cert("collector.example")
    pair = leaf.private_key_pem.bytes(), b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    seen: list[dict[str, str]] = []

    class Service:
        def Export(self, request: ExportTraceServiceRequest, context: Any) -> Any:
            seen.append({key: str(value) for key, value in context.invocation_metadata()})
            return ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    add_TraceServiceServicer_to_server(Service(), server)
    if scheme == "https":
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    proxy = Proxy(port, f"user:{CANARY}")
    env = {"http_proxy": proxy.url, "https_proxy": proxy.url}
    try:
        done = run_python(
            """
            ca = {"ca_file": sys.argv[2]} if sys.argv[1].startswith("https") else {}
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "grpc", **ca)]))
            for _ in range(3):
                ptx.start_span("op").end()
                assert ptx.force_flush(5_000), ptx.stats()
            answer(ptx.stats()["trace_sinks"][0])
            """,
            f"{scheme}://collector.example:4317",
            authority,
            env=env,
        )
    finally:
        proxy.close()
        server.stop(0)
    assert done.answer["exported"] == 3 == len(seen)
    assert [head.splitlines()[0] for head in proxy.heads] == ["CONNECT collector.example:4317 HTTP/1.1"]
    assert not [key for metadata in seen for key in metadata if "proxy" in key]
