"""The decorator ``traced``.

Each wrapper is of the kind it wraps (a generator function for a generator function, and so on), so that
``inspect`` and frameworks that ask it see no difference. While recording is off a call costs one
``start_span`` that returns at once, and goes straight on.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._native import _Body, _non_recording, _span_kind, start_span

if TYPE_CHECKING:
    from ._native import _SpanKind

_F = TypeVar("_F", bound=Callable[..., Any])


@overload
def traced(
    name: _F,
    /,
    *,
    kind: _SpanKind = "internal",
    attributes: Mapping[str, object] | None = None,
) -> _F: ...
@overload
def traced(
    name: str | None = None,
    *,
    kind: _SpanKind = "internal",
    attributes: Mapping[str, object] | None = None,
) -> Callable[[_F], _F]: ...
def traced(
    name: Any = None,
    *,
    kind: Any = "internal",
    attributes: Mapping[str, Any] | None = None,
) -> Any:
    """Record a span around every call of a function: ``@traced``, or ``@traced("name", kind="server")``.

    Args:
        name: The span's name; default the function's ``__qualname__``.
        kind: 'internal' (default), 'server', 'client', 'producer' or 'consumer', in any case.
        attributes: Mapping of attributes that every span gets; copied.

    Raises:
        ValueError: unknown kind, when decorating.
        TypeError: what is decorated is no function, when decorating.

    For functions, coroutine functions, generator functions, async generator functions and methods, above or
    below ``@staticmethod`` and ``@classmethod``. The kind of function, its signature and its types stay.

    The span begins when the body does: at the call, the first ``await`` or the first step. It is current only
    while the body runs: a generator's is current again in each of its steps, and never in its consumer. It
    ends with the body: on return, exhaustion, ``close()``, an exception (recorded as ``with start_span()``
    does) or collection.

    May be used before init(); works in every session. While recording is off, a call costs one more call.
    """
    kind = _span_kind(kind)
    attributes = dict(attributes) if attributes else None
    if name is None or isinstance(name, str):
        return lambda function: _decorate(function, name, kind, attributes)
    return _decorate(name, None, kind, attributes)


def _decorate(function: Any, name: str | None, kind: _SpanKind, attributes: dict[str, Any] | None) -> Any:
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_decorate(function.__func__, name, kind, attributes))
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"traced() decorates functions, got {function!r}")
    if name is None:
        name = getattr(function, "__qualname__", None) or type(function).__qualname__
    if inspect.isasyncgenfunction(function):
        wrap: Any = _async_generator
    elif inspect.iscoroutinefunction(function):
        wrap = _coroutine
    elif inspect.isgeneratorfunction(function):
        wrap = _generator
    else:
        wrap = _function
    return functools.wraps(function)(wrap(function, name, attributes, kind))


def _function(function: Any, *span_arguments: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        span = start_span(*span_arguments)
        if span is _non_recording:
            return function(*args, **kwargs)
        with span:
            return function(*args, **kwargs)

    return wrapper


def _coroutine(function: Any, *span_arguments: Any) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        span = start_span(*span_arguments)
        if span is _non_recording:
            return await function(*args, **kwargs)
        with span:
            return await function(*args, **kwargs)

    return wrapper


def _generator(function: Any, *span_arguments: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        steps = function(*args, **kwargs)
        span = start_span(*span_arguments, activate=False)
        if span is _non_recording:
            return (yield from steps)
        body = _Body(span)
        step, argument = steps.send, None
        with span:
            while True:
                with body:
                    try:
                        value = step(argument)
                    except StopIteration as stop:
                        return stop.value
                    finally:
                        argument = None  # else an exception thrown in would hold this frame, which holds it
                # GeneratorExit too is thrown on rather than turned into steps.close(): what the body makes of
                # it (ends, returns a value, yields again) is then what the caller's close() finds.
                try:
                    argument = yield value
                    step = steps.send
                except BaseException as thrown:
                    step, argument = steps.throw, thrown

    return wrapper


def _async_generator(function: Any, *span_arguments: Any) -> Any:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = function(*args, **kwargs)
        span = start_span(*span_arguments, activate=False)
        body: Any = nullcontext() if span is _non_recording else _Body(span)
        pending: Any = _first_step(steps)
        with span:
            while True:
                with body:
                    try:
                        value = await pending
                    except StopAsyncIteration:
                        return
                    finally:
                        pending = None  # see above
                try:
                    pending = steps.asend((yield value))
                except BaseException as thrown:
                    pending = steps.athrow(thrown)

    return wrapper


def _first_step(steps: AsyncGenerator[Any, Any]) -> Any:
    # An async generator meets the event loop's hooks at its first step, and the loop closes it at its own
    # end. That is for the wrapper, which closes this one: two at once would be in each other's way.
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return steps.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
