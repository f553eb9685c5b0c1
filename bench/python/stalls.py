"""Loads that wait for stores, by where they are in the source: `make stalls`.

A processor hands a value on from a store to a later load before it has reached the cache, but only if that
one store holds all that is read. Else the load waits until the stores before it have left their buffer, some
twenty cycles, which neither instruction counts nor the source show. Valgrind's lackey traces every load and
store of a process that makes each call many times; shown are the loads of our own object that read what
stores of it wrote in other pieces shortly before, or in part. Needs valgrind, binutils, and an extension with
its symbols, on Linux. Two minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
CALLS = 500
# So many instructions after a store it has left the buffer.
WINDOW = 200
# Of the load, its size, of the store, its size: addresses in the trace.
Stall = tuple[int, int, int, int]


def stalls(trace: Iterable[str], begin: int, end: int) -> Counter[Stall]:
    """How often loads at these addresses of code waited for stores there."""
    found: Counter[Stall] = Counter()
    # By address in words of eight bytes: when, from where to where, and by which instruction it was written.
    written: dict[int, tuple[int, int, int, int]] = {}
    now = at = 0
    for line in trace:
        if line.startswith("I"):
            now += 1
            at = int(line[3 : line.index(",")], 16)
        elif begin <= at < end and line[:2] in (" L", " S", " M"):
            address, size = line[3:].split(",")
            low = int(address, 16)
            high = low + int(size)
            words = range(low // 8, (high + 7) // 8)
            if line[1] != "S":
                before = [written[word] for word in words if word in written]
                then, first, last, store = max(
                    (one for one in before if one[1] < high and low < one[2]), default=(0, low, high, 0)
                )
                if now - then <= WINDOW and not (first <= low and high <= last):
                    found[at, high - low, store, last - first] += 1
            if line[1] != "L":
                written.update(dict.fromkeys(words, (now, low, high, at)))
    return found


def mapped(process: int, name: str) -> tuple[Path, int, int, int] | None:
    """Where the code of an object lies in a process: its file, from where to where, at which offset of it."""
    for line in Path(f"/proc/{process}/maps").read_text().splitlines():
        addresses, flags, offset, *_, path = line.split(maxsplit=5)
        if name in path and "x" in flags:
            begin, end = (int(address, 16) for address in addresses.split("-"))
            return Path(path), begin, end, int(offset, 16)
    return None


def source(file: Path, address: int) -> str:
    """The innermost line of ours."""
    command = ["addr2line", "-Cfie", str(file), hex(address)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    places = list(zip(lines[::2], lines[1::2]))
    function, place = next(((f, p) for f, p in places if str(ROOT / "src") in p), places[0])
    return f"{place.replace(f'{ROOT}/', '').split(' ')[0]} ({function.split('::')[-1]})"


def moved(file: Path) -> int:
    """What code in the file is away from its address there."""
    headers = subprocess.run(["readelf", "-lW", str(file)], capture_output=True, text=True, check=True).stdout
    segments = [line.split() for line in headers.splitlines() if "LOAD" in line]
    [code] = [fields for fields in segments if "E" in fields[6:-1]]
    return int(code[2], 16) - int(code[1], 16)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder, "trace")
        os.mkfifo(pipe)
        valgrind = ["valgrind", "--tool=lackey", "--trace-mem=yes", f"--log-file={pipe}"]
        worker = subprocess.Popen([*valgrind, sys.executable, __file__, "worker"])
        with pipe.open() as trace:
            place = None
            for number, _ in enumerate(trace):
                if number % 1_000_000 == 0 and (place := mapped(worker.pid, "_native")):
                    break
            if place is None:
                raise SystemExit("stalls: the extension was not loaded")
            file, begin, end, offset = place
            found = stalls(trace, begin, end)
        if worker.wait():
            raise SystemExit(f"stalls: exit {worker.returncode}")
    move = offset + moved(file) - begin
    print(f"{'times':>8}  load, bytes  <-  store, bytes")
    for (load, read, store, wrote), times in found.most_common():
        if times >= CALLS:
            places = f"{source(file, load + move)} {read}  <-  {source(file, store + move)} {wrote}"
            print(f"{times:8}  {places}")


def work() -> None:
    """Each call many times, with an endpoint that refuses."""
    from array import array

    from adapters import log_loops, metric_loops, span_loops
    from llm_loops import native

    import pytracingx as ptx

    sink, minute = "http://127.0.0.1:9", 60_000
    sinks = [
        ptx.TraceSink(sink, batch_schedule_delay_ms=minute),
        ptx.MetricSink(sink, export_interval_ms=minute),
        ptx.OtlpLogSink(sink, batch_schedule_delay_ms=minute),
    ]
    ptx.init(ptx.Config("stalls", console_output=False, diagnostics="off", sinks=sinks))
    meter = ptx.get_meter("stalls")
    parents = ptx.parent_set([ptx.start_span(f"request {index}", activate=False) for index in range(64)])
    columns = {"tokens": list(range(64)), "ratio": array("d", range(64))}

    def rows(count: int) -> None:
        for _ in range(count // 16):
            ptx.record_spans("decode", parents, 1, 2, columns)

    counter, histogram = meter.counter("counter"), meter.histogram("histogram")
    loops = [
        *span_loops(ptx.start_span, ptx.record_span).values(),
        *metric_loops(counter, counter.bind({"k": "v"}), histogram, meter.gauge("gauge").set).values(),
        *log_loops(ptx.get_logger("stalls")).values(),
        native(ptx)["a step, 3 fields"],
        rows,
    ]
    for loop in loops:
        loop(2 * CALLS)
    os._exit(0)


if __name__ == "__main__":
    work() if sys.argv[1:] == ["worker"] else main()
