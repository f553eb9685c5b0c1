"""End to end at full speed: one thread records 200 000 spans with three attributes, the sink counts what
arrives.

Wall time is that of recording; processor time is that of the whole process, export included. Ours must lose
nothing.
"""

from __future__ import annotations

from statistics import median

from report import number
from session import FLOOR, OURS, Session


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
