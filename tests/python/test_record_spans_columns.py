"""Columns of record_spans: the right cell of each for every row, of lists, arrays and tensors; what is odd degrades."""

from __future__ import annotations

import array
from base64 import b64encode
from typing import Any

import pytest
from batches import BEGAN, ENDED, column, spans, step, steps
from recording import Recording

import pytracingx as ptx

KINDS = "bBhHiIlLqQ"


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_ints(recording: Recording, kind: str) -> None:
    bits = array.array(kind).itemsize * 8
    signed = kind.islower()
    values = [0, 1, 2 ** (bits - signed) - 1, -(2 ** (bits - 1)) if signed else 2]
    assert step(spans(4), {"k": array.array(kind, values)}) == 4
    assert column(recording) == [v if v < 2**63 else str(v) for v in values]


def sent(values: list[Any]) -> list[Any]:
    """As the test's decoder gives them."""
    return [{"base64": b64encode(value).decode()} if isinstance(value, bytes) else value for value in values]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ((1, 2, 3), [1, 2, 3]),
        ([1.5, 2.0, -0.0], [1.5, 2.0, -0.0]),
        ([True, False, True], [True, False, True]),
        (["a", "", "ä" * 300], ["a", "", "ä" * 300]),
        ([b"a", bytearray(b"b"), b""], [b"a", b"b", b""]),
        ([1, 2.5, "x"], [1, 2.5, "x"]),
        ([1, 2, 2**63], [1, 2, str(2**63)]),
        ([1.5, 2, 3], [1.5, 2, 3]),
        ([None, 1, None], [None, 1, None]),
        ([[1, 2], {"a": 1}, (3,)], [[1, 2], {"a": 1}, [3]]),
        ([1, True, 2], [1, True, 2]),
        (array.array("d", [0.5, float("inf"), -1.0]), [0.5, float("inf"), -1.0]),
        (array.array("f", [0.5, 1, 2]), [0.5, 1.0, 2.0]),
        (memoryview(array.array("i", range(6)))[::2], [0, 2, 4]),
        (memoryview(array.array("i", range(3)))[::-1], [2, 1, 0]),
        (memoryview(b"abc"), [97, 98, 99]),
        (memoryview(b"\x01\x00\x02").cast("?"), [True, False, True]),
        # One value for all rows.
        ("abc", ["abc"] * 3),
        (b"abc", [b"abc"] * 3),
        (bytearray(b"abc"), [b"abc"] * 3),
        ({"a": [1]}, [{"a": [1]}] * 3),
        (2**64, [str(2**64)] * 3),
        (True, [True] * 3),
        (None, [None] * 3),
    ],
    ids=repr,
)
def test_columns(recording: Recording, given: Any, expected: list[Any]) -> None:
    """The same whether the key is interned already or seen for the first time, and among other columns."""
    parents = spans(3)
    for _ in range(3):
        assert step(parents, {"before": [1, 2, 3], "k": given, "after": "x"}) == 3
    assert repr(column(recording)) == repr(sent(expected) * 3)
    assert column(recording, "before") == [1, 2, 3] * 3
    assert column(recording, "after") == ["x"] * 9


def test_numpy(recording: Recording) -> None:
    """Every dtype, also strided and in the other byte order; a scalar is for all rows; rows of a matrix are not read."""
    numpy = pytest.importorskip("numpy")
    values = [0, 1, 100, 7]
    kinds = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u8", "f2", "f4", "f8", ">f8", "?"]
    columns = {kind: numpy.array(values, dtype=kind) for kind in kinds}
    columns["strided"] = numpy.arange(8)[::2]
    columns["backwards"] = numpy.arange(4, dtype=">u2")[::-1]
    columns["column"] = numpy.arange(8.0).reshape(4, 2)[:, 1]
    columns["readonly"] = numpy.arange(4)
    columns["readonly"].flags.writeable = False
    columns["large"] = numpy.array([2**64 - 1, 2**63, 2**63 - 1, 0], dtype="u8")
    columns["scalar"] = numpy.int16(5)
    columns["object"] = numpy.array([1, "a", None, 2.5], dtype=object)
    columns["text"] = numpy.array(["a", "bc", "", "d"])
    columns["matrix"] = numpy.zeros((4, 2))
    assert step(spans(4), columns) == 4
    for kind in kinds:
        expected = (
            [bool(v) for v in values] if kind == "?" else [float(v) if "f" in kind else v for v in values]
        )
        assert repr(column(recording, kind)) == repr(expected), kind
    assert column(recording, "strided") == [0, 2, 4, 6]
    assert column(recording, "backwards") == [3, 2, 1, 0]
    assert column(recording, "column") == [1.0, 3.0, 5.0, 7.0]
    assert column(recording, "readonly") == [0, 1, 2, 3]
    assert column(recording, "large") == [str(2**64 - 1), str(2**63), 2**63 - 1, 0]
    assert column(recording, "scalar") == [5] * 4
    assert column(recording, "object") == [1, "a", None, 2.5]
    assert column(recording, "text") == ["a", "bc", "", "d"]
    assert column(recording, "matrix") == ["ndarray"] * 4
    times = numpy.array([ENDED, ENDED + 1, ENDED + 2, ENDED + 3])
    assert step(spans(4), None, BEGAN, times) == 4
    assert [span["end_time_unix_nano"] for span in steps(recording)[4:]] == times.tolist()


