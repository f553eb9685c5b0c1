"""gevent and eventlet, monkey-patched: each green thread has its own current span, nothing blocks the hub, callbacks
still run."""

from __future__ import annotations

import sys
import warnings
from collections import Counter

import pytest
from conftest import PRELUDE, RunPython
from otlp_server import OtlpServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

QUIET = r"""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
"""
# What each calls the same things.
LIBRARIES = {
    "gevent": """
import gevent as green, gevent.monkey, gevent.os, gevent.pool
def patch(): gevent.monkey.patch_all()
def pool_map(size, work, items): gevent.pool.Pool(size).map(work, items)
def wait(pid): return gevent.os.waitpid(pid, 0)[1]
""",
    "eventlet": """
import eventlet as green, os
def patch(): green.monkey_patch()
def pool_map(size, work, items): list(green.GreenPool(size).imap(work, items))
def wait(pid):
    while not (ended := os.waitpid(pid, os.WNOHANG))[0]: green.sleep(0.005)
    return ended[1]
""",
}
BEGIN = """
def init(): ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.MetricSink(endpoint, "http")]))
"""


def prelude(library: str, patched: str) -> str:
    """Patched before anything else is imported, as both ask for, or after we were."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # eventlet says that it is deprecated
        pytest.importorskip(library, reason="cannot be imported by this interpreter")
    begin = QUIET + LIBRARIES[library]
    if patched == "first":
        return begin + "patch()\n" + PRELUDE + BEGIN
    return PRELUDE + begin + "import pytracingx._worker; patch()\n" + BEGIN


each = pytest.mark.parametrize("library", LIBRARIES)
first_and_late = pytest.mark.parametrize("patched", ["first", "late"])


@each
@first_and_late
def test_a_pool(library: str, patched: str, collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        """
        init()
        def work(number):
            with ptx.extract_headers({"traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01"}):
                with ptx.start_span("outer") as outer:
                    green.sleep(0.001 * (number % 3))
                    with ptx.start_span("inner", {"number": number}):
                        assert ptx.current_span().trace_id() == f"{number + 1:032x}"
                        green.sleep(0)
                    assert ptx.current_span() is outer
            assert ptx.current_trace_context()["span_id"] is None
        pool_map(50, work, range(300))
        threads = [threading.Thread(target=work, args=(300 + number,)) for number in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert ptx.shutdown()
        """,
        prelude=prelude(library, patched),
    )
    spans = {(span["name"], span["trace_id"]): span for span in collector.spans}
    assert len(spans) == len(collector.spans) == 640
    for number in range(320):
        trace = f"{number + 1:032x}"
        outer, inner = spans["outer", trace], spans["inner", trace]
        assert outer["parent_span_id"] == f"{number + 1:016x}"
        assert inner["parent_span_id"] == outer["span_id"]
        assert inner["attributes"] == {"number": number}


@each
@first_and_late
def test_callbacks_do_not_stop_the_hub(
    library: str, patched: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """Observable instruments are asked on a thread of the system, while green threads go on."""
    done = run_python(
        """
        turns = 0
        def turn():
            global turns
            while True: green.sleep(0); turns += 1
        ptx.get_meter("m").observable_gauge("turns", lambda: turns)
        init()
        spinning = green.spawn(turn)
        for _ in range(20): green.sleep(0.01)
        seen = turns
        assert ptx.force_flush()
        green.sleep(0.01)
        spinning.kill()
        answer([seen, turns])
        assert ptx.shutdown()
        """,
        prelude=prelude(library, patched),
        timeout_s=30,
    )
    seen, turns = done.answer
    assert 0 < seen < turns
    assert collector.points("turns")[0]["value"] >= 0
    assert done.stderr == ""


@each
def test_forked_children(library: str, collector: OtlpServer, run_python: RunPython) -> None:
    """Of a process with green threads, which the children have too until they end."""
    run_python(
        """
        init()
        def child(name):
            if (pid := os.fork()) == 0:
                ptx.start_span(name).end()
                os._exit(0 if ptx.shutdown() else 1)
            assert wait(pid) == 0
        pool_map(3, child, ["child"] * 6)
        ptx.start_span("parent").end()
        assert ptx.shutdown()
        """,
        prelude=prelude(library, "first"),
    )
    assert Counter(span["name"] for span in collector.spans) == {"child": 6, "parent": 1}
