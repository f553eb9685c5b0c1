"""gRPC frame by frame, against an HTTP/2 server that is scripted: what we send, and what we make of anything."""

from __future__ import annotations

import base64
import gzip
import re
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.settings import SettingCodes
from hpack import Encoder
from http2_server import HEADERS, OK, Call, Http2Server, Peer, message
from one_sink import FLUSH_MS, begin, books, spans, verdict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp import decode_spans
from otlp_server import OtlpServer

import pytracingx as ptx

pytestmark = pytest.mark.usefixtures("session_ends")
EMPTY = message(b"")
SERVICE = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def accept(peer: Peer, call: Call) -> None:
    peer.answer(call, OK, EMPTY)


def first(behave: Callable[[Peer, Call], None]) -> Callable[[Peer, Call], None]:
    """Do this with the first call, and accept all others."""
    behaviours = iter([behave])
    return lambda peer, call: next(behaviours, accept)(peer, call)


def partial(rejected: int, words: str) -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = words
    return response.SerializeToString()


# What we send


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_a_call(compression: Any) -> None:
    """By the protocol's book: pseudo headers first, `te`, a timeout, one message with its prefix."""
    with Http2Server(accept) as server:
        begin(
            server.endpoint,
            "grpc",
            headers={"Authorization": "Bearer c4n4ry"},
            compression=compression,
            timeout_ms=5_000,
        )
        spans(100)
        assert ptx.force_flush()
    (call,) = server.calls
    assert {span["attributes"]["number"] for span in decode_spans(call.message)} == set(range(100))
    headers = call.headers
    assert [name for name in headers if name.startswith(":")] == list(headers)[:4]
    assert (headers[":method"], headers[":scheme"], headers[":path"]) == ("POST", "http", SERVICE)
    assert headers[":authority"] == server.endpoint[len("http://") :]
    assert headers["te"] == "trailers" and headers["content-type"].startswith("application/grpc")
    assert headers["user-agent"].startswith("pytracingx/") and headers["authorization"] == "Bearer c4n4ry"
    timeout = re.fullmatch(r"(\d{1,8})([mun])", headers["grpc-timeout"])
    assert timeout and 4 < int(timeout[1]) / {"m": 1e3, "u": 1e6, "n": 1e9}[timeout[2]] <= 5
    assert headers.get("grpc-encoding", "none") == compression and call.body[0] == (compression != "none")
    sink = books()
    assert (sink["body_bytes"], sink["sent_bytes"]) == (len(call.message), len(call.body) - 5)


def test_windows_are_obeyed() -> None:
    """A server that takes little at a time, and changes its mind while a message is on its way."""
    with Http2Server(accept, {SettingCodes.INITIAL_WINDOW_SIZE: 1_000}) as server:
        begin(server.endpoint, "grpc")
        for size in (200_000, 50_000):
            ptx.start_span("op", {"value": "x" * size}).end()
            assert ptx.force_flush()
            (span,) = decode_spans(server.calls[-1].message)
            assert len(span["attributes"]["value"]) == size
            (peer,) = server.peers
            peer.h2.update_settings(
                {SettingCodes.INITIAL_WINDOW_SIZE: 100, SettingCodes.HEADER_TABLE_SIZE: 0}
            )
            peer.flush()


@pytest.mark.parametrize(("timeout_ms", "sent"), [(1, "1m"), (200_000_000, "99999999m")])
def test_the_longest_and_the_shortest_timeout(timeout_ms: int, sent: str) -> None:
    """Eight digits are all that gRPC has."""
    with Http2Server(accept) as server:
        begin(server.endpoint, "grpc", timeout_ms=timeout_ms, max_export_timeout_ms=timeout_ms)
        spans(1)
        ptx.force_flush(FLUSH_MS)
        ptx.shutdown()
        assert {call.headers["grpc-timeout"] for call in server.calls} <= {sent}


def test_a_server_that_takes_no_streams() -> None:
    """For a while: the call waits, as long as it may, and is made when it can be."""
    with Http2Server(accept, {SettingCodes.MAX_CONCURRENT_STREAMS: 0}) as server:
        begin(server.endpoint, "grpc", timeout_ms=10_000)
        # What was sent before the server's word was heard.
        assert verdict() in ("delivered", "tried again")
        spans(1)
        assert ptx.force_flush(FLUSH_MS) is False and books()["state"] == "sending"
        (peer,) = server.peers
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        peer.flush()
        assert ptx.force_flush(), books()
        assert server.connections == 1


