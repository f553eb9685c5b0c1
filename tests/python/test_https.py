"""Endpoints with https: who is trusted, and that nothing is sent to who is not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from conftest import RunPython
from otlp_server import OtlpServer

SEND = """
    files = dict(zip(("ca_file", "client_cert_file", "client_key_file"), sys.argv[2:]))
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http", **files)], diagnostics="off"))
    verdicts = []
    for _ in range(3):
        ptx.start_span("op").end()
        verdicts.append(ptx.force_flush(1_000))
    answer([verdicts, ptx.stats()["trace_sinks"][0]])
    ptx.shutdown(0)
"""


class Authority(trustme.CA):
    """A CA and its certificate as a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = str(path)
        self.cert_pem.write_to_path(self.file)

    def server(self, *names: str) -> ssl.SSLContext:
        """What a server with a certificate for these names needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca.pem")


@pytest.fixture
def server(authority: Authority) -> Iterator[OtlpServer]:
    server = OtlpServer(tls=authority.server("localhost", "127.0.0.1"))
    yield server
    server.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_certificate_of_a_known_authority(
    host: str, server: OtlpServer, authority: Authority, run_python: RunPython
) -> None:
    done = run_python(SEND, f"https://{host}:{server.port}", authority.file)
    verdicts, sink = done.answer
    assert verdicts == [True] * 3 and sink["exported"] == 3
    assert len(server.spans) == 3 and server.connections == 1


def test_the_authority_may_come_from_the_environment(
    server: OtlpServer, authority: Authority, run_python: RunPython
) -> None:
    run_python(
        "ptx.init(); ptx.start_span('op').end(); assert ptx.shutdown()",
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": authority.file,
        },
    )
    assert server.span("op")


def test_an_unknown_authority_is_refused(server: OtlpServer, tmp_path: Path, run_python: RunPython) -> None:
    for files in [], [Authority(tmp_path / "other.pem").file]:
        done = run_python(SEND, server.endpoint, *files)
        verdicts, sink = done.answer
        assert verdicts == [False] * 3
        assert sink["exported"] == 0 and sink["held_records"] == 3
        # The wait of 30 s does not hold a flush up; nothing else asks meanwhile.
        assert sink["requests"] == 3
        assert "UnknownIssuer" in sink["last_error"], sink["last_error"]
    assert server.requests == []


def test_another_name_is_refused(authority: Authority, run_python: RunPython) -> None:
    server = OtlpServer(tls=authority.server("example.com"))
    try:
        done = run_python(SEND, server.endpoint, authority.file)
    finally:
        server.close()
    assert done.answer[1]["exported"] == 0
    assert "not valid for name" in done.answer[1]["last_error"], done.answer[1]["last_error"]
    assert server.requests == []


def test_a_server_without_tls_is_refused(
    collector: OtlpServer, authority: Authority, run_python: RunPython
) -> None:
    done = run_python(SEND, f"https://127.0.0.1:{collector.port}", authority.file)
    assert done.answer[1]["exported"] == 0 and done.answer[1]["last_error"]
    assert collector.requests == []


def test_a_client_shows_its_certificate(authority: Authority, tmp_path: Path, run_python: RunPython) -> None:
    client = authority.issue_cert("client@example.com")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    context = authority.server("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    server = OtlpServer(tls=context)
    try:
        unknown = run_python(SEND, server.endpoint, authority.file)
        sink = unknown.answer[1]
        assert sink["exported"] == 0 and sink["held_records"] == 3 and sink["last_error"], sink
        known = run_python(
            SEND, server.endpoint, authority.file, str(tmp_path / "client.pem"), str(tmp_path / "client.key")
        )
        assert known.answer[1]["exported"] == 3 == len(server.spans)
    finally:
        server.close()


def test_forked_children_shake_hands_themselves(
    server: OtlpServer, authority: Authority, run_python: RunPython
) -> None:
    """The parent's connection stays whole: nobody else speaks on it."""
    run_python(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http", ca_file=sys.argv[2])]))
        for _ in range(5):
            ptx.start_span("parent").end()
            assert ptx.force_flush()
            pid = os.fork()
            if pid == 0:
                ptx.start_span("child").end()
                sys.exit(0 if ptx.shutdown() else 1)
            assert os.waitpid(pid, 0)[1] == 0
        answer(ptx.stats())
        assert ptx.shutdown()
        """,
        server.endpoint,
        authority.file,
    )
    assert sorted(span["name"] for span in server.spans) == ["child"] * 5 + ["parent"] * 5
    assert server.connections == 6


def test_the_systems_roots_are_those_that_openssl_variables_name(
    server: OtlpServer, authority: Authority, tmp_path: Path, run_python: RunPython
) -> None:
    directory = tmp_path / "roots"
    directory.mkdir()
    # Named as `openssl rehash` names them.
    (directory / "0badf00d.0").write_bytes(authority.cert_pem.bytes())
    empty = tmp_path / "empty"
    empty.mkdir()
    missing = str(tmp_path / "missing")
    for variables, trusted in [
        ({"SSL_CERT_FILE": authority.file, "SSL_CERT_DIR": ""}, True),
        ({"SSL_CERT_FILE": missing, "SSL_CERT_DIR": str(directory)}, True),
        ({"SSL_CERT_DIR": f"{empty}:{directory}"}, True),
        # Then the bundled ones, which do not hold it.
        ({"SSL_CERT_FILE": missing, "SSL_CERT_DIR": str(empty)}, False),
    ]:
        done = run_python(SEND, server.endpoint, env=variables)
        assert done.answer[0] == [trusted] * 3, (variables, done.answer)
        assert trusted or "UnknownIssuer" in done.answer[1]["last_error"]


def test_the_systems_roots_are_read_once(
    server: OtlpServer, authority: Authority, run_python: RunPython
) -> None:
    """For all sinks and sessions of a process: a file that is empty meanwhile is not missed."""
    run_python(
        """
        for _ in range(2):
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http")] * 2))
            ptx.start_span("op").end()
            assert ptx.shutdown(), ptx.stats()
            os.truncate(os.environ["SSL_CERT_FILE"], 0)
        """,
        server.endpoint,
        env={"SSL_CERT_FILE": authority.file, "SSL_CERT_DIR": ""},
    )
    assert len(server.spans) == 4


@pytest.mark.parametrize("signal", ["", "TRACES_"])
def test_the_environment_names_all_three_files(
    signal: str, authority: Authority, tmp_path: Path, run_python: RunPython
) -> None:
    """Its own variables win over the general ones, which name what cannot be used here."""
    client = authority.issue_cert("client@example.com")
    client.cert_chain_pems[0].write_to_path(tmp_path / "client.pem")
    client.private_key_pem.write_to_path(tmp_path / "client.key")
    stranger = Authority(tmp_path / "stranger.pem")
    context = authority.server("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    server = OtlpServer(tls=context)
    files = {
        "CERTIFICATE": authority.file,
        "CLIENT_CERTIFICATE": str(tmp_path / "client.pem"),
        "CLIENT_KEY": str(tmp_path / "client.key"),
        "COMPRESSION": "gzip",
    }
    env = {f"OTEL_EXPORTER_OTLP_{signal}{name}": value for name, value in files.items()}
    if signal:
        env |= {"OTEL_EXPORTER_OTLP_CERTIFICATE": stranger.file, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
    code = "ptx.init(); ptx.start_span('op').end(); answer(ptx.force_flush()); ptx.shutdown(0)"
    env |= {"OTEL_EXPORTER_OTLP_ENDPOINT": server.endpoint, "OTEL_METRICS_EXPORTER": "none"}
    try:
        assert run_python(code, env=env).answer is True
        assert [request.headers.get("content-encoding") for request in server.requests] == ["gzip"]
        bad = {**env, f"OTEL_EXPORTER_OTLP_{signal}CLIENT_KEY": stranger.file}
        done = run_python(code, env=bad)
        assert done.answer is False and "CLIENT_KEY: '" in done.stderr, done.stderr
        assert "holds no PEM private key" in done.stderr and len(server.requests) == 1
    finally:
        server.close()


@pytest.mark.parametrize("insecure", ["true", "false", None])
def test_insecure_decides_for_endpoints_without_a_scheme(
    insecure: str | None,
    server: OtlpServer,
    collector: OtlpServer,
    authority: Authority,
    run_python: RunPython,
) -> None:
    """A loopback host without a word is reached without TLS."""
    target = server if insecure == "false" else collector
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"localhost:{target.port}",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": authority.file,
        **({} if insecure is None else {"OTEL_EXPORTER_OTLP_INSECURE": insecure}),
    }
    run_python("ptx.init(); ptx.start_span('op').end(); assert ptx.shutdown()", env=env)
    assert target.span("op")
