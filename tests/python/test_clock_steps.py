"""Somebody sets the wall clock while a program records: libfaketime does, under a real process. Skipped without it; with
given clocks, tests/rust/clock.rs has every case."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

# LIBFAKETIME=/path/to/libfaketimeMT.so.1, or where Debian's package puts it.
FAKETIME = next(
    filter(
        os.path.exists,
        [
            os.environ.get("LIBFAKETIME", ""),
            *map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")),
        ],
    ),
    None,
)
pytestmark = pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
HOUR = 3600


@pytest.mark.parametrize(
    "steps", [(HOUR, 0), (-HOUR, HOUR), (-20 * 60, 20 * 60), (-10 * 365 * 24 * HOUR, 0)], ids=str
)
def test_steps(steps: tuple[int, int], collector: OtlpServer, run_python: RunPython, tmp_path: Path) -> None:
    """Durations stay what they were, times follow the clock, windows of changes touch and sums are whole."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    begun = time.time_ns()
    done = run_python(
        """
        import select
        sinks = [ptx.TraceSink(endpoint, "http"),
                 ptx.MetricSink(endpoint, "http", temporality="delta", export_interval_ms=60_000)]
        ptx.init(ptx.Config("svc", sinks=sinks))
        counter = ptx.get_meter("m").counter("sum")
        def set_clock(seconds):
            with open(sys.argv[1], "w") as file: file.write(f"{seconds:+d}")
            # Nothing is recorded and nothing flushed: the exporter looks at its clocks once a second by itself.
            select.select([], [], [], 1.2)  # libfaketime does not leave time.sleep alone
        def spans(name):
            for _ in range(10):
                with ptx.start_span(name): counter.add(1)
        long = ptx.start_span("across", activate=False)
        spans("0")
        for number, step in enumerate(sys.argv[2:], 1):
            set_clock(int(step))
            wall = time.time()
            spans(str(number))
        long.end()
        assert ptx.shutdown(20_000)
        answer([wall, ptx.now()])
        """,
        str(offset),
        *map(str, steps),
        env={
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        },
    )
    wall, _ = done.answer
    assert abs(wall - time.time() - steps[-1]) < 60, "the clock was not set"
    tolerance = 60 * 10**9
    for number, step in enumerate((0, *steps)):
        for span in named(collector, str(number)):
            assert abs(span["start_time_unix_nano"] - begun - step * 10**9) < tolerance
            assert 0 <= duration(span) < 10**9
    (across,) = named(collector, "across")
    assert 10**9 < duration(across) < tolerance
    points = [point for metric in collector.metrics for point in metric["points"]]
    assert sum(point["value"] for point in points) == 30
    assert all(point["start"] <= point["time"] for point in points)
    for earlier, later in zip(points, points[1:]):
        assert earlier["time"] <= later["start"]


def named(collector: OtlpServer, name: str) -> list[dict[str, Any]]:
    return [span for span in collector.spans if span["name"] == name]


def duration(span: dict[str, Any]) -> int:
    return int(span["end_time_unix_nano"] - span["start_time_unix_nano"])
