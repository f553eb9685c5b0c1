"""Values that would hurt: large, deep, cyclic, changing, calling back, raising. Nothing raises or grows without bound."""

from __future__ import annotations

import itertools
import sys
import threading
from typing import Any

import pytest
from recording import Recording

import pytracingx as ptx

MAX_ELEMENTS = 65_536  # of one value, over all levels
MAX_DEPTH = 64
MAX_STR_BYTES = 4096


class Plain:
    def __str__(self) -> str:
        return "as text"


def test_large_text(recording: Recording) -> None:
    """A text of 10 MiB arrives whole; the text of an object is cut at 4 KiB, between characters."""

    class Large:
        def __str__(self) -> str:
            return "x" + "ä" * 10_000_000

    text = "0123456789abcdef" * (10 << 16)
    ptx.start_span("op", {"text": text, "object": Large()}).end()
    sent = recording.attributes()
    assert sent["text"] == text
    assert sent["object"] == "x" + "ä" * ((MAX_STR_BYTES - 1) // 2)


def test_ten_thousand_attributes(recording: Recording) -> None:
    """The first 128 are kept, the rest counted, in one call or in many."""
    many: dict[str, Any] = {f"k{n}": n for n in range(10_000)}
    with ptx.start_span("op", many) as span:
        for key in many:
            span.set_attribute(key + "!", 1)
        span.add_event("e", many)
    first = dict(itertools.islice(many.items(), 128))
    sent = recording.span("op")
    assert (sent["attributes"], sent["dropped_attributes_count"]) == (first, 2 * 10_000 - 128)
    event = sent["events"][0]
    assert (event["attributes"], event["dropped_attributes_count"]) == (first, 10_000 - 128)


def size(value: Any) -> int:
    """Elements over all levels."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return sum(1 + size(child) for child in children)


def depth(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth, children), default=0)


def structures() -> dict[str, Any]:
    cyclic_list: list[Any] = []
    cyclic_list.append(cyclic_list)
    cyclic_dict: dict[str, Any] = {"a": 1}
    cyclic_dict["self"] = cyclic_dict
    similar: dict[str, Any] = {}
    similar.update(a=similar, b=similar)
    shared: Any = "leaf"
    for _ in range(100):
        shared = {"a": shared, "b": [shared, shared]}
    deep: Any = 1
    for _ in range(50_000):
        deep = [deep]
    chain: Any = "leaf"
    for _ in range(200):
        chain = (chain,)
    return {
        **{"cyclic_list": cyclic_list, "cyclic_dict": cyclic_dict, "similar": similar, "shared": shared},
        **{"deep": deep, "chain": chain, "wide": list(range(100_000)), "large": ["x" * (1 << 20)] * 60_000},
    }


@pytest.mark.parametrize("name", structures())
def test_bounded_structures(recording: Recording, name: str) -> None:
    """Cyclic, self-similar, deep, wide and repeated structures cost a bounded time and memory."""
    value = structures()[name]
    with ptx.start_span("op", {"k": value, "after": 1}) as span:
        if name != "large":
            span.add_event("e", {"k": value})
    if name == "large":
        # More than a request may hold: dropped by the exporter or cut, but the process lives.
        ptx.force_flush()
        return
    sent = recording.attributes()
    assert sent["after"] == 1
    assert size(sent["k"]) <= MAX_ELEMENTS
    assert depth(sent["k"]) <= MAX_DEPTH
    if name == "wide":
        assert sent["k"] == list(range(MAX_ELEMENTS))


def test_str_changes_what_is_read(recording: Recording) -> None:
    """A `__str__` that changes the containers it is in does not disturb their reading."""

    class Clearing:
        def __str__(self) -> str:
            attributes.clear()
            items.clear()
            return "cleared"

    items: list[Any] = [Clearing(), "kept"]
    attributes: dict[str, Any] = {"a": Clearing(), "b": items, "c": "kept"}
    ptx.start_span("op", attributes).end()
    recording.expect("op", attributes={"a": "cleared", "b": [], "c": "kept"})


def test_str_calls_back(recording: Recording) -> None:
    """A `__str__` may use the span whose attribute it is, and start others."""

    class Calling:
        def __str__(self) -> str:
            span.set_attributes({"inner": 1, "nested": [Plain()]})
            span.add_event("inner", {"k": Plain()})
            ptx.start_span("other", {"k": Plain()}).end()
            return "called"

    with ptx.start_span("op") as span:
        span.set_attribute("k", Calling())
        span.add_event("outer", {"k": [Calling()]})
    sent = recording.span("op")
    assert sent["attributes"] == {"inner": 1, "nested": ["as text"], "k": "called"}
    assert [event["name"] for event in sent["events"]] == ["inner", "inner", "outer"]


def test_str_ends_the_span(recording: Recording) -> None:
    """What a span is given while its end comes in between is lost, and nothing else."""

    class Ending:
        def __str__(self) -> str:
            span.end()
            return "ended"

    span = ptx.start_span("op", {"a": 1})
    span.set_attributes({"k": Ending(), "b": 2})
    span.add_event("e", {"k": Ending()})
    recording.expect("op", attributes={"a": 1})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_base_exceptions_pass(recording: Recording, error: type[BaseException]) -> None:
    """What is no Exception passes through every call, and leaves the span as it was before that value."""

    class Interrupting:
        def __str__(self) -> str:
            raise error

    bad: Any = Interrupting()
    with ptx.start_span("op", {"a": 1}) as span:
        for call in (
            lambda: span.set_attribute("k", bad),
            lambda: span.set_attribute("k", {"deep": [1, {"er": bad}]}),
            lambda: span.set_attribute(bad, 1),
            lambda: span.set_attributes({"b": 2, "k": [bad], "c": 3}),
            lambda: span.add_event("e", {"k": bad}),
            lambda: span.add_event(bad),
            lambda: span.add_link(span, {"k": bad}),
            lambda: span.update_name(bad),
            lambda: span.set_status("error", bad),
            lambda: ptx.start_span(bad),
        ):
            with pytest.raises(error):
                call()
    recording.expect("op", attributes={"a": 1, "b": 2})


def test_subclasses_are_read_as_what_they_hold(recording: Recording) -> None:
    """A list's or tuple's own `__iter__` is not asked."""

    class Endless(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return itertools.count()

    class Pair(tuple):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise KeyboardInterrupt

    ptx.start_span("op", {"list": Endless([1]), "tuple": Pair((2,))}).end()
    recording.expect("op", attributes={"list": [1], "tuple": [2]})


def test_dict_changed_by_another_thread(recording: Recording) -> None:
    """Attributes read while another thread changes the dict: nothing raises, every entry is one that was there."""
    changing: dict[str, Any] = {"k0": 0}
    stop = threading.Event()

    def change() -> None:
        for n in itertools.count():
            if stop.is_set():
                return
            changing[f"k{n % 300}"] = n if n % 7 else [Plain()]
            changing.pop(f"k{(n + 150) % 300}", None)

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        with ptx.start_span("op") as span:
            for _ in range(2000):
                span.set_attributes(changing)
                span.set_attribute("nested", [changing])
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    sent = recording.attributes()
    assert all(
        value == ["as text"] or isinstance(value, int) for key, value in sent.items() if key != "nested"
    )


def test_attributes_that_fit_no_request(recording: Recording) -> None:
    """All attributes of a span hold 64 MiB at most, however often one text is given; the others are counted."""
    text = "x" * (10 << 20)
    with ptx.start_span("op", {f"k{n}": text for n in range(10_000)}) as span:
        span.set_attribute("list", [text] * 1000)
        span.set_attribute("k0", "now small")
    sent = recording.span("op")
    assert list(sent["attributes"]) == [f"k{n}" for n in range(6)]
    assert sent["attributes"]["k0"] == "now small"
    assert sent["dropped_attributes_count"] == 9_994 + 1