def test_a_window_that_never_opens() -> None:
    """The call ends by its deadline, as one that may pass."""
    with Http2Server(accept, acknowledges=False) as server:
        begin(server.endpoint, "grpc", timeout_ms=100)
        ptx.start_span("op", {"value": "x" * 100_000}).end()
        assert ptx.force_flush(FLUSH_MS) is False
        assert books()["held_records"] == 1 and "timed out (send)" in books()["last_error"]
        assert server.calls == []


# What answers mean

GZIP = {**HEADERS, "grpc-encoding": "gzip"}
TEXT = {":status": "200", "content-type": "text/html"}
DETAILS = "grpc-status-details-bin"

ANSWERS: dict[str, tuple[tuple[Any, ...], Mapping[str, str], str, str]] = {
    # name: (trailers and messages), headers, verdict, words of last_error
    "trailers only": ((OK,), HEADERS, "delivered", ""),
    "no message": ((OK, b""), HEADERS, "delivered", ""),
    "two messages": ((OK, EMPTY, EMPTY), HEADERS, "delivered", ""),
    "a message in pieces": ((OK, b"\0\0", b"\0", b"\0\0"), HEADERS, "delivered", ""),
    "a message that is none": ((OK, b"\0\xff\xff\xff\xff."), HEADERS, "delivered", ""),
    "garbage in a message": ((OK, message(b"\xff" * 9)), HEADERS, "delivered", ""),
    "a compressed warning": ((OK, message(gzip.compress(partial(0, "careful")), 1)), GZIP, "delivered", "careful"),
    "not what it says": ((OK, message(b"no gzip", 1)), GZIP, "delivered", ""),
    "a compressed bomb": ((OK, message(gzip.compress(bytes(5 << 20), 1), 1)), GZIP, "refused", "4 MiB"),
    "rejected": ((OK, message(partial(1, "stale"))), HEADERS, "rejected", "stale"),
    "words": (({"grpc-status": "3", "grpc-message": "na%C3%AFve%20100%25 %zz%1b[31m%0a."},), HEADERS, "refused", "naïve 100% %zz"),
    "status after headers": (({"grpc-status": "14", "grpc-message": "soon"}, b""), HEADERS, "tried again", "soon"),
    "no status": (({"x": "y"},), HEADERS, "refused", "gRPC status"),
    "a status that is no number": (({"grpc-status": "fine"},), HEADERS, "refused", "UNKNOWN"),
    "a code that is none": (({"grpc-status": "99"},), HEADERS, "refused", "UNKNOWN"),
    "a negative code": (({"grpc-status": "-1"},), HEADERS, "refused", "UNKNOWN"),
    "details that are no base64": (({"grpc-status": "8", DETAILS: "%%%"},), HEADERS, "refused", "RESOURCE_EXHAUSTED"),
    "details that are no Status": (({"grpc-status": "8", DETAILS: "////"},), HEADERS, "refused", "RESOURCE_EXHAUSTED"),
    "another type": (({"x": "y"}, b"<html>"), TEXT, "refused", "200"),
}  # fmt: skip


def details(code: int, *infos: Any) -> str:
    """In base64 as servers of other languages send it: without padding."""
    status = Status(code=code)
    for info in infos:
        status.details.add().Pack(info)
    return base64.b64encode(status.SerializeToString()).decode().rstrip("=")


SOON = RetryInfo(retry_delay=Duration(nanos=1))
BAD = BadRequest(field_violations=[BadRequest.FieldViolation(field="name")])


