"""Exceptions on spans: what leaving `with` records, what it does not, and `record_exception`."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest
from recording import Recording

import pytracingx as ptx

T0 = 1_700_000_000_000_000_000


class OddError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


def leave(error: BaseException, span: ptx.Span | None = None) -> ptx.Span:
    """A span of name `op`, left on this exception."""
    span = span or ptx.start_span("op")
    with pytest.raises(type(error)), span:
        raise error
    return span


def events(recording: Recording) -> list[dict[str, Any]]:
    return [event["attributes"] for event in recording.span("op")["events"]]


def test_leaving_on_an_exception(recording: Recording) -> None:
    """It becomes an event with type, message and stack trace, and sets the status."""
    leave(ValueError("why"))
    sent = recording.span("op")
    assert sent["status"] == {"code": "error", "message": "why"}
    (event,) = sent["events"]
    stacktrace = event["attributes"].pop("exception.stacktrace")
    assert stacktrace.startswith("Traceback") and stacktrace.endswith("ValueError: why\n")
    assert "in leave" in stacktrace
    assert event == {
        "name": "exception",
        "time_unix_nano": event["time_unix_nano"],
        "attributes": {
            "exception.type": "ValueError",
            "exception.message": "why",
            "exception.escaped": True,
        },
        "dropped_attributes_count": 0,
    }
    assert sent["start_time_unix_nano"] <= event["time_unix_nano"] <= sent["end_time_unix_nano"]


def test_every_span_that_is_left(recording: Recording) -> None:
    """An exception that leaves two spans is on both."""
    with pytest.raises(KeyError), ptx.start_span("outer"), ptx.start_span("op"):
        raise KeyError("k")
    assert [len(recording.span(name)["events"]) for name in ("op", "outer")] == [1, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit()], ids=repr)
def test_leaving_that_is_no_failure(recording: Recording, error: BaseException) -> None:
    """KeyboardInterrupt, SystemExit and GeneratorExit do not count."""
    leave(error)
    recording.expect("op")


def test_cancellation(recording: Recording) -> None:
    """asyncio's CancelledError leaves an event `cancelled`, and no error."""

    async def main() -> None:
        async def work() -> None:
            with ptx.start_span("op"):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    sent = recording.span("op")
    assert [(event["name"], event["attributes"]) for event in sent["events"]] == [("cancelled", {})]
    assert sent["status"]["code"] == "unset"


def test_another_base_exception_counts(recording: Recording) -> None:
    """Any other BaseException is a failure; its type's name has its module."""

    class Stop(BaseException):
        pass

    leave(Stop("now"))
    (event,) = events(recording)
    assert event["exception.type"] == f"{__name__}.{Stop.__qualname__}"


def test_an_exception_without_text(recording: Recording) -> None:
    """When its `__str__` raises, the message is the type's name."""
    leave(OddError())
    assert recording.span("op")["status"]["message"] == "OddError"
    assert events(recording)[0]["exception.message"] == "OddError"


@pytest.mark.parametrize(("code", "description"), [("ok", ""), ("error", "mine")])
def test_an_explicit_status_stays(recording: Recording, code: Any, description: str) -> None:
    """Leaving `with` records the exception, and does not overwrite a status that was set."""
    span = ptx.start_span("op")
    span.set_status(code, description)
    leave(ValueError("theirs"), span)
    assert recording.span("op")["status"] == {"code": code, "message": description}
    assert [event["exception.message"] for event in events(recording)] == ["theirs"]


def test_record_exception(recording: Recording) -> None:
    """Every argument; the caller's attributes win, the status becomes error."""
    with ptx.start_span("op") as span:
        attributes = {"exception.message": "mine", "more": [1]}
        span.record_exception(ValueError("why"), True, attributes=attributes, timestamp=T0)
    sent = recording.span("op")
    (event,) = sent["events"]
    assert event["time_unix_nano"] == T0
    assert event["attributes"] == {
        "exception.type": "ValueError",
        "exception.message": "mine",
        "exception.stacktrace": "ValueError: why\n",
        "exception.escaped": True,
        "more": [1],
    }
    assert sent["status"] == {"code": "error", "message": "why"}


def test_recorded_exception_is_not_recorded_again(recording: Recording) -> None:
    """The same exception leaving `with` adds nothing to what was recorded; another one does."""
    for error in (ValueError("a"), ValueError("b")):
        with pytest.raises(ValueError, match="a"), ptx.start_span(f"op{error}") as span:
            recorded = ValueError("a")
            span.record_exception(error if str(error) == "b" else recorded)
            raise recorded
    assert [len(recording.span(name)["events"]) for name in ("opa", "opb")] == [1, 2]
    assert recording.span("opa")["events"][0]["attributes"]["exception.escaped"] is False


@pytest.mark.parametrize("odd", [None, "text", 5, ValueError, object()], ids=lambda odd: type(odd).__name__)
def test_odd_exceptions(recording: Recording, odd: Any) -> None:
    """What is no exception is recorded by its type and text; nothing raises."""
    with ptx.start_span("op") as span:
        span.record_exception(odd, escaped=odd)
    (event,) = events(recording)
    assert event["exception.message"] == str(odd)


def test_event_limits_hold_for_exceptions(recording: Recording) -> None:
    """An exception's attributes are cut like those of any event."""
    recording.restart(max_attributes_per_event=4)
    with ptx.start_span("op") as span:
        span.record_exception(ValueError("x"), attributes={"exception.message": "mine", "a": 1, "b": 2})
    (event,) = recording.span("op")["events"]
    assert len(event["attributes"]) == 4
    assert event["attributes"]["exception.message"] == "mine"
    assert event["dropped_attributes_count"] == 2


def test_an_interrupt_while_recording_passes(recording: Recording) -> None:
    """Ctrl-C that arrives while the stack trace is formatted is not swallowed, and ends the span."""

    class Interrupting(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    span = ptx.start_span("op")
    with pytest.raises(KeyboardInterrupt), span:
        raise Interrupting
    assert not span.is_recording()
    recording.expect("op")


def test_an_ended_span_holds_no_exception(recording: Recording) -> None:
    """No cycle: exception, traceback, frame, span, and back."""

    class Error(Exception):
        pass

    gc.disable()
    try:
        span = ptx.start_span("kept")
        error = Error()
        span.record_exception(error)
        span.end()
        left = weakref.ref(error)
        del error
        assert left() is None
    finally:
        gc.enable()
