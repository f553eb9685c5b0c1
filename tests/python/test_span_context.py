"""`SpanContext`: fields, equality, hash, pickle, errors."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from recording import REMOTE, REMOTE_SPAN, REMOTE_TRACE, Recording

import pytracingx as ptx


def test_span_context() -> None:
    """Ids in any case, flags, tracestate, remote: what is given is what is there, and prints."""
    context = ptx.SpanContext(REMOTE_TRACE.upper(), REMOTE_SPAN.upper())
    assert (context.trace_id, context.span_id, context.trace_flags) == (REMOTE_TRACE, REMOTE_SPAN, 1)
    assert (context.trace_state, context.is_remote, context.is_valid) == ("", True, True)
    assert context.traceparent == REMOTE
    assert eval(repr(context), {"SpanContext": ptx.SpanContext}) == context
    with pytest.raises(AttributeError):
        context.trace_id = REMOTE_TRACE  # type: ignore[misc]


def test_span_context_equality() -> None:
    """Equal when all fields are, with equal hashes; nothing else is equal to one."""
    base = (REMOTE_TRACE, REMOTE_SPAN, 1, "a=1", True)
    others = [("1" * 32, *base[1:]), (base[0], "1" * 16, *base[2:]), (*base[:2], 0, *base[3:])]
    others += [(*base[:3], "", True), (*base[:4], False)]
    contexts = [ptx.SpanContext(*fields) for fields in (base, *others)]
    assert contexts[0] == ptx.SpanContext(*base)
    assert hash(contexts[0]) == hash(ptx.SpanContext(*base))
    assert len(set(contexts)) == len(contexts)
    assert contexts[0] != REMOTE


def test_span_context_pickles(recording: Recording) -> None:
    """Local, remote, drawn and invalid contexts are equal after a round trip."""
    remote = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, "a=1")
    contexts = [remote, ptx.start_span("x").context, ptx.new_context(), ptx.current_span().context]
    contexts += [ptx.extract_headers({}).span_context or ptx.SpanContext("0" * 32, "0" * 16)]
    for context in contexts:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(context, protocol)) == context
        assert copy.deepcopy(context) == context


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", REMOTE_SPAN), "trace_id must be 32 hexadecimal digits, not all zero, got ''"),
        ((REMOTE_TRACE[1:], REMOTE_SPAN), "trace_id must be 32"),
        (("g" * 32, REMOTE_SPAN), "trace_id must be 32"),
        (("0" * 32, REMOTE_SPAN), "trace_id must be 32"),
        ((REMOTE_TRACE, "0" * 16), "span_id must be 16"),
        ((REMOTE_TRACE, "0x" + "1" * 14), "span_id must be 16"),
        ((REMOTE_TRACE, REMOTE_SPAN, 256), "trace_flags must be 0 to 255, got 256"),
        ((REMOTE_TRACE, REMOTE_SPAN, -1), "trace_flags must be 0 to 255, got -1"),
    ],
    ids=str,
)
def test_span_context_errors(arguments: Any, message: str) -> None:
    """A constructor says which argument, what it got and what is allowed."""
    with pytest.raises(ValueError, match=message):
        ptx.SpanContext(*arguments)


def test_from_traceparent() -> None:
    """The reverse of `.traceparent`; None for what is malformed."""
    context = ptx.SpanContext.from_traceparent(REMOTE, "a=1")
    assert context == ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, "a=1")
