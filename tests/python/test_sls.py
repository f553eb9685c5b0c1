"""`SlsLogSink` against a server that checks and decodes with the official SDK."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import RunPython
from sls_server import Key, Reply, SlsServer, tags_of

import pytracingx as ptx

KEY = Key("test-key-id", "test-key-secret")
LOGGER = ptx.get_logger("my.lib")
CANARY = ("test-key-id", "test-key-secret", "test-token")

START = """
    import pytracingx as ptx
    def start(**options):
        sink = ptx.SlsLogSink(
            os.environ["TEST_SLS"], "proj", "store", "test-key-id", "test-key-secret", **options
        )
        ptx.init(ptx.Config("svc", sinks=[sink], console_output=False))
        return ptx.get_logger("my.lib")
"""


class Session:
    """A session of this process with SLS sinks to one server."""

    def __init__(self, server: SlsServer) -> None:
        self.server = server
        self._nothing_current = ptx.extract_headers({})

    def start(self, *others: Any, key: Key = KEY, **options: Any) -> None:
        ptx.shutdown(0)
        options = {"batch_schedule_delay_ms": 10, "log_filter": "trace", **options}
        options.setdefault("security_token", key.token or None)
        sink = ptx.SlsLogSink(self.server.endpoint, "proj", "store", key.id, key.secret, **options)
        ptx.init(ptx.Config("svc", sinks=[sink, *others], console_output=False, diagnostics="off"))

    def only(self) -> dict[str, str]:
        assert ptx.force_flush(), (self.stats(), self.server.complaints)
        (log,) = self.server.logs
        return log

    def stats(self) -> dict[str, Any]:
        return dict(ptx.stats()["log_sinks"][0])

    def settled(self) -> dict[str, Any]:
        """The books, which must balance."""
        stats = self.stats()
        lost = sum(stats["dropped"].values())
        assert stats["wanted"] == stats["exported"] + lost + stats["held_records"], stats
        return stats


@pytest.fixture
def server() -> Iterator[SlsServer]:
    server = SlsServer(KEY)
    yield server
    server.close()


@pytest.fixture
def sls(server: SlsServer) -> Iterator[Session]:
    session = Session(server)
    yield session
    ptx.shutdown(0)
    session._nothing_current.restore()


def test_a_record_in_flat_columns(sls: Session) -> None:
    sls.start(topic="topic", tags={"zone": "a"})
    before = time.time_ns()
    with ptx.start_span("op") as span:
        given = {"user": "u1", "count": 3, "ratio": 0.5, "ok": True, "list": [1, "x"], "level": "mine"}
        LOGGER.info("hello", attributes=given)
    after = time.time_ns()
    assert sls.only() == {
        **{"level": "INFO", "message": "hello", "logger_name": "my.lib", "service.name": "svc"},
        **{"traceID": span.context.trace_id, "spanID": span.context.span_id},
        **{"user": "u1", "count": "3", "ratio": "0.5", "ok": "true", "list": '[1,"x"]', "attr_level": "mine"},
    }
    (group,) = sls.server.groups
    assert (group.Topic, group.Source) == ("topic", socket.gethostname())
    tags = tags_of(group)
    assert (tags["zone"], tags["process.pid"]) == ("a", str(os.getpid()))
    (log,) = group.Logs
    slack = 5_000_000  # our clock follows the system's
    assert before - slack <= log.Time * 10**9 + log.Time_ns <= after + slack
    stats = sls.settled()
    assert (stats["exported"], stats["renamed_keys"], stats["cut_keys"]) == (1, 1, 0)
    assert (stats["cut_values"], stats["omitted_fields"]) == (0, 0)


def test_attributes_as_json_and_renamed_columns(sls: Session) -> None:
    sls.start(attributes="json", field_names={"message": "msg"}, source="me")
    LOGGER.warn("hello", attributes={"user": "u1", "n": 1})
    log = sls.only()
    assert json.loads(log.pop("attributes")) == {"user": "u1", "n": 1}
    assert json.loads(log.pop("resource"))["telemetry.sdk.name"] == "pytracingx"
    assert log == {"level": "WARN", "msg": "hello", "logger_name": "my.lib", "service.name": "svc"}
    assert sls.server.groups[0].Source == "me"


def test_the_columns_of_0_3(sls: Session) -> None:
    sls.start(field_names="0.3")
    with ptx.start_span("op"):
        LOGGER.fatal("hello", attributes={"user": "u1"})
    log = sls.only()
    assert set(log) == {
        *("level", "message", "logger_name", "service.name", "trace_id", "span_id", "attributes")
    }
    assert (log["level"], json.loads(log["attributes"])) == ("ERROR", {"user": "u1"})


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
@pytest.mark.parametrize("compression", ["lz4", "zstd", "deflate", "none"])
def test_compression_and_signature(sls: Session, compression: str, region: str | None) -> None:
    sls.server.region = region
    sls.start(compression=compression, region=region)
    for index in range(50):
        LOGGER.info("a text that repeats itself " * 10, attributes={"index": index})
    assert ptx.force_flush(), sls.server.complaints
    assert [log["index"] for log in sls.server.logs] == [str(index) for index in range(50)]
    (request,) = {r.headers.get("x-log-compresstype") for r in sls.server.requests}
    assert request == (None if compression == "none" else compression)
    stats = sls.settled()
    assert (stats["sent_bytes"] < stats["body_bytes"]) == (compression != "none")


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
def test_a_temporary_key(sls: Session, region: str | None) -> None:
    key = Key("STS.id", "sts-secret", "sts-token/+==")
    sls.server.keys, sls.server.region = {key.id: key}, region
    sls.start(key=key, region=region)
    LOGGER.info("hello")
    assert sls.only()["message"] == "hello"
    assert sls.server.requests[0].headers["x-acs-security-token"] == key.token


def test_two_sinks_of_equal_columns_share_and_differ(sls: Session) -> None:
    """The second sink has another filter and topic; both sign for themselves."""
    more = ptx.SlsLogSink(
        sls.server.endpoint, "proj", "store", KEY.id, KEY.secret, "errors", log_filter="error"
    )
    sls.start(more)
    LOGGER.info("one")
    LOGGER.error("two")
    assert ptx.force_flush()
    by_topic = Counter(group.Topic for group in sls.server.groups for _ in group.Logs)
    assert by_topic == {"": 2, "errors": 1}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(500, "InternalServerError"),
        Reply(503, "ServerBusy"),
        Reply(502, request_id=False),
        Reply(200, request_id=False),
        Reply(reset=True),
        Reply(403, "WriteQuotaExceed"),
        Reply(403, "ShardWriteQuotaExceed"),
    ],
    ids=lambda reply: f"{reply.status}-{reply.code}-{reply.request_id}-{reply.reset}",
)
def test_what_passes_is_retried(sls: Session, reply: Reply) -> None:
    sls.server.answer_next(reply)
    sls.start()
    LOGGER.info("hello")
    sls.server.wait_until(lambda: len(sls.server.requests) == 1)
    assert ptx.force_flush()
    assert [log["message"] for log in sls.server.logs][-1] == "hello"
    first, second = sls.server.requests
    assert first.pack_id == second.pack_id, "a repetition is the same batch"
    stats = sls.settled()
    assert (stats["exported"], stats["retried"], stats["failures_in_a_row"]) == (1, 1, 0)
    assert reply.code in (stats["last_error"] or "")


def test_a_quota_is_given_time(sls: Session) -> None:
    sls.server.answer_next(Reply(403, "WriteQuotaExceed"))
    sls.start()
    LOGGER.info("hello")
    sls.server.wait_until(lambda: len(sls.server.logs) == 1)
    first, second = sls.server.requests
    assert second.received_at - first.received_at > 1.4, "3 s, less half at most"


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
@pytest.mark.parametrize("offset_s", [-7200, 7200])
def test_a_wrong_clock_is_put_right_at_once(sls: Session, offset_s: int, region: str | None) -> None:
    sls.server.clock_offset_s, sls.server.region = offset_s, region
    sls.start(region=region)
    LOGGER.info("one")
    assert sls.only()["message"] == "one"
    assert [request.status for request in sls.server.requests] == [400, 200]
    LOGGER.info("two")
    assert ptx.force_flush()
    assert [request.status for request in sls.server.requests] == [400, 200, 200], "it is remembered"
    assert "RequestTimeExpired" in sls.settled()["last_error"]


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
def test_a_wrong_secret_is_noticed(sls: Session, region: str | None) -> None:
    """By the server: otherwise the tests above prove nothing of signatures."""
    sls.server.region = region
    sls.start(key=Key(KEY.id, "another-secret"), region=region)
    LOGGER.info("one")
    assert not ptx.force_flush(100)
    assert "SignatureNotMatch" in sls.settled()["last_error"]


def test_a_refused_key_is_tried_again_slowly_and_then_given_up(sls: Session) -> None:
    sls.server.keys = {}
    sls.start()
    LOGGER.info("one")
    for tries in range(1, 6):
        assert not ptx.force_flush(100)
        assert len(sls.server.requests) >= tries
        assert sls.stats()["held_records"] == 1
    sls.server.keys = {KEY.id: KEY}
    assert ptx.force_flush()
    assert [log["message"] for log in sls.server.logs] == ["one"]

    sls.server.keys = {}
    LOGGER.info("two")
    while not sls.settled()["dropped"]:
        ptx.force_flush(100)
    stats = sls.settled()
    assert (stats["exported"], stats["dropped"]) == (1, {"refused": 1})
    assert "HTTP 401" in stats["last_error"] and "request id REQUEST" in stats["last_error"]
    assert not any(secret in str(ptx.stats()) for secret in CANARY)


@pytest.mark.parametrize("code", ["LogStoreNotExist", "PostBodyInvalid"])
def test_a_final_answer_is_told(sls: Session, code: str) -> None:
    sls.server.answer_next(Reply(404 if "Not" in code else 400, code, "about test-key-id"))
    sls.start()
    LOGGER.info("one")
    assert ptx.force_flush(), "finally refused is dealt with"
    stats = sls.settled()
    assert (stats["exported"], stats["dropped"]) == (0, {"refused": 1})
    assert code in stats["last_error"] and "***" in stats["last_error"]
    LOGGER.info("two")
    assert ptx.force_flush()
    assert [log["message"] for log in sls.server.logs] == ["two"]


def test_too_large_is_halved(sls: Session) -> None:
    sls.server.max_raw_bytes = 20_000
    sls.start(batch_schedule_delay_ms=60_000)
    for index in range(100):
        LOGGER.info("x" * 1000, attributes={"index": index})
    assert ptx.force_flush(), sls.server.complaints
    assert [log["index"] for log in sls.server.logs] == [str(index) for index in range(100)]
    assert any("PostBodyTooLarge" in complaint for complaint in sls.server.complaints)
    assert sls.settled()["exported"] == 100
    packs = [tags_of(group)["__pack_id__"] for group in sls.server.groups]
    assert len(set(packs)) == len(packs)


def test_requests_stay_below_the_servers_limits(sls: Session) -> None:
    """More bytes than a request may hold, then more records."""
    sls.start(batch_schedule_delay_ms=60_000)
    for _ in range(15):
        LOGGER.info("y" * 1_000_000)
    for index in range(5000):
        LOGGER.info("z", attributes={"index": index})
    assert ptx.force_flush(30_000), sls.server.complaints
    assert sls.server.complaints == []
    assert len(sls.server.logs) == 5015
    assert sls.settled()["exported"] == 5015


def test_half_of_the_answers_fail_and_nothing_is_lost(sls: Session) -> None:
    failures = [
        Reply(500, "InternalServerError"),
        Reply(reset=True),
        Reply(503, "ServerBusy"),
        Reply(502, request_id=False),
    ]
    sls.server.reply_to = lambda number: Reply() if number % 2 else failures[number // 2 % 4]
    sls.start(batch_max_export=500)
    for index in range(3000):
        LOGGER.info("x", attributes={"index": index})
    while sls.settled()["exported"] < 3000:
        ptx.force_flush(200)
    stored = Counter(log["index"] for log in sls.server.logs)
    assert set(stored) == {str(index) for index in range(3000)}
    stats = sls.settled()
    assert (stats["exported"], stats["dropped"], stats["held_records"]) == (3000, {}, 0)
    assert stats["retried"] > 0


def test_without_credentials_records_wait(sls: Session) -> None:
    ptx.shutdown(0)
    sink = ptx.SlsLogSink(
        sls.server.endpoint, "proj", "store", credentials=lambda: None, batch_schedule_delay_ms=10
    )
    ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, diagnostics="off"))
    LOGGER.info("hello")
    before = time.monotonic()
    assert not ptx.force_flush(500)
    assert time.monotonic() - before < 5
    stats = sls.settled()
    assert (stats["state"], stats["held_records"], stats["requests"]) == ("backing_off", 1, 0)
    assert "credentials" in stats["last_error"]


def test_check_sends_one_record(sls: Session) -> None:
    sls.start()
    (report,) = ptx.check()
    assert (report["ok"], report["status"], report["error"]) == (True, 200, None), report
    assert [log["message"] for log in sls.server.logs] == ["pytracingx.check"]


def test_check_tells_a_bad_key_and_a_wrong_clock(sls: Session) -> None:
    sls.start()
    sls.server.clock_offset_s = 3600
    (report,) = ptx.check()
    assert not report["ok"] and "clock is 3600 s behind" in str(report["error"]).replace("3599", "3600"), (
        report
    )
    sls.server.clock_offset_s = 0
    sls.server.keys = {}
    (report,) = ptx.check()
    assert not report["ok"] and "refused the access key" in str(report["error"]), report
    assert not any(secret in str(report) for secret in CANARY)


def test_what_was_logged_last_arrives_at_exit(server: SlsServer, run_python: RunPython) -> None:
    code = (
        START
        + """
    log = start(batch_schedule_delay_ms=60_000)
    for index in range(1000):
        log.info("x", attributes={"index": index})
    """
    )
    run_python(code, env={"TEST_SLS": server.endpoint})
    assert [log["index"] for log in server.logs] == [str(index) for index in range(1000)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_sends_its_own(server: SlsServer, run_python: RunPython) -> None:
    code = (
        START
        + """
    log = start(batch_schedule_delay_ms=10)
    log.info("parent")
    assert ptx.force_flush()
    pid = os.fork()
    log.info("child" if pid == 0 else "parent again")
    assert ptx.force_flush()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    """
    )
    run_python(code, env={"TEST_SLS": server.endpoint})
    assert sorted(log["message"] for log in server.logs) == ["child", "parent", "parent again"]
    producers = {tags_of(group)["__pack_id__"].split("-")[0] for group in server.groups}
    assert len(producers) == 2, "each process has its own line of batches"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"topic": "t" * 129}, "topic must have at most 128 bytes"),
        ({"tags": {"__pack_id__": "x"}}, "is set by the exporter itself"),
        ({"field_names": {"level": "__time__"}}, "SLS keeps that name for itself"),
    ],
)
def test_what_sls_would_refuse_is_refused_at_once(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ptx.ConfigError, match=text):
        ptx.SlsLogSink("e", "p", "l", "i", "s", **options)