@pytest.mark.parametrize(
    ("code", "infos", "expected"),
    [
        (8, [], "refused"),
        (8, [BAD], "refused"),
        (8, [BAD, SOON], "tried again"),
        (8, [RetryInfo()], "tried again"),
        (8, [RetryInfo(retry_delay=Duration(seconds=-1))], "tried again"),
        (3, [SOON], "refused"),
        (12, [SOON], "unsupported"),
        (13, [SOON], "refused"),
        (14, [BAD], "tried again"),
    ],
)
def test_what_retry_info_makes_of_a_code(code: int, infos: list[Any], expected: str) -> None:
    """Of RESOURCE_EXHAUSTED alone something that may pass."""
    answers = iter([{"grpc-status": str(code), DETAILS: details(code, *infos)}])
    with Http2Server(lambda peer, call: peer.answer(call, next(answers, OK), EMPTY)) as server:
        begin(server.endpoint, "grpc")
        spans(1)
        assert ptx.force_flush(FLUSH_MS) == (expected != "tried again")
        sink = books()
        assert (sink["held_records"] == 1) == (expected == "tried again")
        assert (sink["state"] == "unsupported") == (expected == "unsupported")
        assert ptx.shutdown() and books()["exported"] == sink["held_records"]


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name: str) -> None:
    """And the next call goes over the same connection, unless the answer was beyond all limits."""
    answer, headers, expected, words = ANSWERS[name]
    with Http2Server(first(lambda peer, call: peer.answer(call, *answer, headers=headers))) as server:
        begin(server.endpoint, "grpc")
        assert verdict() == expected
        found = books()["last_error"] or ""
        assert words in found and found.isprintable(), found
        assert verdict() == "delivered"
        assert server.connections == (2 if name == "a compressed bomb" else 1)


def test_every_http_status_is_final_or_not() -> None:
    """Of something on the way that speaks no gRPC: as gRPC translates it. The connection is as good as before."""

    def expected(status: int) -> str:
        return {413: "too_large", **dict.fromkeys((429, 502, 503, 504), "tried again")}.get(status, "refused")

    statuses = range(201, 600)
    answers = iter(statuses)
    refusals = [True, False] * len(statuses)

    def behave(peer: Peer, call: Call) -> None:
        if refusals.pop(0):
            status = next(answers)
            body = [] if status in (204, 304) else [b"no gRPC"]
            peer.answer(call, {"x": "y"}, *body, headers={":status": str(status)})
        else:
            accept(peer, call)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc")
        for status in statuses:
            assert verdict() == expected(status), status
            if expected(status) != "tried again":
                assert str(status) in books()["last_error"] or status == 413
                assert verdict() == "delivered"
        assert server.connections == 1 and refusals == []


RESETS = {
    "NO_ERROR": "refused",
    "PROTOCOL_ERROR": "refused",
    "INTERNAL_ERROR": "refused",
    "FLOW_CONTROL_ERROR": "refused",
    "SETTINGS_TIMEOUT": "refused",
    "STREAM_CLOSED": "refused",
    "FRAME_SIZE_ERROR": "refused",
    "REFUSED_STREAM": "delivered",
    "CANCEL": "tried again",
    "COMPRESSION_ERROR": "refused",
    "CONNECT_ERROR": "refused",
    "ENHANCE_YOUR_CALM": "refused",
    "INADEQUATE_SECURITY": "refused",
    "HTTP_1_1_REQUIRED": "refused",
}


def test_every_reset_is_final_or_not() -> None:
    """As gRPC translates its code. The connection is as good as before."""
    codes = iter(range(len(RESETS)))
    resets = [True, False] * len(RESETS)

    def behave(peer: Peer, call: Call) -> None:
        if resets.pop(0):
            peer.h2.reset_stream(call.stream, next(codes))
        else:
            accept(peer, call)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc")
        for name, expected in RESETS.items():
            assert verdict() == expected, name
            if expected == "delivered":
                assert books()["last_error"] is None or name not in books()["last_error"]
                continue
            assert name in books()["last_error"]
            if expected == "refused":
                assert verdict() == "delivered"
        assert server.connections == 1 and resets == []


# What servers do to connections


def test_a_call_that_goaway_leaves_out() -> None:
    """The server has not worked on it: it goes over a new connection at once, and is no failure."""
    with Http2Server(first(lambda peer, call: peer.socket.sendall(frame(7, 0, 0, bytes(8))))) as server:
        begin(server.endpoint, "grpc")
        spans(1)
        assert ptx.force_flush(FLUSH_MS), books()
        assert (books()["requests"], books()["failures_in_a_row"]) == (1, 0)
        assert server.connections == 2


@pytest.mark.parametrize("error_code", [0, 11])
def test_a_call_that_goaway_lets_end(error_code: int) -> None:
    """It is answered, and the next one finds a new connection."""

    def behave(peer: Peer, call: Call) -> None:
        peer.socket.sendall(frame(7, 0, 0, struct.pack(">II", call.stream, error_code)))
        accept(peer, call)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc")
        assert [verdict() for _ in range(5)] == ["delivered"] * 5
        assert server.connections == 5 and books()["retried"] == 0


