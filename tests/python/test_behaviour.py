"""Programs written for 0.2.0 and 0.3.0 run unchanged: what those showed, recorded by running them, is what
this shows.

The cases are tests/behaviour/cases, the recordings tests/behaviour/*.json. A recording is met when
everything in it is seen again; other notes may be there too. Wherever we differ on purpose, DIFFERENCES says
where, how and why, and a difference that no longer is one fails. Four rules hold everywhere:

- an error is met by one of the same type (or a subclass) with the same first words, up to the first quote or
  comma
- a list under a key `at_least_…` is met by a superset
- measurements are compared by value: ints of ours stay ints, where 0.2 and 0.3 sent doubles
- spans are compared by name, and everything sent about them must be the same, with nothing added but the
  random bit of the trace flags: our trace ids are random, and W3C Trace Context level 2 has us say so
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

BEHAVIOUR = Path(__file__).parents[1] / "behaviour"
sys.path.insert(0, str(BEHAVIOUR))

from cases import CASES  # noqa: E402
from record import observe  # noqa: E402

RECORDED = {
    version: json.loads((BEHAVIOUR / f"{version}.json").read_text()) for version in ("0.2.0", "0.3.0")
}

Path_ = tuple[Any, ...]
RANDOM_TRACE_ID = 2  # the trace flag

ABSENT = "<absent>"  # the recorded entry is not there
ANYTHING = "<anything>"  # the entry, or its absence, is not compared


class Differs:
    """Ours instead of the recorded value at some paths of a case.

    A path is `("notes", name, …)` or `("spans", name, field, …)`; "*" stands for every span, and the second
    span of a name is `name#1`. `only` names the version that differs.
    """

    def __init__(self, case: str, reason: str, ours: dict[Path_, Any], only: str | None = None) -> None:
        self.case = case
        self.reason = reason
        self.ours = ours
        self.only = only


DEGRADES = "nothing that records raises: a value of another type degrades and is counted"
RENAMED = "update_name works (0.2 and 0.3 went on sending the first name)"
EXCEPTION = "an exception event carries type, message and stack trace (0.3's `with` sent the message alone)"
OTHER_NAMES = "unknown enumerated values are matched without regard to case"
RANDOM = "trace ids of ours are random, and the trace flags say so"
CARRIERS = "header names in any case; carriers of pairs and of bytes"


def same(value: Any, *paths: Any) -> dict[Any, Any]:
    """One value at several paths."""
    return dict.fromkeys(paths, value)


def span(name: str, **more: Any) -> dict[str, Any]:
    """A root span with nothing special about it, and more."""
    plain = {
        "flags": 257,
        "kind": "internal",
        "status": "unset",
        "times_in_order": True,
        "trace": f"of {name}",
    }
    return {"name": name, **plain, **more}


def exception(kind: str, message: str) -> list[dict[str, Any]]:
    """The events of a span that one exception left; stack trace and `exception.escaped` are not compared."""
    attributes = {"exception.type": kind, "exception.message": message}
    attributes.update(same(ANYTHING, "exception.stacktrace", "exception.escaped"))
    return [{"name": "exception", "attributes": attributes}]


def stack_traces(*events: Path_) -> dict[Path_, Any]:
    """The stack trace that we add to the recorded exception events, given as (span, index)."""
    return {
        ("spans", name, "events", n, "attributes", "exception.stacktrace"): ANYTHING for name, n in events
    }


SEVERITIES = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}


def log(body: Any, level: str, scope: str, **more: Any) -> dict[str, Any]:
    """A log record with nothing special about it, and more."""
    severity = [SEVERITIES[level], level.upper()] if level else ANYTHING
    return {"body": body, "severity": severity, "scope": scope, "times": [True, True], **more}


def filtered(**least: str) -> list[dict[str, Any]]:
    """The records of logs.filtered: by logger the least level that passes."""
    levels = list(SEVERITIES)
    return [
        log(f"{name} {level}", level, name)
        for name in ("app", "app.db", "noisy.lib")
        for level in levels[levels.index(least.get(name.partition(".")[0], least["others"])) :]
    ]


BRIDGED = {
    "code.function": ANYTHING,
    "thread.name": "MainThread",
    **dict.fromkeys(("code.filepath", "code.lineno", "thread.id", "process.pid"), "…"),
}


def bridged(body: str, level: str, name: str = "bridged", **more: Any) -> dict[str, Any]:
    """A record that came through the standard library's logging."""
    attributes = {"logger.name": name, **BRIDGED, **more.pop("attributes", {})}
    return log(body, level, name, attributes=attributes, **more)


