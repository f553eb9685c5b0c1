"""init, force_flush and shutdown, each test in a fresh interpreter."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from conftest import RunPython
from faults import black_hole, hung, trickling
from otlp_server import Answer, OtlpServer

# What a promised deadline may be late by on a machine that is busy with something else.
LATE_S = 1.0


def test_calls_without_a_session_do_nothing(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python("""
        tracer = ptx.get_tracer("early")
        def record():
            with tracer.start_span("lost") as span:
                span.set_attribute("k", 1)
                span.add_event("e")
            ptx.record_span("lost", 1, 2)
        record()
        assert ptx.stats() == {} and not ptx.is_initialized()
        assert ptx.force_flush() is True and ptx.shutdown() is True
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        assert ptx.is_initialized()
        tracer.start_span("kept").end()
        assert ptx.force_flush() is True and ptx.force_flush() is True
        assert ptx.shutdown() is True and ptx.shutdown() is True
        assert not ptx.is_initialized()
        record()
        assert ptx.force_flush() is True
    """)
    assert [span["name"] for span in collector.spans] == ["kept"]
    assert done.stderr == ""


def test_init_twice_is_an_error_and_changes_nothing(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python("""
        ptx.init(ptx.Config("first", sinks=[ptx.TraceSink(endpoint, "http")]))
        try:
            ptx.init(ptx.Config("second"))
        except ptx.ConfigError as error:
            answer(str(error))
        ptx.start_span("op").end()
        assert ptx.shutdown()
    """)
    assert "already initialized" in done.answer
    assert collector.span("op")["resource"]["service.name"] == "first"


def test_a_failed_init_leaves_nothing_behind(
    collector: OtlpServer, run_python: RunPython, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    run_python(
        """
        try:
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink("https://localhost/v1/traces", ca_file=sys.argv[1])]))
        except ptx.ConfigError as error:
            assert "ca_file" in str(error) and sys.argv[1] in str(error), error
        else:
            raise AssertionError("no error")
        assert not ptx.is_initialized() and ptx.stats() == {} and threading.active_count() == 1
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        ptx.start_span("op").end()
        assert ptx.shutdown()
        """,
        str(tmp_path / "ca.pem"),
    )
    assert collector.span("op")


def test_init_after_shutdown_takes_another_configuration(
    collector: OtlpServer, run_python: RunPython
) -> None:
    run_python("""
        tracer = ptx.get_tracer("scope", "1")
        for name in "one", "two", "three":
            ptx.init(ptx.Config(name, sinks=[ptx.TraceSink(endpoint + "/" + name + "/v1/traces")]))
            with tracer.start_span("op", {"key": name}):
                ptx.start_span("inner").end()
            assert ptx.shutdown() is True
    """)
    seen = [
        (request.path, span["resource"]["service.name"])
        for request in collector.requests
        for span in request.spans
    ]
    assert seen == [(f"/{name}/v1/traces", name) for name in ("one", "two", "three") for _ in "ab"]
    ops = [span for span in collector.spans if span["name"] == "op"]
    assert [span["attributes"] for span in ops] == [{"key": name} for name in ("one", "two", "three")]
    assert {span["scope"]["name"] for span in ops} == {"scope"}


def test_a_span_ended_in_a_later_session_is_counted_there(
    collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python("""
        config = ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")])
        ptx.init(config)
        span = ptx.start_span("across")
        assert ptx.shutdown()
        ptx.init(config)
        span.set_attribute("k", 1)
        span.end()
        assert ptx.current_trace_context()["trace_id"] is None
        ptx.start_span("after").end()
        ptx.force_flush()
        answer(ptx.stats()["spans"])
    """)
    assert [span["name"] for span in collector.spans] == ["after"]
    assert done.answer == {"recorded": 2, "dropped": {"other_session": 1}, "abandoned": 0}


def test_a_flush_sends_what_other_threads_recorded_before_it(
    collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python("""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)]))
        recorded, over = threading.Barrier(9), threading.Event()
        def work():
            for number in range(100):
                ptx.start_span("op").end()
            recorded.wait()
            over.wait()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        recorded.wait()
        assert ptx.force_flush() is True
        answer(ptx.stats()["trace_sinks"][0]["exported"])
        over.set()
    """)
    assert done.answer == 800
    assert len({span["span_id"] for span in collector.spans}) == 800


@pytest.mark.parametrize("fault", [hung, black_hole, trickling])
@pytest.mark.parametrize("call", ["force_flush", "shutdown"])
def test_a_deadline_is_kept(
    call: str, fault: Callable[[], AbstractContextManager[str]], run_python: RunPython
) -> None:
    with fault() as bad:
        done = run_python(
            """
            call = getattr(ptx, sys.argv[1])
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[2])]))
            ptx.start_span("op").end()
            begun = time.monotonic()
            verdict = call(300)
            answer([verdict, time.monotonic() - begun])
            # The interpreter's end must not wait for what was given up here.
            ptx.shutdown(0)
            """,
            call,
            bad,
        )
    verdict, seconds = done.answer
    assert verdict is False
    assert 0.25 < seconds < 0.3 + LATE_S


def test_a_deadline_of_zero_and_one_beyond_the_clock(collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python("""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        ptx.start_span("op").end()
        begun = time.monotonic()
        ptx.force_flush(0)
        zero = time.monotonic() - begun
        answer([zero, ptx.force_flush(2**64 - 1), ptx.shutdown(2**64 - 1)])
    """)
    zero, *verdicts = done.answer
    assert zero < LATE_S
    assert verdicts == [True, True]
    assert collector.span("op")


@pytest.mark.parametrize("call", ["force_flush", "shutdown"])
def test_ctrl_c_ends_the_wait(call: str, run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            """
            import signal
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[2])], exit_timeout_ms=0))
            ptx.start_span("op").end()
            interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            begun = time.monotonic()
            interrupt.start()
            try:
                getattr(ptx, sys.argv[1])(60_000)
            except KeyboardInterrupt:
                answer(time.monotonic() - begun)
            """,
            call,
            bad,
        )
    assert done.answer is not None and done.answer < 0.2 + LATE_S


def test_ctrl_c_while_callbacks_are_asked_for_the_last_time_ends_the_wait(run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            """
            import signal
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1]), ptx.MetricSink(sys.argv[1])], exit_timeout_ms=0))
            asked = threading.Event()
            def hang():
                asked.set()
                time.sleep(60)
            ptx.get_meter("m").observable_gauge("hung", hang)
            ptx.start_span("op").end()
            def interrupt():
                asked.wait()
                os.kill(os.getpid(), signal.SIGINT)
            threading.Thread(target=interrupt).start()
            begun = time.monotonic()
            try:
                ptx.shutdown(10_000)
            except KeyboardInterrupt:
                answer(time.monotonic() - begun)
            """,
            bad,
        )
    assert done.answer is not None and done.answer < 0.4 + LATE_S


def test_a_signal_handler_that_returns_does_not_end_the_wait(run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            """
            import signal
            handled = []
            signal.signal(signal.SIGALRM, lambda *_: handled.append(1) or ptx.start_span("in handler").end())
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1])], exit_timeout_ms=0))
            ptx.start_span("op").end()
            begun = time.monotonic()
            verdict = ptx.force_flush(500)
            seconds = time.monotonic() - begun
            signal.setitimer(signal.ITIMER_REAL, 0)
            answer([verdict, seconds, len(handled)])
            """,
            bad,
        )
    verdict, seconds, handled = done.answer
    assert verdict is False and 0.45 < seconds < 0.5 + LATE_S and handled >= 2


@pytest.mark.parametrize("call", ["force_flush", "shutdown"])
def test_other_threads_run_during_the_wait(call: str, run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            """
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[2])], exit_timeout_ms=0))
            ptx.start_span("op").end()
            steps, over = 0, False
            def work():
                global steps
                while not over:
                    steps += 1
                    time.sleep(0.001)
            thread = threading.Thread(target=work)
            thread.start()
            before = steps
            getattr(ptx, sys.argv[1])(400)
            after, over = steps, True
            answer(after - before)
            """,
            call,
            bad,
        )
    assert done.answer > 10


def test_a_second_shutdown_waits_for_the_first(collector: OtlpServer, run_python: RunPython) -> None:
    collector.default_answer = Answer(delay_s=0.3)
    done = run_python("""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        ptx.start_span("op").end()
        threading.Thread(target=ptx.shutdown, daemon=True).start()
        while ptx.is_initialized(): pass
        answer(ptx.shutdown())
        os._exit(0)
    """)
    assert done.answer is True
    assert collector.span("op")


def test_a_shutdown_that_lost_says_so_again(run_python: RunPython) -> None:
    with hung() as bad:
        done = run_python(
            """
            config = ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1])])
            ptx.init(config)
            ptx.start_span("op").end()
            verdicts = [ptx.shutdown(50), ptx.shutdown(10_000)]
            ptx.init(config)
            answer(verdicts + [ptx.shutdown(10_000)])
            """,
            bad,
        )
    assert done.answer == [False, False, True]


def test_init_without_arguments_reads_the_environment(collector: OtlpServer, run_python: RunPython) -> None:
    code = """
        ptx.init()
        assert ptx.is_initialized()
        ptx.start_span("op").end()
        assert ptx.shutdown() is True
    """
    settings = {"OTEL_SERVICE_NAME": "from-env", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
    run_python(code, env=settings)
    assert collector.span("op")["resource"]["service.name"] == "from-env"
    run_python(code, env={**settings, "OTEL_SDK_DISABLED": "true"})
    assert len(collector.spans) == 1
