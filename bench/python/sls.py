"""Logs to Aliyun SLS, end to end: one thread logs 40 000 records with three attributes, a sink in the place
of the service counts what arrives. Fewer than the official handler's queue holds: nobody waits for room.

Logs per second are those until everything is delivered; processor time is that of the whole process. Ours
must lose nothing. Ratios are taken within a round, then the median of those.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from report import number, times
from session import ALIYUN, OURS, Session, WrongResult

PUBLISHED = "pytracingx 0.3.0"
# So many times less processor time a log, each compared with what is called in the same way.
LESS_CPU = {ALIYUN: 20.0, PUBLISHED: 4.0}


def run(session: Session) -> None:
    count = session.size(40_000, 500)
    ways = [
        (f"{library}, {'logging' if stdlib else 'its logger'}", library, stdlib)
        for library in session.sls_libraries
        for stdlib in ((1,) if library == ALIYUN else (0, 1))
    ]
    rounds: list[dict[str, dict[str, Any]]] = []
    for _ in range(session.size(3, 1)):
        results = {}
        for name, library, stdlib in ways:
            result = session.work(library, "sls", count=count, stdlib=stdlib)
            arrived = result["sink"]
            if library == OURS and not count == arrived["logs"] == arrived["distinct_logs"]:
                raise WrongResult(f"{name}: recorded {count} logs, {arrived['logs']} arrived")
            result["per_second"] = arrived["logs"] / result["delivered_s"]
            result["lost"] = 1 - arrived["distinct_logs"] / count
            results[name] = result
        rounds.append(results)

    def middle(name: str, key: str) -> float:
        return median(results[name][key] for results in rounds)

    def ratio(name: str, ours: str, key: str) -> float:
        """How many times better ours is."""
        pairs = [(results[name][key], results[ours][key]) for results in rounds]
        return median(ours / other if key == "per_second" else other / ours for other, ours in pairs)

    rows, missed = [], []
    for name, library, stdlib in ways:
        ours = f"{OURS}, {'logging' if stdlib else 'its logger'}"
        against = [] if library == OURS else [ratio(name, ours, key) for key in ("per_second", "cpu_us")]
        rows.append(
            [
                name,
                number(middle(name, "per_second")),
                number(middle(name, "wall_us")),
                number(middle(name, "cpu_us")),
                f"{middle(name, 'lost'):.1%}",
                *(map(times, against) if against else ("", "")),
            ]
        )
        if against and against[1] < LESS_CPU[library]:
            missed.append(f"{name}: {times(against[1])}, {times(LESS_CPU[library])} wanted")
    columns = [f"{count} logs", "logs/s", "µs to log", "µs CPU a log", "lost", "logs/s, ours", "CPU, ours"]
    notes = f"{OURS}: all arrived, each once. Processor time against what is called in the same way: "
    notes += "; ".join(missed) if missed else "goals met."
    session.show("sls", "Logs to Aliyun SLS", notes, columns, rows)
