"""Constructors of Config and sinks: what they accept, what they refuse and in which words, and what they never show."""

from __future__ import annotations

import inspect
import os
import pickle
import re
from pathlib import Path
from typing import Any, Callable

import pytest
import trustme

import pytracingx as ptx

CANARY = "c4n4ry"
SLS = {
    "endpoint": "cn-hangzhou.log.aliyuncs.com",
    "project": "p",
    "logstore": "l",
    "ak_id": "i",
    "ak_secret": "s",
}


@pytest.fixture(autouse=True)
def no_opentelemetry_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "PYTRACINGX_", "RUST_LOG")):
            monkeypatch.delenv(name)


def described(*sinks: Any, **settings: Any) -> Any:
    return ptx.Config("svc", sinks=sinks, **settings).describe()


def sink_of(sink: Any) -> dict[str, Any]:
    (settings,) = described(sink)["sinks"]
    return dict(settings)


def test_config_error_is_a_value_error_and_a_runtime_error() -> None:
    assert issubclass(ptx.ConfigError, ValueError)
    assert issubclass(ptx.ConfigError, RuntimeError)
    assert f"{ptx.ConfigError.__module__}.{ptx.ConfigError.__qualname__}" == "pytracingx.ConfigError"
    error = pickle.loads(pickle.dumps(ptx.ConfigError("text")))
    assert type(error) is ptx.ConfigError
    assert str(error) == "text"


