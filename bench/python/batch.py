"""One span for each running request, in one step of a scheduler: what a step costs, per span.

Ours records the step in one call, the rivals make the same spans one by one under the same parents, in the
cheapest way that each has. Steps come in bursts of 8,192 spans with pauses between, so that no lane or queue
is full, and one by one after a pause, as a scheduler with a GPU to wait for makes them: then caches are cold.
Rounds are interleaved; a cell is the median of the rounds, ratios are taken within a round. Every span of
ours must arrive.
"""

from __future__ import annotations

from statistics import median

from adapters import BATCH_SIZES
from hot_path import verdict
from report import number, times
from session import OURS, Session

LIBRARIES = [OURS, "pytracingx 0.3.0", "opentelemetry-sdk"]
# ns a span: two columns at the larger size.
LIMIT = 60


def run(session: Session) -> None:
    libraries = [name for name in LIBRARIES if name in session.libraries]
    rounds = []
    alone = []
    for _ in range(session.size(5, 1)):
        results = {}
        for library in libraries:
            sizes = {
                "bursts": session.size(20 if library == OURS else 3, 1),
                "spans": session.size(8192, 256),
            }
            result = session.work(library, "batch", **sizes, alone=session.size(50, 1))
            session.demand_all(library, result["spans"], result["sink"])
            results[library] = result["ns"]
            if library == OURS:
                alone.append(result["alone_ns"])
        rounds.append(results)
    rivals = libraries[1:]
    rows = []
    for row in rounds[0][OURS]:
        size, _, work = row.partition(" × ")
        # What a rival makes is the same whatever the columns are kept in.
        theirs = f"{size} × {work.split(',')[0]}"
        ours = median(results[OURS][row] for results in rounds)
        goal = ""
        if int(size) == max(BATCH_SIZES) and work.startswith("2 attributes"):
            goal = verdict(f"≤ {LIMIT} ns", ours <= LIMIT)
        present = [name for name in rivals if theirs in rounds[0][name]]
        costs = {name: median(results[name][theirs] for results in rounds) for name in present}
        ratios = {name: median(r[name][theirs] / r[OURS][row] for r in rounds) for name in present}
        rows.append(
            [
                row,
                number(ours),
                number(median(results[row] for results in alone)),
                *(number(costs[name]) if name in costs else "–" for name in rivals),
                *(times(ratios[name]) if name in ratios else "–" for name in rivals),
                goal,
            ]
        )
    columns = [
        "ns per span",
        OURS,
        f"{OURS}, a step alone",
        *rivals,
        *(f"{name} : ours" for name in rivals),
        "goal",
    ]
    notes = "A step of one span for each of 32 or 256 requests: a text name, explicit parents, given times."
    session.show("batch", "A scheduler's step", notes, columns, rows)


__all__ = ["run"]
