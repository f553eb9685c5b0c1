"""An OTLP/HTTP server that tests script: a real socket on 127.0.0.1, the official decoder, every request
kept.

    server.answer_next(Answer(503), Answer(429, {"retry-after": "1"}))   # the next two requests
    server.default_answer = Answer(200, delay_s=0.2)                     # all others
    server.wait_for_spans(3)                                             # blocks until a fact
    server.spans, server.metrics, server.logs                            # what arrived so far, dicts of otlp.py
    server.requests, server.connections                                  # what was seen so far

Records count as arrived only when the request carrying them was answered 2xx. What does not depend on HTTP,
`grpc_server.py` has too.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import canary
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from otlp import Decoded, decode_logs, decode_metrics, decode_spans

AnswerT = TypeVar("AnswerT")

DECODERS: Mapping[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "zstd": lambda sent: zstandard.ZstdDecompressor().decompressobj().decompress(sent),
}


@dataclass(frozen=True)
class Answer:
    """What the server does with one request, after it has read it whole.

    `delay_s` passes first. `reset` then closes the connection with RST and sends nothing; `close` closes it
    after the answer without having said so. `instead` writes whatever it likes to the connection, which is closed
    when it returns; `status` is what the request counts as.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    reset: bool = False
    close: bool = False
    instead: Callable[[socket.socket], None] | None = None


def partial_success(rejected: int, message: str = "") -> Answer:
    """200 with a `partial_success` that rejects this many records: the same bytes for all signals."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = message
    return Answer(200, body=response.SerializeToString())


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names in lower case, `body` decompressed, `wire_bytes` as sent."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    wire_bytes: int
    connection: int
    received_at: float
    status: int

    @property
    def accepted(self) -> bool:
        """Answered so that the sender has nothing more to do."""
        return self.status // 100 == 2

    @property
    def spans(self) -> list[Decoded]:
        """The decoded spans of a trace request, see `otlp.decode_span`."""
        return decode_spans(self.body)

    @property
    def metrics(self) -> list[Decoded]:
        """The decoded metrics of a metric request, see `otlp.decode_metric`."""
        return decode_metrics(self.body)

    @property
    def logs(self) -> list[Decoded]:
        """The decoded records of a log request, see `otlp.decode_log`."""
        return decode_logs(self.body)


class Arrivals(Generic[AnswerT]):
    """What came in and what it is to be answered, whatever the protocol; for many threads."""

    paths: ClassVar[Mapping[str, str]] = {
        "traces": "/v1/traces",
        "metrics": "/v1/metrics",
        "logs": "/v1/logs",
    }

    def __init__(self, default_answer: AnswerT) -> None:
        self.default_answer = default_answer
        self.requests: list[Request] = []
        self.connections = 0
        self._next: deque[AnswerT] = deque()
        self._changed = threading.Condition()

    def answer_next(self, *answers: AnswerT) -> None:
        """Script the next requests; further calls append."""
        with self._changed:
            self._next.extend(answers)

    def accepted(self, path: str) -> list[Request]:
        """The requests to a path of this end that were accepted so far, in order of arrival."""
        with self._changed:
            return [request for request in self.requests if request.accepted and request.path.endswith(path)]

    @property
    def spans(self) -> list[Decoded]:
        """All spans delivered so far, in order of arrival."""
        return [span for request in self.accepted(self.paths["traces"]) for span in request.spans]

    @property
    def metrics(self) -> list[Decoded]:
        """All metrics delivered so far, in order of arrival: one for each collection that had points of it."""
        return [metric for request in self.accepted(self.paths["metrics"]) for metric in request.metrics]

    @property
    def logs(self) -> list[Decoded]:
        """All log records delivered so far, in order of arrival."""
        return [record for request in self.accepted(self.paths["logs"]) for record in request.logs]

    def span(self, name: str) -> Decoded:
        """The only span of this name."""
        return _only(self.spans, "name", name)

    def log(self, body: Any) -> Decoded:
        """The only log record with this body."""
        return _only(self.logs, "body", body)

    def metric(self, name: str) -> Decoded:
        """The metric of this name as it was delivered last."""
        metrics = self.metrics
        found = [metric for metric in metrics if metric["name"] == name]
        assert found, f"no metric {name!r} among {sorted({metric['name'] for metric in metrics})}"
        return found[-1]

    def points(self, name: str, *, every: bool = False) -> list[Decoded]:
        """The points of this metric: those delivered last, or with `every` all, which is none at first."""
        if not every:
            return list(self.metric(name)["points"])
        return [point for metric in self.metrics if metric["name"] == name for point in metric["points"]]

    def wait_until(
        self, fact: Callable[[], bool], timeout_s: float = 10.0, what: str = "the awaited fact"
    ) -> None:
        """Block until `fact()`, looked at after every request and connection; fail after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not fact():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"{what}: not within {timeout_s} s; saw {self._seen()}")
                self._changed.wait(min(left, 0.5))

    def wait_for_spans(self, count: int, timeout_s: float = 10.0) -> list[Decoded]:
        """Block until at least `count` spans arrived, and return all."""
        self.wait_until(lambda: len(self.spans) >= count, timeout_s, f"{count} spans")
        return self.spans

    def wait_for_logs(self, count: int, timeout_s: float = 10.0) -> list[Decoded]:
        """Block until at least `count` log records arrived, and return all."""
        self.wait_until(lambda: len(self.logs) >= count, timeout_s, f"{count} log records")
        return self.logs

    def wait_for_metric(self, name: str, timeout_s: float = 10.0) -> Decoded:
        """Block until a metric of this name arrived, and return it as it was delivered last."""
        self.wait_until(lambda: bool(self.points(name, every=True)), timeout_s, f"the metric {name}")
        return self.metric(name)

    def wait_for_requests(self, count: int, timeout_s: float = 10.0) -> list[Request]:
        """Block until at least `count` requests came in, whatever they were answered, and return all."""
        self.wait_until(lambda: len(self.requests) >= count, timeout_s, f"{count} requests")
        return list(self.requests)

    def _seen(self) -> str:
        answers = [request.status for request in self.requests]
        return f"{len(answers)} requests answered {answers}, {self.connections} connections"

    def _take_answer(self) -> AnswerT:
        with self._changed:
            return self._next.popleft() if self._next else self.default_answer

    def _keep(self, request: Request) -> None:
        canary.search(f"the body of a request to {request.path}", request.body)
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()