@pytest.mark.parametrize("farewell", [True, False])
def test_a_connection_that_ends_between_calls(farewell: bool) -> None:
    """Nobody notices."""

    def behave(peer: Peer, call: Call) -> None:
        accept(peer, call)
        if farewell:
            peer.h2.close_connection()
            peer.flush()
        peer.socket.shutdown(socket.SHUT_RDWR)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc")
        assert [verdict() for _ in range(10)] == ["delivered"] * 10
        assert (server.connections, books()["retried"]) == (10, 0)


@pytest.mark.parametrize(
    "half", [b"", b"\0\0\x30\x01\x04\0\0\0\x01\x88"], ids=["nothing", "half of an answer"]
)
def test_a_connection_that_ends_in_a_call(half: bytes) -> None:
    """It may have arrived, it may not: it is tried again."""

    def cut(peer: Peer, call: Call) -> None:
        peer.socket.sendall(half)
        peer.socket.shutdown(socket.SHUT_RDWR)

    with Http2Server(first(cut)) as server:
        begin(server.endpoint, "grpc")
        assert verdict() == "tried again"
        assert "connection lost" in books()["last_error"]


@pytest.mark.parametrize("resets", [False, True])
def test_an_answer_before_the_end_of_the_message(resets: bool) -> None:
    """It is heard while the message still waits for the server's window, and the connection serves the next call."""

    class Hasty(Peer):
        def on(self, event: Any) -> None:
            super().on(event)
            if isinstance(event, RequestReceived) and len(self.calls) == 1:
                self.answer(self.calls[event.stream_id], {"grpc-status": "16", "grpc-message": "who are you"})
                if resets:
                    self.socket.sendall(frame(3, 0, event.stream_id, bytes(4)))

    with Http2Server(accept, {SettingCodes.INITIAL_WINDOW_SIZE: 1_000}, peer=Hasty) as server:
        begin(server.endpoint, "grpc")
        spans(500)
        assert ptx.force_flush(FLUSH_MS)
        assert books()["dropped"] == {"refused": 500} and "who are you" in books()["last_error"]
        assert verdict() == "delivered"
        assert server.connections == 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


