"""The engines' plugins, against stand-ins with the real signatures (stand_ins/), and against the real packages
where they are installed. Every program is a fresh interpreter, as an engine's own processes are."""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Decoded, OtlpServer

STAND_INS = str(Path(__file__).with_name("stand_ins"))
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

VLLM = """
import logging
logging.basicConfig()
from pytracingx.integrations import vllm_engine
vllm_engine.register()
vllm_engine.register()
assert not [name for name in sys.modules if name.split(".")[0] == "vllm"]
from vllm.v1.core.sched.scheduler import Request, Scheduler
import vllm.v1.core.sched.scheduler as module
expected = []
def step(scheduler, output=None):
    output = output or scheduler.schedule()
    for key, tokens in output.num_scheduled_tokens.items():
        if key in scheduler.requests:
            expected.append([key, tokens])
    scheduler.update_from_output(output, None)
"""

SGLANG = """
import logging
logging.basicConfig()
from pytracingx.integrations import sglang
sglang.register()
assert not [name for name in sys.modules if name.split(".")[0] == "sglang"]
from sglang.srt.managers.scheduler import Req, Scheduler
"""


@pytest.fixture
def engine(run_python: RunPython, collector: OtlpServer) -> Any:
    """Run a program with the stand-ins importable and the plugins switched on."""

    def run(*parts: str, **environment: str) -> Any:
        defaults = {
            "PYTHONPATH": STAND_INS,
            "PYTRACINGX_ENGINE": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "engine",
        }
        code = "".join(map(textwrap.dedent, parts))
        return run_python(code, env={**defaults, **environment})

    return run


def attribute(span: Decoded, name: str) -> Any:
    return span["attributes"].get(name)


def rows(collector: OtlpServer, name: str) -> list[tuple[str, int]]:
    """Request and tokens of each span of a step, by its parent."""
    requests = {
        (span["trace_id"], span["span_id"]): attribute(span, "gen_ai.request.id")
        for span in collector.spans
        if span["name"] == f"{name}.request"
    }
    return [
        (requests[span["trace_id"], span["parent_span_id"]], attribute(span, "scheduled_tokens"))
        for span in collector.spans
        if span["name"] == f"{name}.request.step"
    ]


def test_entry_points() -> None:
    points = distribution("pytracingx").entry_points
    found = {
        group: [point.value for point in points if point.group == group]
        for group in ("vllm.general_plugins", "vllm.stat_logger_plugins", "sglang.srt.plugins")
    }
    assert found == {
        "vllm.general_plugins": ["pytracingx.integrations.vllm_engine:register"],
        "vllm.stat_logger_plugins": ["pytracingx.integrations.vllm:StatLogger"],
        "sglang.srt.plugins": ["pytracingx.integrations.sglang:register"],
    }


def test_vllm_every_request_of_every_step(engine: Any, collector: OtlpServer) -> None:
    done = engine(
        VLLM,
        f"""
        scheduler = Scheduler()
        for i in range(256):
            headers = {{"traceparent": "{TRACEPARENT}"}} if i % 2 else None
            scheduler.add_request(Request(f"r{{i}}", [1] * 16, 100 + i % 50, headers))
        steps = 0
        while scheduler.requests:
            step(scheduler)
            steps += 1
        assert ptx.shutdown()
        answer([steps, expected])
        """,
    )
    steps, expected = done.answer
    assert Counter(rows(collector, "vllm")) == Counter(map(tuple, expected))
    assert len(expected) > 256 * 100
    assert len({span["span_id"] for span in collector.spans}) == len(expected) + steps + 256
    requests = {
        attribute(span, "gen_ai.request.id"): span
        for span in collector.spans
        if span["name"] == "vllm.request"
    }
    one, other = requests["r1"], requests["r0"]
    assert (one["trace_id"], one["parent_span_id"]) == (TRACEPARENT[3:35], TRACEPARENT[36:52])
    assert other["trace_id"] != one["trace_id"] and not other["parent_span_id"]
    assert one["attributes"] == {
        "gen_ai.provider.name": "vllm",
        "gen_ai.request.model": "opt",
        "gen_ai.request.id": "r1",
        "gen_ai.request.max_tokens": 101,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.usage.input_tokens": 16,
        "gen_ai.usage.output_tokens": 101,
        "gen_ai.response.finish_reasons": ["length"],
        "vllm.preemptions": 0,
    }
    (first, *_, last) = sorted(
        (span for span in collector.spans if span["name"] == "vllm.step"),
        key=lambda span: span["start_time_unix_nano"],
    )
    assert attribute(first, "llm.engine.batch_size") == 256
    assert attribute(first, "llm.engine.scheduled_tokens") == 256 * 16
    assert attribute(last, "llm.engine.kv_cache_usage") == 0.25
    assert collector.metric("llm.engine.step.duration")


