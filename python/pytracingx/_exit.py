"""Flushing when a process ends: at interpreter exit, and in multiprocessing children, which end without it.

Before CPython 3.13 a forked multiprocessing child leaves through ``os._exit`` and runs no atexit
handlers; it does run multiprocessing's own finalizers. Those are cleared right after the fork, so ours is
registered by an after-fork hook, which is itself registered as soon as multiprocessing turns out to be in
use: asked before every fork.

Imports nothing but built-in modules: ``typing`` alone would cost every process 2 MB.
"""

from __future__ import annotations

import atexit
import os
import sys

from ._native import _shutdown_at_exit

_installed = False
_multiprocessing_hooked = False


def install() -> None:
    """Register the handlers, once per process lineage (a forked child inherits them)."""
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_end)
    _hook_multiprocessing()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_hook_multiprocessing)


def _end() -> None:
    _shutdown_at_exit()
    worker = sys.modules.get("pytracingx._worker")
    if worker is not None:
        # A thread that wakes up in our code after the interpreter's end would crash it.
        worker.join(1.0)


def _hook_multiprocessing() -> None:
    global _multiprocessing_hooked
    util = sys.modules.get("multiprocessing.util")
    if util is None or _multiprocessing_hooked:
        return
    _multiprocessing_hooked = True
    util.register_after_fork(_end, _finalize_in_child)
    if getattr(sys.modules.get("multiprocessing.process"), "_parent_process", None) is not None:
        _finalize_in_child(None)


def _finalize_in_child(_anchor: object) -> None:
    # The lowest priority: after everything else that may still record.
    sys.modules["multiprocessing.util"].Finalize(None, _end, exitpriority=-1000)
