"""Every request and every step of vLLM's scheduler. Written against vLLM 0.33; found by vLLM itself through
its entry point in `vllm.general_plugins`.

Spans, where `PYTRACINGX_ENGINE=1` is set:

- `vllm.request`, from arrival until the scheduler lets go of it (where a step ends it, the end of that step),
  in the trace of the request's headers
- `vllm.request.step` under it for each step that it was in, from the beginning of `schedule()` until the
  model's output is there; `scheduled_tokens` tells prefill from decode. None for output that comes after the
  request's end, which vLLM throws away
- `vllm.step`, a trace of its own, until `update_from_output()` is over, with the step recorder's metrics

vLLM is not imported from here: the class gets its hooks when vLLM imports it, in whatever process that is.
"""

from __future__ import annotations

from typing import Any

import pytracingx as ptx

from ._engine import KEY, Hooks, Method, Trace, attach, install

# What a member of vLLM's enumeration says in several calls of Python functions: by its identity, and with it.
_reasons: dict[int, tuple[str, Any]] = {}


class _VllmTrace(Trace):
    __slots__ = ("freed",)

    def __init__(self, model: str) -> None:
        super().__init__("vllm", model, "vllm.preemptions")
        # While a step's output is taken: `over`'s arguments for the requests that it ends.
        self.freed: list[tuple[tuple[Any, ...], Any, float]] | None = None

    def begun(self, name: str, headers: Any, arrived: float) -> bool:
        return self.begin(name, ptx.extract_context(headers) if headers else None, int(arrived * 1e9))

    def ended(self, request: Any) -> None:
        """It ends now, or with the step under way. Nothing holds on to it: vLLM frees it when it means to."""
        name, status, temperature, top_p = request.request_id, request.status, None, None
        if (parameters := request.sampling_params) is not None:
            temperature, top_p = parameters.temperature, parameters.top_p
        known = _reasons.get(id(status))
        if known is None:
            known = _reasons[id(status)] = str(request.get_finished_reason()), status
        reason = known[0]
        said = (
            name,
            reason == "error",
            name,
            request.num_prompt_tokens,
            request.num_output_tokens,
            request.max_tokens,
            temperature,
            top_p,
            (reason,),
            request.num_preemptions,
        )
        if self.freed is None:
            self.over(said, request.trace_headers, request.arrival_time)
        else:
            self.freed.append((said, request.trace_headers, request.arrival_time))

    def over(self, said: tuple[Any, ...], headers: Any, arrived: float) -> None:
        """A request has ended: what is said of it, and what it would have begun with."""
        # One that was never scheduled has not begun.
        if not self.end(*said) and self.begun(said[0], headers, arrived):
            self.end(*said)


def _make(scheduler: Any) -> _VllmTrace:
    config = scheduler.vllm_config.model_config
    served = getattr(config, "served_model_name", None)
    return _VllmTrace(served if isinstance(served, str) else str(config.model))


def _schedule(original: Method) -> Method:
    now = ptx.now

    def schedule(self: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        started = now()
        output = original(self, *args, **kwargs)
        if trace.is_on:
            try:
                output._pytracingx = started
                for new in output.scheduled_new_reqs:
                    request = self.requests[new.req_id]
                    trace.begun(new.req_id, request.trace_headers, request.arrival_time)
            except Exception as error:
                trace.failed(error)
        return output

    return schedule


def _update_from_output(original: Method) -> Method:
    now = ptx.now

    def update_from_output(self: Any, output: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if not trace.is_on:
            return original(self, output, *args, **kwargs)
        ended = now()
        trace.freed = []
        result: Any = {}
        try:
            result = original(self, output, *args, **kwargs)
        finally:
            freed, trace.freed = trace.freed, None
            if trace.is_on:
                try:
                    _record(trace, self, output, ended, result)
                    for ended_with_it in freed:
                        trace.over(*ended_with_it)
                    if not self.requests:
                        trace.idle()
                except Exception as error:
                    trace.failed(error)
        return result

    return update_from_output


def _record(trace: _VllmTrace, scheduler: Any, output: Any, ended: int, result: Any) -> None:
    # One that vLLM makes up to get done with what is under way has not been scheduled.
    started = getattr(output, KEY, None)
    if started is None:
        return
    usage = None
    for first in result.values():
        # As vLLM has just computed it for its own statistics, if it has.
        stats = first.scheduler_stats
        if stats is not None:
            waiting, usage = stats.num_waiting_reqs + stats.num_skipped_waiting_reqs, stats.kv_cache_usage
        break
    if usage is None:
        (_, waiting), usage = scheduler.get_request_counts(), scheduler.kv_cache_manager.usage
    preempted = output.preempted_req_ids
    trace.step(
        output.num_scheduled_tokens,
        started,
        ended,
        None,
        output.total_num_scheduled_tokens,
        waiting,
        usage,
        len(preempted) if preempted else 0,
    )


def _free_request(original: Method) -> Method:
    def free_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if trace.is_on:
            try:
                trace.ended(request)
            except Exception as error:
                trace.failed(error)
        return original(self, request, *args, **kwargs)

    return free_request


def register() -> None:
    """Called by vLLM in each of its processes."""
    hooks: Hooks = {
        "schedule": _schedule,
        "update_from_output": _update_from_output,
        "_free_request": _free_request,
    }
    install("vllm.v1.core.sched.scheduler", hooks)
