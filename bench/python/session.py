"""One run of the benchmarks: its options, the interpreters, the sink, and where results go."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import report
from rivals import ABI3, ALIYUN, FLOOR, OURS, PINNED, ROOT, Missing, interpreters
from sink import Sink

LIBRARIES = [OURS, "pytracingx 0.3.0", "opentelemetry-sdk", "ddtrace", "prometheus_client", ALIYUN, FLOOR]
# What can send logs to Aliyun SLS; the last does nothing else.
SLS_LIBRARIES = [OURS, "pytracingx 0.3.0", ALIYUN]


class WrongResult(Exception):
    """A benchmark did not do what it says it measures."""


# Libraries that have no spans.
METRICS_ONLY = ("prometheus_client",)


class Session:
    """Shared by the benchmarks of a run. `check` asks for tiny sizes, whose figures mean nothing."""

    def __init__(self, arguments: argparse.Namespace, sink: Sink) -> None:
        self.check: bool = arguments.check
        self.out: Path | None = arguments.out and Path(arguments.out)
        self.sink = sink
        self.python: str = arguments.python
        self.libraries = [name for name in LIBRARIES if name in (OURS, *arguments.libraries)]
        self.interpreters = {}
        for name in list(self.libraries):
            try:
                self.interpreters.update(interpreters(self.python, [name]))
            except Missing as missing:
                if not self.check:
                    raise
                print(f"without the {name}: {missing}")
                self.libraries.remove(name)
        self.sls_libraries = [name for name in self.libraries if name in SLS_LIBRARIES]
        self.libraries = [name for name in self.libraries if name != ALIYUN]

    def add(self, library: str) -> None:
        """Make a library's interpreter that the run did not ask for."""
        self.interpreters.update(interpreters(self.python, [library]))

    @property
    def tracers(self) -> list[str]:
        """The libraries that record spans, the C floor among them."""
        return [name for name in self.libraries if name not in METRICS_ONLY]

    def size(self, full: int, tiny: int) -> int:
        """A size for this run."""
        return tiny if self.check else full

    def work(self, library: str, task: str, **parameters: int) -> dict[str, Any]:
        """Run a task of worker.py in a fresh process of a library; adds `sink`, what arrived meanwhile."""
        self.sink.stats()
        command = [self.interpreters[library], str(Path(__file__).with_name("worker.py")), library, task]
        command += [self.sink.endpoint, *(f"{name}={value}" for name, value in parameters.items())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
        if done.returncode:
            raise WrongResult(f"{library}, {task}: exit {done.returncode}\n{done.stderr[-4000:]}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        result["sink"] = self.sink.stats()
        return result

    def export(self, library: str, task: str, **parameters: Any) -> dict[str, Any]:
        """Run a task of exports.py in a fresh process of a library."""
        script = str(Path(__file__).with_name("exports.py"))
        command = [self.interpreters[library], script, library, task, json.dumps(parameters)]
        # The requests library prefers these to the authority that it is given.
        others = {key: value for key, value in os.environ.items() if not key.endswith("_CA_BUNDLE")}
        done = subprocess.run(command, env=others, capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise WrongResult(f"{library}, {task}: exit {done.returncode}\n{done.stderr[-4000:]}")
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def demand_all(self, library: str, recorded: int, arrived: dict[str, int]) -> None:
        """Of ours every span must have arrived, once."""
        if library in (OURS, ABI3) and not recorded == arrived["spans"] == arrived["distinct"]:
            raise WrongResult(
                f"recorded {recorded} spans, {arrived['spans']} arrived, {arrived['distinct']} distinct"
            )

    def demand_signals(self, library: str, result: dict[str, Any]) -> None:
        """Of ours everything must have arrived: each span and log record, and the sum of all measurements."""
        arrived = result["sink"]
        self.demand_all(library, result["spans"], arrived)
        for signal in ("measurements", "logs"):
            if library in (OURS, ABI3) and result[signal] != arrived[signal]:
                raise WrongResult(f"recorded {result[signal]} {signal}, {arrived[signal]} arrived")

    def show(self, name: str, title: str, notes: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table, and write it when results are kept."""
        text = report.table(columns, rows)
        print(f"\n{title}\n\n{text}\n{notes}\n", flush=True)
        if self.out and not self.check:
            self.out.mkdir(parents=True, exist_ok=True)
            machine = report.machine(self.python)
            (self.out / f"{name}.md").write_text(f"# {title}\n\n{text}\n{notes}\n\n{machine}\n")

    def chart(self, name: str, title: str, unit: str, bars: dict[str, dict[str, float]]) -> None:
        """Write a bar chart, groups of (label, value), when results are kept."""
        svg = report.bar_chart(title, unit, bars)
        if self.out and not self.check:
            self.out.mkdir(parents=True, exist_ok=True)
            (self.out / f"{name}.svg").write_text(svg)


def options(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--check", action="store_true", help="tiny sizes: proves that the benchmarks work, no figures"
    )
    parser.add_argument("--out", help="folder for tables and charts")
    parser.add_argument("--python", default="python3", help="interpreter to measure under")
    parser.add_argument(
        "--libraries", nargs="*", default=[*PINNED, FLOOR], choices=[*PINNED, FLOOR], help="beside ours"
    )
    return parser


__all__ = ["ABI3", "ALIYUN", "FLOOR", "LIBRARIES", "OURS", "ROOT", "Session", "WrongResult", "options"]
