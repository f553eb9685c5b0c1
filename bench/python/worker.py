"""What a benchmark does inside a library's own process: `worker.py LIBRARY TASK ENDPOINT key=value…`, JSON
on stdout.

Each task is a function of the adapter, the endpoint and its parameters. Nothing is imported here that would
weigh on a measurement of memory or import time before it begins.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
from typing import Any

from adapters import ADAPTERS, BATCH_SIZES, LOGS, LOOP, MEASUREMENTS, NULL, SPANS, Adapter, Loop, stdlib_loop
from sls_adapters import SLS_ADAPTERS, SlsAdapter

# Between two rows: what the one before recorded is exported by then.
SETTLE_S = 0.2
# A row of the hot path begins when so many empty loops in turn were within a tenth of the fastest, so many
# iterations each, or after so many loops: whatever else the machine does comes and goes within tens of ms.
QUIET_LOOPS = 10
LOOP_COUNT = 10_000
LOOPS = 2_000
# So long one repeat of a hot path's row lasts at most, and so many operations say how many that are.
REPEAT_S = 0.03
SAMPLE = 200
# Spans of a thread before it is timed.
WARM_UP = 200
# Between two bursts of a scheduler's steps.
PAUSE_S = 0.005


def hot_path(adapter: Adapter, endpoint: str, count: int, repeats: int) -> dict[str, Any]:
    """Median ns per operation of each loop, and how much of each signal was recorded in all.

    A repeat is of `count` operations, or as many as take REPEAT_S where that is fewer.
    """

    def empty(count: int) -> None:
        for _ in range(count):
            pass

    def loop_ns() -> int:
        began_ns = time.perf_counter_ns()
        empty(LOOP_COUNT)
        return time.perf_counter_ns() - began_ns

    def wait_until_quiet() -> None:
        quiet = 0
        for _ in range(LOOPS):
            quiet = quiet + 1 if loop_ns() < 1.1 * fastest_ns else 0
            if quiet == QUIET_LOOPS:
                return

    fastest_ns = min(loop_ns() for _ in range(LOOPS))
    adapter.start(endpoint, every_signal=True)
    loops = {LOOP: empty, NULL: stdlib_loop(logging.NullHandler()), **adapter.loops()}
    medians: dict[str, float] = {}
    made: dict[str, int] = {}
    for name, loop in loops.items():
        sample = min(count, SAMPLE)
        began = time.perf_counter()
        loop(sample)
        of_one = max(1, min(count, int(sample * REPEAT_S / (time.perf_counter() - began))))
        loop(of_one * repeats)  # caches, freelists, memory that a burst touches for the first time
        gc.collect()
        time.sleep(SETTLE_S)
        wait_until_quiet()
        values = []
        for _ in range(repeats):
            began_ns = time.perf_counter_ns()
            loop(of_one)
            values.append((time.perf_counter_ns() - began_ns) / of_one)
        medians[name] = sorted(values)[len(values) // 2]
        made[name] = sample + 2 * repeats * of_one
    adapter.stop()
    recorded = {
        signal: sum(made[row] for row in rows if row in made)
        for signal, rows in [("spans", SPANS), ("measurements", MEASUREMENTS), ("logs", LOGS)]
    }
    return {"ns": medians, **recorded}


def llm(adapter: Adapter, endpoint: str, count: int, repeats: int) -> dict[str, Any]:
    """Median ns of a token, a step and a generation, and how many spans that were."""
    from llm_loops import GENERATION, LONG, STEP, TOKEN

    adapter.start(endpoint, every_signal=True)
    nanoseconds, spans = {}, 0
    # All repeats of a row fit a ring of ours: what is measured is recording.
    operations = {TOKEN: count, STEP: count // 10, GENERATION: count // 100}
    for name, loop in adapter.llm_loops().items():
        of_one = operations[name]
        loop(of_one * repeats)
        gc.collect()
        time.sleep(SETTLE_S)
        values = []
        for _ in range(repeats):
            began = time.perf_counter_ns()
            loop(of_one)
            values.append((time.perf_counter_ns() - began) / of_one)
        nanoseconds[name] = sorted(values)[len(values) // 2]
        spans += 2 * repeats * (of_one // LONG if name == TOKEN else of_one)
    adapter.stop()
    return {"ns": nanoseconds, "spans": spans}


def batch(adapter: Adapter, endpoint: str, bursts: int, spans: int, alone: int) -> dict[str, Any]:
    """Median ns per span of each loop over a scheduler's steps: in bursts of so many spans, and alone.

    Between bursts, and before each step alone, is a pause: the exporter catches up, and caches get cold.
    """
    adapter.start(endpoint)
    nanoseconds: dict[str, float] = {}
    single: dict[str, float] = {}
    recorded = 0

    def timed(loop: Loop, steps: int, size: int, times: int) -> float:
        taken = []
        for _ in range(times):
            time.sleep(PAUSE_S)
            began = time.perf_counter_ns()
            loop(steps)
            taken.append((time.perf_counter_ns() - began) / steps / size)
        return sorted(taken)[len(taken) // 2]

    for size in BATCH_SIZES:
        loops = adapter.batch_loops(size)
        steps = max(1, spans // size)
        for name, loop in loops.items():
            loop(steps)
            nanoseconds[name] = timed(loop, steps, size, bursts)
            single[name] = timed(loop, 1, size, alone)
            time.sleep(SETTLE_S)
        recorded += size + len(loops) * ((bursts + 1) * steps + alone) * size
    adapter.stop()
    return {"ns": nanoseconds, "alone_ns": single, "spans": recorded}


def throughput(adapter: Adapter, endpoint: str, count: int) -> dict[str, Any]:
    """Record as fast as one thread can, then deliver everything."""
    adapter.start(endpoint)
    wall, cpu = time.perf_counter(), time.process_time()
    adapter.three_attributes(count)
    recorded = time.perf_counter() - wall
    adapter.stop()
    return {
        "wall_us": recorded / count * 1e6,
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
        "delivered_s": time.perf_counter() - wall,
    }


def threads(adapter: Adapter, endpoint: str, count: int, threads: int, rounds: int) -> dict[str, Any]:
    """Processor time of the recording threads in µs a span: of one, and of several at once, in turns."""
    from threading import Barrier, Thread

    adapter.start(endpoint)
    adapter.three_attributes(count)
    times: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(rounds):
        for number, values in times.items():
            time.sleep(SETTLE_S)
            taken: list[float] = []
            ready = Barrier(number)

            def work(
                spans: int = count // number, ready: Barrier = ready, taken: list[float] = taken
            ) -> None:
                adapter.three_attributes(WARM_UP)
                ready.wait()
                began = time.thread_time()
                adapter.three_attributes(spans)
                taken.append(time.thread_time() - began)

            workers = [Thread(target=work) for _ in range(number)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            values.append(sum(taken) / (count // number * number) * 1e6)
    adapter.stop()
    in_threads = sum(count // number * number + WARM_UP * number for number in times)
    return {"cpu_us": list(times.values()), "spans": count + rounds * in_threads}


def idle(adapter: Adapter, endpoint: str, count: int, tenths: int) -> dict[str, Any]:
    """The share of a processor that the process takes while nothing is recorded, once all is exported."""
    adapter.start(endpoint)
    adapter.three_attributes(count)
    time.sleep(min(6.0, tenths / 10))  # the last batch is due within five seconds
    cpu, wall = time.process_time(), time.perf_counter()
    time.sleep(tenths / 10)
    share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    adapter.stop()
    return {"share": share, "spans": count}


def latency(adapter: Adapter, endpoint: str, steps: int, per_second: int, block: int) -> dict[str, Any]:
    """The length of single steps at a fixed rate, in blocks with and without a span in the step, alternating.

    Steps are paced by sleeping, so the processor's caches are as cold as in a program that does other things.
    """
    adapter.start(endpoint)
    loop = adapter.loops()["… 3 attributes, 2 set_attribute"]
    loop(1000)
    period = 1_000_000_000 // per_second
    clock = time.perf_counter_ns
    blocks: dict[str, list[list[int]]] = {"on": [], "off": []}
    following = clock()
    began = following
    for number in range(2 * steps // block):
        record = number % 2 == 1
        lengths = []
        for _ in range(block):
            following += period
            wait = following - clock()
            if wait > 0:
                time.sleep(wait / 1e9)
            else:
                following = clock()
            start = clock()
            loop(1 if record else 0)
            lengths.append(clock() - start)
        blocks["on" if record else "off"].append(lengths)
    elapsed = clock() - began
    cpu = time.process_time()
    adapter.stop()
    return {"blocks": blocks, "rate": 2 * steps / elapsed * 1e9, "cpu_s": cpu, "spans": steps + 1000}


def memory(adapter: Adapter, endpoint: str, count: int, threads: int) -> dict[str, Any]:
    """Resident memory in bytes over that of this process before, and the seconds that the import took."""
    import importlib
    import threading

    gc.collect()
    before = resident_bytes()
    began = time.perf_counter()
    importlib.import_module(adapter.module)
    imported = time.perf_counter() - began
    adapter.start(endpoint)
    adapter.three_attributes(count)
    gc.collect()
    after = resident_bytes()

    done = threading.Barrier(threads + 1)

    def work() -> None:
        adapter.three_attributes(count // threads)
        done.wait()
        done.wait()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    done.wait()
    gc.collect()
    with_threads = resident_bytes()
    done.wait()
    for worker in workers:
        worker.join()
    adapter.stop()
    return {
        "import_s": imported,
        "single": after - before,
        "threads": with_threads - before,
        "spans": count + count // threads * threads,
    }


def plain_memory(threads: int) -> dict[str, Any]:
    """What the threads of `memory` cost without any library."""
    import threading

    gc.collect()
    before = resident_bytes()
    done = threading.Barrier(threads + 1)

    def work() -> None:
        for _ in range(300):
            dict(model="qwen2.5-72b", temperature=0.7)
        done.wait()
        done.wait()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    done.wait()
    with_threads = resident_bytes()
    done.wait()
    return {"threads": with_threads - before}


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sls(adapter: SlsAdapter, endpoint: str, count: int, way: int) -> dict[str, Any]:
    """Log as fast as one thread can, then deliver everything."""
    log = adapter.start(endpoint, way)
    wall, cpu = time.perf_counter(), time.process_time()
    log(count)
    recorded = time.perf_counter() - wall
    adapter.stop()
    return {
        "wall_us": recorded / count * 1e6,
        "cpu_us": (time.process_time() - cpu) / count * 1e6,
        "delivered_s": time.perf_counter() - wall,
    }


TASKS = {
    "hot_path": hot_path,
    "batch": batch,
    "throughput": throughput,
    "threads": threads,
    "idle": idle,
    "latency": latency,
    "memory": memory,
    "llm": llm,
}


def main() -> None:
    library, task, endpoint, *parameters = sys.argv[1:]
    numbers = {name: int(value) for name, value in (parameter.split("=") for parameter in parameters)}
    if task == "plain_memory":
        result = plain_memory(**numbers)
    elif task == "sls":
        result = sls(SLS_ADAPTERS[library](), endpoint, **numbers)
    else:
        result = TASKS[task](ADAPTERS[library](), endpoint, **numbers)
    sys.stdout.write("\n" + json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what a library does at exit is not ours to wait for


if __name__ == "__main__":
    main()
