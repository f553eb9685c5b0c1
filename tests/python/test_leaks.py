"""Nothing is kept that nobody holds: references, garbage, and no crash where much is let go at once."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
from conftest import RunPython
from recording import Recording

import pytracingx as ptx

START = """
import contextvars, gc
ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))

def objects():
    gc.collect()
    return len(gc.get_objects())

def spans():
    gc.collect()
    return sum(type(each) is ptx.Span for each in gc.get_objects())
"""


class Odd:
    """A value whose text is asked for."""

    def __str__(self) -> str:
        return "odd"


def test_references_return(recording: Recording) -> None:
    """Keys, values and exceptions are held by nobody once the calls are over."""
    key = "a key longer than " + "the interner takes, " * 10
    odd_key, text, number, odd = Odd(), "text " * 30, 10**30, Odd()
    items: Any = [text, odd, {key: odd}]
    mapping: Any = {key: text, odd_key: odd, "list": items, "number": number}
    error = ValueError(text)
    held: list[Any] = [key, odd_key, text, number, odd, items, mapping, error]

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(each) for each in held]

    before = counts()
    for _ in range(1000):
        with ptx.start_span(text, mapping, links=[]) as span:
            span.set_attribute(key, items)
            span.set_attributes(mapping)
            span.add_event(text, mapping)
            span.add_link(span, mapping)
            span.update_name(text)
            span.set_status("error", text)
            span.record_exception(error, attributes=mapping)
        ptx.record_span(text, 1, 2, mapping, status=("error", text))
    del span
    assert counts() == before


def test_cached_names_are_let_go(recording: Recording) -> None:
    """The identity cache holds a reference to each of its strings, and gives it back with the entry."""
    names, others = ([f"{kind} {n}" for n in range(20_000)] for kind in ("name", "other"))
    for _ in range(3):
        for name in names:
            ptx.start_span(name, {name: 1}).end()
    del name
    # What a look itself holds differs from version to version.
    held = sum(sys.getrefcount(name) for name in names) - sum(sys.getrefcount(other) for other in others)
    assert 0 <= held <= 2048


def test_dropped_spans_leave_no_garbage(run_python: RunPython) -> None:
    """1,000,000 unended spans, dropped: the number of objects is what it was."""
    code = (
        START
        + """
for _ in range(100):
    ptx.start_span("op", {"k": 1}, activate=False)
before = objects()
for _ in range(1_000_000):
    ptx.start_span("op", {"k": 1}, activate=False)
answer([before, objects(), ptx.stats()["spans"]["abandoned"]])
"""
    )
    before, after, abandoned = run_python(code, timeout_s=120).answer
    assert after - before < 10
    assert abandoned == 1_000_100


def test_an_activated_span_dies_with_its_context(run_python: RunPython) -> None:
    """An activated, unended span is a cycle through its context: collected once that is dead, then ended."""
    code = (
        START
        + """
before = spans()
for _ in range(10_000):
    contextvars.copy_context().run(ptx.start_span, "op", {"k": [1]})
after = spans()
assert ptx.force_flush()
answer([before, after, ptx.stats()["spans"]])
"""
    )
    before, after, stats = run_python(code).answer
    assert before == after
    assert (stats["recorded"], stats["abandoned"]) == (10_000, 10_000)


def test_a_long_chain_of_open_spans(run_python: RunPython) -> None:
    """200,000 activated, unended spans, each the parent of the next, are let go without recursion."""
    code = (
        START
        + """
def chain():
    for _ in range(200_000):
        ptx.start_span("op")

before = spans()
context = contextvars.copy_context()
context.run(chain)
assert spans() >= 200_000
del context
answer([before, spans(), ptx.stats()["spans"]["abandoned"]])
"""
    )
    before, after, abandoned = run_python(code, timeout_s=120).answer
    assert before == after
    assert abandoned == 200_000


def test_a_long_chain_of_ended_spans(run_python: RunPython) -> None:
    """So is a chain of spans that were ended out of order."""
    code = (
        START
        + """
def chain():
    opened = [ptx.start_span("op") for _ in range(200_000)]
    for span in opened[:-1]:
        span.end()
    assert ptx.current_span() is opened[-1]
    opened[-1].end()
    assert ptx.current_trace_context()["span_id"] is None

before = spans()
contextvars.copy_context().run(chain)
answer([before, spans()])
"""
    )
    before, after = run_python(code, timeout_s=120).answer
    assert before == after


def test_many_open_spans_at_exit(run_python: RunPython) -> None:
    """Spans that are open, activated, and held by a global when the interpreter ends are no trouble."""
    code = (
        START
        + """
kept = [ptx.start_span("op", {"k": 1}) for _ in range(50_000)]
ptx.start_span("last").record_exception(ValueError())
"""
    )
    assert run_python(code).stderr == ""


def test_contexts_and_carriers_leave_no_garbage(run_python: RunPython) -> None:
    """Contexts, extractions and uses of spans are gone with their last reference."""
    code = (
        START
        + """
headers = {"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "tracestate": "a=1", "baggage": "b=1"}

def work(times):
    for _ in range(times):
        with ptx.extract_headers(headers), ptx.start_span("op") as span:
            out = {}
            ptx.inject_headers(out)
            with ptx.use_span(span.context), ptx.use_span(span):
                ptx.new_context()
        ptx.extract_headers(headers).restore()
        ptx.get_tracer("lib").start_span("x").end()

work(100)
before = objects()
work(20_000)
answer([before, objects()])
"""
    )
    before, after = run_python(code).answer
    assert after - before < 10


@pytest.mark.skipif(sys.version_info < (3, 10), reason="3.9 cannot pause its collector from C")
def test_finalizers_that_use_spans(run_python: RunPython) -> None:
    """A collection in the middle of making a span current may run code that makes others current.

    Before 3.12 that crashes the interpreter: a plain `ContextVar.set` in a `__del__` does.
    """
    code = (
        START
        + """
kept = []

class Cycle:
    def __init__(self, depth):
        self.me = self
        self.depth = depth
    def __del__(self):
        if self.depth:
            Cycle(self.depth - 1)
        ptx.start_span("left open")
        kept.append([b"content " * size for size in range(1, 20) for _ in range(20)])
        del kept[:-50]

gc.set_threshold(1)
for _ in range(5_000):
    Cycle(8)
    with ptx.start_span("op"):
        pass
"""
    )
    run_python(code)


def test_static_strings(recording: Recording) -> None:
    """Names that the interpreter holds as statics (not aligned to 16 bytes) go through the cache unharmed."""
    letters = [chr(code) for code in range(256)]
    for n in range(3):
        for text in [*letters, *(f"name {n} {m}" for m in range(5_000))]:
            ptx.start_span(text, {text: 1}).end()
        recording.restart()
        ptx.start_span("a", {"b": 1}).end()
        ptx.start_span("a", {"b": 1}).end()
    assert [ord(letter) for letter in letters] == list(range(256))
    assert [ord(chr(code)) for code in range(256)] == list(range(256))
