"""The short form of `make soak`."""

from __future__ import annotations

import sys

import pytest
from soak import ENDS, exits

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")


def test_exits() -> None:
    """None crashes, hangs or loses what it recorded before our exit handler."""
    assert exits(12 * len(ENDS)) == 0
