"""What type checkers must know about the package. Never run: `mypy --strict` reads it (`make stubs`), and an
ignore that is not needed is an error."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, Optional

from typing_extensions import assert_type

import pytracingx as ptx


def spans() -> None:
    with ptx.start_span("name", {"a": 1, "b": [1.5, "x"], "c": {"d": b"e"}}, "server") as span:
        assert_type(span, ptx.Span)
        assert_type(span.context, ptx.SpanContext)
        assert_type(span.trace_id(), Optional[str])
        assert_type(span.context.trace_id, str)
        span.set_status("error", "why")
        span.record_exception(ValueError("x"), attributes={"a": None}, timestamp=ptx.now())
        raise KeyError  # `with` lets it pass, so what follows cannot be reached
    assert_type(ptx.now(), str)  # unreachable: not looked at


def more_spans(parent: ptx.SpanContext) -> None:
    tracer = ptx.get_tracer("library", "1.0")
    assert_type(tracer, ptx.Tracer)
    child = tracer.start_span("child", parent=parent, links=[parent, (parent, {"a": 1})], activate=False)
    child.end(ptx.from_monotonic(1.5))
    assert_type(
        ptx.record_span("done", 1, 2, {"a": 1}, "client", status=("error", "why"), span_context=parent),
        ptx.SpanContext,
    )
    assert_type(ptx.current_span(), ptx.Span)
    assert_type(ptx.current_trace_context()["trace_id"], Optional[str])
    assert_type(ptx.new_context(child), ptx.SpanContext)
    with ptx.use_span(child) as used:
        assert_type(used, ptx.Span)
    with ptx.use_span(parent) as context:
        assert_type(context, ptx.SpanContext)


def wrong_spans() -> None:
    ptx.start_span("name", kind="magic")  # type: ignore[arg-type]
    ptx.start_span("name", {1: "a"})  # type: ignore[dict-item]
    ptx.start_span("name", start_time=1.5)  # type: ignore[arg-type]
    ptx.start_span("name", {}, "internal", None)  # type: ignore[call-arg]
    ptx.current_span().set_status("bad")  # type: ignore[arg-type]
    print(ptx.no_such_name)  # type: ignore[attr-defined]


async def asynchronous() -> None:
    async with ptx.start_span("name") as span:
        assert_type(span, ptx.Span)


def propagation(headers: dict[str, str], scope: list[tuple[bytes, bytes]]) -> None:
    ptx.inject_headers(headers)
    ptx.inject_headers(scope, ptx.current_span())
    with ptx.extract_headers(scope) as extracted:
        assert_type(extracted, ptx.ExtractedContext)
        assert_type(extracted.span_context, Optional[ptx.SpanContext])
    assert_type(ptx.extract_context(headers), Optional[ptx.SpanContext])


def lifecycle() -> None:
    ptx.init(ptx.Config("service", sinks=[ptx.TraceSink("http://localhost:4318", compression="gzip")]))
    assert_type(ptx.shutdown(1000), bool)
    stats = ptx.stats()
    assert_type(stats["trace_sinks"][0]["exported"], int)
    assert_type(stats["spans"]["dropped"].get("ring_full", 0), int)
    stats["no_such_key"]  # type: ignore[typeddict-item]
    for report in ptx.check(timeout_ms=500):
        assert_type(report["ok"], bool)
        assert_type(
            report["phase"],
            Optional[Literal["resolve", "connect", "proxy", "tls", "send", "receive", "done"]],
        )
        assert_type(report["clock_skew_s"], Optional[float])


@ptx.traced
def function(a: int, *, b: str = "x") -> float:
    return a / len(b)


@ptx.traced("name", kind="server", attributes={"a": 1})
async def coroutine(a: int) -> str:
    return str(a)


@ptx.traced()
def generator() -> Iterator[int]:
    yield 1


@ptx.traced
async def async_generator() -> AsyncIterator[int]:
    yield 1


class Class:
    @ptx.traced
    def method(self, a: int) -> int:
        return a

    @ptx.traced
    @staticmethod
    def static(a: int) -> int:
        return a

    @classmethod
    @ptx.traced("name")
    def of_class(cls, a: int) -> int:
        return a


async def decorated() -> None:
    assert_type(function(1, b="y"), float)
    function("x")  # type: ignore[arg-type]
    assert_type(await coroutine(1), str)
    assert_type([value for value in generator()], list[int])
    assert_type([value async for value in async_generator()], list[int])
    assert_type(Class().method(1), int)
    assert_type(Class.static(1), int)
    assert_type(Class.of_class(1), int)
    Class().method()  # type: ignore[call-arg]


ptx.traced("name", kind="magic")  # type: ignore[call-overload]


def anything(value: Any) -> None:
    ptx.start_span(value, value, value, parent=value)


def batches(parents: list[ptx.Span], tokens: array[int]) -> None:
    running = ptx.parent_set(parents)
    assert_type(running, ptx.ParentSet)
    assert_type(running.add(parents[0]), int)
    assert_type(running.discard(parents[0].context), Optional[int])
    assert_type(ptx.record_spans("step", [*parents, None], 1, [1, 2], {"tokens": tokens}, "client"), int)
    assert_type(ptx.get_tracer("t").record_spans("step", running, tokens, 2), int)
    decode = ptx.SpanTemplate("decode", "client", {"model": "m"}, tracer=ptx.get_tracer("t"))
    with decode({"tokens": 1}, parent=parents[0]) as span:
        assert_type(span, ptx.Span)
    assert_type(decode.record(1, 2, {"tokens": 1}, status="ok"), ptx.SpanContext)
    assert_type(decode.record_spans(running, 1, 2, {"tokens": tokens}), int)
    ptx.record_spans("step", parents, 1.5, 2)  # type: ignore[arg-type]
    ptx.record_spans("step", 5, 1, 2)  # type: ignore[arg-type]