class Tensor:
    """As a tensor library has it: no buffer, DLPack, and an own `tolist`."""

    def __init__(self, values: Any, device: int = 1) -> None:
        self.values, self.device, self.copied = values, device, 0

    def __dlpack__(self) -> None:
        raise AssertionError("nobody asks")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self.device, 0)

    def tolist(self) -> Any:
        self.copied += 1
        return self.values


def test_tensors(recording: Recording) -> None:
    """One in the processor's memory is a column (or a value); one on a GPU is never touched."""
    gpu = Tensor([1, 2, 3], device=2)
    columns = {"cpu": Tensor([1, 2, 3]), "value": Tensor(1.5), "gpu": gpu}
    assert step(spans(3), columns) == 3
    assert column(recording, "cpu") == [1, 2, 3]
    assert column(recording, "value") == [1.5] * 3
    assert column(recording, "gpu") == ["Tensor"] * 3
    assert gpu.copied == 0


class Interface:
    """Nothing but numpy's array interface."""

    def __init__(self, **interface: Any) -> None:
        self.interface = {"version": 3, **interface}

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self.interface


def test_array_interface(recording: Recording) -> None:
    memory = array.array("h", [1, -2, 3, -4, 5, -6])
    address = (memory.buffer_info()[0], False)
    shapes = {
        "plain": Interface(typestr="<i2", shape=(3,), data=address),
        "strided": Interface(typestr="<i2", shape=(3,), strides=(4,), data=address),
        "backwards": Interface(typestr="<i2", shape=(3,), strides=(-2,), data=(address[0] + 4, False)),
        # What is not numbers in one dimension is one value.
        "matrix": Interface(typestr="<i2", shape=(3, 2), data=address),
        "text": Interface(typestr="<U1", shape=(3,), data=address),
        "null": Interface(typestr="<i2", shape=(3,), data=(0, False)),
        "none": Interface(typestr="<i2", shape=(3,)),
        "lie": Interface(typestr=5, shape="x", data=[]),
    }
    assert step(spans(3), shapes) == 3
    assert column(recording, "plain") == [1, -2, 3]
    assert column(recording, "strided") == [1, 3, 5]
    assert column(recording, "backwards") == [3, -2, 1]
    for key in ("matrix", "text", "null", "none", "lie"):
        assert all("Interface" in text for text in column(recording, key)), key
    with pytest.raises(ValueError, match="column 'k' has 2 values for 3 parents"):
        step(spans(3), {"k": Interface(typestr="<i2", shape=(2,), data=address)})


@pytest.mark.parametrize("parents", [list, tuple, ptx.parent_set])
def test_other_lengths(recording: Recording, parents: Any) -> None:
    """The one thing that raises: it says which column, and nothing of the call is recorded."""
    given = parents(spans(3))
    for columns in ([1, 2], (1, 2, 3, 4), [], array.array("d", [1.5]), memoryview(b"abcd"), Tensor([1, 2])):
        with pytest.raises(ValueError, match=r"^column 'tokens' has \d values for 3 parents$"):
            step(given, {"fine": [1, 2, 3], "tokens": columns})
    for times in ([BEGAN], array.array("q", [BEGAN] * 4)):
        with pytest.raises(ValueError, match=r"^column 'start_time' has [14] values for 3 parents$"):
            step(given, None, times)
        with pytest.raises(ValueError, match=r"^column 'end_time' has [14] values for 3 parents$"):
            step(given, None, BEGAN, times)
    assert steps(recording) == []
    assert step(given, {"tokens": [1, 2, 3]}) == 3


def test_hopeless_arguments(recording: Recording) -> None:
    with pytest.raises(TypeError, match="parents must be a sequence of Span, SpanContext or None, got int"):
        step(5)
    with pytest.raises(TypeError, match="not iterable"):
        ptx.parent_set(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown span kind 'x'"):
        ptx.record_spans("step", [], BEGAN, ENDED, None, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing required argument: 'end_time'"):
        ptx.record_spans("step", [], BEGAN)  # type: ignore[call-arg]


def test_times(recording: Recording) -> None:
    """Ends are never before starts; what is no time is counted, once a row, and replaced by now; None is now."""
    before = ptx.now()
    assert step(spans(3), None, [ENDED] * 3, (BEGAN, ENDED, ENDED + 1)) == 3
    assert [span["end_time_unix_nano"] - ENDED for span in steps(recording)] == [0, 0, 1]
    unusable = ptx.stats()["unusable_times"]
    odd: list[Any] = [1.5, 5, "x", None, 2**70, True]
    assert step(spans(6), None, odd, ptx.now() + 10**9) == 6
    assert all(span["start_time_unix_nano"] >= before for span in steps(recording)[3:])
    assert ptx.stats()["unusable_times"] == unusable + 5
    assert step(spans(2), None, array.array("d", [1.5, 2]), array.array("q", [5, ENDED])) == 2
    assert ptx.stats()["unusable_times"] == unusable + 8
    assert step(spans(2), None, "x", None) == 2
    assert ptx.stats()["unusable_times"] == unusable + 9
