"""`@traced`: what it decorates stays what it was, and its span is current while the body runs, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import inspect
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from otlp_server import OtlpServer

import pytracingx as ptx
from pytracingx import traced


@pytest.fixture
def recorded(collector: OtlpServer) -> Iterator[Any]:
    """Starts a session; the call ends it and gives the spans by name."""
    ptx.init(ptx.Config("traced", console_output=False, sinks=[ptx.TraceSink(collector.endpoint, "http")]))

    def finish() -> dict[str, dict[str, Any]]:
        assert ptx.shutdown()
        names = [span["name"] for span in collector.spans]
        assert len(set(names)) == len(names), names
        return {span["name"]: span for span in collector.spans}

    yield finish
    ptx.shutdown()
    assert ptx.current_trace_context()["span_id"] is None, "a span was left current"


def current() -> str | None:
    return ptx.current_trace_context()["span_id"]


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


# --------------------------------------------------------------------------------------------------- generators


def talkative() -> Any:
    """Answers what it is sent or thrown; ends at 'end' with a value."""
    answer: object = "begun"
    while True:
        try:
            got = yield answer
            if got == "end":
                return "returned"
            answer = ("sent", got)
        except LookupError as error:
            answer = ("thrown", error)


def stubborn() -> Any:
    """Yields again when closed."""
    try:
        yield 1
    except GeneratorExit:
        yield 2


def generous() -> Any:
    """Returns a value when closed."""
    try:
        yield 1
    except GeneratorExit:
        return "at close"


def raising() -> Any:
    """Raises something else when closed."""
    try:
        yield 1
    finally:
        raise OSError("at close")


def drive(steps: Any, script: list[tuple[str, Any]]) -> list[Any]:
    """What each step gives or raises."""
    seen: list[Any] = []
    for method, argument in script:
        try:
            seen.append(getattr(steps, method)(*argument))
        except BaseException as error:
            seen.append((type(error), error.args))
    return seen


ERROR = KeyError("k")
SCRIPTS: list[tuple[Any, list[tuple[str, Any]]]] = [
    (talkative, [("send", (None,)), ("send", (1,)), ("throw", (ERROR,)), ("send", ("end",)), ("send", (2,))]),
    (talkative, [("__next__", ()), ("throw", (OSError("out"),)), ("__next__", ())]),
    (talkative, [("__next__", ()), ("throw", (StopIteration("odd"),)), ("__next__", ())]),
    (talkative, [("__next__", ()), ("close", ()), ("close", ()), ("__next__", ())]),
    (talkative, [("send", (1,)), ("close", ())]),
    (talkative, [("close", ()), ("__next__", ())]),
    (talkative, [("throw", (ERROR,)), ("__next__", ())]),
    (talkative, [("__next__", ()), ("throw", (GeneratorExit(),)), ("__next__", ())]),
    (stubborn, [("__next__", ()), ("close", ()), ("__next__", ())]),
    (generous, [("__next__", ()), ("close", ()), ("__next__", ())]),
    (generous, [("__next__", ()), ("throw", (GeneratorExit(),))]),
    (raising, [("__next__", ()), ("close", ()), ("__next__", ())]),
]


CASES = [
    (*script, recording)
    for script in SCRIPTS
    for recording in (True, False)
    # While recording is off it is a `yield from`, to which what a body returns at its close is lost.
    if recording or script[0] is not generous
]


@pytest.mark.parametrize(("body", "script", "recording"), CASES)
def test_a_generator_cannot_be_told_from_the_undecorated(
    body: Any, script: Any, recording: bool, request: pytest.FixtureRequest
) -> None:
    """Every step gives and raises the same, for whatever is sent, thrown and closed."""
    if recording:
        request.getfixturevalue("recorded")
    assert drive(traced(body)(), script) == drive(body(), script)


def test_a_generator_is_current_in_its_steps_only(recorded: Any) -> None:
    """Two steps of one interleaved with another's, in any thread; a span open at a yield stays inside."""

    @traced("g")
    def generator(name: str) -> Any:
        mine = current()
        with ptx.start_span(f"{name}.child") as child:
            for _ in range(2):
                yield mine, child.span_id()
                assert current() == child.span_id()
        assert current() == mine
        yield mine, None

    with ptx.start_span("consumer") as consumer:
        a, b = traced("a")(generator.__wrapped__)("a"), traced("b")(generator.__wrapped__)("b")
        own: dict[str, str] = {}
        for _ in range(3):
            for name, steps in (("a", a), ("b", b)):
                own[name], _child = next(steps)
                assert current() == consumer.span_id()
        context = contextvars.copy_context()
        with pytest.raises(StopIteration):
            context.run(next, a)
        thread = threading.Thread(target=lambda: list(b))
        thread.start()
        thread.join()
        assert current() == consumer.span_id()
    spans = recorded()
    assert set(spans) == {"consumer", "a", "a.child", "b", "b.child"}
    for name in "ab":
        assert spans[name]["parent_span_id"] == consumer.span_id()
        assert spans[name]["span_id"] == own[name] == spans[f"{name}.child"]["parent_span_id"]