ANSWER = Encoder().encode([*HEADERS.items(), *OK.items()])
HARMLESS: dict[str, Callable[[int], bytes]] = {
    "pings": lambda stream: frame(6, 0, 0, b"12345678") * 50,
    "frames of an unknown kind": lambda stream: (
        frame(0xBE, 0xFF, 0, b"?" * 100) + frame(0xBE, 0xFF, stream, b"")
    ),
    "settings that nobody knows": lambda stream: frame(4, 0, 0, struct.pack(">HI", 0xBEEF, 7)),
    "priorities": lambda stream: frame(2, 0, stream, struct.pack(">IB", 0, 9)),
    "an interim answer": lambda stream: frame(1, 4, stream, b"\x08\x03103"),
    "windows": lambda stream: frame(8, 0, 0, struct.pack(">I", 1)) * 100,
}
HARMFUL: dict[str, Callable[[int], bytes]] = {
    "garbage": lambda stream: b"\xde\xad\xbe\xef" * 1_000,
    "HTTP/1.1": lambda stream: b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    "pings without end": lambda stream: frame(6, 0, 0, b"12345678") * 10_000,
    "zeros": lambda stream: bytes(100_000),
    "headers that cannot be decoded": lambda stream: frame(1, 5, stream, b"\xff\xff\xff\xff\xff\xff"),
    "data before headers": lambda stream: frame(0, 1, stream, EMPTY),
    "a frame that is too large": lambda stream: frame(0, 0, stream, bytes(1 << 20)),
    "a stream that nobody opened": lambda stream: frame(1, 5, 99, ANSWER),
    "a promise": lambda stream: frame(5, 4, stream, struct.pack(">I", 2) + ANSWER),
    "a window of nothing": lambda stream: frame(8, 0, 0, struct.pack(">I", 0)),
    "windows too large": lambda stream: frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)) * 2,
    "a wrong length": lambda stream: frame(4, 0, 0, b"12345"),
    "headers without end": lambda stream: (
        frame(1, 0, stream, b"") + frame(9, 0, stream, b"\0\x01a\x01b" * 2_000) * 40
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_no_harm(name: str) -> None:
    def behave(peer: Peer, call: Call) -> None:
        peer.socket.sendall(HARMLESS[name](call.stream))
        accept(peer, call)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc")
        assert [verdict() for _ in range(3)] == ["delivered"] * 3
        assert server.connections == 1


@pytest.mark.parametrize("name", HARMFUL)
def test_what_ends_a_connection(name: str) -> None:
    """The call has no answer, whatever came instead; the next one has a new connection."""
    with Http2Server(first(lambda peer, call: peer.socket.sendall(HARMFUL[name](call.stream)))) as server:
        begin(server.endpoint, "grpc", timeout_ms=300)
        found = verdict()
        assert found == "tried again" or (name == "headers without end" and found == "refused")
        assert books()["last_error"].isprintable()
        assert verdict() == "delivered"


def test_a_call_that_is_given_up() -> None:
    """By its deadline. The server is told, its late answer is ignored, and the connection serves the next call."""
    calls: list[Call] = []

    def behave(peer: Peer, call: Call) -> None:
        calls.append(call)
        if len(calls) > 1:
            peer.socket.sendall(frame(1, 5, calls[0].stream, b"\x88" + b"\0\x0bgrpc-status\x0216"))
            accept(peer, call)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc", timeout_ms=100)
        assert verdict() == "tried again" and "timed out (receive)" in books()["last_error"]
        assert server.connections == 1
        (reset,) = (event for event in server.peers[0].events if isinstance(event, StreamReset))
        assert (reset.stream_id, reset.error_code) == (calls[0].stream, ErrorCodes.CANCEL)


def test_a_connection_on_which_nothing_is_heard() -> None:
    """May be dead: the next attempt makes another."""
    silent = [False, True]

    def behave(peer: Peer, call: Call) -> None:
        if not (silent and silent.pop(0)):
            accept(peer, call)

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc", timeout_ms=100)
        assert [verdict() for _ in range(3)] == ["delivered", "tried again", "delivered"]
        assert server.connections == 2


def test_an_answer_byte_by_byte() -> None:
    def behave(peer: Peer, call: Call) -> None:
        peer.h2.send_headers(call.stream, list(HEADERS.items()))
        peer.h2.send_data(call.stream, message(partial(0, "slowly")))
        peer.h2.send_headers(call.stream, list(OK.items()), end_stream=True)
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in peer.h2.data_to_send():
            peer.socket.sendall(bytes([byte]))

    with Http2Server(behave) as server:
        begin(server.endpoint, "grpc")
        assert verdict() == "delivered" and books()["last_error"] == "slowly"


def test_long_answers_one_after_another() -> None:
    """What is read makes room for more, on the connection too."""
    words = message(partial(0, "w" * 30_000))
    with Http2Server(lambda peer, call: peer.answer(call, OK, words)) as server:
        begin(server.endpoint, "grpc")
        assert [verdict() for _ in range(10)] == ["delivered"] * 10
        assert server.connections == 1 and books()["last_error"] == "w" * 256


def test_a_message_without_end() -> None:
    """It is read up to 4 MiB, and the call is over."""

    class Endless(Peer):
        def on(self, event: Any) -> None:
            super().on(event)
            if isinstance(event, (StreamEnded, WindowUpdated)) and self.server.connections == 1:
                (stream,) = self.calls
                while (room := min(self.h2.local_flow_control_window(stream), 16_384)) > 0:
                    self.h2.send_data(stream, bytes(room))

    def behave(peer: Peer, call: Call) -> None:
        if peer.server.connections > 1 or len(peer.calls) > 1:
            accept(peer, call)
        else:
            peer.answer(call, None)

    with Http2Server(behave, peer=Endless) as server:
        begin(server.endpoint, "grpc")
        assert verdict() == "refused"
        assert "4 MiB" in books()["last_error"]


def test_a_server_of_http_1(collector: OtlpServer) -> None:
    """What it says is no answer. It has not seen a request."""
    begin(collector.endpoint, "grpc")
    spans(1)
    assert ptx.force_flush(FLUSH_MS) is False
    assert books()["held_records"] == 1 and books()["last_error"].isprintable()
    assert collector.requests == []
