"""Calls a function once a module has been imported, by whoever imports it first; never imports it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Finder(MetaPathFinder):
    """Lets the others find the module, and hears of it when it has been executed."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self.name, self.then = name, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        for finder in sys.meta_path:
            spec = None if isinstance(finder, _Finder) else finder.find_spec(fullname, path, target)
            if spec is not None:
                return self.overhear(spec)
        return None

    def overhear(self, spec: ModuleSpec) -> ModuleSpec:
        loader, then = spec.loader, self.then
        # One that runs no Python code, or that takes no attribute, is left alone.
        execute = getattr(loader, "exec_module", None)
        if loader is None or execute is None:
            return spec

        def exec_module(module: ModuleType) -> None:
            execute(module)
            then(module)

        with contextlib.suppress(AttributeError):
            loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def on_import(name: str, then: Callable[[ModuleType], None]) -> None:
    """`then(module)` at the end of the import of `name`: now, if that is over. Asked for again, nothing more.

    It works in forked children that import the module themselves. `then` must not raise.
    """
    module = sys.modules.get(name)
    if module is not None and not getattr(module.__spec__, "_initializing", False):
        then(module)
    elif not any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, then))
