"""An SLS endpoint that tests script: a real HTTP server on 127.0.0.1 that takes PutLogs as the service does. The
signature is checked by the official SDK's own code, bodies are decoded with its protobuf classes.

    server = SlsServer()                                   # keys: server.keys; region of V4: server.region
    server.answer_next(Reply(500, "InternalServerError"))  # the next request; all others: 200
    server.clock_offset_s = 3600                           # what the server thinks of the time
    server.logs                                            # contents of each stored log, a dict, in order
    server.groups, server.requests                         # stored LogGroups; everything that came in

A request that is malformed, signed wrongly or from another time gets the service's own error, and what was wrong is
in `server.complaints`.
"""

from __future__ import annotations

import email.utils
import hashlib
import importlib
import itertools
import json
import re
import sys
import sysconfig
import threading
import time
import types
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import lz4.block
import zstandard

MAX_RAW_BYTES = 10 << 20
MAX_CLOCK_DIFFERENCE_S = 900


def official(name: str) -> Any:
    """A module of the official SDK without the package's own imports, which want half of PyPI."""
    root = Path(sysconfig.get_paths()["purelib"]) / "aliyun" / "log"
    for package, path in (("aliyun", root.parent), ("aliyun.log", root)):
        if package not in sys.modules:
            module = types.ModuleType(package)
            module.__path__ = [str(path)]
            sys.modules[package] = module
    return importlib.import_module(f"aliyun.log.{name}")


auth = official("auth")
LogGroup = official("log_logs_pb2").LogGroup

DECODERS: Mapping[str | None, Callable[[bytes, int], bytes]] = {
    None: lambda sent, _: sent,
    "lz4": lambda sent, size: lz4.block.decompress(sent, uncompressed_size=size),
    "zstd": lambda sent, _: zstandard.ZstdDecompressor().decompressobj().decompress(sent),
    "deflate": lambda sent, _: zlib.decompress(sent),
}


@dataclass(frozen=True)
class Key:
    """An access key, as the SDK asks for one."""

    id: str
    secret: str
    token: str = ""

    def get_credentials(self) -> Key:
        return self

    def get_access_key_id(self) -> str:
        return self.id

    def get_access_key_secret(self) -> str:
        return self.secret

    def get_security_token(self) -> str:
        return self.token


@dataclass(frozen=True)
class Reply:
    """What the server does with one request that it finds in order. `reset`: closes the connection instead.
    `stores`: keeps the records whatever it answers, as a server whose answer is lost. `body`: instead of the
    service's JSON."""

    status: int = 200
    code: str = ""
    message: str = "as the test says"
    request_id: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    reset: bool = False
    stores: bool = False
    body: str | None = None


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    wire_bytes: int
    status: int
    stored: bool
    group: Any
    received_at: float

    @property
    def pack_id(self) -> str:
        """The tag by which the service shows what stands around a log."""
        return str(tags_of(self.group)["__pack_id__"])


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.reply = Reply(status, code, message)


def contents_of(log: Any) -> dict[str, str]:
    contents = {content.Key: content.Value for content in log.Contents}
    assert len(contents) == len(log.Contents), f"a key is there twice: {[c.Key for c in log.Contents]}"
    return contents


def tags_of(group: Any) -> dict[str, str]:
    return {tag.Key: tag.Value for tag in group.LogTags}


