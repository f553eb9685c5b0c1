"""Attribute values: what becomes of each kind, what is never touched, and that nothing raises or leaks."""

from __future__ import annotations

import collections
import decimal
import math
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from recording import Recording
from values import (
    Float,
    Number,
    Plain,
    Raising,
    Text,
    Word,
    Wrong,
    as_json,
    attributes,
    encoded,
    hostile,
    mapped_attributes,
)

import pytracingx as ptx


class Tensor:
    """Anything but its type fails the test."""

    __dlpack__ = None

    def _touched(self, *_: Any) -> Any:
        pytest.fail("touched")

    __str__ = __repr__ = __float__ = __int__ = __bool__ = __len__ = __getattr__ = item = _touched  # type: ignore


class CudaArray(Tensor):
    __cuda_array_interface__ = property(Tensor._touched)


VALUES = {
    "str": ("text", "text"),
    "str_empty": ("", ""),
    "str_nul": ("a\0b", "a\0b"),
    "str_wide": ("näh ⚡ 𝄞", "näh ⚡ 𝄞"),
    "str_surrogates": ("a\ud800b\udfff", "a\ufffdb\ufffd"),
    "str_subclass": (Text("text"), "text"),
    "str_enum": (Word.WORD, "word"),
    "true": (True, True),
    "false": (False, False),
    "int": (-5, -5),
    "int_min": (-(2**63), -(2**63)),
    "int_max": (2**63 - 1, 2**63 - 1),
    "int_beyond": (2**63, str(2**63)),
    "int_beyond_negative": (-(2**63) - 1, str(-(2**63) - 1)),
    "int_huge": (1 << 40_000, hex(1 << 40_000)),
    "int_enum": (Number.SEVEN, 7),
    "float": (2.5, 2.5),
    "float_inf": (math.inf, math.inf),
    "float_subclass": (Float(1.5), 1.5),
    "bytes": (b"a\0\xff", encoded(b"a\0\xff")),
    "bytearray": (bytearray(b"x"), encoded(b"x")),
    "list": ([1, "a", 2.5, True, b"x"], [1, "a", 2.5, True, encoded(b"x")]),
    "list_empty": ([], []),
    "tuple": ((1, 2), [1, 2]),
    "namedtuple": (collections.namedtuple("P", "x y")(1, 2), [1, 2]),
    "none_inside": ([None, {"a": None}], [None, {"a": None}]),
    "nested": ([[1, [2]], (3,), {"a": [{"b": 4}]}], [[1, [2]], [3], {"a": [{"b": 4}]}]),
    "dict": ({"a": 1, "b": {"c": [1]}}, {"a": 1, "b": {"c": [1]}}),
    "dict_empty": ({}, {}),
    "dict_keys": ({1: "a", None: "b", "": "c"}, {"1": "a", "None": "b", "": "c"}),
    "dict_same_keys": ({1: "a", "1": "b", "a\ud800": 1, "a\ufffd": 2}, {"1": "b", "a\ufffd": 2}),  # noqa: F601
    "dict_subclass": (collections.OrderedDict(a=1), {"a": 1}),
    "mapping": (types.MappingProxyType({"a": 1}), "{'a': 1}"),
    "set": ({1}, "{1}"),
    "object": (Plain(), "as text"),
    "class": (Plain, str(Plain)),
    "decimal": (decimal.Decimal("1.50"), "1.50"),
    "raising": (Raising(), "Raising"),
    "wrong": (Wrong(), "Wrong"),
    "inside": ([Raising(), {"a": Plain()}], ["Raising", {"a": "as text"}]),
    "np_float64": (np.float64(1.5), 1.5),
    "np_float32": (np.float32(1.5), 1.5),
    "np_int64": (np.int64(-7), -7),
    "np_uint64": (np.uint64(2**64 - 1), str(2**64 - 1)),
    "np_bool": (np.bool_(True), True),
    "np_str": (np.str_("x"), "x"),
    "np_bytes": (np.bytes_(b"x"), encoded(b"x")),
    "np_datetime": (np.datetime64("2024-01-02"), "2024-01-02"),
    "np_array": (np.array([1, 2]), "ndarray"),
    "tensor": (Tensor(), "Tensor"),
    "cuda": ([CudaArray()], ["CudaArray"]),
}


