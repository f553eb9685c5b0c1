"""What a program can observe of pytracingx: small cases that run under any version of it.

`python cases.py NAME RESULT` runs one case in this process and writes its notes as JSON to the file RESULT. record.py
starts one fresh process a case, because a session is per process, with the variables ENDPOINT (a trace endpoint with its
path) and the standard streams captured. A case uses what 0.2.0 and 0.3.0 both have; one that uses less names its version.

Note keys that begin with `at_least_` hold names of which a later version may have more.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Optional

REMOTE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
NO_CONTEXT = {"trace_id": None, "span_id": None}

CASES: dict[str, "Case"] = {}


class Case:
    """A function of one `Trial`, the environment of its process, and the versions it is recorded for (None: all)."""

    def __init__(self, run: Callable[["Trial"], None], env: dict[str, str], only: Optional[str]) -> None:
        self.run = run
        self.env = env
        self.only = only


def case(*, env: Optional[dict[str, str]] = None, only: Optional[str] = None) -> Callable[..., Any]:
    """Register a function under its name."""

    def register(run: Callable[[Trial], None]) -> Callable[[Trial], None]:
        CASES[run.__name__] = Case(run, env or {}, only)
        return run

    return register


class Trial:
    """The hands of a case: the package under test and a place for what it observed."""

    def __init__(self) -> None:
        import pytracingx

        self.ptx = pytracingx
        self.endpoint = os.environ["ENDPOINT"]
        self.notes: dict[str, Any] = {}

    def config(self, *, sink: Optional[dict[str, Any]] = None, **config: Any) -> Any:
        """A quiet Config whose only sink sends when told to."""
        options = {"protocol": "http/protobuf", "batch_schedule_delay_ms": 60_000, **(sink or {})}
        config.setdefault("sinks", [self.ptx.TraceSink(self.endpoint, **options)])
        return self.ptx.Config(
            service_name=config.pop("service_name", "svc"), **{"console_output": False, **config}
        )

    def start(self, *, sink: Optional[dict[str, Any]] = None, **config: Any) -> Any:
        """Initialise, and return the package."""
        self.ptx.init(self.config(sink=sink, **config))
        return self.ptx

    def note(self, name: str, value: Any) -> None:
        """Keep an observed value."""
        assert name not in self.notes, name
        self.notes[name] = plain(value)

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """Keep what a call returns or raises; return what it returned."""
        try:
            value = call()
        except BaseException as error:
            bases = [base.__name__ for base in type(error).__mro__ if base not in (object, BaseException)]
            message = re.sub("0x[0-9a-f]+", "0x…", str(error).partition("\n")[0])
            self.note(name, {"raises": bases, "message": message})
            return None
        self.note(name, value)
        return value

    def note_current(self, name: str, **spans: Any) -> None:
        """Keep which of the given spans is current: its name, "nothing", or "another"."""
        current = self.ptx.current_trace_context()
        if current == NO_CONTEXT:
            self.note(name, "nothing")
            return
        ids = {span.span_id(): key for key, span in spans.items()}
        self.note(name, ids.get(current["span_id"], "another"))


def plain(value: Any) -> Any:
    """JSON of a value; objects become the name of their type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {"type": type(value).__name__}


