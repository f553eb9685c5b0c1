"""Who sends logs to Aliyun SLS, each set up as its documentation says, against a local sink in its place.

The official SDK and 0.3.0 put the project in front of any host and look that name up; they are pointed to the
sink by what both take from the environment, a proxy for plain HTTP.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from adapters import Loop

OWN, STDLIB, SWITCHED = range(3)
"""How a log is made: by the library's own logger, by `logging`, by `logging` with its switches off."""
NULL = "logging alone"

HOST = "sls.example"
PLACE = ("bench", "bench")
KEY = ("bench-key-id", "bench-key-secret")


def stdlib(handler: logging.Handler, way: int) -> Loop:
    """Logging through Python's own logger."""
    if way == SWITCHED:
        # "Optimization" in the documentation of `logging`: no place in the code, no thread, no process.
        vars(logging).update(
            _srcfile=None,
            logThreads=False,
            logMultiprocessing=False,
            logProcesses=False,
            logAsyncioTasks=False,
        )
    logger = logging.getLogger("bench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)

    def log(count: int) -> None:
        for number in range(count):
            logger.info(
                "request finished", extra={"model": "qwen2.5-72b", "tokens": number, "temperature": 0.7}
            )

    return log


class SlsAdapter:
    """`start` returns what logs so many records with three attributes; `stop` delivers them all."""

    def start(self, endpoint: str, way: int) -> Loop:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


class Pytracingx(SlsAdapter):
    """Ours: it connects to the sink itself."""

    def start(self, endpoint: str, way: int) -> Loop:
        import pytracingx
        from pytracingx.logging import SLSLoggingHandler

        self.ptx: Any = pytracingx
        sink = pytracingx.SlsLogSink(self.place(endpoint), *PLACE, *KEY)
        pytracingx.init(pytracingx.Config("bench", console_output=False, sinks=[sink]))
        if way != OWN:
            return stdlib(SLSLoggingHandler(), way)
        info = pytracingx.get_logger("bench").info

        def log(count: int) -> None:
            for number in range(count):
                info(
                    "request finished",
                    attributes={"model": "qwen2.5-72b", "tokens": number, "temperature": 0.7},
                )

        return log

    def place(self, endpoint: str) -> str:
        return endpoint

    def stop(self) -> None:
        self.ptx.force_flush()
        self.ptx.shutdown()


class Published(Pytracingx):
    """0.3.0: the same calls."""

    def place(self, endpoint: str) -> str:
        os.environ["http_proxy"] = endpoint
        return f"http://{HOST}"


class Aliyun(SlsAdapter):
    """aliyun-log-python-sdk's handler with a queue; it has no other way to log."""

    def start(self, endpoint: str, way: int) -> Loop:
        os.environ["http_proxy"] = endpoint
        import warnings

        warnings.simplefilter("ignore")
        from aliyun.log import QueuedLogHandler

        # Time to deliver everything, instead of the five seconds after which it gives up.
        project, logstore = PLACE
        self.handler = QueuedLogHandler(f"http://{HOST}", *KEY, project, logstore, close_wait=600)
        return stdlib(self.handler, way)

    def stop(self) -> None:
        self.handler.flush()


class Null(SlsAdapter):
    """What `logging` costs before any handler has done anything."""

    def start(self, endpoint: str, way: int) -> Loop:
        return stdlib(logging.NullHandler(), way)

    def stop(self) -> None:
        pass


SLS_ADAPTERS: dict[str, type[SlsAdapter]] = {
    "pytracingx": Pytracingx,
    "pytracingx 0.3.0": Published,
    "aliyun-log-python-sdk": Aliyun,
    NULL: Null,
}
