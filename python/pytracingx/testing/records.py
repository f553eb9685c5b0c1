"""What `capture()` hands out: spans, metrics and log records as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Union

Attributes = Mapping[str, Any]
"""Values are str, bool, int, float, bytes, and lists and dicts of these."""
Number = Union[int, float]


class _Record:
    """Shows what says something: neither the resource, which all share, nor what is empty or not there."""

    def __repr__(self) -> str:
        shown = [
            f"{each.name}={value!r}"
            for each in fields(self)  # type: ignore[arg-type]
            if each.name != "resource"
            for value in [getattr(self, each.name)]
            if each.name == "value"
            or value != (each.default if each.default_factory is MISSING else each.default_factory())
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class Scope(_Record):
    """What get_tracer, get_meter or get_logger was given."""

    name: str = ""
    version: str = ""
    schema_url: str = ""


@dataclass(frozen=True, repr=False)
class Event(_Record):
    """An event of a span."""

    name: str = ""
    time: int = 0
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0


@dataclass(frozen=True, repr=False)
class Link(_Record):
    """A link of a span."""

    trace_id: str = ""
    span_id: str = ""
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    flags: int = 0


@dataclass(frozen=True, repr=False)
class Span(_Record):
    """An ended span. Ids are hex, times Unix nanoseconds; `parent_span_id` is "" for a root."""

    name: str = ""
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    kind: str = "unspecified"
    start_time: int = 0
    end_time: int = 0
    status: str = "unset"
    status_description: str = ""
    attributes: Attributes = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    dropped_attributes: int = 0
    dropped_events: int = 0
    dropped_links: int = 0
    trace_state: str = ""
    flags: int = 0
    scope: Scope = Scope()
    resource: Attributes = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Exemplar(_Record):
    """A measurement that stands for others; `attributes` are those that its point does not have."""

    value: Number = 0
    time: int = 0
    trace_id: str = ""
    span_id: str = ""
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Buckets(_Record):
    """Buckets of an exponential histogram: `counts[i]` is that of index `offset + i`."""

    offset: int = 0
    counts: tuple[int, ...] = ()


@dataclass(frozen=True, repr=False)
class Point(_Record):
    """What one attribute set of a metric has come to, between `start_time` and `time`.

    Sums and gauges have a `value`. Histograms have `count`, `sum`, `min` and `max` (None when not known), and
    either `bounds` and `counts` (one more) or, if exponential, `scale`, `zero_count`, `positive`, `negative`.
    """

    attributes: Attributes = field(default_factory=dict)
    value: Number = 0
    count: int = 0
    sum: float | None = None
    min: float | None = None
    max: float | None = None
    bounds: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    scale: int = 0
    zero_count: int = 0
    zero_threshold: float = 0.0
    positive: Buckets = Buckets()
    negative: Buckets = Buckets()
    exemplars: tuple[Exemplar, ...] = ()
    start_time: int = 0
    time: int = 0
    flags: int = 0


@dataclass(frozen=True, repr=False)
class Metric(_Record):
    """A metric: its `type` is "sum", "gauge", "histogram" or "exponential_histogram".

    `temporality` is "cumulative" or "delta", None for a gauge; `monotonic` is None for all but sums.
    """

    name: str = ""
    type: str = ""
    unit: str = ""
    description: str = ""
    temporality: str | None = None
    monotonic: bool | None = None
    points: tuple[Point, ...] = ()
    scope: Scope = Scope()
    resource: Attributes = field(default_factory=dict)

    def point(self, attributes: Attributes | None = None) -> Point:
        """The point of exactly these attributes; AssertionError if there is none."""
        wanted = dict(attributes or {})
        for point in self.points:
            if point.attributes == wanted:
                return point
        seen = [point.attributes for point in self.points]
        raise AssertionError(f"{self.name} has no point with attributes {wanted}; it has {seen}")


@dataclass(frozen=True, repr=False)
class LogRecord(_Record):
    """A log record. Ids are "" outside a span, times Unix nanoseconds, 0 when not given."""

    body: Any = None
    severity_number: int = 0
    severity_text: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes: int = 0
    event_name: str = ""
    time: int = 0
    observed_time: int = 0
    trace_id: str = ""
    span_id: str = ""
    flags: int = 0
    scope: Scope = Scope()
    resource: Attributes = field(default_factory=dict)
