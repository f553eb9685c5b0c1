"""Endpoints that misbehave below HTTP; what goes wrong within HTTP, `otlp_server.Answer` scripts."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from otlp_server import closed_port

SLOW_GETADDRINFO = r"""
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    real = dlsym(RTLD_NEXT, "getaddrinfo");
    while (node && !isdigit(*node) && access(getenv("RESOLVER_HANGS"), F_OK) == 0) usleep(10000);
    return real(node, service, hints, result);
}
"""


def hanging_resolver(folder: Path) -> dict[str, str] | None:
    """Variables of the environment for a program whose lookups of names (not of addresses) hang while the file that one of
    them, RESOLVER_HANGS, names is there. None where that cannot be built."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        return None
    (source := folder / "slow.c").write_text(SLOW_GETADDRINFO)
    library = folder / "slow.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "RESOLVER_HANGS": str(folder / "hangs")}


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server whose every connection is handed to `serve` on a thread; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@contextmanager
def hung() -> Iterator[str]:
    """The endpoint of a server that takes connections and requests and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"


@contextmanager
def black_hole() -> Iterator[str]:
    """The endpoint of a server that does not even finish the handshake: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        while True:
            filler = socket.socket()
            filler.settimeout(0.2)
            fillers.append(filler)
            try:
                filler.connect(listener.getsockname())
            except OSError:
                break
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        finally:
            for filler in fillers:
                filler.close()


@contextmanager
def refusing() -> Iterator[str]:
    """An endpoint that nobody listens on."""
    yield f"http://127.0.0.1:{closed_port()}/v1/traces"


def trickling(byte_every_s: float = 0.05) -> AbstractContextManager[str]:
    """The endpoint of a server whose answer comes byte by byte and never ends."""

    def trickle(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while not over.wait(byte_every_s):
            connection.sendall(b"z")

    return _serving(trickle)


def garbage() -> AbstractContextManager[str]:
    """The endpoint of a server that answers each connection in a language of its own, and hangs up."""
    return _serving(lambda connection, over: connection.sendall(bytes(range(256)) * 16))


def endless_body() -> AbstractContextManager[str]:
    """The endpoint of a server whose answer comes as fast as it can and never ends."""

    def pour(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n\r\n")
        while not over.is_set():
            connection.sendall(bytes(65536))

    return _serving(pour)


@contextmanager
def slow_link(port: int, bytes_per_s: int, fast: threading.Event) -> Iterator[str]:
    """The endpoint of a server on `port` at the end of a line that carries so much, until it is `fast`."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(max(1, bytes_per_s // 20)):
                target.sendall(part)
                fast.wait(len(part) / bytes_per_s)
            target.shutdown(socket.SHUT_WR)

    def serve(connection: socket.socket) -> None:
        # What the line has not carried yet waits at its near end, not in the kernel's buffers.
        with socket.create_connection(("127.0.0.1", port)) as target:
            back = threading.Thread(target=carry, args=(target, connection), daemon=True)
            back.start()
            carry(connection, target)
            back.join()

    with listening(serve) as near:
        yield f"http://127.0.0.1:{near}/v1/traces"


@contextmanager
def _serving(answer: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """The endpoint of a server that runs `answer(connection, over)` in a thread for each connection."""
    over = threading.Event()
    serving = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            answer(connection, over)
            # Not closed with something unread: that would be a reset, which takes the answer along.
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(10)
            while connection.recv(65536):
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            serving.append(threading.Thread(target=serve, args=(connection,)))
            serving[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in serving:
                thread.join()
