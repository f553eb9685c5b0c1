"""Flushing when a process ends: at interpreter exit, and in multiprocessing children, which end without it.

Before CPython 3.13 a forked multiprocessing child leaves through ``os._exit`` and runs no atexit
handlers; it does run multiprocessing's own finalizers. Those are cleared right after the fork, so ours is
registered by an after-fork hook, which is itself registered as soon as multiprocessing turns out to be in
use: asked before every fork. The children of a celery worker run neither; celery sends a signal in them.

Imports nothing but built-in modules: ``typing`` alone would cost every process 2 MB.
"""

from __future__ import annotations

import atexit
import os
import sys

from ._native import _shutdown_at_exit

_installed = False
_multiprocessing_hooked = False
_celery_hooked = False


def install() -> None:
    """Register the handlers, once per process lineage (a forked child inherits them)."""
    global _installed
    if _installed:
        return
    _installed = True
    atexit.register(_end)
    _hook_multiprocessing()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork)


def _end() -> None:
    _shutdown_at_exit()
    worker = sys.modules.get("pytracingx._worker")
    if worker is not None:
        # A thread that wakes up in our code after the interpreter's end would crash it.
        worker.join(1.0)


def _before_fork() -> None:
    # The parent waits for this, and every object that it touches costs a page fault after an earlier fork: no
    # call more than there is need for.
    modules = sys.modules
    if not _multiprocessing_hooked and "multiprocessing.util" in modules:
        _hook_multiprocessing()
    if not _celery_hooked and "celery.signals" in modules:
        _hook_celery()


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


def _hook_celery() -> None:
    # As late as can be: receivers are called in the order in which they were connected.
    global _celery_hooked
    signals = sys.modules.get("celery.signals")
    if signals is None or _celery_hooked:
        return
    _celery_hooked = True
    signals.worker_process_shutdown.connect(_end_of_celery_child, weak=False)


def _end_of_celery_child(**_: object) -> None:
    _end()
