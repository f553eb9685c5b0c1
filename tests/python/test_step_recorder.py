"""Steps of a scheduler's loop: a span each, or every so many; and metrics of what a step was told."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import RunPython
from otlp_server import Decoded, OtlpServer

import pytracingx as ptx
from pytracingx.testing import capture

FIELDS = {
    "batch_size": 8,
    "scheduled_tokens": 512,
    "kv_cache_usage": 0.25,
    "preemptions": 1,
    "prefix_cache_queries": 400,
    "prefix_cache_hits": 100,
    "waiting": 3,
}
ON_SPAN = {
    "llm.engine.batch_size": 8,
    "llm.engine.scheduled_tokens": 512,
    "llm.engine.kv_cache_usage": 0.25,
    "llm.engine.preemptions": 1,
    "llm.engine.prefix_cache.queries": 400,
    "llm.engine.prefix_cache.hits": 100,
    "llm.engine.requests_waiting": 3,
}


class Session:
    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector

    def begin(self, sampler: str = "always_on") -> None:
        ptx.shutdown()
        endpoint = self.collector.endpoint
        sinks = [ptx.TraceSink(endpoint, "http", sampler=sampler), ptx.MetricSink(endpoint, "http")]
        ptx.init(ptx.Config("svc", sinks=sinks, console_output=False))

    def spans(self) -> list[Decoded]:
        assert ptx.force_flush()
        return self.collector.spans

    def point(self, name: str) -> Decoded:
        assert ptx.force_flush()
        (point,) = self.collector.points(f"llm.engine.{name}")
        return point

    def metric_names(self) -> set[str]:
        assert ptx.force_flush()
        return {metric["name"].removeprefix("llm.engine.") for metric in self.collector.metrics}


@pytest.fixture
def session(collector: OtlpServer) -> Iterator[Session]:
    session = Session(collector)
    session.begin()
    yield session
    ptx.shutdown()


def stats(*path: str) -> Any:
    """A counter, as of now."""
    value: Any = ptx.stats()
    for key in path:
        value = value.get(key, 0)
    return value


def test_a_step_says_what_it_was_told(session: Session) -> None:
    """Some before it, some during it; the last value of each."""
    step = ptx.step_recorder("decode", attributes={"engine": 0})
    with step(batch_size=1, waiting=3, kv_cache_usage=0.5) as current:
        before = ptx.current_trace_context()
        current.set(**{name: value for name, value in FIELDS.items() if name != "waiting"})
    (span,) = session.spans()
    assert (span["name"], span["kind"], span["parent_span_id"]) == ("decode", "internal", "")
    assert span["attributes"] == ON_SPAN
    assert span["scope"] == {"name": "pytracingx.llm", "version": ptx.__version__}
    assert before["trace_id"] is None
    for name, value in {
        **{"requests_running": 8, "kv_cache_usage": 0.25, "requests_waiting": 3, "preemptions": 1},
        **{"prefix_cache.queries": 400, "prefix_cache.hits": 100, "prefix_cache.hit_rate": 0.25},
    }.items():
        assert session.point(name)["value"] == value
    for name, total in {"batch_size": 8, "scheduled_tokens": 512}.items():
        point = session.point(name)
        assert (point["count"], point["sum"]) == (1, total)
        assert point["attributes"] == {"engine": 0, "llm.engine.step.name": "decode"}
        assert sum(point["counts"]) == 1
        (bucket,) = [bound for bound, count in zip(point["bounds"], point["counts"]) if count]
        assert bucket == total


def test_what_is_not_told_is_not_measured(session: Session) -> None:
    with ptx.step_recorder("idle")(batch_size=None, prefix_cache_queries=0, prefix_cache_hits=0):
        pass
    assert session.spans()[0]["attributes"] == {
        "llm.engine.prefix_cache.queries": 0,
        "llm.engine.prefix_cache.hits": 0,
    }
    assert session.metric_names() == {"step.duration", "prefix_cache.queries", "prefix_cache.hits"}


def test_durations_and_gaps(session: Session) -> None:
    """Three steps have two gaps between them; idle() takes one away."""
    step = ptx.step_recorder("decode")
    outside = time.monotonic()
    for number in range(4):
        if number == 2:
            time.sleep(0.05)
            step.idle()
        with step.step(batch_size=1):
            time.sleep(0.01)
        time.sleep(0.004)
    elapsed = time.monotonic() - outside
    duration, gap = session.point("step.duration"), session.point("step.gap")
    assert (duration["count"], gap["count"]) == (4, 2)
    assert duration["min"] >= 0.01
    assert gap["min"] >= 0.004
    assert duration["sum"] + gap["sum"] <= elapsed - 0.05
    spans = session.spans()
    spanned = sum(span["end_time_unix_nano"] - span["start_time_unix_nano"] for span in spans) / 1e9
    assert spanned == pytest.approx(duration["sum"], abs=0.001)


@pytest.mark.parametrize("spans", [-1, 1.5, "2"])
def test_spans_that_are_no_count(spans: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"spans: {spans} is not an integer from 0 on")):
        ptx.step_recorder("decode", spans=spans)


def test_steps_that_overlap_have_no_gap(session: Session) -> None:
    step = ptx.step_recorder("decode")
    with step(), step():
        pass
    assert session.point("step.duration")["count"] == 2
    assert "step.gap" not in session.metric_names()


@pytest.mark.parametrize(("spans", "expected"), [(1, 10), (0, 0), (4, 3), (True, 10), (False, 0)])
def test_a_span_every_so_many_steps(session: Session, spans: int, expected: int) -> None:
    step = ptx.step_recorder("decode", spans=spans)
    for _ in range(10):
        with step(batch_size=2):
            pass
    found = session.spans()
    assert len(found) == len({span["trace_id"] for span in found}) == expected
    assert session.point("batch_size")["count"] == session.point("step.duration")["count"] == 10


def test_metrics_without_a_sampled_span(session: Session) -> None:
    session.begin("always_off")
    with ptx.step_recorder("decode")(batch_size=2):
        pass
    assert session.spans() == []
    assert session.point("batch_size")["sum"] == 2


def test_an_exception(session: Session) -> None:
    step = ptx.step_recorder("decode")
    with pytest.raises(ZeroDivisionError), step(batch_size=4):
        print(1 / 0)
    for harmless in (KeyboardInterrupt, GeneratorExit, asyncio.CancelledError):
        with pytest.raises(harmless), step():
            raise harmless
    failed, *others = session.spans()
    assert failed["status"] == {"code": "error", "message": "division by zero"}
    assert failed["attributes"] == {"llm.engine.batch_size": 4, "error.type": "ZeroDivisionError"}
    assert [span["status"]["code"] for span in others] == ["unset"] * 3
    assert session.point("step.duration")["count"] == 4


def test_values_that_are_none(session: Session) -> None:
    step: Any = ptx.step_recorder("decode")
    with step(
        batch_size=-1, scheduled_tokens="x", kv_cache_usage=float("nan"), waiting=np.int64(5)
    ) as current:
        current.set(preemptions=object(), prefix_cache_hits=float("inf"))
    assert session.spans()[0]["attributes"] == {"llm.engine.requests_waiting": 5}
    assert [stats("measurements", name) for name in ("negative", "not_a_number", "not_finite")] == [1, 2, 2]
    for wrong in (lambda: step(1), lambda: step(batch=1), lambda: ptx.step_recorder()):  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="unknown semconv 'x', expected"):
        ptx.step_recorder("x", semconv="x")  # type: ignore[arg-type]


def test_odd_orders(session: Session) -> None:
    """Left without having been entered, entered twice, left twice, set after the end, never left."""
    step = ptx.step_recorder("decode")
    never = step()
    never.__exit__(None, None, None)
    current = step(batch_size=1)
    assert current.__enter__() is current.__enter__() is current
    current.__exit__(None, None, None)
    current.__exit__(None, None, None)
    current.set(batch_size=7)
    assert len(session.spans()) == 1
    assert session.point("batch_size")["sum"] == 1
    open_step = step()
    open_step.__enter__()
    del open_step
    gc.collect()
    assert len(session.spans()) == 2
    assert stats("spans", "abandoned") == 1
    assert session.point("step.duration")["count"] == 1


def test_one_recorder_in_threads(session: Session) -> None:
    step = ptx.step_recorder("decode", spans=10)

    def work() -> None:
        for _ in range(1000):
            with step(batch_size=1) as current:
                current.set(waiting=1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.point("batch_size")["sum"] == session.point("step.duration")["count"] == 4000
    assert len(session.spans()) == 400


def test_before_init_and_in_every_session(collector: OtlpServer) -> None:
    ptx.shutdown()
    step = ptx.step_recorder("decode")
    with step(batch_size=1) as current:
        current.set(waiting=1)
    session = Session(collector)
    for _ in range(2):
        session.begin()
        with step(batch_size=2):
            pass
        assert session.point("batch_size")["sum"] == 2
        assert "step.gap" not in session.metric_names()
    crossing = step(batch_size=5)
    crossing.__enter__()
    session.begin()
    crossing.__exit__(None, None, None)
    assert len(session.spans()) == 2
    assert stats("spans", "dropped") == {"other_session": 1}
    ptx.shutdown()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_between_and_inside(collector: OtlpServer, run_python: RunPython) -> None:
    """The child's first step has no gap: it does not wait since the parent's last."""
    run_python("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        sinks = [ptx.TraceSink(endpoint, "http"), ptx.MetricSink(endpoint, "http")]
        ptx.init(ptx.Config("svc", sinks=sinks))
        step = ptx.step_recorder("parent")
        with step(batch_size=1):
            pass
        with step(batch_size=1) as current:
            pid = os.fork()
            if pid == 0:
                current.__exit__(None, None, None)
                with step(batch_size=1):
                    pass
                os._exit(0 if ptx.shutdown() and ptx.stats()["spans"]["dropped"] == {"inherited": 1} else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert ptx.shutdown()
    """)
    assert len(collector.spans) == 3
    counts = sorted(point["count"] for point in collector.points("llm.engine.step.duration", every=True))
    assert counts == [1, 2]
    assert [point["count"] for point in collector.points("llm.engine.step.gap", every=True)] == [1]


