"""An LLM server in miniature, instrumented the way a real one would be.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python examples/llm_serving.py

Requests arrive over "HTTP", some of them continuing a caller's trace, are tokenized, wait in a queue, and
are then decoded together, step by step, by one engine loop. The times are slept, everything else is what an
instrumented server does:

- each request is one trace: a server span, current through `contextvars` while its coroutine runs
- the engine runs in a task of its own and serves many requests at once, so it never makes their spans
  current: it records each request's share of a step as a finished span under it, the cheapest call there is
- each engine step is a trace of its own, linked to the requests in its batch
- time to first token, time per output token and token counts are metrics; KV-cache usage is asked for at each
  collection
- log records carry the ids of the request's span, those of the standard library's `logging` too
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field

import pytracingx as ptx
import pytracingx.logging

MODEL = "qwen2.5-72b-instruct"
CONTEXT_LENGTH = 4096
BATCH_LIMIT = 3
KV_CACHE_TOKENS = 8192
SLOW_FIRST_TOKEN_S = 0.02
PREFILL_S_PER_TOKEN = 0.000_01
DECODE_STEP_S = 0.002

meter = ptx.get_meter("llm-server")
TIME_TO_FIRST_TOKEN = meter.histogram("gen_ai.server.time_to_first_token", unit="s")
TIME_PER_OUTPUT_TOKEN = meter.histogram("gen_ai.server.time_per_output_token", unit="s")
tokens = meter.counter("gen_ai.server.tokens", unit="{token}")
PROMPT_TOKENS = tokens.bind({"gen_ai.token.type": "input"})
COMPLETION_TOKENS = tokens.bind({"gen_ai.token.type": "output"})

log = ptx.get_logger("llm-server")

GATEWAY = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "gateway=eu1",
}

# (headers, prompt tokens, tokens to generate, seconds after which the client hangs up)
TRAFFIC = [
    (GATEWAY, 900, 12, None),
    ({}, 120, 8, None),
    ({}, 9000, 16, None),  # longer than the context: refused
    ({}, 2400, 20, None),
    (GATEWAY, 60, 6, None),
    ({}, 300, 400, 0.09),  # the client hangs up while it is decoded
]


class ContextLengthExceeded(ValueError):
    """The prompt does not fit the model's context."""


@dataclass
class Request:
    """What the engine knows of a request; `trace` is where its spans belong."""

    trace: ptx.SpanContext
    prompt_tokens: int
    max_tokens: int
    queued_at: int
    generated: int = 0
    cancelled: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    first_token: asyncio.Event = field(default_factory=asyncio.Event)


class Engine:
    """Continuous batching: a step decodes one token for each running request, and lets waiting ones in."""

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.arrived = asyncio.Event()
        meter.observable_gauge("llm.kv_cache.usage", self.kv_cache_usage, unit="1")

    def kv_cache_usage(self) -> float:
        """The share of the cache that holds tokens; called in a thread of pytracingx's own."""
        return sum(request.prompt_tokens + request.generated for request in self.running) / KV_CACHE_TOKENS

    async def run(self) -> None:
        while True:
            if not (self.waiting or self.running):
                self.arrived.clear()
                await self.arrived.wait()
            await self.step()

    async def step(self) -> None:
        started = ptx.now()
        self.waiting = [request for request in self.waiting if not request.cancelled]
        admitted = [
            self.waiting.pop(0) for _ in range(min(len(self.waiting), BATCH_LIMIT - len(self.running)))
        ]
        for request in admitted:
            ptx.record_span("queue", request.queued_at, started, parent=request.trace)
        self.running += admitted

        prefill_tokens = sum(request.prompt_tokens for request in admitted)
        await asyncio.sleep(DECODE_STEP_S + prefill_tokens * PREFILL_S_PER_TOKEN)

        ended = ptx.now()
        for request in self.running:
            request.generated += 1
            COMPLETION_TOKENS.add(1)
            if request in admitted:
                PROMPT_TOKENS.add(request.prompt_tokens)
                attributes = {"gen_ai.usage.input_tokens": request.prompt_tokens}
                ptx.record_span("prefill", started, ended, attributes, parent=request.trace)
            else:
                TIME_PER_OUTPUT_TOKEN.record((ended - started) / 1e9)
                attributes = {"token.index": request.generated}
                ptx.record_span("decode", started, ended, attributes, parent=request.trace)
            request.first_token.set()
            if request.generated >= request.max_tokens:
                request.done.set()
        ptx.record_span(
            "engine.step",
            started,
            ended,
            {"batch.size": len(self.running), "batch.prefill_tokens": prefill_tokens},
            links=[request.trace for request in self.running],
        )
        self.running = [r for r in self.running if not (r.done.is_set() or r.cancelled)]


