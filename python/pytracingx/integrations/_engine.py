"""What one scheduler of an engine records: a span for each request, one for each step, and for each step one
under every request that was in it, all of a step by one call.

The rows of that call are kept from step to step (`_Rows`), so a step whose batch is that of the step before
looks at no span at all. Nothing raises into the engine: a hook that does is the last, and leaves one
warning.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytracingx as ptx

from . import LOGGER, enabled, ensure_session
from ._on_import import on_import

# Where a scheduler keeps its Trace, and a scheduler's output its Step.
KEY = "_pytracingx"

Attributes = dict[str, Any]
Before = Callable[..., Any]
After = Callable[..., None]
# By method: before and after it; an after may be None.
Hooks = Mapping[str, tuple[Before, Any]]


class _Rows:
    """Requests of a batch in the engine's own order, and their spans as parents in the same order."""

    __slots__ = ("keys", "parents")

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.parents = ptx.parent_set()

    def follow(self, keys: list[str], spans: Mapping[str, ptx.Span]) -> None:
        """Become these, of a batch that is not the one before. One without a span is a row without one."""
        known = len(self.keys)
        if known < len(keys) and keys[:known] == self.keys:
            for key in keys[known:]:
                self.parents.add(spans.get(key))
        else:
            self.parents = ptx.parent_set(map(spans.get, keys))
        self.keys = keys

    def discard(self, span: ptx.Span) -> None:
        row = self.parents.discard(span)
        if row is not None:
            del self.keys[row]


class Trace:
    """Of one scheduler, for the thread that runs it."""

    __slots__ = ("_record", "_request", "_rows", "_spans", "is_on", "step")

    def __init__(self, engine: str, model: str | None) -> None:
        constants = {"gen_ai.provider.name": engine, "gen_ai.request.model": model}
        self._request = ptx.SpanTemplate(f"{engine}.request", "server", constants)
        self._record = ptx.SpanTemplate(f"{engine}.request.step").record_spans
        self._rows = _Rows()
        self._spans: dict[str, ptx.Span] = {}
        self.step = ptx.step_recorder(f"{engine}.step")
        self.is_on = ensure_session()

    def begin(
        self, key: str, headers: Mapping[str, str] | None, start_time: int, attributes: Attributes
    ) -> ptx.Span | None:
        """A request: of the trace in its headers, or of one of its own. None when it is known already."""
        if key in self._spans:
            return None
        parent = ptx.extract_context(headers) if headers else None
        span = self._request(attributes, parent=parent, start_time=start_time, activate=False)
        self._spans[key] = span
        return span

    def record(self, keys: list[str], start_time: int, tokens: int | list[int] | None) -> None:
        """A step of these requests until now, with the tokens of each, of all, or unknown."""
        rows = self._rows
        if keys != rows.keys:
            rows.follow(keys, self._spans)
        self._record(rows.parents, start_time, ptx.now(), {"scheduled_tokens": tokens})

    def end(self, key: str, reason: str, attributes: Attributes) -> None:
        """A request, if it is known."""
        span = self._spans.pop(key, None)
        if span is not None:
            self._rows.discard(span)
            span.set_attributes(attributes)
            span.set_attribute("gen_ai.response.finish_reasons", [reason])
            if reason == "error":
                span.set_status("error")
            span.end()

    def lost(self, key: str, span: ptx.Span) -> None:
        """The engine has let go of a request; usually it has ended before."""
        if self._spans.get(key) is span:
            del self._spans[key]
            self._rows.discard(span)
            span.end()

    def failed(self, error: Exception) -> None:
        """A hook raised: the end of all of them here."""
        self.is_on = False
        for span in self._spans.values():
            span.end()
        self._spans.clear()
        LOGGER.warning("the tracing of a scheduler ends here, its internals have moved: %r", error)


class _Off:
    """Of a scheduler that cannot be traced."""

    is_on = False


def _trace(scheduler: Any, make: Callable[[Any], Trace]) -> Any:
    """Made where it is used first: in the engine's own process, after its last fork."""
    trace: Any = _Off()
    try:
        trace = make(scheduler)
    except Exception as error:
        LOGGER.warning("a scheduler is not traced, its internals have moved: %r", error)
    scheduler.__dict__[KEY] = trace
    return trace


def _wrap(make: Callable[[Any], Trace], original: Any, before: Before, after: After | None) -> Any:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        trace = self.__dict__.get(KEY) or _trace(self, make)
        noted = None
        if trace.is_on:
            try:
                noted = before(trace, self, *args, **kwargs)
            except Exception as error:
                trace.failed(error)
        result = original(self, *args, **kwargs)
        if after is not None and trace.is_on:
            try:
                after(trace, self, noted, result, *args, **kwargs)
            except Exception as error:
                trace.failed(error)
        return result

    setattr(method, KEY, True)
    return method


def install(module_name: str, make: Callable[[Any], Trace], hooks: Hooks) -> None:
    """Put hooks around methods of a module's class `Scheduler` when the engine imports it: around all of them
    or, where one is missing, around none.

    They are `before(trace, scheduler, *args)` and, unless the method raised, `after(trace, scheduler, what
    before returned, result, *args)`.
    """

    def then(module: ModuleType) -> None:
        try:
            scheduler = module.Scheduler
            methods = {name: getattr(scheduler, name) for name in hooks}
            for name, (before, after) in hooks.items():
                if not hasattr(methods[name], KEY):
                    setattr(scheduler, name, _wrap(make, methods[name], before, after))
        except (AttributeError, TypeError) as error:
            LOGGER.warning("schedulers are not traced, their internals have moved: %s", error)

    if enabled():
        on_import(module_name, then)
