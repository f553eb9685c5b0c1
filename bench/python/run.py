"""All benchmarks: the Python ones here, then those of the core in Rust. See `make bench`.

python bench/python/run.py [hot_path|batch|throughput|latency|memory|llm|scheduler|sls|transport|isolation|
rust …] [--check] [--out FOLDER [--resume]] [--python PYTHON]

With `--resume` a benchmark whose table is in the folder already is left out, so that a run which was stopped
goes on where it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import batch
import hot_path
import isolation
import latency
import llm
import memory
import report
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
# The table that a benchmark writes last, where that has another name.
LAST_TABLE = {"throughput": "threads"}


def main() -> int:
    parser = options("Run the benchmarks.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(PYTHON_BENCHMARKS)}, rust; all if none"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what the folder has")
    parser.set_defaults(python=os.environ.get("BENCH_PYTHON", "python3"))
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {*PYTHON_BENCHMARKS, "rust"}
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}")
    if arguments.resume and not arguments.out:
        parser.error("--resume needs --out")
    names = arguments.names or [*PYTHON_BENCHMARKS, "rust"]
    if arguments.resume:
        names = [
            name for name in names if not Path(arguments.out, f"{LAST_TABLE.get(name, name)}.md").exists()
        ]
    taken: dict[str, float] = {}
    began = time.monotonic()
    try:
        if set(names) & set(PYTHON_BENCHMARKS):
            with Sink() as sink:
                session = Session(arguments, sink)
                taken["venvs and builds"] = time.monotonic() - began
                for name, benchmark in PYTHON_BENCHMARKS.items():
                    if name in names:
                        since = time.monotonic()
                        benchmark(session)
                        taken[name] = time.monotonic() - since
    except (Missing, WrongResult) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    status = 0
    if "rust" in names:
        since = time.monotonic()
        status = rust(arguments.check, arguments.out, arguments.python)
        taken["rust"] = time.monotonic() - since
    each = ", ".join(f"{name} {seconds:.0f}" for name, seconds in taken.items())
    print(f"bench: {time.monotonic() - began:.0f} s: {each}")
    return status


def rust(check: bool, out: str | None, python: str) -> int:
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
        text = f"# The core in Rust\n\n```\n{done.stdout.strip()}\n```\n\n{report.machine(python)}\n"
        Path(out, "rust.md").write_text(text)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
