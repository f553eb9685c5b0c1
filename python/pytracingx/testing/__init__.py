"""For tests of programs that record: everything stays in memory, and can be looked at.

    from pytracingx.testing import capture

    def test_a_request_is_traced():
        with capture(strict=True) as captured:
            handle(request)
        assert captured.span("POST /orders").attributes["http.response.status_code"] == 201
        assert captured.metric("orders").point({"country": "no"}).value == 1
        assert captured.log("order stored").trace_id == captured.span("POST /orders").trace_id

What is captured has passed the ordinary way, up to the finished OTLP requests; only the network is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, TypeVar

from .. import _native
from . import _otlp
from .records import Buckets, Event, Exemplar, Link, LogRecord, Metric, Point, Scope, Span

_Record = TypeVar("_Record", Span, LogRecord)

ENDPOINT = "http://in-memory"  # never contacted
NEVER_MS = 2**31 - 1


class RecordingError(AssertionError):
    """What `capture(strict=True)` found; `problems` has a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n- ".join(["telemetry was lost or changed:", *problems]))
        self.problems = problems


def capture(
    service_name: str = "test",
    *,
    strict: bool = False,
    temporality: Literal["cumulative", "delta", "lowmemory"] = "cumulative",
    **options: Any,
) -> Captured:
    """Record into memory: a session from `with` to its end, nothing current at its beginning.

    Args:
        service_name: As for Config.
        strict: Raise RecordingError at the end for all that is otherwise only counted: records dropped, spans
            never ended, unusable times, measurements ignored, conflicting instruments, attributes left out
            (beyond a limit, redacted, not a mapping, without a key). A span that is still open and referenced
            is not seen. Not when an exception leaves `with`.
        temporality: "cumulative", "delta" or "lowmemory", as for MetricSink.
        options: Other arguments of Config, `sinks` excepted. The console is off and every log level recorded,
            unless `console_output` or `log_filter` say otherwise.

    Returns:
        A context manager that gives itself.

    Raises:
        ConfigError: A session is active already, or an argument that is not allowed.
    """
    sinks: list[_native._Sink] = [
        _native.TraceSink(ENDPOINT, "http"),
        _native.MetricSink(ENDPOINT, "http", temporality=temporality, export_interval_ms=NEVER_MS),
        _native.OtlpLogSink(ENDPOINT, "http"),
    ]
    options = {"console_output": False, "log_filter": "trace", **options}
    return Captured(_native.Config(service_name, sinks=sinks, **options), strict)


