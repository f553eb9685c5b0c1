"""Run the cases under an installed pytracingx and write down what was observed.

    python tests/behaviour/record.py --python …/bin/python --version 0.3.0 > tests/behaviour/0.3.0.json

The interpreter that runs this file needs `opentelemetry-proto`; the one named by --python only the
  pytracingx to observe.
`make behaviour` makes both and re-records 0.2.0.json and 0.3.0.json.

What differs from run to run is replaced: spans are ordered by start and named, ids become the names of spans
("remote" for the ids in trial.py) and times are only checked for order. Attributes that name 0.3's own Rust
source are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "python"), str(HERE.parents[1] / "examples")]

from cases import CASES  # noqa: E402
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status  # noqa: E402
from otlp import Decoded, decode_logs, decode_metrics, decode_value  # noqa: E402
from otlp_server import OtlpServer, Request  # noqa: E402
from trial import REMOTE  # noqa: E402

OWN_SOURCE = ("code.file.path", "code.module.name", "code.line.number", "target")
OWN_PLACE = ("code.filepath", "code.lineno", "thread.id", "process.pid", "exception.stacktrace")
POINT_FIELDS = ("attributes", "value", "count", "sum", "min", "max", "bounds", "counts")
CLEARED_VARIABLES = ("OTEL_", "PYTRACINGX_", "RUST_", "NO_COLOR")


def observe(python: str, name: str) -> dict[str, Any]:
    """Everything that one case showed: its notes, how the process ended, what it printed and what it sent."""
    server = OtlpServer()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(CLEARED_VARIABLES)}
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes.json")
        try:
            done = subprocess.run(
                [python, str(HERE / "run_case.py"), name, str(notes)],
                env={
                    **environment,
                    **CASES[name].env,
                    "ENDPOINT": server.endpoint + "/v1/traces",
                    "PYTHON_THREAD_INHERIT_CONTEXT": "0",  # free-threaded Python would, otherwise
                },
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            server.close()
        seen: dict[str, Any] = {
            "exit": done.returncode,
            "notes": json.loads(notes.read_text()) if notes.exists() else {},
        }
    if name.startswith("console_"):
        seen["console"] = {"stdout": shown(done.stdout), "stderr": shown(done.stderr)}
    seen["spans"] = [
        span
        for request in carrying(server, "traces")
        for span in normal_spans(ExportTraceServiceRequest.FromString(request.body))
    ]
    seen["spans"] = [span for _, span in sorted(seen["spans"], key=lambda pair: pair[0])]
    if name.startswith("metric_"):
        seen["metrics"] = normal_metrics([decode_metrics(r.body) for r in carrying(server, "metrics")])
    if name.startswith("log_"):
        traces = {span["trace_id"]: f"of {span['name']}" for span in seen["spans"]}
        records = [record for request in carrying(server, "logs") for record in decode_logs(request.body)]
        seen["logs"] = [normal_log(record, traces) for record in records]
    name_parents(seen["spans"])
    if name.startswith("request"):
        seen["requests"] = [
            {
                "path": request.path,
                "headers": {
                    key: request.headers.get(key)
                    for key in ("content-type", "content-encoding", "x-token", "x-upper")
                },
                "spans": len(request.spans),
            }
            for request in server.requests
        ]
    if name.startswith("resource") and server.requests:
        sent = ExportTraceServiceRequest.FromString(server.requests[0].body).resource_spans[0]
        pairs = {pair.key: decode_value(pair.value) for pair in sent.resource.attributes}
        seen["at_least_resource"] = {
            key: "…" if key in ("process.pid", "host.name") else value for key, value in sorted(pairs.items())
        }
        seen["scope"] = sent.scope_spans[0].scope.name
    return seen


def carrying(server: OtlpServer, signal: str) -> list[Request]:
    """The requests with one signal."""
    return [request for request in server.requests if request.path.endswith(f"/v1/{signal}")]


def shown(text: str) -> dict[str, Any]:
    """What of a case's own words a stream shows: they all begin with `visible-`."""
    return {"anything": bool(text), "visible": sorted(set(re.findall(r"visible-([a-z-]+)", text)))}


