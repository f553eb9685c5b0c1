"""Exemplars: which measurements leave one, of which span, and that there are few of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from otlp_server import Decoded, OtlpServer

import pytracingx as ptx

METER = ptx.get_meter("exemplars")


class Session:
    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector

    def begin(self, sampler: str = "always_on", temporality: Any = "delta", **options: Any) -> None:
        ptx.shutdown()
        sinks = [
            ptx.TraceSink(self.collector.endpoint, "http", sampler=sampler),
            ptx.MetricSink(self.collector.endpoint, "http", temporality=temporality),
        ]
        ptx.init(ptx.Config("svc", sinks=sinks, **options))

    def of(self, name: str) -> list[Decoded]:
        assert ptx.force_flush()
        (point,) = self.collector.points(name)
        return list(point["exemplars"])


@pytest.fixture
def session(collector: OtlpServer) -> Iterator[Session]:
    yield Session(collector)
    ptx.shutdown()


def ids(exemplars: list[Decoded]) -> set[tuple[str, str]]:
    return {(exemplar["trace_id"], exemplar["span_id"]) for exemplar in exemplars}


@pytest.mark.parametrize("aggregation", ["explicit", "exponential"])
def test_of_each_bucket_the_span_that_was_measured_in(session: Session, aggregation: Any) -> None:
    """By every way to record; values, times and ids are the measurement's."""
    session.begin()
    histogram = METER.histogram(f"each.{aggregation}", aggregation=aggregation)
    spans = []
    calls = [histogram.record, histogram.bind({}).record, lambda value: histogram.record_many([value])]
    for value, call in zip((1, 60, 3000), calls):
        with ptx.start_span("op") as span:
            began = ptx.now()
            call(value)
            ended = ptx.now()
            spans.append((span.trace_id(), span.span_id(), value, began, ended))
    exemplars = {exemplar["value"]: exemplar for exemplar in session.of(f"each.{aggregation}")}
    assert exemplars.keys() == {1, 60, 3000}
    for trace_id, span_id, value, began, ended in spans:
        exemplar = exemplars[value]
        assert (exemplar["trace_id"], exemplar["span_id"]) == (trace_id, span_id)
        assert began - 1_000_000 <= exemplar["time"] <= ended + 1_000_000
        assert exemplar["attributes"] == {}


@pytest.mark.parametrize("exemplar_filter", ["trace_based", "always_on", "always_off"])
@pytest.mark.parametrize("inside", ["sampled", "unsampled", "nothing"])
def test_who_leaves_one(session: Session, exemplar_filter: Any, inside: str) -> None:
    session.begin("always_off" if inside == "unsampled" else "always_on", exemplar_filter=exemplar_filter)
    histogram, counter = METER.histogram("who.histogram"), METER.counter("who.counter")
    gauge, up_down = METER.gauge("who.gauge"), METER.up_down_counter("who.up_down")

    def measure() -> None:
        for call in (histogram.record, counter.add, gauge.set, up_down.add):
            call(1)

    expected = set()
    if inside == "nothing":
        measure()
    else:
        with ptx.start_span("op") as span:
            measure()
        if inside == "sampled":
            expected = {(span.trace_id(), span.span_id())}
    of_histogram, of_counter = session.of("who.histogram"), session.of("who.counter")
    if exemplar_filter == "always_off" or (exemplar_filter == "trace_based" and inside != "sampled"):
        assert of_histogram == of_counter == []
        return
    assert len(of_histogram) == 1
    assert expected <= ids(of_histogram)
    if exemplar_filter == "trace_based":
        assert of_counter == []
    else:
        assert len(of_counter) == 1 and expected <= ids(of_counter)


def test_there_are_few_and_each_window_has_its_own(session: Session) -> None:
    """Of thousands of measurements a fixed number; also in a cumulative sink none is told twice."""
    session.begin(temporality="cumulative")
    histogram = METER.histogram("few.explicit", boundaries=[10, 20])
    exponential = METER.histogram("few.exponential", aggregation="exponential")
    seen: set[tuple[str, str]] = set()
    for _ in range(3):
        window = set()
        for index in range(2000):
            with ptx.start_span("op") as span:
                histogram.record(index % 30)
                exponential.record(index)
                window.add((span.trace_id(), span.span_id()))
        exemplars = session.of("few.explicit")
        assert len(exemplars) == 3
        assert {min(int(exemplar["value"]) // 10.0001, 2) for exemplar in exemplars} == {0, 1, 2}
        assert 0 < len(session.collector.points("few.exponential")[0]["exemplars"]) <= 20
        assert ids(exemplars) <= window and not ids(exemplars) & seen
        seen |= ids(exemplars)
    assert ptx.force_flush()
    assert session.collector.points("few.explicit")[0]["exemplars"] == []


def test_what_a_view_left_out(session: Session) -> None:
    session.begin(views=[ptx.View(instrument_name="kept", attribute_keys=["k"])])
    with ptx.start_span("op") as span:
        METER.histogram("kept").record(1, {"k": 1, "left": "out"})
    (exemplar,) = session.of("kept")
    assert exemplar["attributes"] == {"left": "out"}
    assert ids([exemplar]) == {(span.trace_id(), span.span_id())}
