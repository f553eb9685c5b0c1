"""A session of the tests' own process with an SLS sink to a server that behaves as the service does; the `sls`
fixture."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sls_server import Key, SlsServer

import pytracingx as ptx

KEY = Key("test-key-id", "c4n4ry-key-secret")
LOGGER = ptx.get_logger("my.lib")


class Session:
    """`start` begins it; the server is there before."""

    def __init__(self) -> None:
        self.server = SlsServer(KEY)
        self._nothing_current = ptx.extract_headers({})

    def start(self, *others: Any, key: Key = KEY, **options: Any) -> None:
        """One sink with these options, which is `stats()`'s first, and others."""
        ptx.shutdown(0)
        options = {"batch_schedule_delay_ms": 10, "log_filter": "trace", **options}
        options.setdefault("security_token", key.token or None)
        sink = ptx.SlsLogSink(self.server.endpoint, "proj", "store", key.id, key.secret, **options)
        ptx.init(ptx.Config("svc", sinks=[sink, *others], console_output=False, diagnostics="off"))

    def only(self) -> dict[str, str]:
        """What the server has of the one record there is."""
        assert ptx.force_flush(), (self.stats(), self.server.complaints)
        (log,) = self.server.logs
        return log

    def stats(self) -> dict[str, Any]:
        return dict(ptx.stats()["log_sinks"][0])

    def settled(self) -> dict[str, Any]:
        """The books, which must balance."""
        stats = self.stats()
        lost = sum(stats["dropped"].values())
        assert stats["wanted"] == stats["exported"] + lost + stats["held_records"], stats
        return stats

    def wait_for(self, fact: Callable[[dict[str, Any]], bool], timeout_s: float = 10.0) -> dict[str, Any]:
        """The books once the sink's own say so: the server has answered before the sink has read it."""
        deadline = time.monotonic() + timeout_s
        while not fact(stats := self.settled()):
            assert time.monotonic() < deadline, (stats, self.server.complaints)
            time.sleep(0.002)
        return stats

    def close(self) -> None:
        ptx.shutdown(0)
        self._nothing_current.restore()
        self.server.close()


__all__ = ["KEY", "LOGGER", "Session"]
