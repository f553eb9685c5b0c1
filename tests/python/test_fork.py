"""Forked children: they record and deliver with no user code, and neither harms nor repeats what is the parent's."""

from __future__ import annotations

import collections
import ctypes.util
import sys
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import Answer, OtlpServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

# `child(work)` forks, lets the child work and leave as sys.exit does, and gives the parent its pid. In a thread
# sys.exit ends no more than the thread, so there a child leaves by itself.
CHILD = """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
    def child(work):
        pid = os.fork()
        if pid: return pid
        work()
        if threading.current_thread() is threading.main_thread(): sys.exit(0)
    def wait(*pids):
        for pid in pids:
            assert os.waitpid(pid, 0)[1] == 0
    def op(name="child", **attributes):
        with ptx.start_span(name, {"pid": os.getpid(), **attributes}): pass
"""
START = (
    CHILD
    + """
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
"""
)


def by_pid(spans: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Spans by the process their resource names, which must be the one that recorded them."""
    found = collections.defaultdict(list)
    for span in spans:
        assert span["attributes"]["pid"] == span["resource"]["process.pid"]
        found[span["attributes"]["pid"]].append(span)
    for spans in found.values():
        assert len({span["resource"]["service.instance.id"] for span in spans}) == 1
    assert len({spans[0]["resource"]["service.instance.id"] for spans in found.values()}) == len(found)
    return found


def assert_ids_are_distinct(spans: list[dict[str, Any]]) -> None:
    assert len({span["span_id"] for span in spans}) == len(spans)
    assert len({span["trace_id"] for span in spans}) == len(spans)


def test_a_child_records_with_no_user_code(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    for _ in range(10): op("parent")
    children = [child(lambda: [op() for _ in range(20)]) for _ in range(5)]
    for _ in range(10): op("parent")
    wait(*children)
    answer([os.getpid(), *children])
    """
    )
    parent, *children = done.answer
    found = by_pid(collector.spans)
    assert {pid: len(spans) for pid, spans in found.items()} == {parent: 20, **dict.fromkeys(children, 20)}
    assert_ids_are_distinct(collector.spans)
    assert done.stderr == ""


def test_a_child_that_records_nothing_costs_nothing(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    op("parent")
    def look():
        assert ptx.is_initialized()
        assert ptx.stats()["spans"]["recorded"] == 0
        assert ptx.force_flush() is True
        assert len(os.listdir("/proc/self/task")) == 1
    wait(child(look), child(ptx.shutdown), child(lambda: ptx.stats()))
    def then(): pass
    """
    )
    assert [span["name"] for span in collector.spans] == ["parent"]


def test_a_child_of_a_child_of_a_child(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    def descend(depth):
        op(depth=depth)
        if depth < 4:
            wait(child(lambda: descend(depth + 1)))
            op(depth=depth)
    descend(0)
    """
    )
    found = by_pid(collector.spans)
    depths = sorted([span["attributes"]["depth"] for span in spans] for spans in found.values())
    assert depths == [[0, 0], [1, 1], [2, 2], [3, 3], [4]]
    assert_ids_are_distinct(collector.spans)


def test_a_grandchild_of_a_child_that_recorded_nothing(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    op()
    wait(child(lambda: wait(child(lambda: wait(child(op))))))
    """
    )
    assert len(by_pid(collector.spans)) == 2


def test_a_fork_inside_a_span(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    def in_child():
        op("in the open span")
        span.set_attribute("k", "child")
        span.add_event("child")
        span.end()
        assert ptx.current_trace_context()["trace_id"] is None
        op("after it")
        ptx.force_flush()
        answer(ptx.stats()["spans"])
    with ptx.start_span("open", {"pid": os.getpid()}) as span:
        wait(child(in_child))
    """
    )
    assert done.answer == {"recorded": 2, "dropped": {"inherited": 1}, "abandoned": 0}
    assert "lost" not in done.stderr
    opened, inner = collector.span("open"), collector.span("in the open span")
    assert inner["trace_id"] == opened["trace_id"] and inner["parent_span_id"] == opened["span_id"]
    assert opened["events"] == [] and "k" not in opened["attributes"]
    assert collector.span("after it")["parent_span_id"] == ""
    assert len(by_pid(collector.spans)) == 2


