"""Any value anywhere in a log record, from our own loggers and from stdlib's: recording returns, raises nothing, and what
arrives, by OTLP and at SLS, is what the documentation says."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from otlp_server import OtlpServer
from sls_session import Session
from values import Plain, Raising, Text, as_json, hostile, mapped, text, texts, values

import pytracingx as ptx
from pytracingx.logging import SLSLoggingHandler

OWN = {
    *["logger.name", "code.filepath", "code.function", "code.lineno", "thread.id", "thread.name"],
    "process.pid",
}
COLUMNS = {
    *["level", "message", "logger_name", "service.name", "traceID", "spanID", "severity_text"],
    "dropped_attributes_count",
}
RESERVED = {
    "__time__",
    "__time_ns_part__",
    "__source__",
    "__topic__",
    "__partition_time__",
    "__pack_id__",
} | {
    "_extract_others_",
    "__extract_others__",
}
MAX_KEY_BYTES = 128


class Undecided:
    """Its truth raises."""

    def __bool__(self) -> bool:
        raise ValueError("who knows")


class Unspeakable(Exception):
    """Its text raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Both:
    """A session with a sink of each protocol. `record()` gives the only record since the last call, as both had it."""

    def __init__(self, sls: Session, collector: OtlpServer) -> None:
        self.sls, self.collector = sls, collector
        self.seen = (0, 0)
        sls.start(ptx.OtlpLogSink(collector.endpoint, "http", log_filter="trace"))

    def record(self) -> tuple[dict[str, Any], dict[str, str]]:
        assert ptx.force_flush(), self.sls.server.complaints
        requests, groups = self.collector.requests, self.sls.server.groups
        new, self.seen = self.seen, (len(requests), len(groups))
        (otlp,) = [log for request in requests[new[0] :] for log in request.logs]
        (log,) = [log for group in groups[new[1] :] for log in group.Logs]
        contents = {content.Key: content.Value for content in log.Contents}
        assert len(contents) == len(log.Contents), "a key is there twice"
        return otlp, contents


@pytest.fixture
def both(sls: Session, collector: OtlpServer) -> Iterator[Both]:
    yield Both(sls, collector)
    assert sls.server.complaints == []


def column(value: Any) -> str:
    """What the documentation says becomes of a value at SLS."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, str):
        return str(mapped(value))
    if not isinstance(value, (list, tuple, dict)):
        return told(value)
    return json.dumps(nested(value), ensure_ascii=False, separators=(",", ":"))


def told(value: Any) -> str:
    """A value that is neither text nor bytes nor holds others."""
    plain = nested(value)
    return plain if isinstance(plain, str) else json.dumps(plain)


def nested(value: Any) -> Any:
    """A value as it stands in JSON."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return [nested(each) for each in (list if isinstance(value, list) else tuple).__iter__(value)]
    if isinstance(value, dict):
        return {text(key): nested(each) for key, each in dict.items(value)}
    plain = mapped(value)
    if isinstance(plain, float) and not math.isfinite(plain):
        return "NaN" if math.isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
    return plain


def assert_column(got: str, value: Any) -> None:
    """Numbers may be spelt in more ways than one."""
    want = column(value)
    if got == want:
        return
    plain = mapped(value)
    if isinstance(plain, float):
        assert as_json(float(got)) == as_json(plain), (got, value)
        return
    assert isinstance(plain, (list, dict)), (got, want)
    assert as_json(json.loads(got)) == as_json(json.loads(want)), (got, value)


def key_at_sls(key: str) -> str:
    if key in COLUMNS | RESERVED or key.startswith("__tag__:"):
        key = "attr_" + key
    return key.encode()[:MAX_KEY_BYTES].decode(errors="ignore")


def assert_columns(contents: dict[str, str], attributes: dict[str, Any], dropped: int) -> None:
    """`attributes` by their keys as text, beside the columns that every record has."""
    columns = {key: contents[key] for key in COLUMNS & contents.keys()}
    assert columns.get("dropped_attributes_count", "0") == str(dropped)
    others = {key: value for key, value in contents.items() if key not in COLUMNS}
    wanted = Counter(key_at_sls(key) for key in attributes)
    assert len(others) == len(attributes)
    for key, value in attributes.items():
        if wanted[key_at_sls(key)] == 1:
            assert_column(others[key_at_sls(key)], value)


odd_keys = st.sampled_from(
    [*sorted(COLUMNS | RESERVED), "__tag__:x", "attr_level", "键" * 50, "k" * 128, "k" * 129, "attributes"]
)
keys = texts | odd_keys | st.integers() | st.none() | st.just(Plain()) | st.just(Raising())


def kept(attributes: dict[Any, Any]) -> tuple[dict[str, Any], int]:
    """By text, the last of each; and how many had no key."""
    present = {key: value for key, value in attributes.items() if value is not None}
    by_text = {text(key): value for key, value in present.items() if text(key)}
    return by_text, sum(not text(key) for key in present)


LOGGER = ptx.get_logger("my.lib")


