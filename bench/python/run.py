"""All benchmarks: the Python ones here, then those of the core in Rust. See `make bench`.

python bench/python/run.py [hot_path|batch|throughput|latency|memory|llm|scheduler|sls|transport|isolation|
rust …] [--check] [--out FOLDER] [--python PYTHON]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import batch
import hot_path
import isolation
import latency
import llm
import memory
import scheduler
import sls
import throughput
import transport
from rivals import Missing
from session import ROOT, Session, WrongResult, options
from sink import Sink

PYTHON_BENCHMARKS = {
    "hot_path": hot_path.run,
    "batch": batch.run,
    "throughput": throughput.run,
    "latency": latency.run,
    "memory": memory.run,
    "llm": llm.run,
    "scheduler": scheduler.run,
    "sls": sls.run,
    "transport": transport.run,
    "isolation": isolation.run,
}


def main() -> int:
    parser = options("Run the benchmarks.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(PYTHON_BENCHMARKS)}, rust; all if none"
    )
    parser.set_defaults(python=os.environ.get("BENCH_PYTHON", "python3"))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {*PYTHON_BENCHMARKS, "rust"}
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}")
    names = arguments.names or [*PYTHON_BENCHMARKS, "rust"]
    try:
        if set(names) & set(PYTHON_BENCHMARKS):
            with Sink() as sink:
                session = Session(arguments, sink)
                for name, benchmark in PYTHON_BENCHMARKS.items():
                    if name in names:
                        benchmark(session)
    except (Missing, WrongResult) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return rust(arguments.check, arguments.out) if "rust" in names else 0


def rust(check: bool, out: str | None) -> int:
    """The benchmarks of ring, drain and encoding; they assert their own results."""
    command = [
        "cargo",
        "run",
        "--release",
        "--quiet",
        "--manifest-path",
        str(ROOT / "bench" / "Cargo.toml"),
        "--",
    ]
    done = subprocess.run([*command, *(["--check"] if check else [])], stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    if out and not check:
        Path(out).mkdir(parents=True, exist_ok=True)
        Path(out, "rust.md").write_text(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
