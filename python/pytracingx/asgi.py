"""Spans and metrics of an ASGI application's requests, by OpenTelemetry's conventions for HTTP servers.

    from pytracingx.asgi import TracingMiddleware

    app.add_middleware(TracingMiddleware, excluded_paths=["/health"])  # FastAPI, Starlette
    app = TracingMiddleware(app)                                       # anything else that speaks ASGI

Pure ASGI: nothing is buffered, bodies and messages pass as they come, on whatever task sends them. It imports
nothing but the standard library, so it works with every framework, server and event loop. It adds some ten
microseconds to a request and no exception of its own: what is not of ASGI's types is left out of the span,
and passed on as it came.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any
from urllib.parse import urlsplit

from . import __version__, extract_headers, get_meter, get_tracer, now
from ._native import ConfigError, Span

__all__ = ["TracingMiddleware"]

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]

# Where a request that is already traced says so: another such middleware further in lets it pass.
_SPAN = "pytracingx.span"

_METHODS = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
# What the conventions say must not be told.
_SECRET_IN_QUERY = re.compile(
    r"(?<![^&])(AWSAccessKeyId|Signature|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|sig|X-Goog-Signature)=[^&]*"
)
_PARAMETER = re.compile(r"{(\w+)(?::\w+)?}")
_BODY = ("http.response.body", "http.response.zerocopysend")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_DURATION_BOUNDARIES_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]


class TracingMiddleware:
    """One server span for each request or WebSocket connection, with the caller's trace as its parent.

    A span is named ``GET /items/{item_id}`` once the route is known (FastAPI, Starlette, Litestar), ``GET``
    otherwise. It ends when the last byte of the response was handed to the server: background tasks do not
    count, and are its children all the same. Exceptions are recorded and passed on. A status from 500 on is
    an error, and so is a response that never ends. In the handler the span is the current one.

    Metrics: the histogram ``http.server.request.duration`` (s) by method, scheme, route, status, protocol
    version and error, and ``http.server.active_requests`` by method and scheme; of requests, not of WebSocket
    connections.

    Args:
        app: The ASGI application.
        excluded_paths: Paths that are not traced, ``*`` standing for anything: ``["/health", "/static/*"]``.
        request_headers: Names of request headers to keep, as ``http.request.header.<name>``, a list of str
            each. Default none.
        response_headers: The same of responses, as ``http.response.header.<name>``.

    Raises:
        ConfigError: An argument is not a list of str.

    Follows OpenTelemetry's semantic conventions for HTTP, 1.44. In the query, the values of keys that they
    call secret are replaced by REDACTED.
    """

    def __init__(
        self,
        app: _App,
        *,
        excluded_paths: Iterable[str] = (),
        request_headers: Iterable[str] = (),
        response_headers: Iterable[str] = (),
    ) -> None:
        self.app = app
        patterns = "|".join(fnmatch.translate(path) for path in _texts("excluded_paths", excluded_paths))
        self._is_excluded = re.compile(patterns or r"(?!)").match
        self._request_headers = _header_names("request_headers", request_headers, "request")
        self._response_headers = _header_names("response_headers", response_headers, "response")
        self._tracer = get_tracer("pytracingx.asgi", __version__)
        meter = get_meter("pytracingx.asgi", __version__)
        self._duration = meter.histogram(
            "http.server.request.duration",
            unit="s",
            description="Duration of HTTP server requests.",
            boundaries=_DURATION_BOUNDARIES_S,
        )
        self._active = meter.up_down_counter(
            "http.server.active_requests",
            unit="{request}",
            description="Number of active HTTP server requests.",
        )

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        kind, path = scope.get("type"), scope.get("path")
        if (
            kind not in ("http", "websocket")
            or not isinstance(path, str)
            or not isinstance(scope.get("method", "GET"), str)
            or _SPAN in scope
            or self._is_excluded(path)
        ):
            await self.app(scope, receive, send)
        else:
            _keep_headers(scope)
            await (self._http if kind == "http" else self._websocket)(scope, receive, send)

    async def _http(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        began = now()
        given = scope.get("method", "")
        method = given if given in _METHODS else "_OTHER"
        active = {"http.request.method": method, "url.scheme": scope.get("scheme", "http")}
        request = _Request(scope, "HTTP" if method == "_OTHER" else method)
        if method == "_OTHER":
            request.attributes["http.request.method_original"] = given
        attributes = {**active, **request.attributes, **_given(scope, self._request_headers)}
        with (
            extract_headers(scope.get("headers", ())),
            self._start(request.method, attributes, began) as span,
        ):
            self._active.add(1, active)
            scope[_SPAN] = span
            has_trailers = False
            ended = 0

            def end() -> None:
                nonlocal ended
                if not ended:
                    ended = now()
                    self._active.add(-1, active)

            def settle(error: str | None) -> None:
                labels = {**active, **request.outcome(span, error)}
                labels["network.protocol.version"] = scope.get("http_version")
                self._duration.record((ended - began) / 1e9, labels)

            async def observed(message: MutableMapping[str, Any]) -> None:
                nonlocal has_trailers
                part = _part(message)
                if part == "http.response.start":
                    request.answered(message)
                    has_trailers = message.get("trailers", False)
                    if self._response_headers:
                        _keep_headers(message)
                        span.set_attributes(_given(message, self._response_headers))
                await send(message)
                if (
                    (part in _BODY and not message.get("more_body") and not has_trailers)
                    or (part == "http.response.trailers" and not message.get("more_trailers"))
                    or part == "http.response.pathsend"
                ):
                    end()

            # All is said when the application returns, as of the response's end: until then background tasks
            # find their parent open, and who answers 500 for an exception passes it on only after that.
            error: str | None = None
            try:
                await self.app(scope, receive, observed)
            except BaseException as exception:
                was_answered = bool(ended)
                error = _type_name(exception)
                if request.status is None and isinstance(exception, Exception):
                    request.status = 500  # which is what servers answer then
                if was_answered and (request.status or 0) < 500:
                    error = None  # of a background task
                end()
                settle(error)
                if was_answered:
                    if error is not None:
                        span.record_exception(exception)
                    span.end(ended)
                raise  # the span's `with` records it unless it has ended
            if not ended:
                error = "incomplete_response"
                span.set_status("error")
            end()
            settle(error)
            span.end(ended)

    async def _websocket(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        request = _Request(scope, "GET")
        attributes = {
            "http.request.method": "GET",
            "url.scheme": scope.get("scheme", "ws"),
            "network.protocol.name": "websocket",
            **request.attributes,
            **_given(scope, self._request_headers),
        }
        with (
            extract_headers(scope.get("headers", ())),
            self._start(request.method, attributes, now()) as span,
        ):
            scope[_SPAN] = span

            async def observed(message: MutableMapping[str, Any]) -> None:
                if request.status is None:
                    part = _part(message)
                    if part == "websocket.accept":
                        request.status = 101
                    elif part == "websocket.http.response.start":
                        request.answered(message)
                    elif part == "websocket.close":
                        request.status = 403  # by the specification: closed before it was accepted
                    request.name(span)
                await send(message)

            try:
                await self.app(scope, receive, observed)
            except BaseException as exception:
                if getattr(exception, "code", None) in (1000, 1001):
                    request.outcome(span, None)
                    span.end()  # the client has gone, as clients do: no error
                    raise
                if request.status is None and isinstance(exception, Exception):
                    request.status = 500
                request.outcome(span, _type_name(exception))
                raise
            request.outcome(span, None)

    def _start(self, name: str, attributes: dict[str, Any], began: int) -> Span:
        return self._tracer.start_span(name, attributes, "server", start_time=began)


class _Request:
    """What is known of a request before the application runs, and what it turns out to be."""

    __slots__ = ("_root", "_scope", "attributes", "method", "status")

    def __init__(self, scope: _Scope, method: str) -> None:
        self._scope = scope
        self._root = scope.get("root_path", "")
        self.method = method
        self.status: int | None = None
        self.attributes = attributes = {"url.path": scope["path"]}
        host: str | None = None
        agent: str | None = None
        for name, value in _headers(scope):
            if name == "host":
                host = value
            elif name == "user-agent":
                agent = value
        query = _text(scope.get("query_string"))
        if query:
            attributes["url.query"] = _SECRET_IN_QUERY.sub(r"\1=REDACTED", query)
        if agent:
            attributes["user_agent.original"] = agent
        client, _ = _pair(scope.get("client"))
        if client:
            attributes["client.address"] = client
        if scope.get("http_version"):
            attributes["network.protocol.version"] = scope["http_version"]
        if host is None:
            address, port = _pair(scope.get("server"))
        else:
            address, port = _address(host, str(scope.get("scheme", "http")))
        attributes["server.address"] = address
        attributes["server.port"] = port

    def answered(self, message: Mapping[str, Any]) -> None:
        """Takes the status, if it is one: what is wrong with a message is the server's to say."""
        status = message.get("status")
        if isinstance(status, int):
            self.status = status

    def name(self, span: Span) -> str | None:
        try:
            route = _route(self._scope, self._root)
        except Exception:  # whatever a router left in the scope: the request must not suffer
            route = None
        if route is not None:
            span.update_name(f"{self.method} {route}")
            span.set_attribute("http.route", route)
        return route

    def outcome(self, span: Span, error: str | None) -> dict[str, Any]:
        """The attributes that the metrics share; the span has them then, too."""
        outcome: dict[str, Any] = {}
        if self.status is not None:
            outcome["http.response.status_code"] = self.status
            if error is None and self.status >= 500:
                error = str(self.status)
                span.set_status("error")
        if error is not None:
            outcome["error.type"] = error
        span.set_attributes(outcome)
        outcome["http.route"] = self.name(span)
        return outcome


