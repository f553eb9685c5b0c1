"""How long single calls take at 10 000 spans a second while export is running.

Blocks of steps with a span and without alternate in one process; a step without is what the machine and the
measuring do on their own, and what a percentile has to be read against. Intervals are 95 %, by bootstrap
over blocks. On a busy or virtual machine the far percentiles are its own.
"""

from __future__ import annotations

import random

from report import number
from session import OURS, Session

PERCENTILES = [50, 99, 99.9, 100]
RESAMPLES = 200


def run(session: Session) -> None:
    steps, block = session.size(50_000, 200), session.size(500, 50)
    rows = []
    bars: dict[str, dict[str, float]] = {f"p{percentile:g}": {} for percentile in PERCENTILES[:-1]}
    for library in session.tracers:
        result = session.work(
            library, "latency", steps=steps, per_second=session.size(10_000, 1000), block=block
        )
        session.demand_all(library, result["spans"], result["sink"])
        for state in ("off", "on"):
            if state == "off" and library != OURS:
                continue
            blocks = result["blocks"][state]
            cells = []
            for percentile, value, (low, high) in zip(PERCENTILES, every(blocks), intervals(blocks)):
                cells.append(f"{number(value)} [{number(low)}, {number(high)}]")
                if state == "on" and percentile < 100:
                    bars[f"p{percentile:g}"][library] = value
            rows.append([library if state == "on" else "no span", *cells, number(result["rate"])])
    columns = [
        "µs",
        *(f"p{percentile:g}" if percentile < 100 else "max" for percentile in PERCENTILES),
        "steps/s reached",
    ]
    notes = f"{steps} spans with 3 attributes and 2 set_attribute each; [95 % bootstrap interval]."
    session.show("latency", "Latency of a call at 10 000 spans/s", notes, columns, rows)
    session.chart("latency", "Latency of a call at 10 000 spans/s", "µs, logarithmic", bars)


def at(percentile: float, ordered: list[int]) -> float:
    """A percentile in µs."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percentile / 100))] / 1000


def every(blocks: list[list[int]]) -> list[float]:
    """All the percentiles."""
    ordered = sorted(length for part in blocks for length in part)
    return [at(percentile, ordered) for percentile in PERCENTILES]


def intervals(blocks: list[list[int]]) -> list[tuple[float, float]]:
    """The 95 % interval of each, drawing whole blocks: neighbours share disturbances.

    That of the maximum says how much it hangs on single blocks, and cannot lie above it.
    """
    draw = random.Random(1)
    drawn = [every(draw.choices(blocks, k=len(blocks))) for _ in range(RESAMPLES)]
    low, high = int(RESAMPLES * 0.025), int(RESAMPLES * 0.975)
    return [(values[low], values[high]) for values in map(sorted, zip(*drawn))]
