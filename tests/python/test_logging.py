"""The bridge from stdlib's `logging`: what a record becomes, and what the bridge never does."""

from __future__ import annotations

import copy
import io
import logging
import logging.config
import logging.handlers
import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from otlp_server import OtlpServer
from test_logs import Logs

import pytracingx as ptx
from pytracingx.logging import SLSLoggingHandler, TraceContextFilter, _severity_for, install

OWN = {
    *["logger.name", "code.filepath", "code.function", "code.lineno", "thread.id", "thread.name"],
    "process.pid",
}


@pytest.fixture
def logs(collector: OtlpServer) -> Iterator[Logs]:
    session = Logs(collector)
    yield session
    session.close()


@pytest.fixture
def logger() -> logging.Logger:
    """A logger with our handler, which nobody else knows: pytest adds handlers to those that it finds."""
    logger = logging.Logger("app.module", level=1)
    logger.addHandler(SLSLoggingHandler())
    return logger


def swap(logger: logging.Logger, handler: logging.Handler) -> None:
    """Gives the logger another handler."""
    logger.handlers[:] = [handler]


def extras(log: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in log["attributes"].items() if key not in OWN}


def test_every_field(logs: Logs, logger: logging.Logger) -> None:
    with ptx.start_span("op") as span:
        before = time.time_ns()
        logger.warning("%s of %d", "3", 4)
        after = time.time_ns()
    log = logs.only()
    code = sys._getframe().f_code
    assert log["attributes"] == {
        "logger.name": "app.module",
        "code.filepath": __file__,
        "code.function": "test_every_field",
        "code.lineno": code.co_firstlineno + 3,
        "thread.id": threading.get_ident(),
        "thread.name": "MainThread",
        "process.pid": os.getpid(),
    }
    assert (log["severity_number"], log["severity_text"], log["body"]) == (13, "WARN", "3 of 4")
    assert (log["trace_id"], log["span_id"]) == (span.trace_id(), span.span_id())
    assert (log["scope"], log["scope_version"]) == ("app.module", "")
    assert before - 1000 <= log["time_unix_nano"] <= after + 1000  # `created` is a float
    assert log["observed_time_unix_nano"] >= log["time_unix_nano"] - 5_000_000


def test_extras_keep_their_types(logs: Logs, logger: logging.Logger) -> None:
    """And what cannot be an attribute as it is, stays away."""
    given = {"s": "x", "i": 1, "f": 0.5, "b": False, "l": [1, "a"], "d": {"k": (1, 2)}, "y": b"\0"}
    logger.info("m", extra={**given, "none": None, "object": object(), "type": int})
    logger.info("m", extra={"i": 1})
    first, second = logs.all()
    assert extras(first) == {**given, "d": {"k": [1, 2]}, "y": {"base64": "AA=="}}
    assert extras(second) == {"i": 1}


def test_numpy_extras(logs: Logs, logger: logging.Logger) -> None:
    numpy = pytest.importorskip("numpy")
    logger.info("m", extra={"loss": numpy.float32(0.5), "step": numpy.int64(3), "array": numpy.zeros(3)})
    assert extras(logs.only()) == {"loss": 0.5, "step": 3}


def test_own_attributes_win_over_extras(logs: Logs, logger: logging.Logger) -> None:
    logger.error("m", extra={"logger.name": "x", "exception.type": "x", "k": 1}, exc_info=ValueError("v"))
    logger.error("m", extra={"exception.type": "mine"})
    first, second = logs.all()
    assert first["attributes"]["logger.name"] == "app.module"
    assert (first["attributes"]["exception.type"], first["attributes"]["k"]) == ("ValueError", 1)
    assert second["attributes"]["exception.type"] == "mine"


def test_many_extras(logs: Logs, logger: logging.Logger) -> None:
    logger.info("m", extra={f"k{i}": i for i in range(130)})
    log = logs.only()
    assert (len(log["attributes"]), log["dropped"]) == (128, 9)


