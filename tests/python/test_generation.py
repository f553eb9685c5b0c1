"""Generations: what the times of tokens come to, on spans and in metrics, each number recomputed here from the raw times;
what ends one, and how; and that prompts stay where they are unless somebody says otherwise."""

from __future__ import annotations

import array
import asyncio
import gc
import math
import random
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

START = 1_700_000_000_000_000_000
MS = 1_000_000
GAP = "gen_ai.response.inter_token_latency."
TTFT = "gen_ai.response.time_to_first_chunk"
TPOT = "gen_ai.response.time_per_output_token"
OFFSETS = "gen_ai.response.token_times.offsets_us"
CONTENT = "gen_ai.client.inference.operation.details"


class Session:
    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector

    def begin(self, sampler: str = "always_on", **options: Any) -> None:
        ptx.shutdown()
        endpoint = self.collector.endpoint
        sinks = [
            ptx.TraceSink(endpoint, "http", sampler=sampler),
            ptx.MetricSink(endpoint, "http", temporality="cumulative"),
            ptx.OtlpLogSink(endpoint, "http"),
        ]
        ptx.init(ptx.Config("svc", sinks=sinks, console_output=False, **options))

    def span(self, name: str = "chat") -> Decoded:
        assert ptx.force_flush()
        return self.collector.span(name)

    def point(self, name: str, **attributes: Any) -> Decoded:
        assert ptx.force_flush()
        points = self.collector.points(name)
        (point,) = [p for p in points if attributes.items() <= p["attributes"].items()]
        return point

    def metric_names(self) -> set[str]:
        assert ptx.force_flush()
        return {metric["name"] for metric in self.collector.metrics}


@pytest.fixture
def session(collector: OtlpServer) -> Iterator[Session]:
    session = Session(collector)
    session.begin()
    yield session
    ptx.shutdown()


def nearest_rank(values: list[int], share: float) -> int:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


def seconds(nanos: float) -> Any:
    return pytest.approx(nanos / 1e9, rel=1e-12, abs=1e-15)


def expected(start: int, times: list[int], end: int) -> dict[str, Any]:
    """What the conventions and our documentation say of these times."""
    times = sorted(times)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    out: dict[str, Any] = {"gen_ai.usage.output_tokens": len(times)}
    if times:
        out[TTFT] = seconds(times[0] - start)
        out["gen_ai.response.tokens_per_second"] = pytest.approx(len(times) / ((end - start) / 1e9))
    if gaps:
        out[TPOT] = seconds((times[-1] - times[0]) / (len(times) - 1))
        out[f"{GAP}p50"] = seconds(nearest_rank(gaps, 0.5))
        out[f"{GAP}p99"] = seconds(nearest_rank(gaps, 0.99))
        out[f"{GAP}max"] = seconds(max(gaps))
    return out


def random_times(count: int, seed: int = 1) -> list[int]:
    chosen = random.Random(seed)
    times, at = [], START + 40 * MS
    for _ in range(count):
        times.append(at)
        at += int(chosen.lognormvariate(16.5, 0.6))
    return times


def bucket_counts(bounds: list[float], values: list[float]) -> list[int]:
    counts = [0] * (len(bounds) + 1)
    for value in values:
        counts[next((i for i, bound in enumerate(bounds) if value <= bound), len(bounds))] += 1
    return counts


def stats(*path: str) -> Any:
    """A counter, as of now."""
    value: Any = ptx.stats()
    for key in path:
        value = value.get(key, 0)
    return value


