"""Which span is current: tasks, threads, generators, executors, and spans that end where or when they should not."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import THREADS_INHERIT, Recording, current, ids

import pytracingx as ptx


def test_nesting(recording: Recording) -> None:
    """A span is current from its start to its end, then what was before."""
    with ptx.start_span("a") as a:
        with ptx.start_span("b") as b:
            assert current() == ids(b)
            assert ptx.current_span() is b
        assert current() == ids(a)
        ptx.start_span("c").end()
    assert current() == (None, None)
    recording.expect("b", a)
    recording.expect("c", a)


def test_nothing_current(recording: Recording) -> None:
    """`current_span()` is then a shared span that records nothing and has no ids."""
    span = ptx.current_span()
    assert span is ptx.current_span()
    assert (span.trace_id(), span.span_id(), span.is_recording()) == (None, None, False)
    assert not span.context.is_valid
    with span:
        span.set_attribute("a", 1)
    span.end()


def test_ended_out_of_order(recording: Recording) -> None:
    """Ending what is not current leaves the current one alone; then the nearest open ancestor is current."""
    a, b, c, d = (ptx.start_span(name) for name in "abcd")
    c.end()
    b.end()
    assert current() == ids(d)
    d.end()
    assert current() == ids(a)
    a.end()
    assert current() == (None, None)


def test_ended_out_of_order_to_nothing(recording: Recording) -> None:
    """Without an open ancestor nothing is current."""
    a, b = ptx.start_span("a"), ptx.start_span("b")
    a.end()
    b.end()
    assert current() == (None, None)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
@given(st.lists(st.none() | st.integers(0, 30), max_size=40))
def test_any_order_of_starts_and_ends(recording: Recording, steps: list[int | None]) -> None:
    """After every start (None) and every end (the n-th span's), what is current is what the rule says."""

    def walk() -> None:
        spans: list[ptx.Span] = []
        below: dict[int, int | None] = {}
        ended: set[int] = set()
        top: int | None = None
        for step in steps:
            if step is None:
                below[len(spans)], top = top, len(spans)
                spans.append(ptx.start_span("op"))
            elif step < len(spans):
                spans[step].end()
                ended.add(step)
                if top == step:
                    while top is not None and top in ended:
                        top = below[top]
            assert current() == ((None, None) if top is None else ids(spans[top]))

    contextvars.copy_context().run(walk)


def test_ended_inside_with(recording: Recording) -> None:
    """A span that ended in its own `with` block stays ended, and the outer one current."""
    with ptx.start_span("outer") as outer:
        with ptx.start_span("inner") as inner:
            inner.end()
            assert current() == ids(outer)
        assert current() == ids(outer)


def test_ended_on_a_thread(recording: Recording) -> None:
    """A span ended on a thread records there, and leaves its own context at its own exit."""
    with ptx.start_span("op") as span:
        thread = threading.Thread(target=lambda: (span.set_attribute("k", 1), span.end()))
        thread.start()
        thread.join()
        assert not span.is_recording()
    assert current() == (None, None)
    recording.expect("op", attributes={"k": 1})


def clean_pool() -> ThreadPoolExecutor:
    """A thread that was started where nothing is current."""
    pool = ThreadPoolExecutor(1)
    pool.submit(int).result()
    return pool


def test_threads_inherit_nothing(recording: Recording) -> None:
    """A new thread begins with nothing current, or where Python makes it so, as free-threaded, with what its starter has."""
    seen = []
    with ptx.start_span("parent") as parent:
        starter = current()
        thread = threading.Thread(target=lambda: (seen.append(current()), ptx.start_span("op").end()))
        thread.start()
        thread.join()
    assert seen == [starter if THREADS_INHERIT else (None, None)]
    recording.expect("op", parent if THREADS_INHERIT else None)


def test_copy_context(recording: Recording) -> None:
    """A copied context keeps what was current, and what happens in it stays in it."""
    with ptx.start_span("parent") as parent:
        copy = contextvars.copy_context()
    assert copy.run(current) == ids(parent)
    left_open = copy.run(ptx.start_span, "op")
    assert current() == (None, None)
    assert copy.run(current) == ids(left_open)
    copy.run(left_open.end)
    assert copy.run(current) == ids(parent)
    recording.expect("op", parent)


def test_executor(recording: Recording) -> None:
    """`use_span` makes a span current on a pool's thread, and leaves nothing behind."""
    with clean_pool() as pool, ptx.start_span("parent") as parent:

        def work() -> None:
            with ptx.use_span(parent), ptx.start_span("op"):
                pass

        pool.submit(work).result()
        assert pool.submit(current).result() == (None, None)
        assert parent.is_recording()
    recording.expect("op", parent)


@pytest.mark.parametrize("how", ["span", "context"])
def test_use_span(recording: Recording, how: str) -> None:
    """`use_span` takes a Span or a SpanContext, gives it, does not end it, and may be used again."""
    span = ptx.start_span("used", activate=False)
    value = span if how == "span" else span.context
    using = ptx.use_span(value)
    for name in ("x", "y"):
        with using as given:
            assert given is value
            assert current() == ids(span)
            ptx.start_span(name).end()
            with using:
                pass
            assert current() == ids(span)
        assert current() == (None, None)
    assert span.is_recording()
    for name in ("x", "y"):
        recording.expect(name, span)


def test_use_span_that_ends(recording: Recording) -> None:
    """A span that ends while it is used stays the parent until the block ends, also below a child."""
    span = ptx.start_span("used", activate=False)
    with ptx.use_span(span):
        with ptx.start_span("a"):
            span.end()
        ptx.start_span("b").end()
    assert current() == (None, None)
    recording.expect("b", span)


def test_use_span_restores_whatever_happened(recording: Recording) -> None:
    """Leaving `use_span` restores though something was left open in it."""
    with ptx.start_span("outer") as outer:
        with ptx.use_span(ptx.start_span("used", activate=False)):
            ptx.start_span("left open")
        assert current() == ids(outer)


def test_use_span_on_a_thread_that_ends_it(recording: Recording) -> None:
    """A pool's thread that ends the span it uses is left clean for the next job."""
    with clean_pool() as pool, ptx.start_span("outer"), ptx.start_span("op") as span:

        def work() -> None:
            with ptx.use_span(span):
                span.end()

        pool.submit(work).result()
        assert pool.submit(current).result() == (None, None)


@pytest.mark.parametrize("odd", [None, 5, "x"])
def test_use_span_of_nothing(recording: Recording, odd: Any) -> None:
    """What is no context makes nothing current while the block runs."""
    with ptx.start_span("op") as span:
        with ptx.use_span(odd):
            assert current() == (None, None)
            ptx.start_span("root").end()
        assert current() == ids(span)
    recording.expect("root")


def test_generators(recording: Recording) -> None:
    """A generator runs in its caller's context, so its open span is current there until it ends."""

    def numbers() -> Iterator[int]:
        with ptx.start_span("generator"):
            yield 1
            yield 2

    with ptx.start_span("outer") as outer:
        for number in numbers():
            ptx.start_span(f"in{number}").end()
        assert current() == ids(outer)
        unfinished = numbers()
        next(unfinished)
        del unfinished
        assert current() == ids(outer)
    assert current() == (None, None)


def test_interleaved_generators(recording: Recording) -> None:
    """Generators that end in the order they began leave what was current before."""

    def one(name: str) -> Iterator[None]:
        with ptx.start_span(name):
            yield

    with ptx.start_span("outer") as outer:
        a, b = one("a"), one("b")
        next(a)
        next(b)
        assert list(a) == []
        assert list(b) == []
        assert current() == ids(outer)