def test_a_fork_while_the_exporter_is_sending(collector: OtlpServer, run_python: RunPython) -> None:
    collector.default_answer = Answer(delay_s=0.02)
    done = run_python(
        CHILD
        + """
    sink = ptx.TraceSink(endpoint, "http", batch_max_export=10, batch_schedule_delay_ms=0)
    ptx.init(ptx.Config("svc", sinks=[sink], exit_timeout_ms=30_000))
    children = []
    for _ in range(20):
        for _ in range(10): op("parent")
        children.append(child(lambda: [op() for _ in range(10)]))
    wait(*children)
    assert ptx.shutdown(30_000) is True
    answer([os.getpid(), *children])
    """
    )
    parent, *children = done.answer
    found = by_pid(collector.spans)
    assert {pid: len(spans) for pid, spans in found.items()} == {parent: 200, **dict.fromkeys(children, 10)}
    assert_ids_are_distinct(collector.spans)


@pytest.mark.parametrize("allocator", ["the system's", "jemalloc", "tcmalloc", "mimalloc"])
def test_forks_of_a_busy_parent_with_threads(
    allocator: str, collector: OtlpServer, run_python: RunPython
) -> None:
    """Every lock, queue and allocation of the parent is in use when it forks; none may matter to the child."""
    library = ctypes.util.find_library(allocator)
    if library is None and allocator != "the system's":
        pytest.skip(f"{allocator} is not installed")
    done = run_python(
        CHILD
        + """
    sinks = [ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=0, compression="gzip"),
             ptx.TraceSink(endpoint, "http", batch_max_export=50)]
    ptx.init(ptx.Config("svc", sinks=sinks, exit_timeout_ms=30_000))
    over, counts = False, [0] * 3
    def record(slot):
        while not over:
            op("parent", text="x" * (counts[slot] % 3000), huge="y" * (100_000 if counts[slot] % 50 == 0 else 1))
            counts[slot] += 1
            if counts[slot] % 20 == 0: time.sleep(0.001)
    def churn():
        while not over:
            thread = threading.Thread(target=lambda: (ptx.stats(), ptx.force_flush(1)))
            thread.start(); thread.join()
    threads = [threading.Thread(target=record, args=(slot,)) for slot in range(3)] + [threading.Thread(target=churn)]
    for thread in threads: thread.start()
    forked = []
    def leave():
        op()
        os._exit(0 if ptx.shutdown(30_000) else 1)
    def fork_some():
        for _ in range(20):
            forked.append(child(leave))
            wait(forked[-1])
    forkers = [threading.Thread(target=fork_some) for _ in range(2)]
    for thread in forkers: thread.start()
    for thread in forkers: thread.join()
    over = True
    for thread in threads: thread.join()
    # The first may tell of what the queues had no room for: free-threaded, three threads outrun them.
    assert ptx.force_flush(30_000) or ptx.force_flush(30_000)
    sinks = ptx.stats()["trace_sinks"]
    answer([os.getpid(), sum(counts), sinks, ptx.stats()["spans"], forked])
    """,
        env={"LD_PRELOAD": library} if library else None,
        timeout_s=100,
    )
    parent, recorded, sinks, spans, children = done.answer
    assert spans["recorded"] == recorded
    lost = sum(spans["dropped"].values())
    for sink in sinks:
        assert sink["wanted"] == recorded - lost == sink["exported"] + sum(sink["dropped"].values())
    found = {pid: len(spans) for pid, spans in by_pid(collector.spans).items()}
    assert found == {parent: sum(sink["exported"] for sink in sinks), **dict.fromkeys(children, 2)}


