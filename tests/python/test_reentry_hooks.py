"""Recording from inside what the interpreter calls while a program records: collections, tracing, audits, warnings, signals;
and text that changes the session, or the process, below the call that asks for it."""

from __future__ import annotations

import sys
from collections import Counter

import pytest
from conftest import RunPython
from otlp_server import OtlpServer


def test_text_that_ends_the_session(collector: OtlpServer, run_python: RunPython) -> None:
    """`__str__` shuts down, begins another session, forks, or starts a thread that records: the call goes on, or does nothing."""
    done = run_python(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
        def init(): ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http"),
            ptx.MetricSink(endpoint, "http", export_interval_ms=60_000)], console_output=False, diagnostics="off"))
        class Text:
            def __init__(self, action): self.action = action
            def __str__(self): self.action(); return "text"
        def again(): ptx.shutdown(); init()
        def thread():
            other = threading.Thread(target=lambda: ptx.start_span("thread").end()); other.start(); other.join()
        def fork():
            if (child := os.fork()) == 0:
                ptx.start_span("child").end()
                os._exit(0 if ptx.shutdown(20_000) else 1)
            assert os.waitpid(child, 0)[1] == 0
        counter, log = ptx.get_meter("m").counter("c"), ptx.get_logger("l")
        rounds = 0
        for action in (ptx.shutdown, again, init, thread, fork):
            for call in (
                lambda text: ptx.start_span("op", {"k": text}).end(),
                lambda text: ptx.start_span("op", {"a": 1, "k": [text], text: 2}).set_attributes({"k": text}),
                lambda text: ptx.start_span("op").add_event(text, {"k": text}),
                lambda text: ptx.record_span("op", 1, 2, {"k": text}),
                lambda text: ptx.record_spans("op", [ptx.new_context()] * 2, 1, 2, {"k": [text, 1], "l": text}),
                lambda text: ptx.generation("op", attributes={"k": text}).end(attributes={"k": text}),
                lambda text: counter.add(1, {"k": text}),
                lambda text: counter.bind({"k": text}).add(1),
                lambda text: log.info("op", attributes={"k": text}),
                lambda text: ptx.record_span(text, 1, 2),
            ):
                if not ptx.is_initialized(): init()
                call(Text(action))
                rounds += 1
        if not ptx.is_initialized(): init()
        ptx.start_span("last", {"k": Text(lambda: None)}).end()
        assert ptx.force_flush(20_000)
        answer(rounds)
        """
    )
    assert done.answer == 50
    assert done.stderr == ""
    names = Counter(span["name"] for span in collector.spans)
    assert names["last"] == 1
    assert names["thread"] >= 10 and names["child"] >= 10


HOOKED = ["gc callback", "profile", "trace", "audit", "warning", "logging", "weakref", "unraisable", "signal"]


@pytest.mark.parametrize("where", [*HOOKED, *(["monitoring"] if sys.version_info >= (3, 12) else [])])
def test_hooks(where: str, collector: OtlpServer, run_python: RunPython) -> None:
    """Hooks that record, set while a program records: their records arrive beside the program's."""
    done = run_python(
        HOOKS,
        where,
        timeout_s=60,
    )
    hooked, rounds = done.answer
    names = Counter(span["name"] for span in collector.spans)
    assert names["outer"] == rounds
    assert names["hook"] == hooked > 0
    assert done.stderr == ""


HOOKS = """
    import gc, logging, signal, warnings, weakref
    where = sys.argv[1]
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http"),
                                      ptx.MetricSink(endpoint, "http", export_interval_ms=60_000)], console_output=False, diagnostics="off"))
    hooked, inside = 0, False
    tokens, log = ptx.get_meter("m").counter("c"), ptx.get_logger("l")
    class Text:
        def __str__(self): return "text"
    def hook(*_, **__):
        global hooked, inside
        if inside: return hook
        inside = True
        try:
            with ptx.start_span("hook", {"k": Text()}): tokens.add(1, {"k": "v"}); log.info("hook", attributes={"k": Text()})
            hooked += 1
        finally: inside = False
        return hook
    class Handler(logging.Handler):
        def emit(self, record): hook()
    if where == "gc callback": gc.callbacks.append(hook); gc.set_threshold(5, 0)
    if where == "profile": sys.setprofile(hook)
    if where == "trace": sys.settrace(hook)
    if where == "audit": sys.addaudithook(hook)
    if where == "warning": warnings.showwarning = hook; warnings.simplefilter("always")
    if where == "logging": logging.getLogger().addHandler(Handler())
    if where == "unraisable": sys.unraisablehook = hook
    if where == "signal": signal.signal(signal.SIGALRM, hook); signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
    if where == "monitoring":
        monitoring = sys.monitoring
        monitoring.use_tool_id(4, "test")
        for event in (monitoring.events.CALL, monitoring.events.PY_START, monitoring.events.C_RETURN):
            monitoring.register_callback(4, event, lambda *_: hook() and None)
        monitoring.set_events(4, monitoring.events.CALL | monitoring.events.PY_START)
    class Short:
        def __str__(self): return "short"
    class Bad(Short):
        def __del__(self): raise ValueError("not raised")
    rounds = 300
    def outer():
        cycle = []; cycle.append(cycle)
        with ptx.start_span("outer", {"k": Text(), "l": [Text(), {"a": [1]}]}) as span:
            span.add_event("e", {"k": Text()})
            tokens.add(1, {"k": Text()})
            log.info("outer", attributes={"k": Text()})
            if where == "gc callback": kept = [[] for _ in range(600)]  # free-threaded Python counts by 512
            if where == "warning": warnings.warn("w")
            if where == "logging": logging.warning("w")
            if where == "audit": sys.audit("test.event")
            if where == "unraisable": span.set_attribute("k", Bad())
            if where == "weakref":
                kept = Short(); weak = weakref.ref(kept, hook); attributes = {"k": [kept]}; del kept
                span.set_attributes(attributes); attributes.clear()
    for _ in range(rounds): outer()
    if where == "signal":
        while not hooked: outer(); rounds += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    sys.setprofile(None); sys.settrace(None); gc.callbacks.clear(); inside = True
    assert ptx.force_flush(20_000)
    answer([hooked, rounds])
"""