# ---------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: ptx.Config(""), "service_name must not be empty"),
        (lambda: ptx.Config("s", console_format="xml"), "unknown console_format 'xml', expected 'compact' | 'pretty' | 'json'"),
        (lambda: ptx.Config("s", console_level="loud"), "unknown console_level 'loud', expected 'trace' | "),
        (lambda: ptx.Config("s", None, None, "json", "pretty"), "unknown console_level 'json'"),
        (lambda: ptx.Config("s", log_filter="lib=loud"), "log_filter: 'lib=loud' is not a directive"),
        (lambda: ptx.Config("s", log_filter="*=info"), "log_filter: '*=info' is not a directive"),
        (lambda: ptx.Config("s", log_filter="info;lib=warn"), "log_filter: 'info;lib=warn' is not a directive"),
        (lambda: ptx.Config("s", sinks=[1]), "sinks list must contain TraceSink, MetricSink, OtlpLogSink, or SlsLogSink, got int at index 0"),
        (lambda: ptx.Config("s", sinks=[ptx.TraceSink("x")] * 17), "sinks may hold at most 16 TraceSinks, got 17"),
        (lambda: ptx.Config("s", sinks=[ptx.MetricSink("x")] * 17), "sinks may hold at most 16 MetricSinks, got 17"),
        (lambda: ptx.Config("s", views=[1]), "views list must contain View, got int at index 0"),
        (lambda: ptx.Config("s", redact=[ptx.Redact("a"), ptx.View()]), "redact list must contain Redact, got View at index 1"),
        (lambda: ptx.Config("s", sinks=[ptx.OtlpLogSink("x")] * 10 + [ptx.SlsLogSink(**SLS)] * 6),
         "sinks may hold at most 15 OtlpLogSinks and SlsLogSinks together, got 16"),
        (lambda: ptx.Config("s", default_histogram="x"), "unknown default_histogram 'x', expected 'explicit' or 'exponential'"),
        (lambda: ptx.Config("s", exemplar_filter="x"), "unknown exemplar_filter 'x'"),
        (lambda: ptx.Config("s", diagnostics="x"), "unknown diagnostics 'x', expected 'warn' or 'off'"),
        (lambda: ptx.Config("s", max_attribute_value_length=-1), "max_attribute_value_length must be at least 0, got -1"),
        (lambda: ptx.Config("s", exit_timeout_ms=-1), "exit_timeout_ms must be at least 0, got -1"),
        (lambda: ptx.Config("s", ring_capacity=1), "ring_capacity must be at least 262144, got 1"),
        (lambda: ptx.Config("s", lane_budget_bytes=0), "lane_budget_bytes must be at least 262144, got 0"),
        (lambda: ptx.Config("s", ring_capacity=1 << 30), "ring_capacity must be at most lane_budget_bytes (67108864), got 1073741824"),
        (lambda: ptx.Config("s", {"": 1}), "resource_attributes: a key must not be empty"),
        (lambda: ptx.RawOtlp("snappy"), "unknown compression 'snappy', expected 'gzip' | 'zstd'"),
        (lambda: ptx.TraceSink(""), "TraceSink endpoint must not be empty"),
        (lambda: ptx.MetricSink(""), "MetricSink endpoint must not be empty"),
        (lambda: ptx.OtlpLogSink(""), "OtlpLogSink endpoint must not be empty"),
        (lambda: ptx.TraceSink("ftp://x"), "TraceSink endpoint 'ftp://x' must begin with http:// or https://"),
        (lambda: ptx.TraceSink("http://x:99999"), "TraceSink endpoint 'http://x:99999' must have a port from 1 to 65535"),
        (lambda: ptx.TraceSink("\udc80"), "TraceSink endpoint '\ufffd' must have an ASCII host"),
        (lambda: ptx.TraceSink("x", "thrift"), "unknown protocol 'thrift', expected 'grpc' or 'http/protobuf'"),
        (lambda: ptx.TraceSink("x", headers={"a b": "c"}), "headers: a name must be"),
        (lambda: ptx.TraceSink("x", headers={"key": "a\r\nb"}), "headers: a value must not hold CR, LF, NUL or another control character, see 'key'"),
        (lambda: ptx.TraceSink("x", timeout_ms=0), "timeout_ms must be at least 1, got 0"),
        (lambda: ptx.TraceSink("x", timeout_ms=-(2**200)), "timeout_ms must be at least 1, got -"),
        (lambda: ptx.TraceSink("x", sampler="custom"), "unknown sampler 'custom', expected 'always_on' | 'always_off' | 'parent_based_traceid_ratio'"),
        (lambda: ptx.TraceSink("x", sampler_arg=float("nan")), "sampler_arg must be a number from 0 to 1, got nan"),
        (lambda: ptx.TraceSink("x", batch_max_queue=0), "batch_max_queue must be at least 1, got 0"),
        (lambda: ptx.TraceSink("x", batch_max_export=0), "batch_max_export must be at least 1, got 0"),
        (lambda: ptx.TraceSink("x", batch_schedule_delay_ms=-1), "batch_schedule_delay_ms must be at least 0, got -1"),
        (lambda: ptx.TraceSink("x", max_export_timeout_ms=0), "max_export_timeout_ms must be at least 1, got 0"),
        (lambda: ptx.TraceSink("x", max_attributes_per_span=-1), "max_attributes_per_span must be at least 0, got -1"),
        (lambda: ptx.TraceSink("x", max_events_per_span=-1), "max_events_per_span must be"),
        (lambda: ptx.TraceSink("x", max_links_per_span=-1), "max_links_per_span must be"),
        (lambda: ptx.TraceSink("x", max_attributes_per_event=-1), "max_attributes_per_event must be"),
        (lambda: ptx.TraceSink("x", max_attributes_per_link=-1), "max_attributes_per_link must be"),
        (lambda: ptx.TraceSink("x", max_attribute_value_length=-1), "max_attribute_value_length must be"),
        (lambda: ptx.TraceSink("x", compression="br"), "unknown compression 'br', expected 'gzip' | 'zstd' | 'none'"),
        (lambda: ptx.TraceSink("x", max_queue_bytes=0), "max_queue_bytes must be at least 1, got 0"),
        (lambda: ptx.TraceSink("x", ca_file="/nonexistent"), "ca_file: '/nonexistent' cannot be read: "),
        (lambda: ptx.TraceSink("x", ca_file=Path(ptx.__file__)), "/__init__.py' holds no PEM certificate"),
        (lambda: ptx.MetricSink("x", temporality="foo"), "unknown temporality 'foo', expected 'cumulative' | 'delta' | 'lowmemory'"),
        (lambda: ptx.MetricSink("x", export_interval_ms=0), "export_interval_ms must be at least 1, got 0"),
        (lambda: ptx.MetricSink("x", export_timeout_ms=0), "export_timeout_ms must be at least 1, got 0"),
        (lambda: ptx.OtlpLogSink("x", sample_ratio=1.5), "sample_ratio must be a number from 0 to 1, got 1.5"),
        (lambda: ptx.OtlpLogSink("x", sample_ratio=10**400), "sample_ratio must be a number from 0 to 1, got inf"),
        (lambda: ptx.OtlpLogSink("x", log_filter=""), "log_filter: '' is not a directive"),
        (lambda: ptx.OtlpLogSink("x", max_attributes_per_record=-1), "max_attributes_per_record must be"),
        (lambda: ptx.SlsLogSink("", "p", "l", "i", "s"), "SlsLogSink endpoint must not be empty"),
        (lambda: ptx.SlsLogSink("e", "", "l", "i", "s"), "SlsLogSink project must not be empty"),
        (lambda: ptx.SlsLogSink("e", "p", "", "i", "s"), "SlsLogSink logstore must not be empty"),
        (lambda: ptx.SlsLogSink("e", "p", "l", "", "s"), "SlsLogSink ak_id and ak_secret must not be empty"),
        (lambda: ptx.SlsLogSink("e", "p", "l"), "SlsLogSink ak_id and ak_secret must not be empty"),
        (lambda: ptx.SlsLogSink("e", "p", "l", credentials=1), "SlsLogSink credentials must be a callable"),
        (lambda: ptx.SlsLogSink(**SLS, credentials=print), "SlsLogSink credentials must be a callable and stand instead of"),
        (lambda: ptx.SlsLogSink(**SLS, compression="gzip"), "unknown compression 'gzip', expected 'lz4' | 'zstd' | 'deflate' | 'none'"),
        (lambda: ptx.SlsLogSink(**SLS, attributes="x"), "unknown attributes 'x', expected 'flat' or 'json'"),
        (lambda: ptx.SlsLogSink(**SLS, field_names="0.2"), "unknown field_names '0.2', expected '0.3' or a dict of renames"),
        (lambda: ptx.SlsLogSink(**SLS, batch_max_export=0), "batch_max_export must be at least 1, got 0"),
        (lambda: ptx.SlsLogSink(**SLS, timeout_ms=0), "timeout_ms must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_an_error_names_the_argument_the_value_and_what_is_allowed(
    make: Callable[[], object], text: str
) -> None:
    with pytest.raises(ptx.ConfigError, match=re.escape(text)):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: ptx.Config(1),
        lambda: ptx.Config(),
        lambda: ptx.Config("s", {"k": object()}),
        lambda: ptx.Config("s", {"k": [["nested"]]}),
        lambda: ptx.Config("s", {1: "v"}),
        lambda: ptx.Config("s", console_output="yes"),
        lambda: ptx.Config("s", console_format=["not", "sinks"]),
        lambda: ptx.Config("s", sinks=1),
        lambda: ptx.Config("s", views=1),
        lambda: ptx.Config("s", redact=ptx.Redact("a")),
        lambda: ptx.TraceSink("x", timeout_ms=1.5),
        lambda: ptx.TraceSink("x", timeout_ms="1"),
        lambda: ptx.TraceSink("x", headers=[("a", "b")]),
        lambda: ptx.TraceSink("x", headers={"a": CANARY.encode()}),
        lambda: ptx.TraceSink("x", raw_otlp={}),
        lambda: ptx.TraceSink("x", unknown=1),
        lambda: ptx.SlsLogSink(**SLS, field_names=1),
    ],
)
def test_a_wrong_type_is_a_type_error(make: Callable[[], object]) -> None:
    with pytest.raises(TypeError) as raised:
        make()
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"sinks": ptx.TraceSink("x")}, "sinks must be a list of sinks, got TraceSink"),
        ({"views": ptx.View("a", drop=True)}, "views must be a list of View, got View"),
        ({"redact": ptx.Redact("a")}, "redact must be a list of Redact, got Redact"),
    ],
)
def test_one_object_instead_of_a_list_is_named(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError) as raised:
        ptx.Config("s", **arguments)
    assert str(raised.value) == text


