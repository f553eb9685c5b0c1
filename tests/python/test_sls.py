"""`SlsLogSink` against a server that checks and decodes with the official SDK."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections import Counter
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Answer, OtlpServer
from sls_server import Key, Reply, tags_of
from sls_session import KEY, LOGGER, Session

import pytracingx as ptx

CANARY = ("test-key-id", "c4n4ry-key-secret", "c4n4ry-token")

START = """
    import pytracingx as ptx
    def start(**options):
        sink = ptx.SlsLogSink(
            os.environ["TEST_SLS"], "proj", "store", "test-key-id", "c4n4ry-key-secret", **options
        )
        ptx.init(ptx.Config("svc", sinks=[sink], console_output=False))
        return ptx.get_logger("my.lib")
"""


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
    key = Key("STS.id", "c4n4ry-sts-secret", "c4n4ry-sts-token/+==")
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


@pytest.mark.parametrize("region", [None, "cn-hangzhou"])
def test_a_wrong_secret_is_noticed(sls: Session, region: str | None) -> None:
    """By the server: otherwise the tests above prove nothing of signatures."""
    sls.server.region = region
    sls.start(key=Key(KEY.id, "another-c4n4ry"), region=region)
    LOGGER.info("one")
    assert not ptx.force_flush(100)
    assert "SignatureNotMatch" in sls.settled()["last_error"]


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


def test_what_was_logged_last_arrives_at_exit(sls: Session, run_python: RunPython) -> None:
    code = (
        START
        + """
    log = start(batch_schedule_delay_ms=60_000)
    for index in range(1000):
        log.info("x", attributes={"index": index})
    """
    )
    run_python(code, env={"TEST_SLS": sls.server.endpoint})
    assert [log["index"] for log in sls.server.logs] == [str(index) for index in range(1000)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_sends_its_own(sls: Session, run_python: RunPython) -> None:
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
    run_python(code, env={"TEST_SLS": sls.server.endpoint})
    assert sorted(log["message"] for log in sls.server.logs) == ["child", "parent", "parent again"]
    producers = {tags_of(group)["__pack_id__"].split("-")[0] for group in sls.server.groups}
    assert len(producers) == 2, "each process has its own line of batches"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"topic": "t" * 129}, "topic must have at most 128 bytes"),
        ({"tags": {"__pack_id__": "x"}}, "is set by the exporter itself"),
        ({"field_names": {"level": "__time__"}}, "SLS keeps that name for itself"),
        (
            {"region": "cn-hangzhou.log.aliyuncs.com"},
            "region must be letters, digits, '-' and '_', got 'cn-h",
        ),
        ({"ak_id": "id\n"}, "ak_id must be visible ASCII, without spaces or line breaks (not shown)"),
        ({"ak_secret": "secret\n"}, "ak_secret must be visible ASCII"),
        ({"security_token": "to ken"}, "security_token must be visible ASCII"),
        ({"max_export_timeout_ms": 0}, "max_export_timeout_ms must be at least 1, got 0"),
    ],
)
def test_what_sls_would_refuse_is_refused_at_once(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ptx.ConfigError, match=re.escape(text)):
        ptx.SlsLogSink("e", "p", "l", **{"ak_id": "i", "ak_secret": "s", **options})


def test_a_provider_has_its_own_token() -> None:
    with pytest.raises(ptx.ConfigError, match="security_token belongs to ak_id and ak_secret"):
        ptx.SlsLogSink("e", "p", "l", credentials=lambda: None, security_token="t")


def test_a_region_is_no_endpoint() -> None:
    with pytest.raises(
        ptx.ConfigError, match=r"'cn-hangzhou' is a region, its endpoint is 'cn-hangzhou\.log"
    ):
        ptx.SlsLogSink("cn-hangzhou", "p", "l", "i", "s")


def test_the_sdk_speaks_of_it_by_its_own_name(sls: Session, collector: OtlpServer) -> None:
    """`otel.component.type` is not that of OTLP's exporter."""
    ptx.shutdown(0)
    sinks = [
        ptx.SlsLogSink(sls.server.endpoint, "proj", "store", KEY.id, KEY.secret),
        ptx.MetricSink(collector.endpoint, "http"),
    ]
    ptx.init(
        ptx.Config(
            "svc", sinks=sinks, sdk_metrics=True, console_output=False, log_filter="info", diagnostics="off"
        )
    )
    for _ in range(3):
        LOGGER.info("hello")
    assert ptx.force_flush() and ptx.force_flush()
    name = ("aliyun_sls_log_exporter", "aliyun_sls_log_exporter/0")
    for metric, value in [("otel.sdk.exporter.log.exported", 3), ("otel.sdk.exporter.log.inflight", 0)]:
        (point,) = collector.points(metric)
        about = point["attributes"]
        assert (about["otel.component.type"], about["otel.component.name"]) == name
        assert point["value"] == value
        port = sls.server.server_address[1]
        assert (about["server.address"], about["server.port"]) == ("127.0.0.1", port)
    types = {
        point["attributes"]["otel.component.type"]: point["count"]
        for point in collector.points("otel.sdk.exporter.operation.duration")
    }
    assert types["aliyun_sls_log_exporter"] == 1


