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

from ._engine import Hooks, Method, Trace, attach, install

# What vLLM's enumeration says in several calls of Python functions, by its members.
_reasons: dict[Any, str] = {}


def _make(scheduler: Any) -> Trace:
    config = scheduler.vllm_config.model_config
    served = getattr(config, "served_model_name", None)
    return Trace("vllm", served if isinstance(served, str) else str(config.model), "vllm.preemptions")


def _add_request(original: Method) -> Method:
    def add_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if trace.is_on:
            try:
                headers = request.trace_headers
                parent = ptx.extract_context(headers) if headers else None
                trace.begin(request.request_id, parent, int(request.arrival_time * 1e9))
            except Exception as error:
                trace.failed(error)
        return original(self, request, *args, **kwargs)

    return add_request


def _schedule(original: Method) -> Method:
    now = ptx.now

    def schedule(self: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        started = now()
        output = original(self, *args, **kwargs)
        if trace.is_on:
            try:
                output._pytracingx = started
            except Exception as error:
                trace.failed(error)
        return output

    return schedule


def _update_from_output(original: Method) -> Method:
    def update_from_output(self: Any, output: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if not trace.is_on:
            return original(self, output, *args, **kwargs)
        try:
            started = output._pytracingx
            scheduled = output.num_scheduled_tokens
            trace.record(scheduled, started)
        except Exception as error:
            trace.failed(error)
        result = original(self, output, *args, **kwargs)
        if trace.is_on:
            try:
                preempted = output.preempted_req_ids
                trace.record_step(
                    started,
                    batch_size=len(scheduled),
                    scheduled_tokens=output.total_num_scheduled_tokens,
                    waiting=len(self.waiting),
                    kv_cache_usage=_kv_cache_usage(self, result),
                    preemptions=len(preempted) if preempted else 0,
                )
                if not self.requests:
                    trace.idle()
            except Exception as error:
                trace.failed(error)
        return result

    return update_from_output


def _kv_cache_usage(scheduler: Any, outputs: Any) -> Any:
    """As vLLM has just computed it for its own statistics, if it has."""
    for first in outputs.values():
        stats = first.scheduler_stats
        if stats is not None:
            return stats.kv_cache_usage
        break
    return scheduler.kv_cache_manager.usage


def _free_request(original: Method) -> Method:
    def free_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if trace.is_on:
            try:
                _end(trace, request)
            except Exception as error:
                trace.failed(error)
        return original(self, request, *args, **kwargs)

    return free_request


def _end(trace: Trace, request: Any) -> None:
    name = request.request_id
    finished = request.get_finished_reason()
    reason = _reasons.get(finished)
    if reason is None:
        reason = _reasons[finished] = str(finished)
    parameters = request.sampling_params
    trace.end(
        name,
        reason == "error",
        name,
        request.num_prompt_tokens,
        request.num_output_tokens,
        request.max_tokens,
        getattr(parameters, "temperature", None),
        getattr(parameters, "top_p", None),
        (reason,),
        request.num_preemptions,
    )


def register() -> None:
    """Called by vLLM in each of its processes."""
    hooks: Hooks = {
        "add_request": _add_request,
        "schedule": _schedule,
        "update_from_output": _update_from_output,
        "_free_request": _free_request,
    }
    install("vllm.v1.core.sched.scheduler", hooks)
