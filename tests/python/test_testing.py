"""`pytracingx.testing`: what `capture()` records and says, and that its reader sees what the official decoder sees."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import pytest
from conftest import RunPython
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp import Decoded, decode_logs, decode_metrics, decode_spans
from otlp_server import OtlpServer

import pytracingx as ptx
from pytracingx.testing import RecordingError, Scope, _otlp, capture

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


# Sessions


def test_spans_are_captured(collector: OtlpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a span holds, while the session goes on and after its end; no connection is opened."""
    monkeypatch.setattr("pytracingx.testing.ENDPOINT", collector.endpoint)
    now = ptx.now()
    remote = ptx.SpanContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "a=b")
    with capture("svc", resource_attributes={"deployment.environment": "test"}) as captured:
        tracer = ptx.get_tracer("library", "1.2")
        with tracer.start_span(
            "op", {"list": [1, 2.5, None], "dict": {"bytes": b"\0"}}, "server", links=[remote]
        ) as span:
            span.add_event("event", {"yes": True}, now)
        first = captured.span("op")
        assert captured.spans == [first]
        ptx.record_span("child", now - 2, now, parent=span, status=("error", "why"))
    assert [found.name for found in captured.spans] == ["op", "child"] and captured.span("op") == first
    assert (first.trace_id, first.span_id, first.parent_span_id) == (span.trace_id(), span.span_id(), "")
    assert (first.kind, first.status, first.scope) == ("server", "unset", Scope("library", "1.2"))
    assert first.attributes == {"list": [1, 2.5, None], "dict": {"bytes": b"\0"}}
    [event], [link] = first.events, first.links
    assert (event.name, event.time, event.attributes) == ("event", now, {"yes": True})
    assert (link.trace_id, link.span_id, link.trace_state) == (remote.trace_id, remote.span_id, "a=b")
    assert first.resource["service.name"] == "svc" and first.resource["deployment.environment"] == "test"
    child = captured.span("child")
    assert (child.trace_id, child.parent_span_id) == (first.trace_id, first.span_id)
    assert (child.start_time, child.end_time) == (now - 2, now)
    assert (child.status, child.status_description) == ("error", "why")
    assert collector.connections == 0


def test_metrics_are_captured() -> None:
    """Every type; totals as collected last, so that looking twice changes nothing."""
    meter = ptx.get_meter("test.capture", "3", "https://schema")
    counter = meter.counter("counter", unit="{x}", description="what")
    with capture(views=[ptx.View("narrow", boundaries=[1, 2])]) as captured:
        counter.add(1, {"k": "a"})
        counter.add(2.5, {"k": "b"})
        meter.up_down_counter("up_down").add(-3)
        meter.gauge("gauge").record(4)
        for value in (1, 2, 2.5):
            meter.histogram("narrow").record(value)
            meter.histogram("exponential", aggregation="exponential").record(value)
        assert captured.metric("counter").point({"k": "a"}).value == 1
        counter.add(10, {"k": "a"})
        assert len(captured.metrics) == 5
    metric = captured.metric("counter")
    assert (metric.type, metric.unit, metric.description) == ("sum", "{x}", "what")
    assert (metric.temporality, metric.monotonic) == ("cumulative", True)
    assert metric.scope == Scope("test.capture", "3", "https://schema")
    assert metric.point({"k": "a"}).value == 11 and metric.point({"k": "b"}).value == 2.5
    with pytest.raises(AssertionError, match=r"counter has no point with attributes \{\}; it has"):
        metric.point()
    up_down = captured.metric("up_down")
    assert (up_down.point().value, up_down.monotonic) == (-3, False)
    gauge = captured.metric("gauge")
    assert (gauge.type, gauge.temporality, gauge.monotonic, gauge.point().value) == ("gauge", None, None, 4)
    narrow = captured.metric("narrow").point()
    assert (narrow.count, narrow.sum, narrow.min, narrow.max) == (3, 5.5, 1, 2.5)
    assert (narrow.bounds, narrow.counts) == ((1, 2), (1, 1, 1))
    exponential = captured.metric("exponential").point()
    assert (exponential.count, exponential.scale, sum(exponential.positive.counts)) == (3, 6, 3)
    assert sorted(found.name for found in captured.metrics) == [
        *("counter", "exponential", "gauge", "narrow", "up_down")
    ]


