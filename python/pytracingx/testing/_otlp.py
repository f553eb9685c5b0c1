"""OTLP request bodies as dataclasses: a small protobuf reader, and OTLP's schema as far as we write it.

What it does not know it skips; what is no protobuf may raise anything.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from .records import Buckets, Event, Exemplar, Link, LogRecord, Metric, Point, Scope, Span


def spans(body: bytes) -> Iterator[Span]:
    """The spans of an ExportTraceServiceRequest."""
    for fields, shared in _records(body, _TRACES):
        yield Span(**fields, **shared)


def metrics(body: bytes) -> Iterator[Metric]:
    """The metrics of an ExportMetricsServiceRequest."""
    for fields, shared in _records(body, _METRICS):
        yield Metric(**fields, **shared)


def logs(body: bytes) -> Iterator[LogRecord]:
    """The records of an ExportLogsServiceRequest."""
    for fields, shared in _records(body, _LOGS):
        yield LogRecord(**fields, **shared)


# Reading protobuf. A message is a table of its fields by number; what is not in it is skipped.


class _Field(NamedTuple):
    name: str
    """The key in what `_read` returns; "*" merges a nested message into its parent."""
    read: Callable[[Any], Any]
    """From an int (wire type 0) or bytes (all others)."""
    collect: Callable[[list[Any]], Any] | None = None
    """Of a repeated field: what to make of its values."""


_Schema = dict[int, _Field]


def _read(body: bytes, schema: _Schema) -> dict[str, Any]:
    """The fields that the message has, by name."""
    values: dict[str, Any] = {}
    repeated: dict[_Field, list[Any]] = {}
    for number, raw in _split(body):
        entry = schema.get(number)
        if entry is None:
            continue
        value = entry.read(raw)
        if entry.collect is not None:
            repeated.setdefault(entry, []).append(value)
        elif entry.name == "*":
            values.update(value)
        else:
            values[entry.name] = value
    for entry, items in repeated.items():
        assert entry.collect is not None
        values[entry.name] = entry.collect(items)
    return values


def _split(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message: an int for varints, the bytes of all others."""
    position = 0
    while position < len(body):
        tag, position = _varint(body, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(body, position)
            yield tag >> 3, value
            continue
        if wire == 2:
            length, position = _varint(body, position)
        else:
            length = {1: 8, 5: 4}[wire]
        yield tag >> 3, body[position : position + length]
        position += length


def _varint(body: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _varints(body: bytes) -> tuple[int, ...]:
    position, values = 0, []
    while position < len(body):
        value, position = _varint(body, position)
        values.append(value)
    return tuple(values)


def _signed(raw: int) -> int:
    return raw - (1 << 64) if raw >> 63 else raw


def _zigzag(raw: int) -> int:
    return (raw >> 1) ^ -(raw & 1)


def _fixed(raw: bytes) -> int:
    return int.from_bytes(raw, "little")


def _signed_fixed(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _double(raw: bytes) -> float:
    (value,) = struct.unpack("<d", raw)
    return float(value)


def _fixeds(raw: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(raw) // 8}Q", raw)


def _doubles(raw: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(raw) // 8}d", raw)


def _enum(*names: str) -> Callable[[int], str]:
    return lambda raw: names[raw]


def _message(schema: _Schema, build: Callable[..., Any] = dict) -> Callable[[bytes], Any]:
    """Reads a nested message, and builds something of its fields."""
    return lambda raw: build(**_read(raw, schema))


# The schema. Field numbers are those of opentelemetry-proto.


def _any(value: Any = None) -> Any:
    return value


def _pair(key: str = "", value: Any = None) -> tuple[str, Any]:
    return key, value


_ANY_VALUE: _Schema = {}
_KEY_VALUE = {1: _Field("key", bytes.decode), 2: _Field("value", _message(_ANY_VALUE, _any))}
_LIST = {1: _Field("value", _message(_ANY_VALUE, _any), list)}
_DICT = {1: _Field("value", _message(_KEY_VALUE, _pair), dict)}
_ANY_VALUE.update(
    {
        1: _Field("value", bytes.decode),
        2: _Field("value", bool),
        3: _Field("value", _signed),
        4: _Field("value", _double),
        5: _Field("value", _message(_LIST, lambda value=(): list(value))),
        6: _Field("value", _message(_DICT, lambda value=(): dict(value))),
        7: _Field("value", bytes),
    }
)


def _attributes(name: str = "attributes") -> _Field:
    return _Field(name, _message(_KEY_VALUE, _pair), dict)


def _request(record: _Schema) -> _Schema:
    """Request, resource and scope of the three signals differ in their names only."""
    scope = {1: _Field("name", bytes.decode), 2: _Field("version", bytes.decode)}
    scope_records = {
        1: _Field("scope", _message(scope)),
        2: _Field("records", _message(record), list),
        3: _Field("schema_url", bytes.decode),
    }
    resource_records = {
        1: _Field("*", _message({1: _attributes("resource")})),
        2: _Field("scopes", _message(scope_records), list),
    }
    return {1: _Field("resources", _message(resource_records), list)}


def _records(body: bytes, request: _Schema) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The fields of each record, and those that it shares with others."""
    for of_resource in _read(body, request).get("resources", ()):
        for of_scope in of_resource.get("scopes", ()):
            scope = Scope(**of_scope.get("scope", {}), schema_url=of_scope.get("schema_url", ""))
            shared = {"scope": scope, "resource": of_resource.get("resource", {})}
            for fields in of_scope.get("records", ()):
                yield fields, shared


_TRACES = _request(
    {
        1: _Field("trace_id", bytes.hex),
        2: _Field("span_id", bytes.hex),
        3: _Field("trace_state", bytes.decode),
        4: _Field("parent_span_id", bytes.hex),
        5: _Field("name", bytes.decode),
        6: _Field("kind", _enum("unspecified", "internal", "server", "client", "producer", "consumer")),
        7: _Field("start_time", _fixed),
        8: _Field("end_time", _fixed),
        9: _attributes(),
        10: _Field("dropped_attributes", int),
        11: _Field(
            "events",
            _message(
                {
                    1: _Field("time", _fixed),
                    2: _Field("name", bytes.decode),
                    3: _attributes(),
                    4: _Field("dropped_attributes", int),
                },
                Event,
            ),
            tuple,
        ),
        12: _Field("dropped_events", int),
        13: _Field(
            "links",
            _message(
                {
                    1: _Field("trace_id", bytes.hex),
                    2: _Field("span_id", bytes.hex),
                    3: _Field("trace_state", bytes.decode),
                    4: _attributes(),
                    5: _Field("dropped_attributes", int),
                    6: _Field("flags", _fixed),
                },
                Link,
            ),
            tuple,
        ),
        14: _Field("dropped_links", int),
        15: _Field(
            "*",
            _message(
                {
                    2: _Field("status_description", bytes.decode),
                    3: _Field("status", _enum("unset", "ok", "error")),
                }
            ),
        ),
        16: _Field("flags", _fixed),
    }
)

_EXEMPLAR = {
    2: _Field("time", _fixed),
    3: _Field("value", _double),
    4: _Field("span_id", bytes.hex),
    5: _Field("trace_id", bytes.hex),
    6: _Field("value", _signed_fixed),
    7: _attributes(),
}
_EXEMPLARS = _Field("exemplars", _message(_EXEMPLAR, Exemplar), tuple)
_BUCKETS = _message({1: _Field("offset", _zigzag), 2: _Field("counts", _varints)}, Buckets)
_POINT = {2: _Field("start_time", _fixed), 3: _Field("time", _fixed)}
_HISTOGRAM = {**_POINT, 4: _Field("count", _fixed), 5: _Field("sum", _double), 10: _Field("flags", int)}


def _metric(kind: str, point: _Schema) -> _Field:
    """One of the alternatives of a Metric's data."""
    data = {
        1: _Field("points", _message(point, Point), tuple),
        2: _Field("temporality", _enum("unspecified", "delta", "cumulative")),
        3: _Field("monotonic", bool),
    }
    absent: dict[str, Any] = {} if kind == "gauge" else {"temporality": "unspecified"}
    if kind == "sum":
        absent["monotonic"] = False
    return _Field("*", _message(data, lambda **given: {"type": kind, **absent, **given}))


_NUMBER = {
    **_POINT,
    4: _Field("value", _double),
    5: _EXEMPLARS,
    6: _Field("value", _signed_fixed),
    7: _attributes(),
    8: _Field("flags", int),
}
_METRICS = _request(
    {
        1: _Field("name", bytes.decode),
        2: _Field("description", bytes.decode),
        3: _Field("unit", bytes.decode),
        5: _metric("gauge", _NUMBER),
        7: _metric("sum", _NUMBER),
        9: _metric(
            "histogram",
            {
                **_HISTOGRAM,
                6: _Field("counts", _fixeds),
                7: _Field("bounds", _doubles),
                8: _EXEMPLARS,
                9: _attributes(),
                11: _Field("min", _double),
                12: _Field("max", _double),
            },
        ),
        10: _metric(
            "exponential_histogram",
            {
                **_HISTOGRAM,
                1: _attributes(),
                6: _Field("scale", _zigzag),
                7: _Field("zero_count", _fixed),
                8: _Field("positive", _BUCKETS),
                9: _Field("negative", _BUCKETS),
                11: _EXEMPLARS,
                12: _Field("min", _double),
                13: _Field("max", _double),
                14: _Field("zero_threshold", _double),
            },
        ),
    }
)

_LOGS = _request(
    {
        1: _Field("time", _fixed),
        2: _Field("severity_number", int),
        3: _Field("severity_text", bytes.decode),
        5: _Field("body", _message(_ANY_VALUE, _any)),
        6: _attributes(),
        7: _Field("dropped_attributes", int),
        8: _Field("flags", _fixed),
        9: _Field("trace_id", bytes.hex),
        10: _Field("span_id", bytes.hex),
        11: _Field("observed_time", _fixed),
        12: _Field("event_name", bytes.decode),
    }
)
