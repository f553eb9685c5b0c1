"""Loggers and `emit_log_record`: what arrives, decoded with the official protobufs."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry._logs import SeverityNumber
from otlp_server import OtlpServer
from recording import REMOTE, REMOTE_SPAN, REMOTE_TRACE

import pytracingx as ptx

Decoded = dict[str, Any]
TEXTS = {1: "TRACE", 5: "DEBUG", 9: "INFO", 13: "WARN", 17: "ERROR", 21: "FATAL"}


class Logs:
    """A session of this process with one log sink."""

    def __init__(self, collector: OtlpServer) -> None:
        self.collector = collector
        self._nothing_current = ptx.extract_headers({})
        self.restart()

    def restart(self, log_filter: str = "trace", **options: Any) -> None:
        ptx.shutdown()
        sinks = [
            ptx.OtlpLogSink(self.collector.endpoint, "http", log_filter=log_filter, **options),
            ptx.TraceSink(self.collector.endpoint, "http"),
        ]
        ptx.init(ptx.Config("svc", sinks=sinks, console_output=False, console_level="off"))

    def all(self) -> list[Decoded]:
        assert ptx.force_flush()
        return self.collector.logs

    def only(self) -> Decoded:
        (log,) = self.all()
        return log

    def bodies(self) -> list[Any]:
        return [log["body"] for log in self.all()]

    def close(self) -> None:
        ptx.shutdown()
        self._nothing_current.restore()


@pytest.fixture
def logs(collector: OtlpServer) -> Iterator[Logs]:
    session = Logs(collector)
    yield session
    session.close()


LOGGER = ptx.get_logger("my.lib", "1.2")


@pytest.mark.parametrize(
    ("method", "number"),
    [
        *[("trace", 1), ("debug", 5), ("info", 9), ("warn", 13), ("warning", 13)],
        *[("error", 17), ("fatal", 21), ("critical", 21)],
    ],
)
def test_a_method_per_level(logs: Logs, method: str, number: int) -> None:
    """Every field of a plain record."""
    before = time.time_ns()
    assert getattr(LOGGER, method)("hello") is None
    after = time.time_ns()
    log = logs.only()
    slack = 5_000_000  # our clock follows the system's
    assert before - slack <= log["time_unix_nano"] <= after + slack
    assert log == {
        **{"severity_number": number, "severity_text": TEXTS[number], "body": "hello", "event_name": ""},
        **{"attributes": {}, "dropped": 0, "trace_id": "", "span_id": "", "flags": 0},
        **{"time_unix_nano": log["time_unix_nano"], "observed_time_unix_nano": log["time_unix_nano"]},
        **{"scope": "my.lib", "scope_version": "1.2", "resource": log["resource"]},
    }
    assert log["resource"]["service.name"] == "svc"


BODIES = [
    ("text", "text"),
    ("", ""),
    ("é €", "é €"),
    ("a\ud800b", "a\N{REPLACEMENT CHARACTER}b"),
    (7, 7),
    (2.5, 2.5),
    (True, True),
    (b"\0\xff", {"base64": "AP8="}),
    ([1, "two", [3.0]], [1, "two", [3.0]]),
    ((1, 2), [1, 2]),
    ({"a": {"b": [1]}, "c": False}, {"a": {"b": [1]}, "c": False}),
    (None, "None"),
    (1 << 80, str(1 << 80)),
    (ValueError("why"), "why"),
]


@pytest.mark.parametrize(("message", "body"), BODIES, ids=lambda value: type(value).__name__)
def test_a_body_keeps_its_type(logs: Logs, message: Any, body: Any) -> None:
    """What an attribute's value can be stays what it is; the rest becomes text."""
    LOGGER.info(message)
    assert logs.bodies() == [body]


def test_attributes_keep_their_types(logs: Logs) -> None:
    given = {"s": "x", "i": 1, "f": 0.5, "b": True, "n": None, "l": [1, 2], "d": {"k": "v"}}
    LOGGER.info("m", attributes=given)
    assert logs.only()["attributes"] == {key: value for key, value in given.items() if value is not None}


def test_attributes_beyond_the_limit_are_counted(logs: Logs) -> None:
    LOGGER.info("m", attributes={f"k{i}": i for i in range(130)})
    log = logs.only()
    assert (log["attributes"], log["dropped"]) == ({f"k{i}": i for i in range(128)}, 2)


