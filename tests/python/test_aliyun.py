"""Credentials of Alibaba Cloud, from real servers in the place of its own, and presets for its OTLP endpoints."""

from __future__ import annotations

import json
import pickle
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import canary
import pytest
from conftest import RunPython
from sls_server import Key, SlsServer

import pytracingx as ptx
from pytracingx.aliyun import CredentialsError, arms, ecs_ram_role, from_environment, oidc_role, sls_trace

CANARY = "c4n4ry"
ISO = "%Y-%m-%dT%H:%M:%SZ"
VARIABLES = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ECS_METADATA",
    "ALIBABA_CLOUD_ECS_METADATA_DISABLED",
    "ALIBABA_CLOUD_IMDSV1_DISABLED",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_ROLE_SESSION_NAME",
    "ALIBABA_CLOUD_STS_REGION",
    "ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED",
]


class Cloud:
    """Metadata service and STS, as their documentation has them. `answers` replaces what a path answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.answers: dict[str, tuple[int, str]] = {}
        self.delay_s = 0.0
        self.expires = int(time.time()) + 3600
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                headers = {name.lower(): value for name, value in self.headers.items()}
                cloud.requests.append((self.command, self.path, headers, body))
                if cloud.delay_s:
                    time.sleep(cloud.delay_s)
                status, text = cloud.answers.get(self.path) or cloud.answer(
                    self.command, self.path, headers, body
                )
                self.send_response(status)
                self.send_header("content-length", str(len(text)))
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = do_POST = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def key(self) -> dict[str, str]:
        return {
            "AccessKeyId": "STS.id",
            "AccessKeySecret": CANARY,
            "SecurityToken": f"{CANARY}-token",
            "Expiration": time.strftime(ISO, time.gmtime(self.expires)),
        }

    def answer(self, method: str, path: str, headers: dict[str, str], body: str) -> tuple[int, str]:
        if (method, path) == ("PUT", "/latest/api/token"):
            seconds = int(headers["x-aliyun-ecs-metadata-token-ttl-seconds"])
            return (200, "metadata-token") if 1 <= seconds <= 21600 else (400, "")
        if method == "GET" and path.startswith("/latest/meta-data/ram/security-credentials/"):
            if headers.get("x-aliyun-ecs-metadata-token") != "metadata-token":
                return 403, ""
            role = path.rpartition("/")[2]
            if not role:
                return 200, "my-role"
            return (200, json.dumps({**self.key(), "Code": "Success"})) if role == "my-role" else (404, "")
        if (method, path) == ("POST", "/"):
            form = {name: values[0] for name, values in parse_qs(body).items()}
            assert headers["content-type"] == "application/x-www-form-urlencoded"
            assert abs(time.mktime(time.strptime(form["Timestamp"], ISO)) - time.timezone - time.time()) < 60
            if form["OIDCToken"] != f"{CANARY}+/=oidc":
                return 400, json.dumps(
                    {"Code": "AuthenticationFail.OIDCToken.Invalid", "Message": form["OIDCToken"]}
                )
            expected = {"Action": "AssumeRoleWithOIDC", "Format": "JSON", "Version": "2015-04-01"}
            assert expected.items() <= form.items() and 900 <= int(form["DurationSeconds"]) <= 3600
            assert (
                form["RoleArn"] == "acs:ram::1:role/r"
                and form["OIDCProviderArn"] == "acs:ram::1:oidc-provider/p"
            )
            return 200, json.dumps({"RequestId": "1", "Credentials": self.key()})
        return 404, ""

    @property
    def key_tuple(self) -> tuple[str, str, str, int]:
        return ("STS.id", CANARY, f"{CANARY}-token", self.expires)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    cloud = Cloud()
    yield cloud
    cloud.server.shutdown()
    cloud.server.server_close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = canary.allow(tmp_path / "token")
    file.write_text(f"{CANARY}+/=oidc\n")
    return file


CREDENTIALS = "/latest/meta-data/ram/security-credentials/"


def test_the_role_of_an_instance(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """In hardened mode; never through a proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert ecs_ram_role(_url=cloud.url)() == cloud.key_tuple
    paths = [(method, path) for method, path, _, _ in cloud.requests]
    assert paths == [("PUT", "/latest/api/token"), ("GET", CREDENTIALS), ("GET", f"{CREDENTIALS}my-role")]
    cloud.requests.clear()
    assert ecs_ram_role("my-role", _url=cloud.url)() == cloud.key_tuple
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA", "my-role")
    assert ecs_ram_role(_url=cloud.url)() == cloud.key_tuple
    assert len(cloud.requests) == 4, "a role that is given is not asked for"


