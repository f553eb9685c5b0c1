"""`SlsLogSink` and who gives it credentials: a thread for each provider, waiting for a key, and everything a provider can
do wrong."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import RunPython
from sls_server import Key, SlsServer

import pytracingx as ptx
from pytracingx._worker import _key
from pytracingx.aliyun import CredentialsError

CANARY = "c4n4ry"

SLS = """
    calls, called = [], threading.Event()
    def sls(provider, logstore="l"):
        return ptx.SlsLogSink("127.0.0.1:9", "p", logstore, credentials=provider)
    def until(condition):
        for _ in range(2000):
            if condition(): return
            time.sleep(0.005)
        raise AssertionError("in vain")
    def threads():
        return sorted(t.name for t in threading.enumerate() if t.name.startswith("pytracingx"))
"""


def test_a_provider_is_called_on_a_thread_of_its_own(run_python: RunPython) -> None:
    """At the beginning, once for all sinks it serves, and before what it gave expires. Again in a forked child."""
    done = run_python(
        SLS
        + """
    def short():
        calls.append(threading.current_thread().name)
        return "id", "c4n4ry-secret", "token", time.time() + 2
    def long():
        calls.append("long")
        return "id", "c4n4ry-secret", None
    ptx.init(ptx.Config("svc", sinks=[sls(short, "a"), sls(short, "b"), sls(long)], diagnostics="off"))
    until(lambda: len(calls) == 3)
    assert threads() == ["pytracingx-credentials"] * 2
    assert sorted(calls) == ["long", "pytracingx-credentials", "pytracingx-credentials"], calls
    if (child := os.fork()) == 0:
        until(lambda: calls.count("long") == 2)
        os._exit(0 if threads() == ["pytracingx-credentials"] * 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    ptx.shutdown(0)
    until(lambda: threads() == [])
    calls.clear()
    ptx.init(ptx.Config("svc", diagnostics="off"))
    assert threads() == [], "the next session has no provider"
    answer(calls)
    """
    )
    assert done.answer == []


def test_records_wait_for_credentials_and_outlive_them() -> None:
    """None is lost when there are none yet, nor when the server refuses those it had."""
    first, second = (
        Key("first-id", "first-c4n4ry", "first-c4n4ry-token"),
        Key("second-id", "second-c4n4ry", "token"),
    )
    server = SlsServer(first)
    given: list[str] = []

    def provider() -> tuple[str, str, str]:
        (key,) = server.keys.values()
        given.append(key.id)
        if len(given) == 1:
            raise OSError("not yet")
        return key.id, key.secret, key.token

    def stats() -> dict[str, Any]:
        return dict(ptx.stats()["log_sinks"][0])

    try:
        sink = ptx.SlsLogSink(
            server.endpoint, "proj", "store", credentials=provider, batch_schedule_delay_ms=10
        )
        ptx.init(ptx.Config("svc", sinks=[sink], console_output=False, diagnostics="off"))
        log = ptx.get_logger("log")
        log.info("first")
        server.wait_until(lambda: "credentials: the provider raised OSError" in (stats()["last_error"] or ""))
        server.wait_until(lambda: len(server.logs) == 1)
        server.keys = {second.id: second}
        log.info("second")
        server.wait_until(lambda: len(server.logs) == 2)
        assert ptx.force_flush() and stats()["dropped"] == {}
        assert given == ["first-id", "first-id", "second-id"]
    finally:
        ptx.shutdown(0)
        server.close()


def test_what_a_provider_can_do_wrong(run_python: RunPython, tmp_path: Path) -> None:
    """It costs nothing but a later call, and is told once, without what it said."""
    told = tmp_path / "stderr"
    done = run_python(
        SLS
        + """
    from pytracingx.aliyun import CredentialsError
    told_in = open(sys.argv[1], "w")
    os.dup2(told_in.fileno(), 2)
    class Key: access_key_id, access_key_secret, security_token = "id", "c4n4ry-secret", ""
    def wrong():
        calls.append(1)
        if len(calls) == 1: raise KeyError("c4n4ry")
        if len(calls) == 2: return "id", "c4n4ry"*2 + "\\n", None
        return Key()
    def told():
        raise CredentialsError("no role here")
    def nothing(): return None
    def leaves(): sys.exit(1)
    ptx.init(ptx.Config("svc", sinks=[sls(wrong), sls(told), sls(nothing), sls(leaves)]))
    until(lambda: len(calls) == 3)
    until(lambda: open(sys.argv[1]).read().count("asking again") == 4)
    answer(threads())
    ptx.shutdown(0)
    """,
        str(told),
    )
    said = told.read_text()
    lines = [line for line in said.splitlines() if "credentials" in line]
    assert CANARY not in said
    assert sorted(line.partition("SLS credentials: ")[2] for line in lines) == [
        "no role here; asking again",
        "the provider gave no (id, secret, token) or (id, secret, token, expires_unix_seconds); asking again",
        "the provider raised KeyError; asking again",
        "the provider raised SystemExit; asking again",
    ]
    assert done.answer == ["pytracingx-credentials"] * 4


def test_a_provider_that_hangs_holds_up_nothing(run_python: RunPython) -> None:
    """Neither observations nor other providers, shutdown or the interpreter's exit."""
    done = run_python(
        SLS
        + """
    def hangs():
        calls.append("hangs")
        time.sleep(600)
    def answers():
        calls.append("answers")
        return "id", "c4n4ry-secret", None
    seen = []
    ptx.get_meter("m").observable_gauge("g", lambda: seen.append(1) or 1)
    ptx.init(ptx.Config("svc", sinks=[sls(hangs), sls(answers), ptx.MetricSink(endpoint, "http")], diagnostics="off"))
    until(lambda: len(calls) == 2)
    assert ptx.force_flush()
    assert seen and "late_observations" not in {k for k, v in ptx.stats()["measurements"].items() if v}
    assert ptx.shutdown()
    answer(sorted(calls))
    """,
        timeout_s=30,
    )
    assert done.answer == ["answers", "hangs"]


def test_a_session_that_sends_nothing_asks_nobody(run_python: RunPython) -> None:
    done = run_python(
        SLS
        + """
    ptx._native._capture(ptx.Config("svc", sinks=[sls(lambda: calls.append(1))]))
    assert threads() == []
    ptx.shutdown()
    os.environ["OTEL_SDK_DISABLED"] = "true"
    ptx.init(ptx.Config("svc", sinks=[sls(lambda: calls.append(1))]))
    answer(threads())
    """
    )
    assert done.answer == []


def test_the_official_package_serves_as_it_is(run_python: RunPython) -> None:
    """The recipe of pytracingx.aliyun's documentation: `alibabacloud-credentials` from PyPI signs what arrives."""
    server = SlsServer(Key("STS.id", "c4n4ry-sts-secret", "c4n4ry-sts-token"))
    try:
        run_python(
            """
    import alibabacloud_credentials.client, alibabacloud_credentials.models
    config = alibabacloud_credentials.models.Config(
        type="sts", access_key_id="STS.id", access_key_secret="c4n4ry-sts-secret", security_token="c4n4ry-sts-token")
    client = alibabacloud_credentials.client.Client(config)
    sink = ptx.SlsLogSink(sys.argv[1], "proj", "store", credentials=client.get_credential)
    ptx.init(ptx.Config("svc", sinks=[sink], console_output=False))
    ptx.get_logger("l").info("hello")
    assert ptx.shutdown(), ptx.stats()
    """,
            server.endpoint,
        )
        assert [log["message"] for log in server.logs] == ["hello"]
        assert server.complaints == []
    finally:
        server.close()


@pytest.mark.parametrize(
    "given",
    [
        *[
            5,
            "text",
            (),
            ("id",),
            ("id", "c4n4ry-secret", None, None, None),
            (1, "secret", None),
            ("", "", ""),
        ],
        *[
            ("é", "secret", None),
            ("id", "sec ret", None),
            ("id", "s\n", None),
            ("id", "s", 7),
            {"id": "secret"},
            object(),
        ],
        *[
            ("id", "c4n4ry-secret", None, expires)
            for expires in ("soon", math.nan, math.inf, 1 << 70, -(1 << 70))
        ],
    ],
)
def test_what_is_no_key(given: Any) -> None:
    """Each is told of as what the provider gave, not as an error of the provider's; nothing of it is shown."""
    with pytest.raises(CredentialsError, match=r"^the provider gave no \(id, secret, token\)"):
        _key(given)


def test_a_key_that_has_expired_is_none() -> None:
    for expires in (-5, 0.0, time.time() - 1):
        with pytest.raises(CredentialsError, match="has expired, by this machine's clock"):
            _key(("id", "c4n4ry-secret", "token", expires))
    assert _key(["id", "c4n4ry-secret", "", 4e9]) == ("id", "c4n4ry-secret", None, 4_000_000_000)
    assert _key(("id", "c4n4ry-secret")) == ("id", "c4n4ry-secret", None, None)
