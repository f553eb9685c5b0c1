"""An HTTP/2 server that tests script frame by frame, for what no gRPC library sends and what none shows.

    def behave(peer: Peer, call: Call) -> None:      # when a request has come in whole
        peer.answer(call, {"grpc-status": "14"})     # trailers only
    with Http2Server(behave) as server: ...
    server.calls[0].headers["grpc-encoding"], server.calls[0].message, server.connections

`peer.h2` is the connection's state of `h2`, `peer.socket` below it takes any bytes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from faults import listening
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
)
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes
from otlp_server import DECODERS

HEADERS = {":status": "200", "content-type": "application/grpc"}
OK = {"grpc-status": "0"}


@dataclass
class Call:
    """One request; header names in lower case."""

    stream: int
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)

    @property
    def message(self) -> bytes:
        """Its one message, decompressed."""
        compressed, length, content = (
            self.body[0],
            int.from_bytes(self.body[1:5], "big"),
            bytes(self.body[5:]),
        )
        assert compressed in (0, 1) and length == len(content)
        return DECODERS[self.headers["grpc-encoding"] if compressed else None](content)


class Peer:
    """One connection."""

    def __init__(self, server: Http2Server, connection: socket.socket) -> None:
        self.server, self.socket = server, connection
        self.h2 = H2Connection(H2Configuration(client_side=False, validate_outbound_headers=False))
        self.calls: dict[int, Call] = {}
        self.events: list[Event] = []

    def answer(
        self,
        call: Call,
        trailers: Mapping[str, str] | None,
        *messages: bytes,
        headers: Mapping[str, str] = HEADERS,
    ) -> None:
        """Headers, messages as they are, trailers. Without messages all are headers; no trailers: none, and no end."""
        if trailers is not None and not messages:
            self.h2.send_headers(call.stream, [*headers.items(), *trailers.items()], end_stream=True)
        else:
            self.h2.send_headers(call.stream, list(headers.items()))
            for message in messages:
                for at in range(0, len(message) or 1, 16_384):
                    self.h2.send_data(call.stream, message[at : at + 16_384])
            if trailers is not None:
                self.h2.send_headers(call.stream, list(trailers.items()), end_stream=True)
        self.flush()

    def flush(self) -> None:
        """Send what `h2` has to say."""
        self.socket.sendall(self.h2.data_to_send())

    def serve(self) -> None:
        self.h2.initiate_connection()
        if self.server.settings:
            self.h2.update_settings(dict(self.server.settings))
        self.flush()
        while received := self.socket.recv(65536):
            for event in self.h2.receive_data(received):
                self.events.append(event)
                if isinstance(event, ConnectionTerminated):
                    return
                self.on(event)
            self.flush()

    def on(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            headers = {name.decode(): value.decode() for name, value in event.headers}
            self.calls[event.stream_id] = Call(event.stream_id, headers)
        elif isinstance(event, DataReceived):
            call = self.calls[event.stream_id]
            call.body += event.data
            if self.server.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            call = self.calls[event.stream_id]
            self.server.calls.append(call)
            # The other side may have given the call up.
            with suppress(StreamClosedError):
                self.server.behave(self, call)


class Http2Server:
    """Serves within its `with` block. `settings` follow upon its first; `acknowledges`: it gives the window back
    that data took; `peer`: for servers that act before a request is whole."""

    def __init__(
        self,
        behave: Callable[[Peer, Call], None],
        settings: Mapping[SettingCodes | int, int] | None = None,
        acknowledges: bool = True,
        peer: type[Peer] = Peer,
    ) -> None:
        self.behave, self.settings, self.acknowledges, self.peer = behave, settings or {}, acknowledges, peer
        self.calls: list[Call] = []
        self.peers: list[Peer] = []
        self._running = ExitStack()

    @property
    def connections(self) -> int:
        """So far."""
        return len(self.peers)

    def __enter__(self) -> Http2Server:
        self.endpoint = f"http://127.0.0.1:{self._running.enter_context(listening(self._serve))}"
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _serve(self, connection: socket.socket) -> None:
        self.peers.append(self.peer(self, connection))
        self.peers[-1].serve()


def message(content: bytes, compressed: int = 0) -> bytes:
    """With gRPC's prefix."""
    return bytes([compressed]) + len(content).to_bytes(4, "big") + content


__all__ = ["HEADERS", "OK", "Call", "Http2Server", "Peer", "message"]
