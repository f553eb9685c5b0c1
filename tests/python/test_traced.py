"""`@traced` functions and coroutines: what is decorated stays what it was, and its span is current while the body runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from otlp_server import OtlpServer
from traced_spans import current, recording

import pytracingx as ptx
from pytracingx import traced


@pytest.fixture
def recorded(collector: OtlpServer) -> Iterator[Any]:
    with recording(collector) as finish:
        yield finish


# ------------------------------------------------------------------------------------------- what is decorated


def test_names_kinds_and_attributes(recorded: Any) -> None:
    """By default `__qualname__`; else what is given."""

    @traced
    def plain() -> str:
        return "value"

    @traced("given", kind="SERVER", attributes={"a": 1})
    def named() -> None:
        ptx.current_span().set_attribute("b", 2)

    @traced()
    def called() -> None: ...

    assert plain() == "value"
    named()
    called()
    traced(len, kind="client")("abc")
    spans = recorded()
    prefix = "test_names_kinds_and_attributes.<locals>."
    assert set(spans) == {prefix + "plain", "given", prefix + "called", "len"}
    assert spans["given"]["kind"] == "server" and spans["given"]["attributes"] == {"a": 1, "b": 2}
    assert spans["len"]["kind"] == "client" and spans[prefix + "plain"]["kind"] == "internal"


def test_methods(recorded: Any) -> None:
    """Instance, static and class methods, whichever decorator stands above."""

    class C:
        @traced("method")
        def method(self) -> object:
            return self

        @traced
        @staticmethod
        def above_static(x: int) -> int:
            return x

        @staticmethod
        @traced("below_static")
        def below_static(x: int) -> int:
            return x

        @traced
        @classmethod
        def above_class(cls) -> type:
            return cls

        @classmethod
        @traced("below_class")
        def below_class(cls) -> type:
            return cls

    c = C()
    assert c.method() is c
    assert (C.above_static(1), c.below_static(2)) == (1, 2)
    assert C.above_class() is C and c.below_class() is C
    prefix = "test_methods.<locals>.C."
    expected = {"method", prefix + "above_static", "below_static", prefix + "above_class", "below_class"}
    assert set(recorded()) == expected


def test_it_stays_what_it_was() -> None:
    """Kind of function, signature, name, docstring; also through a partial."""

    def function(a: int, *, b: str = "x") -> float:
        """Doc."""
        return 1.0

    async def coroutine() -> None: ...
    def generator() -> Iterator[int]:
        yield 1

    async def async_generator() -> Any:
        yield 1

    tests = [inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction]
    for original in (function, coroutine, generator, async_generator, functools.partial(coroutine)):
        wrapped = traced(original)
        assert [test(wrapped) for test in tests] == [test(original) for test in tests]
        assert inspect.signature(wrapped) == inspect.signature(original)
        assert wrapped.__wrapped__ is original
    assert traced(function).__name__ == "function" and traced(function).__doc__ == "Doc."


@pytest.mark.parametrize("decorate", [lambda: traced("x", kind="magic"), lambda: traced(kind="magic")])
def test_an_unknown_kind_raises_when_decorating(decorate: Any) -> None:
    with pytest.raises(ValueError, match="unknown span kind 'magic', expected 'internal'"):
        decorate()


@pytest.mark.parametrize("thing", [int, 5, property(len)])
def test_what_is_no_function_raises_when_decorating(thing: Any) -> None:
    with pytest.raises(TypeError, match="traced"):
        traced(thing)
    with pytest.raises(TypeError, match="traced"):
        traced("name")(thing)


def test_decorated_before_init_and_in_every_session(collector: OtlpServer) -> None:
    """Nothing is recorded while recording is off; values, exceptions and the outer context pass."""

    @traced("f")
    def function(fail: bool) -> str | None:
        if fail:
            raise KeyError("x")
        return current()

    @traced("g")
    def generator() -> Any:
        got = yield current()
        return got

    @traced("a")
    async def async_generator() -> Any:
        got = yield current()
        yield got

    def use_all() -> None:
        assert function(False) is None
        with pytest.raises(KeyError):
            function(True)
        steps = generator()
        assert next(steps) is None
        with pytest.raises(StopIteration) as stop:
            steps.send("sent")
        assert stop.value.value == "sent"

        async def drive() -> None:
            steps = async_generator()
            assert await steps.asend(None) is None
            assert await steps.asend("sent") == "sent"
            await steps.aclose()

        asyncio.run(drive())

    use_all()
    for _ in range(2):
        ptx.init(
            ptx.Config("traced", console_output=False, sinks=[ptx.TraceSink(collector.endpoint, "http")])
        )
        assert function(False) is not None
        assert ptx.shutdown()
        use_all()
    assert [span["name"] for span in collector.spans] == ["f", "f"]


def test_while_recording_is_off_a_remote_context_stays_current() -> None:
    remote = ptx.SpanContext("1" * 32, "2" * 16)

    @traced
    async def async_generator() -> Any:
        yield current()

    async def drive() -> Any:
        with ptx.use_span(remote):
            return [value async for value in async_generator()]

    assert asyncio.run(drive()) == ["2" * 16]


# ------------------------------------------------------------------------------------- functions and coroutines


def test_exceptions_are_recorded_as_with_does(recorded: Any) -> None:
    """Functions, coroutines and both generators: an event, status error, and the exception itself passes."""
    error = ValueError("broken")

    @traced("function")
    def function() -> None:
        raise error

    @traced("coroutine")
    async def coroutine() -> None:
        raise error

    @traced("generator")
    def generator() -> Any:
        yield 1
        raise error

    @traced("async_generator")
    async def async_generator() -> Any:
        yield 1
        raise error

    async def exhaust() -> None:
        async for _ in async_generator():
            pass

    for fails in (function, lambda: asyncio.run(coroutine()), lambda: list(generator())):
        with pytest.raises(ValueError) as raised:
            fails()
        assert raised.value is error
    with pytest.raises(ValueError):
        asyncio.run(exhaust())
    spans = recorded()
    assert set(spans) == {"function", "coroutine", "generator", "async_generator"}
    for span in spans.values():
        assert span["status"] == {"code": "error", "message": "broken"}
        [event] = span["events"]
        assert event["attributes"]["exception.type"] == "ValueError"


def test_tasks_do_not_mix(recorded: Any) -> None:
    """Coroutines interleaved by the event loop keep their own spans current."""

    async def work(name: str) -> None:
        @traced(name)
        async def outer() -> None:
            mine = current()
            for _ in range(3):
                await asyncio.sleep(0)
                assert current() == mine
            await traced(f"{name}.child")(asyncio.sleep)(0)
            assert current() == mine

        await outer()
        assert current() is None

    async def main() -> None:
        await asyncio.gather(work("a"), work("b"))

    asyncio.run(main())
    spans = recorded()
    for name in "ab":
        assert spans[f"{name}.child"]["parent_span_id"] == spans[name]["span_id"]
        assert spans[name]["parent_span_id"] == ""


def test_cancellation_leaves_an_event(recorded: Any) -> None:
    """Of coroutines and of async generators: an event `cancelled`, and no error."""

    async def main() -> None:
        entered: asyncio.Queue[None] = asyncio.Queue()

        @traced("coroutine")
        async def coroutine() -> None:
            entered.put_nowait(None)
            await asyncio.sleep(3600)

        @traced("generator")
        async def generator() -> Any:
            yield 1
            entered.put_nowait(None)
            await asyncio.sleep(3600)

        async def exhaust() -> None:
            async for _ in generator():
                pass

        for runs in (coroutine(), exhaust()):
            task = asyncio.ensure_future(runs)
            await entered.get()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    spans = recorded()
    for name in ("coroutine", "generator"):
        assert [event["name"] for event in spans[name]["events"]] == ["cancelled"]
        assert spans[name]["status"]["code"] == "unset"
