"""What tracing every request of every step costs the scheduler of vLLM: its real class where an interpreter
that has vLLM is named (BENCH_VLLM_PYTHON), else the stand-in of the tests.

Ours is the plugin as it is installed; the rivals make the same spans from the same methods by hand. Off and
on take turns within a process. Every span of ours must arrive.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from hot_path import verdict
from report import number
from rivals import interpreters, output
from session import OURS, Session, WrongResult

LIBRARIES = [OURS, "pytracingx 0.3.0", "opentelemetry-sdk"]
RUNNING = (32, 256)
LIMIT = 0.01
ASK = "import sysconfig; print(sysconfig.get_path('platlib'))"


def run(session: Session) -> None:
    libraries = [name for name in LIBRARIES if name in session.libraries]
    vllm = os.environ.get("BENCH_VLLM_PYTHON")
    named = interpreters(vllm, libraries) if vllm else session.interpreters
    rows, real = [], False
    for running in RUNNING:
        for library in libraries:
            result = work(session, vllm or named[library], named[library], library, running)
            real = result["real"]
            session.demand_all(library, result["spans"], result["sink"])
            share = result["median_share"]
            lost = 1 - result["sink"]["distinct"] / result["spans"]
            rows.append(
                [
                    f"{running} running, {library}",
                    *(number(value) for value in result["off_us"]),
                    *(number(value) for value in result["on_us"]),
                    number(result["inside_us"] - result["clocks_us"]),
                    f"{share:.2%}",
                    f"{result['share']:.2%}",
                    f"{lost:.1%}",
                    verdict(f"≤ {LIMIT:.0%}", share <= LIMIT) if library == OURS else "",
                ]
            )
    columns = ["µs a step", "off p50", "p99", "p99.9", "on p50", "p99", "p99.9"]
    columns += ["inside p50", "share of p50", "of the sum", "lost", "goal"]
    which = "vLLM's own Scheduler" if real else "The stand-in of the tests, whose steps are far shorter"
    notes = (
        f"{which}. Inside: what wrapped methods take beyond vLLM's own, and whatever\nthe machine does "
        "meanwhile: the exporters' threads share its processors. The clocks' own time is taken off."
    )
    session.show("scheduler", "One span for each request in each step of a scheduler", notes, columns, rows)


def work(session: Session, python: str, site: str, library: str, running: int) -> dict[str, Any]:
    """A process of scheduler_loop.py under `python`, with the library from the interpreter `site`."""
    session.sink.stats()
    script = str(Path(__file__).with_name("scheduler_loop.py"))
    sizes = [str(running), str(session.size(10, 1)), str(session.size(200, 20))]
    environment = {**os.environ, "PYTHONPATH": output([site, "-c", ASK])}
    done = subprocess.run(
        [python, script, library, session.sink.endpoint, *sizes],
        env=environment,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    if done.returncode:
        raise WrongResult(f"{library}, scheduler: exit {done.returncode}\n{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    result["sink"] = session.sink.stats()
    return result
