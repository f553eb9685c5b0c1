"""gRPC over TLS: who is trusted, and that nothing is sent to who is not."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from conftest import RunPython
from one_sink import FLUSH_MS, begin, books, spans
from otlp_server import OtlpServer
from test_https import Authority

import pytracingx as ptx

pytest.importorskip("grpc", reason="no wheel of grpcio for this interpreter")
from grpc_server import GrpcServer, tls

pytestmark = pytest.mark.usefixtures("session_ends")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca.pem")


def outcome(server: GrpcServer | OtlpServer, **files: Any) -> tuple[bool, str]:
    """Of one span: whether it arrived, or what was wrong. Nothing is heard by who is not trusted."""
    begin(server.endpoint, "grpc", **files)
    spans(1)
    flushed = ptx.force_flush(FLUSH_MS)
    sink = books()
    assert flushed == bool(sink["exported"]) == bool(server.requests)
    assert flushed or sink["held_records"] == 1
    ptx.shutdown(0)
    return flushed, sink["last_error"] or ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_known_authority(host: str, authority: Authority) -> None:
    server = GrpcServer(credentials=tls(authority, host))
    begin(f"https://{host}:{server.port}", "grpc", ca_file=authority.file, compression="gzip")
    for _ in range(10):
        spans(100)
        assert ptx.force_flush()
    assert len(server.spans) == 1_000 and server.connections == 1
    server.close()


def test_a_large_message(authority: Authority) -> None:
    server = GrpcServer(
        credentials=tls(authority, "localhost"), options=[("grpc.max_receive_message_length", -1)]
    )
    begin(server.endpoint, "grpc", ca_file=authority.file)
    ptx.start_span("op", {"value": "x" * (20 << 20)}).end()
    assert ptx.force_flush()
    assert len(server.spans[0]["attributes"]["value"]) == 20 << 20
    server.close()


def test_another_authority_and_another_name(authority: Authority, tmp_path: Path) -> None:
    server = GrpcServer(credentials=tls(authority, "example.com"))
    other = Authority(tmp_path / "other.pem")
    arrived, error = outcome(server, ca_file=other.file)
    assert not arrived and "UnknownIssuer" in error
    arrived, error = outcome(server, ca_file=authority.file)
    assert not arrived and "not valid for name" in error
    server.close()


def test_a_client_shows_its_certificate(authority: Authority, tmp_path: Path) -> None:
    server = GrpcServer(credentials=tls(authority, "localhost", mutual=True))
    client = authority.issue_cert("client@example.com")
    chain, key = tmp_path / "client.pem", tmp_path / "client.key"
    client.cert_chain_pems[0].write_to_path(chain)
    client.private_key_pem.write_to_path(key)
    assert not outcome(server, ca_file=authority.file)[0]
    own = {"client_cert_file": str(chain), "client_key_file": str(key)}
    assert outcome(server, ca_file=authority.file, **own) == (True, "")
    server.close()


def test_a_server_without_tls(authority: Authority) -> None:
    server = GrpcServer()
    server.endpoint = f"https://127.0.0.1:{server.port}"
    assert not outcome(server, ca_file=authority.file)[0]
    server.close()


@pytest.mark.parametrize("protocols", [[], ["http/1.1"]])
def test_a_server_that_does_not_offer_http_2(protocols: list[str], authority: Authority) -> None:
    """gRPC is refused before anything of it is said."""
    context = authority.server("localhost")
    assert isinstance(context, ssl.SSLContext)
    if protocols:
        context.set_alpn_protocols(protocols)
    server = OtlpServer(tls=context)
    assert not outcome(server, ca_file=authority.file)[0]
    server.close()


def test_all_from_the_environment(authority: Authority, run_python: RunPython) -> None:
    server = GrpcServer(credentials=tls(authority, "localhost"))
    run_python(
        "ptx.init(); ptx.start_span('op').end(); assert ptx.shutdown()",
        env={
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            # Without a scheme TLS is used, unless the host is a loopback one: localhost needs the scheme.
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": authority.file,
            # A scheme wins.
            "OTEL_EXPORTER_OTLP_INSECURE": "true",
        },
    )
    assert server.span("op")
    server.close()
