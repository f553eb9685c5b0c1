"""Forks of every shape at every moment: many threads at once, below Python, during init and shutdown, mid-handshake, and
the tree of processes that an inference server is. Each process exports what it recorded itself, once."""

from __future__ import annotations

import ssl
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from conftest import RunPython
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from otlp_server import Answer, OtlpServer
from test_fork import CHILD, START, assert_ids_are_distinct, by_pid

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

BELOW = """
    import ctypes
    fork = ctypes.PyDLL(None).fork  # no hook of Python's runs
    def leave(): os._exit(0 if ptx.shutdown(20_000) else 1)
"""


def test_eight_threads_fork_at_once(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + BELOW
        + """
    together, children = threading.Barrier(8), []
    def fork_some():
        for _ in range(5):
            together.wait()
            op("parent")
            pid = os.fork()
            if pid == 0:
                for _ in range(3): op()
                leave()
            children.append(pid)
            wait(pid)
            op("parent")
    threads = [threading.Thread(target=fork_some) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    answer([os.getpid(), children])
    """
    )
    parent, children = done.answer
    found = {pid: len(spans) for pid, spans in by_pid(collector.spans).items()}
    assert found == {parent: 80, **dict.fromkeys(children, 3)}
    assert len(children) == 40
    assert_ids_are_distinct(collector.spans)


def test_ids_are_distinct_over_many_children(collector: OtlpServer, run_python: RunPython) -> None:
    """The generator of ids that a child inherits has given no id yet, some, or many."""
    run_python(
        START
        + """
    for given in range(20):
        for _ in range(given): op("parent")
        children = [child(lambda: [op() for _ in range(50)]) for _ in range(3)]
        wait(*children)
    """
    )
    assert len(collector.spans) == sum(range(20)) + 20 * 3 * 50
    assert_ids_are_distinct(collector.spans)
    by_pid(collector.spans)


def test_three_levels_below_python(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + BELOW
        + """
    def descend(depth):
        op(depth=depth)
        if depth < 3:
            pid = fork()
            if pid == 0:
                descend(depth + 1)
                leave()
            wait(pid)
            op(depth=depth)
    descend(0)
    """
    )
    found = by_pid(collector.spans)
    depths = sorted([span["attributes"]["depth"] for span in spans] for spans in found.values())
    assert depths == [[0, 0], [1, 1], [2, 2], [3]]
    assert_ids_are_distinct(collector.spans)


def test_amounts_below_python(collector: OtlpServer, run_python: RunPython) -> None:
    """Counts that only the parent's cells hold yet, and log records in its lanes, are the parent's."""
    done = run_python(
        START.replace(
            'sinks=[ptx.TraceSink(endpoint, "http")]',
            'sinks=[ptx.MetricSink(endpoint, "http", export_interval_ms=60_000), ptx.OtlpLogSink(endpoint, "http")]',
        )
        + BELOW
        + """
    meter, log = ptx.get_meter("m"), ptx.get_logger("l")
    counter, histogram = meter.counter("sum"), meter.histogram("histogram")
    bound = counter.bind({"k": "v"})
    def measure(amount):
        for _ in range(10): counter.add(amount); bound.add(amount); histogram.record(amount)
    measure(1)
    log.info("parent")
    children = []
    for number in (100, 1000):
        pid = fork()
        if pid == 0:
            measure(number)
            log.info("child")
            leave()
        children.append(pid)
        wait(pid)
        measure(1)
    answer([os.getpid(), *children])
    """
    )
    parent, *children = done.answer
    totals: dict[int, list[float]] = defaultdict(list)
    for metric in collector.metrics:
        for point in metric["points"]:
            totals[metric["resource"]["process.pid"]].append(point.get("sum", point.get("value")))
    assert totals == {parent: [30] * 3, children[0]: [1000] * 3, children[1]: [10_000] * 3}
    bodies = Counter((log["body"], log["resource"]["process.pid"]) for log in collector.logs)
    assert bodies == {("parent", parent): 1, **{("child", pid): 1 for pid in children}}