def _route(scope: _Scope, root: str) -> str | None:
    """The template that the router matched, mounts and prefixes included, or None where that cannot be said.

    Frameworks leave behind the parameters they found, some the template of the innermost route. Parameters
    are put back into the path where they stand; what then is left is literal. None rather than a path with
    values in it: a route is a name of low cardinality.
    """
    if "path_template" in scope:  # Litestar
        return str(scope["path_template"])
    endpoint = scope.get("endpoint")
    if endpoint is None:
        return None
    path: str = scope["path"]
    parameters = {name: str(value) for name, value in (scope.get("path_params") or {}).items()}
    if not isinstance(endpoint, (FunctionType, MethodType, type)) and scope.get("root_path", "") != root:
        # An application mounted there, which knows no routes.
        head, tail = scope["root_path"], "/{path}"
    else:
        template = getattr(scope.get("route"), "path_format", None)
        head, tail = path, ""
        if template:
            names = _PARAMETER.findall(template)
            try:
                rendered = _PARAMETER.sub(lambda name: parameters[name[1]], template)
            except KeyError:
                return None
            if path.endswith(rendered):
                head, tail = path[: len(path) - len(rendered)], template
                for name in names:
                    del parameters[name]
    for name, value in parameters.items():
        replaced = _replaced(head, value, name)
        if replaced is None:
            return None
        head = replaced
    return (head + tail) or "/"


