"""What a case of the fault report is, and the way to write one down.

Servers are the tests' own (tests/python/otlp_server.py, faults.py, proxy_server.py), which this module makes
importable.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "python"))
import faults
from otlp_server import Answer, OtlpServer, closed_port, partial_success
from proxy_server import Proxy

DELIVERED = "delivered"


@dataclass
class World:
    """A fault that has begun. `server` gets what arrives at all; nothing may arrive at `strangers`."""

    endpoint: str
    server: OtlpServer | None = None
    strangers: list[OtlpServer] = field(default_factory=list)
    lift: Callable[[], None] = lambda: None
    rejects: int = 0  # of each request that it takes
    options: dict[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A row of the table.

    `ours`: "delivered", or the reason for which all our spans are dropped; None where only the books are
    looked at. `taken`: the server took what is counted as dropped. `grows_mib`: our memory, at
    most.
    """

    id: str
    what: str
    open: Callable[[], AbstractContextManager[World]]
    ours: str | None
    scenario: str = "network"
    plan: Mapping[str, Any] = field(default_factory=dict)
    taken: bool = False
    grows_mib: float = 8

    @property
    def label(self) -> str:
        return f"{self.id} {self.what}"


CASES: list[Case] = []


def case(id: str, what: str, ours: str | None, *arguments: Any, **more: Any) -> Any:
    """Adds a case; the decorated context manager takes `arguments`."""

    def add(open: Callable[..., Iterator[World]]) -> Callable[..., Iterator[World]]:
        manager = contextmanager(open)
        CASES.append(Case(id, what, lambda: manager(*arguments), ours, **more))
        return open

    return add


def serving(server: OtlpServer, path: str = "/v1/traces", **more: Any) -> World:
    """The server is reached, and answers 200 from `lift` on."""

    def lift() -> None:
        server.default_answer = Answer()

    return World(server.endpoint + path, server, lift=lift, **more)


def answering(id: str, what: str, ours: str, ever: Answer, *first: Answer, **more: Any) -> None:
    """A case of a server that answers `first`, and then always `ever`, until the flush is over."""
    options = more.pop("options", {})

    @case(id, what, ours, **more)
    def open() -> Iterator[World]:
        server = OtlpServer()
        server.default_answer = ever
        server.answer_next(*first)
        yield serving(server, options=options)
        server.close()


__all__ = [
    "CASES",
    "DELIVERED",
    "Answer",
    "Case",
    "OtlpServer",
    "Proxy",
    "World",
    "answering",
    "case",
    "closed_port",
    "faults",
    "partial_success",
    "serving",
]
