"""Every case of the fault report, in the order of its table: the network's faults, overflow, forks, ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import faults_network  # noqa: F401 (its cases come first)
from faults_case import CASES, DELIVERED, Answer, Case, OtlpServer, World, case, faults

# ---- overflow --------------------------------------------------------------------------------------------

ROOM = {"max_queue_bytes": 16 << 20, "config": {"lane_budget_bytes": 16 << 20, "ring_capacity": 1 << 20}}


@case(
    "Q1",
    "16 threads at full speed, the endpoint hangs",
    None,
    scenario="flood",
    plan={"threads": 16, "each": 40_000},
    grows_mib=16 + 16 + 8,
)
def _flood() -> Iterator[World]:
    with faults.hung() as endpoint:
        yield World(endpoint, options=dict(ROOM))


@case("Q3", "200 000 distinct span names", None, scenario="names", plan={"count": 200_000}, grows_mib=48)
def _names() -> Iterator[World]:
    server = OtlpServer()
    yield World(f"{server.endpoint}/v1/traces", server)
    server.close()


@case(
    "Q4",
    "100 000 attribute sets of a counter",
    None,
    scenario="cardinality",
    plan={"count": 100_000},
    grows_mib=50,
)
def _sets() -> Iterator[World]:
    server = OtlpServer()
    yield World(f"{server.endpoint}/v1/metrics", server)
    server.close()


# ---- forks, ends -----------------------------------------------------------------------------------------


def forking(id: str, what: str, **plan: Any) -> None:
    @case(id, what, DELIVERED, scenario="forks", plan=plan)
    def open() -> Iterator[World]:
        server = OtlpServer()
        server.default_answer = Answer(delay_s=0.02)
        yield World(f"{server.endpoint}/v1/traces", server)
        server.close()


forking("F1", "40 forks of a busy parent", kind="os.fork", children=40, depth=1, flushes=True)
forking("F2", "10 forks, 3 deep", kind="os.fork", children=10, depth=3, flushes=True)
forking("F3", "10 forks below Python", kind="C", children=10, depth=1, flushes=True)
forking("F4", "10 of multiprocessing, no flush", kind="multiprocessing", children=10, depth=1, flushes=False)
forking("F6", "a server, its engine, its worker", kind="multiprocessing", children=2, depth=2, flushes=False)


@case(
    "F8",
    "200 forks of 64 threads at full load",
    None,
    scenario="stalls",
    plan={"threads": 64, "children": 200},
    grows_mib=16 + 16 + 16,  # threads have stacks
)
def _stalls() -> Iterator[World]:
    server = OtlpServer()
    yield World(f"{server.endpoint}/v1/traces", server, options=dict(ROOM))
    server.close()


def ending(id: str, what: str, how: str, hung: bool = False) -> None:
    @case(id, what, "shutdown" if hung else DELIVERED, scenario="exits", plan={"ending": how, "count": 100})
    def open() -> Iterator[World]:
        server = OtlpServer()
        if hung:
            with faults.hung() as endpoint:
                yield World(endpoint, server)
        else:
            yield World(f"{server.endpoint}/v1/traces", server)
        server.close()


ending("X1", "return from main", "return")
ending("X1", "sys.exit", "sys.exit")
ending("X1", "an exception", "exception")
ending("X1", "Ctrl-C", "Ctrl-C")
ending("X5", "the end while the endpoint hangs", "return", hung=True)
ending("X6", "recording in an exit handler", "atexit")
ending("X6", "recording in finalizers at the end", "finalizers")
ending("X6", "daemon threads record at the end", "daemon threads")
ending("X10", "a signal handler records, 10 000 times a second", "signals")

# What of each kind is run by every `make test`.
SHORT = {
    *("N1 nothing listens; after the flush it does", "N3 accepts, never reads", "N12 200, a body of 300 MB"),
    *("N13 302 to another host", "N8 500", "N10 200, partial success: 50 of each request rejected"),
    *("F3 10 forks below Python", "X5 the end while the endpoint hangs", "X1 return from main"),
}
__all__ = ["CASES", "DELIVERED", "SHORT", "Case", "OtlpServer", "World"]