def test_the_environment_alone(sls: Session, run_python: RunPython) -> None:
    run_python(
        """
    ptx.init()
    ptx.get_logger("env").info("hello")
    """,
        env={
            **{"PYTRACINGX_SLS_ENDPOINT": sls.server.endpoint, "PYTRACINGX_SLS_PROJECT": "proj"},
            **{"PYTRACINGX_SLS_LOGSTORE": "store", "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY.id},
            **{"ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY.secret, "OTEL_SERVICE_NAME": "from-env"},
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        },
    )
    (log,) = sls.server.logs
    assert (log["message"], log["service.name"]) == ("hello", "from-env")


def test_no_secret_shows(sls: Session, collector: OtlpServer, run_python: RunPython) -> None:
    """Of a key, its token, an ARMS path: whatever servers quote, whatever is printed or asked for."""
    secret, token, arms = "c4n4ry-secret", "c4n4ry-sts-token", "c4n4ry@arms_c4n4ry@53d"
    sls.server.keys = {"c4n4ry-id": Key("c4n4ry-id", secret, token)}
    sls.server.reply_to = lambda _: Reply(
        401, "SignatureNotMatch", f"c4n4ry-id signed with {secret} and {token}"
    )
    other = OtlpServer()
    for server, words in [
        (collector, f"no /adapt_{arms}/api/otlp/traces, nor {arms}"),
        (other, f"no {secret}"),
    ]:
        server.answer_next(*[Answer(404, {"content-type": "text/plain"}, words.encode())] * 100)
    done = run_python(
        """
    endpoint, other, secret, token, arms = sys.argv[1:]
    sink = ptx.SlsLogSink(endpoint, "proj", "store", "c4n4ry-id", secret, security_token=token,
                          batch_schedule_delay_ms=1)
    otlp = ptx.aliyun.arms(os.environ["TEST_COLLECTOR"], arms)
    traces = ptx.aliyun.sls_trace("p", "i", other, "c4n4ry-id", secret)
    config = ptx.Config("svc", sinks=[sink, *otlp, *traces], console_output=True)
    said = [sink, otlp, traces, config, config.describe()]
    ptx.init(config)
    with ptx.start_span("op"):
        ptx.get_logger("l").error("hello")
    ptx.get_meter("m").counter("c").add(1)
    ptx.force_flush(300)
    said += [ptx.stats(), ptx.check()]
    assert "HTTP 401 SignatureNotMatch" in str(said) and "HTTP 404: no " in str(said), said
    ptx.shutdown(0)
    print(said, repr(said), ptx.stats())
    for wrong in (
        lambda: ptx.SlsLogSink("e", "p", "l", "c4n4ry-id", secret, credentials=lambda: secret),
        lambda: ptx.SlsLogSink("http://u:c4n4ry@h", "p", "l", "i", secret),
        lambda: ptx.SlsLogSink("http://h/c4n4ry", "p", "l", "i", secret),
        lambda: ptx.SlsLogSink("h", "p", "l", "i", secret, region="a b"),
        lambda: ptx.SlsLogSink("h", "p", "l", "i", secret + "\\n"),
        lambda: ptx.SlsLogSink("h", "p", "l", "i", "s", security_token=token + "\\n"),
        lambda: ptx.aliyun.arms("cn-hangzhou", arms + "\\n/"),
        lambda: ptx.TraceSink(f"http://h/adapt_{arms} x", "http"),
    ):
        try:
            print(wrong())
        except Exception as error:
            print(repr(error))
    """,
        *(sls.server.endpoint, other.endpoint, secret, token, arms),
    )
    other.close()
    assert re.findall(".{0,80}c4n4ry.{0,20}", done.stdout + done.stderr) == []
    assert len(sls.server.requests) >= 2
