"""Generations with odd lives: counts and times that are none, forks, threads, other sessions, no end."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import RunPython
from generations import (
    OFFSETS,
    START,
    TTFT,
    Session,
    random_times,
    stats,
)
from otlp_server import OtlpServer

import pytracingx as ptx


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
            os._exit(0 if ptx.shutdown() and ptx.stats()["spans"]["dropped"] == {"inherited": 1} else 1)
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