def test_an_instance_without_hardened_mode(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud.answers["/latest/api/token"] = (404, "")
    cloud.answers[f"{CREDENTIALS}my-role"] = (200, json.dumps(cloud.key()))
    assert ecs_ram_role("my-role", _url=cloud.url)() == cloud.key_tuple
    assert "x-aliyun-ecs-metadata-token" not in cloud.requests[-1][2]
    monkeypatch.setenv("ALIBABA_CLOUD_IMDSV1_DISABLED", "true")
    with pytest.raises(CredentialsError, match="ECS metadata: status 404 for a token"):
        ecs_ram_role("my-role", _url=cloud.url)()
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    with pytest.raises(CredentialsError, match="disabled by"):
        ecs_ram_role("my-role", _url=cloud.url)()


def test_what_a_metadata_service_can_do_wrong(cloud: Cloud) -> None:
    """Each is an error that says what happened and no secret."""
    role = f"{CREDENTIALS}my-role"
    for answer, text in [
        ((200, CANARY), "an answer without credentials"),
        ((200, json.dumps([CANARY])), "an answer without credentials"),
        ((200, json.dumps({**cloud.key(), "Expiration": CANARY})), "an answer without credentials"),
        ((302, CANARY), "status 302"),  # and not followed
        ((500, CANARY), "status 500"),
        ((200, CANARY * 20_000), "the response body is larger than request limit"),
    ]:
        cloud.answers[role] = answer
        with pytest.raises(CredentialsError, match=text) as raised:
            ecs_ram_role("my-role", _url=cloud.url)()
        assert CANARY not in str(raised.value)
    assert "/elsewhere" not in [path for _, path, _, _ in cloud.requests]
    with pytest.raises(CredentialsError, match="status 404; is there a RAM role"):
        ecs_ram_role("other", _url=cloud.url)()
    cloud.answers[CREDENTIALS] = (200, "../x?")
    with pytest.raises(CredentialsError, match="has no RAM role"):
        ecs_ram_role(_url=cloud.url)()
    cloud.delay_s = 1.5
    began = time.monotonic()
    with pytest.raises(CredentialsError, match=r"ECS metadata: 127.0.0.1:.* timeout"):
        ecs_ram_role("my-role", _url=cloud.url)()
    assert time.monotonic() - began >= 1.0
    with pytest.raises(CredentialsError, match=r"ECS metadata: 127.0.0.1:1: .*refused"):
        ecs_ram_role("my-role", _url="http://127.0.0.1:1")()


def test_a_role_for_an_oidc_token(cloud: Cloud, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = oidc_role(
        "acs:ram::1:role/r",
        "acs:ram::1:oidc-provider/p",
        str(token_file),
        session_name="s",
        sts_endpoint=cloud.url,
    )
    assert provider() == cloud.key_tuple
    _, path, _, body = cloud.requests[-1]
    assert path == "/" and parse_qs(body)["RoleSessionName"] == ["s"]
    monkeypatch.setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r")
    with pytest.raises(CredentialsError, match=r"ALIBABA_CLOUD_OIDC_PROVIDER_ARN.* must be set"):
        oidc_role(sts_endpoint=cloud.url)()
    monkeypatch.setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p")
    monkeypatch.setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", str(token_file))
    assert oidc_role(sts_endpoint=cloud.url)() == cloud.key_tuple
    assert parse_qs(cloud.requests[-1][3])["RoleSessionName"] == ["pytracingx"]
    # It is renewed in the file; what STS says of a refused one holds it.
    token_file.write_text(f"{CANARY}-old")
    with pytest.raises(CredentialsError, match=r"^STS: status 400 AuthenticationFail.OIDCToken.Invalid$"):
        oidc_role(sts_endpoint=cloud.url)()
    token_file.unlink()
    with pytest.raises(CredentialsError, match=r"cannot read the token file \(FileNotFoundError\)"):
        oidc_role(sts_endpoint=cloud.url)()


def test_where_sts_is(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> None:
    from pytracingx.aliyun import _sts_endpoint

    assert _sts_endpoint() == "sts.aliyuncs.com"
    monkeypatch.setenv("ALIBABA_CLOUD_STS_REGION", "cn-beijing")
    assert _sts_endpoint() == "sts.cn-beijing.aliyuncs.com"
    monkeypatch.setenv("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")
    assert _sts_endpoint() == "sts-vpc.cn-beijing.aliyuncs.com"


def test_as_the_environment_has_them(cloud: Cloud, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, else an OIDC token, else the instance's role."""
    monkeypatch.setattr("pytracingx.aliyun._METADATA_URL", cloud.url)
    monkeypatch.setattr("pytracingx.aliyun._sts_endpoint", lambda: cloud.url)
    assert from_environment()() == cloud.key_tuple
    assert [method for method, _, _, _ in cloud.requests] == ["PUT", "GET", "GET"]
    monkeypatch.setenv("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r")
    monkeypatch.setenv("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p")
    monkeypatch.setenv("ALIBABA_CLOUD_OIDC_TOKEN_FILE", str(token_file))
    assert from_environment()() == cloud.key_tuple
    assert [method for method, _, _, _ in cloud.requests] == ["PUT", "GET", "GET", "POST"]
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "c4n4ry-secret")
    assert from_environment()() == ("id", "c4n4ry-secret", None, None)
    assert len(cloud.requests) == 4


def test_providers_can_be_pickled_and_show_no_secret() -> None:
    """Spawned children get them with the sinks."""
    for provider, shown in [
        (ecs_ram_role("r"), "ecs_ram_role('r')"),
        (oidc_role("arn", oidc_token_file=CANARY), "oidc_role('arn')"),
        (from_environment(), "from_environment()"),
    ]:
        assert repr(pickle.loads(pickle.dumps(provider))) == repr(provider) == shown


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


def test_what_a_provider_can_do_wrong(run_python: RunPython) -> None:
    """It costs nothing but a later call, and is told once, without what it said."""
    done = run_python(
        SLS
        + """
    from pytracingx.aliyun import CredentialsError
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
    time.sleep(0.3)  # the exporter tells at its next turn, a quarter of a second later
    ptx.force_flush(100)
    answer(threads())
    ptx.shutdown(0)
    """
    )
    lines = [line for line in done.stderr.splitlines() if "credentials" in line]
    assert CANARY not in done.stderr
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


def test_a_role_of_the_environment(run_python: RunPython, cloud: Cloud) -> None:
    """Without code: the sink, and who gives it credentials."""
    done = run_python(
        SLS
        + """
    ptx.aliyun._METADATA_URL = sys.argv[1]
    assert threads() == []
    described = ptx.Config.from_env().describe()
    ptx.init()
    assert threads() == ["pytracingx-credentials"]
    answer([sink for sink in described["sinks"] if sink["kind"] == "SlsLogSink"])
    """,
        cloud.url,
        env={
            **{"PYTRACINGX_SLS_ENDPOINT": "127.0.0.1:9", "PYTRACINGX_SLS_PROJECT": "p"},
            **{"PYTRACINGX_SLS_LOGSTORE": "l", "PYTRACINGX_SLS_REGION": "cn-hangzhou"},
            **{"ALIBABA_CLOUD_ECS_METADATA": "my-role", "OTEL_SDK_DISABLED": "false"},
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        },
    )
    (sink,) = done.answer
    assert (sink["credentials"], sink["region"]) == ("***", "cn-hangzhou")
    assert "credentials" not in done.stderr


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


def exposed(sink: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = sink.__getnewargs_ex__()[1]
    return {name: arguments[name] for name in ("endpoint", "protocol", "headers")} | {
        "kind": type(sink).__name__
    }


TOKEN = "b590lhguqs@3a7c4n4ry_b590lhguqs@53d"


@pytest.mark.parametrize(
    ("where", "internal", "host"),
    [
        ("cn-hangzhou", False, "tracing-analysis-dc-hz.aliyuncs.com"),
        ("cn-hangzhou", True, "tracing-analysis-dc-hz-internal.aliyuncs.com"),
        ("cn-heyuan", False, "tracing-cn-heyuan.arms.aliyuncs.com"),
        ("cn-heyuan", True, "tracing-cn-heyuan-internal.arms.aliyuncs.com"),
        ("http://collector.example:81/", False, "collector.example:81"),
        ("collector.example", False, "collector.example"),
    ],
)
def test_arms(where: str, internal: bool, host: str) -> None:
    traces, metrics = arms(where, TOKEN, internal=internal)
    port = "" if ":" in host else ":80"
    base = f"http://{host}{port}/adapt_{TOKEN}/api/otlp"
    assert exposed(traces) == {
        "endpoint": f"{base}/traces", "protocol": "http/protobuf", "headers": {}, "kind": "TraceSink"
    }  # fmt: skip
    assert exposed(metrics)["endpoint"] == f"{base}/metrics"
    for sink in arms(where, f"adapt_{TOKEN}", internal=internal):
        assert CANARY not in repr(sink)
    (grpc,) = arms(where, TOKEN, protocol="grpc", internal=internal, metrics=False)
    grpc_port = "" if ":" in host else ":8090"
    assert exposed(grpc)["endpoint"].rstrip("/?") == f"http://{host}{grpc_port}"
    assert exposed(grpc)["headers"] == {"Authentication": TOKEN}
    assert CANARY not in repr(grpc)


def test_sls_trace() -> None:
    headers = {
        "x-sls-otel-project": "my-project",
        "x-sls-otel-instance-id": "my-instance",
        "x-sls-otel-ak-id": "id",
        "x-sls-otel-ak-secret": CANARY,
    }

    def sinks(region: str, **options: Any) -> list[dict[str, Any]]:
        made = sls_trace("my-project", "my-instance", region, "id", CANARY, **options)
        config = ptx.Config("svc", sinks=made)
        assert CANARY not in repr([config, *made]) and CANARY not in str(config.describe())
        return [exposed(sink) for sink in made]

    (traces,) = sinks("cn-hangzhou")
    assert traces["endpoint"] == "https://my-project.cn-hangzhou.log.aliyuncs.com:443/opentelemetry/v1/traces"
    assert (traces["headers"], traces["protocol"]) == (headers, "http/protobuf")
    traces, metrics = sinks("cn-hangzhou", protocol="grpc", internal=True)
    assert traces["endpoint"].rstrip("/?") == "https://my-project.cn-hangzhou-intranet.log.aliyuncs.com:10010"
    assert metrics["headers"] == headers and metrics["kind"] == "MetricSink"
    for given, host in [
        ("my-project.cn-beijing.log.aliyuncs.com", "https://my-project.cn-beijing.log.aliyuncs.com:443"),
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("http://[::1]:4318", "http://[::1]:4318"),
        ("http://localhost:4318", "http://localhost:4318"),
    ]:
        assert sinks(given)[0]["endpoint"] == f"{host}/opentelemetry/v1/traces"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: arms("", TOKEN), "endpoint_or_region must not be empty"),
        (lambda: arms("cn-hangzhou", " "), "token must not be empty"),
        (lambda: arms("cn-hangzhou", "c4n4ry/../x"), "token must be of"),
        (
            lambda: arms("us-west-1", TOKEN),
            "endpoint_or_region 'us-west-1': give the endpoint that the console shows",
        ),
        (lambda: arms("http://h/adapt_c4n4ry/api/otlp/traces", TOKEN), "must be a region id or"),
        (lambda: arms("cn-hangzhou", TOKEN, protocol="http/json"), "unknown protocol 'http/json'"),  # type: ignore[arg-type]
        (lambda: sls_trace("a/b", "i", "cn-hangzhou", "id", CANARY), "project 'a/b' must be of"),
        (lambda: sls_trace("p", "i", "cn-hangzhou", "", CANARY), "ak_id must not be empty"),
        (lambda: sls_trace("p", "i", "cn-hangzhou", "id", f"{CANARY}\r\nx"), "header"),
        (lambda: sls_trace("p", "i", "https://u:c4n4ry@h", "id", "s"), "region must be a region id or"),
    ],
)
def test_what_a_preset_refuses(call: Any, text: str) -> None:
    with pytest.raises(ptx.ConfigError, match=re.escape(text)) as raised:
        call()
    assert CANARY not in str(raised.value)


def test_a_secret_is_text() -> None:
    with pytest.raises(TypeError, match="token must be str, not int"):
        arms("cn-hangzhou", 1)  # type: ignore[arg-type]