def test_observable_instruments_are_asked(run_python: RunPython) -> None:
    """At each look. In a process of its own: instruments live as long as it."""
    done = run_python(
        """
        from pytracingx.testing import RecordingError, capture
        meter, values = ptx.get_meter("test.capture"), iter([7, 8, 9])
        meter.observable_gauge("asked", lambda: next(values))
        with capture(strict=True) as captured:
            first = captured.metric("asked").point().value
            assert captured.metric("asked").point().value == first + 1
        assert captured.metric("asked").point().value == first + 2
        try:
            with capture(strict=True):
                pass
        except RecordingError as error:
            answer([first, error.problems])
        """
    )
    assert done.answer == [7, ["1 failures of callbacks of observable instruments"]]


def test_deltas_are_kept_for_every_collection() -> None:
    counter = ptx.get_meter("test.capture").counter("deltas")
    with capture(temporality="delta") as captured:
        counter.add(1)
        assert captured.spans == []  # a look, so a collection
        counter.add(2)
        assert [metric.point().value for metric in captured.metrics] == [1, 2]
        assert captured.metric("deltas").point().value == 2
        counter.add(4)
    assert [metric.point().value for metric in captured.metrics] == [1, 2, 4]
    assert {metric.temporality for metric in captured.metrics} == {"delta"}


def test_logs_are_captured() -> None:
    """Every level, unless log_filter says otherwise."""
    logger = ptx.get_logger("test.capture", "3")
    with capture() as captured:
        with ptx.start_span("op") as span:
            logger.trace("quiet", attributes={"n": 1, "list": ["a", b"b"]})
        ptx.emit_log_record(
            "other", "m", severity_number=18, severity_text="BAD", body={"a": [1]}, timestamp=ptx.now()
        )
    quiet = captured.log("quiet")
    assert (quiet.severity_number, quiet.severity_text) == (1, "TRACE")
    assert quiet.attributes == {"n": 1, "list": ["a", b"b"]}
    assert (quiet.trace_id, quiet.span_id) == (span.trace_id(), span.span_id())
    assert quiet.scope == Scope("test.capture", "3")
    assert quiet.time and quiet.observed_time
    other = captured.log({"a": [1]})
    assert (other.severity_number, other.severity_text, other.trace_id) == (18, "BAD", "")
    with capture(log_filter="warn") as captured:
        logger.info("filtered")
        logger.warn("kept")
    assert [record.body for record in captured.logs] == ["kept"]


def test_each_session_begins_empty_and_alone() -> None:
    outer = ptx.start_span("left open")
    with capture() as first:
        assert ptx.current_trace_context() == {"trace_id": None, "span_id": None}
        ptx.start_span("one").end()
        with pytest.raises(ptx.ConfigError, match="already initialized"), capture():
            pass
        ptx.start_span("two").end()
    assert not ptx.is_initialized()
    with capture() as second:
        ptx.start_span("three").end()
        assert [span.name for span in first.spans] == ["one", "two"]
    assert [span.name for span in second.spans] == ["three"]
    outer.end()


def test_what_is_asked_for_must_be_there_once() -> None:
    with capture() as captured:
        ptx.start_span("twice").end()
        ptx.start_span("twice").end()
        with pytest.raises(AssertionError, match=r"2 records with name 'twice' among \['twice', 'twice'\]"):
            captured.span("twice")
        with pytest.raises(AssertionError, match="0 records with name 'none'"):
            captured.span("none")
        with pytest.raises(AssertionError, match="no metric 'none' among"):
            captured.metric("none")
        with pytest.raises(AssertionError, match="0 records with body 'none'"):
            captured.log("none")


def test_arguments_are_those_of_config() -> None:
    with pytest.raises(ptx.ConfigError, match="temporality"):
        capture(temporality="sometimes")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sinks"):
        capture(sinks=[])
    with pytest.raises(ptx.ConfigError, match="exit_timeout_ms"):
        capture(exit_timeout_ms=-1)
    assert not ptx.is_initialized()


