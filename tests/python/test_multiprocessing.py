"""multiprocessing and concurrent.futures: children leave without atexit handlers on most versions, and still deliver."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

# What children run; spawn and forkserver import it afresh.
WORKER = """
import os
import pytracingx as ptx

def record(number):
    with ptx.start_span("child", {"pid": os.getpid(), "number": number}):
        pass
    return number

def start(config):
    ptx.init(config)

def start_with_sigterm_flush(config):
    ptx.init(config)
    ptx.install_sigterm_flush()

def start_and_record(config, number):
    ptx.init(config)
    record(number)

def record_below(number):
    import multiprocessing
    record(number)
    process = multiprocessing.get_context("fork").Process(target=record, args=(number + 100,))
    process.start()
    process.join()
    assert process.exitcode == 0
"""
PARENT = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
    import worker
    config = ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)])
    method = sys.argv[1]
    def run(processes):
        for process in processes: process.start()
        for process in processes: process.join()
        assert [process.exitcode for process in processes] == [0] * len(processes)
"""
METHODS = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


@pytest.fixture
def run(run_python: RunPython, tmp_path: Path) -> RunPython:
    (tmp_path / "worker.py").write_text(WORKER)

    def run_with_worker(code: str, *arguments: str, **keywords: object) -> object:
        keywords["env"] = {"PYTHONPATH": str(tmp_path), **keywords.get("env", {})}  # type: ignore[dict-item]
        return run_python(PARENT + code, *arguments, **keywords)  # type: ignore[arg-type]

    return run_with_worker  # type: ignore[return-value]


def numbers(collector: OtlpServer) -> list[int]:
    """The numbers that arrived; each from the process that its resource names."""
    spans = [span for span in collector.spans if span["name"] == "child"]
    for span in spans:
        assert span["attributes"]["pid"] == span["resource"]["process.pid"]
    return sorted(span["attributes"]["number"] for span in spans)


@pytest.mark.parametrize("imported", ["before", "after"])
def test_forked_children_need_nothing(imported: str, collector: OtlpServer, run: RunPython) -> None:
    run(
        """
    if method == "before": import multiprocessing
    ptx.init(config)
    import multiprocessing
    context = multiprocessing.get_context("fork")
    ptx.start_span("parent").end()
    run([context.Process(target=worker.record, args=(number,)) for number in range(4)])
    """,
        imported,
    )
    assert numbers(collector) == [0, 1, 2, 3]
    assert collector.span("parent")


def test_children_of_forked_children(collector: OtlpServer, run: RunPython) -> None:
    run(
        """
    ptx.init(config)
    import multiprocessing
    context = multiprocessing.get_context("fork")
    run([context.Process(target=worker.record_below, args=(number,)) for number in range(2)])
    """,
        "fork",
    )
    assert numbers(collector) == [0, 1, 100, 101]


@METHODS
def test_children_that_init_from_a_pickled_config(method: str, collector: OtlpServer, run: RunPython) -> None:
    run(
        """
    import multiprocessing
    ptx.init(config)
    context = multiprocessing.get_context(method)
    run([context.Process(target=worker.start_and_record, args=(config, number)) for number in range(2)])
    """,
        method,
    )
    assert numbers(collector) == [0, 1]


@METHODS
def test_children_that_init_from_the_environment(method: str, collector: OtlpServer, run: RunPython) -> None:
    run(
        """
    import multiprocessing
    context = multiprocessing.get_context(method)
    run([context.Process(target=worker.start_and_record, args=(None, number)) for number in range(2)])
    """,
        method,
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint},
    )
    assert numbers(collector) == [0, 1]


@METHODS
def test_a_pool(method: str, collector: OtlpServer, run: RunPython) -> None:
    run(
        """
    import multiprocessing
    if method == "fork": ptx.init(config)
    pool = multiprocessing.get_context(method).Pool(
        2, *(() if method == "fork" else (worker.start, (config,))), maxtasksperchild=1)
    assert pool.map(worker.record, range(8), chunksize=1) == list(range(8))
    pool.close()
    pool.join()
    """,
        method,
    )
    assert numbers(collector) == list(range(8))


@METHODS
def test_a_pool_that_terminates_its_workers(method: str, collector: OtlpServer, run: RunPython) -> None:
    """The end of `with Pool()` sends SIGTERM, to which a handler that workers inherit or install answers by a flush."""
    run(
        """
    import multiprocessing
    if method == "fork":
        ptx.init(config)
        ptx.install_sigterm_flush()
    start = () if method == "fork" else (worker.start_with_sigterm_flush, (config,))
    with multiprocessing.get_context(method).Pool(3, *start) as pool:
        assert pool.map(worker.record, range(30), chunksize=1) == list(range(30))
    """,
        method,
    )
    assert numbers(collector) == list(range(30))


@METHODS
def test_a_process_pool_executor(method: str, collector: OtlpServer, run: RunPython) -> None:
    run(
        """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    if method == "fork": ptx.init(config)
    start = {} if method == "fork" else {"initializer": worker.start, "initargs": (config,)}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method), **start) as executor:
        assert list(executor.map(worker.record, range(10))) == list(range(10))
    """,
        method,
    )
    assert numbers(collector) == list(range(10))
