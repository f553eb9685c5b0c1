"""record_spans and templates: any object as a column, a time, or the parents; only what is documented to raise does."""

from __future__ import annotations

import array
import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlp_server import Decoded
from recording import REMOTE_SPAN, REMOTE_TRACE, Recording
from values import LyingList, as_json, attributes, hostile, mapped, mapped_attributes, objects, text, values

import pytracingx as ptx

BEGAN, ENDED = 1_700_000_000_000_000_000, 1_700_000_000_000_000_500


def recorded(recording: Recording, count: int) -> list[Decoded]:
    """The spans that arrive now, which are so many."""
    before = len(recording.collector.requests)
    assert ptx.force_flush()
    spans = [span for request in recording.collector.requests[before:] for span in request.spans]
    assert len(spans) == count
    return spans


def contexts(count: int) -> list[Any]:
    return [ptx.SpanContext(REMOTE_TRACE, f"{number + 1:016x}", 1) for number in range(count)]


def buffers(count: int) -> st.SearchStrategy[tuple[Any, list[Any]]]:
    """Memory of so many elements, and what they are."""
    ints = st.lists(st.integers(0, 127), min_size=count, max_size=count)
    return st.one_of(
        st.builds(
            lambda kind, of: (array.array(kind, of), array.array(kind, of).tolist()),
            st.sampled_from("bBhHiIlLqQfd"),
            ints,
        ),
        st.builds(lambda of: (memoryview(bytes(of)), of), ints),
        st.builds(lambda of: (memoryview(bytes(of))[::-1], of[::-1]), ints),
        st.builds(lambda of: (memoryview(array.array("h", [x for n in of for x in (n, 0)]))[::2], of), ints),
        st.builds(
            lambda kind, of: (np.array(of, kind), np.array(of, kind).tolist()),
            st.sampled_from(["<i2", ">i4", "u8", ">f8", "f2", "?"]),
            ints,
        ),
        st.builds(lambda of: ((ctypes.c_int32 * count)(*of), of), ints),
        st.builds(lambda of: (memoryview(bytes(of)).cast("c"), [{"base64": as_base64(n)} for n in of]), ints),
    )


def as_base64(number: int) -> str:
    return str(mapped(bytes([number]))["base64"])


ROWS = 3
lists = st.lists(values, min_size=ROWS, max_size=ROWS)
# A column, and what its rows have.
columns = st.one_of(
    lists.map(lambda column: (column, [mapped(value) for value in column])),
    lists.map(lambda column: (tuple(column), [mapped(value) for value in column])),
    lists.map(lambda column: (LyingList(column), [mapped(value) for value in column])),
    buffers(ROWS),
    # One value for all rows.
    values.filter(lambda value: not isinstance(value, (list, tuple, memoryview, np.ndarray))).map(
        lambda value: (value, [mapped(value)] * ROWS)
    ),
)


@hostile
@given(st.dictionaries(st.text(min_size=1, max_size=3), columns, max_size=6))
def test_any_column(recording: Recording, given: dict[str, tuple[Any, list[Any]]]) -> None:
    """Lists, tuples, their subclasses and memory are read by the row, all else is one value for all."""
    parents = contexts(ROWS)
    template = ptx.SpanTemplate("step", attributes={"constant": 1})
    arguments = {key: column for key, (column, _) in given.items()}
    assert template.record_spans(parents, BEGAN, ENDED, arguments) == ROWS
    assert ptx.record_spans("step", ptx.parent_set(parents), BEGAN, ENDED, arguments) == ROWS
    sent = recorded(recording, 2 * ROWS)
    for row in range(ROWS):
        expected = {text(key): cells[row] for key, (_, cells) in given.items() if cells[row] is not None}
        of_template, plain = sent[row]["attributes"], sent[ROWS + row]["attributes"]
        assert as_json(plain) == as_json(expected)
        assert as_json(of_template) == as_json({"constant": 1, **expected})