def test_captured() -> None:
    ptx.shutdown()
    with capture(strict=True) as captured:
        with ptx.step_recorder("decode")(**FIELDS):
            pass
        assert captured.span("decode").attributes == ON_SPAN


def test_a_step_that_is_recorded_when_it_is_over(session: Session) -> None:
    """As one that was entered then and left now, gap and turn included; steps that overlap have no gap."""
    step = ptx.step_recorder("decode", spans=2)
    first = ptx.now()
    step.record(first, **FIELDS)
    ended = ptx.now()
    step.record(first + 1)
    assert stats("spans_abandoned") == 0
    with pytest.raises(TypeError, match="1 positional argument"):
        step.record()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch'"):
        step.record(first, batch=3)  # type: ignore[call-arg]
    (span,) = session.spans()
    assert span["start_time_unix_nano"] == first <= span["end_time_unix_nano"] <= ended + 1_000_000
    assert span["attributes"] == ON_SPAN
    assert session.point("step.duration")["count"] == 2
    assert "step.gap" not in session.metric_names()
    time.sleep(0.002)
    step.record(ptx.now())
    gap = session.point("step.gap")
    assert gap["count"] == 1 and gap["sum"] >= 0.002
    unusable = stats("unusable_times")
    step.record(1.5)  # type: ignore[arg-type]
    assert stats("unusable_times") == unusable + 1


def test_a_step_that_is_entered_again(session: Session) -> None:
    """Is another: without a span of its own its measurements were not made in the former one's."""
    step = ptx.step_recorder("decode", spans=2)()
    for waiting, size in enumerate((1, 1000)):
        with step as current:
            current.set(batch_size=size, waiting=waiting)
    point = session.point("batch_size")
    (span,) = session.spans()
    assert (point["count"], point["sum"]) == (2, 1001)
    (exemplar,) = point["exemplars"]
    assert (exemplar["value"], exemplar["span_id"]) == (1, span["span_id"])
