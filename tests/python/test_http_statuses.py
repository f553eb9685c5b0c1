"""Every status that HTTP has: delivered, tried again, or dropped, exactly as OTLP says, and no redirect followed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from faults import listening
from otlp_server import Answer, OtlpServer

import pytracingx as ptx

TRIED_AGAIN = {429, 502, 503, 504}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
# Shorter than the first wait after a failure, which is half a second at least.
FLUSH_MS = 400


@pytest.fixture(autouse=True)
def session_ends() -> Iterator[None]:
    yield
    ptx.shutdown(0)


def begin(endpoint: str) -> None:
    sink = ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)
    ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, diagnostics="off"))


def books() -> Any:
    (sink,) = ptx.stats()["trace_sinks"]
    assert sink["wanted"] == sink["exported"] + sum(sink["dropped"].values()) + sink["held_records"], sink
    return sink


def what_becomes_of_a_span() -> str:
    """Delivered, held to be tried again, or the reason of its loss; what is held, the next flush delivers."""
    before = books()
    ptx.start_span("op").end()
    flushed = ptx.force_flush(FLUSH_MS)
    after = books()
    if after["held_records"]:
        assert not flushed and after["state"] == "backing_off"
        assert ptx.force_flush() and books()["exported"] == before["exported"] + 1
        return "tried again"
    assert flushed and after["requests"] == before["requests"] + 1
    if after["exported"] > before["exported"]:
        return "delivered"
    (reason,) = (name for name, count in after["dropped"].items() if count != before["dropped"].get(name, 0))
    return str(reason)


@pytest.mark.parametrize("hundreds", [2, 3, 4, 5])
def test_a_status_is_final_or_not(hundreds: int, collector: OtlpServer) -> None:
    """With a `Location` for all: nobody goes there. A connection that was answered is used again."""
    begin(collector.endpoint)
    statuses = range(hundreds * 100, hundreds * 100 + 100)
    found = {}
    for status in statuses:
        collector.answer_next(Answer(status, {"location": f"{collector.endpoint}/elsewhere"}))
        found[status] = what_becomes_of_a_span()
    expected = {
        status: "delivered"
        if hundreds == 2
        else "tried again"
        if status in TRIED_AGAIN
        else "too_large"
        if status == 413
        else "refused"
        for status in statuses
    }
    assert found == expected
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
        begin(f"http://127.0.0.1:{port}")
        assert [what_becomes_of_a_span() for _ in interim] == ["delivered"] * len(interim)


def test_nothing_follows_an_interim_answer() -> None:
    """The request has no answer, so it is tried again."""
    answers = iter([b"HTTP/1.1 100 Continue\r\n\r\n"])

    def serve(connection: socket.socket) -> None:
        if read_request(connection):
            connection.sendall(next(answers, OK))

    with listening(serve) as port:
        begin(f"http://127.0.0.1:{port}")
        assert what_becomes_of_a_span() == "tried again"


def test_what_follows_a_switch_of_protocols_is_no_answer() -> None:
    """To none of our requests: the connection is given up with the span."""
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" if len(connections) == 1 else b"")
            connection.sendall(OK)

    with listening(serve) as port:
        begin(f"http://127.0.0.1:{port}")
        assert [what_becomes_of_a_span() for _ in range(3)] == ["refused", "delivered", "delivered"]
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
