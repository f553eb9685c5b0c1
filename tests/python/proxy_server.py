"""An HTTP proxy: opens tunnels (CONNECT), and forwards requests, to one address whatever host they name.

proxy = Proxy(server.port, credentials="user:c4n4ry")
proxy.url      # with the credentials
proxy.heads    # request line and headers of each connection's first request, as they came in
"""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from contextlib import suppress


class Proxy(socketserver.ThreadingTCPServer):
    """Serves from construction until `close()`. Other credentials than its own get a 407 that quotes them."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target_port: int, credentials: str = "") -> None:
        self.target_port = target_port
        self.heads: list[str] = []
        self.authorization = "Basic " + base64.b64encode(credentials.encode()).decode() if credentials else ""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_address[1]
        at = f"{credentials}@" if credentials else ""
        self.url = f"http://{at}127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()


class _Handler(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        with suppress(OSError):
            self.proxy()

    def proxy(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            lines.append(line.decode())
        if not lines:
            return
        self.server.heads.append("".join(lines))
        given = [line for line in lines if line.lower().startswith("proxy-authorization:")]
        wanted = self.server.authorization
        if [line.split(":", 1)[1].strip() for line in given] != ([wanted] if wanted else []):
            body = f"not {given} {base64.b64decode(given[0].split()[-1]).decode() if given else ''}".encode()
            head = f"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)
            return
        with socket.create_connection(("127.0.0.1", self.server.target_port)) as target:
            if lines[0].startswith("CONNECT "):
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                method, url, version = lines[0].split(" ")
                lines[0] = f"{method} /{url.split('/', 3)[3]} {version}"
                target.sendall("".join(line for line in lines if line not in given).encode() + b"\r\n")
            back = threading.Thread(target=_copy, args=(target, self.connection), daemon=True)
            back.start()
            while data := self.rfile.read1(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
