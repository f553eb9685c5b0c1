"""Threads, tasks and generators."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

from trial import Trial, case


@case()
def threads_start_without_a_parent(t: Trial) -> None:
    ptx = t.start()

    def work() -> None:
        t.note_current("in_thread")
        with ptx.start_span("in_thread"):
            pass

    with ptx.start_span("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        context = contextvars.copy_context()

        def carried() -> None:
            with ptx.start_span("in_copied_context"):
                pass

        thread = threading.Thread(target=context.run, args=(carried,))
        thread.start()
        thread.join()
    ptx.shutdown()


@case()
def used_on_another_thread(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op")

    def work() -> None:
        t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
        t.attempt("end", span.end)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    t.attempt("end_at_home", span.end)
    t.note_current("current", op=span)
    ptx.shutdown()


@case()
def tasks_inherit_the_parent(t: Trial) -> None:
    ptx = t.start()

    async def child(name: str) -> None:
        with ptx.start_span(name) as span:
            await asyncio.sleep(0)
            t.note_current(f"in_{name}", **{name: span})

    async def main() -> None:
        with ptx.start_span("parent") as parent:
            await asyncio.gather(child("a"), child("b"))
            t.note_current("after_gather", parent=parent)

    asyncio.run(main())
    ptx.shutdown()


@case()
def task_outlives_its_parent(t: Trial) -> None:
    ptx = t.start()

    async def child() -> None:
        with ptx.start_span("child"):
            await asyncio.sleep(0)

    async def main() -> None:
        with ptx.start_span("parent"):
            task = asyncio.create_task(child())
        await task
        t.note_current("after")

    asyncio.run(main())
    ptx.shutdown()


@case()
def span_left_open_in_a_task(t: Trial) -> None:
    ptx = t.start()
    opened = []

    async def child() -> None:
        opened.append(ptx.start_span("child"))

    async def main() -> None:
        with ptx.start_span("parent") as parent:
            await asyncio.create_task(child())
            t.note_current("after_task", parent=parent, child=opened[0])
            t.attempt("end_elsewhere", opened[0].end)
            t.note_current("after_end", parent=parent, child=opened[0])

    asyncio.run(main())
    ptx.shutdown()


@case()
def generator_holds_a_span(t: Trial) -> None:
    ptx = t.start()

    def rows() -> Any:
        with ptx.start_span("generator"):
            yield 1
            yield 2

    with ptx.start_span("main") as main:
        for _ in rows():
            with ptx.start_span("body"):
                pass
        t.note_current("after", main=main)
    ptx.shutdown()
