"""The short form of `make faults`: what that demands of us, for a fault of each kind."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench" / "python"))
import faults_report
from faults_cases import CASES, SHORT, Case

TESTS = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, forks")


def test_the_short_form_names_cases() -> None:
    assert {case.label for case in CASES} >= SHORT
    assert len({case.label for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if case.label in SHORT], ids=lambda case: case.label)
def test_fault(case: Case) -> None:
    outcome, bad = faults_report.judged(case, "pytracingx", sys.executable, faults_report.TINY, check=True)
    assert bad == [], outcome


def test_a_lost_span_is_noticed() -> None:
    """That the books balance is not enough: they must say what the server says."""
    (case,) = (case for case in CASES if case.label.startswith("N8 500"))
    outcome = faults_report.run_case(case, "pytracingx", sys.executable, faults_report.TINY)
    for change in (
        {"delivered": 1},
        {"twice": 1},
        {"strangers": 1},
        {"grown": 1 << 30},
        {"told": False},
        {"flush_ms": 1e6},
        {"returncode": -11},
    ):
        found = faults_report.complaints(case, {**outcome, **change}, faults_report.TINY, 100)
        assert len(found) == 1, (change, found)


def test_the_index_names_tests_that_exist() -> None:
    index = TESTS / "README.md"
    seen = 0
    for name in re.findall(r"(?:rust/\w+|test_\w+)(?:::\w+)?", index.read_text(encoding="utf-8")):
        file, _, test = name.partition("::")
        path = TESTS / (f"{file}.rs" if "/" in file else f"python/{file}.py")
        assert path.exists(), name
        assert not test or f" {test}(" in path.read_text(encoding="utf-8"), name
        seen += 1
    assert seen > 50
