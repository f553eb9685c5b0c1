"""End to end at full speed: one thread records 200 000 spans with three attributes, the sink counts what
arrives.

Wall time is that of recording; processor time is that of the whole process, export included. Ours must lose
nothing. Then what a span costs the threads that record when eight do so at once, in processor time of those
threads, beside one alone in the same process.
"""

from __future__ import annotations

from statistics import median

from hot_path import verdict
from report import number, times
from session import FLOOR, OURS, Session

THREADS = 8
# What a span may cost then, of what it costs alone.
MORE = 1.1


def run(session: Session) -> None:
    count = session.size(200_000, 500)
    libraries = [name for name in session.tracers if name != FLOOR]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in libraries}
    for _ in range(session.size(3, 1)):
        for library in libraries:
            result = session.work(library, "throughput", count=count)
            arrived = result["sink"]
            session.demand_all(library, count, arrived)
            lost = 1 - arrived["spans"] / count
            result.update(lost=lost, wire=arrived["bytes"] / max(1, arrived["spans"]))
            results[library].append(result)

    def middle(library: str, key: str) -> float:
        return median(result[key] for result in results[library])

    rows = [
        [
            library,
            number(middle(library, "wall_us")),
            number(middle(library, "cpu_us")),
            number(middle(library, "delivered_s")),
            f"{middle(library, 'lost'):.1%}",
            number(middle(library, "wire")),
        ]
        for library in libraries
    ]
    columns = [
        f"{count} spans",
        "µs wall a span",
        "µs CPU a span",
        "s until delivered",
        "lost",
        "bytes a span",
    ]
    session.show(
        "throughput",
        "Throughput, one thread at full speed",
        f"{OURS}: all arrived, each once.",
        columns,
        rows,
    )
    bars = {
        "wall time to record a span": {name: middle(name, "wall_us") for name in libraries},
        "processor time for a span, exported": {name: middle(name, "cpu_us") for name in libraries},
    }
    session.chart("throughput", "Cost of a span end to end", "µs, logarithmic", bars)
    threads(session, libraries)


def threads(session: Session, libraries: list[str]) -> None:
    rows = []
    for library in libraries:
        sizes = {"count": session.size(20_000, 160), "rounds": session.size(21, 1)}
        result = session.work(library, "threads", threads=THREADS, **sizes)
        session.demand_all(library, result["spans"], result["sink"])
        alone, together = result["cpu_us"]
        ratio = median(many / one for one, many in zip(alone, together))
        goal = verdict(f"≤ {times(MORE)}", ratio <= MORE) if library == OURS else ""
        rows.append([library, number(median(alone)), number(median(together)), times(ratio), goal])
    columns = ["µs CPU a span", "one thread", f"{THREADS} threads", "ratio", "goal"]
    notes = "Of the recording threads alone; medians of rounds that alternate within one process."
    session.show("threads", f"{THREADS} threads record at once", notes, columns, rows)
