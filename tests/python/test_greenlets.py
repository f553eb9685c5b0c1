"""Under gevent, whose greenlets are Python's threads where it has patched them: each has its own current span, none waits
for another, and what runs callbacks is no greenlet."""

from __future__ import annotations

from collections import Counter

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

pytest.importorskip("gevent")

PATCHED = """
from gevent import monkey; monkey.patch_all()
import gevent, os, sys, threading, time
import pytracingx as ptx
endpoint = sys.argv[1]
def sinks():
    return [ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http"),
            ptx.MetricSink(endpoint, "http", export_interval_ms=60_000)]
"""


def test_greenlets_have_their_own_current_span(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        PATCHED
        + """
ptx.init(ptx.Config("svc", sinks=sinks(), console_output=False))
def job(number):
    with ptx.start_span("outer", {"number": number}) as outer:
        gevent.sleep(0.001 * (number % 3))
        with ptx.start_span("inner", {"number": number}) as inner:
            time.sleep(0)
            assert ptx.current_trace_context()["span_id"] == inner.span_id()
        assert ptx.current_trace_context()["span_id"] == outer.span_id()
def work():
    for _ in range(50):
        with ptx.start_span("thread"): time.sleep(0)
jobs = [gevent.spawn(job, number) for number in range(300)]
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
gevent.joinall(jobs, raise_error=True)
for thread in threads: thread.join()
pid = os.fork()
if pid == 0:
    with ptx.start_span("child"): pass
    os._exit(0 if ptx.shutdown() else 1)
assert os.waitpid(pid, 0)[1] == 0
assert ptx.shutdown()
""",
        collector.endpoint,
        prelude="",
    )
    spans = {span["span_id"]: span for span in collector.spans}
    assert Counter(span["name"] for span in spans.values()) == {
        **{"outer": 300, "inner": 300, "thread": 200, "child": 1}
    }
    for span in spans.values():
        if span["name"] == "inner":
            parent = spans[span["parent_span_id"]]
            assert parent["attributes"] == span["attributes"] and parent["name"] == "outer"
        else:
            assert span["parent_span_id"] == ""


def test_what_waits_for_the_exporter_is_no_greenlet(collector: OtlpServer, run_python: RunPython) -> None:
    """Neither before a flush, nor in a forked child, nor at the end."""
    run_python(
        PATCHED
        + """
calls = []
def callback():
    calls.append(os.getpid())
    return [ptx.Observation(len(calls))]
gauge = ptx.get_meter("m").observable_gauge("calls", callback)
ptx.init(ptx.Config("svc", sinks=sinks(), console_output=False))
gevent.sleep(0)  # a greenlet would begin to wait here, for ever
assert ptx.force_flush(20_000) and calls == [os.getpid()]
pid = os.fork()
if pid == 0:
    gevent.sleep(0)
    with ptx.start_span("child"): pass
    assert ptx.force_flush(20_000) and calls[-1] == os.getpid()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
""",
        collector.endpoint,
        prelude="",
        timeout_s=30,
    )
    assert [point["value"] for point in collector.points("calls", every=True)][:2] == [1, 2]
    assert collector.span("child")