# ------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("count", [0, 1, 2, 3, 100, 4096])
def test_every_number_follows_from_the_times(session: Session, count: int) -> None:
    times = random_times(count)
    end = (times[-1] if times else START) + 3 * MS
    shuffled = random.Random(2).sample(times, count)
    with ptx.generation(start_time=START, input_tokens=7) as generation:
        generation.tokens_at(shuffled)
        assert generation.token_count == count
        generation.end(end_time=end)
    assert session.span()["attributes"] == {
        "gen_ai.operation.name": "chat",
        "gen_ai.usage.input_tokens": 7,
        **expected(START, times, end),
    }
    assert (session.span()["start_time_unix_nano"], session.span()["end_time_unix_nano"]) == (START, end)

    gaps = [(later - earlier) / 1e9 for earlier, later in zip(times, times[1:])]
    of = {
        "gen_ai.server.time_to_first_token": [(t - START) / 1e9 for t in times[:1]],
        "gen_ai.server.time_per_output_token": [sum(gaps) / len(gaps)] if gaps else [],
        "gen_ai.server.inter_token_latency": gaps,
        "gen_ai.server.request.duration": [(end - START) / 1e9],
    }
    names = session.metric_names()
    for name, values in of.items():
        assert (name in names) == bool(values)
        if values:
            point = session.point(name)
            assert point["attributes"] == {"gen_ai.operation.name": "chat"}
            assert point["count"] == len(values)
            assert point["sum"] == pytest.approx(sum(values))
            assert (point["min"], point["max"]) == pytest.approx((min(values), max(values)))
            assert point["counts"] == bucket_counts(point["bounds"], values)
    assert session.point("gen_ai.client.token.usage", **{"gen_ai.token.type": "input"})["sum"] == 7
    assert session.point("gen_ai.server.input_tokens")["value"] == 7
    if count:
        assert session.point("gen_ai.client.token.usage", **{"gen_ai.token.type": "output"})["sum"] == count
        assert session.point("gen_ai.server.output_tokens")["value"] == count