def test_a_fork_in_a_thread(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    def fork_here():
        op("thread")
        wait(child(leave))
    def leave():
        op()
        os._exit(0 if ptx.shutdown() else 1)
    op("main")
    thread = threading.Thread(target=fork_here)
    thread.start()
    thread.join()
    """
    )
    assert sorted(len(spans) for spans in by_pid(collector.spans).values()) == [1, 2]


@pytest.mark.parametrize("before", ["", "op('revived')"])
def test_the_first_init_in_a_child_replaces_what_it_inherited(
    before: str, collector: OtlpServer, run_python: RunPython
) -> None:
    run_python(
        START
        + f"""
    def own():
        {before}
        config = ptx.Config("own", sinks=[ptx.TraceSink(endpoint, "http")])
        ptx.init(config)
        try: ptx.init(config)
        except ptx.ConfigError: op("own")
    op("parent")
    wait(child(own))
    """
    )
    services = {span["name"]: span["resource"]["service.name"] for span in collector.spans}
    assert services == {"parent": "svc", "own": "own", **({"revived": "svc"} if before else {})}


def test_the_first_init_in_a_child_replaces_a_disabled_session(
    collector: OtlpServer, run_python: RunPython
) -> None:
    run_python(
        CHILD
        + """
    ptx.init()
    def own():
        del os.environ["OTEL_SDK_DISABLED"]
        ptx.init(ptx.Config("own", sinks=[ptx.TraceSink(endpoint, "http")]))
        op()
    wait(child(own), child(op))
    """,
        env={"OTEL_SDK_DISABLED": "true"},
    )
    assert [span["name"] for span in collector.spans] == ["child"]


def test_a_child_of_a_parent_that_was_shut_down(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    op("parent")
    assert ptx.shutdown()
    def look():
        op()
        assert not ptx.is_initialized() and ptx.stats() == {} and ptx.shutdown() and ptx.force_flush()
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        op("own")
    wait(child(look))
    """
    )
    assert [span["name"] for span in collector.spans] == ["parent", "own"]


def test_a_fork_below_python(collector: OtlpServer, run_python: RunPython) -> None:
    """C code that forks runs no Python hook."""
    run_python(
        START
        + """
    import ctypes
    fork = ctypes.PyDLL(None).fork
    op("parent")
    for _ in range(3):
        pid = fork()
        if pid == 0:
            op()
            assert ptx.shutdown() is True
            os._exit(0)
        wait(pid)
    op("parent")
    """
    )
    assert sorted(len(spans) for spans in by_pid(collector.spans).values()) == [1, 1, 1, 2]


def test_os_exit_skips_the_flush_as_it_skips_everything(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    def leave():
        op()
        os._exit(0)
    def flush_and_leave():
        op("flushed")
        assert ptx.force_flush() is True
        os._exit(0)
    wait(child(leave), child(flush_and_leave))
    """
    )
    assert [span["name"] for span in collector.spans] == ["flushed"]


def test_a_child_that_executes_another_program(collector: OtlpServer, run_python: RunPython) -> None:
    run_python(
        START
        + """
    import subprocess
    op("parent")
    subprocess.run(["true"], check=True)
    subprocess.run(["true"], check=True, preexec_fn=lambda: None)
    listing = subprocess.run(["ls", "-l", "/proc/self/fd"], check=True, capture_output=True, text=True, close_fds=False)
    assert "socket" not in listing.stdout and "eventfd" not in listing.stdout, listing.stdout
    """
    )
    assert [span["name"] for span in collector.spans] == ["parent"]


def test_a_child_with_a_terminal_and_one_that_python_does_not_fork(
    collector: OtlpServer, run_python: RunPython
) -> None:
    run_python(
        START
        + """
    op("parent")
    pid, terminal = os.forkpty()
    if pid == 0:
        op("in a terminal")
        os._exit(0 if ptx.shutdown() else 1)
    try:
        while os.read(terminal, 1000): pass
    except OSError: pass  # its other end is closed
    wait(pid)
    threads = len(os.listdir("/proc/self/task"))
    for _ in range(3): wait(os.posix_spawn("/bin/true", ["true"], {}))
    assert len(os.listdir("/proc/self/task")) == threads
    """
    )
    assert sorted(span["name"] for span in collector.spans) == ["in a terminal", "parent"]
