"""gunicorn with `--preload`: one `init` in the master, forked workers that each report for themselves.

    make example NAME=gunicorn_prefork

Starts gunicorn with two workers on a free port, makes some requests and ends it as operators do, by SIGTERM.
Nothing here knows of the fork: a worker's first call starts an exporter of its own, with a process.pid and
service.instance.id of its own, and the workers flush when they exit.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytracingx as ptx
import pytracingx.logging

WORKERS = 2
REQUESTS = 8

log = logging.getLogger("prefork")
served = ptx.get_meter("prefork").counter("requests.served", unit="{request}")


def create() -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """Called once, in the master: `gunicorn --preload 'gunicorn_prefork:create()'`."""
    ptx.init()
    pytracingx.logging.install()
    log.warning("loaded in the master")
    return application


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    with ptx.start_span("GET /", {"worker.pid": os.getpid()}, "server"):
        served.add(1)
        log.warning("served")
        time.sleep(0.02)  # so that no worker takes all requests
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]


def main() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--preload",
        "--workers",
        str(WORKERS),
        "--log-level",
        "error",
    ]
    command += ["--bind", f"127.0.0.1:{port}", "--no-control-socket", "gunicorn_prefork:create()"]
    gunicorn = subprocess.Popen(command, cwd=Path(__file__).parent)
    try:
        deadline = time.monotonic() + 20
        answered = 0
        while answered < REQUESTS and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                    answered += response.read() == b"ok"
            except OSError:
                time.sleep(0.05)  # not up yet
    finally:
        gunicorn.send_signal(signal.SIGTERM)
        returncode = gunicorn.wait(20)
    print(f"{answered} requests answered by {WORKERS} workers")
    return 0 if answered == REQUESTS and returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
