"""The session of a test of `@traced`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from otlp_server import OtlpServer

import pytracingx as ptx


@contextlib.contextmanager
def recording(collector: OtlpServer) -> Iterator[Any]:
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
