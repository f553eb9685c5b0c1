"""Fixtures shared by all Python tests.

`collector`   an `OtlpServer` (otlp_server.py): a real OTLP/HTTP endpoint, scriptable, decoded with the
  official protobufs.
`run_python`  run a program in a fresh interpreter against that collector. Most tests need one: `init` is per
  process.
`command`     run `python -m pytracingx`, with the variables that are given.
`recording`   a session of this very process, for tests of what spans hold (recording.py).
`session_ends`  whatever session a test began in this process ends with it.
`session`     the same with sinks for traces, metrics and logs, of generations and steps (generations.py).
`sls`         the same with an SLS sink, to a server of its own (sls_session.py).

    def test_a_span_arrives(collector, run_python):
        run_python('''
            ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint)]))
            with ptx.start_span("op"): pass
            assert ptx.shutdown()
        ''')
        assert collector.span("op")["kind"] == "internal"

The program finds `ptx`, `endpoint`, `json`, `os`, `sys`, `threading`, `time` ready, and `answer(value)`,
whose JSON comes back as `Finished.answer`. Variables of the environment that would configure telemetry are
taken away first. No test may show a secret: see canary.py.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import canary
import pytest
from canary import pytest_runtest_makereport  # noqa: F401
from generations import Session as GenerationSession
from otlp_server import OtlpServer
from recording import Recording
from sls_session import Session as SlsSession

import pytracingx as ptx

# A shell without job control starts background jobs with SIGINT ignored, and their children inherit that; with a
# handler here, children start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test goes through a proxy of this machine's, nor do the programs that tests start.
for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
    os.environ.pop(name, None)
    os.environ.pop(name.upper(), None)

PRELUDE = """\
import json, os, sys, threading, time
import pytracingx as ptx
endpoint = os.environ["TEST_COLLECTOR"]
def answer(value):
    with open(os.environ["TEST_ANSWER"], "w") as file:
        json.dump(value, file)
"""

TELEMETRY_VARIABLES = (
    "OTEL_",
    "PYTRACINGX_",
    "ALIBABA_CLOUD_",
    "RUST_LOG",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "NO_COLOR",
)


@dataclass(frozen=True)
class Finished:
    """How a program ended. `answer` is the last value it gave to `answer()`, None if it gave none."""

    returncode: int
    stdout: str
    stderr: str
    answer: Any


class RunPython(Protocol):
    """See `run_python`."""

    def __call__(
        self,
        code: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        check: bool = True,
        prelude: str = PRELUDE,
    ) -> Finished: ...


Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def collector() -> Iterator[OtlpServer]:
    """A fresh OTLP/HTTP server on a free port."""
    server = OtlpServer()
    yield server
    server.close()


@pytest.fixture
def run_python(collector: OtlpServer, tmp_path: Path) -> RunPython:
    """Run code in a fresh interpreter, wait for it, and with `check` fail unless it exits with 0."""

    def run(
        code: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60.0,
        check: bool = True,
        prelude: str = PRELUDE,
    ) -> Finished:
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(TELEMETRY_VARIABLES)
        }
        answer = tmp_path / "answer.json"
        answer.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", prelude + textwrap.dedent(code), *arguments],
            env={**clean, "TEST_COLLECTOR": collector.endpoint, "TEST_ANSWER": str(answer), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        canary.search("stdout of the program", done.stdout)
        canary.search("stderr of the program", done.stderr)
        if check:
            assert done.returncode == 0, (
                f"exit {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
            )
        value = json.loads(answer.read_text()) if answer.exists() else None
        return Finished(done.returncode, done.stdout, done.stderr, value)

    return run


@pytest.fixture
def recording(collector: OtlpServer) -> Iterator[Recording]:
    """A session of this process, see recording.py."""
    session = Recording(collector)
    yield session
    session.close()


@pytest.fixture
def session(collector: OtlpServer) -> Iterator[GenerationSession]:
    session = GenerationSession(collector)
    session.begin()
    yield session
    ptx.shutdown()


@pytest.fixture
def sls() -> Iterator[SlsSession]:
    """A session of this process with an SLS sink, see sls_session.py."""
    session = SlsSession()
    yield session
    session.close()


@pytest.fixture
def session_ends() -> Iterator[None]:
    """Without waiting for endpoints that a test left in a bad state."""
    yield
    ptx.shutdown(0)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m pytracingx` with these variables and no others that concern telemetry, in an empty directory."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(TELEMETRY_VARIABLES)}
        finished = subprocess.run(
            [sys.executable, "-m", "pytracingx", *arguments],
            env={**environment, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        canary.search("output of the command", finished.stdout + finished.stderr)
        return finished

    return run
