"""What guard.py counts in a process of Python: eight operations and the empty loop, each between marks.

The exporter has a thread of its own, which is not counted, and an endpoint that refuses; nothing is due
meanwhile.
"""

from __future__ import annotations

import gc
import os
import sys

from adapters import (
    COUNTER,
    COUNTER_1,
    HISTOGRAM_1,
    LOG,
    RECORD,
    SPAN,
    SPAN_3_2,
    Loop,
    log_loops,
    metric_loops,
    span_loops,
)

import pytracingx as ptx

OPERATIONS = 500
SINK = "http://127.0.0.1:9"


def main() -> None:
    minute = 60_000
    ptx.init(
        ptx.Config(
            "guard",
            console_output=False,
            diagnostics="off",
            sinks=[
                ptx.TraceSink(SINK, batch_schedule_delay_ms=minute),
                ptx.MetricSink(SINK, export_interval_ms=minute),
                ptx.OtlpLogSink(SINK, batch_schedule_delay_ms=minute),
            ],
        )
    )
    meter = ptx.get_meter("guard")
    counter = meter.counter("counter")
    generation = ptx.generation(model="qwen2.5-72b")
    generation.__enter__()

    def empty(count: int) -> None:
        for _ in range(count):
            pass

    def token(count: int) -> None:
        for _ in range(count):
            generation.token()

    every: dict[str, Loop] = {
        "the empty loop": empty,
        **span_loops(ptx.start_span, ptx.record_span),
        **metric_loops(counter, None, meter.histogram("histogram"), meter.gauge("gauge").set),
        **log_loops(ptx.get_logger("guard")),
        "generation.token()": token,
    }
    chosen = [
        "the empty loop",
        SPAN,
        SPAN_3_2,
        RECORD,
        COUNTER,
        COUNTER_1,
        HISTOGRAM_1,
        LOG,
        "generation.token()",
    ]
    gc.disable()  # when it comes depends on all objects there are
    for name in chosen:
        loop = every[name]
        loop(2 * OPERATIONS)  # caches, freelists, the lane
        os.getppid()
        loop(OPERATIONS)
        os.getppid()
        loop(3 * OPERATIONS)
        os.getppid()
        print(name, flush=True)
    print(f"operations={OPERATIONS}", file=sys.stderr, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
