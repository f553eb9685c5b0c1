"""The main job, end to end: a program records spans, they cross a socket, official protobuf code decodes
them.

    make demo

Starts the collector of this folder on a free port, runs llm_serving.py in a process of its own with nothing
but OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME to configure it, and draws what arrived. Exits with 1
unless the program delivered all that it recorded and every trace arrived whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from collector import Collector, draw_traces

PROGRAM = Path(__file__).with_name("llm_serving.py")


def main() -> int:
    with Collector() as collector:
        print(f"collector: {collector.endpoint}\nprogram:   {PROGRAM.name}\n", flush=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "llm-server",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
        program = subprocess.run(
            [sys.executable, str(PROGRAM)], env=environment, stdout=subprocess.PIPE, text=True
        )

    steps = [span for span in collector.spans if span["name"] == "engine.step"]
    requests = [span for span in collector.spans if span["name"] != "engine.step"]
    draw_traces(requests)
    print(f"and one of the engine's own {len(steps)} traces:\n")
    draw_traces(sorted(steps, key=lambda step: len(step["links"]))[-1:])

    known = {span["span_id"] for span in collector.spans}
    orphans = [
        span
        for span in collector.spans
        if span["parent_span_id"] and span["parent_span_id"] not in known and span["kind"] != "server"
    ]
    for name, count in Counter(span["name"] for span in collector.spans).most_common():
        print(f"{count:6} × {name}")
    print(
        f"{len(collector.spans):6} spans arrived in {collector.requests} request(s);",
        f"the program says: {program.stdout.strip()}",
    )
    if (
        program.returncode
        or program.stdout.strip() != "all spans delivered"
        or not requests
        or not steps
        or orphans
    ):
        print(
            f"FAILED: exit code {program.returncode}, {len(orphans)} spans without their parent",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
