"""Parent sets: they follow a batch, and outlive spans and sessions."""

from __future__ import annotations

import pytest
from batches import spans, step, steps
from recording import REMOTE_SPAN, REMOTE_TRACE, Recording

import pytracingx as ptx


def test_a_parent_set_follows_the_batch(recording: Recording) -> None:
    """add, discard, del and clear keep the order, as the scheduler's own list does."""
    parents = spans(4)
    running = list(parents)
    prepared = ptx.parent_set(running)
    late = spans(1)[0]
    assert prepared.add(late) == 4
    assert prepared.discard(parents[1]) == 1
    assert prepared.discard(parents[1]) is None
    assert prepared.discard(parents[3].context) == 2
    assert prepared.add(None) == 3
    assert prepared.add(parents[1]) == 4
    del prepared[3]
    assert prepared.discard(None) is None
    expected = [parents[0], parents[2], late, parents[1]]
    assert len(prepared) == 4 and repr(prepared) == "<ParentSet of 4>"
    for parent in expected:
        parent.end()
    assert step(prepared, {"k": list("abcd")}) == 4
    assert [(s["parent_span_id"], s["attributes"]["k"]) for s in steps(recording)] == [
        (parent.span_id(), letter) for parent, letter in zip(expected, "abcd")
    ]
    del prepared[-1]
    for index in (3, -4, 2**62):
        with pytest.raises(IndexError):
            del prepared[index]
    prepared.clear()
    assert len(prepared) == step(prepared) == 0


def test_a_parent_set_outlives_sessions(recording: Recording) -> None:
    """Made before init or in another session, its flags decide, as for every parent of another session."""
    prepared = ptx.parent_set([*spans(2), None])
    ptx.shutdown()
    assert step(prepared) == 0
    remote = ptx.parent_set(
        [ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN), ptx.SpanContext(REMOTE_TRACE, "1" * 16, 0)]
    )
    recording.restart()
    assert step(prepared) == 2
    assert step(remote) == 1
    recording.restart(sampler="always_off")
    assert step(prepared) == step(remote) == 0
    assert len(steps(recording)) == 3
