"""Run an example against the collector of this folder, and draw what arrived.

    python examples/run.py fastapi_middleware     # or: make example NAME=fastapi_middleware

The example is a program of its own, configured by nothing but environment variables, as in production. Exits
with the example's exit code.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from collector import Collector

EXAMPLES = Path(__file__).parent


def run(name: str, **variables: str) -> tuple[Collector, subprocess.CompletedProcess[str]]:
    """What arrived, and how the program ended. What its console showed is kept for failures."""
    with Collector() as collector:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": name,
            "OTEL_METRIC_EXPORT_INTERVAL": "10",  # ms, for a program that runs for a tenth of a second
            **variables,
        }
        command = [sys.executable, str(EXAMPLES / f"{name}.py")]
        return collector, subprocess.run(command, env=environment, capture_output=True, text=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run an example into a collector of its own.")
    parser.add_argument("name", choices=sorted(path.stem for path in EXAMPLES.glob("*_*.py")))
    name = parser.parse_args().name
    collector, program = run(name)
    collector.draw()
    print(program.stdout if program.returncode == 0 else program.stdout + program.stderr, end="")
    return program.returncode


if __name__ == "__main__":
    sys.exit(main())