# ---------------------------------------------------------------------------------------------- accepted


def test_defaults() -> None:
    assert described() == {
        **described(),
        "service_name": "svc",
        "console_output": True,
        "console_level": "info",
        "console_format": "compact",
        "log_filter": None,
        "traces": 0,
        "metrics": 0,
        "otlp_logs": 0,
        "sls_logs": 0,
        "sls_log": False,
        "disabled": False,
        "propagators": ["tracecontext", "baggage"],
        "sdk_metrics": False,
        "default_histogram": "explicit",
        "exemplar_filter": "trace_based",
        "max_attribute_value_length": None,
        "exit_timeout_ms": 2000,
        "ring_capacity": 8 << 20,
        "lane_budget_bytes": 64 << 20,
        "diagnostics": "warn",
        "views": [],
        "redact": [],
        "sinks": [],
        "warnings": [],
    }
    assert sink_of(ptx.TraceSink("http://x/traces")) == {
        "kind": "TraceSink",
        "endpoint": "http://x:80/…",
        "protocol": "http/protobuf",
        "headers": {},
        "timeout_ms": 10_000,
        "max_export_timeout_ms": 300_000,
        "compression": "none",
        "ca_file": None,
        "client_cert_file": None,
        "client_key_file": None,
        "max_queue_bytes": 64 << 20,
        "proxy": "",
        "sampler": "parent_based_traceid_ratio",
        "sampler_arg": 1.0,
        "batch_max_queue": None,
        "batch_max_export": 512,
        "batch_schedule_delay_ms": 1000,
        "max_attributes_per_span": 128,
        "max_events_per_span": 128,
        "max_links_per_span": 128,
        "max_attributes_per_event": 128,
        "max_attributes_per_link": 128,
        "max_attribute_value_length": None,
    }


