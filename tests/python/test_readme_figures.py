"""The README's performance section is what bench/results says, and nothing typed by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_section_is_generated_from_the_newest_results() -> None:
    script = ROOT / "bench" / "python" / "readme.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