async def tokenize(prompt_tokens: int) -> None:
    with ptx.start_span("tokenize", {"prompt.characters": prompt_tokens * 4}) as span:
        await asyncio.sleep(0.001)
        if prompt_tokens > CONTEXT_LENGTH:
            raise ContextLengthExceeded(f"{prompt_tokens} tokens, the model takes {CONTEXT_LENGTH}")
        span.set_attribute("gen_ai.usage.input_tokens", prompt_tokens)


async def moderate(text_tokens: int) -> None:
    """A call to another service: its server span continues the trace that the headers carry."""
    with ptx.start_span("POST /v1/moderations", {"server.address": "moderation"}, kind="client"):
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        with ptx.extract_headers(headers), ptx.start_span("moderate", {"tokens": text_tokens}, kind="server"):
            await asyncio.sleep(0.002)
            logging.getLogger("moderation").info("%d tokens are harmless", text_tokens)


async def generate(engine: Engine, span: ptx.Span, prompt_tokens: int, max_tokens: int) -> None:
    request = Request(span.context, prompt_tokens, max_tokens, ptx.now())
    engine.waiting.append(request)
    engine.arrived.set()
    try:
        await request.first_token.wait()
        span.add_event("first_token")
        waited_s = (ptx.now() - request.queued_at) / 1e9
        TIME_TO_FIRST_TOKEN.record(waited_s)  # within the span: may leave its ids as an exemplar
        if waited_s > SLOW_FIRST_TOKEN_S:
            log.warn("slow first token", attributes={"seconds": waited_s, "prompt_tokens": prompt_tokens})
        await request.done.wait()
        log.info("generated", attributes={"tokens": request.generated})
    finally:
        request.cancelled = not request.done.is_set()
        if request.cancelled:
            log.warn("the client hung up", attributes={"tokens": request.generated})
        span.set_attribute("gen_ai.usage.output_tokens", request.generated)


async def chat_completions(
    engine: Engine, headers: dict[str, str], prompt_tokens: int, max_tokens: int
) -> int:
    """Handle one request; the HTTP status."""
    attributes = {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.max_tokens": max_tokens,
    }
    with (
        ptx.extract_headers(headers),
        ptx.start_span("POST /v1/chat/completions", attributes, "server") as span,
    ):
        status = 200
        try:
            await tokenize(prompt_tokens)
            await generate(engine, span, prompt_tokens, max_tokens)
            with ptx.start_span("detokenize"):
                await asyncio.sleep(0.000_5)
            await moderate(max_tokens)
        except ContextLengthExceeded as refused:
            span.record_exception(refused)
            log.error("refused", exc_info=refused)
            status = 400
        span.set_attribute("http.response.status_code", status)
        return status


async def serve() -> None:
    engine = Engine()
    loop = asyncio.create_task(engine.run())
    handlers = []
    for headers, prompt_tokens, max_tokens, patience_s in TRAFFIC:
        handler = chat_completions(engine, headers, prompt_tokens, max_tokens)
        handlers.append(asyncio.create_task(asyncio.wait_for(handler, patience_s)))
        await asyncio.sleep(random.uniform(0.002, 0.006))
    await asyncio.gather(*handlers, return_exceptions=True)
    loop.cancel()


def main() -> None:
    ptx.init()  # Config.from_env(): the endpoint and everything else come from OTEL_* variables
    pytracingx.logging.install(logging.INFO)
    asyncio.run(serve())
    print("all delivered" if ptx.shutdown() else "not all was delivered")


if __name__ == "__main__":
    main()
