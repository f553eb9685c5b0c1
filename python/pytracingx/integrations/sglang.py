"""Every request and every step of SGLang's scheduler. Written against SGLang 0.5.23; found by SGLang itself
through its entry point in `sglang.srt.plugins`.

Spans, where `PYTRACINGX_ENGINE=1` is set:

- `sglang.request`, from the scheduler's queue until it is finished; where SGLang traces too, in its trace
- `sglang.request.step` under it for each batch that it was in, from `run_batch()` until the result is there;
  `scheduled_tokens` tells prefill from decode. None for what an overlapped batch did after the request's end
- `sglang.step`, a trace of its own, until `process_batch_result()` is over, with the step recorder's metrics

The class gets its hooks when SGLang imports it. Not through SGLang's hook registry: that would import the
scheduler, and with it all of a GPU's libraries, into every process.
"""

from __future__ import annotations

import weakref
from typing import Any

import pytracingx as ptx

from ._engine import Hooks, Trace, install

# Batches that ran and have no result yet, among them parts of a split prefill, which never do.
OPEN_STEPS_MAX = 64


class _SglangTrace(Trace):
    __slots__ = ("begun",)

    def __init__(self, model: str | None) -> None:
        super().__init__("sglang", model)
        # By the number of the forward pass: a batch is copied between running and processing.
        self.begun: dict[int, tuple[int, ptx.Step]] = {}


def _make(scheduler: Any) -> _SglangTrace:
    arguments = scheduler.server_args
    return _SglangTrace(getattr(arguments, "served_model_name", None) or arguments.model_path)


def _headers(request: Any) -> Any:
    """Of the trace that SGLang itself has for the request, if it traces."""
    context = request.time_stats.trace_ctx
    state = context.__getstate__() if context.tracing_enable else None
    headers = state.get("root_span_context") if isinstance(state, dict) else None
    return headers if isinstance(headers, dict) else None


def _queue(trace: _SglangTrace, scheduler: Any, request: Any, *_: Any, **__: Any) -> None:
    parameters = request.sampling_params
    attributes = {
        "gen_ai.request.id": request.rid,
        "gen_ai.usage.input_tokens": len(request.origin_input_ids),
        "gen_ai.request.max_tokens": parameters.max_new_tokens,
        "gen_ai.request.temperature": parameters.temperature,
        "gen_ai.request.top_p": parameters.top_p,
    }
    span = trace.begin(request.rid, _headers(request), ptx.now(), attributes)
    if span is not None:
        # Whichever way a request goes that is neither finished in a batch nor aborted in the queue.
        weakref.finalize(request, trace.lost, request.rid, span).atexit = False


def _run(trace: _SglangTrace, scheduler: Any, batch: Any, *_: Any, **__: Any) -> tuple[int, ptx.Step]:
    started = ptx.now()
    return started, trace.step().__enter__()


def _ran(
    trace: _SglangTrace,
    scheduler: Any,
    begun: tuple[int, ptx.Step],
    result: Any,
    batch: Any,
    *_: Any,
    **__: Any,
) -> None:
    trace.begun[batch.forward_iter] = begun
    if len(trace.begun) > OPEN_STEPS_MAX:
        del trace.begun[next(iter(trace.begun))]


def _process(trace: _SglangTrace, scheduler: Any, batch: Any, *_: Any, **__: Any) -> ptx.Step | None:
    begun = trace.begun.pop(batch.forward_iter, None)
    if begun is None:
        return None
    started, step = begun
    size = len(batch.reqs)
    lengths = batch.extend_lens if batch.forward_mode.is_extend() else None
    tokens = 1 if lengths is None else lengths if len(lengths) == size else None
    if size:
        trace.record([request.rid for request in batch.reqs], started, tokens)
    step.set(
        batch_size=size,
        scheduled_tokens=size if lengths is None else sum(lengths),
        waiting=len(scheduler.waiting_queue),
    )
    return step


def _processed(
    trace: _SglangTrace, scheduler: Any, step: ptx.Step | None, result: Any, batch: Any, *_: Any, **__: Any
) -> None:
    if step is not None:
        step.__exit__(None, None, None)
    for request in [request for request in batch.reqs if request.finished_reason is not None]:
        _end(trace, request, str(request.finished_reason.to_json()["type"]))


def _release_aborted(trace: _SglangTrace, scheduler: Any, request: Any) -> None:
    _end(trace, request, "abort")


def _end(trace: _SglangTrace, request: Any, reason: str) -> None:
    trace.end(request.rid, reason, {"gen_ai.usage.output_tokens": len(request.output_ids)})


def _idle(trace: _SglangTrace, scheduler: Any) -> None:
    trace.step.idle()


def register() -> None:
    """Called by SGLang in each of its processes."""
    hooks: Hooks = {
        "_add_request_to_queue": (_queue, None),
        "run_batch": (_run, _ran),
        "process_batch_result": (_process, _processed),
        "_release_aborted_request": (_release_aborted, None),
        "on_idle": (_idle, None),
    }
    install("sglang.srt.managers.scheduler", _make, hooks)
