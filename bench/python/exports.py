"""What `transport` and `isolation` do inside a library's own process: `exports.py LIBRARY TASK JSON`, JSON on
stdout.

The one that measures chooses the endpoints; nothing here knows what becomes of the data.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

BATCH = 512
ATTRIBUTES: dict[str, Any] = {"model": "qwen2.5-72b", "tokens": 512, "temperature": 0.7}
Result = dict[str, Any]


def ours_transport(endpoint: str, protocol: str, authority: str | None, requests: int) -> Result:
    """Records full batches as fast as it can while the exporter sends them, whose processor time is all but
    this thread's."""
    import pytracingx as ptx

    sink = ptx.TraceSink(
        endpoint,
        "grpc" if protocol == "grpc" else "http",
        ca_file=authority,
        batch_max_export=BATCH,
        batch_schedule_delay_ms=60_000,
    )
    ptx.init(ptx.Config("bench", sinks=[sink], console_output=False, diagnostics="off"))

    def send(batches: int) -> None:
        for _ in range(batches * BATCH):
            ptx.start_span("op", ATTRIBUTES).end()
        assert ptx.force_flush(60_000), ptx.stats()["trace_sinks"]

    send(1)
    wall, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
    send(requests)
    wall, cpu, own = time.perf_counter() - wall, time.process_time() - cpu, time.thread_time() - own
    assert ptx.stats()["trace_sinks"][0]["requests"] == requests + 1
    return {"wall_s": wall, "cpu_s": cpu - own}


def otel_transport(endpoint: str, protocol: str, authority: str | None, requests: int) -> Result:
    """Exports the same batch again and again, in this thread: what a BatchSpanProcessor's thread does."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("bench")
    for _ in range(BATCH):
        tracer.start_span("op", attributes=ATTRIBUTES).end()
    spans = memory.get_finished_spans()
    exporter = otel_exporter(endpoint, protocol, authority)
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(requests):
        assert exporter.export(spans) is SpanExportResult.SUCCESS
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def otel_exporter(endpoint: str, protocol: str, authority: str | None) -> Any:
    if protocol == "http":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

        return HttpExporter(endpoint=f"{endpoint}/v1/traces", certificate_file=authority)
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

    if not authority:
        return GrpcExporter(endpoint=endpoint, insecure=True)
    with open(authority, "rb") as file:
        return GrpcExporter(endpoint=endpoint, credentials=grpc.ssl_channel_credentials(file.read()))


def steadily(span: Callable[[], None], every_s: float, done: Callable[[], bool]) -> int:
    """Records at this pace until `done`; returns how often."""
    count = 0
    while not done():
        span()
        count += 1
        time.sleep(every_s)
    return count


def watched_flush(flush: Callable[[], bool], span: Callable[[], None], plan: Result) -> Result:
    """Records for a while, and on while a flush is under way, up to `patience_s`: what that said and when."""
    told: list[Any] = []

    def run() -> None:
        begun = time.perf_counter()
        told.append(flush())
        told.append(time.perf_counter() - begun)

    ends = time.perf_counter() + plan["steady_s"]
    count = steadily(span, plan["every_s"], lambda: time.perf_counter() >= ends)
    ends = time.perf_counter() + plan["patience_s"]
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    count += steadily(span, plan["every_s"], lambda: len(told) == 2 or time.perf_counter() >= ends)
    time.sleep(plan["settle_s"])
    verdict, took_s = told if len(told) == 2 else (None, None)
    return {"recorded": count, "told": verdict, "flush_s": took_s}


def ours_isolation(good: str, bad: str | None, protocol: str, **plan: Any) -> Result:
    import pytracingx as ptx

    endpoints = [(good, "http"), *([(bad, protocol)] if bad else [])]
    sinks = [
        ptx.TraceSink(endpoint, spoken, batch_schedule_delay_ms=plan["delay_ms"])  # type: ignore[arg-type]
        for endpoint, spoken in endpoints
    ]
    ptx.init(ptx.Config("bench", sinks=sinks, console_output=False, diagnostics="off"))
    return watched_flush(
        lambda: ptx.force_flush(plan["flush_ms"]), lambda: ptx.start_span("op", ATTRIBUTES).end(), plan
    )


def otel_isolation(good: str, bad: str | None, protocol: str, **plan: Any) -> Result:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    logging.disable(logging.CRITICAL)
    provider = TracerProvider()
    for endpoint in [good, *([bad] if bad else [])]:
        exporter = otel_exporter(endpoint.removesuffix("/v1/traces"), protocol, None)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=plan["delay_ms"]))
    tracer = provider.get_tracer("bench")
    return watched_flush(
        lambda: provider.force_flush(plan["flush_ms"]),
        lambda: tracer.start_span("op", attributes=ATTRIBUTES).end(),
        plan,
    )


TASKS: dict[tuple[str, str], Callable[..., Result]] = {
    ("pytracingx", "transport"): ours_transport,
    ("pytracingx", "isolation"): ours_isolation,
    ("opentelemetry-sdk", "transport"): otel_transport,
    ("opentelemetry-sdk", "isolation"): otel_isolation,
}


def main() -> None:
    library, task, parameters = sys.argv[1:]
    result = TASKS[library, task](**json.loads(parameters))
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what a library does at exit is not ours to wait for


if __name__ == "__main__":
    main()
