"""FastAPI under `TracingMiddleware`: routes as span names, streaming, errors, a caller's trace continued.

    make example NAME=fastapi_middleware

Serves itself on a free port of 127.0.0.1, makes four requests and stops. To serve it for longer:
`uvicorn --app-dir examples fastapi_middleware:app`, with OTEL_EXPORTER_OTLP_ENDPOINT set.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

import pytracingx as ptx
from pytracingx.asgi import TracingMiddleware

log = ptx.get_logger("chat-api")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    if not ptx.is_initialized():
        ptx.init()  # in the process that serves; everything else is OTEL_* variables
    yield
    await asyncio.to_thread(ptx.force_flush)  # uvicorn ends by a signal, after which no exit handler runs


app = FastAPI(lifespan=lifespan)
app.add_middleware(TracingMiddleware, excluded_paths=["/health"], request_headers=["x-request-id"])


@app.get("/health")
async def health() -> str:
    return "ok"


@app.get("/models/{name}")
async def model(name: str) -> dict[str, str]:
    if name == "unknown":
        log.warn("no such model", attributes={"gen_ai.request.model": name})
        raise HTTPException(404)
    return {"name": name}


@app.get("/chat/{session}")
async def chat(session: int) -> StreamingResponse:
    async def tokens() -> AsyncIterator[str]:
        with ptx.generation(model="qwen3-8b", provider="demo", input_tokens=12) as generation:
            for word in ("all", " is", " well"):
                await asyncio.sleep(0.005)
                generation.token()
                yield word
            generation.end("stop")

    return StreamingResponse(tokens())


def call(port: int, path: str, headers: dict[str, str]) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            response.read()
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def main() -> int:
    ptx.init()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = threading.Thread(target=server.run, args=([listener],))
        serving.start()
        port = listener.getsockname()[1]
        caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        statuses = [
            call(port, "/health", {}),
            call(port, "/models/qwen3-8b", {"x-request-id": "r-1"}),
            call(port, "/models/unknown", {}),
            call(port, "/chat/7", {"traceparent": caller}),
        ]
        server.should_exit = True
        serving.join()
    delivered = ptx.shutdown()
    print("all delivered" if delivered else "not all was delivered")
    return 0 if delivered and statuses == [200, 200, 404, 200] else 1


if __name__ == "__main__":
    sys.exit(main())
