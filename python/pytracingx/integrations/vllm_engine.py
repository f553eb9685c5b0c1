"""Every request and every step of vLLM's scheduler. Written against vLLM 0.33; found by vLLM itself through
its entry point in `vllm.general_plugins`.

Spans, where `PYTRACINGX_ENGINE=1` is set:

- `vllm.request`, from arrival to the scheduler's letting go of it, in the trace of the request's headers
- `vllm.request.step` under it for each step that it was in, from the beginning of `schedule()` until the
  model's output is there; `scheduled_tokens` tells prefill from decode. None for output that comes after the
  request's end, which vLLM throws away
- `vllm.step`, a trace of its own, until `update_from_output()` is over, with the step recorder's metrics

vLLM is not imported from here: the class gets its hooks when vLLM imports it, in whatever process that is.
"""

from __future__ import annotations

from typing import Any

import pytracingx as ptx

from ._engine import KEY, Hooks, Trace, install


def _make(scheduler: Any) -> Trace:
    config = scheduler.vllm_config.model_config
    served = getattr(config, "served_model_name", None)
    return Trace("vllm", served if isinstance(served, str) else str(config.model))


def _add_request(trace: Trace, scheduler: Any, request: Any) -> None:
    parameters = request.sampling_params
    attributes = {
        "gen_ai.request.id": request.request_id,
        "gen_ai.usage.input_tokens": request.num_prompt_tokens,
        "gen_ai.request.max_tokens": request.max_tokens,
        "gen_ai.request.temperature": getattr(parameters, "temperature", None),
        "gen_ai.request.top_p": getattr(parameters, "top_p", None),
    }
    arrival = int(request.arrival_time * 1e9)
    trace.begin(request.request_id, request.trace_headers, arrival, attributes)


def _schedule(trace: Trace, scheduler: Any, *_: Any, **__: Any) -> tuple[int, ptx.Step]:
    started = ptx.now()
    return started, trace.step().__enter__()


def _scheduled(
    trace: Trace, scheduler: Any, begun: tuple[int, ptx.Step], output: Any, *_: Any, **__: Any
) -> None:
    setattr(output, KEY, begun)


def _update(trace: Trace, scheduler: Any, scheduler_output: Any, model_runner_output: Any) -> ptx.Step:
    started: int
    step: ptx.Step
    started, step = getattr(scheduler_output, KEY)
    scheduled = scheduler_output.num_scheduled_tokens
    total = scheduler_output.total_num_scheduled_tokens
    batch = len(scheduled)
    if batch:
        trace.record(list(scheduled), started, 1 if total == batch else list(scheduled.values()))
    step.set(
        batch_size=batch,
        scheduled_tokens=total,
        waiting=len(scheduler.waiting),
        kv_cache_usage=scheduler.kv_cache_manager.usage,
        preemptions=len(scheduler_output.preempted_req_ids or ()),
    )
    return step


def _updated(trace: Trace, scheduler: Any, step: ptx.Step, *_: Any, **__: Any) -> None:
    step.__exit__(None, None, None)
    if not scheduler.requests:
        trace.step.idle()


def _free_request(trace: Trace, scheduler: Any, request: Any, *_: Any, **__: Any) -> None:
    attributes = {
        "gen_ai.usage.output_tokens": request.num_output_tokens,
        "vllm.preemptions": request.num_preemptions,
    }
    trace.end(request.request_id, str(request.get_finished_reason()), attributes)


def register() -> None:
    """Called by vLLM in each of its processes."""
    hooks: Hooks = {
        "add_request": (_add_request, None),
        "schedule": (_schedule, _scheduled),
        "update_from_output": (_update, _updated),
        "_free_request": (_free_request, None),
    }
    install("vllm.v1.core.sched.scheduler", _make, hooks)