def test_a_generator_ends_when_it_does(recorded: Any, collector: OtlpServer) -> None:
    """On exhaustion, close, and collection; one that never began leaves no span; leaving early is no error."""

    def body() -> Any:
        yield 1
        yield 2

    def arrived(name: str) -> bool:
        assert ptx.force_flush()
        return name in [span["name"] for span in collector.spans]

    list(traced("exhausted")(body)())
    assert arrived("exhausted")
    steps = traced("closed")(body)()
    next(steps)
    assert not arrived("closed")
    steps.close()
    assert arrived("closed")
    steps = traced("collected")(body)()
    next(steps)
    del steps
    gc.collect()
    assert arrived("collected")
    cycle: list[Any] = []
    cycle.append(traced("collected in a cycle")(lambda held: (yield held))(cycle))
    next(cycle[0])
    del cycle
    gc.collect()
    assert arrived("collected in a cycle")
    traced("never begun")(body)()
    spans = recorded()
    assert set(spans) == {"exhausted", "closed", "collected", "collected in a cycle"}
    assert {span["status"]["code"] for span in spans.values()} == {"unset"}
    assert not any(span["events"] for span in spans.values())


def test_exceptions_make_no_cycles(recorded: Any) -> None:
    """What passes through a wrapper is freed with its last reference, not by the collector."""

    class Passing(Exception):
        pass

    def raising(error: list[Any]) -> None:
        raise error.pop()

    async def async_generator() -> Any:
        yield 1

    def through_function(error: list[Any]) -> None:
        with contextlib.suppress(Passing):
            traced("function")(raising)(error)

    def through_with(error: list[Any]) -> None:
        with contextlib.suppress(Passing), ptx.start_span("with") as span:
            span.set_attribute("a", 1)
            raise error.pop()

    def through_generator(error: list[Any]) -> None:
        steps = traced("generator")(talkative)()
        next(steps)
        with contextlib.suppress(Passing):
            steps.throw(error.pop())

    async def through_async_generator(error: list[Any]) -> None:
        steps = traced("async generator")(async_generator)()
        await steps.asend(None)
        with contextlib.suppress(Passing):
            await steps.athrow(error.pop())

    loop = asyncio.new_event_loop()
    gc.disable()
    try:
        for through in (through_with, through_function, through_generator, through_async_generator):
            error = [Passing()]
            gone = weakref.ref(error[0])
            running = through(error)
            if running is not None:
                loop.run_until_complete(running)
                del running
            assert error == [] and gone() is None, through.__name__
    finally:
        gc.enable()
        loop.close()
    assert len(recorded()) == 4


# --------------------------------------------------------------------------------------------- async generators


async def async_talkative() -> Any:
    answer: object = "begun"
    while True:
        try:
            got = yield answer
            await asyncio.sleep(0)
            if got == "end":
                return
            answer = ("sent", got)
        except LookupError as error:
            await asyncio.sleep(0)
            answer = ("thrown", error)


