"""Flushing on SIGTERM, for processes that it would end without an exit handler running.

Nothing is touched before `install_sigterm_flush` is called. The handler runs as Python's signal
handlers do: in the main thread, between two of its instructions; it waits with the GIL released.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Union

from ._native import ConfigError, force_flush, shutdown

Previous = Union[Callable[[int, "FrameType | None"], object], int]


class _Handler:
    __slots__ = ("_busy", "_previous", "timeout_ms")

    def __init__(self, timeout_ms: int, previous: Previous) -> None:
        self.timeout_ms = timeout_ms
        self._previous = previous
        self._busy = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        try:
            # Who sends it a second time does not want to wait for the first.
            if not self._busy:
                self._busy = True
                (shutdown if self._is_the_end() else force_flush)(self.timeout_ms)
        finally:
            self._busy = False
            if callable(self._previous):
                self._previous(signum, frame)
            elif self._is_the_end():
                signal.signal(signum, signal.SIG_DFL)
                signal.raise_signal(signum)

    def _is_the_end(self) -> bool:
        # For the first process of a container the kernel's default is to ignore it.
        return self._previous == signal.SIG_DFL and os.getpid() != 1


def install_sigterm_flush(timeout_ms: int = 2000) -> None:
    """Send what was recorded when SIGTERM arrives, then do what would have been done without this.

    Args:
        timeout_ms: The signal's own effect waits for the flush no longer than this.

    Raises:
        ConfigError: a timeout that is not an integer from 0 on; called outside the main thread; SIGTERM has a
            handler that was not installed from Python, which nothing could call.

    Python's default for SIGTERM ends the process at once, without exit handlers: what was recorded since
    the last batches is lost. With this, everything is sent first (`shutdown`), then the signal kills as
    before. A handler that is there already is called after the flush, so one that raises `SystemExit` or
    stops a server works on. A handler installed later replaces this one, unless it calls it. A second
    SIGTERM during the flush ends the wait.

    Calling it again changes the timeout. Forked children inherit it.

    Costs nothing until the signal comes.
    """
    if not isinstance(timeout_ms, int) or isinstance(timeout_ms, bool) or timeout_ms < 0:
        raise ConfigError(f"timeout_ms: {timeout_ms!r} is not an integer from 0 on")
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("install_sigterm_flush: signal handlers can be installed in the main thread only")
    previous = signal.getsignal(signal.SIGTERM)
    if isinstance(previous, _Handler):
        previous.timeout_ms = timeout_ms
    elif previous is None:
        raise ConfigError("install_sigterm_flush: SIGTERM has a handler that was not installed from Python")
    else:
        signal.signal(signal.SIGTERM, _Handler(timeout_ms, previous))
