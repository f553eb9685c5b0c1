"""What a call costs the thread that makes it, beside the C floor and the rivals, everything exporting to a
local sink.

Rounds are interleaved: in each, every library runs all operations in a fresh process, each operation once
the machine is quiet. A cell is the median of the rounds; ratios are taken within a round, then the median of
those. Ratios to the floor leave the empty loop out, ratios to rivals do not. Every span and log record of
ours must arrive, and the sum of its measurements be right.
"""

from __future__ import annotations

from statistics import median

from adapters import (
    BOUND,
    COUNTER,
    COUNTER_1,
    EMPTY,
    GAUGE,
    LOG,
    LOG_1,
    LOGS,
    LOOP,
    MEASUREMENTS,
    NULL,
    SPANS,
    STDLIB,
)
from report import number, times
from session import ABI3, FLOOR, OURS, Session

ROWS = [*SPANS, *MEASUREMENTS, GAUGE, *LOGS]
CONTEXT = [NULL, EMPTY, LOOP]
PUBLISHED = "pytracingx 0.3.0"
# So many times faster than 0.3.0.
FASTER = {COUNTER: 1.8, COUNTER_1: 2.5, LOG: 8.0, LOG_1: 10.0}
BOUND_LIMIT = 1.4  # times an empty call, without the loop
STDLIB_LIMIT = 1000  # ns over a NullHandler


def run(session: Session) -> None:
    rounds = []
    builds = [OURS] if session.check else [OURS, ABI3]
    others = [name for name in session.libraries if name != OURS]
    for build in builds[1:]:
        session.add(build)
    for _ in range(session.size(7, 1)):
        results = {}
        for library in [*builds, *others]:
            count = session.size(8000, 100)
            result = session.work(library, "hot_path", count=count, repeats=session.size(5, 1))
            session.demand_signals(library, result)
            results[library] = result["ns"]
        rounds.append(results)

    def cost(library: str, row: str) -> str:
        present = [results[library][row] for results in rounds if row in results[library]]
        return number(median(present)) if present else "–"

    def ratio(other: str, row: str, ours: str = OURS) -> str:
        if other not in others or row not in rounds[0][other].keys() & rounds[0][ours].keys():
            return "–"
        if other == FLOOR:
            ratios = [
                (r[ours][row] - r[ours][LOOP]) / max(0.1, r[FLOOR][row] - r[FLOOR][LOOP]) for r in rounds
            ]
        else:
            ratios = [r[other][row] / r[ours][row] for r in rounds]
        return times(median(ratios))

    def goal(row: str) -> str:
        if row in FASTER and PUBLISHED in session.libraries:
            reached = median(r[PUBLISHED][row] / r[OURS][row] for r in rounds)
            return verdict(f"≥ {times(FASTER[row])} 0.3.0", reached >= FASTER[row])
        if row == BOUND and FLOOR in session.libraries:
            reached = median(
                (r[OURS][row] - r[OURS][LOOP]) / max(0.1, r[FLOOR][EMPTY] - r[FLOOR][LOOP]) for r in rounds
            )
            limit = f"≤ {times(BOUND_LIMIT)} an empty call, is {times(reached)}"
            return verdict(limit, reached <= BOUND_LIMIT)
        if row == STDLIB:
            over = median(r[OURS][row] - r[OURS][NULL] for r in rounds)
            return verdict(f"≤ NullHandler + 1 µs, is + {number(over)} ns", over <= STDLIB_LIMIT)
        return ""

    rivals = [name for name in session.libraries if name not in (OURS, FLOOR)]
    floors = [name for name in session.libraries if name == FLOOR]
    abi3 = builds[1:] if PUBLISHED in others else []
    columns = [
        "ns per operation",
        *floors,
        *builds,
        *rivals,
        "ours : floor",
        *(f"{name} : ours" for name in rivals),
        *(f"{PUBLISHED} : {name}" for name in abi3),
        "goal",
    ]
    rows = [
        [
            row,
            *(cost(name, row) for name in [*floors, *builds, *rivals]),
            ratio(FLOOR, row),
            *(ratio(n, row) for n in rivals),
            *(ratio(PUBLISHED, row, build) for build in abi3),
            goal(row),
        ]
        for row in ROWS
    ]
    for row in CONTEXT:
        costs = (cost(name, row) for name in [*floors, *builds, *rivals])
        rows.append([row, *costs, "", *("" for _ in [*rivals, *abi3]), ""])
    notes = "Medians of interleaved rounds. `ours : floor` is without the empty loop, other ratios with it."
    session.show("hot_path", "Hot path", notes, columns, rows)
    bars = {
        row: {
            name: median(results[name][row] for results in rounds)
            for name in [*floors, *builds, *rivals]
            if row in rounds[0][name]
        }
        for row in ROWS
    }
    session.chart("hot_path", "Cost of a call", "ns, logarithmic", bars)


def verdict(limit: str, met: bool) -> str:
    """The limit, and whether it is kept."""
    return f"{limit}: {'met' if met else 'MISSED'}"
