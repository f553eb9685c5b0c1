"""What recording asks of the kernel: nothing, whether the lanes are empty or full, and the endpoint well or hung with a
request of each signal under way. Counted by strace, skipped without it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults import hung
from otlp_server import OtlpServer

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

# Free-threaded, attributes are copied before they are looked at, and where the exporter frees meanwhile the allocator waits.
QUIET = {"write", *(["brk", "futex"] if sysconfig.get_config_var("Py_GIL_DISABLED") else [])}

# Records in the main thread between two calls of getpgrp, which nothing else calls. The flush before has made the lane
# and everything else that is made once.
PROGRAM = """
import logging, os, sys, threading
import pytracingx as ptx
endpoint, work, room = sys.argv[1:]
sinks = [ptx.TraceSink(endpoint, batch_schedule_delay_ms=60_000), ptx.OtlpLogSink(endpoint, batch_schedule_delay_ms=60_000),
         ptx.MetricSink(endpoint, export_interval_ms=60_000)]
ptx.init(ptx.Config("svc", sinks=sinks, diagnostics="off", ring_capacity=int(room), exit_timeout_ms=0))
payload = "x" * 3000
meter, log = ptx.get_meter("m"), ptx.get_logger("l")
counter, histogram, bound = meter.counter("c"), meter.histogram("h"), meter.counter("b").bind({"k": "v"})
def span():
    with ptx.start_span("op", {"a": 1, "b": 0.5, "text": payload}): pass
def measure():
    counter.add(1, {"k": "v"}); histogram.record(0.5, {"k": "v"}); bound.add(1)
def say(): log.info("text", attributes={"a": 1, "text": payload})
def nothing(): pass
def call(): os.getpid()
act = globals()[work]
for _ in range(100): act()
ptx.force_flush(200)
for _ in range(100): act()
os.getpgrp()
for _ in range(5000): act()
os.getpgrp()
print(threading.get_native_id(), flush=True)
print(ptx.stats()["spans" if work == "span" else "logs"]["dropped"] if work in ("span", "say") else {}, flush=True)
os._exit(0)
"""


@contextmanager
def well() -> Iterator[str]:
    server = OtlpServer()
    yield server.endpoint
    server.close()


FAULTS = [well, hung]


def calls(tmp_path: Path, work: str, room: int, endpoint: str) -> tuple[Counter[str], str]:
    """The system calls of 5000 rounds by name, and what was dropped."""
    trace = tmp_path / "trace"
    done = subprocess.run(
        [
            *("strace", "-f", "-o", str(trace)),
            sys.executable,
            "-c",
            PROGRAM,
            endpoint,
            work,
            str(room),
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "ptrace" in done.stderr:
        pytest.skip("tracing is not permitted: " + done.stderr.strip())
    assert done.returncode == 0, done.stderr
    thread, dropped = done.stdout.splitlines()
    own = [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines() if line.split()[0] == thread]
    begin, end = [number for number, line in enumerate(own) if line.startswith("getpgrp(")]
    names = (re.match(r"(\w+)\(", line) for line in own[begin + 1 : end])
    return Counter(name[1] for name in names if name), dropped


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.__name__)
def endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.param() as url:
        yield url.removesuffix("/v1/traces")


def test_calls_are_seen(tmp_path: Path) -> None:
    """The test below would pass if nothing were."""
    assert calls(tmp_path, "call", 1 << 20, "http://127.0.0.1:9")[0]["getpid"] == 5000


@pytest.mark.parametrize("work", ["nothing", "span", "say", "measure"])
def test_recording_makes_no_system_call(work: str, endpoint: str, tmp_path: Path) -> None:
    """But for at most a write per half lane: the ring of the doorbell, once per drain."""
    made, dropped = calls(tmp_path, work, 64 << 20, endpoint)
    assert dropped == "{}"
    assert made.keys() <= QUIET and made["write"] <= 2


@pytest.mark.parametrize("work", ["span", "say"])
def test_nor_does_it_when_the_lane_is_full(work: str, endpoint: str, tmp_path: Path) -> None:
    made, dropped = calls(tmp_path, work, 256 << 10, endpoint)
    assert "ring_full" in dropped
    assert made.keys() <= QUIET
    assert made["write"] <= 100
