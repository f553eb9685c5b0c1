"""Tables in Markdown, bar charts in SVG, and the machine that a result belongs to."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import time
from html import escape
from pathlib import Path


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, aligned to be read as text; all but the first column to the right."""
    cells = [columns, *rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(columns))]
    widths = [max(width, 3) for width in widths]

    def line(row: list[str]) -> str:
        parts = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        return "| " + " | ".join(parts) + " |\n"

    rule = (
        "|"
        + "|".join(
            "-" * (widths[n] + 2) if n == 0 else "-" * (widths[n] + 1) + ":" for n in range(len(widths))
        )
        + "|\n"
    )
    return line(columns) + rule + "".join(line(row) for row in rows)


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{round(value, 2 - math.floor(math.log10(abs(value)))):,.{digits}f}".replace(",", " ")


def times(ratio: float) -> str:
    """A ratio."""
    return f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:.0f} ×"


def machine(python: str) -> str:
    """Processor, kernel, interpreter, commit and day."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    version = subprocess.run(
        [python, "-c", "import platform; print(platform.python_implementation(), platform.python_version())"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    ).stdout.strip()
    day = time.strftime("%Y-%m-%d")
    return f"{os.cpu_count()} × {model}, Linux {platform.release()}, {version}, commit {commit}, {day}."


LABEL, PLOT, ROW, GAP, TOP, BOTTOM = 170, 470, 18, 22, 44, 30
# A library has one colour in all charts.
COLOURS = {
    "pytracingx": "#0f766e",
    "pytracingx, abi3-py39": "#0ea5a4",
    "pytracingx 0.3.0": "#4338ca",
    "opentelemetry-sdk": "#c2410c",
    "ddtrace": "#a16207",
    "prometheus_client": "#be185d",
    "C floor": "#64748b",
}
OTHER = "#78716c"


def bar_chart(title: str, unit: str, groups: dict[str, dict[str, float]]) -> str:
    """Horizontal bars on a logarithmic axis, in groups with a heading; each ends in its value."""
    values = [value for bars in groups.values() for value in bars.values() if value > 0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def across(value: float) -> float:
        return LABEL + PLOT * max(0.0, (math.log10(max(value, 10**low)) - low) / (high - low))

    height = TOP + sum(GAP + ROW * len(bars) for bars in groups.values()) + BOTTOM
    width = LABEL + PLOT + 90
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        "<style>text{fill:#1f2937}.soft{fill:#6b7280}.grid{stroke:#d1d5db}"
        "@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.soft{fill:#9ca3af}.grid{stroke:#374151}}</style>",
        f'<text x="8" y="20" font-size="14" font-weight="600">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - BOTTOM + 4}"/>'
        )
        label = f"{10.0**power:,g}" if power < 4 else f"10^{power}"
        parts.append(f'<text class="soft" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{label}</text>')
    parts.append(
        f'<text class="soft" x="{width - 8}" y="{height - 10}" text-anchor="end">{escape(unit)}</text>'
    )
    y = TOP
    for heading, bars in groups.items():
        parts.append(f'<text x="8" y="{y + 12}" font-weight="600">{escape(heading)}</text>')
        y += GAP
        for label, value in bars.items():
            x = across(value)
            parts.append(f'<text x="{LABEL - 8}" y="{y + 11}" text-anchor="end">{escape(label)}</text>')
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{max(1.0, x - LABEL):.1f}" height="{ROW - 5}" rx="2" '
                f'fill="{COLOURS.get(label, OTHER)}"/>'
            )
            parts.append(f'<text x="{x + 5:.1f}" y="{y + 11}">{number(value)}</text>')
            y += ROW
    return "\n".join([*parts, "</svg>\n"])
