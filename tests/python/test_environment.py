"""`Config.from_env()` in a process of its own; each variable's values are tested in Rust (tests/rust/environment.rs)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

import pytracingx as ptx

CANARY = "c4n4ry"


def described(code: str = "ptx.Config.from_env()", **variables: str) -> Any:
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "PYTRACINGX_", "ALIBABA_"))
    }
    program = f"import json, pytracingx as ptx; print(json.dumps(({code}).describe()))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**inherited, **variables},
        capture_output=True,
        check=True,
        text=True,
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_nothing_set() -> None:
    about = described()
    assert about["service_name"] == "unknown_service:python"
    assert about["warnings"] == []
    assert about["propagators"] == ["tracecontext", "baggage"]
    assert [about[key] for key in ("console_spans", "console_metrics", "console_logs")] == [
        False,
        False,
        True,
    ]
    assert [(sink["kind"], sink["endpoint"], sink["protocol"]) for sink in about["sinks"]] == [
        ("TraceSink", "http://localhost:4318/…", "http/protobuf"),
        ("MetricSink", "http://localhost:4318/…", "http/protobuf"),
        ("OtlpLogSink", "http://localhost:4318/…", "http/protobuf"),
    ]
    trace = about["sinks"][0]
    assert (trace["sampler"], trace["sampler_arg"]) == ("parentbased_always_on", None)
    assert about["resource_attributes"]["process.runtime.version"] == ".".join(map(str, sys.version_info[:3]))


def test_everything_set() -> None:
    about = described(
        OTEL_SERVICE_NAME="svc",
        OTEL_RESOURCE_ATTRIBUTES="team=a%20b,service.name=other",
        OTEL_PROPAGATORS="tracecontext",
        OTEL_SDK_DISABLED="True",
        OTEL_TRACES_SAMPLER="traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0.25",
        OTEL_BSP_SCHEDULE_DELAY="11",
        OTEL_BSP_EXPORT_TIMEOUT="12000",
        OTEL_BSP_MAX_QUEUE_SIZE="1300",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="14",
        OTEL_BLRP_SCHEDULE_DELAY="15",
        OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT="16",
        OTEL_ATTRIBUTE_COUNT_LIMIT="17",
        OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="18",
        OTEL_SPAN_EVENT_COUNT_LIMIT="19",
        OTEL_SPAN_LINK_COUNT_LIMIT="20",
        OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT="21",
        OTEL_LINK_ATTRIBUTE_COUNT_LIMIT="22",
        OTEL_TRACES_EXPORTER="otlp,console",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="otlp",
        OTEL_METRICS_EXEMPLAR_FILTER="always_on",
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram",
        OTEL_EXPORTER_OTLP_ENDPOINT="https://base:1",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"https://own:2/{CANARY}",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_HEADERS=f"api-key={CANARY}",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_EXPORTER_OTLP_TIMEOUT="2300",
        PYTRACINGX_SLS_ENDPOINT="sls.example",
        PYTRACINGX_SLS_PROJECT="p",
        PYTRACINGX_SLS_LOGSTORE="l",
        ALIBABA_CLOUD_ACCESS_KEY_ID=CANARY,
        ALIBABA_CLOUD_ACCESS_KEY_SECRET=CANARY,
        ALIBABA_CLOUD_SECURITY_TOKEN=CANARY,
    )
    assert CANARY not in json.dumps(about)
    assert about["warnings"] == []
    assert (about["service_name"], about["resource_attributes"]["team"]) == ("svc", "a b")
    assert (about["propagators"], about["disabled"]) == (["tracecontext"], True)
    assert (about["exemplar_filter"], about["default_histogram"]) == ("always_on", "exponential")
    assert [about[key] for key in ("console_spans", "console_metrics", "console_logs")] == [
        True,
        False,
        False,
    ]
    trace, log, sls = about["sinks"]
    assert trace == {
        **trace,
        "kind": "TraceSink",
        "endpoint": "https://own:2/…",
        "protocol": "http/protobuf",
        "headers": {"api-key": "***"},
        "compression": "gzip",
        "timeout_ms": 2300,
        "sampler": "traceidratio",
        "sampler_arg": 0.25,
        "batch_schedule_delay_ms": 11,
        "max_export_timeout_ms": 12_000,
        "batch_max_queue": 1300,
        "batch_max_export": 14,
        "max_attributes_per_span": 18,
        "max_events_per_span": 19,
        "max_links_per_span": 20,
        "max_attributes_per_event": 21,
        "max_attributes_per_link": 22,
        "max_attribute_value_length": 16,
    }
    assert log == {
        **log,
        "kind": "OtlpLogSink",
        "endpoint": "https://base:1/…",
        "protocol": "grpc",
        "batch_schedule_delay_ms": 15,
        "max_attributes_per_record": 17,
        "max_attribute_value_length": 16,
    }
    assert (sls["kind"], sls["endpoint"], sls["ak_secret"]) == (
        "SlsLogSink",
        "https://sls.example:443/…",
        "***",
    )


def test_bad_values_are_told_once_and_ignored() -> None:
    about = described(
        OTEL_EXPORTER_OTLP_TIMEOUT="10",
        OTEL_BSP_SCHEDULE_DELAY="soon",
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization: {CANARY}",
        OTEL_EXPORTER_OTLP_ENDPOINT=f"https://user:{CANARY}@h",
        OTEL_RESOURCE_ATTRIBUTES=CANARY,
    )
    names = [line.split("=")[0].split(":")[0].split(" ")[0] for line in about["warnings"]]
    assert sorted(names) == [
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "OTEL_RESOURCE_ATTRIBUTES",
    ]
    assert CANARY not in json.dumps(about)
    trace = about["sinks"][0]
    assert (trace["timeout_ms"], trace["batch_schedule_delay_ms"], trace["headers"]) == (10_000, 1000, {})
    assert trace["endpoint"] == "http://localhost:4318/…"


def test_an_explicit_config_merges_attributes_and_obeys_disabled() -> None:
    about = described(
        "ptx.Config('argument', {'a': 'argument'})",
        OTEL_SERVICE_NAME="env",
        OTEL_RESOURCE_ATTRIBUTES="a=env,b=env,process.runtime.name=env",
        OTEL_SDK_DISABLED="true",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_BSP_SCHEDULE_DELAY="1",
    )
    attributes = about["resource_attributes"]
    assert about["service_name"] == attributes["service.name"] == "argument"
    assert [attributes[key] for key in ("a", "b", "process.runtime.name")] == ["argument", "env", "env"]
    assert (about["disabled"], about["traces"]) == (True, 0)


def test_variables_set_by_the_program_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "set-late")
    assert ptx.Config.from_env().describe()["service_name"] == "set-late"


def test_a_pickle_carries_what_the_environment_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "there")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_PROPAGATORS", "none")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://h/")
    config = ptx.Config.from_env()
    expected, carried = config.describe(), pickle.dumps(config)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    assert pickle.loads(carried).describe() == expected
