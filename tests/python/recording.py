"""Record in this process, then look at what arrived: every span decoded with the official protobufs and compared
field by field.

    def test_a_span_has_a_name(recording):
        with ptx.start_span("op"): pass
        recording.expect("op")                      # every field, with these defaults
        recording.expect("op", kind="server")       # or with others

`recording` initialises with one sink; `recording.restart(...)` begins another session with other sinks. Each test begins
with nothing current.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from otlp_server import OtlpServer

import pytracingx as ptx

SAMPLED, RANDOM = 1, 2
HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200
ROOT_FLAGS = SAMPLED | RANDOM | HAS_IS_REMOTE

REMOTE_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REMOTE_SPAN = "00f067aa0ba902b7"
REMOTE = f"00-{REMOTE_TRACE}-{REMOTE_SPAN}-01"
NOTHING = {"trace_id": None, "span_id": None}

# Free-threaded Python starts threads with what is current where they are started; others where they are told to.
THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))

Decoded = dict[str, Any]


class Recording:
    """A session of this process that sends to `collector`."""

    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector
        # A test may leave spans current in this thread's context: none of them is a parent here.
        self._nothing_current = ptx.extract_headers({})
        self.restart()

    def restart(self, *sinks: ptx.TraceSink, **options: Any) -> None:
        """End the session, if there is one, and begin another: with these sinks, or one with these options."""
        ptx.shutdown()
        ptx.init(ptx.Config("svc", sinks=list(sinks) or [self.sink(**options)]))

    def sink(self, **options: Any) -> ptx.TraceSink:
        """A sink that sends to the collector."""
        return ptx.TraceSink(self.collector.endpoint, "http", **options)

    def spans(self) -> list[Decoded]:
        """All that was recorded so far, decoded."""
        assert ptx.force_flush()
        return self.collector.spans

    def span(self, name: str) -> Decoded:
        """The only span of this name."""
        assert ptx.force_flush()
        return self.collector.span(name)

    def attributes(self, name: str = "op") -> Decoded:
        """The attributes of the only span of this name."""
        return dict(self.span(name)["attributes"])

    def expect(self, name: str, parent: Any = None, **changes: Any) -> Decoded:
        """Assert every field of the span: a plain root (or child of `parent`) but for `changes`."""
        span = self.span(name)
        ids = {"trace_id": span["trace_id"], "parent_span_id": ""}
        if parent is not None:
            ids = {"trace_id": parent.trace_id(), "parent_span_id": parent.span_id()}
        plain = {
            **{"name": name, **ids, "span_id": span["span_id"], "trace_state": "", "flags": ROOT_FLAGS},
            **{"kind": "internal", "attributes": {}, "dropped_attributes_count": 0},
            **{"events": [], "dropped_events_count": 0, "links": [], "dropped_links_count": 0},
            **{"status": {"code": "unset", "message": ""}},
            "scope": {"name": "pytracingx", "version": ptx.__version__},
        }
        times = {key: span[key] for key in ("start_time_unix_nano", "end_time_unix_nano")}
        assert span == {**plain, **times, "resource": span["resource"], **changes}
        assert span["resource"]["service.name"] == "svc"
        assert int(span["trace_id"], 16) and int(span["span_id"], 16)
        assert span["start_time_unix_nano"] <= span["end_time_unix_nano"]
        return span

    def close(self) -> None:
        """End the session."""
        ptx.shutdown()
        self._nothing_current.restore()


def ids(value: Any) -> tuple[str, str]:
    """Trace and span id of a `Span`, a `SpanContext`, a decoded span or link."""
    if isinstance(value, dict):
        return value["trace_id"], value["span_id"]
    if isinstance(value, ptx.SpanContext):
        return value.trace_id, value.span_id
    return value.trace_id(), value.span_id()


def current() -> tuple[str | None, str | None]:
    """Trace and span id of what is current."""
    context = ptx.current_trace_context()
    return context["trace_id"], context["span_id"]


def quietly(call: Callable[[], Any], *kinds: type[BaseException]) -> Any:
    """What `call` returns, or the exception of one of these kinds that it raises."""
    try:
        return call()
    except kinds as error:
        return error
