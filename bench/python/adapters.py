"""One adapter a library: how it is started against a sink, stopped, and the same few operations written in
its own API.

Runs inside the library's own venv and imports only that library, when started. A loop takes the number of
operations; every loop of one row does the same work with the same names and values.
"""

from __future__ import annotations

import logging
import os
import time
from array import array
from collections.abc import Callable
from typing import Any

Loop = Callable[[int], None]

# The rows of the hot-path table, by what each operation records.
SPAN = "with start_span"
SPAN_1 = "… 1 attribute"
SPAN_3_2 = "… 3 attributes, 2 set_attribute"
RECORD = "record_span"
SPANS = [SPAN, SPAN_1, SPAN_3_2, RECORD]
COUNTER = "counter.add(1)"
COUNTER_1 = "counter.add, 1 attribute"
BOUND = "bound.add(1)"
HISTOGRAM_1 = "histogram.record, 1 attribute"
MEASUREMENTS = [COUNTER, COUNTER_1, BOUND, HISTOGRAM_1]
GAUGE = "gauge.set"
LOG = 'logger.info("hello")'
LOG_1 = "logger.info, 1 attribute"
STDLIB = "logging.info, its handler"
LOGS = [LOG, LOG_1, STDLIB]
# Not a library's own: the loop around each, what a call costs at least, and stdlib's logging to nobody.
LOOP = "the empty loop"
EMPTY = "an empty C method"
NULL = "logging.info, NullHandler"


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


def metric_loops(counter: Any, bound: Any, histogram: Any, set_gauge: Callable[..., None]) -> dict[str, Loop]:
    """The rows for a library with OpenTelemetry's instruments, `bound` or not."""

    def add(count: int) -> None:
        for _ in range(count):
            counter.add(1)

    def add_1(count: int) -> None:
        for _ in range(count):
            counter.add(1, {"model": "qwen2.5-72b"})

    def add_bound(count: int) -> None:
        for _ in range(count):
            bound.add(1)

    def record_1(count: int) -> None:
        for _ in range(count):
            histogram.record(12.5, {"model": "qwen2.5-72b"})

    def set_last(count: int) -> None:
        for _ in range(count):
            set_gauge(0.5)

    loops: dict[str, Loop] = {COUNTER: add, COUNTER_1: add_1, HISTOGRAM_1: record_1, GAUGE: set_last}
    if bound:
        loops[BOUND] = add_bound
    return loops


def log_loops(logger: Any) -> dict[str, Loop]:
    """The rows for a library with `info(message, attributes=…)`."""

    def info(count: int) -> None:
        for _ in range(count):
            logger.info("hello")

    def info_1(count: int) -> None:
        for _ in range(count):
            logger.info("hello", attributes={"model": "qwen2.5-72b"})

    return {LOG: info, LOG_1: info_1}


