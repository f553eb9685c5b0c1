"""Resident memory after start and 20 000 spans, with 64 recording threads, the time an import takes, and the
processor time of a process in which nothing is recorded any more.

Memory is over the same Python process without the library; the threads' own is taken off.
"""

from __future__ import annotations

from statistics import median

from report import number
from session import FLOOR, Session

MEBI = 1024 * 1024


def run(session: Session) -> None:
    count, threads = session.size(20_000, 640), session.size(64, 4)
    libraries = [name for name in session.tracers if name != FLOOR]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in libraries}
    for _ in range(session.size(5, 1)):
        for library in libraries:
            result = session.work(library, "memory", count=count, threads=threads)
            session.demand_all(library, int(result["spans"]), result["sink"])
            plain = session.work(library, "plain_memory", threads=threads)
            result["threads"] -= plain["threads"]
            results[library].append(result)

    idle = {}
    for library in libraries:
        result = session.work(library, "idle", count=1000, tenths=session.size(100, 2))
        session.demand_all(library, result["spans"], result["sink"])
        idle[library] = result["share"]

    def middle(library: str, key: str) -> float:
        return median(result[key] for result in results[library])

    rows = [
        [
            library,
            number(middle(library, "single") / MEBI),
            number(middle(library, "threads") / MEBI),
            number(middle(library, "import_s") * 1000),
            f"{idle[library]:.3%}",
        ]
        for library in libraries
    ]
    columns = [
        "",
        f"MiB after {count} spans",
        f"MiB, {threads} more threads recording",
        "ms to import",
        "CPU when idle",
    ]
    notes = "Over plain Python, medians. Idle: ten seconds after 1000 spans have been exported."
    session.show("memory", "Memory, import and idle time", notes, columns, rows)
    bars = {
        f"after start and {count} spans": {name: middle(name, "single") / MEBI for name in libraries},
        f"with {threads} more threads recording": {
            name: middle(name, "threads") / MEBI for name in libraries
        },
    }
    session.chart("memory", "Resident memory over plain Python", "MiB, logarithmic", bars)
