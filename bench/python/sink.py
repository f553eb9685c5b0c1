"""The other end of every benchmark: an HTTP server that takes whatever is posted, as fast as it can, and
counts.

Runs as a process of its own (`Sink`). Bodies are kept as they come and only looked at when `stats()` asks,
so that counting costs nothing while something is being measured. Spans are counted by walking the protobuf
by hand, independently of any library, and by their distinct ids, so that neither a lost nor a repeated span
can hide; log records by their number; measurements by the last cumulative sum or count of each metric.
Requests in Datadog's own format are counted by the header that announces how many traces they hold, PutLogs
requests of Aliyun SLS by their logs, and by how many differ.

With the file of a certificate and its key as argument it speaks TLS, under the name localhost.
"""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any


class Sink:
    """The sink's process, from construction until `with` ends. `endpoint` has no path.

    `certificate`: a PEM file with a key.
    """

    def __init__(self, certificate: str | None = None) -> None:
        command = [sys.executable, __file__, *([certificate] if certificate else [])]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.endpoint = self._process.stdout.readline().strip()

    def stats(self) -> dict[str, int]:
        """`requests`, `bytes`, `spans`, `distinct` span ids, `logs`, `distinct_logs` of SLS, `measurements`:
        since the last call."""
        result: dict[str, int] = self._get("stats")
        return result

    def delays(self) -> list[float]:
        """Of each span since the last call of either: from its end to its arrival, in ms."""
        result: list[float] = self._get("delays")
        return result

    def _get(self, path: str) -> Any:
        # The certificate is ours; whoever is measured verifies it.
        context = ssl._create_unverified_context() if self.endpoint.startswith("https") else None
        with urllib.request.urlopen(f"{self.endpoint}/{path}", context=context) as answer:
            return json.load(answer)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait()


class Received:
    """What came in since the last `take`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.bodies: list[tuple[bytes, dict[bytes, bytes], bytes]] = []
        self.arrived: list[int] = []

    def keep(self, line: bytes, headers: dict[bytes, bytes], body: bytes) -> None:
        with self.lock:
            self.bodies.append((line, headers, body))
            self.arrived.append(time.time_ns())

    def delays(self) -> list[float]:
        with self.lock:
            bodies, arrived, self.bodies, self.arrived = self.bodies, self.arrived, [], []
        return [(at - end) / 1e6 for (_, _, body), at in zip(bodies, arrived) for end in span_ends(body)]

    def take(self) -> dict[str, int]:
        with self.lock:
            bodies, self.bodies, self.arrived = self.bodies, [], []
        spans = logs = 0
        ids, sls_logs = set(), set()
        measured: dict[bytes, int] = {}
        for line, headers, body in bodies:
            if b"x-datadog-trace-count" in headers:
                spans += int(headers[b"x-datadog-trace-count"])
                continue
            if b"/logstores/" in line:
                body = sls_body(headers, body)
                found_logs = [body[begin:stop] for begin, stop in within(body, 1)]
                logs += len(found_logs)
                sls_logs.update(found_logs)
                continue
            if headers.get(b"content-encoding") == b"gzip":
                body = gzip.decompress(body)
            if b"/v1/logs" in line:
                logs += len(within(body, 1, 2, 2))
                continue
            if b"/v1/metrics" in line:
                measured.update(measurements(body))
                continue
            found = list(span_ids(body))
            spans += len(found)
            ids.update(found)
        return {
            "requests": len(bodies),
            "bytes": sum(len(body) for *_, body in bodies),
            "spans": spans,
            "distinct": len(ids),
            "logs": logs,
            "distinct_logs": len(sls_logs),
            "measurements": sum(measured.values()),
        }


def fields(buffer: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first, end) of each length-delimited and fixed field of a protobuf message."""
    while position < end:
        tag, position = varint(buffer, position)
        kind = tag & 7
        if kind == 2:
            length, position = varint(buffer, position)
            yield tag >> 3, position, position + length
            position += length
        elif kind == 0:
            _, position = varint(buffer, position)
        else:
            length = 8 if kind == 1 else 4
            yield tag >> 3, position, position + length
            position += length
    assert position == end, "not a protobuf message"


