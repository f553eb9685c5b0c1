"""A bad endpoint beside a good one: what that does to the good one's batches, to a flush of one second, and
to what the flush says.

A span is recorded every 20 ms, batches are due after 100 ms. The delay of a span is from its end to its
arrival at the good endpoint; what is shown is how much longer than without the bad one. A flush that has not
returned after eight seconds is not waited for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median
from typing import Any

from session import OURS, ROOT, Session, WrongResult

RIVAL = "opentelemetry-sdk"


def kinds(session: Session) -> dict[str, Callable[[], AbstractContextManager[str]]]:
    """The tests' own bad endpoints."""
    sys.path.insert(0, str(ROOT / "tests" / "python"))
    import faults

    every = {
        "refuses": faults.refusing,
        "does not accept": faults.black_hole,
        "never answers": faults.hung,
        "answers a byte at a time": faults.trickling,
        "sends garbage": faults.garbage,
        "sends without end": faults.endless_body,
    }
    return {name: every[name] for name in ["refuses", "never answers"]} if session.check else every


def run(session: Session) -> None:
    plan: dict[str, Any] = {
        "every_s": 0.02,
        "delay_ms": 100,
        "settle_s": session.size(800, 400) / 1000,
        "steady_s": session.size(2000, 300) / 1000,
        "flush_ms": session.size(1000, 100),
        "patience_s": session.size(8000, 500) / 1000,
    }
    rows = []
    for library in [name for name in (OURS, RIVAL) if name in session.libraries]:
        alone = measure(session, library, plan, nullcontext(None), "http")
        for protocol in ["http", "grpc"] if library == OURS and not session.check else ["http"]:
            for kind, fault in kinds(session).items():
                if library == RIVAL and kind == "sends without end":
                    continue  # it has no limit to what it reads into memory
                row = measure(session, library, plan, fault(), protocol)
                if library == OURS and (row["lost"] or row["flush_s"] is None):
                    raise WrongResult(f"{kind}: {row['lost']} lost, flush {row['flush_s']}")
                rows.append([f"{library}, {protocol}: {kind}", *cells(row, alone, plan)])
    columns = [
        "the bad one …",
        "delay p50, ms more",
        "max, ms more",
        "overrun of the flush, ms",
        "it said",
        "lost by the good one",
    ]
    notes = "`True` is right only where the bad endpoint refused its spans for good, as one without end does."
    session.show("isolation", "A bad endpoint beside a good one", notes, columns, rows)


def measure(
    session: Session,
    library: str,
    plan: dict[str, Any],
    fault: AbstractContextManager[str | None],
    protocol: str,
) -> dict[str, Any]:
    """One run; adds the delays and what the good endpoint never got."""
    session.sink.delays()
    with fault as bad:
        good = f"{session.sink.endpoint}/v1/traces"
        result = session.export(library, "isolation", good=good, bad=bad, protocol=protocol, **plan)
    delays = session.sink.delays()
    return {**result, "delays": delays, "lost": result["recorded"] - len(delays)}


def cells(row: dict[str, Any], alone: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """As shown."""

    def more(of: Callable[[list[float]], float]) -> str:
        return f"{of(row['delays']) - of(alone['delays']):+.0f}" if row["delays"] else "–"

    if row["flush_s"] is None:
        overrun = f"> {plan['patience_s'] * 1000 - plan['flush_ms']:.0f}"
    else:
        overrun = f"{max(0.0, row['flush_s'] * 1000 - plan['flush_ms']):.0f}"
    told = "nothing yet" if row["told"] is None else str(row["told"])
    return [more(median), more(max), overrun, told, str(row["lost"])]
