"""A session with all three signals for tests of generations, and what the numbers of one come to."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from otlp_server import Decoded, OtlpServer

import pytracingx as ptx

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