def test_a_record_in_a_span_has_its_ids(logs: Logs) -> None:
    with ptx.start_span("op") as span:
        LOGGER.info("in")
    LOGGER.info("out")
    inside, outside = logs.all()
    assert (inside["trace_id"], inside["span_id"]) == (span.trace_id(), span.span_id())
    assert inside["flags"] & 1 == 1
    assert (outside["trace_id"], outside["span_id"], outside["flags"]) == ("", "", 0)


def test_a_record_under_a_remote_context_has_its_ids(logs: Logs) -> None:
    with ptx.extract_headers({"traceparent": REMOTE}):
        LOGGER.info("m")
    log = logs.only()
    assert (log["trace_id"], log["span_id"], log["flags"]) == (REMOTE_TRACE, REMOTE_SPAN, 1)


def test_exc_info_as_stdlib_takes_it(logs: Logs) -> None:
    """True, 1, an exception, a tuple; nothing where nothing is handled."""
    try:
        raise KeyError("k")
    except KeyError as error:
        for exc_info in (True, 1, error, sys.exc_info()):
            LOGGER.error("m", exc_info=exc_info)
    for exc_info in (True, None, False, (None, None, None), "", ()):
        LOGGER.error("m", exc_info=exc_info)
    described, plain = logs.all()[:4], logs.all()[4:]
    for log in described:
        assert log["attributes"].keys() == {"exception.type", "exception.message", "exception.stacktrace"}
        assert log["attributes"]["exception.type"] == "KeyError"
        assert log["attributes"]["exception.message"] == "'k'"
        assert 'raise KeyError("k")' in log["attributes"]["exception.stacktrace"]
    assert [log["attributes"] for log in plain] == [{}] * 6


def test_given_attributes_win_over_the_exceptions(logs: Logs) -> None:
    LOGGER.error("m", exc_info=ValueError("v"), attributes={"exception.message": "mine", "k": [1]})
    attributes = logs.only()["attributes"]
    assert (attributes["exception.type"], attributes["exception.message"]) == ("ValueError", "mine")
    assert attributes["k"] == [1]


def test_log_takes_any_severity_number(logs: Logs) -> None:
    for number in (0, 1, 10, 24, 25, -3, 1 << 70):
        LOGGER.log(number, "m")
    assert [(log["severity_number"], log["severity_text"]) for log in logs.all()] == [
        *[(0, ""), (1, "TRACE"), (10, "INFO2"), (24, "FATAL4"), (24, "FATAL4"), (0, "")],
        (24, "FATAL4"),
    ]


def test_log_takes_names_of_levels_and_loses_nothing_for_what_is_none(logs: Logs) -> None:
    for level in ("warning", "Info", SeverityNumber.DEBUG2, "nonsense", None, 1.5, object()):
        LOGGER.log(level, "m")  # type: ignore[arg-type]  # odd ones degrade
    assert [log["severity_text"] for log in logs.all()] == ["WARN", "INFO", "DEBUG2", *["ERROR"] * 4]


def test_exception(logs: Logs) -> None:
    try:
        raise ValueError("v")
    except ValueError:
        LOGGER.exception("failed", attributes={"k": 1})
        LOGGER.exception("failed", exc_info=False)
    LOGGER.exception("nothing is being handled")
    full, *others = logs.all()
    assert (full["body"], full["severity_text"]) == ("failed", "ERROR")
    assert (full["attributes"]["exception.message"], full["attributes"]["k"]) == ("v", 1)
    assert "test_exception" in full["attributes"]["exception.stacktrace"]
    assert [other["attributes"] for other in others] == [{}, {}]


class Untouchable(dict[str, Any]):
    """Attributes that must not be looked at."""

    def keys(self) -> Any:
        raise AssertionError("looked at")

    __iter__ = __getitem__ = items = keys  # type: ignore[assignment]


class Told:
    """A message that tells that it was looked at."""

    def __init__(self) -> None:
        self.count = 0

    def __str__(self) -> str:
        self.count += 1
        return "told"


