"""What one scheduler of an engine records: a span for each request, one for each step, and for each step one
under every request that was in it, all of a step by one call.

The hooks are methods around the engine's own, written out by each integration: on these paths every call of a
function counts. Nothing of ours raises into the engine: a hook that does is the last, and leaves one warning.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytracingx as ptx
from pytracingx import _native

from . import LOGGER, enabled, ensure_session
from ._on_import import on_import

# Where a scheduler keeps its Trace (its class: None), and vLLM's output when it was begun; a wrapped method
# says by it that it is one.
KEY = "_pytracingx"

Method = Callable[..., Any]
# Of a request's span at its end, in the order of the values that `Trace.end` takes.
REQUEST_KEYS = (
    "gen_ai.request.id",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.request.max_tokens",
    "gen_ai.request.temperature",
    "gen_ai.request.top_p",
    "gen_ai.response.finish_reasons",
)
# By name: what makes the method that takes the place of the original one.
Hooks = Mapping[str, Callable[[Method], Method]]


class Trace:
    """Of one scheduler, for the thread that runs it."""

    __slots__ = ("_requests", "begin", "end", "idle", "is_on", "step")

    def __init__(self, engine: str, model: str | None, *keys: str) -> None:
        constants = {"gen_ai.provider.name": engine, "gen_ai.request.model": model}
        request = ptx.SpanTemplate(f"{engine}.request", "server", constants)
        step = ptx.SpanTemplate(f"{engine}.request.step")
        recorder = ptx.step_recorder(f"{engine}.step")
        keys = (*REQUEST_KEYS, *keys)
        self._requests = _native._RequestSteps(request, step, "scheduled_tokens", keys, recorder)
        self.begin, self.step, self.end = self._requests.begin, self._requests.step, self._requests.end
        self.idle = recorder.idle
        self.is_on = ensure_session()

    def failed(self, error: Exception) -> None:
        """A hook raised: the end of all of them here."""
        if not self.is_on:
            return
        self.is_on = False
        self._requests.end_all()
        LOGGER.warning("the tracing of a scheduler ends here, its internals have moved: %r", error)


class _Off:
    """Of a scheduler that cannot be traced."""

    is_on = False


def attach(scheduler: Any, make: Callable[[Any], Trace]) -> Any:
    """The trace of a scheduler that has none: made where it is used first, in the engine's own process, after
    its last fork."""
    trace: Any = _Off()
    try:
        trace = make(scheduler)
    except Exception as error:
        LOGGER.warning("a scheduler is not traced, its internals have moved: %r", error)
    setattr(scheduler, KEY, trace)
    return trace


def install(module_name: str, hooks: Hooks) -> None:
    """Put hooks in place of methods of a module's class `Scheduler` when the engine imports it: of all
    of them or, where one is missing, of none."""

    def then(module: ModuleType) -> None:
        try:
            scheduler = module.Scheduler
            methods = {name: getattr(scheduler, name) for name in hooks}
            setattr(scheduler, KEY, None)
            for name, hook in hooks.items():
                if not hasattr(methods[name], KEY):
                    method = functools.wraps(methods[name])(hook(methods[name]))
                    setattr(method, KEY, True)
                    setattr(scheduler, name, method)
        except (AttributeError, TypeError) as error:
            LOGGER.warning("schedulers are not traced, their internals have moved: %s", error)

    if enabled():
        on_import(module_name, then)