@hostile
@given(attributes)
def test_any_template(recording: Recording, given: Any) -> None:
    """Constants as any attributes, but that what is no mapping raises."""
    try:
        template = ptx.SpanTemplate("op", attributes=given)
    except TypeError:
        assert given is not None and not hasattr(given, "keys")
        return
    with template({"own": 1}):
        pass
    template.record(BEGAN, ENDED)
    started, finished = recorded(recording, 2)
    kept, dropped = mapped_attributes(given)
    assert as_json(started["attributes"]) == as_json({**kept, "own": 1})
    assert as_json(finished["attributes"]) == as_json(kept)
    assert started["dropped_attributes_count"] == finished["dropped_attributes_count"] == dropped


anything = st.one_of(
    values,
    objects,
    st.builds(contexts, st.integers(0, 3)),
    st.lists(st.one_of(values, st.builds(lambda: contexts(1)[0])), max_size=4),
)


@hostile
@given(anything, anything, anything, anything, anything)
def test_anything_anywhere(
    recording: Recording, name: Any, parents: Any, start: Any, end: Any, given: Any
) -> None:
    """Nothing but columns of another length and parents that are not iterable raises; the call says how many it recorded."""
    calls = [
        lambda: ptx.record_spans(name, parents, start, end, given),
        lambda: ptx.record_spans("step", contexts(2), start, end, given),
        lambda: ptx.record_spans("step", contexts(2), BEGAN, ENDED, {"k": given, name_of(name): start}),
        lambda: ptx.SpanTemplate("step").record_spans(ptx.parent_set(contexts(2)), start, end, {"k": end}),
    ]
    count = 0
    for call in calls:
        try:
            count += call()
        except ValueError as error:
            assert "values for" in str(error)
        except TypeError as error:
            assert "parents must be a sequence" in str(error)
            assert call is calls[0]
    for span in recorded(recording, count):
        assert span["start_time_unix_nano"] <= span["end_time_unix_nano"]


def name_of(value: Any) -> Any:
    """Something that can be a key."""
    try:
        hash(value)
    except Exception:
        return "unhashable"
    return value


@pytest.mark.parametrize("what", ["shorter", "longer", "cleared"])
def test_columns_that_change_during_the_call(recording: Recording, what: str) -> None:
    """Code of one column's elements changes the others: rows have what was there or nothing, and nothing is read beyond."""

    class Changing:
        def __str__(self) -> str:
            for column in (later, numbers, parents, attributes["self"]):
                if what == "longer":
                    column.extend(column[:1] * 1000)
                else:
                    del column[1 if what == "shorter" else 0 :]
            return "changed"

    parents = contexts(ROWS)
    later: Any = ["a", Changing(), "c"]
    numbers = array.array("q", [1, 2, 3])
    attributes: dict[str, Any] = {
        "self": [Changing(), Changing(), "kept"],
        "later": later,
        "numbers": numbers,
    }
    with pytest.raises(ValueError, match="'later' has"):
        ptx.record_spans("step", parents, BEGAN, ENDED, attributes)
    later[:], numbers[:], parents[:] = ["a", "b", "c"], array.array("q", [1, 2, 3]), contexts(ROWS)
    attributes["self"] = [Changing(), Changing(), "kept"]
    assert ptx.record_spans("step", parents, BEGAN, ENDED, {"self": attributes["self"]}) == ROWS
    sent = recorded(recording, ROWS)
    assert [span["attributes"]["self"] for span in sent] == ["changed", "changed", "kept"]


def test_memory_that_is_in_use_cannot_move(recording: Recording) -> None:
    """A bytearray whose elements are read cannot be resized meanwhile, and can afterwards; released views are values."""
    memory = bytearray(b"abc")
    view, released = memoryview(memory), memoryview(b"abc")
    released.release()
    assert ptx.record_spans("step", contexts(3), BEGAN, ENDED, {"view": view, "released": released}) == 3
    view.release()
    memory.extend(b"d" * 1000)
    sent = recorded(recording, 3)
    assert [span["attributes"]["view"] for span in sent] == [97, 98, 99]
    assert all("released" in span["attributes"]["released"] for span in sent)
    assert sent[0]["parent_span_id"] != REMOTE_SPAN
