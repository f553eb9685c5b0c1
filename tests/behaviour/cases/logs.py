"""Loggers, emit_log_record and the bridge from the standard library: what arrives at an OTLP endpoint."""

from __future__ import annotations

import logging
from typing import Any

from trial import Trial, case

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")


@case(env={"RUST_LOG": "trace"})
def log_levels(t: Trial) -> None:
    ptx = t.start_logs()
    logger = ptx.get_logger("orders")
    for level in LEVELS:
        t.attempt(level, lambda level=level: getattr(logger, level)(f"at {level}"))
    ptx.shutdown()


@case()
def log_in_a_span(t: Trial) -> None:
    ptx = t.start_logs()
    logger = ptx.get_logger("orders")
    logger.info("outside")
    with ptx.start_span("op"):
        logger.info("inside", attributes={"k": "v", "n": 1, "x": 1.5, "yes": True})
    ptx.shutdown()


@case()
def log_attribute_values(t: Trial) -> None:
    ptx = t.start_logs()
    logger = ptx.get_logger("l")
    values: dict[str, Any] = {
        "none": None,
        "list": [1, "a"],
        "dict": {"a": 1},
        "bytes": b"raw",
        "object": ValueError("v"),
        "int_too_large": 2**63,
        "surrogate": "\ud800",
    }
    for name, value in values.items():
        t.attempt(name, lambda name=name, value=value: logger.info(name, attributes={"k": value}))
    t.attempt("key_not_text", lambda: logger.info("key", attributes={1: "a"}))
    t.attempt("attributes_list", lambda: logger.info("list_of_pairs", attributes=[("k", "v")]))
    ptx.shutdown()


@case()
def log_arguments(t: Trial) -> None:
    ptx = t.start_logs()
    logger = ptx.get_logger("l")
    t.attempt("no_message", lambda: logger.info())
    t.attempt("message_not_text", lambda: logger.info(1))
    t.attempt("message_none", lambda: logger.info(None))
    t.attempt("attributes_by_position", lambda: logger.info("a", {"k": "v"}))
    t.attempt("logger_not_text", lambda: ptx.get_logger(1))
    t.attempt("emit_without_severity", lambda: ptx.emit_log_record("l", "m"))
    t.attempt(
        "emit_severity_text", lambda: ptx.emit_log_record("l", "m", severity_number="9", severity_text="")
    )
    t.note("at_least_logger", [name for name in dir(logger) if name[0] != "_"])
    ptx.shutdown()


@case(env={"RUST_LOG": "trace"})
def log_emitted(t: Trial) -> None:
    ptx = t.start_logs()
    for number in (0, 1, 4, 5, 9, 10, 13, 17, 21, 24):
        t.attempt(
            f"severity_{number}",
            lambda number=number: ptx.emit_log_record(
                "app", f"at {number}", severity_number=number, severity_text=f"TEXT{number}"
            ),
        )
    t.attempt(
        "attributes",
        lambda: ptx.emit_log_record(
            "app", "with attributes", severity_number=9, severity_text="INFO", attributes={"k": 1}
        ),
    )
    for number in (-1, 25, 1000):
        t.attempt(
            f"severity_{number}",
            lambda number=number: ptx.emit_log_record("app", "odd", severity_number=number, severity_text=""),
        )
    ptx.shutdown()


@case()
def log_bridge(t: Trial) -> None:
    from pytracingx.logging import SLSLoggingHandler

    ptx = t.start_logs()
    logger = logging.getLogger("bridged")
    logger.addHandler(SLSLoggingHandler())
    logger.setLevel(logging.DEBUG)
    with ptx.start_span("op"):
        logger.info("%d items", 3, extra={"size": 7, "tags": ["a"], "big": None})
    logger.debug("below RUST_LOG's default")
    logger.warning("warning")
    logger.critical("critical")
    try:
        raise ValueError("boom")
    except ValueError:
        logger.exception("failed")
    t.attempt("bad_arguments", lambda: logger.info("%d", "x"))
    ptx.shutdown()


@case()
def log_bridge_installed(t: Trial) -> None:
    from pytracingx.logging import install

    ptx = t.start_logs()
    root = logging.getLogger()
    handler = install()
    t.note("handler", handler)
    t.note("level", [handler.level, root.level, handler in root.handlers])
    logging.getLogger("any").info("from any logger")
    own = logging.getLogger("own")
    t.note("own_level", [install(logging.ERROR, own).level, own.level])
    ptx.shutdown()


@case()
def log_bridge_before_init(t: Trial) -> None:
    from pytracingx.logging import SLSLoggingHandler

    logger = logging.getLogger("bridged")
    logger.addHandler(SLSLoggingHandler())
    t.attempt("warning", lambda: logger.warning("early"))


@case()
def log_before_init(t: Trial) -> None:
    ptx = t.ptx
    t.attempt("emit", lambda: ptx.emit_log_record("l", "m", severity_number=9, severity_text="INFO"))
    logger = t.attempt("logger", lambda: ptx.get_logger("l"))
    if logger is None:
        return
    t.attempt("info", lambda: logger.info("early"))
    t.start_logs()
    logger.info("late")
    ptx.shutdown()
    t.attempt("after_shutdown", lambda: logger.info("after"))


@case()
def log_flush(t: Trial) -> None:
    ptx = t.start_logs()
    ptx.get_logger("l").info("flushed")
    ptx.force_flush()
    t.leave()


def filtered(t: Trial) -> None:
    """Records of every level by three loggers."""
    ptx = t.start_logs()
    for name in ("app", "app.db", "noisy.lib"):
        for level in LEVELS:
            getattr(ptx.get_logger(name), level)(f"{name} {level}")
    ptx.shutdown()


@case()
def log_filter_default(t: Trial) -> None:
    filtered(t)


@case(env={"RUST_LOG": "warn"})
def log_filter_warn(t: Trial) -> None:
    filtered(t)


@case(env={"RUST_LOG": "off"})
def log_filter_off(t: Trial) -> None:
    filtered(t)


@case(env={"RUST_LOG": "info,pytracingx::log=debug"})
def log_filter_target(t: Trial) -> None:
    filtered(t)


@case(env={"RUST_LOG": "warn,app=debug"})
def log_filter_by_logger(t: Trial) -> None:
    filtered(t)


@case(env={"RUST_LOG": "not a filter"})
def log_filter_nonsense(t: Trial) -> None:
    filtered(t)
