"""The network's faults (N): what the server does, until when, and what must come of our spans then."""

from __future__ import annotations

import datetime
import gzip
import itertools
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

from faults_case import (
    DELIVERED,
    Answer,
    OtlpServer,
    Proxy,
    World,
    answering,
    case,
    closed_port,
    faults,
    partial_success,
    serving,
)


def endpoint_of(
    id: str, what: str, ours: str, fault: Callable[[], AbstractContextManager[str]], **more: Any
) -> None:
    """A case of an endpoint that never gets better."""

    @case(id, what, ours, **more)
    def open() -> Iterator[World]:
        with fault() as endpoint:
            yield World(endpoint)


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n"


def saying(*parts: bytes, status: int = 0, every_s: float = 0.0) -> Answer:
    """Writes this instead of an answer, and hangs up when all of it is read."""

    def write(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(every_s)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return Answer(status, instead=write)


def silence(connection: socket.socket) -> None:
    """Until the other side gives up."""
    connection.recv(1)


def in_an_hour() -> str:
    return formatdate(time.time() + 3600, usegmt=True)


answering("", "a healthy server", DELIVERED, Answer())


@case("N1", "nothing listens; after the flush it does", DELIVERED)
def _refusing() -> Iterator[World]:
    port = closed_port()
    with ExitStack() as stack:
        world = World(f"http://127.0.0.1:{port}/v1/traces")

        def lift() -> None:
            world.server = OtlpServer(port)
            stack.callback(world.server.close)

        world.lift = lift
        yield world


endpoint_of("N2", "handshakes are not finished", "shutdown", faults.black_hole)
endpoint_of("N3", "accepts, never reads", "shutdown", faults.hung)
IMPATIENT = {"timeout_ms": 1000}
answering("N3", "reads, never answers", DELIVERED, Answer(0, instead=silence), options=IMPATIENT)
TRICKLE = [b"z"] * 200
answering(
    "N4",
    "headers, a byte every 0.5 s",
    DELIVERED,
    saying(OK, b"x: ", *TRICKLE, every_s=0.5),
    options=IMPATIENT,
)
LONG = OK + b"content-length: 9999\r\n\r\n"
answering(
    "N4", "a body, a byte every 0.5 s", DELIVERED, saying(LONG, *TRICKLE, every_s=0.5), options=IMPATIENT
)
answering("N5", "reset, after the body", DELIVERED, Answer(reset=True))


@case("N5", "reset, within the request; after the flush well", DELIVERED)
def _reset_early() -> Iterator[World]:
    with ExitStack() as stack:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]

        def reset() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(100)  # what is left unread makes the end a reset

        resetting = threading.Thread(target=reset)
        resetting.start()
        world = World(f"http://127.0.0.1:{port}/v1/traces")

        def lift() -> None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            resetting.join()
            world.server = OtlpServer(port)
            stack.callback(world.server.close)

        world.lift = lift
        yield world


answering("N6", "closes each connection after an answer", DELIVERED, Answer(close=True))
for value in ("5", in_an_hour(), "-1", "1000000000000", "abc"):
    shown = "a date in an hour" if "GMT" in value else value
    answering("N7", f"429, Retry-After: {shown}", DELIVERED, Answer(429, {"retry-after": value}))
for status in (502, 503, 504):
    answering("N8", str(status), DELIVERED, Answer(status))
for status in (408, 500, 501):
    answering("N8", str(status), "refused", Answer(status))
for status in (400, 401, 403, 404):
    answering("N9", str(status), "refused", Answer(status))
answering("N9", "413 twice", DELIVERED, Answer(), Answer(413), Answer(413))
answering("N9", "413", "too_large", Answer(413))


@case("N10", "200, partial success: 50 of each request rejected", "rejected")
def _partial() -> Iterator[World]:
    server = OtlpServer()
    server.default_answer = partial_success(50, "no\nmore \x1b[31mspans")
    yield World(f"{server.endpoint}/v1/traces", server, rejects=50)
    server.close()


answering("N11", "what is not HTTP", DELIVERED, saying(bytes(range(256)) * 4))
answering("N11", "200, a body that is not OTLP", DELIVERED, Answer(200, body=b"\x0a\xff\xff\xff\xff\x0f"))
answering(
    "N11", "200, text/html", DELIVERED, Answer(200, {"content-type": "text/html"}, b"<html>welcome</html>")
)
HUGE = [OK + b"content-length: 314572800\r\n\r\n", *[bytes(1 << 20)] * 300]
answering("N12", "200, a body of 300 MB", "refused", saying(*HUGE, status=200), taken=True)


@case("N12", "200, a body of 300 MB, gzipped", DELIVERED)
def _bomb() -> Iterator[World]:
    server = OtlpServer()
    server.default_answer = Answer(200, {"content-encoding": "gzip"}, gzip.compress(bytes(300 << 20), 9))
    yield serving(server)
    server.close()


