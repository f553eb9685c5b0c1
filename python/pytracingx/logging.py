"""Forwards the records of the standard library's `logging` to pytracingx.

    import logging
    import pytracingx.logging

    pytracingx.logging.install()
    logging.getLogger("foo").info("hello from stdlib", extra={"items": 3})

Records keep their extras with their types, their time, and the ids of the span they were made in. In
`dictConfig`: `{"class": "pytracingx.logging.SLSLoggingHandler", "level": "INFO"}`. As a handler of
`basicConfig` it gets the format that stands there, by default with level and name in front.

What a record costs is mostly `logging`'s: about 4 µs before any handler has it, half a microsecond in this
one. Nearly half of that goes into attributes that one can do without, which `logging` documents under
"Optimization": `logging._srcfile = None` leaves out ``code.*``, `logging.logThreads = False` ``thread.*``,
`logging.logProcesses = False` ``process.pid``. Loggers of `pytracingx.get_logger` cost none of it.
"""

from __future__ import annotations

import contextlib
import logging

from . import _native
from ._native import _severity_for as _severity_for

__all__ = ["SLSLoggingHandler", "TraceContextFilter", "install"]

_emit_stdlib = _native._emit_stdlib


class SLSLoggingHandler(logging.Handler):
    """Records what it is given as log records of the logger's name; before ``init`` it does nothing.

    The body is ``self.format(record)``: without a formatter the message, with the traceback if there is one.
    Attributes are ``logger.name``, ``code.filepath``, ``code.function``, ``code.lineno``, ``thread.id``,
    ``thread.name``, ``process.pid``, the exception's ``exception.type``, ``exception.message`` and
    ``exception.stacktrace``, and the record's extras that are str, bool, int, float, bytes, or lists, tuples
    or dicts of these.

    Never raises, never blocks and takes no lock. A record made while another one is being formatted on the
    same thread is dropped and counted. Formatting that fails is told as `logging` does, and the record kept
    without its arguments.

    Args:
        level: Lower ones are ignored; default none. What ``log_filter`` leaves out is not even formatted.
    """

    # format() and filter() are logging's own.
    _is_plain = True
    _is_unfiltered = True

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level=level)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._is_plain = cls.format is logging.Handler.format
        cls._is_unfiltered = cls.filter is logging.Handler.filter

    def createLock(self) -> None:
        """None is needed: each thread records for itself."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Emits the record if the filters let it pass; a filter may replace it, from Python 3.12 on.

        Args:
            record: The record.
        """
        if self._is_unfiltered and not self.filters:
            self.emit(record)
            return True
        passed: bool | logging.LogRecord = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed  # type: ignore[return-value]  # as logging's own

    def emit(self, record: logging.LogRecord) -> None:
        """Records it.

        Args:
            record: The record.
        """
        try:
            _emit_stdlib(self, record, self._is_plain and self.formatter is None)
        except Exception:
            self.handleError(record)

    def _tell(self, record: logging.LogRecord, error: Exception) -> None:
        try:
            raise error
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Tells on stderr of an exception, if `logging.raiseExceptions` says so; raises nothing itself.

        Args:
            record: The record.
        """
        with contextlib.suppress(Exception):  # a closed stderr
            super().handleError(record)


_native._hasten_handler(SLSLoggingHandler)


class TraceContextFilter(logging.Filter):
    """Puts the current span's ids on records, for formats such as ``%(otelTraceID)s %(message)s``.

    ``otelTraceID`` (32 hexadecimal digits), ``otelSpanID`` (16) and ``otelTraceSampled`` (a bool), as
    OpenTelemetry's logging instrumentation: without a span "0", "0" and False. Add it to a handler. On a
    ``QueueHandler`` it makes the handlers behind the queue, which run on another thread, know the span too. A
    record that has them keeps them.

    Args:
        name: Only records of this logger and those below it pass; default all.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Adds the ids; tells whether the record passes.

        Args:
            record: The record.
        """
        if not hasattr(record, "otelTraceID"):
            trace_id, span_id, sampled = _native._trace_context()
            record.otelTraceID = trace_id
            record.otelSpanID = span_id
            record.otelTraceSampled = sampled
        return bool(super().filter(record))


def install(level: int = logging.INFO, logger: logging.Logger | None = None) -> SLSLoggingHandler:
    """Adds a handler to a logger, whose level it lowers to the handler's if need be.

    Called again for the same logger it adds none: the handler that is there takes the level.

    Args:
        level: The handler's; default INFO.
        logger: Default the root logger.

    Returns:
        The handler, for `removeHandler`.
    """
    target = logger if logger is not None else logging.getLogger()
    for handler in target.handlers:
        if isinstance(handler, SLSLoggingHandler):
            handler.setLevel(level)
            break
    else:
        handler = SLSLoggingHandler(level=level)
        target.addHandler(handler)
    if target.level == logging.NOTSET or target.level > level:
        target.setLevel(level)
    return handler
