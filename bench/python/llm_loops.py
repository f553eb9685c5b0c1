"""The work of the `llm` benchmark in each library's own API: a token, a scheduler's step, a whole generation.

What has no such calls records what ours record, as a careful user would: times kept in a list, percentiles at
the end, every gap into a histogram.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Loop = Callable[[int], None]

TOKEN = "a token"
STEP = "a step, 3 fields"
GENERATION = "a generation of 128 tokens"
ROWS = [TOKEN, STEP, GENERATION]
# Tokens of the generation, or the span, whose tokens are timed one by one.
LONG = 4000
TOKENS = 128


def native(ptx: Any) -> dict[str, Loop]:
    """Ours."""
    step = ptx.step_recorder("decode")

    def tokens(count: int) -> None:
        for _ in range(count // LONG):
            generation = ptx.generation("chat", model="qwen2.5-72b", provider="vllm", input_tokens=512)
            for _ in range(LONG):
                generation.token()
            generation.end("stop")

    def steps(count: int) -> None:
        for _ in range(count):
            with step(batch_size=32, scheduled_tokens=64, kv_cache_usage=0.5):
                pass

    def generations(count: int) -> None:
        for _ in range(count):
            generation = ptx.generation("chat", model="qwen2.5-72b", provider="vllm", input_tokens=512)
            for _ in range(TOKENS):
                generation.token()
            generation.end("stop")

    return {TOKEN: tokens, STEP: steps, GENERATION: generations}


def by_hand(
    start_span: Any, histogram: Callable[[str], Any], set_gauge: Callable[[str], Any]
) -> dict[str, Loop]:
    """With `start_span(name, attributes=…)` as a context manager, instruments by name."""
    record_duration, record_gap = histogram("step.duration").record, histogram("step.gap").record
    record_batch, record_scheduled = histogram("batch").record, histogram("scheduled").record
    set_running, set_usage = set_gauge("running"), set_gauge("usage")
    first, per_token, inter, duration, usage = map(histogram, ["first", "per", "inter", "duration", "usage"])
    now, clock = time.time_ns, time.perf_counter

    def tokens(count: int) -> None:
        for _ in range(count // LONG):
            with start_span("chat qwen2.5-72b") as span:
                for _ in range(LONG):
                    span.add_event("gen_ai.token.generated")

    def steps(count: int) -> None:
        ended = clock()
        for _ in range(count):
            began = clock()
            record_gap(began - ended)
            with start_span("decode", attributes={"batch": 32, "scheduled": 64, "usage": 0.5}):
                pass
            ended = clock()
            record_duration(ended - began)
            record_batch(32)
            record_scheduled(64)
            set_running(32)
            set_usage(0.5)

    def generations(count: int) -> None:
        labels = {"gen_ai.request.model": "qwen2.5-72b", "gen_ai.provider.name": "vllm"}
        for _ in range(count):
            with start_span("chat qwen2.5-72b", attributes={**labels, "input_tokens": 512}) as span:
                began, times = now(), []
                for _ in range(TOKENS):
                    times.append(now())
                gaps = sorted(later - earlier for earlier, later in zip(times, times[1:]))
                mean = (times[-1] - times[0]) / (TOKENS - 1) / 1e9
                for key, value in {
                    **{"finish_reason": "stop", "output_tokens": TOKENS, "first": (times[0] - began) / 1e9},
                    **{"p50": gaps[63] / 1e9, "p99": gaps[125] / 1e9, "max": gaps[-1] / 1e9, "per": mean},
                }.items():
                    span.set_attribute(key, value)
                first.record((times[0] - began) / 1e9, labels)
                per_token.record(mean, labels)
                for gap in gaps:
                    inter.record(gap / 1e9, labels)
                duration.record((now() - began) / 1e9, labels)
                usage.record(512, labels)
                usage.record(TOKENS, labels)

    return {TOKEN: tokens, STEP: steps, GENERATION: generations}