def test_vllm_batches_that_change(engine: Any, collector: OtlpServer) -> None:
    """Chunked prefill, a budget for some only, arrivals, an abort, preemption and what comes back from it."""
    done = engine(
        VLLM,
        """
        scheduler = Scheduler(max_num_seqs=12, max_num_batched_tokens=40, blocks=300)
        for i in range(30):
            scheduler.add_request(Request(f"r{i}", [1] * (5 + i), 6 + i % 7))
        steps = preempted = 0
        while scheduler.requests:
            if steps == 9:
                scheduler.add_request(Request("late", [1] * 90, 3))
                scheduler.finish_requests([scheduler.running[2].request_id, "r29"], "abort")
            step(scheduler)
            steps += 1
        assert ptx.shutdown()
        answer(expected)
        """,
    )
    assert Counter(rows(collector, "vllm")) == Counter(map(tuple, done.answer))
    requests = [span for span in collector.spans if span["name"] == "vllm.request"]
    reasons = Counter(attribute(span, "gen_ai.response.finish_reasons")[0] for span in requests)
    assert reasons == {"length": 29, "abort": 2}
    assert sum(attribute(span, "vllm.preemptions") for span in requests) > 0
    assert len({key for key, tokens in rows(collector, "vllm") if key == "late"}) == 1


def test_vllm_steps_that_overlap(engine: Any, collector: OtlpServer) -> None:
    """Asynchronous scheduling: a request ends while a step that it is in has been scheduled."""
    done = engine(
        VLLM,
        """
        scheduler = Scheduler()
        for i in range(8):
            scheduler.add_request(Request(f"r{i}", [1] * 4, 2 + i))
        ahead = scheduler.schedule()
        while scheduler.requests:
            following = scheduler.schedule()
            step(scheduler, ahead)
            ahead = following
        assert ptx.shutdown()
        answer(expected)
        """,
    )
    assert Counter(rows(collector, "vllm")) == Counter(map(tuple, done.answer))


def test_vllm_in_a_forked_child(engine: Any, collector: OtlpServer) -> None:
    """The engine's process is a fork of the one in which plugins were loaded."""
    engine(
        VLLM,
        """
        child = os.fork()
        if child == 0:
            scheduler = Scheduler()
            scheduler.add_request(Request("r", [1], 2))
            while scheduler.requests:
                step(scheduler)
            os._exit(0 if ptx.shutdown() else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not ptx.is_initialized()
        """,
    )
    assert rows(collector, "vllm") == [("r", 1), ("r", 1)]


def test_sglang_every_request_of_every_batch(engine: Any, collector: OtlpServer) -> None:
    engine(
        SGLANG,
        f"""
        class Context:
            tracing_enable = True
            def __getstate__(self):
                return {{"root_span_context": {{"traceparent": "{TRACEPARENT}"}}}}

        scheduler = Scheduler()
        for i in range(20):
            scheduler._add_request_to_queue(Req(f"r{{i}}", 4 + i, 3 + i, Context() if i % 2 else None))
        aborted = Req("aborted", 3, 3)
        scheduler._add_request_to_queue(aborted)
        scheduler._release_aborted_request(aborted)
        lost = Req("lost", 3, 3)
        scheduler._add_request_to_queue(lost)
        scheduler.waiting_queue.remove(lost)
        del lost
        scheduler.event_loop_overlap()
        assert ptx.shutdown()
        """,
    )
    # The first result of each is that of its prefill.
    expected = Counter((f"r{i}", 4 + i) for i in range(20))
    expected.update({(f"r{i}", 1): 2 + i for i in range(20)})
    assert Counter(rows(collector, "sglang")) == expected
    requests = {
        attribute(span, "gen_ai.request.id"): span
        for span in collector.spans
        if span["name"] == "sglang.request"
    }
    assert len(requests) == 22
    assert (requests["r1"]["trace_id"], requests["r1"]["parent_span_id"]) == (
        TRACEPARENT[3:35],
        TRACEPARENT[36:52],
    )
    assert not requests["r0"]["parent_span_id"]
    assert attribute(requests["r7"], "gen_ai.usage.output_tokens") == 10
    assert attribute(requests["r7"], "gen_ai.response.finish_reasons") == ["length"]
    assert attribute(requests["aborted"], "gen_ai.response.finish_reasons") == ["abort"]
    assert attribute(requests["lost"], "gen_ai.response.finish_reasons") is None


