"""What tracing an LLM engine costs the thread that does it: a token, a scheduler's step, a generation with
its span, metrics and percentiles, beside rivals that record the same.

Rounds are interleaved as in `hot_path`. Every span of ours must arrive.
"""

from __future__ import annotations

from statistics import median

from hot_path import verdict
from llm_loops import ROWS, STEP, TOKEN
from report import number, times
from session import OURS, Session

PUBLISHED, SDK = "pytracingx 0.3.0", "opentelemetry-sdk"
LIMITS = {TOKEN: 60, STEP: 500}  # ns


def run(session: Session) -> None:
    rivals = [name for name in (PUBLISHED, SDK) if name in session.libraries]
    rounds = []
    for _ in range(session.size(5, 1)):
        results = {}
        for library in [OURS, *rivals]:
            result = session.work(
                library, "llm", count=session.size(20_000, 4000), repeats=session.size(5, 1)
            )
            session.demand_all(library, result["spans"], result["sink"])
            results[library] = result["ns"]
        rounds.append(results)

    def cost(library: str, row: str) -> float:
        return median(results[library][row] for results in rounds)

    def ratio(library: str, row: str) -> str:
        return times(median(results[library][row] / results[OURS][row] for results in rounds))

    def goal(row: str) -> str:
        return verdict(f"≤ {LIMITS[row]} ns", cost(OURS, row) <= LIMITS[row]) if row in LIMITS else ""

    columns = ["ns", OURS, *rivals, *(f"{name} : ours" for name in rivals), "goal"]
    rows = [
        [row, *(number(cost(n, row)) for n in [OURS, *rivals]), *(ratio(n, row) for n in rivals), goal(row)]
        for row in ROWS
    ]
    notes = (
        "Medians of interleaved rounds, the loop included. A rival's token is an event on a span; its "
        "generation keeps\ntimes in a list and records each gap in a histogram."
    )
    session.show("llm", "LLM engines", notes, columns, rows)
    bars = {row: {name: cost(name, row) for name in [OURS, *rivals]} for row in ROWS}
    session.chart("llm", "Cost of tracing an LLM engine", "ns, logarithmic", bars)