def test_the_environment_does_not_turn_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("RUST_LOG", "off")
    with capture() as captured:
        ptx.start_span("op").end()
    assert captured.span("op")


def test_strict_raises_on_what_is_only_counted() -> None:
    meter = ptx.get_meter("test.strict")
    with pytest.raises(RecordingError) as raised, capture(strict=True):
        ptx.record_span("late", 1.5, ptx.now(), {str(n): n for n in range(130)})  # type: ignore[arg-type]
        ptx.start_span("dropped", activate=False)
        with ptx.start_span("full") as span:
            for n in range(129):
                span.add_event(str(n))
            span.add_event("", {str(n): n for n in range(200)})
            span.add_link(span.context, {str(n): n for n in range(129)})
        ptx.get_logger("test.capture").info("long", attributes={str(n): n for n in range(131)})
        meter.counter("strict").add(-1)
        meter.counter("strict").add("1")  # type: ignore[arg-type]
        meter.histogram("strict.times").record(float("nan"))
        meter.counter("strict", unit="s").add(1)
    assert raised.value.problems == [
        "1 spans were never ended",
        "1 times were not integer Unix nanoseconds",
        "1 measurements ignored: negative",
        "1 measurements ignored: NaN or infinite",
        "1 measurements ignored: not a number",
        "1 instruments made again with another definition",
        "span 'late': 2 attributes left out: beyond the limit, redacted or not usable",
        "span 'full': 2 events left out: beyond the limit",
        "a link of span 'full': 1 attributes left out: beyond the limit, redacted or not usable",
        "log record 'long': 3 attributes left out: beyond the limit, redacted or not usable",
    ]
    assert str(raised.value).startswith(
        "telemetry was lost or changed:\n- 1 spans were never ended\n- 1 times"
    )


def test_strict_is_quiet_about_a_clean_session_and_another_exception() -> None:
    with capture(strict=True) as captured, ptx.start_span("op"):
        ptx.force_flush()
    assert captured.span("op")
    with pytest.raises(KeyError), capture(strict=True):
        ptx.record_span("late", 1.5, 2)  # type: ignore[arg-type]
        raise KeyError


def test_a_program_may_end_the_session_or_begin_its_own() -> None:
    with capture() as captured:
        ptx.start_span("op").end()
        ptx.shutdown()
        assert captured.span("op")
        ptx.init(ptx.Config("own", console_output=False))
        ptx.start_span("elsewhere").end()
    assert [span.name for span in captured.spans] == ["op"]


def test_a_forked_child_sees_its_own(run_python: RunPython) -> None:
    done = run_python(
        """
        from pytracingx.testing import capture
        with capture() as captured:
            ptx.start_span("parent").end()
            assert captured.span("parent")
            pid = os.fork()
            if pid == 0:
                empty = len(captured.spans)
                ptx.start_span("child").end()
                answer([empty, [span.name for span in captured.spans]])
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
        assert [span.name for span in captured.spans] == ["parent"]
        """
    )
    assert done.answer == [0, ["child"]]


def test_check_and_stats_know_it_sends_nothing() -> None:
    with capture():
        ptx.start_span("op").end()
        assert ptx.check() == [] and ptx.force_flush()
        [sink] = ptx.stats()["trace_sinks"]
        assert (sink["exported"], sink["requests"]) == (1, 1)


def test_what_an_assertion_shows_is_short() -> None:
    """Neither the resource nor what is empty; a value of zero is shown."""
    with capture() as captured:
        ptx.get_meter("test.shown").up_down_counter("level", unit="By").add(0, {"k": 1})
        ptx.start_span("bare", activate=False).end()
    point = captured.metric("level").point({"k": 1})
    assert repr(point) == (
        f"Point(attributes={{'k': 1}}, value=0, start_time={point.start_time}, time={point.time})"
    )
    shown = repr(captured.span("bare"))
    assert shown.startswith("Span(name='bare', trace_id='") and "kind='internal'" in shown
    assert "resource" not in shown and "events" not in shown and "status" not in shown