def test_rust_log_is_the_filter_of_a_config_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUST_LOG", "warn,pytracingx::log=debug,lib=loud")
    about = described()
    assert about["log_filter"] == "warn,pytracingx::log=debug"
    assert about["warnings"] == ["RUST_LOG: 'lib=loud' is not a level, target or target=level; ignored"]
    assert ptx.Config.from_env().describe()["log_filter"] == about["log_filter"]
    about = described(log_filter="error")
    assert (about["log_filter"], about["warnings"]) == ("error", [])


def test_positional_orders_of_both_earlier_versions() -> None:
    sink = ptx.TraceSink("x")
    second = ptx.Config("svc", {"k": "v"}, True, "debug", "json", "info,a=warn", [sink]).describe()
    assert [second[key] for key in ("console_level", "console_format", "log_filter", "traces")] == [
        "debug",
        "json",
        "info,a=warn",
        1,
    ]
    third = ptx.Config("svc", {"k": "v"}, False, "pretty", [sink]).describe()
    assert [third[key] for key in ("console_level", "console_format", "console_output", "traces")] == [
        "info",
        "pretty",
        False,
        1,
    ]
    assert ptx.Config("svc", None, True, "json", sinks=[sink]).describe()["console_format"] == "json"

    trace = sink_of(
        ptx.TraceSink(
            "x", "grpc", {"k": "v"}, 1, "always_on", 0.5, 22, 2, 3, 4, 5, 6, 7, 8, 9, ptx.RawOtlp("gzip")
        )
    )
    keys = (
        "protocol headers timeout_ms sampler batch_max_queue batch_max_export batch_schedule_delay_ms max_export_timeout_ms "
        "max_attributes_per_span max_events_per_span max_links_per_span max_attributes_per_event max_attributes_per_link compression"
    )
    assert [trace[key] for key in keys.split()] == [
        "grpc",
        {"k": "***"},
        1,
        "always_on",
        22,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        "gzip",
    ]
    metric = sink_of(ptx.MetricSink("x", "http", {}, 1, 2, 3, "Delta", ptx.RawOtlp("ZSTD")))
    keys = "protocol timeout_ms export_interval_ms export_timeout_ms temporality compression"
    assert [metric[key] for key in keys.split()] == ["http/protobuf", 1, 2, 3, "delta", "zstd"]
    log = sink_of(ptx.OtlpLogSink("x", "grpc", {}, 1, 22, 2, 3, 4, ptx.RawOtlp()))
    keys = "timeout_ms batch_max_queue batch_max_export batch_schedule_delay_ms max_export_timeout_ms compression"
    assert [log[key] for key in keys.split()] == [1, 22, 2, 3, 4, "none"]
    sls = sink_of(ptx.SlsLogSink("e", "p", "l", "i", "s", "topic", "source"))
    assert [sls["topic"], sls["source"], sls["ak_id"], sls["ak_secret"]] == ["topic", "source", "***", "***"]