@pytest.mark.parametrize("how", ["os.fork", "below Python"])
def test_forks_during_init_and_shutdown(how: str, collector: OtlpServer, run_python: RunPython) -> None:
    """Another thread is in the middle of either: the child finds a session or none, and its own init works."""
    done = run_python(
        CHILD
        + BELOW
        + """
    config = ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")])
    over, sessions = False, 0
    def churn():
        global sessions
        while not over:
            ptx.init(config)
            op("parent")
            assert ptx.shutdown(20_000)
            sessions += 1
    thread = threading.Thread(target=churn)
    thread.start()
    fork = os.fork if sys.argv[1] == "os.fork" else fork
    for number in range(40):
        pid = fork()
        if pid == 0:
            op("either")
            ptx.shutdown(20_000)
            ptx.init(config)
            op("own")
            leave()
        wait(pid)
    over = True
    thread.join()
    answer([os.getpid(), sessions])
    """,
        how,
        timeout_s=100,
    )
    parent, sessions = done.answer
    names = Counter(span["name"] for span in collector.spans)
    assert names["parent"] == sessions and names["own"] == 40 and names["either"] <= 40
    assert all(
        (span["resource"]["process.pid"] == parent) == (span["name"] == "parent") for span in collector.spans
    )
    assert_ids_are_distinct(collector.spans)


@pytest.fixture
def slow_with_tls(tmp_path: Path) -> Any:
    """A TLS server that takes its time to answer, and the file of its authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    server = OtlpServer(tls=context)
    server.default_answer = Answer(delay_s=0.02)
    yield server, str(tmp_path / "ca.pem")
    server.close()


def test_forks_at_every_moment_of_a_tls_connection(slow_with_tls: Any, run_python: RunPython) -> None:
    """The parent forks while it connects, shakes hands, sends and waits; its sessions go on, no record is repeated."""
    server, ca_file = slow_with_tls
    done = run_python(
        CHILD
        + BELOW
        + """
    endpoint, ca_file = sys.argv[1:]
    sink = ptx.TraceSink(endpoint, "http", ca_file=ca_file, batch_schedule_delay_ms=0, batch_max_export=5)
    children = []
    for session in range(4):
        ptx.init(ptx.Config("svc", sinks=[sink]))
        op("parent")
        for number in range(6):
            for _ in range(3): op("parent")
            time.sleep(0.0015 * number)
            pid = os.fork()
            if pid == 0:
                op()
                if number % 2: leave()   # with a handshake of its own
                os._exit(0)              # and without a word
            if number % 2: children.append(pid)
            op("parent")
            wait(pid)
        assert ptx.force_flush(20_000)
        [sink_stats] = ptx.stats()["trace_sinks"]
        assert (sink_stats["retried"], sink_stats["last_error"]) == (0, None), sink_stats
        assert ptx.shutdown(20_000)
    answer(children)
    """,
        server.endpoint,
        ca_file,
    )
    children = set(done.answer)
    names = Counter(span["name"] for span in server.spans)
    assert names["parent"] == 4 * (1 + 6 * 4)
    pids = Counter(span["resource"]["process.pid"] for span in server.spans if span["name"] == "child")
    assert children <= pids.keys() and set(pids.values()) == {1}
    assert_ids_are_distinct(server.spans)


# An API server inits and forks the engine core, which forks a worker for each device. None of them inits again.
ENGINE = """
    import multiprocessing, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
    config = ptx.Config("engine", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http"),
                                         ptx.MetricSink(endpoint, "http", export_interval_ms=60_000)])
    ptx.init(config)
    context = multiprocessing.get_context("fork")
    tokens = ptx.get_meter("engine").counter("tokens")
    log = ptx.get_logger("engine")
    def record(role, count):
        with ptx.start_span(role, {"pid": os.getpid()}): tokens.add(count); log.info(role)
    def worker(rank, carrier, done):
        record("load", 1)
        parent = ptx.extract_context(carrier)
        with ptx.start_span("step", {"pid": os.getpid(), "rank": rank}, parent=parent): tokens.add(10)
        done.put(rank)
    def core(carrier, done):
        record("core", 100)
        workers = [context.Process(target=worker, args=(rank, carrier, done)) for rank in range(2)]
        for process in workers: process.start()
        for process in workers: process.join()
        assert [process.exitcode for process in workers] == [0, 0]
        record("core", 100)
    done = context.Queue()
    with ptx.start_span("request", {"pid": os.getpid()}):
        carrier = {}
        ptx.inject_headers(carrier)
        record("server", 1000)
        engine = context.Process(target=core, args=(carrier, done))
        engine.start()
        assert sorted([done.get(timeout=30), done.get(timeout=30)]) == [0, 1]
        engine.join()
        assert engine.exitcode == 0
    answer([os.getpid(), engine.pid])
