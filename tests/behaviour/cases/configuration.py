"""Config and the sinks: arguments, defaults, refusals."""

from __future__ import annotations

from trial import Trial, case


@case()
def config_defaults(t: Trial) -> None:
    config = t.ptx.Config("svc")
    t.note("describe", config.describe())
    t.note("repr", repr(config))


@case()
def config_with_every_sink(t: Trial) -> None:
    ptx = t.ptx
    sinks = [
        ptx.TraceSink("https://collector:4317"),
        ptx.MetricSink("http://a/metrics", "http/protobuf"),
        ptx.OtlpLogSink("https://sls:10010"),
        ptx.SlsLogSink("cn-hangzhou.log.aliyuncs.com", "p", "l", "ak", "the-secret"),
    ]
    config = ptx.Config("svc", {"a": "b"}, sinks=sinks, console_output=True, console_format="json")
    t.note("describe", config.describe())
    t.note("repr_names_the_service", "service_name='svc'" in repr(config))
    t.note(
        "shows_the_secret", "the-secret" in repr(config) + repr(config.describe()) + "".join(map(repr, sinks))
    )
    t.note("sinks_as_tuple", ptx.Config("svc", sinks=tuple(sinks)).describe()["traces"])


@case(only="0.2.0")
def config_positional_order_0_2(t: Trial) -> None:
    t.note(
        "describe", t.ptx.Config("svc", {"a": "b"}, False, "warn", "pretty", "info,noisy=warn", []).describe()
    )


@case(only="0.3.0")
def config_positional_order_0_3(t: Trial) -> None:
    t.note("describe", t.ptx.Config("svc", {"a": "b"}, False, "pretty", []).describe())


@case()
def sink_positional_order(t: Trial) -> None:
    ptx = t.ptx
    raw = ptx.RawOtlp("gzip")
    t.note("raw", repr(raw))
    trace = (
        "http://a/t",
        "http/protobuf",
        {"h": "v"},
        1000,
        "always_on",
        1.0,
        9,
        8,
        7000,
        6000,
        5,
        4,
        3,
        2,
        1,
        raw,
    )
    metric = ("http://a/m", "http/protobuf", {"h": "v"}, 1000, 60000, 30000, "delta", raw)
    log = ("http://a/l", "http/protobuf", {"h": "v"}, 1000, 9, 8, 7000, 6000, raw)
    sls = ("e.example", "p", "l", "ak", "sk", "topic", "source")
    t.attempt("TraceSink", lambda: ptx.TraceSink(*trace))
    t.attempt("MetricSink", lambda: ptx.MetricSink(*metric))
    t.attempt("OtlpLogSink", lambda: ptx.OtlpLogSink(*log))
    t.attempt("SlsLogSink", lambda: ptx.SlsLogSink(*sls))


@case()
def config_errors(t: Trial) -> None:
    ptx = t.ptx
    t.attempt("no_service_name", lambda: ptx.Config())
    t.attempt("empty_service_name", lambda: ptx.Config(""))
    t.attempt("service_name_not_text", lambda: ptx.Config(7))
    t.attempt("console_format", lambda: ptx.Config("svc", console_format="xml"))
    t.attempt("console_format_upper_case", lambda: ptx.Config("svc", console_format="JSON"))
    t.attempt("sink_of_another_type", lambda: ptx.Config("svc", sinks=["http://a"]))
    t.attempt("resource_attribute_not_text", lambda: ptx.Config("svc", {"a": 1}))
    t.attempt("unknown_argument", lambda: ptx.Config("svc", colour=True))
    t.attempt("endpoint_missing", lambda: ptx.TraceSink())
    t.attempt("endpoint_empty", lambda: ptx.TraceSink(""))
    t.attempt("endpoint_blank", lambda: ptx.TraceSink("  "))
    t.attempt("protocol", lambda: ptx.TraceSink("http://a", protocol="thrift"))
    t.attempt("protocol_upper_case", lambda: ptx.TraceSink("http://a", protocol="GRPC"))
    for protocol in ("grpc", "http", "http/protobuf"):
        t.attempt(
            f"protocol_{protocol}", lambda protocol=protocol: ptx.TraceSink("http://a", protocol=protocol)
        )
    t.attempt("sampler", lambda: ptx.TraceSink("http://a", sampler="custom"))
    for sampler in ("always_on", "always_off", "parent_based_traceid_ratio"):
        t.attempt(f"sampler_{sampler}", lambda sampler=sampler: ptx.TraceSink("http://a", sampler=sampler))
    t.attempt("sampler_arg_above_one", lambda: ptx.TraceSink("http://a", sampler_arg=1.5))
    t.attempt("sampler_arg_negative", lambda: ptx.TraceSink("http://a", sampler_arg=-0.5))
    t.attempt("timeout_negative", lambda: ptx.TraceSink("http://a", timeout_ms=-1))
    t.attempt("batch_max_export_zero", lambda: ptx.TraceSink("http://a", batch_max_export=0))
    t.attempt("header_not_text", lambda: ptx.TraceSink("http://a", headers={"a": 1}))
    t.attempt("compression", lambda: ptx.RawOtlp("snappy"))
    t.attempt("compression_upper_case", lambda: ptx.RawOtlp("GZIP"))
    t.attempt("metric_endpoint_empty", lambda: ptx.MetricSink(""))
    t.attempt("temporality", lambda: ptx.MetricSink("http://a", temporality="sometimes"))
    t.attempt("log_endpoint_empty", lambda: ptx.OtlpLogSink(""))
    for empty in ("endpoint", "project", "logstore", "ak_id", "ak_secret"):
        sls = dict(endpoint="e", project="p", logstore="l", ak_id="a", ak_secret="s")
        sls[empty] = ""
        t.attempt(f"sls_{empty}_empty", lambda sls=sls: ptx.SlsLogSink(**sls))


@case()
def two_trace_sinks(t: Trial) -> None:
    ptx = t.ptx
    made = t.attempt(
        "config", lambda: ptx.Config("svc", sinks=[ptx.TraceSink("http://a"), ptx.TraceSink("http://b")])
    )
    if made is not None:
        t.note("traces", made.describe()["traces"])


@case()
def raw_otlp_repr(t: Trial) -> None:
    t.note("empty", repr(t.ptx.RawOtlp()))
    t.note("gzip", repr(t.ptx.RawOtlp(compression="gzip")))
