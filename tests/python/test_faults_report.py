"""The short form of `make faults`: what that demands of us, for a fault of each kind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench" / "python"))
import faults_report
from faults_cases import CASES, SHORT, Case

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
