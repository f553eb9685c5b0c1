"""The other end of what is sent by gRPC: a grpcio server that takes whatever is called, counts, and answers
with the empty message.

Runs as a process of its own (`GrpcSink`) in the interpreter of the library that brings grpcio. Messages are
never decoded.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


class GrpcSink:
    """The server's process, from construction until `with` ends. `certificate`: a PEM file with a key."""

    def __init__(self, interpreter: str, certificate: str | None = None) -> None:
        command = [interpreter, __file__, *([certificate] if certificate else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._process.stdout is not None and self._process.stdin is not None
        self.endpoint = self._process.stdout.readline().strip()

    def stats(self) -> dict[str, int]:
        """`requests` and `bytes` since the last call."""
        assert self._process.stdout is not None and self._process.stdin is not None
        self._process.stdin.write("stats\n")
        requests, size = self._process.stdout.readline().split()
        return {"requests": int(requests), "bytes": int(size)}

    def __enter__(self) -> GrpcSink:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait()


def main() -> None:
    import grpc

    lock = threading.Lock()
    counted = [0, 0]

    def export(message: bytes, context: Any) -> bytes:
        with lock:
            counted[0] += 1
            counted[1] += len(message)
        return b""

    class Anything(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(export)

    options = [("grpc.max_receive_message_length", 64 << 20)]
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Anything()], options=options)
    if len(sys.argv) > 1:
        pem = Path(sys.argv[1]).read_bytes()
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pem, pem)]))
        endpoint = f"https://localhost:{port}"
    else:
        endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    print(endpoint, flush=True)
    for _ in sys.stdin:
        with lock:
            print(*counted, flush=True)
            counted[:] = 0, 0


if __name__ == "__main__":
    main()
