"""record_spans of what changes, raises, lies and calls back meanwhile: nothing is read twice, held or lost."""

from __future__ import annotations

import array
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from batches import BEGAN, ENDED, column, spans, step, steps
from recording import Recording

import pytracingx as ptx


class Shrinking:
    """Its text empties the lists of the call it is in."""

    def __init__(self, *victims: list[Any]) -> None:
        self.victims = victims

    def __str__(self) -> str:
        for victim in self.victims:
            victim.clear()
        return "shrunk"


def test_what_changes_meanwhile(recording: Recording) -> None:
    """Columns that are converted already stay, the column's own copy is read, one that follows has another length."""
    parents, done, own = spans(3), [1, 2, 3], [None, 0, "last"]
    own[0] = Shrinking(parents, done, own)
    assert step(parents, {"done": done, "k": own}) == 3
    assert column(recording) == ["shrunk", 0, "last"]
    assert column(recording, "done") == [1, 2, 3]
    parents, later = spans(3), [1, 2, 3]
    with pytest.raises(ValueError, match="column 'later' has 0 values for 3 parents"):
        step(parents, {"k": [Shrinking(later)] * 3, "later": later})
    columns: dict[str, Any] = {"a": [1, 2]}
    columns["b"] = [Shrinking(), ShrinkingDict(columns)]
    columns["c"] = [3, 4]
    assert step(spans(2), columns) == 2
    assert column(recording, "c")[-2:] == [3, 4]


class ShrinkingDict:
    def __init__(self, victim: dict[str, Any]) -> None:
        self.victim = victim

    def __str__(self) -> str:
        self.victim.clear()
        return "shrunk"


class LyingList(list):  # type: ignore[type-arg]
    """A list or tuple is read as what it holds."""

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no")


class RaisingSequence:
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        raise RuntimeError("no")


class Int(int):
    def __int__(self) -> int:
        raise RuntimeError("no")

    __index__ = __int__


class Raising:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Liar:
    """Says it is a tensor, and then is not."""

    def __init__(self, device: Any, elements: Any) -> None:
        self.device, self.elements = device, elements

    def __dlpack_device__(self) -> Any:
        if isinstance(self.device, BaseException):
            raise self.device
        return self.device

    def tolist(self) -> Any:
        if isinstance(self.elements, BaseException):
            raise self.elements
        return self.elements

    def __str__(self) -> str:
        return "a liar"


def test_hostile_objects(recording: Recording) -> None:
    columns = {
        "list": LyingList([1, 2]),
        "int": [Int(3), Int(4)],
        "raising": [Raising(), 1],
        "device": Liar(RuntimeError(), [1, 2]),
        "shape": Liar((1,), [1, 2]),
        "kind": Liar(("cpu", 0), [1, 2]),
        "huge": Liar((2**100, 0), [1, 2]),
        "elements": Liar((1, 0), RuntimeError()),
    }
    assert step(RaisingSequence(), columns) == 0
    assert step(LyingList(spans(2)), columns) == 2
    first, second = (span["attributes"] for span in steps(recording))
    assert (first["list"], second["list"]) == (1, 2)
    assert (first["int"], second["int"]) == (3, 4)
    assert (first["raising"], second["raising"]) == ("Raising", 1)
    assert {first[key] for key in ("device", "shape", "kind", "huge", "elements")} == {"a liar"}
    released = memoryview(bytearray(b"ab"))
    released.release()
    assert step(spans(2), {"k": released}) == 2
    assert step(spans(2), 5) == 2  # type: ignore[arg-type]
    assert steps(recording)[-1]["dropped_attributes_count"] == 1


def test_an_interrupt_passes(recording: Recording) -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    def interrupted() -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        step(spans(2), {"k": [1, Interrupting()]})
    with pytest.raises(KeyboardInterrupt):
        step(interrupted())
    assert steps(recording) == []
    assert step(spans(2), {"k": [1, 2]}) == 2


def test_a_call_inside_a_call(recording: Recording) -> None:
    """Code of a cell that records a batch itself."""
    parents = spans(2)

    class Recording2:
        def __str__(self) -> str:
            assert ptx.record_spans("inner", parents, BEGAN, ENDED, {"k": [10, 20], "t": ["x", "y"]}) == 2
            return "outer"

    assert step(parents, {"n": [1, 2], "k": [Recording2(), 5], "t": ["a", "b"]}) == 2
    sent = recording.spans()
    assert [s["attributes"] for s in sent if s["name"] == "inner"] == [
        {"k": 10, "t": "x"},
        {"k": 20, "t": "y"},
    ]
    assert [s["attributes"] for s in steps(recording)] == [
        {"n": 1, "k": "outer", "t": "a"},
        {"n": 2, "k": 5, "t": "b"},
    ]


def test_a_buffer_is_not_held(recording: Recording) -> None:
    """An array can be resized while another column's code runs, and afterwards."""
    values = array.array("q", [1, 2])

    class Growing:
        def __str__(self) -> str:
            values.extend(range(10_000))
            return "grown"

    assert step(spans(2), {"a": values, "b": [Growing(), 1]}) == 2
    assert column(recording, "a") == [1, 2]
    values.append(1)


def test_references_return(recording: Recording) -> None:
    parents = spans(2)
    text, key, odd = "text " * 30, "a key longer than " * 20, Raising()
    columns: dict[str, Any] = {key: [text, odd], "numbers": array.array("q", [1, 2]), "list": [10**30, None]}
    held = [*parents, text, key, odd, columns, *columns.values()]
    counts = [sys.getrefcount(each) for each in held]
    for _ in range(100):
        assert step(parents, columns) == 2
        with pytest.raises(ValueError):
            step(parents, {**columns, "short": [1]})
        del ptx.parent_set(parents)[0]
    assert [sys.getrefcount(each) for each in held] == counts
