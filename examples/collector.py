"""A small OTLP/HTTP collector for traces: receives spans on a socket and draws them as trees.

    python examples/collector.py --port 4318        # then run a program that exports, and press Ctrl-C
    python examples/collector.py --port 4318 --json # one JSON object a span instead, as they arrive

It decodes with the official `opentelemetry-proto` package and otherwise needs only the standard library. It
keeps every span in memory and binds to 127.0.0.1: meant for a look at what a program sends, and for tests.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TextIO

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp import Decoded, decode_spans


class Collector(ThreadingHTTPServer):
    """Receives `POST /v1/traces` from construction until `close()`; `with` closes it.

    `spans` holds what has arrived, decoded, oldest first; `requests` counts accepted requests. `on_spans` is
    called for each request's spans, on its connection's thread. Port 0 takes a free one: read `endpoint`.
    """

    daemon_threads = True

    def __init__(self, port: int = 0, on_spans: Callable[[list[Decoded]], None] = lambda spans: None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.spans: list[Decoded] = []
        self.requests = 0
        self.on_spans = on_spans
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def accept(self, spans: list[Decoded]) -> None:
        """Keep the spans of one request."""
        with self._lock:
            self.spans += spans
            self.requests += 1
            self.on_spans(spans)

    def close(self) -> None:
        """Stop listening; what arrived stays readable."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path != "/v1/traces":
            return self.answer(404)
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip"):
            return self.answer(415)
        try:
            spans = decode_spans(gzip.decompress(body) if encoding == "gzip" else body)
        except (DecodeError, OSError, EOFError):
            return self.answer(400)
        self.server.accept(spans)
        self.answer(200, ExportTraceServiceResponse().SerializeToString())

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


# Drawing

BAR_CELLS = 24
COLLAPSE_FROM = 4  # this many siblings of one name without children of their own share a line


def draw_traces(spans: list[Decoded], out: TextIO = sys.stdout) -> None:
    """Write one tree a trace, oldest first: name, kind, duration, and when in the trace that was."""
    paint = _colours(out)
    traces = defaultdict(list)
    for span in sorted(spans, key=lambda span: span["start_time_unix_nano"]):
        traces[span["trace_id"]].append(span)
    for trace_id, members in traces.items():
        rows = _rows(members)
        begin = min(span["start_time_unix_nano"] for span in members)
        end = max(span["end_time_unix_nano"] for span in members)
        services = sorted({str(span["resource"].get("service.name", "?")) for span in members})
        out.write(paint("bold", f"trace {trace_id}"))
        out.write(f" · {', '.join(services)} · {_count(len(members), 'span')} · {_duration(end - begin)}\n")
        width = max(len(label) for label, _ in rows)
        known = {span["span_id"] for span in members}
        for label, group in rows:
            first = group[0]
            duration = sum(span["end_time_unix_nano"] - span["start_time_unix_nano"] for span in group)
            failed = any(span["status"]["code"] == "error" for span in group)
            line = f"  {label:<{width}}  {first['kind']:<8} {_duration(duration):>9}  "
            bar, notes = _bar(group, begin, end), _notes(group, known)
            out.write(paint("red", line) if failed else line)
            out.write(
                f"{paint('blue', bar)}  {paint('dim', notes)}\n"
                if notes
                else f"{paint('blue', bar.rstrip())}\n"
            )
        out.write("\n")


def _rows(members: list[Decoded]) -> list[tuple[str, list[Decoded]]]:
    """The trace as (label with branches, spans that the line stands for), depth first."""
    known = {span["span_id"] for span in members}
    children = defaultdict(list)
    for span in members:
        children[span["parent_span_id"] if span["parent_span_id"] in known else ""].append(span)

    rows: list[tuple[str, list[Decoded]]] = []

    def add(parent: str, indent: str) -> None:
        leaves: dict[str, list[Decoded]] = defaultdict(list)
        for span in children[parent]:
            if span["span_id"] not in children:
                leaves[span["name"]].append(span)
        groups: list[list[Decoded]] = []
        for span in children[parent]:
            alike = leaves[span["name"]] if span["span_id"] not in children else []
            if len(alike) < COLLAPSE_FROM:
                groups.append([span])
            elif alike[0] is span:
                groups.append(alike)
        for group in groups:
            last = group is groups[-1]
            branch, deeper = ("", "") if parent == "" else ("└─ ", "   ") if last else ("├─ ", "│  ")
            times = f" ×{len(group)}" if len(group) > 1 else ""
            rows.append((indent + branch + group[0]["name"] + times, group))
            if group[0]["span_id"] in children:
                add(group[0]["span_id"], indent + deeper)

    add("", "")
    return rows


def _notes(group: list[Decoded], known: set[str]) -> str:
    first = group[0]
    notes = []
    if first["status"]["code"] == "error":
        notes.append(
            "error: " + first["status"]["message"].splitlines()[0] if first["status"]["message"] else "error"
        )
    events: dict[str, int] = defaultdict(int)
    for span in group:
        for event in span["events"]:
            events[event["name"]] += 1
    notes += [name if count == 1 else f"{name} ×{count}" for name, count in events.items()]
    links = sum(len(span["links"]) for span in group)
    if links:
        notes.append(_count(links, "link"))
    if first["parent_span_id"] and first["parent_span_id"] not in known:
        notes.append(f"parent {first['parent_span_id']} is elsewhere")
    return " · ".join(notes)


def _bar(group: list[Decoded], begin: int, end: int) -> str:
    cells = [" "] * BAR_CELLS
    scale = BAR_CELLS / max(1, end - begin)
    for span in group:
        first = min(BAR_CELLS - 1, int((span["start_time_unix_nano"] - begin) * scale))
        last = min(BAR_CELLS - 1, int((span["end_time_unix_nano"] - begin) * scale))
        for cell in range(first, max(first, last) + 1):
            cells[cell] = "━"
    return "".join(cells)


def _duration(nanoseconds: int) -> str:
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    if nanoseconds >= 100_000:
        return f"{nanoseconds / 1e6:.1f} ms"
    return f"{nanoseconds / 1e3:.1f} µs"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _colours(out: TextIO) -> Callable[[str, str], str]:
    codes = {"bold": "1", "dim": "2", "red": "31", "blue": "34"}
    if not out.isatty() or os.environ.get("NO_COLOR"):
        return lambda colour, text: text
    return lambda colour, text: f"\033[{codes[colour]}m{text}\033[0m" if text else ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Receive OTLP/HTTP traces and draw them.")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--json", action="store_true", help="one JSON object a span, as they arrive")
    arguments = parser.parse_args()

    def print_json(spans: list[Decoded]) -> None:
        for span in spans:
            print(json.dumps(span, ensure_ascii=False), flush=True)

    with Collector(arguments.port, print_json if arguments.json else lambda spans: None) as collector:
        print(f"listening: OTEL_EXPORTER_OTLP_ENDPOINT={collector.endpoint}", file=sys.stderr, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
    if not arguments.json:
        draw_traces(collector.spans)
        print(f"{_count(len(collector.spans), 'span')} in {_count(collector.requests, 'request')}")


if __name__ == "__main__":
    main()
