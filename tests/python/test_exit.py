"""How a process ends: whatever it recorded is flushed within `exit_timeout_ms`, and nothing keeps it alive or kills it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from conftest import RunPython
from faults import black_hole, hung
from otlp_server import OtlpServer, closed_port

LATE_S = 1.0


@pytest.mark.parametrize(
    ("ending", "returncode"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('x')", 1),
        ("raise KeyboardInterrupt", -2),
        ("threading.Thread(target=lambda: (time.sleep(0.1), ptx.start_span('op').end())).start()", 0),
        ("atexit.register(lambda: ptx.start_span('op').end())", 0),
    ],
)
def test_every_ordinary_end_flushes(
    ending: str, returncode: int, collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(
        """
        import atexit
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)]))
        if "'op'" not in sys.argv[1]:
            ptx.start_span("op").end()
        exec(sys.argv[1])
        """,
        ending,
        check=False,
    )
    assert done.returncode == returncode
    assert collector.span("op")
    assert "pytracingx:" not in done.stderr


def test_an_end_without_a_flush_delivers_what_was_due(collector: OtlpServer, run_python: RunPython) -> None:
    run_python("""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=0)]))
        ptx.start_span("op").end()
        while not ptx.stats()["trace_sinks"][0]["exported"]: time.sleep(0.005)
        os._exit(0)
    """)
    assert collector.span("op")


# Registered before init, so it runs after our handler.
TIMED = """
    import atexit
    def report(): answer(time.monotonic() - begun)
    atexit.register(report)
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1])], exit_timeout_ms=int(sys.argv[2])))
    ptx.start_span("op").end()
    begun = time.monotonic()
"""


@pytest.mark.parametrize("fault", [hung, black_hole])
def test_the_end_comes_in_time(
    fault: Callable[[], AbstractContextManager[str]], run_python: RunPython
) -> None:
    with fault() as bad:
        done = run_python(TIMED, bad, "300")
    assert 0.25 < done.answer < 0.3 + LATE_S
    assert "lost 1 spans" in done.stderr


def test_the_end_does_not_wait_for_an_endpoint_that_refuses(run_python: RunPython) -> None:
    done = run_python(TIMED, f"http://127.0.0.1:{closed_port()}/v1/traces", "20000")
    assert done.answer < 5
    assert "lost 1 spans" in done.stderr


def test_ctrl_c_ends_the_wait_at_the_end(run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            TIMED
            + """
    import signal
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.daemon = True
    interrupt.start()
            """,
            bad,
            "30000",
            check=False,
        )
    assert done.answer < 0.3 + LATE_S


def test_what_comes_after_our_handler_does_no_harm(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python("""
        import atexit, gc, weakref
        class Late:
            def __del__(self, record=lambda: ptx.start_span("late")):
                span = record()
                span.set_attribute("k", [1, "x"])
                span.end()
                ptx.force_flush(100)
        module_level, cycle = Late(), Late()
        cycle.self = cycle
        weakref.finalize(module_level, lambda: ptx.start_span("late").end())
        atexit.register(lambda: (ptx.start_span("late").end(), ptx.shutdown(), ptx.stats()))
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        open_span = ptx.start_span("never ended")
        ptx.start_span("op").end()
    """)
    assert collector.span("op")
    assert done.stderr == ""


@pytest.mark.parametrize(
    "loop",
    [
        "ptx.start_span('daemon').end()",
        "ptx.force_flush(1000)",
        "ptx.stats()",
        "ptx.shutdown(1000), ptx.init(config)",
        "(ptx.is_initialized() or ptx.init(config)), ptx.start_span('x', {'k': 'v'}).end()",
    ],
)
def test_daemon_threads_that_go_on_until_the_end(
    loop: str, collector: OtlpServer, run_python: RunPython
) -> None:
    for _ in range(5):
        done = run_python(
            """
            config = ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")], exit_timeout_ms=500)
            ptx.init(config)
            def work():
                while True:
                    try: exec(sys.argv[1])
                    except ptx.ConfigError: pass
            for _ in range(4): threading.Thread(target=work, daemon=True).start()
            time.sleep(0.05)
            """,
            loop,
            timeout_s=20,
        )
        assert done.stderr == "" or "pytracingx: " in done.stderr


def test_a_signal_handler_may_record_flush_and_exit(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        """
        import signal
        def end(*_):
            ptx.start_span("in handler").end()
            assert ptx.force_flush()
            sys.exit(7)
        signal.signal(signal.SIGTERM, end)
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        os.kill(os.getpid(), signal.SIGTERM)
        while True: ptx.start_span("op").end()
        """,
        check=False,
    )
    assert done.returncode == 7
    assert collector.span("in handler")


def test_signals_reach_python_threads_only(collector: OtlpServer, run_python: RunPython) -> None:
    """A storm of signals while recording: every one of them interrupts Python, none our thread."""
    done = run_python("""
        import signal
        seen = 0
        def handler(*_):
            global seen
            seen += 1
        signal.signal(signal.SIGALRM, handler)
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        assert ptx.force_flush()
        [exporter] = [t for t in os.listdir("/proc/self/task")
                      if open(f"/proc/self/task/{t}/comm").read().startswith("pytracingx")]
        status = open(f"/proc/self/task/{exporter}/status").read()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for _ in range(20_000): ptx.start_span("op").end()
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert ptx.shutdown(30_000)
        answer([bool(blocked >> (number - 1) & 1) for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM, signal.SIGSEGV)])
    """)
    assert done.answer == [True, True, True, False]
    assert len(collector.spans) == 20_000
