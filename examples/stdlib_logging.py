"""A program that logs through the standard library alone, and whose records arrive with their traces.

    make example NAME=stdlib_logging

Nothing in the functions below knows of pytracingx: handler, levels and formats are a dictConfig, as in any
service. The console line carries the trace id too, so that a line in a terminal leads to its trace.
"""

from __future__ import annotations

import logging
import logging.config
import sys

import pytracingx as ptx

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"trace": {"()": "pytracingx.logging.TraceContextFilter"}},
    "formatters": {"line": {"format": "%(levelname)-7s %(name)s: %(message)s  trace=%(otelTraceID)s"}},
    "handlers": {
        "telemetry": {"class": "pytracingx.logging.SLSLoggingHandler", "level": "INFO"},
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "line",
            "filters": ["trace"],
        },
    },
    "root": {"level": "DEBUG", "handlers": ["telemetry", "stdout"]},
}

log = logging.getLogger("shop.orders")


def reserve(sku: str, wanted: int, left: int) -> None:
    if wanted > left:
        raise LookupError(f"{wanted} of {sku} wanted, {left} left")
    log.info("%d reserved", wanted, extra={"sku": sku, "left": left - wanted})


def main() -> int:
    logging.config.dictConfig(LOGGING)
    # The console is the dictConfig's business here.
    config = ptx.Config.from_env()
    ptx.init(config)
    log.debug("not sent: the handler's level is INFO")
    with ptx.start_span("POST /orders", kind="server"):
        reserve("A-1", 2, left=3)
        try:
            reserve("B-7", 5, left=1)
        except LookupError:
            log.exception("order refused", extra={"sku": "B-7"})
    delivered = ptx.shutdown()
    print("all delivered" if delivered else "not all was delivered")
    return 0 if delivered else 1


if __name__ == "__main__":
    sys.exit(main())
