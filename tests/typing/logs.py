"""What type checkers must make of logs; checked with mypy, never run."""

from __future__ import annotations

import logging

from opentelemetry._logs import SeverityNumber
from typing_extensions import assert_type

import pytracingx as ptx
from pytracingx.logging import SLSLoggingHandler, TraceContextFilter, install

logger = ptx.get_logger("name", "1.0")
assert_type(logger, ptx.Logger)
logger.info("text", attributes={"k": [1, "x"]})
logger.warning({"structured": [1, 2.5]})
logger.critical("text", exc_info=True)
logger.error("text", exc_info=ValueError("v"))
logger.log(9, "text")
logger.log("info", "text")
logger.log(SeverityNumber.INFO, "text")
logger.exception("text")
logger.log(9, "text", attributes=None, exc_info=None)
assert_type(logger.enabled("debug"), bool)
assert_type(logger.enabled(9), bool)
logger.info("text", {"k": 1})  # type: ignore[call-arg]
logger.info("text", attributes={1: 2})  # type: ignore[dict-item]
logger.info("text", exc_info="yes")  # type: ignore[arg-type]
logger.log("loud", "text")  # type: ignore[arg-type]
ptx.get_logger(1)  # type: ignore[arg-type]

ptx.emit_log_record("name", "text", severity_number=9, severity_text=None, timestamp=ptx.now(), body=[1])
ptx.emit_log_record("name", "text")  # type: ignore[call-arg]

ptx.OtlpLogSink("http://localhost:4318", log_filter="info,noisy.lib=warn", sample_ratio=0.5)
ptx.Config("svc", console_level="debug", log_filter="debug", redact=[ptx.Redact("k", "hash")])
ptx.Config("svc", console_level="loud")  # type: ignore[arg-type]

assert_type(install(logging.DEBUG, logging.getLogger("name")), SLSLoggingHandler)
SLSLoggingHandler("INFO").addFilter(TraceContextFilter("name"))
assert_type(ptx.check()[0]["signal"] == "logs", bool)
