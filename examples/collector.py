"""A small OTLP/HTTP collector: receives spans, metrics and logs on a socket and draws them.

    python examples/collector.py --port 4318        # then run a program that exports, and press Ctrl-C
    python examples/collector.py --port 4318 --json # one JSON object a record instead, as they arrive

It decodes with the official `opentelemetry-proto` package and otherwise needs only the standard library. It
keeps everything in memory and binds to 127.0.0.1: meant for a look at what a program sends.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from drawing import count, draw_logs, draw_metrics, draw_traces
from google.protobuf.message import DecodeError
from otlp import Decoded, decode_logs, decode_metrics, decode_spans

DECODERS = {"/v1/traces": decode_spans, "/v1/metrics": decode_metrics, "/v1/logs": decode_logs}


class Collector(ThreadingHTTPServer):
    """Receives OTLP/HTTP requests from construction until `close()`; `with` closes it.

    `spans`, `metrics` and `logs` hold what has arrived, decoded, oldest first; `requests` counts accepted
    requests. `on_records` is called for each request's records, on its connection's thread. Port 0 takes a
    free one: read `endpoint`.
    """

    daemon_threads = True

    def __init__(self, port: int = 0, on_records: Callable[[list[Decoded]], None] = lambda _: None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.spans: list[Decoded] = []
        self.metrics: list[Decoded] = []
        self.logs: list[Decoded] = []
        self.requests = 0
        self.on_records = on_records
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def accept(self, path: str, records: list[Decoded]) -> None:
        """Keep the records of one request."""
        kept = {"/v1/traces": self.spans, "/v1/metrics": self.metrics, "/v1/logs": self.logs}
        with self._lock:
            kept[path] += records
            self.requests += 1
            self.on_records(records)

    def draw(self) -> None:
        """Traces with their logs, logs without, metrics, and how much that is."""
        draw_traces(self.spans, self.logs)
        known = {span["span_id"] for span in self.spans}
        draw_logs(record for record in self.logs if record["span_id"] not in known)
        draw_metrics(self.metrics)
        arrived = [(self.spans, "span"), (self.metrics, "metric"), (self.logs, "log record")]
        counts = ", ".join(count(len(records), noun) for records, noun in arrived)
        print(f"{counts} in {count(self.requests, 'request')}")

    def close(self) -> None:
        """Stop listening; what arrived stays readable."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path not in DECODERS:
            return self.answer(404)
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            return self.answer(415)
        try:
            records = DECODERS[self.path](gzip.decompress(body) if encoding == "gzip" else body)
        except (DecodeError, OSError, EOFError):
            return self.answer(400)
        self.server.accept(self.path, records)
        self.answer(200)

    def answer(self, status: int) -> None:
        # An empty body is an empty Export…ServiceResponse: nothing was rejected.
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive OTLP/HTTP and draw it.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--json", action="store_true", help="one JSON object a record, as they arrive")
    arguments = parser.parse_args()

    def print_json(records: list[Decoded]) -> None:
        for record in records:
            print(json.dumps(record, ensure_ascii=False), flush=True)

    try:
        collector = Collector(arguments.port, print_json if arguments.json else lambda _: None)
    except (OSError, OverflowError) as error:
        sys.exit(f"--port {arguments.port}: {error}")
    with collector:
        print(f"listening: OTEL_EXPORTER_OTLP_ENDPOINT={collector.endpoint}", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    if not arguments.json:
        collector.draw()


if __name__ == "__main__":
    main()
