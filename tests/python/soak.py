"""What tests/python does for seconds, for as long as you like: `make soak`. Ends with 1 at the first crash, hang or loss.

exits     processes that end while threads, finalizers, exit handlers and signals record; each within 20 seconds
threads   short-lived threads that record once: memory flat, nothing lost
forks     children of a busy parent, each of which delivers what it recorded
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

from otlp_server import OtlpServer

BEGIN = """
import atexit, os, signal, sys, threading, time, weakref
import pytracingx as ptx
@atexit.register  # after ours; a storm of signals must be over when the interpreter takes its handlers away
def last(): ptx.start_span("late").end(); signal.setitimer(signal.ITIMER_REAL, 0)
ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http")], diagnostics="off", exit_timeout_ms=10_000))
def record(name="op"):
    with ptx.start_span(name, {"k": [1, "x"]}): pass
"""
# One of them after BEGIN, by turns; each records "op" once on its way out.
ENDS = [
    "record()",
    "atexit.register(record)",
    "threading.Thread(target=lambda: (time.sleep(0.01), record())).start()",
    "record()\nclass Late:\n    def __del__(self, record=record): record('late')\nlate = Late(); late.self = late; other = Late()",
    "record()\nclass Some: pass\nsome = Some(); weakref.finalize(some, record, 'late')",
    "record()\ndef work():\n    while True: record('late')\nfor _ in range(4): threading.Thread(target=work, daemon=True).start()",
    "signal.signal(signal.SIGALRM, lambda *_: record('late')); signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4); record()",
    "record()\nif os.fork() == 0: record('late'); sys.exit()\nos.wait()",
]


# Exits that one server is asked about: it keeps what arrives, and threads that never stop record thousands of spans.
ROUND = 200
# What a span ends with, its attribute's "x" and its name: decoding all takes minutes where protobuf is Python alone.
OP = b"x\x2a\x02op"


def exits(count: int) -> int:
    """Runs so many processes, two for each processor at once. The number of those that did not end well."""

    def end(number: int, endpoint: str) -> str | None:
        command = [sys.executable, "-c", BEGIN + ENDS[number % len(ENDS)], endpoint]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except subprocess.TimeoutExpired:
            return f"hung: {ENDS[number % len(ENDS)]!r}"
        bad = done.returncode or "Traceback" in done.stderr or "panicked" in done.stderr
        return f"{done.returncode}: {ENDS[number % len(ENDS)]!r}\n{done.stderr}" if bad else None

    bad, delivered = 0, 0
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        for first in range(0, count, ROUND):
            server = OtlpServer()
            numbers = range(first, min(first + ROUND, count))
            problems = [problem for problem in pool.map(end, numbers, repeat(server.endpoint)) if problem]
            bad += len(problems)
            delivered += sum(request.body.count(OP) for request in server.accepted(server.paths["traces"]))
            server.close()
            print(*problems, f"{numbers.stop} exits, {bad} bad, {delivered} delivered", sep="\n", flush=True)
    return bad + abs(count - delivered)


CHURN = """
count, begun = int(sys.argv[2]), ptx.force_flush()
def churn(rounds):
    for _ in range(rounds // 20):
        threads = [threading.Thread(target=record) for _ in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    assert ptx.force_flush(30_000)
    with open("/proc/self/statm") as file: return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
before = churn(1_000)
after = churn(count - 1_000)
sink = ptx.stats()["trace_sinks"][0]
print(f"{count} threads, {sink['exported']} delivered, {before} KiB after 1000 and {after} KiB in the end")
sys.exit(sink["exported"] != count or after - before > 4096)
"""
FORKS = """
count, over, busy = int(sys.argv[2]), False, []
def work():
    while not over: record("busy"); busy.append(1); time.sleep(1e-4)
thread = threading.Thread(target=work); thread.start()
bad = 0
for number in range(count):
    if os.fork() == 0:
        record()
        os._exit(0 if ptx.shutdown(20_000) else 1)
    bad += os.wait()[1] != 0
over = True; thread.join()
assert ptx.force_flush(30_000)
sink = ptx.stats()["trace_sinks"][0]
print(f"{count} forks, {bad} bad, the parent delivered {sink['exported']} of {len(busy)}")
sys.exit(bad or sink["exported"] != len(busy))
"""


def process(code: str, count: int) -> int:
    """Runs it in one process."""
    server = OtlpServer()
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", BEGIN + code, server.endpoint, str(count)]
    )
    server.close()
    return done.returncode


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("exits", "threads", "forks"):
        parser.add_argument(f"--{name}", type=int, default=0)
    chosen = parser.parse_args()
    bad = 0
    for name, run in (
        ("exits", exits),
        ("threads", lambda count: process(CHURN, count)),
        ("forks", lambda count: process(FORKS, count)),
    ):
        count = getattr(chosen, name)
        if count:
            begun = time.monotonic()
            bad += run(count)
            print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
