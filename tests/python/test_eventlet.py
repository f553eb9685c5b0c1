"""eventlet, monkey-patched: each green thread has its own current span, nothing blocks the hub, callbacks still run."""

from __future__ import annotations

import sys
import warnings
from collections import Counter

import pytest
from conftest import PRELUDE, RunPython
from otlp_server import OtlpServer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # eventlet says that it is deprecated
    pytest.importorskip("eventlet", reason="cannot be imported by this interpreter")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

IMPORT = r"""
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
import eventlet
"""
# Before anything else is imported, as eventlet asks for, or after we were.
PATCHED = {
    "first": IMPORT + "eventlet.monkey_patch()\n" + PRELUDE,
    "late": PRELUDE + IMPORT + "import pytracingx._worker; eventlet.monkey_patch()\n",
}
BEGIN = """
def init(): ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.MetricSink(endpoint, "http")]))
"""


@pytest.mark.parametrize("patched", PATCHED)
def test_a_pool_of_green_threads(patched: str, collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        """
        init()
        def work(number):
            with ptx.extract_headers({"traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01"}):
                with ptx.start_span("outer") as outer:
                    eventlet.sleep(0.001 * (number % 3))
                    with ptx.start_span("inner", {"number": number}):
                        assert ptx.current_span().trace_id() == f"{number + 1:032x}"
                        eventlet.sleep(0)
                    assert ptx.current_span() is outer
            assert ptx.current_trace_context()["span_id"] is None
        list(eventlet.GreenPool(50).imap(work, range(300)))
        threads = [threading.Thread(target=work, args=(300 + number,)) for number in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert ptx.shutdown()
        """,
        prelude=PATCHED[patched] + BEGIN,
    )
    spans = {(span["name"], span["trace_id"]): span for span in collector.spans}
    assert len(spans) == len(collector.spans) == 640
    for number in range(320):
        trace = f"{number + 1:032x}"
        outer, inner = spans["outer", trace], spans["inner", trace]
        assert outer["parent_span_id"] == f"{number + 1:016x}"
        assert inner["parent_span_id"] == outer["span_id"]
        assert inner["attributes"] == {"number": number}


@pytest.mark.parametrize("patched", PATCHED)
def test_callbacks_do_not_stop_the_hub(patched: str, collector: OtlpServer, run_python: RunPython) -> None:
    """Observable instruments are asked on a thread of the system, while green threads go on."""
    done = run_python(
        """
        turns = 0
        def turn():
            global turns
            while True: eventlet.sleep(0); turns += 1
        ptx.get_meter("m").observable_gauge("turns", lambda: turns)
        init()
        spinning = eventlet.spawn(turn)
        for _ in range(20): eventlet.sleep(0.01)
        seen = turns
        assert ptx.force_flush()
        eventlet.sleep(0.01)
        spinning.kill()
        answer([seen, turns])
        assert ptx.shutdown()
        """,
        prelude=PATCHED[patched] + BEGIN,
        timeout_s=30,
    )
    seen, turns = done.answer
    assert 0 < seen < turns
    assert collector.points("turns")[0]["value"] >= 0
    assert done.stderr == ""


def test_forked_children(collector: OtlpServer, run_python: RunPython) -> None:
    """Of a process with green threads, which the children have too until they end."""
    run_python(
        """
        init()
        def child(name):
            if (pid := os.fork()) == 0:
                ptx.start_span(name).end()
                os._exit(0 if ptx.shutdown() else 1)
            while not (ended := os.waitpid(pid, os.WNOHANG))[0]: eventlet.sleep(0.005)
            assert ended[1] == 0
        list(eventlet.GreenPool(3).imap(child, ["child"] * 6))
        ptx.start_span("parent").end()
        assert ptx.shutdown()
        """,
        prelude=PATCHED["first"] + BEGIN,
    )
    assert Counter(span["name"] for span in collector.spans) == {"child": 6, "parent": 1}
