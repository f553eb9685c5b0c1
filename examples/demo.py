"""The main job, end to end: a program records spans, metrics and logs, they cross a socket, official protobuf
code decodes them.

    make demo

Starts the collector of this folder on a free port, runs llm_serving.py in a process of its own with nothing
but environment variables to configure it, and draws what arrived. Exits with 1 unless the program delivered
all that it recorded and every trace arrived whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from collector import Collector
from drawing import count, draw_histogram, draw_metrics, draw_traces

PROGRAM = Path(__file__).with_name("llm_serving.py")


def main() -> int:
    with Collector() as collector:
        print(f"collector: {collector.endpoint}\nprogram:   {PROGRAM.name}\n", flush=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "llm-server",
            "OTEL_METRIC_EXPORT_INTERVAL": "10",  # ms, for a program that runs for a tenth of a second
        }
        # What the program's console shows is what the drawing has: for failures only.
        program = subprocess.run(
            [sys.executable, str(PROGRAM)], env=environment, capture_output=True, text=True
        )
    spans, metrics, logs = collector.spans, collector.metrics, collector.logs

    steps = [span for span in spans if span["name"] == "engine.step"]
    requests = [span for span in spans if span["name"] != "engine.step"]
    draw_traces(requests, logs)
    print(f"and one of the engine's own {len(steps)} traces:\n")
    draw_traces(sorted(steps, key=lambda step: len(step["links"]))[-1:])

    print("metrics, a column for each collection where they went up and down:\n")
    draw_metrics(metrics)
    first_tokens = [metric for metric in metrics if metric["name"] == "gen_ai.server.time_to_first_token"]
    if first_tokens:
        print()
        draw_histogram(first_tokens)

    said = program.stdout.strip()
    collections = len({point["time"] for metric in metrics for point in metric["points"]})
    print(
        f"\n{count(len(spans), 'span')}, {count(collections, 'collection')} of metrics and",
        f"{count(len(logs), 'log record')} arrived in {count(collector.requests, 'request')};",
        f"the program says: {said}",
    )
    known = {span["span_id"] for span in spans}
    parents = [span["parent_span_id"] for span in spans if span["kind"] != "server"]
    problems = {
        f"exit code {program.returncode}": program.returncode != 0 or said != "all delivered",
        "something is missing": not (requests and steps and first_tokens and logs),
        "spans without their parent": not known.issuperset(filter(None, parents)),
        "logs without their span": not known.issuperset(record["span_id"] for record in logs),
    }
    found = [problem for problem, there in problems.items() if there]
    if found:
        print(program.stderr, "FAILED: " + "; ".join(found), sep="\n", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