@pytest.mark.parametrize("switch", ["", "0", "off"])
def test_switched_off_nothing_is_touched(engine: Any, collector: OtlpServer, switch: str) -> None:
    engine(
        VLLM,
        SGLANG,
        """
        from vllm.v1.core.sched.scheduler import Scheduler
        assert not hasattr(Scheduler.schedule, "__wrapped__")
        Scheduler().schedule()
        assert not ptx.is_initialized()
        """,
        PYTRACINGX_ENGINE=switch,
    )
    assert collector.requests == []


MOVED = {
    "a method is gone": "del module.Scheduler._free_request",
    "the class is gone": "del module.Scheduler",
}


@pytest.mark.parametrize("change", MOVED.values(), ids=MOVED.keys())
def test_internals_that_moved_before_the_import(engine: Any, change: str) -> None:
    """The hooks find the module as it is at the end of its import: here it is imported before they come."""
    done = engine(
        f"""
        import logging
        logging.basicConfig()
        import vllm.v1.core.sched.scheduler as module
        {change}
        from pytracingx.integrations import vllm_engine
        vllm_engine.register()
        assert not hasattr(getattr(module, "Scheduler", object), "schedule") or not hasattr(
            module.Scheduler.schedule, "__wrapped__")
        """
    )
    assert done.stderr.count("internals have moved") == 1 and "Traceback" not in done.stderr


CHANGED = {
    "of the configuration": "Scheduler.__init__ = lambda self: (init(self), delattr(self, 'vllm_config'))[0]",
    "of a request": "Request.trace_headers = property(lambda self: 1 / 0, lambda self, value: None)",
    "of an output": "module.SchedulerOutput.total_num_scheduled_tokens = property(lambda self: 1 / 0, lambda self, value: None)",
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED.keys())
def test_internals_that_moved_at_run_time(engine: Any, change: str) -> None:
    """One warning; the engine never notices."""
    done = engine(
        VLLM,
        f"""
        init = Scheduler.__init__
        {change}
        scheduler = Scheduler()
        scheduler.schedule()
        request = Request("r", [1], 3)
        scheduler.add_request(request)
        assert list(scheduler.requests) == ["r"]
        output = scheduler.schedule()
        scheduler.update_from_output(output, None)
        scheduler.schedule()
        assert ptx.shutdown() or not ptx.is_initialized()
        """,
    )
    assert done.stderr.count("internals have moved") == 1 and "Traceback" not in done.stderr


def test_internals_that_moved_between_two_ends(engine: Any, collector: OtlpServer) -> None:
    """Of two requests that one step ends: each has one span all the same, and there is one warning."""
    done = engine(
        VLLM,
        """
        scheduler = Scheduler()
        for name in ("a", "b", "c"):
            scheduler.add_request(Request(name, [1], 1))
        output = scheduler.schedule()
        del scheduler.requests["b"].num_preemptions
        scheduler.update_from_output(output, None)
        assert not scheduler.requests
        assert ptx.shutdown()
        """,
    )
    assert done.stderr.count("internals have moved") == 1 and "Traceback" not in done.stderr
    requests = [span for span in collector.spans if span["name"] == "vllm.request"]
    assert Counter(attribute(span, "gen_ai.request.id") for span in requests) == {"a": 1, "b": 1, "c": 1}