def test_an_exception(logs: Logs, logger: logging.Logger) -> None:
    """In the body as `format()` has it, and as attributes."""
    try:
        raise KeyError("k")
    except KeyError:
        logger.exception("failed: %s", "x")
    log = logs.only()
    assert log["body"].startswith("failed: x\nTraceback (most recent call last):\n")
    assert log["body"].endswith("KeyError: 'k'")
    assert (log["severity_number"], log["attributes"]["exception.type"]) == (17, "KeyError")
    assert log["attributes"]["exception.message"] == "'k'"
    assert 'raise KeyError("k")' in log["attributes"]["exception.stacktrace"]


def test_exc_info_without_an_exception(logs: Logs, logger: logging.Logger) -> None:
    logger.error("m", exc_info=True)
    log = logs.only()
    assert (log["body"], extras(log)) == ("m\nNoneType: None", {})


def test_stack_info(logs: Logs, logger: logging.Logger) -> None:
    logger.info("m", stack_info=True)
    body = logs.only()["body"]
    assert body.startswith("m\nStack (most recent call last):\n") and "test_stack_info" in body


@pytest.mark.parametrize(
    ("level", "number", "text"),
    [
        *[(10, 5, "DEBUG"), (20, 9, "INFO"), (30, 13, "WARN"), (40, 17, "ERROR"), (50, 21, "FATAL")],
        *[(5, 1, "TRACE"), (11, 6, "DEBUG2"), (35, 16, "WARN4"), (60, 24, "FATAL4"), (1 << 70, 24, "FATAL4")],
        (25, 12, "NOTICE"),
    ],
)
def test_levels(logs: Logs, logger: logging.Logger, level: int, number: int, text: str) -> None:
    """Standard ones by OpenTelemetry's name; others by their own, if they have one, and a number between."""
    if level == 25:
        logging.addLevelName(25, "NOTICE")
    logger.log(level, "m")
    log = logs.only()
    assert (log["severity_number"], log["severity_text"]) == (number, text)
    assert _severity_for(level)[0] == number


def test_what_the_filter_leaves_out_is_not_formatted(logs: Logs, logger: logging.Logger) -> None:
    class Untouchable:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    logs.restart("error,app.module=warn")
    logger.info("%s", Untouchable(), extra={"k": Untouchable()})
    logger.warning("kept")
    assert logs.bodies() == ["kept"]


def test_a_formatter(logs: Logs, logger: logging.Logger) -> None:
    logger.handlers[0].setFormatter(logging.Formatter("%(levelname)s|%(message)s|%(asctime)s", "now"))
    logger.info("m", extra={"k": 1})
    log = logs.only()
    assert (log["body"], extras(log)) == ("INFO|m|now", {"k": 1})


def test_a_formatter_that_gives_no_text(logs: Logs, logger: logging.Logger) -> None:
    """Its value is the body."""

    class Structured(logging.Formatter):
        def format(self, record: logging.LogRecord) -> Any:
            return {"event": record.getMessage(), "n": 1}

    logger.handlers[0].setFormatter(Structured())
    logger.info("m")
    assert logs.bodies() == [{"event": "m", "n": 1}]


def test_subclasses(logs: Logs, logger: logging.Logger) -> None:
    """What they override is called."""

    class Mine(SLSLoggingHandler):
        def format(self, record: logging.LogRecord) -> str:
            return "<" + super().format(record) + ">"

        def filter(self, record: logging.LogRecord) -> Any:
            return "no" not in str(record.msg) and super().filter(record)

        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            super().emit(record)

    swap(logger, Mine())
    logger.info("m")
    logger.info("no")
    assert logs.bodies() == ["<m>", "<m>"]


def test_filters(logs: Logs, logger: logging.Logger) -> None:
    handler = logger.handlers[0]
    only = logging.Filter("app.other")
    handler.addFilter(only)
    logger.info("out")
    handler.removeFilter(only)
    handler.addFilter(lambda record: "in" in str(record.msg))
    logger.info("out")
    logger.info("in")
    assert logs.bodies() == ["in"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="filters replace records since 3.12")
def test_a_filter_may_replace_the_record(logs: Logs, logger: logging.Logger) -> None:
    def redacted(record: logging.LogRecord) -> logging.LogRecord:
        record = copy.copy(record)
        record.msg = "redacted"
        return record

    logger.handlers[0].addFilter(redacted)
    logger.info("secret")
    assert logs.bodies() == ["redacted"]