IN_OP = {"trace": "of op", "flags": 3}
LOGS = {
    "log_levels": [log(f"at {level}", level, "orders") for level in SEVERITIES],
    "log_in_a_span": [
        log("outside", "info", "orders"),
        log("inside", "info", "orders", attributes={"k": "v", "n": 1, "x": 1.5, "yes": True}, **IN_OP),
    ],
    "log_attribute_values": [
        log("none", "info", "l"),
        *(
            log(name, "info", "l", attributes={"k": value})
            for name, value in {
                "list": [1, "a"],
                "dict": {"a": 1},
                "bytes": {"base64": "cmF3"},
                "object": "v",
                "int_too_large": str(2**63),
                "surrogate": "\N{REPLACEMENT CHARACTER}",
            }.items()
        ),
        log("key", "info", "l", attributes={"1": "a"}),
        log("list_of_pairs", "info", "l"),
    ],
    "log_arguments": [log(1, "info", "l"), log("None", "info", "l")],
    "log_emitted": [
        *(log(f"at {n}", "", "app", severity=[n, f"TEXT{n}"]) for n in (0, 1, 4, 5, 9, 10, 13, 17, 21, 24)),
        log("with attributes", "info", "app", attributes={"k": 1}),
        *(log("odd", "", "app") for _ in range(3)),
    ],
    "log_bridge": [
        bridged("3 items", "info", attributes={"size": 7, "tags": ["a"]}, **IN_OP),
        bridged("warning", "warn"),
        bridged("critical", "fatal"),
        bridged(
            "failed",
            "error",
            attributes={
                "exception.type": "ValueError",
                "exception.message": "boom",
                "exception.stacktrace": "…",
            },
        ),
        bridged("%d", "info"),
    ],
    "log_bridge_installed": [bridged("from any logger", "info", "any")],
    "log_before_init": [log("late", "info", "l")],
    "log_flush": [log("flushed", "info", "l")],
    "log_filter_default": filtered(others="info"),
    "log_filter_warn": filtered(others="warn"),
    "log_filter_target": filtered(others="debug"),
    "log_filter_by_logger": filtered(others="warn", app="debug"),
}


def attribute_value_differences() -> dict[Path_, Any]:
    """Ours for each value that 0.3 turned into text, or refused, in the three ways of setting it."""
    exported = {
        "bytes": {"base64": "cmF3"},
        "list_of_text": ["a", "b"],
        "list_of_int": [1, 2],
        "list_mixed": [1, "a", 2.5, True],
        "list_empty": [],
        "tuple": ["a", "b"],
        "dict": {"a": 1},
        "nested": [[1], [2]],
        "int_too_large": str(2**63),
        "int_huge": str(10**30),
        "surrogate": "\N{REPLACEMENT CHARACTER}",
        "unprintable": "Unprintable",
    }
    refused = ("int_too_large", "int_huge", "surrogate", "unprintable")
    ours: dict[Path_, Any] = {}
    for name, value in exported.items():
        attributes = {"k": value}
        ours[("spans", f"set_{name}", "attributes")] = attributes
        if name in refused:
            ours[("spans", f"start_{name}")] = span(f"start_{name}", attributes=attributes)
        else:
            ours[("spans", f"start_{name}", "attributes")] = attributes
        ours[("spans", f"event_{name}", "events")] = [{"name": "e", "attributes": attributes}]
    for name in refused:
        ours.update(same(None, *(("notes", f"{way}_{name}") for way in ("set", "start", "event"))))
    ours[("spans", "set_none", "attributes")] = ABSENT
    ours[("spans", "start_none", "attributes")] = ABSENT
    ours[("spans", "event_none", "events")] = [{"name": "e", "attributes": {}}]
    return ours


