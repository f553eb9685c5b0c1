"""`@traced` generators: nobody can tell them from the undecorated, and the span is current in their steps only."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import weakref
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
