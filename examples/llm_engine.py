"""A continuous-batching engine in miniature, with every token traced. No GPU, no weights: the costs of
prefill and decode are slept.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python examples/llm_engine.py

What a real engine would do to keep all of it on:

- each request is a `Generation`: a span with the GenAI attributes, times to and between tokens; histograms
- each scheduler step is a `Step`: batch size, KV-cache use, waiting requests, and the gap before it
- each step of each request is a span under the request, all of a step by one call whose parents are kept from
  step to step in a `ParentSet`
- what goes wrong is a log record with the ids of its request
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import pytracingx as ptx

MODEL = "toy-8b"
BATCH_LIMIT = 4
CHUNK_TOKENS = 256
KV_CACHE_TOKENS = 1700
PREFILL_S_PER_TOKEN = 0.000_004
DECODE_S = 0.000_8

log = ptx.get_logger("llm-engine")
STEP = ptx.step_recorder("engine.step")
FORWARD = ptx.SpanTemplate("forward", attributes={"gen_ai.request.model": MODEL})

# Prompt tokens and tokens to generate.
TRAFFIC = [(120, 12), (600, 8), (60, 16), (900, 6), (300, 10), (40, 20)]


@dataclass
class Request:
    """`computed` of its prompt's tokens are in the cache."""

    prompt_tokens: int
    max_tokens: int
    computed: int = 0
    generated: int = 0
    generation: ptx.Generation = field(init=False)

    def __post_init__(self) -> None:
        self.generation = ptx.generation(
            model=MODEL, provider="toy", input_tokens=self.prompt_tokens, detail="array"
        )


class Engine:
    def __init__(self) -> None:
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        # The running requests' spans, in the same order.
        self.parents = ptx.parent_set()

    def cached_tokens(self) -> int:
        return sum(request.computed + request.generated for request in self.running)

    def admit(self) -> None:
        while self.waiting and len(self.running) < BATCH_LIMIT:
            request = self.waiting.popleft()
            self.running.append(request)
            self.parents.add(request.generation.context)

    def leave(self, request: Request) -> None:
        self.running.remove(request)
        self.parents.discard(request.generation.context)

    def preempt(self) -> int:
        """Put the youngest back until the cache is large enough; how many that were."""
        preempted = 0
        while self.cached_tokens() > KV_CACHE_TOKENS:
            request = self.running[-1]
            self.leave(request)
            request.computed = 0
            self.waiting.append(request)
            preempted += 1
            attributes = {"prompt_tokens": request.prompt_tokens, "generated": request.generated}
            with ptx.use_span(request.generation.context):
                log.warn("preempted", attributes=attributes)
        return preempted

    def step(self) -> None:
        with STEP(waiting=len(self.waiting)) as step:
            began = ptx.now()
            preempted = self.preempt()
            if not preempted:
                self.admit()
            scheduled = [
                min(request.prompt_tokens - request.computed, CHUNK_TOKENS) or 1 for request in self.running
            ]
            step.set(
                batch_size=len(scheduled),
                scheduled_tokens=sum(scheduled),
                kv_cache_usage=self.cached_tokens() / KV_CACHE_TOKENS,
                preemptions=preempted,
            )
            time.sleep(DECODE_S + sum(scheduled) * PREFILL_S_PER_TOKEN)
            FORWARD.record_spans(self.parents, began, ptx.now(), {"scheduled_tokens": scheduled})
            for request, tokens in list(zip(self.running, scheduled)):
                self.take(request, tokens)

    def take(self, request: Request, tokens: int) -> None:
        """The output of a step for one request: a token, unless only a part of its prompt was computed."""
        if request.computed < request.prompt_tokens:
            request.computed += tokens
            if request.computed < request.prompt_tokens:
                return
        request.generated += 1
        request.generation.token()
        if request.generated == request.max_tokens:
            self.leave(request)
            request.generation.end("length")


def main() -> None:
    ptx.init()  # the endpoint and everything else come from OTEL_* variables
    engine = Engine()
    engine.waiting.extend(Request(*each) for each in TRAFFIC)
    while engine.waiting or engine.running:
        engine.step()
    print("all delivered" if ptx.shutdown() else "not all was delivered")


if __name__ == "__main__":
    main()
