"""The main job, end to end: a program records spans, metrics and logs, they cross a socket, official protobuf
code decodes them.

    make demo

Starts the collector of this folder on a free port, runs llm_serving.py in a process of its own with nothing
but environment variables to configure it, and draws what arrived; then llm_engine.py, of which one request is
drawn, token by token. Exits with 1 unless the programs delivered all that they recorded and every trace
arrived whole.
"""

from __future__ import annotations

import sys

from drawing import count, draw_histogram, draw_metrics, draw_traces
from run import run


def engine() -> int:
    collector, program = run("llm_engine")
    spans = collector.spans
    requests = [span for span in spans if span["kind"] == "server"]
    forwards = [span for span in spans if span["name"] == "forward"]
    longest = max(requests, key=lambda span: int(span["attributes"]["gen_ai.usage.output_tokens"]))
    print("one of its requests, every step that it was in:\n")
    draw_traces([span for span in spans if span["trace_id"] == longest["trace_id"]])
    print(
        f"{count(len(requests), 'request')} and {count(len(forwards), 'step')} of theirs arrived;",
        f"the program says: {program.stdout.strip()}",
    )
    parents = {span["parent_span_id"] for span in forwards}
    if program.stdout.strip() == "all delivered" and parents == {span["span_id"] for span in requests}:
        return 0
    print(program.stderr, "FAILED: something is missing", sep="\n", file=sys.stderr)
    return 1


def main() -> int:
    return serving() or engine()


def serving() -> int:
    collector, program = run("llm_serving")
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