async def async_stubborn() -> Any:
    try:
        yield 1
    except GeneratorExit:
        yield 2


async def async_cleaning() -> Any:
    try:
        yield 1
    finally:
        await asyncio.sleep(0)


async def async_drive(steps: Any, script: list[tuple[str, Any]]) -> list[Any]:
    seen: list[Any] = []
    for method, argument in script:
        try:
            seen.append(await getattr(steps, method)(*argument))
        except BaseException as error:
            seen.append((type(error), error.args))
    return seen


ASYNC_SCRIPTS: list[tuple[Any, list[tuple[str, Any]]]] = [
    (async_talkative, [("asend", (None,)), ("asend", (1,)), ("athrow", (ERROR,)), ("asend", ("end",))]),
    (async_talkative, [("__anext__", ()), ("asend", ("end",)), ("__anext__", ())]),
    (async_talkative, [("__anext__", ()), ("athrow", (OSError("out"),)), ("__anext__", ())]),
    (async_talkative, [("__anext__", ()), ("athrow", (StopAsyncIteration("odd"),)), ("__anext__", ())]),
    (async_talkative, [("__anext__", ()), ("aclose", ()), ("aclose", ()), ("__anext__", ())]),
    (async_talkative, [("asend", (1,)), ("aclose", ())]),
    (async_talkative, [("aclose", ()), ("__anext__", ())]),
    (async_stubborn, [("__anext__", ()), ("aclose", ())]),
    (async_cleaning, [("__anext__", ()), ("aclose", ()), ("__anext__", ())]),
    (async_cleaning, [("__anext__", ()), ("athrow", (ERROR,)), ("__anext__", ())]),
]


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize(("body", "script"), ASYNC_SCRIPTS)
def test_an_async_generator_cannot_be_told_from_the_undecorated(
    body: Any, script: Any, recording: bool, request: pytest.FixtureRequest
) -> None:
    if recording:
        request.getfixturevalue("recorded")
    wrapped = asyncio.run(async_drive(traced(body)(), script))
    assert wrapped == asyncio.run(async_drive(body(), script))


def test_an_async_generator_is_current_in_its_steps_only(recorded: Any) -> None:
    """Also when each step runs in a task of its own, and a span of the body is open at a yield."""

    @traced("g")
    async def generator() -> Any:
        mine = current()
        with ptx.start_span("child") as child:
            yield mine
            await asyncio.sleep(0)
            assert current() == child.span_id()
        assert current() == mine
        yield mine

    async def main() -> None:
        with ptx.start_span("consumer") as consumer:
            steps = generator()
            own = [await asyncio.ensure_future(steps.asend(None)) for _ in range(2)]
            assert own[0] == own[1] != consumer.span_id()
            assert current() == consumer.span_id()
            assert [value async for value in steps] == []
            assert current() == consumer.span_id()

    asyncio.run(main())
    spans = recorded()
    assert spans["g"]["parent_span_id"] == spans["consumer"]["span_id"]
    assert spans["child"]["parent_span_id"] == spans["g"]["span_id"]


def test_an_abandoned_async_generator_is_closed_by_its_loop(recorded: Any) -> None:
    """Left in the middle: the event loop closes the wrapper, the wrapper its body, nobody else does."""
    cleaned: list[str] = []
    trouble: list[Any] = []

    async def body(name: str) -> Any:
        try:
            yield 1
            yield 2
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            cleaned.append(name)

    kept = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
        for number in range(8):  # open at the loop's end, whose order of closing is arbitrary
            kept.append(traced(f"kept {number}")(body)("kept"))
            await kept[-1].asend(None)
        async for _ in traced("dropped")(body)("dropped"):
            break
        gc.collect()
        while "dropped" not in cleaned:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert trouble == []
    assert sorted(cleaned) == ["dropped", *["kept"] * 8]
    spans = recorded()
    assert set(spans) == {"dropped", *(f"kept {number}" for number in range(8))}
    assert {span["status"]["code"] for span in spans.values()} == {"unset"}