def test_what_goes_to_the_console() -> None:
    def console(config: ptx.Config) -> list[bool]:
        about = config.describe()
        return [
            about["console_spans"],
            about["console_metrics"],
            about["console_logs"],
            about["console_output"],
        ]

    sinks = [ptx.TraceSink("x")]
    assert console(ptx.Config("s")) == [True, True, True, True]
    assert console(ptx.Config("s", sinks=sinks)) == [False, False, True, True]
    assert console(ptx.Config("s", console_output=True, sinks=sinks)) == [True, True, True, True]
    assert console(ptx.Config("s", console_output=False)) == [False, False, False, False]


def test_resource_attributes_keep_their_types() -> None:
    attributes = {
        "s": "t",
        "b": True,
        "i": 1,
        "f": 0.5,
        "l": ["a", 1],
        "t": (1.5,),
        "big": 2**64,
        "none": None,
        "x": "\udc80",
    }
    seen = ptx.Config("svc", attributes).describe()["resource_attributes"]
    expected = {
        "s": "t",
        "b": True,
        "i": 1,
        "f": 0.5,
        "l": ["a", 1],
        "t": [1.5],
        "big": str(2**64),
        "x": "\ufffd",
    }
    assert {key: seen.get(key) for key in expected} == expected
    assert type(seen["b"]) is bool
    assert "none" not in seen
    assert seen["service.name"] == "svc"
    assert seen["process.runtime.name"] == "cpython"


def test_numbers_beyond_the_wire_mean_the_largest() -> None:
    sink = sink_of(
        ptx.TraceSink("x", timeout_ms=2**200, max_links_per_span=2**40, sampler_arg=7, sampler="traceidratio")
    )
    assert [sink["timeout_ms"], sink["max_links_per_span"], sink["sampler_arg"]] == [
        365 * 86_400_000,
        2**32 - 1,
        1.0,
    ]
    assert ptx.Config("s", lane_budget_bytes=1 << 20).describe()["ring_capacity"] == 1 << 20


def test_a_sinks_own_value_limit_wins() -> None:
    sinks = [ptx.TraceSink("x"), ptx.TraceSink("x", max_attribute_value_length=9), ptx.OtlpLogSink("x")]
    about = described(*sinks, max_attribute_value_length=5)
    assert [sink["max_attribute_value_length"] for sink in about["sinks"]] == [5, 9, 5]


def test_a_sinks_own_compression_wins() -> None:
    assert (
        sink_of(ptx.TraceSink("x", raw_otlp=ptx.RawOtlp("gzip"), compression="none"))["compression"] == "none"
    )


def test_certificates_are_given_as_paths(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    client = trustme.CA().issue_cert("client")
    client.cert_chain_pems[0].write_to_path(cert)
    client.private_key_pem.write_to_path(key)
    sink = sink_of(ptx.TraceSink("x", ca_file=cert, client_cert_file=str(cert), client_key_file=key))
    seen = [sink["ca_file"], sink["client_cert_file"], sink["client_key_file"]]
    assert seen == [str(cert), str(cert), str(key)]
    with pytest.raises(ptx.ConfigError, match="client_cert_file needs client_key_file"):
        ptx.TraceSink("x", client_cert_file=cert)


def test_repr() -> None:
    config = ptx.Config("it's\n", sinks=[ptx.TraceSink("x"), ptx.SlsLogSink(**SLS)])
    assert (
        repr(config)
        == 'Config(service_name="it\'s\\n", traces=1, metrics=0, otlp_logs=0, sls_logs=1, console=true)'
    )
    assert (
        repr(ptx.TraceSink("https://h/secret"))
        == "TraceSink(endpoint='https://h:443/…', protocol='http/protobuf')"
    )
    assert repr(ptx.SlsLogSink(**SLS)) == (
        "SlsLogSink(endpoint='https://cn-hangzhou.log.aliyuncs.com:443/…', project='p', logstore='l')"
    )
    assert repr(ptx.RawOtlp("none")) == "RawOtlp(compression='none')"


@pytest.mark.parametrize(
    "name", ["Config", "TraceSink", "MetricSink", "OtlpLogSink", "SlsLogSink", "RawOtlp"]
)
def test_help_shows_every_argument(name: str) -> None:
    made = getattr(ptx, name)
    parameters = inspect.signature(made).parameters
    assert parameters
    missing = [
        p for p in parameters if not re.search(rf"^    [\w, ]*\b{p}\b[\w, ]*:", made.__doc__, re.MULTILINE)
    ]
    assert missing == []
    assert "ConfigError" in made.__doc__
