"""One sink for traces in this very process, and what becomes of each span that is given to it.

pytestmark = pytest.mark.usefixtures("session_ends")
begin(server.endpoint, "grpc")
server.answer_next(GrpcAnswer(14))
assert verdict() == "tried again"
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytracingx as ptx

# Shorter than the first wait after a failure, which is half a second at least.
FLUSH_MS = 400


def begin(endpoint: str, protocol: Any, *more: Any, **settings: Any) -> None:
    """A session with this sink and `more`, which send when they are flushed."""
    sink = ptx.TraceSink(endpoint, protocol, **{"batch_schedule_delay_ms": 60_000, **settings})
    ptx.init(ptx.Config("svc", sinks=[sink, *more], console_output=False, diagnostics="off"))


def books(signal: str = "trace") -> Any:
    """Those of the first sink of a signal, in which no record is missing."""
    stats = ptx.stats()
    assert stats["exporter_restarts"] == 0
    sink = stats[f"{signal}_sinks"][0]  # type: ignore[literal-required]
    assert sink["wanted"] == sink["exported"] + sum(sink["dropped"].values()) + sink["held_records"], sink
    return sink


def spans(count: int) -> None:
    """So many spans, each with a number."""
    for number in range(count):
        ptx.start_span("op", {"number": number}).end()


def wait_until(fact: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """For facts that no server sees."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        assert time.monotonic() < deadline, ptx.stats()
        time.sleep(0.005)


def verdict() -> str:
    """Of one span: "delivered", "tried again" or the reason of its loss. What is held, the next flush delivers."""
    before = books()
    spans(1)
    flushed = ptx.force_flush(FLUSH_MS)
    after = books()
    if after["held_records"]:
        assert not flushed and after["state"] == "backing_off" and after["last_error"]
        assert ptx.force_flush(), books()
        after = books()
        assert after["exported"] == before["exported"] + 1 and after["retried"] == before["retried"] + 1
        return "tried again"
    assert flushed and after["requests"] == before["requests"] + 1, after
    if after["exported"] > before["exported"]:
        assert after["dropped"] == before["dropped"]
        return "delivered"
    (reason,) = (name for name, count in after["dropped"].items() if count != before["dropped"].get(name, 0))
    assert after["last_error"]
    return str(reason)