DIFFERENCES = [
    # Surface and configuration
    Differs(
        "config_defaults",
        "console_output=None: spans go to the console only when there are no sinks; describe() counts",
        {("notes", "describe", "console_output"): ANYTHING, ("notes", "repr"): ANYTHING},
    ),
    Differs(
        "two_trace_sinks",
        "several sinks of one kind are allowed, as in 0.3",
        {("notes", "config"): {"type": "Config"}, ("notes", "traces"): 2},
        only="0.2.0",
    ),
    Differs(
        "config_errors",
        "choices are matched without regard to case, and what could never work is refused at once",
        {
            ("notes", "console_format_upper_case"): {"type": "Config"},
            ("notes", "protocol_upper_case"): {"type": "TraceSink"},
            ("notes", "resource_attribute_not_text"): ANYTHING,
            ("notes", "endpoint_blank"): ANYTHING,
            ("notes", "timeout_negative"): ANYTHING,
            ("notes", "batch_max_export_zero"): ANYTHING,
            ("notes", "sampler_arg_above_one"): ANYTHING,
            ("notes", "sampler_arg_negative"): ANYTHING,
            **same(
                {"raises": ["RuntimeError"], "message": "must not be empty"},
                ("notes", "sls_ak_id_empty"),
                ("notes", "sls_ak_secret_empty"),
            ),
        },
    ),
    # Lifecycle
    Differs(
        "before_init",
        "calls before init are cheap no-ops (0.2 raised RuntimeError)",
        {("notes", "start_span"): {"type": "Span"}, ("spans", "late"): span("late")},
        only="0.2.0",
    ),
    Differs(
        "return_values",
        "force_flush and shutdown tell whether everything was delivered",
        same(
            True,
            *(
                ("notes", name)
                for name in (
                    "force_flush",
                    "force_flush_again",
                    "shutdown",
                    "shutdown_again",
                    "force_flush_after_shutdown",
                )
            ),
        ),
    ),
    Differs("return_values", RENAMED, {("spans", "op"): ABSENT, ("spans", "op2"): ANYTHING}),
    Differs(
        "before_init",
        "force_flush and shutdown tell whether everything was delivered",
        same(True, ("notes", "force_flush"), ("notes", "shutdown")),
    ),
    Differs(
        "init_again_after_shutdown",
        "force_flush and shutdown tell whether everything was delivered",
        {("notes", "shutdown"): True},
    ),
    Differs(
        "dead_endpoint",
        "force_flush and shutdown tell that something was not delivered",
        same(ANYTHING, ("notes", "force_flush"), ("notes", "shutdown")),
    ),
    Differs(
        "after_shutdown",
        "calls without a session are cheap no-ops (0.2 raised RuntimeError)",
        {("notes", "start_span"): {"type": "Span"}},
        only="0.2.0",
    ),
    Differs(
        "init_again_after_shutdown",
        "init may follow shutdown, as in 0.3 (0.2 took it and sent nothing)",
        {("spans", "second"): span("second")},
        only="0.2.0",
    ),
    Differs(
        "exit_without_shutdown",
        "at interpreter exit an initialised process flushes",
        {("spans", "op"): span("op")},
    ),
    # Spans
    Differs("keyword_names", RENAMED, {("spans", "op"): ABSENT, ("spans", "renamed"): ANYTHING}),
    Differs("positional_arguments", EXCEPTION, stack_traces(("op", 1))),
    Differs(
        "positional_arguments",
        "the last error's description stays (0.3 kept the one that sorts last)",
        {("spans", "op", "status_message"): "v"},
    ),
    Differs(
        "span_kinds",
        OTHER_NAMES,
        {
            **same(None, ("notes", "kind_'SERVER'"), ("notes", "kind_'Client'")),
            ("spans", "odd"): span("odd", kind="server"),
            ("spans", "odd#1"): span("odd", kind="client"),
        },
    ),
    Differs(
        "span_kinds",
        "a kind of another type is refused, with whichever error",
        same(ANYTHING, ("notes", "kind_None"), ("notes", "kind_1")),
    ),
    Differs("status_codes", OTHER_NAMES, same(None, ("notes", "code_'OK'"), ("notes", "code_'Error'"))),
    Differs(
        "status_codes",
        "a code of another type is refused, with whichever error",
        same(ANYTHING, ("notes", "code_None"), ("notes", "code_1")),
    ),
    Differs("status_codes", "the codes above were taken", {("spans", "odd", "status"): "ok"}),
    Differs(
        "attribute_values",
        "values keep their type; None is dropped; what could not be sent degrades",
        attribute_value_differences(),
    ),
    Differs(
        "attribute_keys",
        DEGRADES,
        {
            **same(
                None,
                *(
                    ("notes", n)
                    for n in ("key_not_text", "start_key_not_text", "attributes_list", "attributes_text")
                ),
            ),
            ("spans", "op", "repeated_attributes"): ABSENT,
            **same(ANYTHING, ("spans", "op", "attributes", ""), ("spans", "op", "attributes", "1")),
            ("spans", "op", "dropped_attributes"): ANYTHING,
            **same(ANYTHING, ("spans", "odd_key"), ("spans", "odd_list"), ("spans", "odd_text")),
        },
    ),
    Differs(
        "arguments_of_another_type",
        DEGRADES,
        {
            **same(
                None,
                *(
                    ("notes", n)
                    for n in (
                        "name_int",
                        "name_none",
                        "update_name_none",
                        "event_name_int",
                        "event_attributes_list",
                        "description_int",
                    )
                ),
            ),
            ("spans",): ANYTHING,
        },
    ),
    Differs("update_name", RENAMED, {("spans", "before"): ABSENT, ("spans", "after"): span("after")}),
    Differs(
        "exception_leaves_with",
        "KeyboardInterrupt, SystemExit and GeneratorExit are no errors; a cancelled task leaves an event",
        {
            **same(
                "unset", *(("spans", n, "status") for n in ("keyboard", "exit", "generator", "cancelled"))
            ),
            **same(ABSENT, *(("spans", n, "events") for n in ("keyboard", "exit", "generator"))),
            ("spans", "exit", "status_message"): ABSENT,
            ("spans", "cancelled", "events"): [{"name": "cancelled", "attributes": ANYTHING}],
        },
    ),
    Differs(
        "exception_leaves_with",
        EXCEPTION,
        {
            ("spans", "value", "events"): exception("ValueError", "boom"),
            ("spans", "custom", "events"): exception(ANYTHING, "mine"),
            ("spans", "empty", "events"): exception("ValueError", ""),
        },
    ),
    Differs(
        "exception_without_text_leaves_with",
        EXCEPTION,
        {("spans", "*", "events"): ANYTHING, ("spans", "*", "status_message"): ANYTHING},
    ),
    Differs(
        "exception_through_two_spans",
        EXCEPTION,
        same(exception("ValueError", "boom"), ("spans", "outer", "events"), ("spans", "inner", "events")),
    ),
    Differs(
        "exception_recorded_and_raised",
        "the same exception leaving `with` is not recorded twice",
        {("spans", "op", "events"): exception("ValueError", "boom")},
    ),
    Differs(
        "record_exception",
        EXCEPTION,
        stack_traces(("plain", 0), ("escaped", 0), ("twice", 0), ("twice", 1), ("then_ok", 0)),
    ),
    Differs(
        "status_set_before_an_exception",
        EXCEPTION,
        {("spans", "*", "events"): exception("ValueError", "boom")},
    ),
    Differs("use_after_end", "ids stay readable after the end", {("notes", "ids_stay"): True}),
    Differs(
        "never_ended",
        "is_recording is honest: without a session nothing is recorded",
        {("notes", "is_recording"): False},
        only="0.2.0",
    ),
    Differs(
        "dropped_unended_while_current",
        "a span that is current is referenced, so nothing ends it",
        {
            ("spans", "leaked"): ABSENT,
            ("spans", "next", "parent"): "unknown",
            ("spans", "next", "trace"): "of next",
        },
    ),
    Differs(
        "ended_out_of_order",
        "ending a span that is not current leaves that alone; then the nearest open ancestor is current",
        {
            ("notes", "after_a"): "b",
            ("notes", "after_b"): "nothing",
            ("spans", "c", "parent"): "b",
            ("spans", "c", "trace"): "of a",
        },
    ),
    Differs(
        "span_left_open_in_a_task",
        "a span may be ended on any thread or task",
        {("notes", "end_elsewhere"): None},
    ),
    Differs(
        "used_on_another_thread",
        "a span may be used and ended on any thread or task",
        {
            ("notes", "set_attribute"): None,
            ("notes", "end"): None,
            ("spans", "op", "attributes"): {"k": 1},
        },
    ),
    Differs(
        "limits",
        "0.3's own source attributes counted against the user's limit",
        {("spans", "op", "attributes"): {"a": 1, "b": 2}, ("spans", "op", "dropped_attributes"): 2},
    ),
    Differs(
        "default_limits",
        "0.3's own source attributes counted against the user's limit",
        {
            ("spans", "op", "attributes"): {f"a{n:03}": n for n in range(128)},
            ("spans", "op", "dropped_attributes"): 2,
        },
    ),
    # Propagation
    Differs(
        "inject",
        "no empty tracestate; a list gets pairs appended",
        {("notes", "tracestate"): None, ("notes", "keys"): ["kept", "traceparent"]},
    ),
    Differs(
        "inject", "a carrier of another type is counted, not refused", same(ANYTHING, ("notes", "into_none"))
    ),
    Differs("inject", CARRIERS, {("notes", "into_a_list"): None}),
    Differs(
        "extract_carriers",
        CARRIERS,
        same(
            "4bf92f3577b34da6a3ce929d0e0e4736",
            *(("notes", n) for n in ("capitals", "upper_case", "bytes", "pairs")),
        ),
    ),
    Differs(
        "extract_carriers", "a carrier of another type is counted, not refused", {("notes", "none"): ANYTHING}
    ),
    Differs(
        "extract_invalid",
        "W3C Trace Context to the letter: a traceparent of 54 characters is malformed",
        {
            ("notes", "short"): "none",
            ("spans", "under_short"): span("under_short"),
        },
    ),
    Differs("extract_unsampled", "is_recording is honest", {("notes", "is_recording"): False}),
    Differs(
        "extract_without_with",
        "restore_context takes what extract_headers returned",
        {("notes", "restore_context_of_it"): ANYTHING},
    ),
    Differs(
        "restored_before_the_span_ends",
        "a span that ends after what it was started in was restored makes nothing current again",
        {("notes", "after_end"): {"trace_id": None, "span_id": None}},
    ),
    Differs(
        "restore_context",
        "a token that is not ours is ignored",
        same(None, ("notes", "none"), ("notes", "text"), ("notes", "foreign_token")),
    ),
    # Sampling
    Differs("sampler_always_on", RANDOM, {("notes", "flags"): "03"}),
    Differs("sampler_ratio_default", RANDOM, {("notes", "flags"): "03"}),
    Differs("sampler_always_off", RANDOM, {("notes", "flags"): "02"}),
    Differs("sampler_ratio_zero", RANDOM, {("notes", "flags"): "02"}),
    Differs("sampler_always_off", "is_recording is honest", {("notes", "is_recording"): False}),
    Differs("sampler_ratio_zero", "is_recording is honest", {("notes", "is_recording"): False}),
    # On the wire
    Differs(
        "resource",
        "the SDK's language is that of its user, and its version is ours",
        same(
            ANYTHING,
            ("at_least_resource", "telemetry.sdk.language"),
            ("at_least_resource", "telemetry.sdk.version"),
        ),
    ),
    Differs(
        "resource_and_environment",
        "OTEL_RESOURCE_ATTRIBUTES is percent-decoded; language and version as above",
        {
            ("at_least_resource", "b"): "x y",
            **same(
                ANYTHING,
                ("at_least_resource", "telemetry.sdk.language"),
                ("at_least_resource", "telemetry.sdk.version"),
            ),
        },
    ),
    # Console: 0.2 and 0.3 announced spans in their documentation but printed none
    *(
        Differs(
            name,
            "spans are shown on the console, at their begin and end",
            {("console", "stderr"): {"anything": True, "visible": ANYTHING}},
        )
        for name in (
            "console_by_default",
            "console_pretty",
            "console_json",
            "console_on_with_a_sink",
            "console_filtered_by_environment",
        )
    ),
    *(
        Differs(
            name,
            "RUST_LOG filters the console, as in 0.3 (0.2 knew log_filter alone)",
            {("console", "stderr", "visible"): ANYTHING},
            only="0.2.0",
        )
        for name in ("console_logs_all_levels", "console_logs_by_target", "console_logs_errors")
    ),
    Differs(
        "console_logs_filter",
        "log_filter goes by logger name (0.2's directives of a name did nothing)",
        {("console", "stderr", "visible"): ANYTHING},
    ),
    Differs(
        "console_metrics",
        "metrics are shown on the console",
        {("console", "stderr"): {"anything": True, "visible": ["counter"]}},
    ),
    Differs(
        "console_with_a_sink",
        "with a sink, nothing but logs goes to the console (0.3 printed a line of its tracing library)",
        {("console", "stderr", "anything"): False},
        only="0.3.0",
    ),
    # Metrics
    Differs(
        "metric_kinds",
        "histograms of unit s have boundaries for seconds; one bucket without boundaries is sent",
        {
            ("metrics", "seconds", "points", 0, "bounds"): [
                *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
            ],
            ("metrics", "seconds", "points", 0, "counts"): [0, 0, 1, *[0] * 12],
            ("metrics", "unbounded", "points", 0, "counts"): [1],
        },
    ),
    Differs(
        "metric_sums",
        "a negative measurement of a histogram is ignored and counted",
        {
            ("metrics", "histogram", "points"): [
                {
                    "attributes": {},
                    "bounds": [0, 10],
                    "count": 4,
                    "counts": [1, 1, 2],
                    **{"min": 0, "max": 11, "sum": 31.5},
                }
            ]
        },
    ),
    Differs(
        "metric_unusual_values",
        "what a counter or a histogram cannot hold is ignored and counted; what is no number too; ints are exact",
        {
            **same(
                ABSENT,
                *(
                    ("metrics", f"{kind}_{value}")
                    for kind in ("counter", "histogram")
                    for value in ("negative", "nan", "infinity")
                ),
            ),
            **same(
                None,
                *(
                    ("notes", f"{kind}_{value}")
                    for kind in ("counter", "gauge", "histogram")
                    for value in ("none", "text")
                ),
            ),
            **same(
                2**53 + 1,
                *(("metrics", f"{kind}_large", "points", 0, "value") for kind in ("counter", "gauge")),
            ),
        },
    ),
    Differs(
        "metric_attribute_values",
        "values keep their type, None is dropped; nothing that records raises",
        {
            **same(None, *(("notes", name) for name in ("int_too_large", "key_not_text", "attributes_list"))),
            ("metrics", "counter", "points"): [
                {"attributes": attributes, "value": 2 if not attributes else 1}
                for attributes in (
                    {},
                    {"1": "a"},
                    {"bool": True},
                    {"bytes": {"base64": "cmF3"}},
                    {"dict": {"a": 1}},
                    {"empty": ""},
                    {"float": 1.5},
                    {"int": 3},
                    {"int_too_large": str(2**63)},
                    {"list": [1, 2]},
                    {"object": "v"},
                    {"text": "é"},
                )
            ],
        },
    ),
    Differs(
        "metric_arguments",
        "what could never work is refused at once",
        same(ANYTHING, ("notes", "boundaries_not_sorted"), ("notes", "empty_instrument")),
    ),
    Differs(
        "metric_flushes",
        "force_flush and shutdown tell whether everything was delivered",
        same(True, ("notes", "flush"), ("notes", "shutdown")),
    ),
    Differs(
        "metric_before_init",
        "meters may be had before init (0.2 raised RuntimeError), and their instruments work afterwards",
        {
            ("notes", "meter"): {"type": "Meter"},
            ("metrics", "early"): ANYTHING,
            ("metrics", "late"): ANYTHING,
        },
    ),
    # Logs
    *(
        Differs(name, "0.2 and 0.3 lost every log record sent over HTTP", {("logs",): records})
        for name, records in LOGS.items()
    ),
    Differs(
        "log_attribute_values",
        DEGRADES,
        same(
            None,
            *(("notes", n) for n in ("attributes_list", "bytes", "key_not_text", "object", "surrogate")),
        ),
    ),
    Differs(
        "log_arguments",
        DEGRADES,
        same(None, *(("notes", n) for n in ("emit_severity_text", "message_none", "message_not_text"))),
    ),
    Differs(
        "log_before_init",
        "loggers may be had before init (0.2 raised RuntimeError)",
        {("notes", "logger"): {"type": "Logger"}},
        only="0.2.0",
    ),
]


