"""Endpoints that misbehave below HTTP; what goes wrong within HTTP, `otlp_server.Answer` scripts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from otlp_server import closed_port


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
