"""A process that may not have another thread, file descriptor or page: it records on, what is lost is told, and it
recovers when it can. `init` refuses where it cannot start."""

from __future__ import annotations

import sys

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")

# `no_threads()` holds for this process until its end: no limit of threads binds root. `no_files()` until `files()`.
LIMITS = """
    import contextlib, resource, warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork of a process with threads
    from resource import RLIMIT_AS, RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit, setrlimit
    def no_threads():
        setrlimit(RLIMIT_NPROC, (0, 0))
        if os.getuid() == 0: os.setuid(65534)
        try: threading.Thread(target=print).start()
        except RuntimeError: return
        raise AssertionError("a thread could be started")
    most = getrlimit(RLIMIT_NOFILE)
    def no_files():
        setrlimit(RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), most[1]))
        with contextlib.suppress(OSError):
            while True: os.open(os.devnull, os.O_RDONLY)
    def files(): setrlimit(RLIMIT_NOFILE, most)
    def config(url=endpoint): return ptx.Config("svc", sinks=[ptx.TraceSink(url, "http")], console_output=False)
    def op(name="op"): ptx.start_span(name).end()
"""


@pytest.mark.parametrize("means", ["threads", "files"])
def test_init_refuses_and_recording_does_nothing(
    means: str, collector: OtlpServer, run_python: RunPython
) -> None:
    run_python(
        LIMITS
        + """
    no_threads() if sys.argv[1] == "threads" else no_files()
    for _ in range(2):
        try: ptx.init(config())
        except ptx.ConfigError as error: said = str(error)
        else: raise AssertionError("it started")
        op()
        assert not ptx.is_initialized() and ptx.stats() == {} and ptx.force_flush() and ptx.shutdown()
    files()
    assert "Resource temporarily unavailable" in said or "Too many open files" in said, said
    """,
        means,
    )
    assert collector.requests == []


def test_a_child_without_a_thread_says_so(collector: OtlpServer, run_python: RunPython) -> None:
    """And lives; its parent notices nothing."""
    done = run_python(
        LIMITS
        + """
    ptx.init(config())
    op("parent")
    pid = os.fork()
    if pid == 0:
        no_threads()
        op("child")
        op("child")
        assert not ptx.is_initialized() and ptx.force_flush() and ptx.shutdown()
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
    op("parent")
    assert ptx.shutdown()
    """
    )
    assert [span["name"] for span in collector.spans] == ["parent", "parent"]
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "pytracingx: this child records nothing: the exporter thread could not be started: "
    )


def test_names_are_not_looked_up_without_a_thread(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        LIMITS
        + """
    ptx.init(config(endpoint.replace("127.0.0.1", "localhost")))
    no_threads()
    op()
    assert ptx.force_flush(300) is False
    (sink,) = ptx.stats()["trace_sinks"]
    assert "cannot resolve localhost" in sink["last_error"] and sink["held_records"] == 1, sink
    assert ptx.shutdown(300) is False
    assert ptx.stats()["trace_sinks"][0]["dropped"] == {"shutdown": 1}
    """
    )
    assert "lost 1 spans" in done.stderr and collector.requests == []


def test_what_was_held_without_a_descriptor_arrives_with_one(
    collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(
        LIMITS
        + """
    ptx.init(config())
    op()
    no_files()
    seen = []
    for _ in range(3):
        for _ in range(100): op()
        assert ptx.force_flush(300) is False
        (sink,) = ptx.stats()["trace_sinks"]
        seen.append([sink["held_records"], "Too many open files" in sink["last_error"]])
    files()
    assert ptx.shutdown(20_000) is True
    answer(seen)
    """
    )
    assert done.answer == [[101, True], [201, True], [301, True]]
    assert len(collector.spans) == 301


def test_memory_that_is_refused_costs_no_record_a_call(collector: OtlpServer, run_python: RunPython) -> None:
    """Lanes are reserved when a session starts: later, recording asks for nothing. A thread that comes later does too."""
    done = run_python(
        LIMITS
        + """
    ptx.init(config())
    op()
    assert ptx.force_flush()
    with open("/proc/self/statm") as file: now = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
    started, go = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: (started.set(), go.wait(), [op() for _ in range(1000)]))
    thread.start(); started.wait()
    setrlimit(RLIMIT_AS, (now, getrlimit(RLIMIT_AS)[1]))
    try: bytearray(64 << 30)  # free-threaded Python reserves a gigabyte in advance
    except MemoryError: pass
    else: raise AssertionError("there was memory")
    for _ in range(1000): op()
    go.set(); thread.join()
    setrlimit(RLIMIT_AS, (resource.RLIM_INFINITY, getrlimit(RLIMIT_AS)[1]))
    assert ptx.shutdown(20_000) is True
    answer([ptx.stats()["spans"]["recorded"], ptx.stats()["spans"]["dropped"]])
    """
    )
    assert done.answer == [2001, {}]
    assert len(collector.spans) == 2001