"""


def test_a_server_its_engine_and_its_workers(collector: OtlpServer, run_python: RunPython) -> None:
    """As vLLM forks by default: each records, delivers under its own name, and continues the request's trace."""
    done = run_python(ENGINE)
    server, engine = done.answer
    found = by_pid(collector.spans)
    workers = sorted(found.keys() - {server, engine})
    names = {pid: sorted(span["name"] for span in spans) for pid, spans in found.items()}
    in_workers = {pid: ["load", "step"] for pid in workers}
    assert names == {server: ["request", "server"], engine: ["core", "core"], **in_workers}
    assert len(workers) == 2
    request = collector.span("request")
    steps = [span for span in collector.spans if span["name"] == "step"]
    assert {(span["trace_id"], span["parent_span_id"]) for span in steps} == {
        (request["trace_id"], request["span_id"])
    }
    tokens: Counter[int] = Counter()
    for metric in collector.metrics:
        tokens[metric["resource"]["process.pid"]] += metric["points"][0]["value"]
    assert tokens == {server: 1000, engine: 200, **dict.fromkeys(workers, 11)}
    logs = Counter((log["body"], log["resource"]["process.pid"]) for log in collector.logs)
    assert logs == {("server", server): 1, ("core", engine): 2, **{("load", pid): 1 for pid in workers}}


class Collected:
    """What a server of traces does, by gRPC's own library."""

    def __init__(self) -> None:
        self.names: Counter[tuple[str, int]] = Counter()
        self.peers: set[str] = set()

    def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
        time.sleep(0.01)
        self.peers.add(context.peer())
        for resource_spans in request.resource_spans:
            pid = {pair.key: pair.value for pair in resource_spans.resource.attributes}[
                "process.pid"
            ].int_value
            for scope_spans in resource_spans.scope_spans:
                self.names.update((span.name, pid) for span in scope_spans.spans)
        return ExportTraceServiceResponse()


def test_forks_in_the_middle_of_grpc_calls(run_python: RunPython) -> None:
    """HTTP/2 has state in both directions: the parent's connection lives on, children have their own."""
    grpc = pytest.importorskip("grpc", reason="no wheel of grpcio for this interpreter")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
        add_TraceServiceServicer_to_server,
    )

    collected = Collected()
    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(collected, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        done = run_python(
            CHILD
            + BELOW
            + """
    sink = ptx.TraceSink(sys.argv[1], "grpc", batch_schedule_delay_ms=0, batch_max_export=5)
    ptx.init(ptx.Config("svc", sinks=[sink]))
    children = []
    for number in range(20):
        for _ in range(10): op("parent")
        time.sleep(0.001 * (number % 5))
        pid = (os.fork if number % 2 else fork)()
        if pid == 0:
            for _ in range(2): op()
            leave()
        op("parent")
        children.append(pid)
        wait(pid)
    assert ptx.force_flush(20_000)
    answer([os.getpid(), children, ptx.stats()["trace_sinks"][0]["retried"]])
    """,
            f"http://127.0.0.1:{port}",
        )
    finally:
        server.stop(None).wait()
    parent, children, retried = done.answer
    assert collected.names == {("parent", parent): 220, **{("child", pid): 2 for pid in children}}
    assert retried == 0
    assert len(collected.peers) == 1 + len(children)