def by_name(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """Spans keyed by name; the second and later of one name get a number."""
    keyed: dict[str, Any] = {}
    for span in spans:
        number = sum(1 for key in keyed if key.partition("#")[0] == span["name"])
        keyed[f"{span['name']}#{number}" if number else span["name"]] = span
    return keyed


def expectation(version: str, case: str) -> dict[str, Any]:
    """The recording with our differences in place."""
    expected = json.loads(json.dumps(RECORDED[version][case]))
    expected["spans"] = by_name(expected["spans"])
    for difference in DIFFERENCES:
        if difference.case != case or difference.only not in (None, version):
            continue
        for path, ours in difference.ours.items():
            for place in (
                [path] if "*" not in path else [(*path[:1], name, *path[2:]) for name in expected["spans"]]
            ):
                put(expected, place, ours)
    return expected


def put(tree: Any, path: Path_, value: Any) -> None:
    *folders, leaf = path
    for folder in folders:
        tree = tree[folder] if isinstance(tree, list) else tree.setdefault(folder, {})
    tree[leaf] = value


def mismatches(expected: Any, seen: Any, path: Path_ = ()) -> list[str]:
    """Where what was seen falls short of what is expected."""
    where = ".".join(map(str, path))
    if expected == ANYTHING:
        return []
    if expected == ABSENT:
        return [] if seen == ABSENT else [f"{where}: expected nothing, saw {seen!r}"]
    if isinstance(expected, dict) and "raises" in expected:
        if not isinstance(seen, dict) or expected["raises"][0] not in seen.get("raises", ()):
            return [f"{where}: expected {expected['raises'][0]}, saw {seen!r}"]
        words = re.split("['\",;]", re.sub(r"^\w+Sink ", "", expected["message"]), maxsplit=1)[0]
        typed = expected["raises"][0] == "TypeError"  # its text is the binding's, not ours
        return (
            [] if typed or words in seen["message"] else [f"{where}: {words!r} is not in {seen['message']!r}"]
        )
    if isinstance(expected, dict) and isinstance(seen, dict):
        keys = [*expected, *(seen.keys() - expected.keys() if path[:1] == ("spans",) else ())]
        return [
            line
            for key in keys
            for line in mismatches(expected.get(key, ABSENT), seen.get(key, ABSENT), (*path, key))
        ]
    if path and str(path[-1]).startswith("at_least_") and isinstance(seen, list):
        missing = sorted(set(expected) - set(seen))
        return [f"{where}: missing {missing}"] if missing else []
    if isinstance(expected, list) and isinstance(seen, list) and len(expected) == len(seen):
        return [line for n in range(len(seen)) for line in mismatches(expected[n], seen[n], (*path, n))]
    if path[-1:] == ("flags",) and path[0] == "spans" and isinstance(seen, int):
        seen &= ~RANDOM_TRACE_ID
    one_type = isinstance(expected, bool) == isinstance(seen, bool) or path[0] != "spans"
    return [] if expected == seen and one_type else [f"{where}: expected {expected!r}, saw {seen!r}"]


@pytest.fixture(scope="module")
def seen() -> Any:
    """What ours shows of a case, observed once for both versions."""
    kept: dict[str, Any] = {}

    def of(case: str) -> Any:
        if case not in kept:
            kept[case] = observe(sys.executable, case)
            kept[case]["spans"] = by_name(kept[case]["spans"])
        return kept[case]

    return of


@pytest.mark.parametrize("case", CASES)
def test_behaves_as_before(case: str, seen: Any) -> None:
    versions = [version for version in RECORDED if case in RECORDED[version]]
    assert versions, f"{case} is not recorded: run `make behaviour`"
    for version in versions:
        short = mismatches(expectation(version, case), seen(case))
        assert not short, f"unlike {version}:\n" + "\n".join(short)


@pytest.mark.parametrize("number", range(len(DIFFERENCES)), ids=lambda number: DIFFERENCES[number].case)
def test_differences_are_real(number: int) -> None:
    difference = DIFFERENCES[number]
    versions = [v for v in RECORDED if difference.case in RECORDED[v] and difference.only in (None, v)]
    assert versions, "names no recorded case"
    assert difference.ours, "says nothing"
    for path, ours in difference.ours.items():
        if "*" in path:
            continue
        recorded = []
        for version in versions:
            tree: Any = {**RECORDED[version][difference.case]}
            tree["spans"] = by_name(tree["spans"])
            for step in path:
                inside = (isinstance(tree, dict) and step in tree) or isinstance(tree, list)
                tree = tree[step] if inside else ABSENT
            recorded.append(tree)
        assert any(was != ours for was in recorded), f"{path} was always {ours!r}"
