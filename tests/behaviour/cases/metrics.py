"""Meters and instruments: what arrives of what was measured."""

from __future__ import annotations

import math
from typing import Any

from trial import Trial, case


@case()
def metric_kinds(t: Trial) -> None:
    meter = t.start_metrics().get_meter("orders")
    meter.counter("counter", unit="{x}", description="what it counts").add(2)
    meter.up_down_counter("up_down").add(-3)
    meter.gauge("gauge", unit="%").record(7.5)
    meter.histogram("histogram", unit="ms").record(12)
    meter.histogram("seconds", unit="s").record(0.02)
    meter.histogram("bounded", boundaries=[1, 2.5, 5]).record(2.5)
    meter.histogram("unbounded", boundaries=[]).record(1)
    t.ptx.shutdown()


@case()
def metric_sums(t: Trial) -> None:
    ptx = t.start_metrics()
    counter = ptx.get_meter("m").counter("counter")
    for value in (1, 2, 0):
        counter.add(value)
    counter.add(0.5, {"k": "a"})
    counter.add(0.25, attributes={"k": "a"})
    counter.add(1, {"k": "b", "l": "c"})
    counter.add(1, {"l": "c", "k": "b"})
    counter.add(value=1, attributes=None)
    counter.add(1, {})
    gauge = ptx.get_meter("m").gauge("gauge")
    gauge.record(1)
    gauge.record(-2)
    histogram = ptx.get_meter("m").histogram("histogram", boundaries=[0, 10])
    for value in (-1, 0, 10, 11, 10.5):
        histogram.record(value)
    ptx.shutdown()


@case()
def metric_unusual_values(t: Trial) -> None:
    ptx = t.start_metrics()
    meter = ptx.get_meter("m")
    values = {
        "negative": -1,
        "nan": math.nan,
        "infinity": math.inf,
        "bool": True,
        "text": "1",
        "none": None,
        "large": 2**53 + 1,
        "huge": 2**80,
    }
    for name, value in values.items():
        for kind, record in (("counter", "add"), ("gauge", "record"), ("histogram", "record")):
            instrument = getattr(meter, kind)(f"{kind}_{name}")
            instrument_call = getattr(instrument, record)
            t.attempt(f"{kind}_{name}", lambda call=instrument_call, value=value: call(value))
    ptx.shutdown()


@case()
def metric_attribute_values(t: Trial) -> None:
    ptx = t.start_metrics()
    counter = ptx.get_meter("m").counter("counter")
    values: dict[str, Any] = {
        "bool": True,
        "int": 3,
        "float": 1.5,
        "text": "é",
        "empty": "",
        "none": None,
        "list": [1, 2],
        "dict": {"a": 1},
        "bytes": b"raw",
        "object": ValueError("v"),
        "int_too_large": 2**63,
    }
    for name, value in values.items():
        t.attempt(name, lambda name=name, value=value: counter.add(1, {name: value}))
    t.attempt("key_not_text", lambda: counter.add(1, {1: "a"}))
    t.attempt("attributes_list", lambda: counter.add(1, [("k", "v")]))
    ptx.shutdown()


@case()
def metric_arguments(t: Trial) -> None:
    ptx = t.start_metrics()
    t.attempt("no_name", lambda: ptx.get_meter())
    t.attempt("name_not_text", lambda: ptx.get_meter(1))
    meter = ptx.get_meter("")
    t.attempt("empty_instrument", lambda: meter.counter(""))
    t.attempt("instrument_not_text", lambda: meter.counter(1))
    t.attempt("unit_by_position", lambda: meter.counter("a", "ms"))
    t.attempt("unit_not_text", lambda: meter.counter("a", unit=1))
    t.attempt("boundaries_not_numbers", lambda: meter.histogram("h", boundaries=["a"]))
    t.attempt("boundaries_not_sorted", lambda: meter.histogram("h2", boundaries=[2, 1]))
    t.attempt("no_value", lambda: meter.counter("a").add())
    t.attempt("returns", lambda: meter.counter("a").add(1))
    t.note("meter", meter)
    for kind in ("counter", "up_down_counter", "gauge", "histogram"):
        t.note(f"at_least_{kind}", [name for name in dir(getattr(meter, kind)("b")) if name[0] != "_"])
    t.note("at_least_meter", [name for name in dir(meter) if name[0] != "_"])
    ptx.shutdown()


@case()
def metric_same_name_twice(t: Trial) -> None:
    ptx = t.start_metrics()
    meter = ptx.get_meter("m")
    meter.counter("twice").add(1)
    meter.counter("twice").add(2)
    ptx.get_meter("m").counter("twice").add(4)
    ptx.get_meter("other").counter("elsewhere").add(8)
    ptx.shutdown()


@case()
def metric_flushes(t: Trial) -> None:
    ptx = t.start_metrics()
    counter = ptx.get_meter("m").counter("counter")
    counter.add(1)
    t.attempt("flush", ptx.force_flush)
    counter.add(2)
    t.attempt("shutdown", ptx.shutdown)
    t.attempt("after_shutdown", lambda: counter.add(4))


@case()
def metric_delta(t: Trial) -> None:
    ptx = t.start_metrics(temporality="delta")
    meter = ptx.get_meter("m")
    instruments = meter.counter("counter"), meter.up_down_counter("up_down")
    histogram, gauge = meter.histogram("histogram", boundaries=[5]), meter.gauge("gauge")
    for value in (1, 10):
        for instrument in instruments:
            instrument.add(value)
        histogram.record(value)
        gauge.record(value)
        ptx.force_flush()
    ptx.shutdown()


@case()
def metric_lowmemory(t: Trial) -> None:
    ptx = t.start_metrics(temporality="lowmemory")
    meter = ptx.get_meter("m")
    for value in (1, 10):
        meter.counter("counter").add(value)
        meter.up_down_counter("up_down").add(value)
        meter.histogram("histogram", boundaries=[5]).record(value)
        ptx.force_flush()
    ptx.shutdown()


@case()
def metric_exported_by_itself(t: Trial) -> None:
    ptx = t.start_metrics(export_interval_ms=50)
    ptx.get_meter("m").counter("counter").add(1)
    t.wait(0.5)
    t.leave()


@case()
def metric_without_a_sink(t: Trial) -> None:
    ptx = t.start()
    counter = t.attempt("counter", lambda: ptx.get_meter("m").counter("counter"))
    t.attempt("add", lambda: counter.add(1, {"k": "v"}))
    ptx.shutdown()


@case()
def metric_before_init(t: Trial) -> None:
    ptx = t.ptx
    meter = t.attempt("meter", lambda: ptx.get_meter("m"))
    if meter is None:
        return
    counter = t.attempt("counter", lambda: meter.counter("early"))
    t.attempt("add", lambda: counter.add(1))
    t.start_metrics()
    counter.add(2)
    ptx.get_meter("m").counter("late").add(4)
    ptx.shutdown()


@case()
def metric_in_a_span(t: Trial) -> None:
    ptx = t.start_metrics()
    with ptx.start_span("op"):
        ptx.get_meter("m").counter("counter").add(1)
    ptx.shutdown()
