"""The exporter never takes the GIL: while another thread keeps it inside a C call, everything recorded is exported,
refused, retried and delivered. An exporter that asked for the GIL once would stand still until the call returns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import TELEMETRY_VARIABLES
from otlp_server import Answer, OtlpServer

# A PyDLL function is called with the GIL held. Each export is due half a second and more after the call began; with
# no observable instruments, collections ask no Python either.
PROGRAM = """
import ctypes, sys, threading, time
import pytracingx as ptx
to = {"endpoint": sys.argv[1], "protocol": "http/protobuf"}
ptx.init(ptx.Config("svc", diagnostics="off", console_output=False, sinks=[
    ptx.TraceSink(**to, batch_schedule_delay_ms=500),
    ptx.OtlpLogSink(**to, batch_schedule_delay_ms=500),
    ptx.MetricSink(**to, export_interval_ms=500),
]))
read, one = ctypes.PyDLL(None).read, ctypes.create_string_buffer(1)
ptx.get_meter("m").counter("c").add(7)
ptx.get_logger("l").info("said")
with ptx.start_span("op", {"a": 1}):
    pass
turns = 0
def other():
    global turns
    while True:
        turns += 1
        time.sleep(0.001)
threading.Thread(target=other, daemon=True).start()
print("recorded", flush=True)
before = turns
assert read(0, one, 1) == 1
locked = getattr(sys, "_is_gil_enabled", lambda: True)()
assert turns <= before + 2 or not locked, "the other thread runs: the GIL is free"
print("released", flush=True)
assert ptx.shutdown()
"""


@contextmanager
def holding(endpoint: str) -> Iterator[subprocess.Popen[str]]:
    """The program, from its records on; at the end it gets its byte and must end well."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, endpoint],
        env={name: value for name, value in os.environ.items() if not name.startswith(TELEMETRY_VARIABLES)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        assert child.stdout.readline() == "recorded\n"
        yield child
        child.stdin.write("x")
        child.stdin.flush()
        assert child.stdout.readline() == "released\n"
        assert child.wait(30) == 0
    finally:
        child.kill()
        child.communicate()


def test_export_goes_on_while_the_gil_is_held(collector: OtlpServer) -> None:
    collector.answer_next(Answer(503), Answer(503))
    with holding(collector.endpoint):
        collector.wait_for_spans(1)
        collector.wait_for_logs(1)
        collector.wait_for_metric("c")
    assert [request.status for request in collector.requests][:2] == [503, 503]