def test_an_output_that_was_never_scheduled(engine: Any, collector: OtlpServer) -> None:
    """vLLM makes empty ones to drain its queue after a fault: no step, and no end of the tracing."""
    done = engine(
        VLLM,
        """
        scheduler = Scheduler()
        scheduler.add_request(Request("r", [1], 2))
        step(scheduler)
        scheduler.update_from_output(module.SchedulerOutput.make_empty(), None)
        step(scheduler)
        assert not scheduler.requests and ptx.shutdown()
        """,
    )
    assert not done.stderr
    assert len([span for span in collector.spans if span["name"] == "vllm.step"]) == 2
    assert rows(collector, "vllm") == [("r", 1), ("r", 1)]
    (request,) = [span for span in collector.spans if span["name"] == "vllm.request"]
    assert attribute(request, "gen_ai.usage.output_tokens") == 2


@pytest.mark.parametrize("log_stats", [False, True])
def test_waiting_are_all_that_wait(engine: Any, collector: OtlpServer, log_stats: bool) -> None:
    """Whether vLLM keeps statistics or not, and whatever the reason."""
    engine(
        VLLM,
        f"""
        scheduler = Scheduler(max_num_seqs=2, log_stats={log_stats})
        for index in range(7):
            scheduler.add_request(Request(f"r{{index}}", [1], 9))
        scheduler.deferred_waiting.update(list(scheduler.waiting)[-2:])
        step(scheduler)
        assert ptx.shutdown()
        """,
    )
    (step,) = [span for span in collector.spans if span["name"] == "vllm.step"]
    assert attribute(step, "llm.engine.requests_waiting") == 5


def test_what_the_engine_raises_passes(engine: Any) -> None:
    engine(
        VLLM,
        """
        scheduler = Scheduler()
        scheduler.add_request(Request("r", [1], 3))
        output = scheduler.schedule()
        scheduler.requests["r"].num_output_tokens = None
        try:
            scheduler.update_from_output(output, None)
        except TypeError:
            answer("passed")
        ptx.shutdown()
        """,
    )


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_the_real_classes_have_what_the_hooks_need(run_python: RunPython) -> None:
    run_python(
        """
        from pytracingx.integrations import vllm_engine
        vllm_engine.register()
        from vllm.v1.core.sched.async_scheduler import AsyncScheduler
        for name in ("schedule", "update_from_output", "_free_request"):
            assert hasattr(getattr(AsyncScheduler, name), "__wrapped__"), name
        """,
        env={"PYTRACINGX_ENGINE": "1"},
        timeout_s=300,  # it imports vLLM
    )


def test_the_example_of_an_engine(run_python: RunPython, collector: OtlpServer) -> None:
    example = Path(__file__).parents[2] / "examples" / "llm_engine.py"
    done = run_python(
        f"import runpy\nrunpy.run_path({str(example)!r}, run_name='__main__')",
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_SERVICE_NAME": "engine"},
    )
    assert done.stdout.strip() == "all delivered"
    requests = {span["span_id"]: span for span in collector.spans if span["name"] == "chat toy-8b"}
    forwards = [span for span in collector.spans if span["name"] == "forward"]
    steps = [span for span in collector.spans if span["name"] == "engine.step"]
    generated = sum(attribute(span, "gen_ai.usage.output_tokens") for span in requests.values())
    assert (len(requests), generated) == (6, 12 + 8 + 16 + 6 + 10 + 20)
    assert {span["parent_span_id"] for span in forwards} == requests.keys()
    assert len(forwards) == sum(attribute(step, "llm.engine.batch_size") for step in steps)
    assert len(forwards) > generated
    preempted = [record for record in collector.logs if record["body"] == "preempted"]
    assert preempted and {record["span_id"] for record in preempted} <= requests.keys()
    assert sum(attribute(step, "llm.engine.preemptions") for step in steps) == len(preempted)


@pytest.mark.skipif(importlib.util.find_spec("sglang") is None, reason="SGLang is not installed")
def test_the_real_scheduler_of_sglang_has_the_methods() -> None:
    """By its source: importing it takes a GPU's libraries."""
    spec = importlib.util.find_spec("sglang")
    assert spec is not None and spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0], "srt", "managers", "scheduler.py").read_text()
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    methods = {node.name: node for node in classes["Scheduler"].body if isinstance(node, ast.FunctionDef)}
    arguments = {
        "_add_request_to_queue": "req",
        "run_batch": "batch",
        "process_batch_result": "batch",
        "_release_aborted_request": "req",
    }
    assert {name: methods[name].args.args[1].arg for name in arguments} == arguments
    assert "on_idle" in methods
