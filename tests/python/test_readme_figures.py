"""The READMEs' performance section and its chart are what bench/results says, and nothing typed by hand."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


def test_they_are_generated_from_the_newest_results() -> None:
    script = ROOT / "bench" / "python" / "readme.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_chart_has_each_mark_where_the_table_says() -> None:
    """By the drawing itself: ticks and marks, against the README's rows."""
    image = ElementTree.parse(ROOT / "docs" / "performance.svg").getroot()
    texts = [(text.text or "", text.get("x", "")) for text in image.iter(f"{SVG}text")]
    units = {"ns": 1, "µs": 1000, "ms": 1_000_000}
    ticks = [
        (math.log10(float(number) * units[unit]), float(x))
        for text, x in texts
        for number, unit in re.findall(r"^(\d+) (ns|µs|ms)$", text)
    ]
    (low, left), (high, right) = ticks[0], ticks[-1]
    places = [
        tuple(map(float, re.findall(r"[\d.]+", path.get("transform", ""))))
        for path in image.iter(f"{SVG}path")
        if path.get("transform")
    ]
    legend = min(y for _, y in places)
    drawn = sorted(10 ** (low + (x - left) * (high - low) / (right - left)) for x, y in places if y > legend)
    rows = re.findall(r"^\| (.*?) *\|(.*)\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    figures = {name: [cell.strip().replace(" ", "") for cell in cells.split("|")] for name, cells in rows}
    charted = [
        "with start_span",
        "… 3 attributes, 2 set_attribute",
        "record_span",
        "counter.add, 1 attribute",
    ]
    charted += ["histogram.record, 1 attribute", 'logger.info("hello")', "logger.info, 1 attribute"]
    charted += ["logging.info, its handler"]
    # Floor, ours, 0.3.0, opentelemetry-sdk, ddtrace; not the stable ABI's.
    told = sorted(
        float(figures[row][n]) for row in charted for n in (0, 1, 3, 4, 5) if figures[row][n] != "–"
    )
    assert len(drawn) == len(told) > 30
    assert all(abs(a / b - 1) < 0.01 for a, b in zip(drawn, told)), (drawn, told)