class SlsServer(ThreadingHTTPServer):
    """Serves from construction until `close()`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, key: Key = Key("test-key-id", "c4n4ry-key-secret"), region: str | None = None, port: int = 0
    ) -> None:
        self.keys = {key.id: key}
        self.region = region
        self.project, self.logstore = "proj", "store"
        self.clock_offset_s = 0.0
        self.max_raw_bytes = MAX_RAW_BYTES
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.reply_to: Callable[[int], Reply] = lambda _: Reply()
        self._next: deque[Reply] = deque()
        self._requests_in_order, self._request_ids = itertools.count(), itertools.count()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer_next(self, *replies: Reply) -> None:
        """Script the next requests that are in order; further calls append."""
        with self._changed:
            self._next.extend(replies)

    @property
    def groups(self) -> list[Any]:
        """The LogGroups that were stored, in order of arrival."""
        with self._changed:
            return [request.group for request in self.requests if request.stored]

    @property
    def logs(self) -> list[dict[str, str]]:
        """The contents of all logs that were stored."""
        return [contents_of(log) for group in self.groups for log in group.Logs]

    def wait_until(self, fact: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Block until `fact()`, looked at after every request; fail after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not fact():
                left = deadline - time.monotonic()
                if left <= 0:
                    statuses = [request.status for request in self.requests]
                    raise AssertionError(f"not within {timeout_s} s; answered {statuses}, {self.complaints}")
                self._changed.wait(min(left, 0.5))

    def now(self) -> float:
        return time.time() + self.clock_offset_s

    def close(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def _reply(self) -> Reply:
        with self._changed:
            number = next(self._requests_in_order)
            return self._next.popleft() if self._next else self.reply_to(number)

    def _keep(self, request: Request) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _check(self, path: str, headers: Mapping[str, str], sent: bytes) -> Any:
        """The LogGroup of a request that the service would take."""
        require(headers.get("host") == f"{self.project}.127.0.0.1", "InvalidHost", str(headers.get("host")))
        require(path == f"/logstores/{self.logstore}/shards/lb", "ParameterInvalid", path)
        require(headers.get("x-log-apiversion") == "0.6.0", "MissingParameter", "x-log-apiversion")
        require(headers.get("content-type") == "application/x-protobuf", "InvalidContentType", "content-type")
        raw_bytes = int(headers["x-log-bodyrawsize"])
        self._check_signature(path, headers, sent)
        if raw_bytes > self.max_raw_bytes:
            message = f"Body size {raw_bytes} must little than {self.max_raw_bytes}"
            raise Refusal(413, "PostBodyTooLarge", message)
        try:
            raw = DECODERS[headers.get("x-log-compresstype")](sent, raw_bytes)
        except Exception as error:
            raise Refusal(400, "PostBodyUncompressError", repr(error)) from error
        require(len(raw) == raw_bytes, "PostBodyInvalid", f"{len(raw)} bytes, said {raw_bytes}")
        group = LogGroup.FromString(raw)
        require(len(group.Logs) > 0, "PostBodyInvalid", "no logs")
        require(len(group.Logs) <= 4096, "PostBodyInvalid", f"{len(group.Logs)} logs")
        for log in group.Logs:
            require(len(log.Contents) > 0, "PostBodyInvalid", "a log without contents")
            require(all(1 <= len(c.Key.encode()) <= 128 for c in log.Contents), "InvalidKey", "length")
        return group

    def _check_signature(self, path: str, headers: Mapping[str, str], sent: bytes) -> None:
        authorization = headers.get("authorization", "")
        if self.region is None:
            said = email.utils.parsedate_to_datetime(headers["date"]).timestamp()
            md5 = hashlib.md5(sent).hexdigest().upper()
            require(headers.get("content-md5") == md5, "PostBodyInvalid", "content-md5")
            found = re.fullmatch(r"LOG ([^:]+):.+", authorization)
        else:
            said = time.mktime(time.strptime(headers["x-log-date"], "%Y%m%dT%H%M%SZ")) - time.timezone
            found = re.fullmatch(r"SLS4-HMAC-SHA256 Credential=([^/]+)/.+", authorization)
        if abs(said - self.now()) > MAX_CLOCK_DIFFERENCE_S:
            raise Refusal(400, "RequestTimeExpired", "the time differs by more than 15 minutes")
        key = self.keys.get(found[1]) if found else None
        if key is None:
            raise Refusal(401, "Unauthorized", f"no such key: {authorization}")
        expected = signed(key, self.region, path, headers, sent)
        for name in ("authorization", "x-acs-security-token"):
            if headers.get(name) != expected.get(name):
                raise Refusal(401, "SignatureNotMatch", f"{name} {headers.get(name)} not as expected")


def require(fact: bool, code: str, message: str) -> None:
    if not fact:
        raise Refusal(400, code, message)


def signed(
    key: Key, region: str | None, path: str, headers: Mapping[str, str], sent: bytes
) -> dict[str, str]:
    """The headers that the SDK makes of the same request at the same time."""
    keep = {"x-log-apiversion", "x-log-bodyrawsize", "x-log-compresstype", "host"}
    ours = {name: value for name, value in headers.items() if name in keep}
    ours["Content-Type"] = headers["content-type"]
    if region is None:
        signer = auth.AuthV1(key)
        signer._getGMT = lambda: headers["date"]
        signer.sign_request("POST", path, {}, ours, sent)
    else:
        signer = auth.AuthV4(key, region)
        at = headers["x-log-date"]
        ours["Authorization"] = signer._do_sign_request("POST", path, {}, ours, sent, at)
    return {name.lower(): value for name, value in ours.items()}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SlsServer

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do_POST(self) -> None:
        server = self.server
        sent = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        group, received_at = None, time.monotonic()
        try:
            group = server._check(self.path, headers, sent)
            reply = server._reply()
        except Refusal as refusal:
            reply = refusal.reply
            server.complaints.append(str(refusal))
        except Exception as error:
            reply = Reply(400, "MissingParameter", repr(error))
            server.complaints.append(repr(error))
        time.sleep(reply.delay_s)
        status = 0 if reply.reset else reply.status
        stored = reply.stores or (status == 200 and reply.request_id)
        server._keep(Request(self.path, headers, len(sent), status, stored, group, received_at))
        if reply.reset:
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        self.send_header("date", email.utils.formatdate(server.now(), usegmt=True))
        if reply.request_id:
            self.send_header("x-log-requestid", f"REQUEST{next(server._request_ids)}")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        body = (reply.body or "").encode()
        if reply.status != 200 and reply.body is None:
            body = json.dumps({"errorCode": reply.code, "errorMessage": reply.message}).encode()
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


__all__ = ["Key", "LogGroup", "Refusal", "Reply", "Request", "SlsServer", "contents_of", "tags_of"]
