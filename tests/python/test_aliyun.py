"""Presets for Alibaba Cloud's OTLP endpoints: ARMS and SLS trace."""

from __future__ import annotations

import re
from typing import Any

import pytest

import pytracingx as ptx
from pytracingx.aliyun import arms, sls_trace

CANARY = "c4n4ry"


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
