"""`TracingMiddleware` around FastAPI, Starlette and bare applications, served by uvicorn with uvloop over sockets."""

from __future__ import annotations

import asyncio
import http.client
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn
import websockets.sync.client
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import pytracingx as ptx
from pytracingx.asgi import TracingMiddleware
from pytracingx.testing import Captured, capture
from pytracingx.testing.records import Span

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
LOOP: Any = "asyncio" if sys.platform == "win32" else "uvloop"


class Service:
    """A served application, and a client for it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def websocket(self, path: str) -> websockets.sync.client.ClientConnection:
        return websockets.sync.client.connect(f"ws://127.0.0.1:{self.port}{path}", proxy=None)


@contextmanager
def serve(app: Any) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, loop=LOOP, log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Service(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def served(app: Any, **options: Any) -> Iterator[tuple[Service, Captured]]:
    with capture(strict=True) as captured, serve(TracingMiddleware(app, **options)) as service:
        yield service, captured


def server_span(captured: Captured) -> Span:
    """The only one; waits for it, since a response may be read before the server has finished with it."""
    deadline = time.monotonic() + 10
    while not (found := [span for span in captured.spans if span.kind == "server"]):
        assert time.monotonic() < deadline
    assert len(found) == 1
    return found[0]


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def starlette() -> Starlette:
    inner = Starlette(
        routes=[
            Route("/things/{id:int}", hello),
            Route("/two/{a}/{b}", hello),
            Mount("/static", StaticFiles(directory=str(Path(__file__).parent))),
        ]
    )
    return Starlette(
        routes=[Route("/", hello), Route("/plain", hello), Mount("/sub", inner), Mount("/of/{who}", inner)]
    )


def fastapi() -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/users/{user_id}")

    @router.get("/items/{item_id}")
    async def item(user_id: int, item_id: int) -> str:
        with ptx.start_span("handler"):
            return "item"

    @app.get("/files/{name}.{extension}")
    async def file(name: str, extension: str) -> str:
        return name

    @app.get("/sync")
    def sync() -> str:
        with ptx.start_span("handler"):
            return "in a thread"

    @app.get("/raises")
    async def raises() -> None:
        raise ValueError("no")

    @app.get("/unavailable")
    async def unavailable() -> None:
        raise HTTPException(503)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                with ptx.start_span("handler"):
                    await asyncio.sleep(0.01)
                yield b"x"

        return StreamingResponse(chunks())

    @app.get("/background")
    async def background(tasks: BackgroundTasks) -> str:
        async def later() -> None:
            with ptx.start_span("handler"):
                await asyncio.sleep(0.05)

        tasks.add_task(later)
        return "soon"

    @app.websocket("/rooms/{room}")
    async def rooms(socket: WebSocket, room: str) -> None:
        if room == "closed":
            await socket.close()
            return
        await socket.accept()
        with ptx.start_span("handler"):
            await socket.send_text(await socket.receive_text())
        if room == "broken":
            raise ValueError("no")
        await socket.receive_text()

    app.include_router(router, prefix="/v1")
    app.mount("/mounted", starlette())
    return app


@pytest.mark.parametrize(
    ("app", "path", "route"),
    [
        (starlette, "/", "/"),
        (starlette, "/plain", "/plain"),
        (starlette, "/sub/things/3", "/sub/things/{id}"),
        (starlette, "/of/me/things/3", "/of/{who}/things/{id}"),
        (starlette, "/sub/two/x/x", "/sub/two/{a}/{b}"),
        (starlette, "/sub/static/conftest.py", "/sub/static/{path}"),
        (
            starlette,
            "/sub/things/03",
            None,
        ),  # another text than the parameter's: not known, rather than wrong
        (starlette, "/nowhere", None),
        (fastapi, "/v1/users/7/items/8", "/v1/users/{user_id}/items/{item_id}"),
        (fastapi, "/v1/users/7/items/7", "/v1/users/{user_id}/items/{item_id}"),
        (fastapi, "/files/a.txt", "/files/{name}.{extension}"),
        (fastapi, "/mounted/sub/things/3", "/mounted/sub/things/{id}"),
        (fastapi, "/nowhere/at/all", None),
    ],
)
def test_the_name_is_the_route(app: Any, path: str, route: str | None) -> None:
    with served(app()) as (service, captured):
        service.get(path)
        span = server_span(captured)
    assert span.name == (f"GET {route}" if route else "GET")
    assert span.attributes.get("http.route") == route
    assert span.attributes["url.path"] == path
    [point] = captured.metric("http.server.request.duration").points
    assert point.attributes.get("http.route") == route


def test_the_attributes_of_the_conventions() -> None:
    with served(fastapi(), request_headers=["X-Request-Id"], response_headers=["content-type"]) as (
        service,
        captured,
    ):
        status, _ = service.get(
            "/files/a.txt?q=1&sig=secret&sign=2",
            user_agent="me",
            x_request_id="r1",
            traceparent=f"00-{TRACE}-{PARENT}-01",
        )
        span = server_span(captured)
    assert status == 200 and span.status == "unset" and not span.events
    assert (span.trace_id, span.parent_span_id) == (TRACE, PARENT)
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/files/{name}.{extension}",
        "url.scheme": "http",
        "url.path": "/files/a.txt",
        "url.query": "q=1&sig=REDACTED&sign=2",
        "user_agent.original": "me",
        "client.address": "127.0.0.1",
        "server.address": "127.0.0.1",
        "server.port": service.port,
        "network.protocol.version": "1.1",
        "http.request.header.x-request-id": ["r1"],
        "http.response.header.content-type": ["application/json"],
    }
    duration = captured.metric("http.server.request.duration")
    [point] = duration.points
    assert (duration.unit, point.count) == ("s", 1)
    assert point.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/files/{name}.{extension}",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
    }
    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-3)
    assert captured.metric("http.server.active_requests").points[0].value == 0


@pytest.mark.parametrize("path", ["/v1/users/7/items/8", "/sync", "/stream"])
def test_the_handler_is_inside(path: str) -> None:
    with served(fastapi()) as (service, captured):
        assert service.get(path)[0] == 200
        span = server_span(captured)
    handlers = [span for span in captured.spans if span.name == "handler"]
    assert handlers and all(handler.parent_span_id == span.span_id for handler in handlers)
    assert all(
        span.start_time <= handler.start_time <= handler.end_time <= span.end_time for handler in handlers
    )


def test_a_background_task_is_a_child_and_does_not_count() -> None:
    with served(fastapi()) as (service, captured):
        service.get("/background")
        span = server_span(captured)
    handler = captured.span("handler")
    assert handler.parent_span_id == span.span_id
    assert span.end_time < handler.end_time


@pytest.mark.parametrize(
    ("path", "status", "error", "events"),
    [
        ("/raises", 500, "ValueError", ["exception"]),
        ("/unavailable", 503, "503", []),
        ("/nowhere", 404, None, []),
    ],
)
def test_errors(path: str, status: int, error: str | None, events: list[str]) -> None:
    with served(fastapi()) as (service, captured):
        assert service.get(path)[0] == status
        span = server_span(captured)
    assert span.attributes["http.response.status_code"] == status
    assert span.attributes.get("error.type") == error
    assert span.status == ("error" if error else "unset")
    assert [event.name for event in span.events] == events
    [point] = captured.metric("http.server.request.duration").points
    assert point.attributes.get("error.type") == error


def test_methods_nobody_knows_are_one() -> None:
    with served(starlette()) as (service, captured):
        service.get("/plain", method="BREW")
        span = server_span(captured)
    assert span.name == "HTTP /plain"
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


def test_excluded_paths_and_nested_middleware() -> None:
    app = starlette()
    app.add_middleware(TracingMiddleware)  # type: ignore[arg-type, unused-ignore]
    with served(app, excluded_paths=["/pla*", "/nope"]) as (service, captured):
        assert service.get("/sub/things/3") == (200, b"hello")
        server_span(captured)  # one, not two
    with served(starlette(), excluded_paths=["/pla*", "/nope"]) as (service, captured):
        assert service.get("/plain") == (200, b"hello")
    assert captured.spans == [] and captured.metrics == []


def test_baggage_and_the_answer_pass() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(
            {"type": "http.response.body", "body": ptx.get_baggage()["tenant"].encode(), "more_body": True}
        )
        await send({"type": "http.response.body", "body": scope["pytracingx.span"].trace_id().encode()})

    with served(app) as (service, captured):
        answer = service.get("/", baggage="tenant=acme", traceparent=f"00-{TRACE}-{PARENT}-01")
        assert answer == (200, b"acme" + TRACE.encode())
        assert server_span(captured).name == "GET"


def test_a_response_that_never_ends_is_an_error() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    with served(app) as (service, captured):
        with suppress(http.client.HTTPException, ConnectionError):
            service.get("/")
        span = server_span(captured)
    assert (span.status, span.attributes["error.type"]) == ("error", "incomplete_response")


def called(app: Any, sent: list[Any], *, headers: Any = (), **options: Any) -> Span:
    """The span of a request that no server makes: what ASGI allows, and what it does not."""

    async def send(message: Any) -> None:
        sent.append({**message, "headers": list(message.get("headers", ()))})

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    with capture(strict=True) as captured:
        asyncio.run(TracingMiddleware(app, **options)(scope, asyncio.Future, send))
    assert captured.metric("http.server.active_requests").points[0].value == 0
    return server_span(captured)


def test_headers_that_can_be_read_once_are_the_applications_too() -> None:
    given = [(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()), (b"x-a", b"1")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": iter(scope["headers"])})
        await send({"type": "http.response.body"})

    sent: list[Any] = []
    span = called(app, sent, headers=iter(given), request_headers=["x-a"], response_headers=["x-a"])
    assert sent[0]["headers"] == given
    assert (span.trace_id, span.parent_span_id) == (TRACE, PARENT)
    assert span.attributes["http.request.header.x-a"] == span.attributes["http.response.header.x-a"] == ["1"]


@pytest.mark.parametrize(
    "broken",
    [
        {"headers": None},
        {"headers": 5},
        {"headers": {"x-a": "1"}},
        {"headers": [5, (b"x-a",), (b"x-a", 1), (None, b"1"), (b"x-a", b"1", b"2")]},
        {"headers": [(bytearray(b"host"), bytearray(b"h:1"))]},
        {"query_string": "a=b"},
        {"query_string": 5},
        {"client": 5, "server": ("h",), "scheme": [], "root_path": 5, "http_version": [2]},
        {"path": None},
        {"method": ["GET"]},
    ],
)
def test_what_is_not_of_its_types_passes_as_it_came(broken: dict[str, Any]) -> None:
    """In a request as in its response: who serves or answers so is told by others, or not at all."""
    message = {"type": "http.response.start", "status": 200, **broken}
    scopes: list[Any] = []
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append({key: scope[key] for key in broken})
        await send(message)
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        sent.append(message)

    middleware = TracingMiddleware(app, request_headers=["x-a"], response_headers=["x-a"])
    with capture() as captured:
        scope = {"type": "http", "method": "GET", "path": "/", **broken}
        asyncio.run(middleware(scope, asyncio.Future, send))
    assert scopes == [broken] and sent[0] is message
    assert len(captured.spans) == (0 if {"path", "method"} & broken.keys() else 1)


def test_headers_of_str_serve_as_those_of_bytes() -> None:
    given = [
        ("traceparent", f"00-{TRACE}-{PARENT}-01"),
        ("Host", "shop:81"),
        ("X-A", "1"),
        ("user-agent", "me"),
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": scope["headers"]})
        await send({"type": "http.response.body"})

    span = called(app, [], headers=given, request_headers=["x-a"], response_headers=["x-a"])
    assert (span.trace_id, span.parent_span_id) == (TRACE, PARENT)
    assert span.attributes["http.request.header.x-a"] == span.attributes["http.response.header.x-a"] == ["1"]
    assert (span.attributes["server.address"], span.attributes["server.port"]) == ("shop", 81)
    assert span.attributes["user_agent.original"] == "me"


def test_a_body_of_a_file_descriptor_ends_the_response() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.zerocopysend", "file": 0})

    assert called(app, []).status == "unset"


@pytest.mark.parametrize("status", ["200", None])
def test_a_status_that_is_none_is_the_servers_to_refuse(status: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status})
        await send({"status": 0})
        await send({"type": "http.response.body"})

    sent: list[Any] = []
    assert "http.response.status_code" not in called(app, sent).attributes
    assert len(sent) == 3


def test_a_request_that_is_cancelled() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def run() -> None:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        task = asyncio.ensure_future(TracingMiddleware(app)(scope, asyncio.Future, asyncio.Future))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert not ptx.current_span().is_recording()

    with capture(strict=True) as captured:
        asyncio.run(run())
    [span] = captured.spans
    assert span.status == "unset" and [event.name for event in span.events] == ["cancelled"]
    assert span.attributes["error.type"] == "asyncio.exceptions.CancelledError"
    assert captured.metric("http.server.active_requests").points[0].value == 0


def test_concurrent_requests_keep_to_themselves() -> None:
    both = threading.Barrier(2, timeout=20)

    def app_of(scope: Any) -> None:
        both.wait()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, both.wait)
        with ptx.start_span(scope["path"]):
            await asyncio.sleep(0)
        await PlainTextResponse("x")(scope, receive, send)

    with served(app) as (service, captured):
        threads = [threading.Thread(target=service.get, args=(f"/{name}",)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    servers = {span.attributes["url.path"]: span for span in captured.spans if span.kind == "server"}
    assert set(servers) == {"/a", "/b"}
    for path, server in servers.items():
        assert captured.span(path).parent_span_id == server.span_id


@pytest.mark.parametrize(
    ("room", "status", "error"),
    [("open", 101, None), ("closed", 403, None), ("broken", 101, "ValueError")],
)
def test_websockets(room: str, status: int, error: str | None) -> None:
    with served(fastapi()) as (service, captured):
        with (
            suppress(websockets.exceptions.WebSocketException),
            service.websocket(f"/rooms/{room}") as connection,
        ):
            connection.send("x")
            assert connection.recv() == "x"
        span = server_span(captured)
    assert span.name == "GET /rooms/{room}"
    assert span.attributes["http.response.status_code"] == status
    assert (span.attributes["url.scheme"], span.attributes["network.protocol.name"]) == ("ws", "websocket")
    assert span.attributes.get("error.type") == error
    assert (span.status, len(span.events)) == (("error", 1) if error else ("unset", 0))
    handlers = [span for span in captured.spans if span.name == "handler"]
    assert all(handler.parent_span_id == span.span_id for handler in handlers)
    assert bool(handlers) == (room != "closed")
    assert captured.metrics == []


def test_what_a_router_leaves_behind_never_fails_a_request() -> None:
    class Odd:
        def items(self) -> None:
            raise RuntimeError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["endpoint"], scope["path_params"] = app, Odd()
        await PlainTextResponse("x")(scope, receive, send)

    with served(app) as (service, captured):
        assert service.get("/x", host="[:bad:]:port") == (200, b"x")
        span = server_span(captured)
    assert span.name == "GET" and "server.address" not in span.attributes


@pytest.mark.parametrize("argument", ["excluded_paths", "request_headers", "response_headers"])
@pytest.mark.parametrize("value", ["/health", [1]])
def test_arguments_are_lists_of_str(argument: str, value: Any) -> None:
    with pytest.raises(ptx.ConfigError, match=argument):
        TracingMiddleware(starlette(), **{argument: value})
