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

from ._engine import Hooks, Method, Trace, attach, install

# Batches that ran and have no result yet, among them parts of a split prefill, which never do.
OPEN_STEPS_MAX = 64


class _SglangTrace(Trace):
    __slots__ = ("begun", "queued")

    def __init__(self, model: str | None) -> None:
        super().__init__("sglang", model)
        # When a batch ran, by the number of its forward pass: it is copied between running and processing.
        self.begun: dict[int, int] = {}
        # By request: input tokens and parameters, and what ends it should SGLang let go of it without a word.
        self.queued: dict[str, tuple[int, tuple[Any, ...], Any]] = {}

    def lost(self, name: str) -> None:
        """Neither finished in a batch nor aborted in the queue."""
        input_tokens, parameters, _ = self.queued.pop(name)
        self.end(name, False, name, input_tokens, None, *parameters)

    def finished(self, request: Any, reason: str) -> None:
        name = request.rid
        known = self.queued.pop(name, None)
        if known is not None:
            input_tokens, parameters, finalizer = known
            finalizer.detach()
            output_tokens = len(request.output_ids)
            self.end(name, reason == "error", name, input_tokens, output_tokens, *parameters, (reason,))


def _make(scheduler: Any) -> _SglangTrace:
    arguments = scheduler.server_args
    return _SglangTrace(getattr(arguments, "served_model_name", None) or arguments.model_path)


def _headers(request: Any) -> Any:
    """Of the trace that SGLang itself has for the request, if it traces."""
    context = request.time_stats.trace_ctx
    state = context.__getstate__() if context.tracing_enable else None
    headers = state.get("root_span_context") if isinstance(state, dict) else None
    return headers if isinstance(headers, dict) else None


def _queue(trace: _SglangTrace, request: Any) -> None:
    headers = _headers(request)
    parent = ptx.extract_context(headers) if headers else None
    input_tokens, given = len(request.origin_input_ids), request.sampling_params
    parameters = given.max_new_tokens, given.temperature, given.top_p
    if trace.begin(request.rid, parent, ptx.now()):
        finalizer = weakref.finalize(request, trace.lost, request.rid)
        finalizer.atexit = False
        trace.queued[request.rid] = input_tokens, parameters, finalizer


def _add_request_to_queue(original: Method) -> Method:
    def add_request_to_queue(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if trace.is_on:
            try:
                _queue(trace, request)
            except Exception as error:
                trace.failed(error)
        return original(self, request, *args, **kwargs)

    return add_request_to_queue


def _run_batch(original: Method) -> Method:
    def run_batch(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        started = ptx.now()
        result = original(self, batch, *args, **kwargs)
        if trace.is_on:
            try:
                trace.begun[batch.forward_iter] = started
                if len(trace.begun) > OPEN_STEPS_MAX:
                    del trace.begun[next(iter(trace.begun))]
            except Exception as error:
                trace.failed(error)
        return result

    return run_batch


def _process_batch_result(original: Method) -> Method:
    def process_batch_result(self: Any, batch: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if not trace.is_on:
            return original(self, batch, *args, **kwargs)
        ended, started = ptx.now(), None
        try:
            started = trace.begun.pop(batch.forward_iter, None)
            # As it ran, whatever processing does to it.
            names = [request.rid for request in batch.reqs]
            lengths = batch.extend_lens if batch.forward_mode.is_extend() else None
            waiting = len(self.waiting_queue)
        except Exception as error:
            trace.failed(error)
        result = original(self, batch, *args, **kwargs)
        if trace.is_on:
            try:
                if started is not None:
                    total = len(names) if lengths is None else sum(lengths)
                    tokens = 1 if lengths is None else lengths if len(lengths) == len(names) else None
                    trace.step(names, started, ended, tokens, total, waiting)
                for request in batch.reqs:
                    if request.finished_reason is not None:
                        trace.finished(request, str(request.finished_reason.to_json()["type"]))
            except Exception as error:
                trace.failed(error)
        return result

    return process_batch_result


def _release_aborted_request(original: Method) -> Method:
    def release_aborted_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if trace.is_on:
            try:
                trace.finished(request, "abort")
            except Exception as error:
                trace.failed(error)
        return original(self, request, *args, **kwargs)

    return release_aborted_request


def _on_idle(original: Method) -> Method:
    def on_idle(self: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self._pytracingx or attach(self, _make)
        if trace.is_on:
            trace.idle()
        return original(self, *args, **kwargs)

    return on_idle


def register() -> None:
    """Called by SGLang in each of its processes."""
    hooks: Hooks = {
        "_add_request_to_queue": _add_request_to_queue,
        "run_batch": _run_batch,
        "process_batch_result": _process_batch_result,
        "_release_aborted_request": _release_aborted_request,
        "on_idle": _on_idle,
    }
    install("sglang.srt.managers.scheduler", hooks)
