"""Record a small LLM request: a trace, metrics and log records, to the configured endpoint or the console.

The endpoint is the environment's; without OTEL_EXPORTER_OTLP_ENDPOINT or its like the console shows it all.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import pytracingx as ptx

from . import destination


def add_arguments(parser: argparse.ArgumentParser) -> None:
    destination.add_arguments(parser)


def run(parsed: argparse.Namespace) -> int:
    config = _config(parsed)
    if config.describe()["disabled"]:
        print("OTEL_SDK_DISABLED is set: nothing is recorded")
        return 1
    ptx.init(config)
    trace_id = _request()
    ptx.shutdown()
    stats = ptx.stats()
    sinks = [*stats["trace_sinks"], *stats["metric_sinks"], *stats["log_sinks"]]
    if not sinks and destination.is_given(parsed):
        print("\nnot sent: OTEL_TRACES_EXPORTER and its like leave the endpoint out; look further with: env")
        return 1
    if not sinks:
        print("\nThat was the console. With --endpoint http://localhost:4318 the same goes to a collector.")
        return 0
    lost = [sink for sink in sinks if sink["exported"] < sink["wanted"]]
    for endpoint, error in dict.fromkeys((sink["endpoint"], sink["last_error"]) for sink in lost):
        print(f"{endpoint}: {error or 'no answer in time'}")
    if lost:
        command = f"python -m pytracingx doctor{destination.as_typed(parsed)}"
        print(f"\ntrace {trace_id}: NOT delivered; look further with: {command}")
        return 1
    print(f"\ntrace {trace_id}: {_outcome(stats)}")
    return 0


def _outcome(stats: Any) -> str:
    traces = stats["trace_sinks"]
    if any(sink["wanted"] for sink in traces):
        return "delivered"
    rest = any(sink["exported"] for sink in [*stats["metric_sinks"], *stats["log_sinks"]])
    also = "the rest delivered" if rest else "nor anything else"
    if traces:
        return f"not sent, for it was sampled out (OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG); {also}"
    return f"not sent, for no sink takes spans (OTEL_TRACES_EXPORTER); {also}"


def _config(parsed: argparse.Namespace) -> ptx.Config:
    name = os.environ.setdefault("OTEL_SERVICE_NAME", "pytracingx-demo")
    destination.apply(parsed)
    return ptx.Config.from_env() if destination.is_given(parsed) else ptx.Config(name, console_output=True)


def _request() -> str | None:
    log = ptx.get_logger("demo")
    with ptx.start_span("POST /v1/chat/completions", {"http.request.method": "POST"}, "server") as server:
        queued = ptx.now()
        time.sleep(0.002)
        log.info("admitted", attributes={"queue.length": 3})
        with ptx.generation(
            model="qwen3-8b", provider="demo", input_tokens=512, start_time=queued
        ) as generation:
            began = ptx.now()
            time.sleep(0.01)
            generation.stage("prefill", began, ptx.now())
            for _ in range(8):
                time.sleep(0.001)
                generation.token()
            generation.end("stop")
        server.set_attribute("http.response.status_code", 200)
    return server.trace_id()