def test_below_the_filter_nothing_is_looked_at(logs: Logs) -> None:
    logs.restart("warn,my.lib.sub=debug")
    message = Told()
    LOGGER.info(message, attributes=Untouchable(), exc_info=True)
    LOGGER.log(12, message)
    ptx.emit_log_record("my.lib", message, severity_number=9, severity_text="INFO", body=message)
    assert (message.count, logs.all()) == (0, [])
    LOGGER.warn(message)
    ptx.get_logger("my.lib.sub").debug("below")
    assert (message.count, logs.bodies()) == (1, ["told", "below"])


def test_enabled(logs: Logs) -> None:
    """Names in any case and numbers; of this session's filters."""
    logs.restart("warn,my=info")
    names = ("trace", "debug", "INFO", "Warn", "WARNING", "error", "fatal", "critical")
    assert [LOGGER.enabled(name) for name in names] == [False, False, *[True] * 6]  # type: ignore[arg-type]
    assert [LOGGER.enabled(number) for number in (0, 8, 9, 24)] == [False, False, True, True]
    assert not ptx.get_logger("other").enabled("info")
    logs.restart("off")
    assert not LOGGER.enabled("fatal")
    ptx.shutdown()
    assert not LOGGER.enabled("fatal")
    for level in ("verbose", None, 1.5):
        with pytest.raises(ValueError, match=r"unknown level '.*', expected 'trace'"):
            LOGGER.enabled(level)  # type: ignore[arg-type]


def test_a_logger_works_in_every_session(logs: Logs) -> None:
    """Made before init; calls without a session do nothing."""
    LOGGER.info("first")
    ptx.shutdown()
    LOGGER.info("nobody")
    ptx.emit_log_record("x", "nobody", severity_number=9, severity_text="INFO")
    logs.restart()
    LOGGER.info("second")
    assert [(log["body"], log["scope"]) for log in logs.all()] == [("first", "my.lib"), ("second", "my.lib")]


@pytest.mark.parametrize("level", ["off", "trace", None])
def test_a_call_that_is_wrong_raises_whether_recorded_or_not(
    collector: OtlpServer, level: str | None
) -> None:
    """Not only once the threshold is lowered: stdlib's `%` arguments and keywords are not ours."""
    if level:
        ptx.init(
            ptx.Config(
                "svc",
                sinks=[ptx.OtlpLogSink(collector.endpoint, "http", log_filter=level)],
                console_output=False,
            )
        )
    for method in (LOGGER.debug, LOGGER.fatal):
        with pytest.raises(
            TypeError, match=r"takes at most 1 positional argument \(2 given\); by name: attributes, exc_info"
        ):
            method("%s tokens", 12)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="unexpected keyword argument 'extra'"):
            method("message", extra={})  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="missing required argument: 'message'"):
            method()  # type: ignore[call-arg]
    ptx.shutdown()
    assert not collector.logs


def test_emit_log_record(logs: Logs) -> None:
    """Name, number, text, time and body as given."""
    at = time.time_ns() - 10**9
    ptx.emit_log_record(
        "bridge",
        "message",
        severity_number=10,
        severity_text="NOTICE",
        attributes={"k": 1},
        timestamp=at,
        body={"a": 1},
    )
    log = logs.only()
    assert (log["scope"], log["scope_version"]) == ("bridge", "")
    assert (log["severity_number"], log["severity_text"]) == (10, "NOTICE")
    assert (log["body"], log["attributes"]) == ({"a": 1}, {"k": 1})
    assert log["time_unix_nano"] == at < log["observed_time_unix_nano"]


def test_emit_log_record_with_what_is_odd(logs: Logs) -> None:
    """A time in seconds is counted and replaced; names and texts are made of anything."""
    for severity_text in ("INFO", "", None):
        ptx.emit_log_record("n", "m", severity_number=9, severity_text=severity_text, timestamp=1.5)  # type: ignore[arg-type]
    ptx.emit_log_record(7, None, severity_number="x", severity_text=3, attributes=4)  # type: ignore[arg-type]
    *plain, odd = logs.all()
    assert [log["severity_text"] for log in plain] == ["INFO"] * 3
    assert all(abs(log["time_unix_nano"] - time.time_ns()) < 60e9 for log in plain)
    assert ptx.stats()["unusable_times"] == 3
    assert (odd["scope"], odd["severity_number"], odd["severity_text"], odd["body"]) == ("7", 0, "3", "None")
    assert (odd["attributes"], odd["dropped"]) == ({}, 1)
    with pytest.raises(TypeError):
        ptx.emit_log_record("n", "m")  # type: ignore[call-arg]