class Captured:
    """What was recorded so far. Each look flushes, which collects metrics; one may look after the end too."""

    def __init__(self, config: _native.Config, strict: bool) -> None:
        self._config = config
        self._strict = strict
        self._active = False
        self._requests: list[list[bytes]] = [[], [], []]

    @property
    def spans(self) -> list[Span]:
        """All spans that have ended, those of one thread in the order of their ends."""
        return [span for body in self._look()[0] for span in _otlp.spans(body)]

    @property
    def metrics(self) -> list[Metric]:
        """All metrics: totals and gauges as collected last, of deltas those of every collection, in order."""
        metrics: dict[tuple[object, ...], Metric] = {}
        for body in self._look()[1]:
            for metric in _otlp.metrics(body):
                time = metric.points[0].time
                window = time if metric.temporality == "delta" else None
                key = (metric.scope, metric.name, metric.type, metric.unit, window)
                before = metrics.get(key)
                if before and before.points[0].time == time:  # one collection, several requests
                    metric = replace(metric, points=before.points + metric.points)
                metrics[key] = metric
        return list(metrics.values())

    @property
    def logs(self) -> list[LogRecord]:
        """All log records, those of one thread in order."""
        return [record for body in self._look()[2] for record in _otlp.logs(body)]

    def span(self, name: str) -> Span:
        """The only span of this name; AssertionError if there is none, or more than one."""
        return _only(self.spans, "name", name)

    def metric(self, name: str) -> Metric:
        """The metric of this name, as collected last; AssertionError if there is none."""
        metrics = self.metrics
        found = [metric for metric in metrics if metric.name == name]
        if not found:
            raise AssertionError(f"no metric {name!r} among {sorted({metric.name for metric in metrics})}")
        return found[-1]

    def log(self, body: Any) -> LogRecord:
        """The only log record with this body; AssertionError if there is none, or more than one."""
        return _only(self.logs, "body", body)

    def __enter__(self) -> Captured:
        _native._capture(self._config)
        self._active = True
        self._outside = _native.extract_headers({})
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._outside.restore()
        complete = _native.shutdown()
        self._look()
        self._active = False
        if self._strict and exc_type is None:
            problems = [*_counted(_native.stats()), *self._cut()]
            if not complete:
                problems.append("shutdown did not end in time")
            if problems:
                raise RecordingError(problems)

    def _look(self) -> list[list[bytes]]:
        """The bodies of all trace, metric and log requests."""
        if self._active:
            _native.force_flush()
            # None: the program has begun a session of its own since.
            self._requests = _native._captured() or self._requests
        return self._requests

    def _cut(self) -> Iterator[str]:
        """What limits have taken from records."""
        for span in self.spans:
            yield from _limited(f"span {span.name!r}", span)
            for event in span.events:
                yield from _limited(f"event {event.name!r} of span {span.name!r}", event)
            for link in span.links:
                yield from _limited(f"a link of span {span.name!r}", link)
        for record in self.logs:
            yield from _limited(f"log record {record.body!r:.80}", record)


def _only(records: list[_Record], key: str, value: Any) -> _Record:
    found = [record for record in records if getattr(record, key) == value]
    if len(found) != 1:
        seen = [getattr(record, key) for record in records]
        raise AssertionError(f"{len(found)} records with {key} {value!r} among {seen}")
    return found[0]


def _limited(what: str, record: object) -> Iterator[str]:
    for kind in ("attributes", "events", "links"):
        dropped = getattr(record, f"dropped_{kind}", 0)
        if dropped:
            why = "beyond the limit, redacted or not usable" if kind == "attributes" else "beyond the limit"
            yield f"{what}: {dropped} {kind} left out: {why}"


COUNTS = {
    ("spans", "abandoned"): "spans were never ended",
    ("unusable_times",): "times were not integer Unix nanoseconds",
    ("measurements", "internal"): "measurements lost by a bug of pytracingx",
    ("measurements", "shutdown"): "measurements too late for the last collection",
    ("measurements", "negative"): "measurements ignored: negative",
    ("measurements", "not_finite"): "measurements ignored: NaN or infinite",
    ("measurements", "not_a_number"): "measurements ignored: not a number",
    ("measurements", "overflowed"): "measurements beyond the cardinality limit",
    ("measurements", "conflicts"): "instruments made again with another definition",
    ("measurements", "late_observations"): "collections of observable instruments that did not end in time",
    ("measurements", "callback_errors"): "failures of callbacks of observable instruments",
    ("exporter_restarts",): "restarts of the exporter, after a bug of pytracingx",
}


def _counted(stats: Mapping[str, Any]) -> Iterator[str]:
    """What is otherwise only counted."""
    for path, what in COUNTS.items():
        count: Any = stats
        for key in path:
            count = count.get(key, {})
        if count:
            yield f"{count} {what}"
    dropped = [(signal, stats.get(signal, {})) for signal in ("spans", "logs")]
    for sinks, signal in (("trace_sinks", "spans"), ("metric_sinks", "data points"), ("log_sinks", "logs")):
        dropped += [(signal, sink) for sink in stats.get(sinks, [])]
    for signal, counts in dropped:
        for reason, count in counts.get("dropped", {}).items():
            yield f"{count} {signal} dropped: {reason}"


__all__ = [
    "Buckets",
    "Captured",
    "Event",
    "Exemplar",
    "Link",
    "LogRecord",
    "Metric",
    "Point",
    "RecordingError",
    "Scope",
    "Span",
    "capture",
]