def test_a_message_of_any_type(logs: Logs, logger: logging.Logger) -> None:
    """As stdlib: text."""
    for message in ({"a": 1}, 7, None, ValueError("v")):
        logger.info(message)
    assert logs.bodies() == ["{'a': 1}", "7", "None", "v"]


def test_arguments(logs: Logs, logger: logging.Logger) -> None:
    logger.info("%(a)s %(b)d", {"a": 1, "b": 2})
    logger.info("100%")
    logger.info("%s", ("x", "y"))
    logger.info("%s", [])
    assert logs.bodies() == ["1 2", "100%", "('x', 'y')", "[]"]


def test_a_record_factory(logs: Logs, logger: logging.Logger) -> None:
    """Records whose getMessage() is another."""

    class Braces(logging.LogRecord):
        def getMessage(self) -> str:
            return str(self.msg).format(*self.args)  # type: ignore[misc]

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Braces)
    try:
        logger.info("{} of {}", 1, 2)
    finally:
        logging.setLogRecordFactory(before)
    assert logs.bodies() == ["1 of 2"]


def test_a_patched_message(logs: Logs, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    logger.info("%s", "before")
    monkeypatch.setattr(logging.LogRecord, "getMessage", lambda self: "patched")
    logger.info("%s", "x")
    logger.info("x")
    assert logs.bodies() == ["before", "patched", "patched"]


def test_a_record_from_another_process(logs: Logs, logger: logging.Logger) -> None:
    """As `SocketHandler` sends it and `makeLogRecord` makes it: its keys are other strings."""
    record = logger.makeRecord("far.away", 20, "/p.py", 3, "hi %s", ("x",), None, "f", {"k": 1})
    received = logging.LogRecord.__new__(logging.LogRecord)
    received.__dict__ = {
        "".join([*key]): value for key, value in pickle.loads(pickle.dumps(record.__dict__)).items()
    }
    logger.handle(received)
    log = logs.only()
    assert (log["scope"], log["body"], extras(log)) == ("far.away", "hi x", {"k": 1})
    assert (log["attributes"]["code.filepath"], log["attributes"]["code.lineno"]) == ("/p.py", 3)


def test_odd_records(logs: Logs, logger: logging.Logger) -> None:
    """Whatever is on them, nothing is raised."""
    handler = logger.handlers[0]
    handler.handle(logging.makeLogRecord({}))
    handler.handle(logging.makeLogRecord(dict.fromkeys(vars(logging.makeLogRecord({})))))
    handler.handle(
        logging.makeLogRecord({"name": 7, "levelno": "x", "created": "x", "exc_info": 5, "lineno": []})
    )
    bare = logging.makeLogRecord({})
    bare.__dict__.clear()
    handler.emit(bare)
    assert len(logs.all()) == 4


def test_before_init_and_after_shutdown(logger: logging.Logger) -> None:
    ptx.shutdown()
    logger.info("nobody")
    logger.info("%d", "not even formatted")


def test_formatting_that_fails(
    logs: Logs, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told as `logging` does, and the record is kept without its arguments."""
    logger.info("%d", "x", extra={"k": 1})
    told = capsys.readouterr().err
    assert "--- Logging error ---" in told and "TypeError" in told
    log = logs.only()
    assert (log["body"], extras(log)) == ("%d", {"k": 1})


def test_formatting_that_fails_with_nowhere_to_tell(
    logs: Logs, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    logger.info("%d", "x")
    monkeypatch.setattr(sys, "stderr", None)
    logger.info("%d", "y")
    assert logs.bodies() == ["%d", "%d"]


def test_an_interrupt_passes(logs: Logs, logger: logging.Logger) -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        logger.info("%s", Interrupting())
    logger.info("after")
    assert logs.bodies() == ["after"]


def test_a_record_made_by_a_record_is_dropped(logs: Logs, logger: logging.Logger) -> None:
    """By a message's text, by a formatter, by our own loggers' messages."""

    class Talkative(logging.Formatter):
        def __str__(self) -> str:
            logger.info("inner")
            return "outer"

        def format(self, record: logging.LogRecord) -> str:
            logger.info("inner")
            return super().format(record)

    logger.info("%s", Talkative())
    ptx.get_logger("x").info(Talkative())
    logger.handlers[0].setFormatter(Talkative())
    logger.info("formatted")
    assert sorted(logs.bodies()) == ["formatted", "outer", "outer"]
    assert ptx.stats()["logs"] == {"recorded": 6, "dropped": {"reentrant": 3}}


def test_a_change_while_formatting(logs: Logs, logger: logging.Logger) -> None:
    """What a formatter takes from the record is not needed any more."""

    class Clearing(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            text = super().format(record)
            record.__dict__.clear()
            record.levelno = 20
            return text

    logger.handlers[0].setFormatter(Clearing())
    logger.info("".join(["m"] * 50), extra={"k": "".join(["v"] * 50)})
    assert logs.bodies() == ["m" * 50]


def test_dict_config(logs: Logs) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"short": {"format": "%(levelname)s %(message)s"}},
            "filters": {"trace": {"()": "pytracingx.logging.TraceContextFilter"}},
            "handlers": {
                "ours": {
                    "class": "pytracingx.logging.SLSLoggingHandler",
                    "level": "WARNING",
                    "formatter": "short",
                    "filters": ["trace"],
                }
            },
            "loggers": {"configured": {"handlers": ["ours"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger = logging.getLogger("configured")
    try:
        logger.info("below")
        logger.error("m")
    finally:
        logger.handlers.clear()
    log = logs.only()
    assert (log["body"], extras(log)) == ("ERROR m", {})


def test_behind_a_queue(logs: Logs, logger: logging.Logger) -> None:
    """A `TraceContextFilter` carries the span to the listener's thread."""
    records: queue.Queue[Any] = queue.Queue()
    front = logging.handlers.QueueHandler(records)
    front.addFilter(TraceContextFilter())
    swap(logger, front)
    listener = logging.handlers.QueueListener(records, SLSLoggingHandler(), respect_handler_level=True)
    listener.start()
    with ptx.start_span("op") as span:
        logger.info("in %s", "it", extra={"k": 1})
    logger.info("outside")
    listener.stop()
    inside, outside = logs.all()
    assert (inside["body"], extras(inside)) == ("in it", {"k": 1})
    assert (inside["trace_id"], inside["span_id"]) == (span.trace_id(), span.span_id())
    assert inside["flags"] & 1 == 1
    assert inside["attributes"]["thread.name"] == "MainThread"
    assert (outside["trace_id"], extras(outside)) == ("", {})


def test_trace_context_filter(logs: Logs, logger: logging.Logger) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s"))
    handler.addFilter(TraceContextFilter())
    swap(logger, handler)
    with ptx.start_span("op") as span:
        logger.info("m")
    logger.info("m")
    assert stream.getvalue() == f"{span.trace_id()} {span.span_id()} True\n0 0 False\n"


def test_install(logs: Logs) -> None:
    """On the root logger by default; levels are lowered, never raised."""
    root = logging.getLogger()
    level, logger = root.level, logging.getLogger("installed")
    handler = install()
    try:
        assert handler in root.handlers and handler.level == logging.INFO
        logger.info("m")
        logger.debug("below")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    logger.setLevel(logging.DEBUG)
    second = install(logging.ERROR, logger)
    assert (logger.level, second.level) == (logging.DEBUG, logging.ERROR)
    assert install(logging.INFO, logger) is second and logger.handlers == [second]
    logger.info("once")
    logger.removeHandler(second)
    logger.setLevel(logging.NOTSET)
    assert logs.bodies() == ["m", "once"]


def test_threads_lose_nothing(logs: Logs, logger: logging.Logger) -> None:
    def work(number: int) -> None:
        for i in range(300):
            logger.info("%d %d", number, i, extra={"n": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(logs.bodies()) == sorted(f"{n} {i}" for n in range(4) for i in range(300))


def test_at_exit(collector: OtlpServer, run_python: Any) -> None:
    """`logging.shutdown`, which closes handlers at exit, and our own flush do not get in each other's way."""
    run_python("""
        import logging
        from pytracingx.logging import install
        install(logging.INFO)
        ptx.init(ptx.Config("svc", sinks=[ptx.OtlpLogSink(endpoint, "http")], console_output=False))
        logging.getLogger("late").info("last words")
    """)
    assert collector.log("last words")["scope"] == "late"
