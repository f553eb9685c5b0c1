"""`install_sigterm_flush`: what SIGTERM would lose arrives, and the signal has its effect all the same."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import RunPython
from faults import hung
from otlp_server import OtlpServer, closed_port

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to send")

BEGIN = """
    import signal
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)]))
    ptx.start_span("op").end()
    {}
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.05)
    {}
"""


@pytest.mark.parametrize(
    ("before", "after", "returncode"),
    [
        pytest.param(
            "ptx.install_sigterm_flush()", "time.sleep(60)", -15, id="the default: dies by the signal"
        ),
        pytest.param(
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); ptx.install_sigterm_flush()",
            "time.sleep(60)",
            7,
            id="a handler that exits",
        ),
        pytest.param(
            "told = []; signal.signal(signal.SIGTERM, lambda *_: told.append(1)); ptx.install_sigterm_flush()",
            "assert told == [1]; os._exit(8)",
            8,
            id="a handler that takes note",
        ),
        pytest.param(
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); ptx.install_sigterm_flush()",
            "os._exit(9)",
            9,
            id="ignored",
        ),
        pytest.param(
            "ptx.install_sigterm_flush(10); ptx.install_sigterm_flush(5000)",
            "time.sleep(60)",
            -15,
            id="twice",
        ),
        pytest.param(
            "ptx.install_sigterm_flush(); mine = signal.getsignal(signal.SIGTERM);"
            "signal.signal(signal.SIGTERM, lambda *a: mine(*a)); ptx.install_sigterm_flush()",
            "time.sleep(60)",
            -15,
            id="around a handler that calls ours",
        ),
    ],
)
def test_what_was_recorded_arrives(
    before: str, after: str, returncode: int, collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(textwrap.dedent(BEGIN).format(before, after), check=False)
    assert done.returncode == returncode, done.stderr
    assert collector.span("op")
    assert len(collector.spans) == 1


def test_without_it_the_signal_loses_it(collector: OtlpServer, run_python: RunPython) -> None:
    """What the others prove nothing without."""
    done = run_python(textwrap.dedent(BEGIN).format("pass", "time.sleep(60)"), check=False)
    assert done.returncode == -15
    assert not collector.spans


def test_an_event_loop_goes_on_hearing_the_signal(collector: OtlpServer, run_python: RunPython) -> None:
    run_python("""
        import asyncio, signal
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            ptx.install_sigterm_flush()
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)]))
            ptx.start_span("op").end()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(stop.wait(), 10)
        asyncio.run(main())
        os._exit(0)
    """)
    assert collector.span("op")


def test_an_endpoint_that_hangs_delays_the_end_no_longer_than_asked(run_python: RunPython) -> None:
    with hung() as endpoint:
        begun = time.monotonic()
        done = run_python(
            """
            import signal
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http")]))
            ptx.start_span("op").end()
            ptx.install_sigterm_flush(300)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
            """,
            endpoint,
            check=False,
        )
    assert done.returncode == -15
    assert time.monotonic() - begun < 10


def test_a_second_signal_ends_the_wait(run_python: RunPython) -> None:
    with hung() as endpoint:
        done = run_python(
            """
            import signal
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1], "http", timeout_ms=60_000)]))
            ptx.start_span("op").end()
            ptx.install_sigterm_flush(60_000)
            pid = os.getpid()
            def twice():
                os.kill(pid, signal.SIGTERM)
                time.sleep(0.3)
                os.kill(pid, signal.SIGTERM)
            threading.Thread(target=twice, daemon=True).start()
            time.sleep(90)
            """,
            endpoint,
            check=False,
            timeout_s=50,
        )
    assert done.returncode == -15


def test_a_forked_child_flushes_its_own(collector: OtlpServer, run_python: RunPython) -> None:
    run_python("""
        import signal
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http", batch_schedule_delay_ms=60_000)]))
        ptx.install_sigterm_flush()
        pid = os.fork()
        if not pid:
            ptx.start_span("child").end()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -15 if sys.version_info >= (3, 9) else True
        ptx.start_span("parent").end()
    """)
    assert sorted(span["name"] for span in collector.spans) == ["child", "parent"]


def test_before_init_and_after_shutdown_the_signal_has_its_effect(run_python: RunPython) -> None:
    for begin in ("", "ptx.init(ptx.Config('svc', console_level='off')); ptx.shutdown()"):
        done = run_python(
            f"import signal\n{begin}\nptx.install_sigterm_flush()\nos.kill(os.getpid(), signal.SIGTERM)\n"
            "time.sleep(60)",
            check=False,
        )
        assert done.returncode == -15


@pytest.mark.parametrize("timeout_ms", [-1, 1.5, "2000", None, True])
def test_a_bad_timeout(timeout_ms: object, run_python: RunPython) -> None:
    done = run_python(f"""
        try:
            ptx.install_sigterm_flush({timeout_ms!r})
        except ptx.ConfigError as error:
            answer(str(error))
    """)
    assert done.answer == f"timeout_ms: {timeout_ms!r} is not an integer from 0 on"


def test_outside_the_main_thread(run_python: RunPython) -> None:
    done = run_python("""
        def install():
            try:
                ptx.install_sigterm_flush()
            except ptx.ConfigError as error:
                answer(str(error))
        thread = threading.Thread(target=install)
        thread.start()
        thread.join()
    """)
    assert "main thread only" in done.answer


# The recipes of the README, under the servers themselves. Each serves one request, which records a span, and gets a
# SIGTERM; an ASGI server's last span is recorded while it stops.
SERVED = """
import os
import pytracingx as ptx
BEGIN
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        ptx.start_span("stopping", activate=False).end()
        ptx.force_flush()
        await send({"type": "lifespan.shutdown.complete"})
        return
    ptx.start_span("request", activate=False).end()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % os.getpid()})