def varint(buffer: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def within(body: bytes, *path: int) -> list[tuple[int, int]]:
    """Where the messages at the end of a path of field numbers are."""
    parts = [(0, len(body))]
    for wanted in path:
        parts = [
            (begin, stop)
            for first, end in parts
            for number, begin, stop in fields(body, first, end)
            if number == wanted
        ]
    return parts


def sls_body(headers: dict[bytes, bytes], body: bytes) -> bytes:
    """A LogGroup: its logs are field 1."""
    method = headers.get(b"x-log-compresstype")
    if method is None:
        return body
    assert method == b"lz4", method
    import lz4.block

    raw: bytes = lz4.block.decompress(body, uncompressed_size=int(headers[b"x-log-bodyrawsize"]))
    return raw


def span_ids(body: bytes) -> Iterator[bytes]:
    """Of an ExportTraceServiceRequest: resource_spans = 1, scope_spans = 2, spans = 2, span_id = 2."""
    for first, end in within(body, 1, 2, 2):
        yield next(body[begin:stop] for number, begin, stop in fields(body, first, end) if number == 2)


def span_ends(body: bytes) -> Iterator[int]:
    """As `span_ids`, with end_time_unix_nano = 8."""
    for first, end in within(body, 1, 2, 2):
        times = (body[begin:stop] for number, begin, stop in fields(body, first, end) if number == 8)
        yield int.from_bytes(next(times), "little")


def measurements(body: bytes) -> Iterator[tuple[bytes, int]]:
    """Of an ExportMetricsServiceRequest, by name: the sum of integer sums, or the count of histograms."""
    for first, end in within(body, 1, 2, 2):
        metric = body[first:end]
        parts = dict((number, metric[begin:stop]) for number, begin, stop in fields(metric, 0, len(metric)))
        sums = within(parts.get(7, b""), 1, 6)  # data_points = 1, as_int = 6
        counts = within(parts.get(9, b""), 1, 4)  # count = 4
        values = [parts[7][begin:stop] for begin, stop in sums] + [parts[9][b:e] for b, e in counts]
        if values and not parts[1].startswith(b"pytracingx."):
            yield parts[1], sum(int.from_bytes(value, "little") for value in values)


def serve(connection: socket.socket, received: Received, tls: ssl.SSLContext | None) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        if tls:
            connection = tls.wrap_socket(connection, server_side=True)
        stream = connection.makefile("rb", buffering=1 << 16)
        while line := stream.readline():
            headers = {}
            while (header := stream.readline()) not in (b"\r\n", b""):
                name, _, value = header.partition(b":")
                headers[name.strip().lower()] = value.strip()
            if line.startswith(b"GET"):
                told = {b"/stats": received.take, b"/delays": received.delays}.get(line.split()[1])
                answer(
                    connection,
                    b"200 OK" if told else b"404 Not Found",
                    json.dumps(told()) if told else "",
                )
                continue
            if headers.get(b"expect", b"").lower() == b"100-continue":
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if headers.get(b"transfer-encoding") == b"chunked":
                parts = []
                while length := int(stream.readline(), 16):
                    parts.append(stream.read(length))
                    stream.readline()
                stream.readline()
                body = b"".join(parts)
            else:
                body = stream.read(int(headers.get(b"content-length", 0)))
            received.keep(line, headers, body)
            answer(connection, b"200 OK", "{}" if b"x-datadog-trace-count" in headers else "")
    except (OSError, ValueError):
        pass
    finally:
        connection.close()


def answer(connection: socket.socket, status: bytes, body: str) -> None:
    # SLS clients believe no answer without a request id.
    head = (
        b"HTTP/1.1 %s\r\ncontent-type: application/x-protobuf\r\n"
        b"x-log-requestid: bench\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
    )
    connection.sendall(head + body.encode())


def main() -> None:
    received = Received()
    tls = None
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    if len(sys.argv) > 1:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(sys.argv[1])
        endpoint = f"https://localhost:{listener.getsockname()[1]}"
    print(endpoint, flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, received, tls), daemon=True).start()


if __name__ == "__main__":
    main()
