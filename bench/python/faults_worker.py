"""What the fault report does inside a library's own process: `faults_worker.py LIBRARY SCENARIO JSON`, the
outcome as JSON on stdout.

A line `ready` there means: whoever made the fault may end it now, and say so with a line on stdin. Nothing
here knows what arrives; what the library itself says is in `books` (ours) and `logged`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from faults_libraries import LIBRARIES

Result = dict[str, Any]
PAUSE_S = 0.0005


class Logged(logging.Handler):
    """How often a library wrote to its log."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


LOGGED = Logged(logging.WARNING)


def resident(peak: bool = False) -> int:
    """Bytes now, or the most since `forget_peak`."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith("VmHWM:" if peak else "VmRSS:"))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def paced(span: Callable[[int], None], count: int) -> list[int]:
    """So many spans at some 1500 a second; the nanoseconds that each took, the first tenth left out."""
    clock, took = time.perf_counter_ns, []
    for number in range(count):
        time.sleep(PAUSE_S)
        began = clock()
        span(number)
        took.append(clock() - began)
    return took[count // 10 :]


def p99_us(nanoseconds: list[int]) -> float:
    return sorted(nanoseconds)[len(nanoseconds) * 99 // 100] / 1000


def watched(call: Callable[[int], Any], timeout_ms: int, patience_s: float) -> tuple[Any, float | None]:
    """What it said and after how many ms; (None, None) if it has not by then, and goes on."""
    told: list[Any] = []

    def run() -> None:
        began = time.perf_counter()
        verdict = call(timeout_ms)
        told.append((verdict, (time.perf_counter() - began) * 1000))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(patience_s)
    return told[0] if told else (None, None)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def fault_may_end() -> None:
    say("ready")
    sys.stdin.readline()


def steady(
    library: Any, plan: Result, record: Callable[[], Result], lift: Callable[[], None] = lambda: None
) -> Result:
    """Records, then flushes under the fault, then ends, perhaps without it."""
    forget_peak()
    before = resident()
    made = record()
    told, flush_ms = watched(library.flush, plan["flush_ms"], plan["patience_s"])
    held = library.books()
    lift()
    fault_may_end()
    _, shutdown_ms = watched(library.shutdown, plan["shutdown_ms"], plan["patience_s"])
    grown = resident(peak=True) - before
    ended = {"told": told, "flush_ms": flush_ms, "shutdown_ms": shutdown_ms, "at_flush": held, "grown": grown}
    return {**made, **ended}


def network(library: Any, healthy: str, endpoint: str, options: Result, count: int, **plan: Any) -> Result:
    """The same spans to an endpoint that is well and to one that is not."""
    library.start(healthy, delay_ms=200)
    well = paced(library.span, count)
    library.flush(10_000)
    library.shutdown(10_000)
    starved = options.pop("open_files", False)
    library.start(endpoint, delay_ms=200, **options)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)

    def record() -> Result:
        if starved:
            library.span(-1)  # with it this thread lets go of the session before
            take_all_files()
        under = paced(library.span, count)
        return {"p99": [p99_us(well), p99_us(under)], "recorded": count + starved}

    return steady(library, plan, record, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, most))


def take_all_files() -> None:
    """No further descriptor can be opened until the limit is raised again."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.suppress(OSError):
        while True:
            os.open(os.devnull, os.O_RDONLY)


