"""Logs to Aliyun SLS, end to end: one thread logs 40 000 records with three attributes, a sink in the place
of the service counts what arrives. Fewer than the official handler's queue holds: nobody waits for room.

Logs per second are those until everything is delivered; processor time is that of the whole process. Ours
must lose nothing. Ratios are taken within a round, then the median of those.

Python's `logging` costs more, before any handler has it, than a twentieth of the official handler in all: so
it has a row of its own, and what is called through it is compared by the processor time beyond that. Ours by
its own logger is compared by all of it, with the others as they are called. In rows "with switches" everybody
has the optimisations that the documentation of `logging` names.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from report import number, times
from session import ALIYUN, OURS, Session, WrongResult
from sls_adapters import NULL, OWN, STDLIB, SWITCHED

PUBLISHED = "pytracingx 0.3.0"
# So many times less processor time a log.
LESS_CPU = {ALIYUN: 20.0, PUBLISHED: 4.0}
WAYS = {OWN: "its logger", STDLIB: "logging", SWITCHED: "logging with switches"}
Way = tuple[str, int]


def run(session: Session) -> None:
    count = session.size(40_000, 500)
    session.interpreters[NULL] = session.interpreters[OURS]
    ways: list[Way] = [
        (library, way)
        for way in WAYS
        for library in (*session.sls_libraries, NULL)
        if way != OWN or library not in (ALIYUN, NULL)
    ]
    rounds: list[dict[Way, dict[str, Any]]] = []
    for _ in range(session.size(3, 1)):
        results = {}
        for library, way in ways:
            result = session.work(library, "sls", count=count, way=way)
            arrived = result["sink"]
            if library == OURS and not count == arrived["logs"] == arrived["distinct_logs"]:
                raise WrongResult(f"{name(library, way)}: {count} recorded, {arrived['logs']} arrived")
            result["per_second"] = arrived["logs"] / result["delivered_s"]
            result["lost"] = 1 - arrived["distinct_logs"] / count
            results[library, way] = result
        for (_, way), result in results.items():
            result["beyond"] = result["cpu_us"] - results[NULL, way]["cpu_us"] if way != OWN else 0.0
        rounds.append(results)

    def middle(way: Way, key: str) -> float:
        return median(results[way][key] for results in rounds)

    def ratio(way: Way, ours: Way, key: str) -> float:
        """How many times better ours is."""
        pairs = [(results[way][key], results[ours][key]) for results in rounds]
        return median(ours / other if key == "per_second" else other / ours for other, ours in pairs)

    rows, missed = [], []
    for library, way in ways:
        each, ours = (library, way), (OURS, way)
        is_rival = library in LESS_CPU
        beyond = way != OWN and library != NULL
        rows.append(
            [
                name(library, way),
                number(middle(each, "per_second")) if library != NULL else "",
                number(middle(each, "wall_us")),
                number(middle(each, "cpu_us")),
                number(middle(each, "beyond")) if beyond else "",
                f"{middle(each, 'lost'):.1%}" if library != NULL else "",
                times(ratio(each, ours, "per_second")) if is_rival else "",
                times(ratio(each, ours, "cpu_us")) if is_rival else "",
                times(ratio(each, ours, "beyond")) if is_rival and beyond else "",
            ]
        )
        if is_rival:
            goals = [("beyond logging" if beyond else "in all", ours, "beyond" if beyond else "cpu_us")]
            if library == ALIYUN:
                goals.append(("against our own logger", (OURS, OWN), "cpu_us"))
            for what, mine, key in goals:
                if (factor := ratio(each, mine, key)) < LESS_CPU[library]:
                    wanted = times(LESS_CPU[library])
                    missed.append(f"{name(library, way)}, {what}: {times(factor)}, {wanted} wanted")
    columns = [f"{count} logs", "logs/s", "µs to log", "µs CPU a log", "beyond logging alone", "lost"]
    columns += ["logs/s, ours", "CPU, ours", "beyond, ours"]
    notes = f"{OURS}: all arrived, each once. "
    notes += "; ".join(missed) if missed else "Goals met."
    if ALIYUN in session.sls_libraries:
        twentieth = middle((ALIYUN, STDLIB), "cpu_us") / LESS_CPU[ALIYUN]
        notes += f"\nA twentieth of {ALIYUN} in all: {number(twentieth)} µs a log."
    session.show("sls", "Logs to Aliyun SLS", notes, columns, rows)


def name(library: str, way: int) -> str:
    if library == NULL:
        return NULL + (" with switches" if way == SWITCHED else "")
    return f"{library}, {WAYS[way]}"
