"""What `make stalls` takes for a load that waits."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "bench" / "python"))
import stalls

CODE = (0x1000, 0x2000)


def trace(*steps: str) -> list[str]:
    """Of instructions one after the other: each a load or store, or a number of others."""
    lines = []
    for at, step in enumerate(steps):
        if step.isdigit():
            lines += ["I  00009000,4"] * int(step)
        else:
            lines += [f"I  0000{0x1000 + at:x},4", f" {step}"]
    return lines


def found(*steps: str) -> list[tuple[int, int, int, int]]:
    return list(stalls.stalls(trace(*steps), *CODE))


def test_what_one_store_holds_is_handed_on() -> None:
    assert found("S 0010,8", "L 0010,8") == []
    assert found("S 0010,16", "L 0018,4") == []
    assert found("S 0010,8", "L 0018,8") == []


def test_what_several_hold_or_a_part_waits() -> None:
    assert found("S 0010,8", "S 0018,8", "L 0010,16") == [(0x1002, 16, 0x1001, 8)]
    assert found("S 0010,4", "L 0010,8") == [(0x1001, 8, 0x1000, 4)]
    assert found("M 0012,1", "L 0010,4") == [(0x1001, 4, 0x1000, 1)]


def test_only_ours_and_only_for_a_while() -> None:
    assert found("S 0010,4", "150", "L 0010,8") == [(0x1002, 8, 0x1000, 4)]
    assert found("S 0010,4", "250", "L 0010,8") == []
    assert list(stalls.stalls(trace("S 0010,4", "L 0010,8"), 0x5000, 0x6000)) == []
