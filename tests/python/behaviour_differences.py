"""Every difference in behaviour from 0.2.0 and 0.3.0, with its reason. test_behaviour.py holds them against both."""

from __future__ import annotations

from behaviour_terms import (
    ABSENT,
    ANYTHING,
    CARRIERS,
    DEGRADES,
    EXCEPTION,
    LOGS,
    OTHER_NAMES,
    RANDOM,
    RENAMED,
    Differs,
    attribute_value_differences,
    exception,
    same,
    span,
    stack_traces,
)

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
