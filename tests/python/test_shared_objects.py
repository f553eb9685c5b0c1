"""Sixty-four threads, one object: what all of them do to it is done once each, whatever keeps threads apart. With Python's
global lock that is the lock; free-threaded it is what our types do themselves, so a lost update, a record too many or a
crash shows there. Also that the module does not bring the lock back.

What the threads are to be found doing at once is short, so each test takes some tenths of a second.
"""

from __future__ import annotations

import sysconfig
from collections import Counter
from typing import Any

from conftest import RunPython
from otlp_server import OtlpServer

START = """
    import contextvars
    THREADS = 64
    was_locked = getattr(sys, "_is_gil_enabled", lambda: True)()
    sys.setswitchinterval(1e-5)
    failed = []
    def excepthook(args): failed.append(repr(args.exc_value)); everyone.abort()
    threading.excepthook = excepthook
    def together(*works, rounds=[()]):
        "In so many threads, each with its number and a context of its own: all begin each work of each round at once."
        global everyone
        everyone = threading.Barrier(THREADS)
        def begin(number):
            for arguments in rounds:
                for work in works:
                    everyone.wait()
                    work(number, *arguments)
        threads = [threading.Thread(target=contextvars.Context().run, args=(begin, n)) for n in range(THREADS)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not failed, failed[:3]
    ptx.init(ptx.Config("svc", console_output=False, sinks=[
        ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http"),
        ptx.MetricSink(endpoint, "http", temporality="cumulative")]))
    def end():
        assert ptx.shutdown(60_000)
        stats = ptx.stats()
        assert getattr(sys, "_is_gil_enabled", lambda: True)() == was_locked
        answer([stats["spans"], stats["logs"], stats["measurements"]])
"""
THREADS = 64


def none_lost(stats: dict[str, Any]) -> None:
    assert not any(stats["dropped"].values()), stats


def test_one_span(collector: OtlpServer, run_python: RunPython) -> None:
    """Every attribute and event of every thread is there; of 64 ends one counts."""
    rounds = 20
    done = run_python(
        START
        + f"""
    def work(number, span, parent):
        span.set_attribute(f"key {{number}}", number)
        span.add_event("event", {{"from": number}})
        span.set_attributes({{f"more {{number}}": "x" * number}})
        span.update_name("shared")
        repr(span), span.is_recording(), span.context
        with ptx.use_span(span), ptx.start_span("child"): pass
        span.add_link(parent, {{"from": number}})
        span.set_status("error", "all of us")
    def finish(number, span, parent):
        try:
            with parent: raise ValueError("once")
        except ValueError: pass
        span.end()
    rounds = [(ptx.start_span("first"), ptx.start_span("parent", activate=False)) for _ in range({rounds})]
    together(work, finish, rounds=rounds)
    for span, _ in rounds: span.end()
    assert ptx.current_trace_context()["trace_id"] is None
    end()
    """
    )
    none_lost(done.answer[0])
    spans = collector.spans
    names = Counter(span["name"] for span in spans)
    assert names == {"shared": rounds, "parent": rounds, "child": rounds * THREADS}
    expected: dict[str, Any] = {f"key {n}": n for n in range(THREADS)}
    expected |= {f"more {n}": "x" * n for n in range(THREADS)}
    for span in spans:
        if span["name"] == "shared":
            assert span["attributes"] == expected
            for parts in (span["events"], span["links"]):
                assert sorted(part["attributes"]["from"] for part in parts) == list(range(THREADS))
            assert span["status"] == {"code": "error", "message": "all of us"}
        elif span["name"] == "parent":
            assert {event["name"] for event in span["events"]} == {"exception"}