@pytest.mark.parametrize("name", VALUES)
def test_value(recording: Recording, name: str) -> None:
    """Each kind of value, in every way of giving it."""
    value, expected = VALUES[name]
    with ptx.start_span("op", {"start": value}) as span:
        span.set_attribute("one", value)
        span.set_attributes({"several": value, "twice": 0})
        span.set_attribute("twice", value)
        span.add_event("e", {"k": value})
        span.add_link(span, {"k": value})
    ptx.record_span("recorded", ptx.now(), ptx.now(), {"k": value})
    sent = recording.span("op")
    assert sent["attributes"] == dict.fromkeys(("start", "one", "several", "twice"), expected)
    assert [entry["attributes"] for entry in (*sent["events"], *sent["links"])] == [{"k": expected}] * 2
    assert recording.attributes("recorded") == {"k": expected}
    assert type(sent["attributes"]["one"]) is type(expected)


def test_nan(recording: Recording) -> None:
    """NaN stays NaN."""
    ptx.start_span("op", {"nan": math.nan, "list": [math.nan]}).end()
    sent = recording.attributes()
    assert math.isnan(sent["nan"]) and math.isnan(sent["list"][0])


def test_none_is_dropped(recording: Recording) -> None:
    """A None attribute is none, and counts as nothing."""
    with ptx.start_span("op", {"a": None, "b": 1}) as span:
        span.set_attribute("c", None)
        span.set_attribute("b", None)
        span.set_attributes({"d": None})
        span.set_attributes(None)  # type: ignore[arg-type]
    recording.expect("op", attributes={"b": 1})


def test_last_value_wins(recording: Recording) -> None:
    """A key set again keeps its place and has the last value, of any type."""
    keys: list[Any] = ["a", "b", "a", "1", 1, "c"]
    with ptx.start_span("op") as span:
        for n, key in enumerate(keys):
            span.set_attribute(key, [n] * n)
            span.set_attribute(key, n)
    sent = recording.expect("op", attributes={"a": 2, "b": 1, "1": 4, "c": 5})
    assert list(sent["attributes"]) == ["a", "b", "1", "c"]


@pytest.mark.parametrize("many", [1, 40])
def test_odd_keys(recording: Recording, many: int) -> None:
    """Keys become text; an empty key is no attribute, and counted."""
    odd: dict[Any, Any] = {"": 1, 5: 2, None: 3, (1, 2): 4, "k" * 5000: 5, "a\0": 6, b"x": 7, Text("t"): 8}
    filler = {f"filler{n}": n for n in range(many)}
    with ptx.start_span("op", {**odd, **filler}) as span:
        span.set_attribute("", 1)
        span.set_attribute(Raising(), 9)  # type: ignore[arg-type]
        span.add_event("e", odd)
    kept = {"5": 2, "None": 3, "(1, 2)": 4, "k" * 5000: 5, "a\0": 6, "b'x'": 7, "t": 8}
    sent = recording.span("op")
    assert sent["attributes"] == {**kept, **filler, "Raising": 9}
    assert sent["dropped_attributes_count"] == 2
    assert sent["events"][0]["attributes"] == kept
    assert sent["events"][0]["dropped_attributes_count"] == 1


@pytest.mark.parametrize(
    "odd", [5, "text", [("a", 1)], object(), Raising()], ids=lambda odd: type(odd).__name__
)
def test_attributes_that_are_no_mapping(recording: Recording, odd: Any) -> None:
    """They count as one dropped; a mapping that is no dict is read."""
    with ptx.start_span("op", odd) as span:
        span.set_attributes(types.MappingProxyType({"a": 1}))
    recording.expect("op", attributes={"a": 1}, dropped_attributes_count=1)


@hostile
@given(attributes)
def test_any_value(recording: Recording, given: Any) -> None:
    """Any attributes are recorded without raising, and arrive as the documentation says, no key twice."""
    before = len(recording.collector.requests)
    ptx.start_span("op", given).end()
    assert ptx.force_flush()
    (sent,) = [span for request in recording.collector.requests[before:] for span in request.spans]
    expected = mapped_attributes(given)
    assert as_json(sent["attributes"]) == as_json(expected.kept)
    assert sent["dropped_attributes_count"] == expected.dropped
