"""`pytracingx.testing`: what `capture()` records and says, and that its reader sees what the official decoder sees."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp import Decoded, decode_logs, decode_metrics, decode_spans

from pytracingx.testing import _otlp

# What the package never writes, and the official decoder or ours would show in a way of its own.
NOT_WRITTEN = {"summary", "string_value_strindex", "key_strindex"}


def fill(message: Any, chance: random.Random, depth: int = 0) -> None:
    """Give a protobuf message of any type random fields."""
    oneofs = [
        [field for field in group.fields if field.name not in NOT_WRITTEN]
        for group in message.DESCRIPTOR.oneofs
    ]
    chosen = {chance.choice(fields).name for fields in oneofs}
    for field in message.DESCRIPTOR.fields:
        alternative = field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
        if field.name not in chosen if alternative else chance.random() < 0.25:
            continue
        if field.name in NOT_WRITTEN:
            continue
        values = range(chance.randrange(1, 4)) if field.is_repeated else range(1)
        for _ in values:
            if field.type == field.TYPE_MESSAGE:
                # Attribute values nest without end.
                if depth < 12:
                    nested = getattr(message, field.name)
                    fill(nested.add() if field.is_repeated else nested, chance, depth + 1)
                    if not field.is_repeated:
                        nested.SetInParent()
            elif field.is_repeated:
                getattr(message, field.name).append(scalar(field, chance))
            else:
                setattr(message, field.name, scalar(field, chance))


def scalar(field: Any, chance: random.Random) -> Any:
    """A random value of a field's type."""
    bits = {
        field.CPPTYPE_INT32: 31,
        field.CPPTYPE_INT64: 63,
        field.CPPTYPE_UINT32: 32,
        field.CPPTYPE_UINT64: 64,
    }
    if field.cpp_type in bits:
        number = chance.getrandbits(chance.randrange(1, bits[field.cpp_type] + 1))
        signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        return -number if signed and chance.random() < 0.5 else number
    if field.cpp_type == field.CPPTYPE_ENUM:
        return chance.choice(field.enum_type.values).number
    if field.cpp_type == field.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        return chance.choice([0.0, -1.5, 1e300, 5e-324, float("inf"), chance.random()])
    if field.type == field.TYPE_BYTES:
        return chance.randbytes(chance.randrange(20))
    return "".join(chance.choices("a\0é漢🙂", k=chance.randrange(5)))


def as_json(value: Any) -> Any:
    """Bytes as otlp.py shows them."""
    if isinstance(value, bytes):
        import base64

        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def renamed(record: Any, **names: str) -> Decoded:
    """A dataclass with some of its fields under otlp.py's names."""
    return {names.get(name, name): as_json(value) for name, value in asdict(record).items()}


def expected_span(span: Any) -> Decoded:
    fields = renamed(
        span,
        start_time="start_time_unix_nano",
        end_time="end_time_unix_nano",
        dropped_attributes="dropped_attributes_count",
        dropped_events="dropped_events_count",
        dropped_links="dropped_links_count",
    )
    for inner in fields["events"] + fields["links"]:
        inner["dropped_attributes_count"] = inner.pop("dropped_attributes")
    for event in fields["events"]:
        event["time_unix_nano"] = event.pop("time")
    fields["status"] = {"code": fields.pop("status"), "message": fields.pop("status_description")}
    del fields["scope"]["schema_url"]
    return fields


def expected_metric(metric: Any) -> Decoded:
    fields = renamed(metric)
    scope = fields.pop("scope")
    wanted = ["attributes", "exemplars", "flags", "start", "time"]
    wanted += ["value"] if metric.type in ("sum", "gauge") else ["count", "sum", "min", "max"]
    wanted += ["bounds", "counts"] if metric.type == "histogram" else []
    if metric.type == "exponential_histogram":
        wanted += ["scale", "zero_count", "zero_threshold", "positive", "negative"]
    for point in fields["points"]:
        point["start"] = point.pop("start_time")
        for sign in ("positive", "negative"):
            point[sign] = [point[sign]["offset"], point[sign]["counts"]]
    fields["points"] = [{name: point[name] for name in wanted} for point in fields["points"]]
    return {
        **fields,
        "scope": scope["name"],
        "scope_version": scope["version"],
        "schema_url": scope["schema_url"],
    }


def expected_log(record: Any) -> Decoded:
    fields = renamed(
        record,
        time="time_unix_nano",
        observed_time="observed_time_unix_nano",
        dropped_attributes="dropped",
    )
    scope = fields.pop("scope")
    return {**fields, "scope": scope["name"], "scope_version": scope["version"]}


@pytest.mark.parametrize(
    "request_type, official, ours, as_official",
    [
        (ExportTraceServiceRequest, decode_spans, _otlp.spans, expected_span),
        (ExportMetricsServiceRequest, decode_metrics, _otlp.metrics, expected_metric),
        (ExportLogsServiceRequest, decode_logs, _otlp.logs, expected_log),
    ],
    ids=["traces", "metrics", "logs"],
)
@given(chance=st.randoms(use_true_random=True))
@settings(max_examples=150, deadline=None)
def test_both_readers_agree(
    request_type: Any, official: Any, ours: Any, as_official: Any, chance: random.Random
) -> None:
    """On random requests with everything that OTLP has, unknown fields included."""
    request = request_type()
    fill(request, chance)
    body = request.SerializeToString()
    assert [as_official(record) for record in ours(body)] == as_json(official(body))
