"""What a call costs the thread that makes it, beside the C floor and the rivals, everything exporting to a
local sink.

Rounds are interleaved: in each, every library runs all operations in a fresh process. A cell is the median
of the rounds; ratios are taken within a round, then the median of those. Ratios to the floor leave the empty
loop out, ratios to rivals do not. Every span of ours must arrive.
"""

from __future__ import annotations

from statistics import median

from adapters import RECORD, SPAN, SPAN_1, SPAN_3_2
from report import number, times
from session import FLOOR, OURS, Session

ROWS = [SPAN, SPAN_1, SPAN_3_2, RECORD]
LOOP = "loop"


def run(session: Session) -> None:
    rounds = []
    for _ in range(session.size(5, 1)):
        results = {}
        for library in session.libraries:
            count = session.size(20_000, 100)
            result = session.work(library, "hot_path", count=count, repeats=session.size(5, 1))
            session.demand_all(library, result["spans"], result["sink"])
            results[library] = result["ns"]
        rounds.append(results)

    def cost(library: str, row: str) -> str:
        present = [results[library][row] for results in rounds if row in results[library]]
        return number(median(present)) if present else "–"

    def ratio(other: str, row: str) -> str:
        if other not in session.libraries or row not in rounds[0][other].keys() & rounds[0][OURS].keys():
            return "–"
        if other == FLOOR:
            ratios = [
                (r[OURS][row] - r[OURS][LOOP]) / max(0.1, r[FLOOR][row] - r[FLOOR][LOOP]) for r in rounds
            ]
        else:
            ratios = [r[other][row] / r[OURS][row] for r in rounds]
        return times(median(ratios))

    rivals = [name for name in session.libraries if name not in (OURS, FLOOR)]
    floors = [name for name in session.libraries if name == FLOOR]
    columns = [
        "ns per operation",
        *floors,
        OURS,
        *rivals,
        "ours : floor",
        *(f"{name} : ours" for name in rivals),
    ]
    rows = [
        [
            row,
            *(cost(name, row) for name in [*floors, OURS, *rivals]),
            ratio(FLOOR, row),
            *(ratio(n, row) for n in rivals),
        ]
        for row in ROWS
    ]
    rows.append(
        [
            "the empty loop",
            *(cost(name, LOOP) for name in [*floors, OURS, *rivals]),
            "",
            *("" for _ in rivals),
        ]
    )
    notes = "Medians of interleaved rounds. `ours : floor` is without the empty loop, other ratios with it."
    session.show("hot_path", "Hot path", notes, columns, rows)
    bars = {
        row: {
            name: median(results[name][row] for results in rounds)
            for name in [*floors, OURS, *rivals]
            if row in rounds[0][name]
        }
        for row in ROWS
    }
    session.chart("hot_path", "Cost of a call", "ns, logarithmic", bars)