def wsgi(environ, start_response):
    ptx.start_span("request", activate=False).end()
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]
"""
INIT = (
    "ptx.init(ptx.Config('svc', console_level='off', sinks=["
    "ptx.TraceSink(os.environ['TEST_COLLECTOR'], 'http', batch_schedule_delay_ms=60_000)]))\n"
)
UVICORN = ["uvicorn", "served:app", "--host", "127.0.0.1", "--port"]
GUNICORN = ["gunicorn", "served:wsgi", "--workers", "2", "--graceful-timeout", "5", "--bind"]
HYPERCORN = ["hypercorn", "served:app", "--bind"]
with_gevent = pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None, reason="no wheel of gevent for this interpreter"
)


@pytest.mark.parametrize(
    ("begin", "command"),
    [
        pytest.param("ptx.install_sigterm_flush()\n", UVICORN, id="uvicorn"),
        pytest.param(
            "ptx.install_sigterm_flush()\n",
            [*UVICORN[:-1], "--workers", "2", "--port"],
            id="uvicorn, workers",
        ),
        pytest.param("", GUNICORN, id="gunicorn"),
        pytest.param("", [*GUNICORN[:-1], "--preload", "--bind"], id="gunicorn, preloaded"),
        pytest.param(
            "", [*GUNICORN[:-1], "-k", "gevent", "--bind"], id="gunicorn, gevent", marks=with_gevent
        ),
        pytest.param("ptx.install_sigterm_flush()\n", HYPERCORN, id="hypercorn"),
    ],
)
def test_under_a_server(begin: str, command: list[str], collector: OtlpServer, tmp_path: Path) -> None:
    if importlib.util.find_spec(command[0]) is None:
        pytest.fail(f"{command[0]} is missing: pip install -r tests/requirements.txt")
    (tmp_path / "served.py").write_text(SERVED.replace("BEGIN", begin + INIT))
    port = closed_port()
    address = str(port) if command[-1] == "--port" else f"127.0.0.1:{port}"
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", *command, address],
            cwd=tmp_path,
            env={**os.environ, "TEST_COLLECTOR": collector.endpoint},
            stdout=output,
            stderr=output,
        ) as server,
    ):
        try:
            assert request(port, server), log.read_text()
            server.send_signal(signal.SIGTERM)
            server.wait(20)
        finally:
            server.kill()
    assert collector.span("request")
    assert "stopping" in [span["name"] for span in collector.spans] or "wsgi" in command[1]


def request(port: int, server: subprocess.Popen[bytes]) -> bool:
    """One answered request."""
    import urllib.error
    import urllib.request

    until = time.monotonic() + 20
    while time.monotonic() < until and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                return response.status == 200
        except urllib.error.URLError:
            time.sleep(0.02)
    return False
