"""A resolver that hangs: `getaddrinfo` replaced by one that sleeps as long as a file says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import RunPython
from faults import hanging_resolver


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    variables = hanging_resolver(tmp_path)
    if variables is None:
        pytest.skip("needs Linux and a C compiler")
    return variables


def test_a_resolver_that_hangs_holds_up_no_deadline(
    environment: dict[str, str], run_python: RunPython
) -> None:
    done = run_python(
        """
        hangs = os.environ["RESOLVER_HANGS"]
        open(hangs, "w").close()
        port = endpoint.rsplit(":", 1)[1]
        slow = ptx.TraceSink(f"http://localhost:{port}", "http", timeout_ms=300)
        ptx.init(ptx.Config("svc", sinks=[slow, ptx.TraceSink(endpoint, "http")], diagnostics="off"))
        ptx.start_span("op").end()
        began = time.monotonic()
        flushed = ptx.force_flush(600)
        flush_s = time.monotonic() - began
        hung, healthy = ptx.stats()["trace_sinks"]
        tasks = "/proc/self/task"
        threads = [open(f"{tasks}/{task}/comm").read().strip() for task in os.listdir(tasks)]
        began = time.monotonic()
        ptx.shutdown(500)
        shutdown_s = time.monotonic() - began
        lookups = threads.count("pytracingx-dns")
        answer([flushed, flush_s, shutdown_s, hung["last_error"], healthy["exported"], lookups])
        """,
        env=environment,
    )
    flushed, flush_s, shutdown_s, last_error, exported, lookups = done.answer
    assert (flushed, last_error, exported) == (False, "timed out (resolve)", 1)
    assert flush_s < 2 and shutdown_s < 2 and lookups == 1


def test_addresses_that_were_good_outlast_it(environment: dict[str, str], run_python: RunPython) -> None:
    run_python(
        """
        sys.path.insert(0, sys.argv[1])
        from otlp_server import OtlpServer
        server = OtlpServer()
        port = server.port
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(f"http://localhost:{port}/p")], diagnostics="off"))
        ptx.start_span("before").end()
        assert ptx.force_flush()
        server.close()
        ptx.start_span("meanwhile").end()
        assert not ptx.force_flush(1_000)
        open(os.environ["RESOLVER_HANGS"], "w").close()
        server = OtlpServer(port)
        assert ptx.force_flush(8_000), ptx.stats()
        assert len(server.requests) == 1
        ptx.shutdown(0)
        """,
        str(Path(__file__).parent),
        env=environment,
    )
