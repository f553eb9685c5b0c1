"""A scheduler's loop in a process of its own: `scheduler_loop.py LIBRARY ENDPOINT RUNNING BURSTS STEPS`, JSON
on stdout.

The scheduler is vLLM's own where `vllm` can be imported, without weights or GPU, else the stand-in of the
tests. Bursts of steps with tracing off and on take turns, on one scheduler each; requests end, others take
their place. A step is `schedule()` and `update_from_output()`; the time inside the calls of a library is what
the wrapped methods take beyond the original ones. Both kinds of steps have the clocks that measure it around
the methods: what those find where there is nothing between them is their own, and taken off.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

METHODS = ("add_request", "schedule", "update_from_output", "_free_request")
PROMPT_TOKENS, MODULE = 64, "vllm.v1.core.sched.scheduler"


class Ours:
    """The plugin, as vLLM loads it."""

    def __init__(self, endpoint: str) -> None:
        os.environ["PYTRACINGX_ENGINE"] = "1"
        import pytracingx as ptx
        from pytracingx.integrations import vllm_engine

        sinks = [ptx.TraceSink(f"{endpoint}/v1/traces"), ptx.MetricSink(f"{endpoint}/v1/metrics")]
        ptx.init(ptx.Config("bench", console_output=False, sinks=sinks))
        self.install, self.stop = vllm_engine.register, ptx.shutdown


class ByHand:
    """The same spans from the same methods, one by one, in the cheapest way of the library."""

    def install(self) -> None:
        scheduler = sys.modules[MODULE].Scheduler
        add, schedule, update, free = (getattr(scheduler, name) for name in METHODS)
        requests: dict[str, Any] = {}

        def add_request(this: Any, request: Any) -> None:
            attributes = {"gen_ai.request.id": request.request_id, "input_tokens": request.num_prompt_tokens}
            requests[request.request_id] = self.request(attributes)
            add(this, request)

        def traced_schedule(this: Any, *args: Any) -> Any:
            began = time.time_ns()
            output = schedule(this, *args)
            output.began = began
            return output

        def update_from_output(this: Any, output: Any, result: Any) -> Any:
            tokens = output.num_scheduled_tokens
            self.rows(((requests[key], count) for key, count in tokens.items()), output.began)
            outputs = update(this, output, result)
            self.step({"batch_size": len(tokens), "waiting": len(this.waiting)}, output.began)
            return outputs

        def free_request(this: Any, request: Any, *args: Any, **options: Any) -> Any:
            self.end(requests.pop(request.request_id))
            return free(this, request, *args, **options)

        for name, method in zip(METHODS, (add_request, traced_schedule, update_from_output, free_request)):
            setattr(scheduler, name, method)

    request: Callable[..., Any]
    end: Callable[..., None]
    rows: Callable[..., None]
    step: Callable[..., None]


class Published(ByHand):
    """0.3.0 has no parents and no times: a span is of the current trace, and begins now."""

    def __init__(self, endpoint: str) -> None:
        import pytracingx as ptx

        sinks = [ptx.TraceSink(f"{endpoint}/v1/traces", protocol="http/protobuf")]
        ptx.init(ptx.Config("bench", console_output=False, sinks=sinks))
        self.start, self.stop = ptx.start_span, lambda: (ptx.force_flush(), ptx.shutdown())

    def request(self, attributes: Any) -> Any:
        return attributes

    def end(self, attributes: Any) -> None:
        with self.start("vllm.request", attributes=attributes):
            pass

    def rows(self, batch: Any, began: int) -> None:
        for _, count in batch:
            with self.start("vllm.request.step", attributes={"scheduled_tokens": count}):
                pass

    def step(self, attributes: Any, began: int) -> None:
        with self.start("vllm.step", attributes=attributes):
            pass


class OpenTelemetry(ByHand):
    def __init__(self, endpoint: str) -> None:
        import logging

        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import set_span_in_context

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        self.start, self.context = provider.get_tracer("bench").start_span, set_span_in_context
        self.stop = provider.shutdown

    def request(self, attributes: Any) -> Any:
        span = self.start("vllm.request", attributes=attributes)
        return span, self.context(span)

    def end(self, request: Any) -> None:
        request[0].end()

    def rows(self, batch: Any, began: int) -> None:
        now = time.time_ns()
        for (_, context), count in batch:
            attributes = {"scheduled_tokens": count}
            self.start("vllm.request.step", context, attributes=attributes, start_time=began).end(now)

    def step(self, attributes: Any, began: int) -> None:
        self.start("vllm.step", attributes=attributes, start_time=began).end()


LIBRARIES = {"pytracingx": Ours, "pytracingx 0.3.0": Published, "opentelemetry-sdk": OpenTelemetry}


class Clock:
    """How long tracing takes: what the methods as they are called take beyond those that it wraps."""

    def __init__(self) -> None:
        self.tracing = 0

    def timed(self, method: Any, sign: int) -> Any:
        """Adds what the method takes, or takes it away: methods call each other, and all adds up."""
        clock = time.perf_counter_ns

        def timed(this: Any, *args: Any, **options: Any) -> Any:
            began = clock()
            result = method(this, *args, **options)
            self.tracing += sign * (clock() - began)
            return result

        return timed


class Driver:
    """One scheduler with so many requests running. Each ends after 40 to 99 tokens, and another follows."""

    def __init__(self, running: int) -> None:
        self.create, self.request, self.output, self.abort = engine()
        self.running, self.requests, self.rows = running, 0, 0
        self.scheduler = self.create(running)

    def step(self) -> int:
        """ns of one step."""
        scheduler = self.scheduler
        while len(scheduler.requests) < self.running:
            self.requests += 1
            scheduler.add_request(self.request(self.requests, 40 + self.requests * 7 % 60))
        began = time.perf_counter_ns()
        output = scheduler.schedule()
        scheduled = time.perf_counter_ns()
        self.rows += len(output.num_scheduled_tokens)
        result = self.output(scheduler, output)
        resumed = time.perf_counter_ns()
        scheduler.update_from_output(output, result)
        return time.perf_counter_ns() - resumed + scheduled - began

    def finish(self) -> None:
        self.scheduler.finish_requests(list(self.scheduler.requests), self.abort)


def engine() -> tuple[Any, Any, Any, Any]:
    """A scheduler, a request, a model's output, and the status of an abort: of vLLM or of the stand-in."""
    import vllm.v1.core.sched.scheduler as module

    if hasattr(module, "KVCacheManager"):
        import scheduler_vllm

        return scheduler_vllm.scheduler, scheduler_vllm.request, scheduler_vllm.output, scheduler_vllm.ABORTED
    return (
        lambda running: module.Scheduler(max_num_seqs=running),
        lambda number, tokens: module.Request(f"r{number}", [1] * PROMPT_TOKENS, tokens),
        lambda scheduler, output: None,
        "abort",
    )