def stdlib_loop(handler: logging.Handler) -> Loop:
    """A logger of stdlib's that has this handler and no other."""
    logger = logging.getLogger(f"bench.{type(handler).__name__}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)

    def info(count: int) -> None:
        for _ in range(count):
            logger.info("hello")

    return info


# Requests that run in one step of the batch benchmark, and what each span of the step has. A library that
# records them in one call has a row for each way of giving them: "N × what, how".
BATCH_SIZES = (32, 256)
NO_ATTRIBUTES, TWO_ATTRIBUTES = "no attributes", "2 attributes"


def columns(size: int) -> tuple[list[int], list[float]]:
    """An int and a float for each request."""
    return list(range(1000, 1000 + size)), [request / 7 for request in range(size)]


def spans_with_three_attributes(start_span: Any, count: int) -> None:
    """The work of the throughput and memory benchmarks, for such a library."""
    for number in range(count):
        with start_span("op", attributes={"model": "qwen2.5-72b", "tokens": number, "temperature": 0.7}):
            pass


class Adapter:
    """`start` initialises, for spans or for all that `loops` record; `stop` delivers and ends the session."""

    module: str  # what a program imports, for the import time

    def start(self, endpoint: str, every_signal: bool = False) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def loops(self) -> dict[str, Loop]:
        """The operations that this library has."""
        raise NotImplementedError

    def llm_loops(self) -> dict[str, Loop]:
        """The rows of the llm table, see llm_loops.py."""
        raise NotImplementedError

    def three_attributes(self, count: int) -> None:
        """Spans with three attributes: throughput and memory."""
        raise NotImplementedError

    def batch_loops(self, size: int) -> dict[str, Loop]:
        """Loops over steps of one span for each of so many requests, which are open meanwhile."""
        raise NotImplementedError


class Pytracingx(Adapter):
    """Ours and the published 0.3.0: one name, one API."""

    module = "pytracingx"

    def start(self, endpoint: str, every_signal: bool = False) -> None:
        import pytracingx

        self.ptx: Any = pytracingx
        sinks = [
            kind(f"{endpoint}/v1/{signal}", protocol="http/protobuf")
            for kind, signal in [
                (pytracingx.TraceSink, "traces"),
                (pytracingx.MetricSink, "metrics"),
                (pytracingx.OtlpLogSink, "logs"),
            ]
            if every_signal or signal == "traces"
        ]
        pytracingx.init(pytracingx.Config("bench", console_output=False, sinks=sinks))

    def stop(self) -> None:
        self.ptx.force_flush()
        self.ptx.shutdown()

    def loops(self) -> dict[str, Loop]:
        from pytracingx.logging import SLSLoggingHandler

        meter = self.ptx.get_meter("bench")
        counter = meter.counter("counter")
        bound = counter.bind({"bound": True}) if hasattr(counter, "bind") else None
        histogram, gauge = meter.histogram("histogram"), meter.gauge("gauge")
        return {
            **span_loops(self.ptx.start_span, getattr(self.ptx, "record_span", None)),
            **metric_loops(counter, bound, histogram, gauge.record),
            **log_loops(self.ptx.get_logger("bench")),
            STDLIB: stdlib_loop(SLSLoggingHandler()),
        }

    def llm_loops(self) -> dict[str, Loop]:
        import llm_loops

        if hasattr(self.ptx, "generation"):
            return llm_loops.native(self.ptx)
        meter = self.ptx.get_meter("bench")
        return llm_loops.by_hand(self.ptx.start_span, meter.histogram, lambda name: meter.gauge(name).record)

    def three_attributes(self, count: int) -> None:
        spans_with_three_attributes(self.ptx.start_span, count)

    def batch_loops(self, size: int) -> dict[str, Loop]:
        tokens, shares = columns(size)
        ptx = self.ptx
        if not hasattr(ptx, "record_spans"):
            # 0.3.0: the current span is the parent, and the time is now.
            def bare(count: int) -> None:
                for _ in range(count):
                    for _request in range(size):
                        with ptx.start_span("decode"):
                            pass

            def two(count: int) -> None:
                for _ in range(count):
                    for request in range(size):
                        attributes = {"tokens": tokens[request], "share": shares[request]}
                        with ptx.start_span("decode", attributes=attributes):
                            pass

            return {f"{size} × {NO_ATTRIBUTES}": bare, f"{size} × {TWO_ATTRIBUTES}": two}
        parents = [ptx.start_span("request", activate=False) for _ in range(size)]
        prepared = ptx.parent_set(parents)
        for parent in parents:
            parent.end()
        lists = {"tokens": tokens, "share": shares}
        arrays = {"tokens": array("q", tokens), "share": array("d", shares)}

        def loop(parents: Any, attributes: Any) -> Loop:
            def steps(count: int) -> None:
                for _ in range(count):
                    began = time.time_ns()
                    ptx.record_spans("decode", parents, began, began, attributes)

            return steps

        def one_by_one(count: int) -> None:
            for _ in range(count):
                began = time.time_ns()
                for request, parent in enumerate(parents):
                    attributes = {"tokens": tokens[request], "share": shares[request]}
                    ptx.record_span("decode", began, began, attributes, parent=parent)

        return {
            f"{size} × {NO_ATTRIBUTES}, a ParentSet": loop(prepared, None),
            f"{size} × {NO_ATTRIBUTES}, a list of spans": loop(parents, None),
            f"{size} × {TWO_ATTRIBUTES}, a ParentSet and lists": loop(prepared, lists),
            f"{size} × {TWO_ATTRIBUTES}, a ParentSet and arrays": loop(prepared, arrays),
            f"{size} × {TWO_ATTRIBUTES}, lists of spans and values": loop(parents, lists),
            f"{size} × one by one": one_by_one,
        }


class Floor(Adapter):
    """bench/floor/floor.c: nothing leaves the process."""

    module = "floor"

    def start(self, endpoint: str, every_signal: bool = False) -> None:
        import floor

        self.floor: Any = floor

    def stop(self) -> None:
        pass

    def loops(self) -> dict[str, Loop]:
        one = self.floor.Recorder()

        def empty(count: int) -> None:
            for _ in range(count):
                one.empty(1)

        return {
            **span_loops(self.floor.span, self.floor.record_span),
            **metric_loops(one, one, one, one.set),
            **log_loops(one),
            EMPTY: empty,
        }

    def three_attributes(self, count: int) -> None:
        spans_with_three_attributes(self.floor.span, count)


class OpenTelemetry(Adapter):
    """opentelemetry-sdk as its documentation sets it up: batch processor, OTLP over HTTP."""

    module = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

    def start(self, endpoint: str, every_signal: bool = False) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self.endpoint = endpoint
        self.providers: list[Any] = []
        self.provider = TracerProvider()
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        self.tracer = self.provider.get_tracer("bench")

    def stop(self) -> None:
        for provider in [self.provider, *self.providers]:
            provider.force_flush()
            provider.shutdown()

    def loops(self) -> dict[str, Loop]:
        return {**span_loops(self.tracer.start_as_current_span), **self.metric_loops(), **self.log_loops()}

    def meter(self) -> Any:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{self.endpoint}/v1/metrics"))
        provider = MeterProvider([reader])
        self.providers.append(provider)
        return provider.get_meter("bench")

    def llm_loops(self) -> dict[str, Loop]:
        import llm_loops

        meter, start_span = self.meter(), self.tracer.start_as_current_span
        return llm_loops.by_hand(
            start_span, meter.create_histogram, lambda name: meter.create_gauge(name).set
        )

    def metric_loops(self) -> dict[str, Loop]:
        meter = self.meter()
        histogram, gauge = meter.create_histogram("histogram"), meter.create_gauge("gauge")
        return metric_loops(meter.create_counter("counter"), None, histogram, gauge.set)

    def log_loops(self) -> dict[str, Loop]:
        from opentelemetry._logs import SeverityNumber
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
        from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        provider = LoggerProvider()
        provider.add_log_record_processor(
            BatchLogRecordProcessor(OTLPLogExporter(f"{self.endpoint}/v1/logs"))
        )
        self.providers.append(provider)
        emit, severity, now = provider.get_logger("bench").emit, SeverityNumber.INFO, time.time_ns

        def info(count: int) -> None:
            for _ in range(count):
                emit(timestamp=now(), severity_number=severity, body="hello")

        def info_1(count: int) -> None:
            for _ in range(count):
                attributes = {"model": "qwen2.5-72b"}
                emit(timestamp=now(), severity_number=severity, body="hello", attributes=attributes)

        return {LOG: info, LOG_1: info_1, STDLIB: stdlib_loop(LoggingHandler(logger_provider=provider))}

    def three_attributes(self, count: int) -> None:
        spans_with_three_attributes(self.tracer.start_as_current_span, count)

    def batch_loops(self, size: int) -> dict[str, Loop]:
        from opentelemetry.trace import set_span_in_context

        tokens, shares = columns(size)
        start_span = self.tracer.start_span
        contexts = [set_span_in_context(start_span("request")) for _ in range(size)]

        def bare(count: int) -> None:
            for _ in range(count):
                began = time.time_ns()
                for context in contexts:
                    start_span("decode", context, start_time=began).end(began)

        def two(count: int) -> None:
            for _ in range(count):
                began = time.time_ns()
                for request, context in enumerate(contexts):
                    attributes = {"tokens": tokens[request], "share": shares[request]}
                    start_span("decode", context, attributes=attributes, start_time=began).end(began)

        return {f"{size} × {NO_ATTRIBUTES}": bare, f"{size} × {TWO_ATTRIBUTES}": two}


class Datadog(Adapter):
    """ddtrace: every span a trace of its own, sent to the sink as to an agent."""

    module = "ddtrace.trace"

    def start(self, endpoint: str, every_signal: bool = False) -> None:
        os.environ.update(
            DD_TRACE_AGENT_URL=endpoint,
            DD_INSTRUMENTATION_TELEMETRY_ENABLED="false",
            DD_REMOTE_CONFIGURATION_ENABLED="false",
            DD_TRACE_STARTUP_LOGS="false",
            DD_TRACE_STATS_COMPUTATION_ENABLED="false",
        )
        from ddtrace.trace import tracer

        logging.getLogger("ddtrace").setLevel(logging.CRITICAL)
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


class Prometheus(Adapter):
    """prometheus_client: metrics only, kept for whoever comes to fetch them."""

    module = "prometheus_client"

    def start(self, endpoint: str, every_signal: bool = False) -> None:
        import prometheus_client

        self.client: Any = prometheus_client

    def stop(self) -> None:
        pass

    def loops(self) -> dict[str, Loop]:
        counter = self.client.Counter("counter", "bench")
        labelled = self.client.Counter("labelled", "bench", ["model"])
        histogram = self.client.Histogram("histogram", "bench", ["model"])
        gauge = self.client.Gauge("gauge", "bench")
        bound = labelled.labels("bound")

        def add(count: int) -> None:
            for _ in range(count):
                counter.inc(1)

        def add_1(count: int) -> None:
            for _ in range(count):
                labelled.labels(model="qwen2.5-72b").inc(1)

        def add_bound(count: int) -> None:
            for _ in range(count):
                bound.inc(1)

        def record_1(count: int) -> None:
            for _ in range(count):
                histogram.labels(model="qwen2.5-72b").observe(12.5)

        def set_last(count: int) -> None:
            for _ in range(count):
                gauge.set(0.5)

        return {COUNTER: add, COUNTER_1: add_1, BOUND: add_bound, HISTOGRAM_1: record_1, GAUGE: set_last}


ADAPTERS: dict[str, type[Adapter]] = {
    "pytracingx": Pytracingx,
    "pytracingx, abi3-py39": Pytracingx,
    "pytracingx 0.3.0": Pytracingx,
    "opentelemetry-sdk": OpenTelemetry,
    "ddtrace": Datadog,
    "prometheus_client": Prometheus,
    "C floor": Floor,
}