def test_what_records(collector: OtlpServer, run_python: RunPython) -> None:
    """Tracer, template, logger and instruments: each call is one record, or one addition."""
    calls = 200
    done = run_python(
        START
        + f"""
    tracer, log, meter = ptx.get_tracer("t"), ptx.get_logger("l"), ptx.get_meter("m")
    template = ptx.SpanTemplate("template", attributes={{"a": 1}})
    counter, sizes = meter.up_down_counter("sum"), meter.histogram("sizes")
    bound = counter.bind({{"way": "bound"}})
    changing, column = {{}}, []
    def work(number):
        for call in range({calls}):
            with tracer.start_span("span", {{"number": number}}): counter.add(number)
            bound.add(1); bound.add(-1); bound.add(2)
            changing[f"key {{call % 7}}"] = [number]
            column[:] = [call] * (number % 3)
            if call % 10: continue
            template(changing).end()
            template.record(1, 2, changing)
            log.info("said", attributes=changing)
            sizes.record_many(column)
            try: template.record_spans([None] * (number % 3), 1, 2, {{"k": column}})
            except ValueError: pass
    together(work)
    end()
    """
    )
    for stats in done.answer:
        none_lost(stats) if "dropped" in stats else None
    names = Counter(span["name"] for span in collector.spans)
    assert names == {"span": THREADS * calls, "template": 2 * THREADS * calls // 10}
    assert len(collector.logs) == THREADS * calls // 10
    values = {str(point["attributes"]): point["value"] for point in collector.points("sum")}
    assert values == {"{}": sum(range(THREADS)) * calls, "{'way': 'bound'}": 2 * THREADS * calls}


def test_one_request_and_one_loop(collector: OtlpServer, run_python: RunPython) -> None:
    """A Generation gets every token and ends once; a StepRecorder has every step."""
    rounds, calls = 5, 100
    done = run_python(
        START
        + f"""
    loop = ptx.step_recorder("decode", spans=7)
    def work(number, request):
        for call in range({calls}):
            request.token()
            with loop(batch_size=1) as step: step.set(waiting=number)
            loop.record(ptx.now(), batch_size=1)
        request.tokens(2)
        request.tokens_at([ptx.now()] * 3)
        request.stage("decode", ptx.now())
        request.context, request.token_count
    def finish(number, request): request.end("stop", attributes={{"by": number}})
    together(work, finish, rounds=[(ptx.generation("chat", model="m"),) for _ in range({rounds})])
    end()
    """
    )
    none_lost(done.answer[0])
    requests = [span for span in collector.spans if "by" in span["attributes"]]
    assert [span["attributes"]["gen_ai.usage.output_tokens"] for span in requests] == [
        THREADS * (calls + 5)
    ] * rounds
    steps = 2 * rounds * THREADS * calls
    (duration,) = collector.points("llm.engine.step.duration")
    assert duration["count"] == steps
    names = Counter(span["name"].split()[0] for span in collector.spans)
    assert names["decode"] == -(-steps // 7) + rounds * THREADS


def test_one_table_of_requests(collector: OtlpServer, run_python: RunPython) -> None:
    """_RequestSteps, and a ParentSet: what each thread puts there it finds there, and takes out again."""
    calls = 50
    done = run_python(
        START
        + f"""
    from pytracingx import _native
    template = ptx.SpanTemplate("request")
    table = _native._RequestSteps(template, ptx.SpanTemplate("step"), "tokens", ["id"], ptx.step_recorder("loop"))
    parents, root = ptx.parent_set(), ptx.start_span("root", activate=False)
    steps = []
    def work(number):
        mine = ptx.new_context(root)
        for call in range({calls}):
            name = f"{{number}}.{{call}}"
            assert table.begin(name, None, ptx.now()) and not table.begin(name, None, ptx.now())
            steps.append(table.step({{name: 3, "unknown": 1}}, ptx.now()))
            steps.append(table.step([name], ptx.now(), None, [call]))
            assert table.end(name, False, name) and not table.end(name, False, name)
            parents.add(mine)
            ptx.record_spans("row", parents, 1, 2)
            assert parents.discard(mine) is not None
    together(work)
    assert len(table) == 0 == len(parents) and sum(steps) == 2 * THREADS * {calls}
    end()
    """
    )
    none_lost(done.answer[0])
    names = Counter(span["name"] for span in collector.spans)
    assert names["request"] == THREADS * calls and names["step"] == names["loop"] == 2 * THREADS * calls
    assert names["row"] >= THREADS * calls


def test_what_makes_current(collector: OtlpServer, run_python: RunPython) -> None:
    """One use_span(), one baggage() and one ExtractedContext, entered by all at once: each finds current what it made so,
    and afterwards what it had."""
    run_python(
        START
        + """
    TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
    span = ptx.start_span("outer", activate=False)
    use, baggage = ptx.use_span(span), ptx.baggage({"k": "v"})
    def work(number, extracted):
        with ptx.start_span("mine") as mine:
            for _ in range(100):
                with use, baggage:
                    assert ptx.current_span() is span and ptx.get_baggage() == {"k": "v"}
                    with use: assert ptx.current_span() is span
                    assert ptx.current_span() is span
                assert ptx.current_span() is mine and ptx.get_baggage() == {}
            assert extracted.is_valid and extracted.span_context.trace_id == TRACE
            with extracted: pass
            assert ptx.current_span() is mine
        assert ptx.current_trace_context()["trace_id"] is None
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    together(work, rounds=[(ptx.extract_headers(headers),) for _ in range(5)])
    end()
    """
    )


def test_the_lock_stays_off(run_python: RunPython) -> None:
    """Importing a module that does not say that it can do without the lock turns it on again."""
    done = run_python('answer(getattr(sys, "_is_gil_enabled", lambda: True)())', env={"PYTHON_GIL": ""})
    assert done.answer == (not sysconfig.get_config_var("Py_GIL_DISABLED"))
