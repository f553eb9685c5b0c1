"""`Config(sdk_metrics=True)`: what the SDK says about itself, held to what was done and to the server's own count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from otlp_server import Answer, Decoded, OtlpServer

import pytracingx as ptx

SIGNALS = {"span": "{span}", "log": "{log_record}"}
UNITS = {
    "otel.sdk.span.started": "{span}",
    "otel.sdk.span.live": "{span}",
    "otel.sdk.log.created": "{log_record}",
    **{
        f"otel.sdk.processor.{signal}.{what}": unit
        for signal, unit in SIGNALS.items()
        for what in ("queue.size", "queue.capacity", "processed")
    },
    **{
        f"otel.sdk.exporter.{signal}.{what}": unit
        for signal, unit in {**SIGNALS, "metric_data_point": "{data_point}"}.items()
        for what in ("inflight", "exported")
    },
    "otel.sdk.metric_reader.collection.duration": "s",
    "otel.sdk.exporter.operation.duration": "s",
}
GROWING = ("started", "created", "processed", "exported")
LOGGER = ptx.get_logger("self")


class Session:
    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector
        self.spans, self.logs = OtlpServer(), OtlpServer()
        sinks = [
            ptx.TraceSink(self.spans.endpoint, "http", batch_max_queue=100),
            ptx.OtlpLogSink(self.logs.endpoint, "http", batch_max_queue=50),
            ptx.MetricSink(collector.endpoint, "http"),
        ]
        ptx.init(ptx.Config("svc", sinks=sinks, sdk_metrics=True, console_level="off", diagnostics="off"))

    def close(self) -> None:
        ptx.shutdown(0)
        self.spans.close()
        self.logs.close()

    def values(self, name: str, *keys: str) -> dict[Any, Any]:
        """Value, or count, by these attributes."""
        return {
            tuple(point["attributes"].get(key) for key in keys): point.get("value", point.get("count"))
            for point in self.collector.points(name)
        }


@pytest.fixture
def session(collector: OtlpServer) -> Iterator[Session]:
    each = Session(collector)
    yield each
    each.close()


def about_self(collector: OtlpServer) -> dict[str, Decoded]:
    return {metric["name"]: metric for metric in collector.metrics if metric["name"].startswith("otel.sdk.")}


def test_every_name(session: Session, collector: OtlpServer) -> None:
    """With its unit and type; the second flush speaks of the first."""
    for _ in range(3):
        ptx.start_span("op", activate=False).end()
        LOGGER.info("hello")
        assert ptx.force_flush()
    found = about_self(collector)
    assert {name: metric["unit"] for name, metric in found.items()} == UNITS
    for name, metric in found.items():
        assert metric["scope"] == "pytracingx" and metric["points"]
        if name.endswith(".duration"):
            assert metric["type"] == "histogram"
            assert all(0 < point["sum"] < 60 for point in metric["points"])
        else:
            assert (metric["type"], metric["monotonic"]) == ("sum", name.endswith(GROWING))
            assert all(point["value"] >= 0 for point in metric["points"])


def test_what_they_say(session: Session, collector: OtlpServer) -> None:
    for _ in range(5):
        ptx.start_span("op", activate=False).end()
    for _ in range(7):
        LOGGER.info("hello")
    live = [ptx.start_span("live", activate=False) for _ in range(2)]
    ptx.get_meter("self").counter("own").add(1)
    assert ptx.force_flush()
    points = sum(len(metric["points"]) for metric in collector.metrics)
    assert ptx.force_flush()
    values = session.values
    result = "otel.span.sampling_result"
    assert values("otel.sdk.span.started", result)[("RECORD_AND_SAMPLE",)] == 7
    assert values("otel.sdk.span.live", result) == {("RECORD_AND_SAMPLE",): 2}
    assert values("otel.sdk.log.created") == {(): 7}
    for signal, count, capacity in (("span", 5, 100), ("log", 7, 50)):
        processor = (f"batching_{signal}_processor", f"batching_{signal}_processor/0", None)
        keys = ("otel.component.type", "otel.component.name", "error.type")
        assert values(f"otel.sdk.processor.{signal}.queue.size", *keys) == {processor: 0}
        assert values(f"otel.sdk.processor.{signal}.queue.capacity", *keys) == {processor: capacity}
        assert values(f"otel.sdk.processor.{signal}.processed", *keys) == {processor: count}
        exporter = (f"otlp_http_{signal}_exporter", f"otlp_http_{signal}_exporter/0", None)
        assert values(f"otel.sdk.exporter.{signal}.inflight", *keys) == {exporter: 0}
        assert values(f"otel.sdk.exporter.{signal}.exported", *keys) == {exporter: count}
    keys = ("otel.component.type", "error.type")
    assert values("otel.sdk.exporter.metric_data_point.exported", *keys) == {
        ("otlp_http_metric_exporter", None): points
    }
    address = ("server.address", "server.port", "http.response.status_code")
    durations = values("otel.sdk.exporter.operation.duration", "otel.component.type", *address)
    assert durations == {
        (f"otlp_http_{signal}_exporter", "127.0.0.1", server.port, 200): 1
        for signal, server in (("span", session.spans), ("log", session.logs), ("metric", collector))
    }
    assert values("otel.sdk.metric_reader.collection.duration") == {(): 1}
    for span in live:
        span.end()


def test_losses_and_failures(session: Session, collector: OtlpServer) -> None:
    """What the queue had no room for is the processor's, what the server refused the exporter's."""
    session.logs.default_answer = Answer(400)
    session.spans.default_answer = Answer(503)
    for _ in range(60):
        LOGGER.info("refused")
    for _ in range(110):
        ptx.start_span("op", activate=False).end()
    # A collection tells of the requests that ended before it.
    log_failed = ("otlp_http_log_exporter", 400, "400")
    span_failed = ("otlp_http_span_exporter", 503, "503")
    keys = ("otel.component.type", "http.response.status_code", "error.type")
    values = session.values
    durations: dict[Any, Any] = {}
    for _ in range(30):
        ptx.force_flush(300)
        if "otel.sdk.exporter.operation.duration" in about_self(collector):
            durations = values("otel.sdk.exporter.operation.duration", *keys)
        if {log_failed, span_failed} <= durations.keys():
            break
    assert durations[log_failed] >= 1 and durations[span_failed] >= 1
    refused = values("otel.sdk.exporter.log.exported", "error.type")
    assert refused[("refused",)] > 0 and refused[(None,)] == 0
    logs = values("otel.sdk.processor.log.processed", "error.type")
    assert logs[(None,)] == refused[("refused",)] and logs.get(("queue_full",), 0) + logs[(None,)] == 60
    spans = values("otel.sdk.processor.span.processed", "error.type")
    assert spans == {(None,): 0, ("queue_full",): 10}
    (queued,) = values("otel.sdk.processor.span.queue.size").values()
    (inflight,) = values("otel.sdk.exporter.span.inflight").values()
    assert queued + inflight == 100


def test_nothing_unless_asked_for(collector: OtlpServer) -> None:
    ptx.init(ptx.Config("svc", sinks=[ptx.MetricSink(collector.endpoint, "http")]))
    ptx.get_meter("self").counter("own").add(1)
    assert ptx.force_flush() and ptx.shutdown()
    assert {metric["name"] for metric in collector.metrics} == {"own"}