def normal_spans(request: ExportTraceServiceRequest) -> list[tuple[int, dict[str, Any]]]:
    """The spans with their start time, for ordering."""
    found = []
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                found.append((span.start_time_unix_nano, normal_span(span)))
    return found


def normal_span(span: Span) -> dict[str, Any]:
    """What of a span is the same in every run; fields with their default value are left out."""
    keys = [pair.key for pair in span.attributes if pair.key not in OWN_SOURCE]
    everything = {
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "flags": span.flags,
        "trace_state": span.trace_state,
        "attributes": {p.key: decode_value(p.value) for p in span.attributes if p.key not in OWN_SOURCE},
        "repeated_attributes": sorted({key for key in keys if keys.count(key) > 1}),
        "dropped_attributes": span.dropped_attributes_count,
        "events": [
            {
                "name": event.name,
                "attributes": {pair.key: decode_value(pair.value) for pair in event.attributes},
                **(
                    {"dropped_attributes": event.dropped_attributes_count}
                    if event.dropped_attributes_count
                    else {}
                ),
            }
            for event in span.events
        ],
        "dropped_events": span.dropped_events_count,
        "links": len(span.links),
        "status": Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
        "status_message": span.status.message,
        "times_in_order": 0 < span.start_time_unix_nano <= span.end_time_unix_nano,
    }
    return {key: value for key, value in everything.items() if key == "name" or value not in ("", 0, [], {})}


def normal_metrics(collections: list[list[Decoded]]) -> dict[str, Any]:
    """Metrics by name, as collected last; deltas of later collections as `name#1`, …. Without times."""
    found: dict[str, Any] = {}
    for metric in (metric for collection in collections for metric in collection):
        key = metric["name"]
        if metric["temporality"] == "delta":
            number = sum(1 for known in found if known.partition("#")[0] == key)
            key = f"{key}#{number}" if number else key
        points = []
        for point in metric["points"]:
            point = {field: value for field, value in point.items() if field in POINT_FIELDS}
            odd = {
                field for field, value in point.items() if isinstance(value, float) and not isfinite(value)
            }
            points.append({field: str(value) if field in odd else value for field, value in point.items()})
        points.sort(key=lambda point: sorted(map(str, point["attributes"].items())))
        fields = ("type", "unit", "description", "temporality", "monotonic", "scope")
        found[key] = {**{field: metric[field] for field in fields}, "points": points}
    return found


def normal_log(record: Decoded, traces: dict[str, str]) -> dict[str, Any]:
    """What of a log record is the same in every run; fields with their default value are left out."""
    everything = {
        "body": record["body"].partition("\n")[0] if isinstance(record["body"], str) else record["body"],
        "severity": [record["severity_number"], record["severity_text"]],
        "scope": record["scope"],
        "attributes": {
            key: "…" if key in OWN_PLACE else value for key, value in record["attributes"].items()
        },
        "trace": traces.get(record["trace_id"], "unknown") if record["trace_id"] else "",
        "flags": record["flags"],
        "times": [bool(record["time_unix_nano"]), bool(record["observed_time_unix_nano"])],
    }
    return {key: value for key, value in everything.items() if value not in ("", 0, {})}


def name_parents(spans: list[dict[str, Any]]) -> None:
    """Replace ids by names, in place."""
    names = {REMOTE[3:35]: "remote", REMOTE[36:52]: "remote"}
    for span in spans:
        names[span.pop("span_id")] = span["name"]
        names.setdefault(span["trace_id"], f"of {span['name']}")
    for span in spans:
        span["trace"] = names[span.pop("trace_id")]
        if "parent" in span:
            span["parent"] = names.get(span["parent"], "unknown")


def record(python: str, version: str) -> dict[str, Any]:
    """All cases of a version, two processes at a time."""
    chosen = [name for name, case in CASES.items() if case.only in (None, version)]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(chosen, pool.map(lambda name: observe(python, name), chosen)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Record the observable behaviour of an installed pytracingx as JSON."
    )
    parser.add_argument("--python", default=sys.executable, help="interpreter with the pytracingx to observe")
    parser.add_argument("--version", required=True, help="which version that is: selects the cases")
    arguments = parser.parse_args()
    json.dump(
        record(arguments.python, arguments.version), sys.stdout, indent=1, ensure_ascii=False, sort_keys=True
    )
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
