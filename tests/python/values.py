"""Values of every kind, and what the documentation says becomes of them: the one mapping, and hypothesis' strategies for it.

    @hostile
    @given(attributes)
    def test(recording, given): ...                 # `recording` may be shared by the examples
        assert as_json(sent) == as_json(mapped_attributes(given).kept)

`mapped` is written from the documentation, without a look at the implementation. None of the strategies comes near the
bounds of depth, number and size, which have tests of their own (test_hostile_values.py).
"""

from __future__ import annotations

import base64
import collections
import datetime
import enum
import json
import math
import operator
import os
import types
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MAX_ELEMENTS = 65_536  # of one value, over all levels
MAX_DEPTH = 64
MAX_STR_BYTES = 4096  # of the text of an object
MAX_INT = 2**63 - 1

# HOSTILE_EXAMPLES=5000 looks longer.
hostile = settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", 100)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)


class Number(enum.IntEnum):
    SEVEN = 7


class Word(str, enum.Enum):
    WORD = "word"


class Text(str):
    def __str__(self) -> str:
        return "not this"


class Float(float):
    def __repr__(self) -> str:
        return "not this"


class Int(int):
    """Its text and number are others than what it holds."""

    def __str__(self) -> str:
        return "not this"

    __repr__ = __str__

    def __index__(self) -> int:
        return 5

    __int__ = __index__


class Plain:
    def __str__(self) -> str:
        return "as text"


class Saying:
    """An object with this text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


class Raising:
    """Its text raises."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Wrong:
    """Its `__str__` gives no text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


class Lying(dict):  # type: ignore[type-arg]
    """Says that it holds nothing."""

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def items(self) -> Any:
        return ()


class LyingList(list):  # type: ignore[type-arg]
    """The same of a list, whose elements are endless besides."""

    def __len__(self) -> int:
        return 0

    def __getitem__(self, _: Any) -> Any:
        return 0


class Indexed:
    """An object that can be asked for a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    def __str__(self) -> str:
        return "indexed"


class Floated:
    """The same by another method."""

    def __init__(self, number: float) -> None:
        self.number = number

    def __float__(self) -> float:
        return self.number

    def __str__(self) -> str:
        return "floated"


def encoded(value: bytes) -> dict[str, str]:
    """Bytes as the decoder shows them."""
    return {"base64": base64.b64encode(value).decode()}


def as_json(value: Any) -> str:
    """For comparisons that tell 1, 1.0 and True apart, and 0.0 from -0.0, and that find NaN equal to itself."""
    return json.dumps(value, sort_keys=True)


# ------------------------------------------------------------------------------------------------- the mapping


def text(value: Any) -> str:
    """What becomes of a name, a key, a description or a message."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    try:
        said = text(str.__str__(str(value)))
    except Exception:
        return type(value).__name__
    return said.encode()[:MAX_STR_BYTES].decode(errors="ignore")


def mapped(value: Any) -> Any:
    """What becomes of an attribute's value, as `otlp.decode_value` shows it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (bytes, bytearray)):
        return encoded(bytes(value))
    if isinstance(value, int):
        held = int.__add__(value, 0)
        return held if -MAX_INT - 1 <= held <= MAX_INT else int_text(held)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return text(str.__add__(value, ""))
    if isinstance(value, (list, tuple)):
        return [mapped(element) for element in (list if isinstance(value, list) else tuple).__iter__(value)]
    if isinstance(value, dict):
        return {text(key): mapped(each) for key, each in dict.items(value)}
    if isinstance(value, np.ndarray):
        return "ndarray"
    if isinstance(value, np.generic):
        item = value.item()
        return mapped(item) if isinstance(item, (bool, int, float)) else text(value)
    return text(value)


def int_text(value: int) -> str:
    """An int beyond 64 bits: in decimal, unless the interpreter finds that too long."""
    try:
        return str(value)
    except ValueError:
        return hex(value)


class Mapped(NamedTuple):
    """Attributes that are kept, and how many were dropped."""

    kept: dict[str, Any]
    dropped: int