answering("N12", "10 000 headers", DELIVERED, saying(OK, b"x: y\r\n" * 10_000, b"\r\n"))
answering("N12", "a header of 1 MB", "refused", saying(OK, b"x: " + b"z" * (1 << 20)))
answering("N12", "chunks of no size", DELIVERED, saying(OK, b"transfer-encoding: chunked\r\n\r\n-5\r\nzz"))
answering(
    "N12", "100 Continue without end", "refused", saying(*[b"HTTP/1.1 100 Continue\r\n\r\n" * 1000] * 10_000)
)


def redirects(status: int) -> Iterator[World]:
    with ExitStack() as stack:
        server, stranger = OtlpServer(), OtlpServer()
        stack.callback(server.close)
        stack.callback(stranger.close)
        server.default_answer = Answer(status, {"location": f"{stranger.endpoint}/v1/traces"})
        yield World(
            f"{server.endpoint}/v1/traces", server, [stranger], options={"headers": {"x-api-key": "k"}}
        )


for status in (301, 302, 303, 307, 308):
    case("N13", f"{status} to another host", "refused", status)(redirects)


def with_tls(host: str, expired: bool, known: bool) -> Iterator[World]:
    import ssl

    import trustme

    authority, other = trustme.CA(), trustme.CA()
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    certificate = authority.issue_cert(host, not_after=long_ago if expired else None)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with (authority if known else other).cert_pem.tempfile() as ca_file:
        server = OtlpServer(tls=context)
        yield World(f"{server.endpoint}/v1/traces", server, options={"ca_file": ca_file})
        server.close()


case("N14", "TLS, as it should be", DELIVERED, "localhost", False, True)(with_tls)
case("N14", "TLS, of an unknown authority", "shutdown", "localhost", False, False)(with_tls)
case("N14", "TLS, for another name", "shutdown", "example.org", False, True)(with_tls)
case("N14", "TLS, expired", "shutdown", "localhost", True, True)(with_tls)


@case("N15", "the file of authorities is missing", "init")
def _no_file() -> Iterator[World]:
    server = OtlpServer()
    yield World("https://localhost:1/v1/traces", server, options={"ca_file": "/nonexistent/ca.pem"})
    server.close()


@case("N16", "name lookups hang; after the flush they do not", DELIVERED)
def _resolver() -> Iterator[World]:
    server = OtlpServer()
    with tempfile.TemporaryDirectory() as folder:
        variables = faults.hanging_resolver(Path(folder))
        if variables is None:
            raise LookupError("needs Linux and a C compiler")
        hangs = Path(variables["RESOLVER_HANGS"])
        hangs.touch()
        endpoint = f"http://localhost:{server.port}/v1/traces"
        yield World(endpoint, server, lift=hangs.unlink, environment=variables)
    server.close()


@case("N17", "the proxy refuses: 407", "shutdown")
def _proxy() -> Iterator[World]:
    server = OtlpServer()
    proxy = Proxy(server.port, "user:right")
    wrong = f"http://user:wrong@127.0.0.1:{proxy.port}"
    yield World(f"{server.endpoint}/v1/traces", server, options={"proxy": wrong})
    proxy.close()
    server.close()


@case("N17", "the proxy hangs", "shutdown")
def _hung_proxy() -> Iterator[World]:
    server = OtlpServer()
    with faults.hung() as proxy:
        yield World(
            f"{server.endpoint}/v1/traces", server, options={"proxy": proxy.removesuffix("/v1/traces")}
        )
    server.close()


@case("N18", "a line of 10 kB a second; after the flush a fast one", DELIVERED)
def _slow() -> Iterator[World]:
    server, fast = OtlpServer(), threading.Event()
    with faults.slow_link(server.port, 10_000, fast) as endpoint:
        yield World(endpoint, server, lift=fast.set)
    server.close()


@case("N19", "503, resets and 200 by turns, each for 0.1 s", DELIVERED)
def _flaps() -> Iterator[World]:
    server, over = OtlpServer(), threading.Event()

    def flap() -> None:
        for answer in itertools.cycle([Answer(503), Answer(reset=True), Answer()]):
            server.default_answer = answer
            if over.wait(0.1):
                break
        server.default_answer = Answer()

    flapping = threading.Thread(target=flap)
    flapping.start()

    def lift() -> None:
        over.set()
        flapping.join()

    yield World(f"{server.endpoint}/v1/traces", server, lift=lift)
    lift()
    server.close()


@case("N20", "a second endpoint is down; what of the first", DELIVERED)
def _second() -> Iterator[World]:
    server = OtlpServer()
    with faults.refusing() as down:
        yield World(f"{server.endpoint}/v1/traces", server, options={"second": down})
    server.close()


@case("N21", "no file descriptor is left until the flush is over", DELIVERED)
def _no_files() -> Iterator[World]:
    server = OtlpServer()
    yield World(f"{server.endpoint}/v1/traces", server, options={"open_files": True})
    server.close()
