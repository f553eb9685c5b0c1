"""What differences in behaviour are written with: paths, reasons, and how spans and log records look."""

from __future__ import annotations

from typing import Any

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
