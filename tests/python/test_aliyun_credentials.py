"""Providers of Alibaba Cloud's credentials, asking real servers in the place of its metadata service and STS."""

from __future__ import annotations

import json
import pickle
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

from pytracingx.aliyun import CredentialsError, ecs_ram_role, from_environment, oidc_role

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
        ((200, CANARY * 20_000), "an answer of more than 64 KiB"),
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
    with pytest.raises(CredentialsError, match=r"ECS metadata: 127.0.0.1:.* timed out"):
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


def test_a_role_of_the_environment(run_python: RunPython, cloud: Cloud) -> None:
    """Without code: the sink, and who gives it credentials."""
    done = run_python(
        """
    def threads():
        return sorted(t.name for t in threading.enumerate() if t.name.startswith("pytracingx"))
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
