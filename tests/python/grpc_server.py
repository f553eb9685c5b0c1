"""An OTLP/gRPC server that tests script: grpcio with the services of the official `opentelemetry-proto`, on a real
socket of 127.0.0.1, every call kept.

    server.answer_next(GrpcAnswer(14), GrpcAnswer(8, retry_after_s=1.0))   # the next two calls
    server.default_answer = GrpcAnswer(delay_s=0.2)                        # all others
    server.wait_for_spans(3)                                               # and the rest of `otlp_server.Arrivals`

`Request.status` is the code, `headers` the metadata; records count as arrived only when the code was OK and the caller
was still there to read it. A connection counts from its first call on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
import trustme
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from otlp_server import Arrivals, Request

CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True)
class GrpcAnswer:
    """What the server does with one call, after it has read the message whole and `delay_s` has passed."""

    code: int = 0
    message: str = ""
    retry_after_s: float | None = None
    """In a `RetryInfo` of `grpc-status-details-bin`."""
    rejected: int = 0
    """With `message`: the `partial_success` of code 0."""
    delay_s: float = 0.0

    @property
    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """The metadata that goes with the code."""
        if self.retry_after_s is None:
            return ()
        status = Status(code=self.code, message=self.message)
        delay = RetryInfo()
        delay.retry_delay.FromTimedelta(timedelta(seconds=self.retry_after_s))
        status.details.add().Pack(delay)
        return (("grpc-status-details-bin", status.SerializeToString()),)


@dataclass(frozen=True)
class Call(Request):
    """One call as it came in, `body` decompressed; `wire_bytes` are those of `body`, since grpcio tells no others."""

    deadline_s: float | None = field(default=None)

    @property
    def accepted(self) -> bool:
        """The caller was told OK."""
        return self.status == 0


class GrpcServer(Arrivals[GrpcAnswer]):
    """Serves these signals from construction until `close()`; a call for another one is UNIMPLEMENTED.

    `options` are channel arguments: `("grpc.max_receive_message_length", -1)`, `("grpc.max_connection_age_ms", 100)`.
    """

    paths: ClassVar[Mapping[str, str]] = {
        "traces": "trace.v1.TraceService/Export",
        "metrics": "metrics.v1.MetricsService/Export",
        "logs": "logs.v1.LogsService/Export",
    }

    def __init__(
        self,
        port: int = 0,
        *,
        credentials: grpc.ServerCredentials | None = None,
        signals: Sequence[str] = ("traces", "metrics", "logs"),
        options: Sequence[tuple[str, Any]] = (),
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> None:
        super().__init__(GrpcAnswer())
        self._peers: dict[str, int] = {}
        self._closing = threading.Event()
        # Two servers on one port would share its connections.
        arguments = [("grpc.so_reuseport", 0), *options]
        threads = ThreadPoolExecutor(max_workers=32)
        self._server = grpc.server(threads, options=arguments, compression=compression)
        for signal in signals:
            _serve(signal, self, self._server)
        if credentials:
            self.port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
            self.endpoint = f"https://localhost:{self.port}"
        else:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
            self.endpoint = f"http://127.0.0.1:{self.port}"
        self._server.start()

    def close(self) -> None:
        """Stop listening, cancel all calls and close all connections; what was seen stays readable."""
        self._closing.set()
        self._server.stop(None).wait()

    def _number(self, peer: str) -> int:
        with self._changed:
            number = self._peers.setdefault(peer, len(self._peers) + 1)
            self.connections = len(self._peers)
            return number

    def _export(self, path: str, response: Any, message: Any, context: grpc.ServicerContext) -> Any:
        received_at, deadline_s = time.monotonic(), context.time_remaining()
        connection = self._number(context.peer())
        metadata: Mapping[str, Any] = {entry.key: entry.value for entry in context.invocation_metadata()}
        answer = self._take_answer()
        self._closing.wait(answer.delay_s)
        # Nobody there any more: as the caller sees it.
        status = answer.code if context.is_active() else grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
        body = message.SerializeToString()
        self._keep(Call(path, metadata, body, len(body), connection, received_at, status, deadline_s))
        if status:
            context.set_trailing_metadata(answer.trailers)
            context.abort(CODES[status], answer.message)
        # The same field number for all signals: `rejected_spans` and its siblings.
        told = trace_service_pb2.ExportTraceServiceResponse()
        if answer.rejected or answer.message:
            told.partial_success.rejected_spans = answer.rejected
            told.partial_success.error_message = answer.message
        return response.FromString(told.SerializeToString())


_SERVICES: Mapping[str, tuple[Any, Any, Any]] = {
    "traces": (
        trace_service_pb2_grpc.TraceServiceServicer,
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server,
        trace_service_pb2.ExportTraceServiceResponse,
    ),
    "metrics": (
        metrics_service_pb2_grpc.MetricsServiceServicer,
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server,
        metrics_service_pb2.ExportMetricsServiceResponse,
    ),
    "logs": (
        logs_service_pb2_grpc.LogsServiceServicer,
        logs_service_pb2_grpc.add_LogsServiceServicer_to_server,
        logs_service_pb2.ExportLogsServiceResponse,
    ),
}


def _serve(signal: str, owner: GrpcServer, server: grpc.Server) -> None:
    servicer, add, response = _SERVICES[signal]

    class Servicer(servicer):  # type: ignore[misc, valid-type]
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
            return owner._export(owner.paths[signal], response, request, context)

    add(Servicer(), server)


@contextmanager
def serving(**settings: Any) -> Iterator[GrpcServer]:
    server = GrpcServer(**settings)
    try:
        yield server
    finally:
        server.close()


def tls(authority: trustme.CA, *names: str, mutual: bool = False) -> grpc.ServerCredentials:
    """What a server with a certificate for these names needs; `mutual`: callers show one of the same authority."""
    own = authority.issue_cert(*names)
    key, chain = own.private_key_pem.bytes(), b"".join(part.bytes() for part in own.cert_chain_pems)
    roots = authority.cert_pem.bytes() if mutual else None
    return grpc.ssl_server_credentials([(key, chain)], roots, require_client_auth=mutual)


__all__ = ["CODES", "Call", "GrpcAnswer", "GrpcServer", "serving", "tls"]
