"""Which span is current in tasks, async generators and loop callbacks, on asyncio and uvloop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import OtlpServer
from recording import Recording, current, ids

import pytracingx as ptx

Runner = Callable[[Awaitable[Any]], Any]


def loops() -> list[Any]:
    """asyncio.run, and uvloop's where there is one."""
    runners = [pytest.param(asyncio.run, id="asyncio")]
    try:
        import uvloop
    except ImportError:
        return runners
    return [*runners, pytest.param(uvloop.run, id="uvloop")]


every_loop = pytest.mark.parametrize("run", loops())


@every_loop
def test_tasks_inherit(recording: Recording, run: Runner) -> None:
    """A task's spans are children of what was current where it was created; siblings do not see each other."""

    async def work(n: int) -> None:
        for step in range(3):
            with ptx.start_span(f"work{n}.{step}") as span:
                await asyncio.sleep(0)
                assert current() == ids(span)
            assert current() == ids(parent)

    async def main() -> None:
        await asyncio.gather(*(work(n) for n in range(5)))
        assert current() == ids(parent)

    with ptx.start_span("parent") as parent:
        run(main())
    for n in range(5):
        for step in range(3):
            recording.expect(f"work{n}.{step}", parent)


@every_loop
def test_a_task_outlives_its_parent(recording: Recording, run: Runner) -> None:
    """All children of a task that runs after the span it was created in ended are that span's."""
    parents = []

    async def work() -> None:
        for name in ("first", "second"):
            with ptx.start_span(name):
                await asyncio.sleep(0)

    async def main() -> None:
        with ptx.start_span("outer"), ptx.start_span("parent") as parent:
            parents.append(parent)
            task = asyncio.create_task(work())
        await task

    run(main())
    for name in ("first", "second"):
        recording.expect(name, parents[0])


@every_loop
def test_a_parent_ends_during_a_child(recording: Recording, run: Runner) -> None:
    """So are those that start after it ended during a child of the task."""
    parents = []

    async def work(started: asyncio.Event, ended: asyncio.Event) -> None:
        with ptx.start_span("first"):
            started.set()
            await ended.wait()
        with ptx.start_span("second"):
            pass

    async def main() -> None:
        started, ended = asyncio.Event(), asyncio.Event()
        with ptx.start_span("outer"), ptx.start_span("parent") as parent:
            parents.append(parent)
            task = asyncio.create_task(work(started, ended))
            await started.wait()
        ended.set()
        await task

    run(main())
    for name in ("first", "second"):
        recording.expect(name, parents[0])


@every_loop
def test_ended_in_a_task(recording: Recording, run: Runner) -> None:
    """A span ended by a task it is current in leaves that task's context and, at its own exit, its own."""

    async def work(span: ptx.Span) -> None:
        span.end()
        assert current() == ids(outer)

    async def main() -> None:
        with ptx.start_span("op") as span:
            await asyncio.create_task(work(span))
            assert not span.is_recording()
        assert current() == ids(outer)

    with ptx.start_span("outer") as outer:
        run(main())
    recording.expect("op", outer)


@every_loop
def test_async_generators(recording: Recording, run: Runner) -> None:
    """An async generator's span ends with it, on exhaustion as on aclose()."""

    async def numbers(name: str) -> AsyncIterator[int]:
        with ptx.start_span(name):
            yield 1
            await asyncio.sleep(0)
            yield 2

    async def main() -> None:
        assert [number async for number in numbers("all")] == [1, 2]
        assert current() == ids(outer)
        some: Any = numbers("some")
        await some.__anext__()
        await some.aclose()
        assert current() == ids(outer)

    with ptx.start_span("outer") as outer:
        run(main())
    recording.expect("all", outer)
    recording.expect("some", outer)


@every_loop
def test_an_async_generator_closed_by_another_task(recording: Recording, run: Runner) -> None:
    """One whose span another task ends leaves that task's context alone."""

    async def numbers() -> AsyncIterator[int]:
        with ptx.start_span("generator"):
            yield 1

    async def main() -> None:
        generator: Any = numbers()

        async def begin() -> None:
            await generator.__anext__()

        await asyncio.create_task(begin())
        with ptx.start_span("mine") as mine:
            await generator.aclose()
            assert current() == ids(mine)
        assert current() == (None, None)

    run(main())
    recording.expect("generator")


@every_loop
def test_cancelled_task(recording: Recording, run: Runner) -> None:
    """Cancellation ends a task's spans and leaves the canceller's context alone."""

    async def work() -> None:
        with ptx.start_span("a"), ptx.start_span("b"):
            await asyncio.sleep(60)

    async def main() -> None:
        with ptx.start_span("outer") as outer:
            task = asyncio.create_task(work())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert current() == ids(outer)

    run(main())
    assert [event["name"] for event in recording.span("b")["events"]] == ["cancelled"]
    assert recording.span("a")["parent_span_id"] == recording.span("outer")["span_id"]


def test_to_thread(recording: Recording) -> None:
    """`asyncio.to_thread` carries the context over."""

    async def main() -> None:
        with ptx.start_span("parent") as parent:
            assert await asyncio.to_thread(current) == ids(parent)

    asyncio.run(main())


@every_loop
def test_loop_callbacks(recording: Recording, run: Runner) -> None:
    """`call_soon` keeps what was current when the call was scheduled."""
    parents = []

    async def main() -> None:
        done = asyncio.Event()
        with ptx.start_span("parent") as parent:
            parents.append(parent)
            asyncio.get_running_loop().call_soon(lambda: (ptx.start_span("op").end(), done.set()))
        await done.wait()

    run(main())
    recording.expect("op", parents[0])


@every_loop
@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fork_under_a_running_loop(run: Runner, collector: OtlpServer, run_python: RunPython) -> None:
    """A child of a process whose loop runs, and which leaves that loop alone, delivers; so does the parent's loop afterwards."""
    run_python(
        """
        import asyncio, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        def child():
            if (pid := os.fork()) == 0:
                ptx.start_span("child").end()
                os._exit(0 if ptx.shutdown() else 1)
            return os.waitpid(pid, 0)[1]
        async def main():
            with ptx.start_span("parent"):
                assert await asyncio.gather(*(asyncio.sleep(0, child()) for _ in range(3))) == [0, 0, 0]
        if sys.argv[1] == "uvloop":
            import uvloop
            uvloop.run(main())
        else: asyncio.run(main())
        """,
        run.__module__.partition(".")[0],
    )
    (parent,) = [span for span in collector.spans if span["name"] == "parent"]
    children = [span for span in collector.spans if span["name"] == "child"]
    assert [span["parent_span_id"] for span in children] == [parent["span_id"]] * 3
