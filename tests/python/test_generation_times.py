"""The times of a generation's tokens: what they come to on spans and in metrics, each number recomputed from them."""

from __future__ import annotations

import array
import random
import time
from typing import Any

import numpy as np
import pytest
from generations import (
    GAP,
    MS,
    OFFSETS,
    START,
    TPOT,
    TTFT,
    Session,
    bucket_counts,
    expected,
    nearest_rank,
    random_times,
    seconds,
)

import pytracingx as ptx

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
