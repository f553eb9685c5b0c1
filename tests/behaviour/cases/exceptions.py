"""Exceptions recorded, and exceptions that leave `with`."""

from __future__ import annotations

import asyncio

from trial import Trial, case


@case()
def exception_leaves_with(t: Trial) -> None:
    ptx = t.start()

    class Custom(RuntimeError):
        pass

    for name, error in {
        "value": ValueError("boom"),
        "custom": Custom("mine"),
        "empty": ValueError(),
        "keyboard": KeyboardInterrupt(),
        "exit": SystemExit(3),
        "generator": GeneratorExit(),
        "cancelled": asyncio.CancelledError(),
    }.items():

        def run(name: str = name, error: BaseException = error) -> None:
            with ptx.start_span(name):
                raise error

        t.attempt(name, run)
        t.note_current(f"{name}_current")
    ptx.shutdown()


@case()
def exception_without_text_leaves_with(t: Trial) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    ptx = t.start()
    try:
        with ptx.start_span("op"):
            raise Silent
    except Silent:
        t.note("left_with", "Silent")
    with ptx.start_span("recorded") as span:
        t.attempt("record", lambda: span.record_exception(Silent()))
    ptx.shutdown()


@case()
def exception_through_two_spans(t: Trial) -> None:
    ptx = t.start()
    try:
        with ptx.start_span("outer"), ptx.start_span("inner"):
            raise ValueError("boom")
    except ValueError:
        pass
    ptx.shutdown()


@case()
def exception_recorded_and_raised(t: Trial) -> None:
    ptx = t.start()
    try:
        with ptx.start_span("op") as span:
            try:
                raise ValueError("boom")
            except ValueError as error:
                span.record_exception(error)
                raise
    except ValueError:
        pass
    ptx.shutdown()


@case()
def record_exception(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("plain") as span:
        span.record_exception(ValueError("boom"))
    with ptx.start_span("escaped") as span:
        span.record_exception(KeyError("k"), escaped=True)
    with ptx.start_span("twice") as span:
        span.record_exception(ValueError("one"))
        span.record_exception(ValueError("two"))
    with ptx.start_span("then_ok") as span:
        span.record_exception(ValueError("boom"))
        span.set_status("ok")
    ptx.shutdown()


@case()
def status_set_before_an_exception(t: Trial) -> None:
    ptx = t.start()
    for code in ("ok", "error"):
        try:
            with ptx.start_span(code) as span:
                span.set_status(code, "mine")
                raise ValueError("boom")
        except ValueError:
            pass
    ptx.shutdown()
