"""OTLP request bodies as flat Python dicts, decoded with the official `opentelemetry-proto` package.

Each record carries its resource and scope, so that lists of them can be filtered with plain Python. Ids are
hex, enums lower-case names without their prefix, times Unix nanoseconds, and all is JSON (but NaN).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Exemplar, Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

Decoded = dict[str, Any]


def decode_value(value: Any) -> Any:
    """The Python value of a protobuf `AnyValue`; bytes become `{"base64": …}`, so that all is JSON."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [decode_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return decode_attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return {"base64": base64.b64encode(value.bytes_value).decode()}
    return getattr(value, kind)


def decode_attributes(attributes: Iterable[Any]) -> Decoded:
    """A dict of a repeated `KeyValue`; of equal keys the last wins."""
    return {attribute.key: decode_value(attribute.value) for attribute in attributes}


# Traces


def decode_spans(body: bytes) -> list[Decoded]:
    """The spans of an `ExportTraceServiceRequest`, each a flat dict with its resource and scope."""
    spans = []
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = decode_attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            scope = {"name": scope_spans.scope.name, "version": scope_spans.scope.version}
            spans += [decode_span(span, resource, scope) for span in scope_spans.spans]
    return spans


def decode_span(span: Span, resource: Decoded, scope: Decoded) -> Decoded:
    """One span with hex ids, lower-case enum names and Unix nanoseconds."""
    return {
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "trace_state": span.trace_state,
        "flags": span.flags,
        "kind": Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        "start_time_unix_nano": span.start_time_unix_nano,
        "end_time_unix_nano": span.end_time_unix_nano,
        "attributes": decode_attributes(span.attributes),
        "dropped_attributes_count": span.dropped_attributes_count,
        "events": [
            {
                "name": event.name,
                "time_unix_nano": event.time_unix_nano,
                "attributes": decode_attributes(event.attributes),
                "dropped_attributes_count": event.dropped_attributes_count,
            }
            for event in span.events
        ],
        "dropped_events_count": span.dropped_events_count,
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "trace_state": link.trace_state,
                "flags": link.flags,
                "attributes": decode_attributes(link.attributes),
                "dropped_attributes_count": link.dropped_attributes_count,
            }
            for link in span.links
        ],
        "dropped_links_count": span.dropped_links_count,
        "status": {
            "code": Status.StatusCode.Name(span.status.code).removeprefix("STATUS_CODE_").lower(),
            "message": span.status.message,
        },
        "resource": resource,
        "scope": scope,
    }


# Metrics


def decode_metrics(body: bytes) -> list[Decoded]:
    """The metrics of an `ExportMetricsServiceRequest`, each with its points."""
    metrics = []
    for resource_metrics in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        resource = decode_attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            scope = {
                "scope": scope_metrics.scope.name,
                "scope_version": scope_metrics.scope.version,
                "schema_url": scope_metrics.schema_url,
            }
            metrics += [
                {**decode_metric(metric), **scope, "resource": resource} for metric in scope_metrics.metrics
            ]
    return metrics


def decode_metric(metric: Metric) -> Decoded:
    """One metric; `temporality` and `monotonic` are None where its type has none."""
    kind = metric.WhichOneof("data") or "gauge"
    data: Any = getattr(metric, kind)
    return {
        "name": metric.name,
        "unit": metric.unit,
        "description": metric.description,
        "type": kind,
        "temporality": None if kind in ("gauge", "summary") else _temporality(data.aggregation_temporality),
        "monotonic": data.is_monotonic if kind == "sum" else None,
        "points": [decode_point(point, kind) for point in data.data_points],
    }


def decode_point(point: Any, kind: str) -> Decoded:
    """A data point: what all have, then what its type adds.

    - sum, gauge: `value`
    - both histograms: `count`; `sum`, `min`, `max`, None when absent
    - histogram: `bounds`, `counts`
    - exponential_histogram: `scale`, `zero_count`, `zero_threshold`; `positive`, `negative`: (offset, counts)
    """
    decoded = {
        "attributes": decode_attributes(point.attributes),
        "start": point.start_time_unix_nano,
        "time": point.time_unix_nano,
        "flags": point.flags,
        "exemplars": [decode_exemplar(exemplar) for exemplar in point.exemplars],
    }
    if kind in ("sum", "gauge"):
        return {**decoded, "value": _number(point)}
    decoded["count"] = point.count
    for name in ("sum", "min", "max"):
        decoded[name] = getattr(point, name) if point.HasField(name) else None
    if kind == "histogram":
        return {**decoded, "bounds": list(point.explicit_bounds), "counts": list(point.bucket_counts)}
    return {
        **decoded,
        "scale": point.scale,
        "zero_count": point.zero_count,
        "zero_threshold": point.zero_threshold,
        "positive": (point.positive.offset, list(point.positive.bucket_counts)),
        "negative": (point.negative.offset, list(point.negative.bucket_counts)),
    }


def decode_exemplar(exemplar: Exemplar) -> Decoded:
    """One exemplar; `attributes` are those that its point left out."""
    return {
        "value": _number(exemplar),
        "time": exemplar.time_unix_nano,
        "trace_id": exemplar.trace_id.hex(),
        "span_id": exemplar.span_id.hex(),
        "attributes": decode_attributes(exemplar.filtered_attributes),
    }


def _number(point: Any) -> int | float | None:
    """`as_int` as an int, `as_double` as a float."""
    kind = point.WhichOneof("value")
    return getattr(point, kind) if kind else None


def _temporality(number: Any) -> str:
    return AggregationTemporality.Name(number).removeprefix("AGGREGATION_TEMPORALITY_").lower()


# Logs


def decode_logs(body: bytes) -> list[Decoded]:
    """The records of an `ExportLogsServiceRequest`, each a flat dict with its resource and scope."""
    records = []
    for resource_logs in ExportLogsServiceRequest.FromString(body).resource_logs:
        resource = decode_attributes(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            scope = {"scope": scope_logs.scope.name, "scope_version": scope_logs.scope.version}
            records += [
                {**decode_log(record), **scope, "resource": resource} for record in scope_logs.log_records
            ]
    return records


def decode_log(record: LogRecord) -> Decoded:
    """One log record; ids are empty outside a span."""
    return {
        "severity_number": int(record.severity_number),
        "severity_text": record.severity_text,
        "body": decode_value(record.body),
        "event_name": record.event_name,
        "attributes": decode_attributes(record.attributes),
        "dropped": record.dropped_attributes_count,
        "time_unix_nano": record.time_unix_nano,
        "observed_time_unix_nano": record.observed_time_unix_nano,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
        "flags": record.flags,
    }
