"""The two libraries of the fault report behind one face, each set up as a program would."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


class Ours:
    """A session, ours."""

    def start(
        self, endpoint: str, second: str | None = None, delay_ms: int | None = None, **options: Any
    ) -> None:
        import pytracingx as ptx

        self.ptx = ptx
        metrics, room = options.pop("metrics", False), options.pop("config", {})
        kind = ptx.MetricSink if metrics else ptx.TraceSink
        self.kind = "metric_sinks" if metrics else "trace_sinks"
        if not metrics and delay_ms is not None:
            options["batch_schedule_delay_ms"] = delay_ms
        sinks = [kind(endpoint, "http", **options)]
        if second:
            sinks.append(kind(second, "http", **options))
        ptx.init(ptx.Config("faults", sinks=sinks, console_output=False, diagnostics="off", **room))
        if metrics:
            self.counter = ptx.get_meter("faults").counter("sum")

    def span(self, number: int, name: str = "op") -> None:
        with self.ptx.start_span(name, {"number": number}):
            pass

    def add(self, value: int, attributes: dict[str, Any]) -> None:
        self.counter.add(value, attributes)

    def flush(self, timeout_ms: int) -> bool:
        return self.ptx.force_flush(timeout_ms)

    def shutdown(self, timeout_ms: int) -> bool:
        return self.ptx.shutdown(timeout_ms)

    def books(self) -> Any:
        stats: Any = self.ptx.stats()
        return {"spans": stats["spans"], "lanes": stats["lanes"], "sinks": stats[self.kind]}


class OpenTelemetry:
    """Providers as opentelemetry-sdk's documentation sets them up, with its default limits."""

    def start(
        self,
        endpoint: str,
        second: str | None = None,
        delay_ms: int | None = None,
        metrics: bool = False,
        ca_file: str | None = None,
        proxy: str | None = None,
        timeout_ms: int | None = None,
        headers: Any = None,
        **ignored: Any,
    ) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if proxy:
            os.environ["HTTP_PROXY"] = proxy
        self.provider: Any
        if metrics:
            self.provider = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter(endpoint))])
            self.counter = self.provider.get_meter("faults").create_counter("sum")
            return
        self.provider = TracerProvider()
        for each in [endpoint, *([second] if second else [])]:
            timeout_s = timeout_ms and timeout_ms / 1000
            exporter = OTLPSpanExporter(each, certificate_file=ca_file, headers=headers, timeout=timeout_s)
            self.provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay_ms))
        self.tracer = self.provider.get_tracer("faults")

    def span(self, number: int, name: str = "op") -> None:
        with self.tracer.start_as_current_span(name, attributes={"number": number}):
            pass

    def add(self, value: int, attributes: dict[str, Any]) -> None:
        self.counter.add(value, attributes)

    def flush(self, timeout_ms: int) -> bool:
        return bool(self.provider.force_flush(timeout_ms))

    def shutdown(self, timeout_ms: int) -> Any:
        """Takes no timeout."""
        return self.provider.shutdown()

    def books(self) -> None:
        return None


LIBRARIES: dict[str, Callable[[], Any]] = {"pytracingx": Ours, "opentelemetry-sdk": OpenTelemetry}