def flood(library: Any, endpoint: str, options: Result, threads: int, each: int, **plan: Any) -> Result:
    """Threads that record as fast as they can; what each span took is of the first of them."""
    library.start(endpoint, delay_ms=200, **options)
    library.span(-1)
    took: list[int] = []

    def work() -> None:
        for number in range(each):
            library.span(number)

    def timed() -> None:
        clock = time.perf_counter_ns
        for number in range(each):
            began = clock()
            library.span(number)
            took.append(clock() - began)

    def record() -> Result:
        workers = [threading.Thread(target=each) for each in [timed] + [work] * (threads - 1)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return {"recorded": threads * each + 1, "p99": [None, p99_us(took)]}

    return steady(library, plan, record)


def names(library: Any, endpoint: str, options: Result, count: int, **plan: Any) -> Result:
    """Spans of which each has a name of its own."""
    library.start(endpoint, delay_ms=200, **options)

    def record() -> Result:
        for number in range(count):
            library.span(number, f"GET /users/{number}")
            if number % 1000 == 0:
                time.sleep(0.005)
        return {"recorded": count}

    return steady(library, plan, record)


def cardinality(library: Any, endpoint: str, options: Result, count: int, **plan: Any) -> Result:
    """A counter with so many attribute sets."""
    library.start(endpoint, metrics=True, **options)

    def record() -> Result:
        for number in range(count):
            library.add(1, {"user": f"user-{number}"})
        return {"recorded": count}

    return steady(library, plan, record)


def forked(kind: str, body: Callable[[], None]) -> Callable[[], bool]:
    """Makes a child of this kind that runs `body`; the result waits for it and says whether it ended well."""
    if kind == "multiprocessing":
        import multiprocessing

        process = multiprocessing.get_context("fork").Process(target=body)
        process.start()

        def wait() -> bool:
            process.join(20)
            if process.exitcode is None:
                process.kill()
            return process.exitcode == 0

        return wait
    pid = ctypes.PyDLL(None).fork() if kind == "C" else os.fork()
    if pid == 0:
        signal.alarm(20)  # whatever hangs ends here
        try:
            body()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return lambda: os.waitpid(pid, 0)[1] == 0


def forks(
    library: Any, endpoint: str, kind: str, children: int, depth: int, flushes: bool, **plan: Any
) -> Result:
    """Children of a parent that records in another thread meanwhile; each records five spans, and has a child
    of its own until they are `depth` deep."""
    library.start(endpoint, delay_ms=20)
    over, busy = threading.Event(), []

    def work() -> None:
        while not over.is_set():
            library.span(len(busy), "parent")
            busy.append(1)
            time.sleep(PAUSE_S)

    def child(level: int) -> None:
        for number in range(5):
            library.span(number, f"child of {os.getppid()}")
        if level < depth and not forked(kind, lambda: child(level + 1))():
            raise RuntimeError("the child of a child")
        if flushes:
            library.flush(5000)

    thread = threading.Thread(target=work)
    thread.start()
    bad = 0
    for _ in range(children):
        bad += not forked(kind, lambda: child(1))()
    over.set()
    thread.join()
    told, flush_ms = watched(library.flush, plan["flush_ms"], plan["patience_s"])
    recorded = len(busy) + 5 * children * depth
    books = library.books()
    fault_may_end()
    library.shutdown(plan["shutdown_ms"])
    return {
        "recorded": recorded,
        "own": len(busy),
        "bad": bad,
        "told": told,
        "flush_ms": flush_ms,
        "at_flush": books,
    }


def stalls(library: Any, endpoint: str, options: Result, threads: int, children: int, **plan: Any) -> Result:
    """How long the library's own hooks keep a parent from forking. Threads record more than can be sent, so
    that the exporter is at work at every fork; children end at once."""
    clock, began, took = time.perf_counter_ns, [0], []
    # Hooks run in the reverse of their order: this one right behind the library's, that below right before.
    os.register_at_fork(before=lambda: took.append(clock() - began[0]))
    library.start(endpoint, delay_ms=20, **options)
    over, counts = threading.Event(), []

    def mark() -> None:
        began[0] = clock()

    def work() -> None:
        count = 0
        while not over.is_set():
            for _ in range(100):
                library.span(count)
                count += 1
            time.sleep(0.02)
        counts.append(count)

    os.register_at_fork(before=mark)

    def record() -> Result:
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for _ in range(children):
            if (pid := os.fork()) == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        over.set()
        for worker in workers:
            worker.join()
        took.sort()
        shown = [took[len(took) // 2], took[len(took) * 99 // 100], took[-1]]
        return {"recorded": sum(counts), "p99": [each / 1000 for each in shown]}

    return steady(library, plan, record)


def exits(library: Any, endpoint: str, ending: str, count: int, **plan: Any) -> None:
    """Records and ends; how long that takes is said by the exit handler that comes last."""
    import atexit

    ends = [0.0]

    def last() -> None:
        took_ms = (time.perf_counter() - ends[0]) * 1000
        recorded = count + (ending == "atexit")
        told = {"books": library.books(), "logged": LOGGED.count}
        say(json.dumps({"recorded": recorded, "flush_ms": took_ms, **told}))

    atexit.register(last)
    if late := LATE.get(ending):
        late(library)
    library.start(endpoint)
    library.started = True
    for number in range(count):
        library.span(number)
    if ending == "atexit":
        atexit.register(library.span, count)
    fault_may_end()
    ends[0] = time.perf_counter()
    if ending == "sys.exit":
        sys.exit(0)
    if ending == "exception":
        raise ValueError("the end")
    if ending == "Ctrl-C":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


def finalizers(library: Any) -> None:
    class Late:
        def __del__(self, span: Callable[[int, str], None] = library.span) -> None:
            span(0, "late")

    library.late, library.cycle = Late(), Late()
    library.cycle.own = library.cycle


def daemons(library: Any) -> None:
    def work() -> None:
        while True:
            library.span(0, "late")

    threading.Timer(
        0.05, lambda: [threading.Thread(target=work, daemon=True).start() for _ in range(4)]
    ).start()


def alarms(library: Any) -> None:
    import atexit

    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, lambda *_: hasattr(library, "started") and library.span(0, "late"))
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-4)


# What is set up before the library starts.
LATE: dict[str, Callable[[Any], None]] = {
    "finalizers": finalizers,
    "daemon threads": daemons,
    "signals": alarms,
}

SCENARIOS: dict[str, Callable[..., Result | None]] = {
    "network": network,
    "flood": flood,
    "names": names,
    "cardinality": cardinality,
    "forks": forks,
    "stalls": stalls,
    "exits": exits,
}


def main() -> None:
    name, scenario, parameters = sys.argv[1:]
    for logger in ("opentelemetry", "urllib3"):
        logging.getLogger(logger).addHandler(LOGGED)
        logging.getLogger(logger).propagate = False
    library = LIBRARIES[name]()
    try:
        result = SCENARIOS[scenario](library, **json.loads(parameters))
    except ValueError as error:
        if scenario == "exits":
            raise
        result = {"refused": f"{type(error).__name__}: {error}"}
    if result is None:
        return
    result["books"] = library.books() if "refused" not in result else None
    say(json.dumps({**result, "logged": LOGGED.count}))
    os._exit(0)  # what a library does at exit is a scenario of its own


if __name__ == "__main__":
    main()