def test_no_severity_counts_as_the_lowest_for_each_sink(collector: OtlpServer) -> None:
    """Whatever the other sinks take."""
    sinks = [ptx.OtlpLogSink(collector.endpoint, "http", log_filter=level) for level in ("warn", "trace")]
    ptx.init(ptx.Config("svc", sinks=sinks, console_output=False))
    LOGGER.log(0, "none")
    assert ptx.shutdown()
    assert [sink["wanted"] for sink in ptx.stats()["log_sinks"]] == [0, 1]


@pytest.mark.parametrize("character", ["x", "é"])
def test_a_large_body_travels_whole(logs: Logs, character: str) -> None:
    body = character * (1 << 20)
    LOGGER.info(body, attributes={"k": "v"})
    LOGGER.info(body.encode(), attributes={"prompt": body})
    first, second = logs.all()
    assert first["body"] == body and first["attributes"] == {"k": "v"}
    assert second["attributes"] == {"prompt": body}


class Hostile:
    """Its text raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error


def test_a_hostile_message_never_raises(logs: Logs) -> None:
    LOGGER.info(Hostile(RuntimeError()), attributes={"a": Hostile(RuntimeError()), "b": 1})
    LOGGER.info({"a": [Hostile(RuntimeError())]}, exc_info=Hostile(RuntimeError()))
    nested: list[Any] = []
    nested.append(nested)
    LOGGER.info(nested, attributes=[1, 2])  # type: ignore[arg-type]
    first, second, _ = logs.all()
    assert (first["body"], first["attributes"]) == ("Hostile", {"a": "Hostile", "b": 1})
    assert second["body"] == {"a": ["Hostile"]}


def test_an_interrupt_passes(logs: Logs) -> None:
    """And the thread is not taken for inside a record afterwards."""
    for call in (LOGGER.info, lambda m: LOGGER.info("m", attributes={"k": m})):
        with pytest.raises(KeyboardInterrupt):
            call(Hostile(KeyboardInterrupt()))
    LOGGER.info("after")
    assert logs.bodies() == ["after"]


class Talkative:
    """Its text logs."""

    def __str__(self) -> str:
        LOGGER.info("inner")
        ptx.emit_log_record("x", "inner", severity_number=9, severity_text="INFO")
        return "outer"


def test_a_record_made_by_a_record_is_dropped(logs: Logs) -> None:
    LOGGER.info(Talkative(), attributes={"k": Talkative()})
    assert logs.bodies() == ["outer"]
    assert ptx.stats()["logs"] == {"recorded": 5, "dropped": {"reentrant": 4}}


def test_what_was_borrowed_survives_its_owner(logs: Logs) -> None:
    """A message's code changes the attributes while they wait."""
    attributes: Decoded = {"k": "".join(["a", "b"] * 20)}

    class Clearing:
        def __str__(self) -> str:
            attributes.clear()
            attributes["other"] = [1]
            return "m"

    LOGGER.info(Clearing(), attributes=attributes)
    assert logs.only()["attributes"] == {"other": [1]}


def test_threads_lose_nothing(logs: Logs) -> None:
    def work(number: int) -> None:
        for i in range(500):
            LOGGER.info(f"{number} {i}", attributes={"n": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(logs.bodies()) == sorted(f"{n} {i}" for n in range(4) for i in range(500))


def test_many_names(logs: Logs) -> None:
    """More than a thread remembers."""
    for i in range(2500):
        ptx.emit_log_record(f"name-{i % 1250}", i, severity_number=9, severity_text="INFO")
    assert sorted((log["body"], log["scope"]) for log in logs.all()) == [
        (i, f"name-{i % 1250}") for i in range(2500)
    ]


def test_wrong_arguments_are_the_callers_mistake(logs: Logs) -> None:
    for call in (
        lambda: LOGGER.info(),  # type: ignore[call-arg]
        lambda: LOGGER.info("m", {"k": 1}),  # type: ignore[misc]
        lambda: LOGGER.info("m", nope=1),  # type: ignore[call-arg]
        lambda: LOGGER.log(9),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError, match="cannot create"):
        ptx.Logger()
