"""One adapter a library: how it is started against a sink, stopped, and the same few operations written in
its own API.

Runs inside the library's own venv and imports only that library, when started. A loop takes the number of
operations; every loop of one row does the same work with the same names and values.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

Loop = Callable[[int], None]

# The rows of the hot-path table. Metrics and logs get theirs when their signals arrive.
SPAN = "with start_span"
SPAN_1 = "… 1 attribute"
SPAN_3_2 = "… 3 attributes, 2 set_attribute"
RECORD = "record_span"


def span_loops(start_span: Any, record_span: Any = None) -> dict[str, Loop]:
    """The rows for a library with `start_span(name, attributes=…)` and `set_attribute`."""

    def span(count: int) -> None:
        for _ in range(count):
            with start_span("op"):
                pass

    def span_1(count: int) -> None:
        for _ in range(count):
            with start_span("op", attributes={"batch": 8}):
                pass

    def span_3_2(count: int) -> None:
        for _ in range(count):
            with start_span(
                "op", attributes={"llm.model": "qwen2.5-72b", "llm.prompt_tokens": 512, "gen.batch_size": 8}
            ) as current:
                current.set_attribute("llm.completion_tokens", 128)
                current.set_attribute("llm.ttft_ms", 12.5)

    loops: dict[str, Loop] = {SPAN: span, SPAN_1: span_1, SPAN_3_2: span_3_2}
    if record_span:
        began, ended = time.time_ns() - 1_000_000, time.time_ns()

        def record(count: int) -> None:
            for _ in range(count):
                record_span("op", began, ended)

        loops[RECORD] = record
    return loops


def spans_with_three_attributes(start_span: Any, count: int) -> None:
    """The work of the throughput and memory benchmarks, for such a library."""
    for number in range(count):
        with start_span("op", attributes={"model": "qwen2.5-72b", "tokens": number, "temperature": 0.7}):
            pass


class Adapter:
    """`start` initialises, `stop` delivers everything recorded and ends the session."""

    module: str  # what a program imports, for the import time

    def start(self, endpoint: str) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def loops(self) -> dict[str, Loop]:
        """The operations that this library has."""
        raise NotImplementedError

    def three_attributes(self, count: int) -> None:
        """Spans with three attributes: throughput and memory."""
        raise NotImplementedError


class Pytracingx(Adapter):
    """Ours and the published 0.3.0: one name, one API."""

    module = "pytracingx"

    def start(self, endpoint: str) -> None:
        import pytracingx

        self.ptx: Any = pytracingx
        sink = pytracingx.TraceSink(f"{endpoint}/v1/traces", protocol="http/protobuf")
        pytracingx.init(pytracingx.Config("bench", console_output=False, sinks=[sink]))

    def stop(self) -> None:
        self.ptx.force_flush()
        self.ptx.shutdown()

    def loops(self) -> dict[str, Loop]:
        return span_loops(self.ptx.start_span, getattr(self.ptx, "record_span", None))

    def three_attributes(self, count: int) -> None:
        spans_with_three_attributes(self.ptx.start_span, count)


class Floor(Adapter):
    """bench/floor/floor.c: nothing leaves the process."""

    module = "floor"

    def start(self, endpoint: str) -> None:
        import floor

        self.floor: Any = floor

    def stop(self) -> None:
        pass

    def loops(self) -> dict[str, Loop]:
        return span_loops(self.floor.span, self.floor.record_span)

    def three_attributes(self, count: int) -> None:
        spans_with_three_attributes(self.floor.span, count)


class OpenTelemetry(Adapter):
    """opentelemetry-sdk as its documentation sets it up: batch processor, OTLP over HTTP."""

    module = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

    def start(self, endpoint: str) -> None:
        import logging

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        logging.disable()
        self.provider = TracerProvider()
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        self.tracer = self.provider.get_tracer("bench")

    def stop(self) -> None:
        self.provider.force_flush()
        self.provider.shutdown()

    def loops(self) -> dict[str, Loop]:
        return span_loops(self.tracer.start_as_current_span)

    def three_attributes(self, count: int) -> None:
        spans_with_three_attributes(self.tracer.start_as_current_span, count)


class Datadog(Adapter):
    """ddtrace: every span a trace of its own, sent to the sink as to an agent."""

    module = "ddtrace.trace"

    def start(self, endpoint: str) -> None:
        os.environ.update(
            DD_TRACE_AGENT_URL=endpoint,
            DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
            DD_REMOTE_CONFIGURATION_ENABLED="false",
            DD_TRACE_STARTUP_LOGS="false",
            DD_TRACE_STATS_COMPUTATION_ENABLED="false",
        )
        import logging

        from ddtrace.trace import tracer

        logging.disable()
        self.tracer = tracer

    def stop(self) -> None:
        self.tracer.flush()
        self.tracer.shutdown()

    def loops(self) -> dict[str, Loop]:
        trace = self.tracer.trace

        def span(count: int) -> None:
            for _ in range(count):
                with trace("op"):
                    pass

        def span_1(count: int) -> None:
            for _ in range(count):
                with trace("op") as current:
                    current.set_tag("batch", 8)

        def span_3_2(count: int) -> None:
            for _ in range(count):
                with trace("op") as current:
                    current.set_tags(
                        {"llm.model": "qwen2.5-72b", "llm.prompt_tokens": 512, "gen.batch_size": 8}
                    )
                    current.set_tag("llm.completion_tokens", 128)
                    current.set_tag("llm.ttft_ms", 12.5)

        return {SPAN: span, SPAN_1: span_1, SPAN_3_2: span_3_2}

    def three_attributes(self, count: int) -> None:
        trace = self.tracer.trace
        for number in range(count):
            with trace("op") as current:
                current.set_tags({"model": "qwen2.5-72b", "tokens": number, "temperature": 0.7})


ADAPTERS: dict[str, type[Adapter]] = {
    "pytracingx": Pytracingx,
    "pytracingx 0.3.0": Pytracingx,
    "opentelemetry-sdk": OpenTelemetry,
    "ddtrace": Datadog,
    "C floor": Floor,
}
