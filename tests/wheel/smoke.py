"""What an installed wheel must do on any Python and any machine: import, three signals, fork, exit.

    python smoke.py

Needs nothing but the standard library and pytracingx. Says in one line what it ran on, or fails.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATHS = {"traces": "/v1/traces", "metrics": "/v1/metrics", "logs": "/v1/logs"}

# Names stand in OTLP as they are, so a substring of a body says that a record is in it.
PROGRAM = """
import os, sys
import pytracingx as ptx
ptx.init()
with ptx.start_span("smoke.parent", {"answer": 42}):
    ptx.get_meter("smoke").counter("smoke.counter").add(1, {"k": "v"})
    ptx.get_logger("smoke").info("smoke.log")
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        with ptx.start_span("smoke.child"):
            pass
        os._exit(0 if ptx.shutdown() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
# and the exit flushes
"""


class Collector(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, bytes] = {}
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            self.server.bodies[self.path] = self.server.bodies.get(self.path, b"") + body
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def run() -> Mapping[str, bytes]:
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{collector.server_address[1]}"
    environment["no_proxy"] = "127.0.0.1"
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=60)
    return collector.bodies


def main() -> None:
    bodies = run()
    expected = [("traces", b"smoke.parent"), ("metrics", b"smoke.counter"), ("logs", b"smoke.log")]
    if hasattr(os, "fork"):
        expected.append(("traces", b"smoke.child"))
    for signal, name in expected:
        assert bodies.get(PATHS[signal], b"").count(name) == 1, (name, bodies)
    import pytracingx

    libc = " ".join(platform.libc_ver())
    print(
        f"ok: pytracingx {pytracingx.__version__}, {sys.implementation.name} {platform.python_version()}, {libc}"
    )


if __name__ == "__main__":
    main()