def percentiles(values: list[int]) -> list[float]:
    ordered = sorted(values)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1e3 for share in (0.5, 0.99, 0.999)]


def main() -> None:
    library, endpoint, *numbers = sys.argv[1:]
    running, bursts, steps = map(int, numbers)
    engine()
    scheduler, clock = sys.modules[MODULE].Scheduler, Clock()
    tracing = LIBRARIES[library](endpoint)

    def switch(methods: dict[str, Any]) -> None:
        for name, method in methods.items():
            setattr(scheduler, name, method)

    inner = {name: clock.timed(getattr(scheduler, name), -1) for name in METHODS}
    plain = {name: clock.timed(method, 1) for name, method in inner.items()}
    switch(inner)
    tracing.install()
    traced = {name: clock.timed(getattr(scheduler, name), 1) for name in METHODS}

    drivers = {"off": (Driver(running), plain), "on": (Driver(running), traced)}
    times: dict[str, list[int]] = {"off": [], "on": []}
    inside: dict[str, list[int]] = {"off": [], "on": []}
    for burst in range(bursts + 1):
        for name, (driver, methods) in drivers.items():
            switch(methods)
            gc.collect()
            for _ in range(steps):
                before = clock.tracing
                taken = driver.step()
                if burst:  # the first warms up
                    times[name].append(taken)
                    inside[name].append(clock.tracing - before)
    on = drivers["on"][0]
    on.finish()
    tracing.stop()
    (inside_us, *_), (clocks_us, *_) = percentiles(inside["on"]), percentiles(inside["off"])
    result = {
        "off_us": percentiles(times["off"]),
        "on_us": percentiles(times["on"]),
        "inside_us": inside_us,
        "clocks_us": clocks_us,
        "share": (sum(inside["on"]) - sum(inside["off"])) / sum(times["on"]),
        "median_share": (inside_us - clocks_us) / percentiles(times["on"])[0],
        "spans": on.rows + on.requests + (bursts + 1) * steps,
        "real": hasattr(sys.modules[MODULE], "KVCacheManager"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    if "vllm" not in sys.modules:
        try:
            import vllm  # noqa: F401
        except ImportError:
            sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "python" / "stand_ins"))
    main()
