"""Attribute values and keys, limits, and arguments of other types."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from trial import Trial, case


class Unprintable:
    """An object whose `str()` raises."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Printable:
    """An object with a text."""

    def __str__(self) -> str:
        return "printable"


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
        set_in_three_ways(t, name, value)
    ptx.shutdown()


def set_in_three_ways(t: Trial, name: str, value: Any) -> None:
    with t.ptx.start_span(f"set_{name}") as span:
        t.attempt(f"set_{name}", lambda: span.set_attribute("k", value))
    t.attempt(f"start_{name}", lambda: t.ptx.start_span(f"start_{name}", {"k": value}).end())
    with t.ptx.start_span(f"event_{name}") as span:
        t.attempt(f"event_{name}", lambda: span.add_event("e", {"k": value}))


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
