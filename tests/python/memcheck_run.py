"""Every kind of record, from threads that end, in two sessions that send nothing: for a memory checker to look at.

Run by ``make sanitize`` with the package on the path; needs nothing but the standard library.
"""

from __future__ import annotations

import threading

import pytracingx as ptx
from pytracingx import _native


def record() -> None:
    """Values of all types, sizes up to beyond what a lane takes, errors, many of each."""
    tracer = ptx.get_tracer("memcheck")
    counter = ptx.get_meter("memcheck").counter("requests")
    logger = ptx.get_logger("memcheck")
    for number in range(50):
        with tracer.start_span(f"span {number}", attributes={"n": number, "text": "x" * number}) as span:
            span.set_attribute("list", [1, 2.5, "three", True])
            span.add_event("event", {"bytes": b"\0\xff"})
            counter.add(number, {"k": number % 3})
            logger.info(f"log {number}")
    with tracer.start_span("large") as span:
        span.set_attribute("large", "y" * 200_000)
    try:
        with tracer.start_span("failing"):
            raise ValueError("expected")
    except ValueError:
        pass


for _ in range(2):
    _native._capture(ptx.Config("memcheck", console_output=False))
    threads = [threading.Thread(target=record) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record()
    assert ptx.shutdown()
assert ptx.stats()["exporter_restarts"] == 0