def _replaced(path: str, value: str, name: str) -> str | None:
    """`path` with `{name}` for the first place where `value` is one or more whole segments of it."""
    at = path.find("/" + value) if value else -1
    while at >= 0:
        end = at + 1 + len(value)
        if end == len(path) or path[end] == "/":
            return f"{path[: at + 1]}{{{name}}}{path[end:]}"
        at = path.find("/" + value, at + 1)
    return None


@lru_cache(maxsize=64)
def _address(host: str, scheme: str) -> tuple[str | None, int | None]:
    """What the client asked for."""
    try:
        url = urlsplit("//" + host)
        return url.hostname, url.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return None, None


def _part(message: Any) -> Any:
    return message.get("type") if isinstance(message, Mapping) else None


def _keep_headers(holder: MutableMapping[str, Any]) -> None:
    """Headers may be any iterable, and one that can be read only once is not ours alone to read."""
    headers = holder.get("headers")
    if isinstance(headers, Iterable) and not isinstance(headers, (list, tuple, Mapping)):
        holder["headers"] = list(headers)


def _headers(holder: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names, in lower case, and values, of pairs of bytes or str; the rest is the server's to refuse."""
    headers = holder.get("headers")
    if isinstance(headers, Iterable):
        for header in headers:
            name, value = map(_text, _pair(header))
            if name is not None and value is not None:
                yield name.lower(), value


def _given(holder: Mapping[str, Any], wanted: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if wanted:
        for name, value in _headers(holder):
            key = wanted.get(name)
            if key is not None:
                found.setdefault(key, []).append(value)
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, (bytes, bytearray)):
        return value.decode("latin-1")
    return value if isinstance(value, str) else None


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if isinstance(value, (tuple, list)) and len(value) == 2 else (None, None)


def _type_name(exception: BaseException) -> str:
    kind = type(exception)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _texts(argument: str, values: Iterable[str]) -> list[str]:
    texts = [values] if isinstance(values, str) else list(values)
    if isinstance(values, str) or not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{argument}: {values!r} is not allowed, expected a list of str")
    return texts


def _header_names(argument: str, names: Iterable[str], of: str) -> dict[str, str]:
    lower = [name.lower() for name in _texts(argument, names)]
    return {name: f"http.{of}.header.{name}" for name in lower}
