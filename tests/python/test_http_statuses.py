"""Every status that HTTP has: delivered, tried again, or dropped, exactly as OTLP says, and no redirect followed."""

from __future__ import annotations

import socket

import pytest
from faults import listening
from one_sink import begin, verdict
from otlp_server import Answer, OtlpServer

pytestmark = pytest.mark.usefixtures("session_ends")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def expected(status: int) -> str:
    if status < 300:
        return "delivered"
    return {413: "too_large", **dict.fromkeys((429, 502, 503, 504), "tried again")}.get(status, "refused")


@pytest.mark.parametrize("hundreds", [2, 3, 4, 5])
def test_a_status_is_final_or_not(hundreds: int, collector: OtlpServer) -> None:
    """With a `Location` for all: nobody goes there. A connection that was answered is used again."""
    begin(collector.endpoint, "http")
    statuses = range(hundreds * 100, hundreds * 100 + 100)
    found = {}
    for status in statuses:
        collector.answer_next(Answer(status, {"location": f"{collector.endpoint}/elsewhere"}))
        found[status] = verdict()
    assert found == {status: expected(status) for status in statuses}
    assert {request.path for request in collector.requests} == {"/v1/traces"}
    assert collector.connections == 1


def test_an_interim_answer_announces_another() -> None:
    """Whatever it is but 101, which nobody asked for."""
    interim = [status for status in range(100, 200) if status != 101]
    heads = iter([f"HTTP/1.1 {status} Interim\r\n\r\n".encode() for status in interim])

    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(next(heads) + OK)

    with listening(serve) as port:
        begin(f"http://127.0.0.1:{port}", "http")
        assert [verdict() for _ in interim] == ["delivered"] * len(interim)


def test_nothing_follows_an_interim_answer() -> None:
    """The request has no answer, so it is tried again."""
    answers = iter([b"HTTP/1.1 100 Continue\r\n\r\n"])

    def serve(connection: socket.socket) -> None:
        if read_request(connection):
            connection.sendall(next(answers, OK))

    with listening(serve) as port:
        begin(f"http://127.0.0.1:{port}", "http")
        assert verdict() == "tried again"


def test_what_follows_a_switch_of_protocols_is_no_answer() -> None:
    """To none of our requests: the connection is given up with the span."""
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" if len(connections) == 1 else b"")
            connection.sendall(OK)

    with listening(serve) as port:
        begin(f"http://127.0.0.1:{port}", "http")
        assert [verdict() for _ in range(3)] == ["refused", "delivered", "delivered"]
        assert len(connections) == 2


def read_request(connection: socket.socket) -> bytes:
    """The head of a request whose body was read too; empty at the end."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = (
        int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head
