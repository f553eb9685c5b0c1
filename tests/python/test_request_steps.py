"""What the integrations record a scheduler's steps by: requests by the engine's names, batches as the engine has
them. Every span of every step arrives under its request, whatever the batch does from step to step."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from otlp_server import OtlpServer

import pytracingx as ptx
from pytracingx import _native

KEYS = ("id", "tokens", "reasons", "other")


@pytest.fixture
def requests(collector: OtlpServer) -> Iterator[Any]:
    sink = ptx.TraceSink(collector.endpoint, "http")
    ptx.init(ptx.Config("svc", sinks=[sink], console_output=False))
    template = ptx.SpanTemplate("request", "server", {"engine": "toy"})
    recorder = ptx.step_recorder("loop")
    yield _native._RequestSteps(template, ptx.SpanTemplate("step"), "tokens", KEYS, recorder)
    ptx.shutdown()


def rows(collector: OtlpServer) -> Counter[tuple[str, int]]:
    """Name of the request and tokens of each step's span."""
    assert ptx.force_flush()
    names = {
        (span["trace_id"], span["span_id"]): span["attributes"]["id"]
        for span in collector.spans
        if span["name"] == "request"
    }
    steps = [span for span in collector.spans if span["name"] == "step"]
    assert len({span["span_id"] for span in steps}) == len(steps)
    return Counter(
        (names[span["trace_id"], span["parent_span_id"]], span["attributes"].get("tokens")) for span in steps
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_row_whatever_the_batch_does(requests: Any, collector: OtlpServer, seed: int) -> None:
    """Arrivals, ends, orders that change, names of equal text that are other objects, names that are unknown."""
    chance = random.Random(seed)
    running: list[str] = []
    expected: Counter[tuple[str, int]] = Counter()
    for step in range(120):
        while len(running) < 30 and chance.random() < 0.8:
            name = f"r{seed}-{step}-{len(running)}"
            assert requests.begin(name, None, ptx.now()) and not requests.begin(name, None, ptx.now())
            running.append(name)
        if chance.random() < 0.1:
            chance.shuffle(running)
        batch = {name: chance.choice((1, 1, 7, 2**40)) for name in running if chance.random() < 0.95}
        given = {f"{name[:1]}{name[1:]}": count for name, count in batch.items()}
        if chance.random() < 0.5:
            assert requests.step({**given, "unknown": 5}, ptx.now()) == len(batch)
        else:
            assert requests.step([*batch, "unknown"], ptx.now(), None, [*batch.values(), 5]) == len(batch)
        expected.update(batch.items())
        for name in [name for name in running if chance.random() < 0.15]:
            running.remove(name)
            assert requests.end(name, False, name) and not requests.end(name, False, name)
    assert len(requests) == len(running)
    requests.end_all()
    assert len(requests) == 0
    assert rows(collector) == expected


def test_what_a_request_gets_at_its_end(requests: Any, collector: OtlpServer) -> None:
    began = ptx.now()
    parent = ptx.SpanContext.from_traceparent(
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b"
    )
    assert requests.begin("r", parent, began)
    assert requests.step(["r"], began) == 1
    assert requests.step(["r"], began, began + 7, 3) == 1
    assert requests.end("r", True, "r", 7, ("length",), {"a": [1]}, "beyond the keys")
    assert requests.begin("s", None, began) and requests.end("s", False, "s", None, ["a", 1])
    assert ptx.force_flush()
    unknown, three, request, other = (span for span in collector.spans if span["name"] != "loop")
    assert request["start_time_unix_nano"] == began
    assert request["attributes"] == {
        "engine": "toy",
        "id": "r",
        "tokens": 7,
        "reasons": ["length"],
        "other": {"a": [1]},
    }
    assert (request["trace_id"], request["parent_span_id"]) == (parent.trace_id, parent.span_id)
    assert (request["status"]["code"], other["status"]["code"]) == ("error", "unset")
    assert {span["trace_state"] for span in (unknown, three, request)} == {"a=b"}
    assert {span["parent_span_id"] for span in (unknown, three)} == {request["span_id"]}
    assert unknown["attributes"] == {} and three["attributes"] == {"tokens": 3}
    assert other["attributes"] == {"engine": "toy", "id": "s", "reasons": ["a", 1]}
    assert three["end_time_unix_nano"] - three["start_time_unix_nano"] == 7


def test_what_a_step_says(requests: Any, collector: OtlpServer) -> None:
    """The recorder's span and metrics, of the whole batch and until now."""
    began = ptx.now() - 5_000_000
    assert requests.begin("r", None, began)
    assert requests.step({"r": 5, "s": 1}, began, began + 1, None, 6, 3, 0.25, 2) == 1
    assert requests.step(["r"], began, None, None, None, None, math.nan, "2") == 1
    assert ptx.force_flush()
    said = [span for span in collector.spans if span["name"] == "loop"]
    whole, little = (
        {key.removeprefix("llm.engine."): value for key, value in span["attributes"].items()} for span in said
    )
    assert whole == {
        "batch_size": 2,
        "scheduled_tokens": 6,
        "requests_waiting": 3,
        "kv_cache_usage": 0.25,
        "preemptions": 2,
    }
    assert little == {"batch_size": 1}
    assert all(span["end_time_unix_nano"] - span["start_time_unix_nano"] >= 5_000_000 for span in said)


def test_full_lanes(collector: OtlpServer) -> None:
    """Spans that find no room are counted, one by one; measurements are folded, every one."""
    running, steps = [f"r{index}" for index in range(200)], 300
    sinks = [ptx.TraceSink(collector.endpoint, "http"), ptx.MetricSink(collector.endpoint, "http")]
    room = {"ring_capacity": 262_144, "lane_budget_bytes": 262_144}
    ptx.init(ptx.Config("svc", sinks=sinks, console_output=False, diagnostics="off", **room))
    template, recorder = ptx.SpanTemplate("request"), ptx.step_recorder("loop")
    requests = _native._RequestSteps(template, ptx.SpanTemplate("step"), "tokens", KEYS, recorder)
    assert all([requests.begin(name, None, ptx.now()) for name in running])
    recorded = sum(requests.step(dict.fromkeys(running, 3), ptx.now()) for _ in range(steps))
    assert ptx.force_flush()
    stats = ptx.stats()
    arrived = Counter(span["name"] for span in collector.spans)
    ptx.shutdown()
    assert arrived["step"] == recorded < len(running) * steps
    lost = len(running) * steps - arrived["step"] + steps - arrived["loop"]
    assert stats["spans"]["dropped"] == {"ring_full": lost}
    (sizes,) = collector.points("llm.engine.batch_size")
    assert (sizes["count"], sizes["sum"]) == (steps, steps * len(running))


def test_what_is_refused(requests: Any) -> None:
    assert not requests.begin(5, None, ptx.now())
    assert not requests.end(5, False)
    with pytest.raises(TypeError):
        requests.step("text", ptx.now())
    with pytest.raises(ValueError, match="not of one length"):
        requests.step(["a"], ptx.now(), None, [1, 2])
    template, recorder = ptx.SpanTemplate("step"), ptx.step_recorder("loop")
    with pytest.raises(TypeError, match="SpanTemplates"):
        _native._RequestSteps(template, "step", "tokens", KEYS, recorder)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="StepRecorder"):
        _native._RequestSteps(template, template, "tokens", KEYS, template)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at most 16 keys"):
        _native._RequestSteps(template, template, "tokens", ["k"] * 17, recorder)


def test_lists_that_change_under_way(requests: Any) -> None:
    """Code of a number's own runs after the lists have been compared."""
    running = [f"r{index}" for index in range(1000)]
    assert all([requests.begin(name, None, ptx.now()) for name in running])
    tokens = [2**40] * len(running)

    class Clearing:
        def __init__(self, cleared: list[Any]) -> None:
            self.cleared = cleared

        def __float__(self) -> float:
            self.cleared.clear()
            return 1.0

    class Fewer(list[int]):
        pass

    assert requests.step(running, ptx.now(), None, Fewer([1, 2])) == 2
    # A build without the interpreter's lock has copies.
    assert requests.step(running, ptx.now(), None, tokens, None, None, Clearing(tokens)) in (0, 1000)
    assert requests.step(running, ptx.now(), None, 1, None, None, Clearing(running)) in (0, 1000)


def test_without_a_session() -> None:
    template = ptx.SpanTemplate("step")
    requests = _native._RequestSteps(template, template, "tokens", KEYS, ptx.step_recorder("loop"))
    assert not requests.begin("r", None, ptx.now())
    assert requests.step({"r": 1}, ptx.now()) == 0
    assert not requests.end("r", False)
