"""Instrumentation of other people's programs, installed as plugins that they find by themselves.

Each does nothing until ``PYTRACINGX_ENGINE=1`` is set, and then starts a session from the OpenTelemetry
environment unless the program has one. What it needs of an engine's internals and does not find is told once
in the log and left out; the engine never notices.
"""

from __future__ import annotations

import logging
import os

LOGGER = logging.getLogger("pytracingx.integrations")
SWITCH = "PYTRACINGX_ENGINE"


def enabled() -> bool:
    """Whether the environment asks for it: ``PYTRACINGX_ENGINE`` is ``1``, ``true``, ``on`` or ``yes``."""
    return os.environ.get(SWITCH, "").strip().lower() in ("1", "true", "on", "yes")


def ensure_session() -> bool:
    """A session, begun from the environment if there is none. False, told in the log, if it cannot begin."""
    import pytracingx

    if not pytracingx.is_initialized():
        try:
            pytracingx.init()
        except pytracingx.ConfigError as error:
            # Another thread may have been faster.
            if not pytracingx.is_initialized():
                LOGGER.warning("not started: %s", error)
                return False
    return True