class OtlpServer(Arrivals[Answer], ThreadingHTTPServer):
    """Serves from construction until `close()`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        Arrivals.__init__(self, Answer())
        self._open: set[socket.socket] = set()
        ThreadingHTTPServer.__init__(self, ("127.0.0.1", port), _Handler)
        self.port = self.server_address[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        if tls:
            # Each connection's thread shakes hands, with its first read.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.endpoint = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def drop_connections(self) -> None:
        """Close every kept-alive connection from the server's side; the listener stays."""
        with self._changed:
            for connection in list(self._open):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and close all connections; what was seen stays readable."""
        self.shutdown()
        self.server_close()
        self.drop_connections()
        self._thread.join()

    def _admit(self, connection: socket.socket) -> int:
        with self._changed:
            self.connections += 1
            self._open.add(connection)
            self._changed.notify_all()
            return self.connections

    def _leave(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: OtlpServer

    def setup(self) -> None:
        super().setup()
        self.number = self.server._admit(self.connection)

    def finish(self) -> None:
        self.server._leave(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        announced = int(self.headers.get("content-length", 0))
        sent = self.rfile.read(announced)
        if len(sent) < announced:
            self.close_connection = True  # who sent it is gone
            return
        body = DECODERS[self.headers.get("content-encoding")](sent)
        answer = self.server._take_answer()
        if answer.delay_s:
            time.sleep(answer.delay_s)
        status = 0 if answer.reset else answer.status
        headers = {name.lower(): value for name, value in self.headers.items()}
        # Kept before it is answered: once the client knows, a test may look.
        self.server._keep(Request(self.path, headers, body, len(sent), self.number, time.monotonic(), status))
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        if answer.instead:
            self.close_connection = True
            answer.instead(self.connection)
            return
        self.send_response(answer.status)
        for name, value in {"content-type": "application/x-protobuf", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = self.close_connection or answer.close

    def log_message(self, *args: object) -> None:
        pass


def _only(records: list[Decoded], key: str, value: Any) -> Decoded:
    found = [record for record in records if record[key] == value]
    seen = [record[key] for record in records]
    assert len(found) == 1, f"{len(found)} records with {key} {value!r} among {seen}"
    return found[0]


def closed_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


__all__ = ["Answer", "Arrivals", "OtlpServer", "Request", "closed_port", "partial_success"]
