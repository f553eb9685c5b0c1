"""The secret that no run may show. Every key, token, password and header value of the tests has `CANARY` in it; whatever a
test's process and programs print, log, raise past pytest, write to files or send as a body is searched for it, as it is
and in base64. What is found fails the test, also one that passed.

    Key("id", f"{CANARY}-secret")              # a secret of a test
    canary.allow(path)                         # a file in which the test itself keeps one
"""

from __future__ import annotations

import base64
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import pytracingx as ptx

CANARY = "c4n4ry"

# In base64 a text looks different at each of three places; characters that what is beside it decides are left out.
FORMS = (
    CANARY.encode(),
    base64.b64encode(CANARY.encode()),
    base64.b64encode(b"-" + CANARY.encode())[2:9],
    base64.b64encode(b"--" + CANARY.encode())[3:10],
)

_allowed: set[Path] = set()
_found: list[str] = []


def allow(path: Path) -> Path:
    """A file that holds a secret because the test put it there."""
    _allowed.add(path)
    return path


def search(what: str, where: bytes | str | None) -> None:
    """Remembers that `what` shows the secret, for the test that is running."""
    seen = where.encode(errors="replace") if isinstance(where, str) else where or b""
    for form in FORMS:
        if (at := seen.find(form)) >= 0:
            _found.append(f"{what} shows a secret: {seen[max(0, at - 80) : at + 40]!r}")
            return


def _search_files(root: Path) -> None:
    for path in root.rglob("*"):
        if (
            path.is_file()
            and not path.is_symlink()
            and path not in _allowed
            and path.suffix not in (".py", ".pyc")
        ):
            search(f"the file {path.name}", path.read_bytes())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
    """Search what this phase of a test left."""
    report = yield
    if call.when == "call":
        search("stats()", repr(ptx.stats()))
    if call.when == "teardown":
        for name, text in report.sections:
            search(name, text)
        if "tmp_path" in getattr(item, "funcargs", {}):
            _search_files(item.funcargs["tmp_path"])
    if _found and call.when != "setup":
        report.outcome, report.longrepr = "failed", "\n".join(_found)
        _found.clear()
    return report
