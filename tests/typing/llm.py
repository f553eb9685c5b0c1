"""What a type checker must make of generations and steps. Checked, never run."""

from __future__ import annotations

import array
from typing import Any

from typing_extensions import assert_type

import pytracingx as ptx


async def request(times: array.array[int], error: Exception) -> None:
    with ptx.generation(model="m", input_tokens=3, detail="events", semconv="both") as generation:
        assert_type(generation, ptx.Generation)
        assert_type(generation.context, ptx.SpanContext)
        assert_type(generation.token_count, int)
        generation.token()
        generation.tokens_at(times)
        generation.stage("prefill", ptx.now())
        generation.end("stop", error=error, prompt=[{"role": "user"}])
    async with ptx.generation("chat", parent=generation, capture_content=0.1) as child:
        assert_type(child, ptx.Generation)
    ptx.start_span("child", parent=generation)
    ptx.generation(detail="some")  # type: ignore[arg-type]
    generation.tokens("x")  # type: ignore[arg-type]


def loop() -> None:
    step = ptx.step_recorder("decode", spans=10, attributes={"engine": 0})
    assert_type(step, ptx.StepRecorder)
    with step(batch_size=1, kv_cache_usage=0.5) as current:
        assert_type(current, ptx.Step)
        current.set(waiting=2)
    step.step(preemptions=1)
    step(batch=1)  # type: ignore[call-arg]


def anything(value: Any) -> None:
    ptx.generation(value, model=value, parent=value).end(value, error=value)
