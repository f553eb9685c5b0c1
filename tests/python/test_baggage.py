"""Baggage set and read: what travels in the header, nesting, limits, and what is left out instead of raising."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from recording import THREADS_INHERIT, Recording

import pytracingx as ptx


def sent() -> str | None:
    """The `baggage` header that a request made here would carry."""
    headers: dict[str, str] = {}
    ptx.inject_headers(headers)
    return headers.get("baggage")


def test_nothing_is_set_at_first() -> None:
    """An empty dict, a new one each time."""
    assert ptx.get_baggage() == {}
    ptx.get_baggage()["a"] = "1"
    assert ptx.get_baggage() == {}
    with ptx.baggage(), ptx.baggage({}):
        assert (ptx.get_baggage(), sent()) == ({}, None)


def test_nested_use_merges_and_leaving_restores() -> None:
    """An inner value wins while its block runs; a mapping and keywords do the same, keywords win."""
    with ptx.baggage({"tenant.id": "t1", "user": "ann"}, user="bob"):
        assert ptx.get_baggage() == {"tenant.id": "t1", "user": "bob"}
        with ptx.baggage(user="eve", step=3, ratio=0.5, flag=True, nothing=None):
            assert ptx.get_baggage() == {
                "tenant.id": "t1",
                "user": "eve",
                "step": "3",
                "ratio": "0.5",
                "flag": "True",
            }
        assert ptx.get_baggage() == {"tenant.id": "t1", "user": "bob"}
    assert (ptx.get_baggage(), sent()) == ({}, None)


def test_an_exception_passes_and_restores() -> None:
    """As any `with` block."""
    with pytest.raises(ValueError, match="mine"), ptx.baggage(a="1"):
        raise ValueError("mine")
    assert ptx.get_baggage() == {}


@pytest.mark.parametrize("value", ["", " a b ", "50%", 'q"u\\o;t,e=', "ünï€😀", "a\r\nb: c", "\0", "%41"])
def test_any_text_travels_percent_encoded(value: str) -> None:
    """What one process sets, the next reads, and no header is smuggled."""
    with ptx.baggage(k=value, other="1"):
        header = sent()
    assert header is not None and header.isascii() and header.isprintable()
    with ptx.extract_headers({"baggage": header}):
        assert ptx.get_baggage() == {"k": value, "other": "1"}


def test_what_came_along_is_read_and_kept() -> None:
    """Entries of a peer, with properties that travel on; the last of several with one key counts."""
    with ptx.extract_headers([("baggage", "a=1;p=2;q, b=%20x"), ("Baggage", "a=3, broken, c = 4")]):
        assert ptx.get_baggage() == {"a": "3", "b": " x", "c": "4"}
        with ptx.baggage(new="n", c="5"):
            assert sent() == "a=1;p=2;q,b=%20x,a=3,new=n,c=5"
        with ptx.baggage(a="mine"):
            assert sent() == "b=%20x,c=4,a=mine"
    assert sent() is None


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        ({"": "v", "a b": "v", "ü": "v", "a,b": "v", "a=b": "v"}, 5),
        ({1: "v", b"k": "v", "k": b"v", "l": [1], "m": object()}, 5),
        (7, 1),
        ([("k", "v")], 1),
    ],
)
def test_what_no_header_can_hold_is_left_out_and_counted(
    recording: Recording, given: Any, left_out: int
) -> None:
    """Keys that are no tokens, values that are no text, mappings that are none: never an exception."""
    with ptx.baggage(given, good="1"):
        assert ptx.get_baggage() == {"good": "1"}
    assert ptx.stats()["baggage_left_out"] == left_out


def test_a_mapping_that_raises_is_left_out_unless_it_is_ctrl_c(recording: Recording) -> None:
    """Errors out of user code are swallowed; a KeyboardInterrupt passes."""

    class Mapping(dict[str, str]):
        def items(self) -> Any:
            raise error

    error: BaseException = RuntimeError("not ours")
    with ptx.baggage(Mapping(), good="1"):
        assert ptx.get_baggage() == {"good": "1"}
    assert ptx.stats()["baggage_left_out"] == 1
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        ptx.baggage(Mapping())


def test_limits(recording: Recording) -> None:
    """180 entries and 8192 bytes: what comes last is left out."""
    with ptx.baggage({f"k{n}": "v" for n in range(200)}):
        assert list(ptx.get_baggage()) == [f"k{n}" for n in range(180)]
        with ptx.baggage(one_more="v"):
            assert len(ptx.get_baggage()) == 180
    with ptx.baggage(large="v" * 8000), ptx.baggage(larger="v" * 200, small="v"):
        assert sorted(ptx.get_baggage()) == ["large", "small"]
        header = sent()
        assert header is not None and len(header) <= 8192
    assert ptx.stats()["baggage_left_out"] == 20 + 1 + 1


def test_tasks_and_threads_keep_apart() -> None:
    """As context variables do, even where they share one context manager."""
    shared = ptx.baggage(shared="1")

    async def task(name: str) -> None:
        with ptx.baggage(task=name):
            await asyncio.sleep(0)
            with shared:
                await asyncio.sleep(0)
                assert ptx.get_baggage() == {"task": name, "shared": "1"}
                await asyncio.sleep(0.001 * int(name))
            assert ptx.get_baggage() == {"task": name}

    async def main() -> None:
        await asyncio.gather(*(task(str(n)) for n in range(3)))

    seen: list[dict[str, str]] = []
    with ptx.baggage(outer="1"):
        thread = threading.Thread(target=lambda: seen.append(ptx.get_baggage()))
        thread.start()
        thread.join()
    assert seen == [{"outer": "1"} if THREADS_INHERIT else {}]
    asyncio.run(main())
    with shared, shared:
        assert ptx.get_baggage() == {"shared": "1"}
    assert ptx.get_baggage() == {}