@hostile
@given(message=values, attributes=st.dictionaries(keys, values, max_size=12))
@example(message=float("-inf"), attributes={"level": [float("inf"), {"a": float("-inf")}], "attr_level": 1})
@example(message="x", attributes={f"k{index}": index for index in range(100)})
def test_any_body_and_attributes(both: Both, message: Any, attributes: dict[Any, Any]) -> None:
    LOGGER.info(message, attributes=attributes)
    otlp, contents = both.record()
    by_text, dropped = kept(attributes)
    body = "None" if message is None else message
    assert as_json(otlp["body"]) == as_json(mapped(body))
    assert as_json(otlp["attributes"]) == as_json({key: mapped(value) for key, value in by_text.items()})
    assert (otlp["dropped"], otlp["severity_number"]) == (dropped, 9)
    assert (contents["level"], contents["logger_name"]) == ("INFO", "my.lib")
    assert_column(contents["message"], body)
    assert_columns(contents, by_text, dropped)


exceptions: st.SearchStrategy[Any] = st.sampled_from(
    [
        ValueError("why"),
        Unspeakable(),
        (ValueError, ValueError("why"), None),
        (Unspeakable, Unspeakable(), "tb"),
    ]
)
no_exceptions: st.SearchStrategy[Any] = values | st.sampled_from(
    [True, (), (None, None, None), (ValueError, "why"), ValueError, Undecided()]
)


@hostile
@given(name=texts, text=values, number=values, exc_info=exceptions | no_exceptions, timestamp=values)
def test_any_severity_time_and_exception(
    both: Both, name: str, text: Any, number: Any, exc_info: Any, timestamp: Any
) -> None:
    ptx.emit_log_record(name, "m", severity_number=number, severity_text=text, timestamp=timestamp)
    otlp, contents = both.record()
    assert (otlp["body"], otlp["scope"], contents.get("logger_name", "")) == ("m", mapped(name), mapped(name))
    expected = min(max(int.__add__(number, 0), 0), 24) if isinstance(number, int) else 0
    assert otlp["severity_number"] == expected

    LOGGER.error("m", exc_info=exc_info)
    otlp, contents = both.record()
    exception = exc_info[1] if isinstance(exc_info, tuple) and len(exc_info) > 1 else exc_info
    kind = type(exception).__qualname__ if isinstance(exception, BaseException) else None
    described = {"exception.type", "exception.message", "exception.stacktrace"}
    assert set(otlp["attributes"]) <= described
    assert (otlp["attributes"].get("exception.type") or "").rpartition(".")[2] == (kind or "")
    assert contents.keys() & described == otlp["attributes"].keys()


def is_extra(value: Any) -> bool:
    return isinstance(value, (str, int, float, bytes, list, tuple, dict, np.generic))


STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
extra_keys = (texts | odd_keys | st.sampled_from(sorted(OWN)) | st.just(Text("t"))).filter(
    lambda key: key not in STANDARD
)


@hostile
@given(
    name=texts, level=st.integers(), message=values, extra=st.dictionaries(extra_keys, values, max_size=20)
)
@example(name="n", level=20, message="m", extra={f"k{index}": index for index in range(16)})
@example(name="n", level=20, message="m", extra={f"k{index}": index for index in range(17)})
@example(name="n", level=20, message="m", extra={"a": 1, "b": 2**64, "c": "x"})
@example(name="n", level=20, message="m", extra={"a": None, "": 1, "logger.name": "x", "o": Plain()})
@example(name="\ud800", level=20, message="\udfff", extra={"\ud800": "\ud800"})
def test_any_record_of_stdlib(both: Both, name: str, level: int, message: Any, extra: dict[str, Any]) -> None:
    logger = logging.Logger(name, level=1)
    logger.addHandler(SLSLoggingHandler())
    if level < 1:
        logger.log(level, message, extra=extra)
        level = 1
    logger.log(level, message, extra=extra)
    otlp, contents = both.record()
    try:
        body = mapped(str(message))
    except Exception:
        body = mapped(message)
    assert otlp["body"] == body == contents["message"]
    number = otlp["severity_number"]
    assert 1 <= number <= 24 and (level < 10) == (number < 5) and (level >= 50) == (number >= 21)
    sent = {key: value for key, value in extra.items() if is_extra(value) and key not in OWN}
    by_text, dropped = kept(sent)
    attributes = otlp["attributes"]
    assert (otlp["scope"], attributes["logger.name"]) == (mapped(name), mapped(name))
    others = {key: value for key, value in attributes.items() if key not in OWN}
    assert as_json(others) == as_json({key: mapped(value) for key, value in by_text.items()})
    assert otlp["dropped"] == dropped


@hostile
@given(
    fields=st.dictionaries(st.sampled_from(sorted(STANDARD)) | keys, values | exceptions, max_size=25),
    message=st.sampled_from(["%s", "%d", "%(a)s", "%", "x"]) | values,
    args=st.tuples(values) | values,
)
def test_whatever_stands_in_a_record(both: Both, fields: dict[Any, Any], message: Any, args: Any) -> None:
    """Of a LogRecord that somebody has made or changed: one record arrives, at both, and nothing is raised."""
    record = logging.makeLogRecord({"msg": message, "args": args, **fields})
    told = logging.raiseExceptions
    logging.raiseExceptions = False
    try:
        SLSLoggingHandler().handle(record)
    finally:
        logging.raiseExceptions = told
    otlp, contents = both.record()
    assert len(otlp["attributes"]) <= 128 and 1 <= otlp["severity_number"] <= 24
    assert {"level", "message"} <= contents.keys()