def mapped_attributes(given: Any) -> Mapped:
    """What becomes of an `attributes` argument of fewer than 128 entries."""
    if given is None:
        return Mapped({}, 0)
    if not isinstance(given, Mapping):
        return Mapped({}, 1)
    pairs = dict.items(given) if isinstance(given, dict) else given.items()
    entries = [(text(key), value) for key, value in pairs if value is not None]
    return Mapped({key: mapped(value) for key, value in entries if key}, sum(not key for key, _ in entries))


def measured(value: Any) -> int | float | None:
    """The number that a measurement of this value is; None is none."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int):
        held = int.__add__(value, 0)
        return held if -MAX_INT - 1 <= held <= MAX_INT else as_double(held)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, np.ndarray):
        return None
    if isinstance(value, np.generic):
        item = value.item()
        if type(item) is not type(value):
            return measured(item) if isinstance(item, (bool, int, float)) else None
    try:
        if hasattr(type(value), "__index__"):
            return measured(operator.index(value))
        if hasattr(type(value), "__float__"):
            return float(value)
    except Exception:
        pass
    return None


def as_double(value: int) -> float:
    """Beyond a double's range infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.copysign(math.inf, value)


# ---------------------------------------------------------------------------------------------- the strategies

texts = st.text(st.characters(), max_size=20) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=3)
long_texts = st.builds(lambda unit, times: unit * times, texts, st.sampled_from([300, 2000]))
ints = (
    st.integers() | st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, -1, MAX_INT, -MAX_INT - 1, 2**64])
)
floats = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e308, math.nan, math.inf, -math.inf])
numpy_scalars = st.one_of(
    st.builds(np.float32, st.floats(width=32)),
    st.builds(np.float64, floats),
    st.builds(np.int64, st.integers(-(2**63), 2**63 - 1)),
    st.builds(np.uint64, st.integers(0, 2**64 - 1)),
    st.sampled_from(
        [np.bool_(True), np.float16(0.5), np.datetime64("2024-01-02"), np.complex64(1j), np.str_("5")]
    ),
)


def _generator() -> Any:
    yield 1


# Made anew for each example where they could be used up or changed.
objects = st.one_of(
    st.builds(Saying, texts | long_texts),
    st.sampled_from(
        [Plain(), Raising(), Wrong(), Plain, object, type, ..., NotImplemented, math, len, mock.sentinel.x]
    ),
    st.sampled_from(
        [datetime.date(2024, 1, 2), datetime.timedelta(1), uuid.UUID(int=5), 1j, range(3), frozenset({1})]
    ),
    st.builds(_generator),
    st.builds(mock.MagicMock),
    st.builds(mock.Mock),
    st.builds(memoryview, st.binary(max_size=3)),
    st.builds(np.array, st.lists(st.integers(0, 9), max_size=3)),
    st.builds(types.MappingProxyType, st.dictionaries(texts, st.integers(), max_size=2)),
    st.builds(Indexed, ints),
    st.builds(Floated, floats),
    st.decimals(),
    st.fractions(),
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    ints,
    floats,
    texts,
    st.binary(max_size=20),
    st.builds(bytearray, st.binary(max_size=20)),
    st.builds(Text, texts),
    st.builds(Float, floats),
    st.builds(Int, st.sampled_from([7, 2**65, -(2**65)])),
    st.sampled_from([Number.SEVEN, Word.WORD]),
    numpy_scalars,
    objects,
)
keys = texts | st.integers() | st.none() | st.booleans() | st.builds(Text, texts) | st.builds(Saying, texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=5),
        st.builds(collections.OrderedDict, st.dictionaries(keys, inner, max_size=3)),
        st.builds(Lying, st.dictionaries(keys, inner, max_size=3)),
        st.builds(LyingList, st.lists(inner, max_size=3)),
    ),
    max_leaves=25,
)
mappings = st.dictionaries(keys, values, max_size=20)
# Whatever is given as attributes: mostly a mapping.
attributes = st.one_of(
    mappings,
    mappings,
    st.builds(types.MappingProxyType, mappings),
    st.builds(Lying, mappings),
    st.none(),
    st.one_of(ints, floats, texts, st.binary(max_size=9), st.lists(ints, max_size=3), st.just(Raising())),
)
# What may be given as a number.
numbers = st.one_of(ints, floats, numpy_scalars, leaves)