class Unprintable:
    """An object whose `str()` raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Printable:
    """An object with a text."""

    def __str__(self) -> str:
        return "printable"


# Surface


@case()
def surface(t: Trial) -> None:
    ptx = t.ptx
    t.note("at_least_all", sorted(ptx.__all__))
    t.note("version_is_text", isinstance(ptx.__version__, str) and bool(ptx.__version__))
    for name in (
        "Config",
        "TraceSink",
        "MetricSink",
        "OtlpLogSink",
        "SlsLogSink",
        "RawOtlp",
        "Span",
        "ExtractedContext",
    ):
        t.note(f"at_least_{name}", [key for key in dir(getattr(ptx, name)) if not key.startswith("_")])


@case()
def keyword_names(t: Trial) -> None:
    ptx = t.ptx
    ptx.init(config=t.config())
    span = ptx.start_span(name="op", attributes={"a": 1}, kind="client")
    span.set_attribute(key="k", value=2)
    span.set_status(code="error", description="d")
    span.update_name(name="renamed")
    span.add_event(name="e", attributes={"x": 1})
    span.record_exception(exception=ValueError("v"), escaped=True)
    carrier: dict[str, str] = {}
    ptx.inject_headers(carrier=carrier)
    extracted = ptx.extract_headers(carrier=carrier)
    extracted.restore()
    span.end()
    ptx.shutdown()


@case()
def positional_arguments(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op", {"a": 1}, "server")
    span.set_status("error", "why")
    span.add_event("e", {"x": 1})
    span.record_exception(ValueError("v"), True)
    span.end()
    ptx.shutdown()


# Configuration


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


# Lifecycle


@case()
def before_init(t: Trial) -> None:
    ptx = t.ptx
    t.attempt("force_flush", ptx.force_flush)
    t.attempt("shutdown", ptx.shutdown)
    t.note("current", ptx.current_trace_context())
    span = t.attempt("start_span", lambda: ptx.start_span("early", {"a": 1}, "server"))
    if span is None:
        return
    t.note("is_recording", span.is_recording())
    t.note("has_ids", [span.trace_id() is not None, span.span_id() is not None])
    t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
    t.attempt("set_status", lambda: span.set_status("ok"))
    t.attempt("add_event", lambda: span.add_event("e"))
    t.attempt("record_exception", lambda: span.record_exception(ValueError("v")))
    t.attempt("unknown_kind", lambda: ptx.start_span("early", kind="weird"))
    headers: dict[str, str] = {}
    t.attempt("inject", lambda: ptx.inject_headers(headers))
    t.note("injected", sorted(headers))
    t.attempt("end", span.end)
    t.attempt("extract", lambda: ptx.extract_headers({"traceparent": REMOTE}).restore())
    t.attempt("init_afterwards", lambda: ptx.init(t.config()))
    with ptx.start_span("late"):
        pass
    ptx.shutdown()


@case()
def return_values(t: Trial) -> None:
    ptx = t.ptx
    t.attempt("init", lambda: ptx.init(t.config()))
    t.attempt("init_again", lambda: ptx.init(t.config()))
    span = t.attempt("start_span", lambda: ptx.start_span("op"))
    t.note("enter_is_the_span", span.__enter__() is span)
    t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
    t.attempt("set_status", lambda: span.set_status("unset"))
    t.attempt("update_name", lambda: span.update_name("op2"))
    t.attempt("add_event", lambda: span.add_event("e"))
    t.attempt("record_exception", lambda: span.record_exception(ValueError("v")))
    t.attempt("exit", lambda: span.__exit__(None, None, None))
    t.attempt("end_again", span.end)
    extracted = t.attempt("extract_headers", lambda: ptx.extract_headers({}))
    t.note("extracted_enter_is_itself", extracted.__enter__() is extracted)
    t.attempt("extracted_exit", lambda: extracted.__exit__(None, None, None))
    t.attempt("restore_after_exit", extracted.restore)
    t.attempt("inject_headers", lambda: ptx.inject_headers({}))
    t.attempt("force_flush", ptx.force_flush)
    t.attempt("force_flush_again", ptx.force_flush)
    t.attempt("shutdown", ptx.shutdown)
    t.attempt("shutdown_again", ptx.shutdown)
    t.attempt("force_flush_after_shutdown", ptx.force_flush)


@case(only="0.2.0")
def is_initialized(t: Trial) -> None:
    ptx = t.ptx
    t.note("before", ptx.is_initialized())
    t.start()
    t.note("between", ptx.is_initialized())
    ptx.shutdown()
    t.note("after", ptx.is_initialized())


@case()
def init_with_something_else(t: Trial) -> None:
    t.attempt("text", lambda: t.ptx.init("svc"))


@case()
def after_shutdown(t: Trial) -> None:
    ptx = t.start()
    held = ptx.start_span("held_over_shutdown")
    ptx.shutdown()
    t.attempt("end_held", held.end)
    span = t.attempt("start_span", lambda: ptx.start_span("late"))
    if span is None:
        return
    t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
    t.attempt("end", span.end)
    t.attempt("extract", lambda: ptx.extract_headers({"traceparent": REMOTE}).restore())
    headers: dict[str, str] = {}
    t.attempt("inject", lambda: ptx.inject_headers(headers))
    t.note_current("current")


@case()
def init_again_after_shutdown(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("first"):
        pass
    ptx.shutdown()
    t.attempt("init", lambda: ptx.init(t.config(service_name="svc2")))
    with ptx.start_span("second"):
        pass
    t.attempt("shutdown", ptx.shutdown)


@case()
def exit_without_shutdown(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op"):
        pass


@case()
def flush_sends(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("flushed"):
        pass
    ptx.force_flush()
    os._exit(0)


@case()
def dead_endpoint(t: Trial) -> None:
    ptx = t.ptx
    sink = ptx.TraceSink(
        "http://127.0.0.1:1/v1/traces", "http/protobuf", timeout_ms=300, max_export_timeout_ms=500
    )
    ptx.init(t.config(sinks=[sink]))
    with ptx.start_span("op"):
        pass
    t.attempt("force_flush", ptx.force_flush)
    t.attempt("shutdown", ptx.shutdown)


# Spans


@case()
def span_defaults(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op") as span:
        t.note("is_recording", span.is_recording())
        t.note("trace_id_is_hex", [len(span.trace_id()), span.trace_id() == span.trace_id().lower()])
        t.note("span_id_is_hex", [len(span.span_id()), span.span_id() == span.span_id().lower()])
    with ptx.start_span(""):
        pass
    with ptx.start_span("näme ⚡"):
        pass
    ptx.shutdown()


@case()
def span_kinds(t: Trial) -> None:
    ptx = t.start()
    for kind in ("internal", "server", "client", "producer", "consumer"):
        with ptx.start_span(f"kind_{kind}", kind=kind):
            pass
    for kind in ("SERVER", "Client", "", "weird", None, 1):
        t.attempt(f"kind_{kind!r}", lambda kind=kind: ptx.start_span("odd", kind=kind).end())
    ptx.shutdown()


@case()
def status_codes(t: Trial) -> None:
    ptx = t.start()
    for name, calls in {
        "ok": [("ok",)],
        "ok_described": [("ok", "ignored")],
        "error": [("error",)],
        "error_described": [("error", "why")],
        "unset": [("unset",)],
        "ok_then_error": [("ok",), ("error", "late")],
        "error_then_ok": [("error", "early"), ("ok",)],
        "error_then_unset": [("error", "early"), ("unset",)],
        "error_then_error": [("error", "early"), ("error", "late")],
    }.items():
        with ptx.start_span(name) as span:
            for call in calls:
                span.set_status(*call)
    with ptx.start_span("odd") as span:
        for code in ("OK", "Error", "bogus", "", None, 1):
            t.attempt(f"code_{code!r}", lambda code=code: span.set_status(code))
    ptx.shutdown()


@case()
def attribute_values(t: Trial) -> None:
    ptx = t.start()
    values = {
        "true": True,
        "false": False,
        "int": 42,
        "int_negative": -7,
        "int_max": 2**63 - 1,
        "int_min": -(2**63),
        "float": 1.5,
        "float_inf": float("inf"),
        "float_whole": 2.0,
        "text": "value",
        "text_empty": "",
        "text_unicode": "déjà ⚡",
        "text_with_nul": "a\0b",
        "decimal": Decimal("1.50"),
        "object": Printable(),
        "set": {1},
        "type": int,
        "none": None,
        "bytes": b"raw",
        "list_of_text": ["a", "b"],
        "list_of_int": [1, 2],
        "list_mixed": [1, "a", 2.5, True],
        "list_empty": [],
        "tuple": ("a", "b"),
        "dict": {"a": 1},
        "nested": [[1], [2]],
        "int_too_large": 2**63,
        "int_huge": 10**30,
        "surrogate": "\ud800",
        "unprintable": Unprintable(),
    }
    for name, value in values.items():
        with ptx.start_span(f"set_{name}") as span:
            t.attempt(f"set_{name}", lambda: span.set_attribute("k", value))
        t.attempt(f"start_{name}", lambda: ptx.start_span(f"start_{name}", {"k": value}).end())
        with ptx.start_span(f"event_{name}") as span:
            t.attempt(f"event_{name}", lambda: span.add_event("e", {"k": value}))
    ptx.shutdown()


@case()
def attribute_subclasses(t: Trial) -> None:
    class Text(str):
        pass

    class Number(int):
        pass

    ptx = t.start()
    with ptx.start_span("op", {"text": Text("t"), "number": Number(3), Text("key"): 1}):
        pass
    ptx.shutdown()


@case()
def attribute_keys(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op", {"a": 1}) as span:
        span.set_attribute("a", 2)
        span.set_attribute("b", 1)
        span.set_attribute("b", "replaced")
        t.attempt("key_empty", lambda: span.set_attribute("", 1))
        t.attempt("key_not_text", lambda: span.set_attribute(1, 1))
    t.attempt("start_key_not_text", lambda: ptx.start_span("odd_key", {1: 1, "kept": 1}).end())
    t.attempt("attributes_list", lambda: ptx.start_span("odd_list", [("a", 1)]).end())
    t.attempt("attributes_text", lambda: ptx.start_span("odd_text", "a=1").end())
    t.attempt("attributes_empty", lambda: ptx.start_span("empty", {}).end())
    ptx.shutdown()


@case()
def arguments_of_another_type(t: Trial) -> None:
    ptx = t.start()
    t.attempt("no_name", lambda: ptx.start_span())
    t.attempt("name_int", lambda: ptx.start_span(1).end())
    t.attempt("name_none", lambda: ptx.start_span(None).end())
    with ptx.start_span("op") as span:
        t.attempt("update_name_none", lambda: span.update_name(None))
        t.attempt("event_name_int", lambda: span.add_event(1))
        t.attempt("event_attributes_list", lambda: span.add_event("e", [1]))
        t.attempt("exception_text", lambda: span.record_exception("just text"))
        t.attempt("description_int", lambda: span.set_status("error", 5))
    ptx.shutdown()


@case()
def update_name(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("before") as span:
        span.update_name("between")
        span.update_name("after")
    ptx.shutdown()


@case()
def events(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op") as span:
        span.add_event("plain")
        span.add_event("with", {"step": 1, "text": "x"})
        span.add_event("plain")
    ptx.shutdown()


@case()
def exception_leaves_with(t: Trial) -> None:
    ptx = t.start()

    class Custom(RuntimeError):
        pass

    for name, error in {
        "value": ValueError("boom"),
        "custom": Custom("mine"),
        "empty": ValueError(),
        "keyboard": KeyboardInterrupt(),
        "exit": SystemExit(3),
        "generator": GeneratorExit(),
        "cancelled": asyncio.CancelledError(),
    }.items():

        def run(name: str = name, error: BaseException = error) -> None:
            with ptx.start_span(name):
                raise error

        t.attempt(name, run)
        t.note_current(f"{name}_current")
    ptx.shutdown()


@case()
def exception_without_text_leaves_with(t: Trial) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    ptx = t.start()
    try:
        with ptx.start_span("op"):
            raise Silent
    except Silent:
        t.note("left_with", "Silent")
    with ptx.start_span("recorded") as span:
        t.attempt("record", lambda: span.record_exception(Silent()))
    ptx.shutdown()


@case()
def exception_through_two_spans(t: Trial) -> None:
    ptx = t.start()
    try:
        with ptx.start_span("outer"), ptx.start_span("inner"):
            raise ValueError("boom")
    except ValueError:
        pass
    ptx.shutdown()


@case()
def exception_recorded_and_raised(t: Trial) -> None:
    ptx = t.start()
    try:
        with ptx.start_span("op") as span:
            try:
                raise ValueError("boom")
            except ValueError as error:
                span.record_exception(error)
                raise
    except ValueError:
        pass
    ptx.shutdown()


@case()
def record_exception(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("plain") as span:
        span.record_exception(ValueError("boom"))
    with ptx.start_span("escaped") as span:
        span.record_exception(KeyError("k"), escaped=True)
    with ptx.start_span("twice") as span:
        span.record_exception(ValueError("one"))
        span.record_exception(ValueError("two"))
    with ptx.start_span("then_ok") as span:
        span.record_exception(ValueError("boom"))
        span.set_status("ok")
    ptx.shutdown()


@case()
def status_set_before_an_exception(t: Trial) -> None:
    ptx = t.start()
    for code in ("ok", "error"):
        try:
            with ptx.start_span(code) as span:
                span.set_status(code, "mine")
                raise ValueError("boom")
        except ValueError:
            pass
    ptx.shutdown()


@case()
def use_after_end(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op")
    ids = (span.trace_id(), span.span_id())
    span.end()
    t.note("is_recording", span.is_recording())
    t.note("ids_stay", (span.trace_id(), span.span_id()) == ids)
    t.attempt("set_attribute", lambda: span.set_attribute("late", 1))
    t.attempt("set_status", lambda: span.set_status("error", "late"))
    t.attempt("update_name", lambda: span.update_name("late"))
    t.attempt("add_event", lambda: span.add_event("late"))
    t.attempt("record_exception", lambda: span.record_exception(ValueError("late")))
    t.attempt("unknown_status", lambda: span.set_status("bogus"))
    t.attempt("end", span.end)
    t.attempt("enter", lambda: span.__enter__() is span)
    t.attempt("exit", lambda: span.__exit__(None, None, None))
    ptx.shutdown()


@case()
def end_inside_with(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("outer") as outer:
        with ptx.start_span("inner") as inner:
            inner.end()
            t.note_current("after_end", outer=outer, inner=inner)
        t.note_current("after_with", outer=outer, inner=inner)
    ptx.shutdown()


@case()
def entered_twice(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op")
    with span:
        pass

    def again() -> None:
        with span:
            t.note_current("inside", op=span)

    t.attempt("again", again)
    ptx.shutdown()


@case()
def nesting(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("parent") as parent:
        t.note_current("in_parent", parent=parent)
        with ptx.start_span("child") as child:
            t.note_current("in_child", parent=parent, child=child)
            t.note("one_trace", child.trace_id() == parent.trace_id())
        t.note_current("after_child", parent=parent, child=child)
        with ptx.start_span("sibling"):
            pass
    t.note_current("after_parent", parent=parent)
    with ptx.start_span("unrelated"):
        pass
    ptx.shutdown()


@case()
def started_without_with(t: Trial) -> None:
    ptx = t.start()
    a = ptx.start_span("a")
    b = ptx.start_span("b")
    t.note_current("current", a=a, b=b)
    b.end()
    t.note_current("after_b", a=a, b=b)
    a.end()
    t.note_current("after_a", a=a, b=b)
    ptx.shutdown()


@case()
def ended_out_of_order(t: Trial) -> None:
    ptx = t.start()
    a = ptx.start_span("a")
    b = ptx.start_span("b")
    t.attempt("end_a", a.end)
    t.note_current("after_a", a=a, b=b)
    with ptx.start_span("c"):
        pass
    t.attempt("end_b", b.end)
    t.note_current("after_b", a=a, b=b)
    ptx.shutdown()


@case()
def never_ended(t: Trial) -> None:
    ptx = t.start()
    kept = ptx.start_span("kept")
    ptx.shutdown()
    t.note("is_recording", kept.is_recording())


@case()
def dropped_unended(t: Trial) -> None:
    ptx = t.start()

    def leak() -> None:
        ptx.start_span("leaked")

    contextvars.copy_context().run(leak)
    gc.collect()
    t.note_current("current")
    ptx.shutdown()


@case()
def dropped_unended_while_current(t: Trial) -> None:
    ptx = t.start()
    ptx.start_span("leaked")
    gc.collect()
    t.note("something_is_current", ptx.current_trace_context() != NO_CONTEXT)
    with ptx.start_span("next"):
        pass
    ptx.shutdown()


@case()
def limits(t: Trial) -> None:
    ptx = t.start(
        sink={"max_attributes_per_span": 2, "max_events_per_span": 2, "max_attributes_per_event": 1}
    )
    with ptx.start_span("op", {"a": 1, "b": 2, "c": 3}) as span:
        span.set_attribute("d", 4)
        for number in range(4):
            span.add_event(f"e{number}", {"x": 1, "y": 2})
    ptx.shutdown()


@case()
def default_limits(t: Trial) -> None:
    ptx = t.start()
    with ptx.start_span("op") as span:
        for number in range(130):
            span.set_attribute(f"a{number:03}", number)
            span.add_event(f"e{number:03}")
    ptx.shutdown()


# Threads and tasks


@case()
def threads_start_without_a_parent(t: Trial) -> None:
    ptx = t.start()

    def work() -> None:
        t.note_current("in_thread")
        with ptx.start_span("in_thread"):
            pass

    with ptx.start_span("main"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        context = contextvars.copy_context()

        def carried() -> None:
            with ptx.start_span("in_copied_context"):
                pass

        thread = threading.Thread(target=context.run, args=(carried,))
        thread.start()
        thread.join()
    ptx.shutdown()


@case()
def used_on_another_thread(t: Trial) -> None:
    ptx = t.start()
    span = ptx.start_span("op")

    def work() -> None:
        t.attempt("set_attribute", lambda: span.set_attribute("k", 1))
        t.attempt("end", span.end)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    t.attempt("end_at_home", span.end)
    t.note_current("current", op=span)
    ptx.shutdown()


@case()
def tasks_inherit_the_parent(t: Trial) -> None:
    ptx = t.start()

    async def child(name: str) -> None:
        with ptx.start_span(name) as span:
            await asyncio.sleep(0)
            t.note_current(f"in_{name}", **{name: span})

    async def main() -> None:
        with ptx.start_span("parent") as parent:
            await asyncio.gather(child("a"), child("b"))
            t.note_current("after_gather", parent=parent)

    asyncio.run(main())
    ptx.shutdown()


@case()
def task_outlives_its_parent(t: Trial) -> None:
    ptx = t.start()

    async def child() -> None:
        with ptx.start_span("child"):
            await asyncio.sleep(0)

    async def main() -> None:
        with ptx.start_span("parent"):
            task = asyncio.create_task(child())
        await task
        t.note_current("after")

    asyncio.run(main())
    ptx.shutdown()


@case()
def span_left_open_in_a_task(t: Trial) -> None:
    ptx = t.start()
    opened = []

    async def child() -> None:
        opened.append(ptx.start_span("child"))

    async def main() -> None:
        with ptx.start_span("parent") as parent:
            await asyncio.create_task(child())
            t.note_current("after_task", parent=parent, child=opened[0])
            t.attempt("end_elsewhere", opened[0].end)
            t.note_current("after_end", parent=parent, child=opened[0])

    asyncio.run(main())
    ptx.shutdown()


@case()
def generator_holds_a_span(t: Trial) -> None:
    ptx = t.start()

    def rows() -> Any:
        with ptx.start_span("generator"):
            yield 1
            yield 2

    with ptx.start_span("main") as main:
        for _ in rows():
            with ptx.start_span("body"):
                pass
        t.note_current("after", main=main)
    ptx.shutdown()


# Propagation


@case()
def inject(t: Trial) -> None:
    ptx = t.start()
    empty: dict[str, str] = {}
    ptx.inject_headers(empty)
    t.note("without_a_span", empty)
    with ptx.start_span("op") as span:
        headers = {"kept": "1"}
        ptx.inject_headers(headers)
        t.note("keys", sorted(headers))
        t.note("as_specified", headers["traceparent"] == f"00-{span.trace_id()}-{span.span_id()}-01")
        t.note("tracestate", headers.get("tracestate"))
        t.attempt("into_none", lambda: ptx.inject_headers(None))
        t.attempt("into_a_list", lambda: ptx.inject_headers([]))
    ptx.shutdown()


@case()
def extract(t: Trial) -> None:
    ptx = t.start()
    with ptx.extract_headers({"traceparent": REMOTE, "tracestate": "a=1,b=2"}) as extracted:
        t.note("type", extracted)
        t.note("current", ptx.current_trace_context())
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        t.note("injected", headers)
        with ptx.start_span("server", kind="server"):
            inner: dict[str, str] = {}
            ptx.inject_headers(inner)
            t.note("tracestate_of_child", inner.get("tracestate"))
    t.note_current("after")
    ptx.shutdown()


@case()
def extract_without_with(t: Trial) -> None:
    ptx = t.start()
    extracted = ptx.extract_headers({"traceparent": REMOTE})
    t.note("active_at_once", ptx.current_trace_context()["trace_id"])
    with ptx.start_span("server"):
        pass
    t.attempt("restore", extracted.restore)
    t.note_current("after")
    t.attempt("restore_again", extracted.restore)
    t.attempt("restore_context_of_it", lambda: ptx.restore_context(extracted))
    ptx.shutdown()


@case()
def extract_invalid(t: Trial) -> None:
    ptx = t.start()
    for name, value in {
        "missing": None,
        "empty": "",
        "words": "not a traceparent",
        "zero_trace": "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "zero_span": "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "upper_case": REMOTE.upper(),
        "version_ff": "ff" + REMOTE[2:],
        "future_version": "cc" + REMOTE[2:] + "-what",
        "version_00_longer": REMOTE + "-what",
        "short": REMOTE[:-1],
        "spaces": f" {REMOTE} ",
    }.items():
        with ptx.start_span(f"around_{name}"):
            with t.ptx.extract_headers({} if value is None else {"traceparent": value}):
                current = ptx.current_trace_context()
                t.note(
                    name,
                    "remote"
                    if current["trace_id"] == REMOTE[3:35]
                    else "none"
                    if current == NO_CONTEXT
                    else "around",
                )
                with ptx.start_span(f"under_{name}"):
                    pass
    ptx.shutdown()


@case()
def extract_carriers(t: Trial) -> None:
    ptx = t.start()

    def trace_of(carrier: Any) -> Any:
        with ptx.extract_headers(carrier):
            return ptx.current_trace_context()["trace_id"]

    t.attempt("capitals", lambda: trace_of({"Traceparent": REMOTE}))
    t.attempt("upper_case", lambda: trace_of({"TRACEPARENT": REMOTE}))
    t.attempt("bytes", lambda: trace_of({"traceparent": REMOTE.encode()}))
    t.attempt("pairs", lambda: trace_of([("traceparent", REMOTE)]))
    t.attempt("none", lambda: trace_of(None))
    t.attempt("bad_tracestate", lambda: trace_of({"traceparent": REMOTE, "tracestate": "=,=,"}))
    ptx.shutdown()


@case()
def extract_unsampled(t: Trial) -> None:
    ptx = t.start()
    with ptx.extract_headers({"traceparent": UNSAMPLED}):
        with ptx.start_span("unsampled") as span:
            t.note("is_recording", span.is_recording())
            t.note("continues_the_trace", span.trace_id() == UNSAMPLED[3:35])
            headers: dict[str, str] = {}
            ptx.inject_headers(headers)
            t.note("flags", headers["traceparent"][-2:])
    ptx.shutdown()


@case()
def restore_context(t: Trial) -> None:
    ptx = t.start()
    other = contextvars.ContextVar("other")
    t.attempt("none", lambda: ptx.restore_context(None))
    t.attempt("text", lambda: ptx.restore_context("token"))
    t.attempt("foreign_token", lambda: ptx.restore_context(other.set(1)))
    ptx.shutdown()


@case()
def restored_before_the_span_ends(t: Trial) -> None:
    ptx = t.start()
    extracted = ptx.extract_headers({"traceparent": REMOTE})
    span = ptx.start_span("server")
    t.attempt("restore", extracted.restore)
    t.note_current("after_restore", server=span)
    t.attempt("end", span.end)
    t.note("after_end", ptx.current_trace_context())
    ptx.shutdown()


# Sampling


def sampled(t: Trial, sampler: str, argument: Optional[float]) -> None:
    ptx = t.start(sink={"sampler": sampler, "sampler_arg": argument})
    with ptx.start_span("root") as span:
        t.note("is_recording", span.is_recording())
        t.note("has_ids", [span.trace_id() is not None, span.span_id() is not None])
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        t.note("flags", headers["traceparent"][-2:] if headers else None)
        with ptx.start_span("child"):
            pass
    for name, remote in {"under_sampled": REMOTE, "under_unsampled": UNSAMPLED}.items():
        with ptx.extract_headers({"traceparent": remote}), ptx.start_span(name):
            pass
    ptx.shutdown()


@case()
def sampler_always_on(t: Trial) -> None:
    sampled(t, "always_on", None)


@case()
def sampler_always_off(t: Trial) -> None:
    sampled(t, "always_off", None)


@case()
def sampler_ratio_default(t: Trial) -> None:
    sampled(t, "parent_based_traceid_ratio", None)


@case()
def sampler_ratio_zero(t: Trial) -> None:
    sampled(t, "parent_based_traceid_ratio", 0.0)


# On the wire


@case()
def request(t: Trial) -> None:
    ptx = t.start(sink={"headers": {"x-token": "secret", "X-Upper": "1"}})
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


@case()
def request_gzip(t: Trial) -> None:
    ptx = t.start(sink={"raw_otlp": t.ptx.RawOtlp("gzip")})
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


@case()
def request_batches(t: Trial) -> None:
    ptx = t.start(sink={"batch_max_export": 4})
    for number in range(10):
        with ptx.start_span(f"op{number}"):
            pass
    ptx.shutdown()


@case()
def resource(t: Trial) -> None:
    ptx = t.start(
        service_name="named", resource_attributes={"deployment.environment": "prod", "service.name": "other"}
    )
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


@case(env={"OTEL_SERVICE_NAME": "from-env", "OTEL_RESOURCE_ATTRIBUTES": "a=1,b=x%20y,service.name=third"})
def resource_and_environment(t: Trial) -> None:
    ptx = t.start(service_name="named", resource_attributes={"a": "2"})
    with ptx.start_span("op"):
        pass
    ptx.shutdown()


# Console: what goes where; the text itself is each version's own


def console(t: Trial, **config: Any) -> None:
    ptx = t.ptx
    ptx.init(ptx.Config("svc", **config))
    with ptx.start_span("visible-span", {"visible-key": "visible-value"}) as span:
        span.add_event("visible-event")
    ptx.shutdown()


@case()
def console_by_default(t: Trial) -> None:
    console(t)


@case()
def console_pretty(t: Trial) -> None:
    console(t, console_format="pretty")


@case()
def console_json(t: Trial) -> None:
    console(t, console_format="json")


@case()
def console_off(t: Trial) -> None:
    console(t, console_output=False)


@case()
def console_with_a_sink(t: Trial) -> None:
    console(t, sinks=[t.ptx.TraceSink(t.endpoint, "http/protobuf")])


@case()
def console_on_with_a_sink(t: Trial) -> None:
    console(t, sinks=[t.ptx.TraceSink(t.endpoint, "http/protobuf")], console_output=True)


@case(env={"RUST_LOG": "off"})
def console_filtered_by_environment(t: Trial) -> None:
    console(t)


def main() -> None:
    name, result = sys.argv[1:]
    trial = Trial()
    try:
        CASES[name].run(trial)
    finally:
        with open(result, "w") as file:
            json.dump(trial.notes, file)


if __name__ == "__main__":
    main()