def test_the_conventions_buckets(session: Session) -> None:
    with ptx.generation(start_time=START, input_tokens=1) as generation:
        generation.tokens_at([START + MS, START + 2 * MS])
    bounds = {
        "gen_ai.server.time_to_first_token": [
            *[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1],
            *[0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
        ],
        "gen_ai.server.time_per_output_token": [
            *[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5]
        ],
        "gen_ai.server.request.duration": [0.01 * 2**k for k in range(14)],
    }
    for name, expected_bounds in bounds.items():
        assert session.point(name)["bounds"] == expected_bounds
        assert session.collector.metric(name)["unit"] == "s"
    usage = session.point("gen_ai.client.token.usage", **{"gen_ai.token.type": "input"})
    assert usage["bounds"] == [4**k for k in range(14)]
    assert session.collector.metric("gen_ai.client.token.usage")["unit"] == "{token}"


def test_tokens_that_arrive_now(session: Session) -> None:
    """Times are those of the calls: each lies between the clock reads around it."""
    generation = ptx.generation(detail="array")
    brackets = []
    for _ in range(100):  # past the first growth
        before = ptx.now()
        generation.token()
        brackets.append((before, ptx.now()))
        time.sleep(0.0002)
    generation.end()
    span = session.span()
    offsets = span["attributes"][OFFSETS]
    assert len(offsets) == 100
    tolerance_us = 500  # clocks that are read one after the other, on a machine that may stop in between
    for offset, (before, after) in zip(offsets, brackets):
        start = span["start_time_unix_nano"]
        assert (before - start) / 1e3 - tolerance_us <= offset <= (after - start) / 1e3 + tolerance_us
    assert span["attributes"][f"{GAP}max"] < 10


def test_a_burst_is_one_arrival(session: Session) -> None:
    """Three steps of speculative decoding: ten tokens, two gaps."""
    generation = ptx.generation(detail="array")
    for count in (3, 4, 3):
        generation.tokens(count)
        time.sleep(0.002)
    assert generation.token_count == 10
    generation.end()
    attributes = session.span()["attributes"]
    assert attributes["gen_ai.usage.output_tokens"] == 10
    assert attributes["gen_ai.response.token_times.count"] == len(attributes[OFFSETS]) == 3
    assert attributes[f"{GAP}p50"] >= 0.002
    assert attributes[TPOT] == pytest.approx(
        (attributes[OFFSETS][2] - attributes[OFFSETS][0]) / 9e6, abs=1e-6
    )
    assert session.point("gen_ai.server.inter_token_latency")["count"] == 2


def test_a_million_tokens(session: Session) -> None:
    """Percentiles within 0.8 %, maximum and count exact, times thinned."""
    gaps = np.random.default_rng(3).lognormal(16, 0.5, 1_000_000).astype(np.int64)
    times = START + np.cumsum(gaps)
    generation = ptx.generation(start_time=START, detail="array")
    generation.tokens_at(times)
    assert generation.token_count == 1_000_000
    generation.end(end_time=int(times[-1]))
    attributes = session.span()["attributes"]
    between = sorted(gaps[1:].tolist())
    for share, key in [(0.5, "p50"), (0.99, "p99")]:
        exact = nearest_rank(between, share) / 1e9
        assert attributes[GAP + key] == pytest.approx(exact, rel=0.0079)
    assert attributes[f"{GAP}max"] == seconds(between[-1])
    assert attributes[TTFT] == seconds(gaps[0])
    stride = attributes["gen_ai.response.token_times.stride"]
    assert (
        attributes["gen_ai.response.token_times.count"] == attributes["gen_ai.usage.output_tokens"] == 10**6
    )
    assert attributes[OFFSETS] == ((times[::stride] - START) // 1000).tolist()
    assert 256 <= len(attributes[OFFSETS]) <= 512
    point = session.point("gen_ai.server.inter_token_latency")
    assert point["count"] == 999_999
    assert point["sum"] == pytest.approx(sum(between) / 1e9, rel=1e-9)


@pytest.mark.parametrize(
    "column",
    [
        lambda times: array.array("q", times),
        lambda times: np.array(times),
        lambda times: np.array(times, dtype=np.uint64)[::-1],
        lambda times: memoryview(array.array("q", times)),
        tuple,
        iter,
    ],
)
def test_columns_of_times(session: Session, column: Any) -> None:
    times = random_times(300)
    with ptx.generation(start_time=START) as generation:
        generation.tokens_at(column(times))
        generation.end(end_time=times[-1])
    attributes = session.span()["attributes"]
    assert {key: attributes[key] for key in expected(START, times, times[-1])} == expected(
        START, times, times[-1]
    )


# ------------------------------------------------------------------------------------------------ odd lives


def test_counts_that_are_none(session: Session) -> None:
    generation = ptx.generation(input_tokens=-4)
    generation.tokens(0)
    for count in (-1, -(2**70), 1.5, "x", float("nan"), object()):
        generation.tokens(count)  # type: ignore[arg-type]
    generation.token()
    generation.tokens(np.int32(2))
    assert generation.token_count == 3
    generation.end()
    assert session.span()["attributes"]["gen_ai.usage.output_tokens"] == 3
    assert "gen_ai.usage.input_tokens" not in session.span()["attributes"]
    assert stats("measurements", "negative") == 2
    assert stats("measurements", "not_a_number") == 5


def test_a_burst_of_any_size(session: Session) -> None:
    generation = ptx.generation()
    generation.tokens(2**62)
    generation.tokens(2**62)
    generation.end()
    assert session.span()["attributes"]["gen_ai.usage.output_tokens"] == 2**63 - 1


def test_times_that_are_none(session: Session) -> None:
    generation = ptx.generation(start_time=1.5, detail="array")  # type: ignore[arg-type]
    generation.tokens_at([1, 2.5, "x", None])  # type: ignore[list-item]
    generation.tokens_at(7)  # type: ignore[arg-type]
    generation.stage("prefill", "x")  # type: ignore[arg-type]
    generation.end(end_time=-1)
    span = session.span()
    assert span["end_time_unix_nano"] - span["start_time_unix_nano"] < 10**10
    assert all(0 <= offset < 10**7 for offset in span["attributes"][OFFSETS])
    assert stats("unusable_times") == 8


@pytest.mark.parametrize("ahead_s", [-3600, 3600])
def test_a_start_far_from_now(session: Session, ahead_s: int) -> None:
    """In the future nothing becomes negative."""
    start = ptx.now() + ahead_s * 10**9
    with ptx.generation(start_time=start, detail="array") as generation:
        generation.token()
    span = session.span()
    assert span["start_time_unix_nano"] == start
    assert span["end_time_unix_nano"] >= start
    first = span["attributes"][TTFT]
    assert first == 0 if ahead_s > 0 else first == pytest.approx(3600, abs=30)
    assert span["attributes"][OFFSETS][0] == pytest.approx(-ahead_s * 1e6, abs=30e6)


def test_the_end_is_the_end(session: Session) -> None:
    generation = ptx.generation()
    generation.token()
    context = generation.context
    generation.end("stop")
    generation.end("length", error="late")
    generation.token()
    generation.tokens(5)
    generation.tokens_at([ptx.now()])
    generation.stage("late", ptx.now())
    assert generation.token_count == 0
    assert generation.context == generation.span_context == context
    attributes = session.span()["attributes"]
    assert attributes["gen_ai.response.finish_reasons"] == ["stop"]
    assert attributes["gen_ai.usage.output_tokens"] == 1
    assert len(session.collector.spans) == 1
    assert session.point("gen_ai.server.request.duration")["count"] == 1


def test_collected_without_an_end(session: Session) -> None:
    generation = ptx.generation()
    generation.token()
    assert stats("spans", "abandoned") == 0
    del generation
    gc.collect()
    assert session.span()["attributes"]["gen_ai.usage.output_tokens"] == 1
    assert stats("spans", "abandoned") == 1


def test_hostile_values(session: Session) -> None:
    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    generation: Any = ptx.generation(
        Bad(),  # type: ignore[arg-type]
        model=3,  # type: ignore[arg-type]
        provider=Bad(),  # type: ignore[arg-type]
        input_tokens="x",  # type: ignore[arg-type]
        parent="y",  # type: ignore[arg-type]
        attributes=5,  # type: ignore[arg-type]
        capture_content="z",  # type: ignore[arg-type]
        detail_if_slower_than_ms="w",  # type: ignore[arg-type]
    )
    generation.stage(Bad(), None, None, 7)
    generation.end(Bad(), attributes={"k": Bad()}, error=Bad(), input_tokens=[], prompt=Bad())
    attributes = session.span("Bad 3")["attributes"]
    assert attributes["gen_ai.request.model"] == "3"
    assert attributes["error.type"] == attributes["k"] == "Bad"
    for wrong in ({"kind": "x"}, {"detail": "x"}, {"semconv": "x"}):
        with pytest.raises(ValueError, match=r"unknown .* 'x', expected"):
            ptx.generation(**wrong)  # type: ignore[arg-type]


def test_times_whose_code_comes_back(session: Session) -> None:
    generation = ptx.generation()

    def ending() -> Iterator[int]:
        yield from random_times(200)
        generation.end("stop")
        yield START

    generation.tokens_at(ending())
    assert session.span()["attributes"]["gen_ai.response.finish_reasons"] == ["stop"]


def test_before_init_and_in_another_session(collector: OtlpServer) -> None:
    ptx.shutdown()
    early = ptx.generation(model="m")
    assert not early.context.is_valid
    session = Session(collector)
    session.begin()
    early.token()
    early.end()
    old = ptx.generation("old")
    old.token()
    session.begin()
    for _ in range(5000):  # folds without its session
        old.token()
    old.end()
    with ptx.generation("new"):
        pass
    assert session.span("new")
    assert [span["name"] for span in collector.spans] == ["new"]
    assert stats("spans", "dropped") == {"other_session": 1}
    ptx.shutdown()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_in_the_middle(collector: OtlpServer, run_python: RunPython) -> None:
    """The parent's stays the parent's; the child's own work."""
    run_python("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        sinks = [ptx.TraceSink(endpoint, "http"), ptx.MetricSink(endpoint, "http")]
        ptx.init(ptx.Config("svc", sinks=sinks))
        generation = ptx.generation("parent")
        generation.token()
        pid = os.fork()
        if pid == 0:
            for _ in range(5000):
                generation.token()
            generation.end()
            with ptx.generation("child") as own:
                own.tokens(3)
            os._exit(0 if ptx.shutdown() and ptx.stats()["spans"]["dropped"] == {"other_session": 1} else 1)
        assert os.waitpid(pid, 0)[1] == 0
        generation.token()
        generation.end()
        assert ptx.shutdown()
    """)
    tokens = {span["name"]: span["attributes"]["gen_ai.usage.output_tokens"] for span in collector.spans}
    assert tokens == {"parent": 2, "child": 3}
    assert sorted(
        point["value"] for point in collector.points("gen_ai.server.output_tokens", every=True)
    ) == [2, 3]


def test_threads_share_one(session: Session) -> None:
    generation = ptx.generation()

    def work() -> None:
        for _ in range(3000):
            generation.token()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert generation.token_count == 12_000
    generation.end()
    assert session.span()["attributes"]["gen_ai.usage.output_tokens"] == 12_000
    assert session.point("gen_ai.server.inter_token_latency")["count"] == 11_999


# ------------------------------------------------------------------------------------------------ how it ends


def test_an_exception(session: Session) -> None:
    with pytest.raises(TimeoutError), ptx.generation(input_tokens=3) as generation:
        generation.token()
        generation.token()
        raise TimeoutError("too slow")
    span = session.span()
    assert span["status"] == {"code": "error", "message": "too slow"}
    assert span["attributes"]["error.type"] == "TimeoutError"
    (event,) = span["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "TimeoutError"
    assert "raise TimeoutError" in event["attributes"]["exception.stacktrace"]
    duration = session.point("gen_ai.server.request.duration")
    assert duration["attributes"] == {"gen_ai.operation.name": "chat", "error.type": "TimeoutError"}
    # Latencies are those of successful responses; tokens were used all the same.
    assert session.metric_names().isdisjoint(
        {
            f"gen_ai.server.{name}"
            for name in ("time_to_first_token", "time_per_output_token", "inter_token_latency")
        }
    )
    assert session.point("gen_ai.server.output_tokens")["value"] == 2


@pytest.mark.parametrize(("error", "class_name"), [("rate_limited", "rate_limited"), (True, "_OTHER")])
def test_an_error_without_exception(session: Session, error: Any, class_name: str) -> None:
    ptx.generation().end(error=error)
    assert session.span()["status"] == {"code": "error", "message": ""}
    assert session.span()["attributes"]["error.type"] == class_name
    assert session.span()["events"] == []


def test_cancelled_in_the_middle(session: Session) -> None:
    async def stream() -> None:
        async with ptx.generation() as generation:
            generation.token()
            generation.token()
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(stream())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    span = session.span()
    assert span["status"]["code"] == "unset"
    assert [event["name"] for event in span["events"]] == ["cancelled"]
    assert span["attributes"]["gen_ai.usage.output_tokens"] == 2
    assert session.point("gen_ai.server.time_to_first_token")["count"] == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_failure(session: Session, error: type[BaseException]) -> None:
    with pytest.raises(error), ptx.generation():
        raise error
    assert session.span()["status"]["code"] == "unset"
    assert session.span()["events"] == []


def test_an_interrupt_while_it_ends(session: Session) -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    generation = ptx.generation()
    with pytest.raises(KeyboardInterrupt):
        generation.end(attributes={"k": Interrupting()})
    assert session.span()["attributes"] == {"gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 0}


# ------------------------------------------------------------------------------------------------ the span


def test_its_place_in_the_trace(session: Session) -> None:
    """The current span is the default parent and stays current; children and headers by `context`."""
    with ptx.start_span("ambient") as ambient, ptx.generation(model="m") as generation:
        assert ptx.current_span() is ambient
        headers: dict[str, str] = {}
        ptx.inject_headers(headers, generation.context)
        with ptx.start_span("child", parent=generation), ptx.use_span(generation):
            ptx.start_span("used").end()
    other = ptx.new_context()
    ptx.generation("told", parent=other, kind="internal").end()
    below = ptx.generation("below", parent=generation)
    below.stage("prefill", START, START + 5 * MS, {"tokens": 3})
    below.end()
    span = session.span("chat m")
    assert span["kind"] == "server"
    assert span["parent_span_id"] == ambient.span_id()
    assert span["scope"] == {"name": "pytracingx.llm", "version": ptx.__version__}
    assert headers["traceparent"] == generation.context.traceparent
    assert generation.context.span_id == span["span_id"]
    for name in ("child", "used", "below"):
        assert session.span(name)["parent_span_id"] == span["span_id"]
        assert session.span(name)["trace_id"] == ambient.trace_id()
    told = session.span("told")
    assert (told["trace_id"], told["parent_span_id"], told["kind"]) == (
        other.trace_id,
        other.span_id,
        "internal",
    )
    stage = session.span("prefill")
    assert stage["parent_span_id"] == session.span("below")["span_id"]
    assert stage["end_time_unix_nano"] - stage["start_time_unix_nano"] == 5 * MS
    assert stage["attributes"] == {"tokens": 3}


def test_names_and_attributes(session: Session) -> None:
    generation = ptx.generation(
        "llm_request",
        operation="chat",
        model="qwen",
        provider="vllm",
        attributes={"gen_ai.request.top_p": 0.9, "seed": 1, "tags": ["a"]},
    )
    generation.end("length", attributes={"seed": 2, "gen_ai.usage.input_tokens": 77}, output_tokens=9)
    attributes = session.span("llm_request")["attributes"]
    assert attributes.pop("gen_ai.response.tokens_per_second") > 0
    assert attributes == {
        **{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "qwen"},
        **{"gen_ai.request.top_p": 0.9, "seed": 2, "tags": ["a"], "gen_ai.usage.input_tokens": 77},
        **{"gen_ai.usage.output_tokens": 9, "gen_ai.response.finish_reasons": ["length"]},
    }
    labels = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "qwen"}
    assert session.point("gen_ai.server.request.duration")["attributes"] == labels
    assert session.point("gen_ai.server.output_tokens")["value"] == 9


@pytest.mark.parametrize("semconv", ["legacy", "both"])
def test_the_names_of_the_engines(session: Session, semconv: Any) -> None:
    generation = ptx.generation(provider="vllm", input_tokens=5, start_time=START, semconv=semconv)
    for name, milliseconds in [("queue", 1), ("prefill", 10), ("decode", 30), ("decode", 2)]:
        generation.stage(name, START, START + milliseconds * MS)
    generation.tokens_at([START + 20 * MS])
    generation.end(end_time=START + 50 * MS)
    attributes = session.span()["attributes"]
    old = {
        **{"gen_ai.system": "vllm", "gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.completion_tokens": 1},
        "gen_ai.latency.e2e": seconds(50 * MS),
        "gen_ai.latency.time_to_first_token": seconds(20 * MS),
        "gen_ai.latency.time_in_queue": seconds(MS),
        "gen_ai.latency.time_in_model_prefill": seconds(10 * MS),
        "gen_ai.latency.time_in_model_decode": seconds(32 * MS),
        "gen_ai.latency.time_in_model_inference": seconds(42 * MS),
    }
    new = {"gen_ai.provider.name": "vllm", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 1}
    assert {key: attributes.get(key) for key in old} == old
    assert {key: attributes.get(key) for key in new} == (new if semconv == "both" else dict.fromkeys(new))
    provider = "gen_ai.system" if semconv == "legacy" else "gen_ai.provider.name"
    labels = {"gen_ai.operation.name": "chat", provider: "vllm"}
    assert session.point("gen_ai.server.request.duration")["attributes"] == labels


def test_a_client_feeds_the_clients_metrics(session: Session) -> None:
    generation = ptx.generation(kind="client", start_time=START)
    generation.tokens_at([START + 10 * MS, START + 20 * MS])
    generation.end(end_time=START + 30 * MS, input_tokens=11, output_tokens=22)
    assert session.span()["kind"] == "client"
    sums = {
        "gen_ai.client.operation.time_to_first_chunk": 0.01,
        "gen_ai.client.operation.time_per_output_chunk": 0.01,
        "gen_ai.client.operation.duration": 0.03,
    }
    for name, total in sums.items():
        assert session.point(name)["sum"] == pytest.approx(total)
    assert session.metric_names() == {*sums, "gen_ai.client.token.usage"}
    assert session.point("gen_ai.client.token.usage", **{"gen_ai.token.type": "output"})["sum"] == 22
    assert session.span()["attributes"][TPOT] == seconds(10 * MS / 21)


def test_metrics_without_a_sampled_span(session: Session) -> None:
    session.begin("always_off")
    with ptx.generation(detail="events", input_tokens=1) as generation:
        generation.token()
        generation.token()
    assert session.point("gen_ai.server.time_to_first_token")["count"] == 1
    assert session.point("gen_ai.server.inter_token_latency")["exemplars"] == []
    assert session.collector.spans == []


def test_more_attribute_sets_than_are_remembered(session: Session) -> None:
    """Each model keeps its own series, first and second time."""
    models = [f"model-{number}" for number in range(600)]
    for model in [*models, *models]:
        generation = ptx.generation(model=model, input_tokens=1)
        generation.tokens(2)
        generation.tokens(3)
        generation.end()
    assert ptx.force_flush()

    def by_model(name: str, value: str) -> dict[str, int]:
        # One collection, in several requests.
        points = session.collector.points(name, every=True)
        return {point["attributes"]["gen_ai.request.model"]: point[value] for point in points}

    assert by_model("gen_ai.server.inter_token_latency", "count") == dict.fromkeys(models, 2)
    assert by_model("gen_ai.server.request.duration", "count") == dict.fromkeys(models, 2)
    assert by_model("gen_ai.server.output_tokens", "value") == dict.fromkeys(models, 10)


def test_exemplars_lead_to_the_request(session: Session) -> None:
    with ptx.generation() as generation:
        generation.token()
    (exemplar,) = session.point("gen_ai.server.time_to_first_token")["exemplars"]
    context = generation.context
    assert (exemplar["trace_id"], exemplar["span_id"]) == (context.trace_id, context.span_id)


# ------------------------------------------------------------------------------------------------ times of tokens


@pytest.mark.parametrize(("count", "stride"), [(512, 1), (513, 2), (1025, 4), (4096, 8), (5000, 16)])
def test_offsets_are_thinned(session: Session, count: int, stride: int) -> None:
    times = random_times(count)
    with ptx.generation(start_time=START, detail="array") as generation:
        generation.tokens_at(times)
    attributes = session.span()["attributes"]
    assert attributes["gen_ai.response.token_times.stride"] == stride
    assert attributes["gen_ai.response.token_times.count"] == count
    assert attributes[OFFSETS] == [(at - START) // 1000 for at in times[::stride]]


def test_events_are_thinned(session: Session) -> None:
    """The limit on events leaves one for how it ended."""
    times = random_times(200)
    with pytest.raises(ValueError), ptx.generation(start_time=START, detail="events") as generation:
        generation.tokens_at(times)
        raise ValueError
    span = session.span()
    tokens = [event for event in span["events"] if event["name"] == "gen_ai.token.generated"]
    assert [event["time_unix_nano"] for event in tokens] == times[::2]
    assert [event["attributes"] for event in tokens] == [{"gen_ai.token.index": i} for i in range(0, 200, 2)]
    assert len(span["events"]) == 101
    assert span["dropped_events_count"] == 0


@pytest.mark.parametrize(
    ("duration_ms", "error", "kept"), [(99, None, False), (100, None, True), (5, "timeout", True)]
)
def test_detail_of_the_slow_and_the_failed(
    session: Session, duration_ms: int, error: str | None, kept: bool
) -> None:
    generation = ptx.generation(start_time=START, detail_if_slower_than_ms=100)
    generation.tokens_at([START + MS])
    generation.end(end_time=START + duration_ms * MS, error=error)
    assert (session.span()["attributes"].get(OFFSETS) == [1000]) == kept


# ------------------------------------------------------------------------------------------------ content


@pytest.mark.parametrize("wanted", [{}, {"capture_content": False}, {"capture_content": 0}])
def test_no_text_leaves_by_default(session: Session, wanted: Any) -> None:
    class Untouchable:
        def __str__(self) -> str:
            raise AssertionError("looked at")

    ptx.generation(**wanted).end(prompt="secret words", completion=Untouchable())
    ptx.get_logger("other").info("arrives")
    assert ptx.force_flush()
    assert [record["body"] for record in session.collector.logs] == ["arrives"]
    assert "secret" not in repr(session.collector.spans)


@pytest.mark.parametrize("semconv", ["latest", "legacy"])
def test_prompt_and_completion(session: Session, semconv: Any) -> None:
    messages = [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
    generation = ptx.generation(capture_content=True, semconv=semconv)
    generation.end(prompt=messages, completion="hi there")
    assert ptx.force_flush()
    record = session.collector.log(CONTENT)
    latest = semconv == "latest"
    assert record["attributes"] == {
        "gen_ai.input.messages" if latest else "gen_ai.prompt": messages,
        "gen_ai.output.messages" if latest else "gen_ai.completion": "hi there",
    }
    assert record["scope"] == "pytracingx.llm.content"
    assert record["severity_number"] == 9
    assert (record["trace_id"], record["span_id"]) == (
        generation.context.trace_id,
        generation.context.span_id,
    )
    assert "hi there" not in repr(session.collector.spans)


def test_content_of_a_share_of_traces(session: Session) -> None:
    """By the ratio test of the samplers: the trace id's low half decides."""
    generations = [ptx.generation(capture_content=0.25) for _ in range(400)]
    for generation in generations:
        generation.end(prompt="p")
    assert ptx.force_flush()
    recorded = {record["trace_id"] for record in session.collector.logs}
    drawn = {generation.context.trace_id for generation in generations}
    assert recorded == {trace for trace in drawn if int(trace[16:], 16) < round(0.25 * 2**64)}
    assert 0 < len(recorded) < 400


def test_the_log_filter_decides_too(session: Session) -> None:
    session.begin(log_filter="info,pytracingx.llm.content=off")
    ptx.generation(capture_content=True).end(prompt="p")
    assert ptx.force_flush()
    assert session.collector.logs == []


@pytest.mark.parametrize(
    ("value", "recorded"),
    [("true", True), ("EVENT_ONLY", True), ("span_only", False), ("false", False), ("nonsense", False)],
)
def test_the_environment(collector: OtlpServer, run_python: RunPython, value: str, recorded: bool) -> None:
    run_python(
        """
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http")]))
        ptx.generation(provider="p").end(prompt="words")
        ptx.generation("no", capture_content=False).end(prompt="other")
        assert ptx.shutdown()
        """,
        env={
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": value,
            "PYTRACINGX_GEN_AI_SEMCONV": "legacy",
        },
    )
    texts = [record["attributes"] for record in collector.logs]
    assert texts == ([{"gen_ai.prompt": "words"}] if recorded else [])
    assert collector.span("chat")["attributes"]["gen_ai.system"] == "p"


def test_captured() -> None:
    ptx.shutdown()
    with capture(strict=True) as captured:
        with ptx.generation(model="m", start_time=START) as generation:
            generation.tokens_at([START + MS, START + 3 * MS])
            generation.end("stop", end_time=START + 4 * MS)
        assert captured.span("chat m").attributes[TTFT] == seconds(MS)
        labels = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
        assert captured.metric("gen_ai.server.inter_token_latency").point(labels).count == 1
