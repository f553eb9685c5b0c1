"""The README's chart: a line for each operation, a mark for each library, on a logarithmic axis of time.

Marks, not bars: a logarithmic axis has no zero that a bar could start from. Libraries differ in shape as well
as in colour, and the colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

import math
from html import escape

OURS = "pytracingx"
# A library → its mark, drawn around (0, 0), in this order; and its colours, light and dark.
MARKS = {
    "C floor": ("M0,-9V9", "#59636e", "#9198a1"),
    "pytracingx 0.3.0": ("M-5,-5H5V5H-5Z", "#4338ca", "#a5b4fc"),
    "opentelemetry-sdk": ("M0,-6.5L6,5H-6Z", "#c2410c", "#fb923c"),
    "ddtrace": ("M0,-6.5L6.5,0L0,6.5L-6.5,0Z", "#a16207", "#fde047"),
    OURS: ("M6,0A6,6,0,1,1,-6,0A6,6,0,1,1,6,0Z", "#0f766e", "#2dd4bf"),
}
HOLLOW = ("C floor", "ddtrace")  # what others may lie under
LABEL, PLOT, ROW, TOP, BOTTOM = 220, 690, 36, 96, 46
WIDTH = LABEL + PLOT + 50


def dot_chart(title: str, rows: dict[str, dict[str, float]]) -> str:
    """An SVG of operations: library → nanoseconds. Ours and the slowest have their value beside them."""
    values = [value for marks in rows.values() for value in marks.values()]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    height = TOP + ROW * len(rows) + BOTTOM
    bottom = height - BOTTOM

    def across(nanoseconds: float) -> float:
        return LABEL + PLOT * (math.log10(nanoseconds) - low) / (high - low)

    described = "; ".join(
        f"{row}: " + ", ".join(f"{library} {marks[library]:g}" for library in MARKS if library in marks)
        for row, marks in rows.items()
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-labelledby="t d" font-family="ui-sans-serif, system-ui, sans-serif" font-size="13">',
        f'<title id="t">{escape(title)}</title>',
        f'<desc id="d">Nanoseconds a call. {escape(described)}.</desc>',
        _style(),
        f'<text x="8" y="24" font-size="16" font-weight="600">{escape(title)}</text>',
    ]
    x = 14.0
    for library in dict.fromkeys([OURS, *MARKS]):
        parts.append(_mark(library, x, 50))
        parts.append(f'<text x="{x + 12:g}" y="54.5">{escape(library)}</text>')
        x += 44 + 7.3 * len(library)
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<path class="grid" d="M{x:.1f},{TOP - 18}V{bottom}"/>')
        label = f'x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_time(power)}'
        parts.append(f'<text class="soft" {label}</text>')
    parts.append(
        f'<text class="soft" x="{LABEL + PLOT / 2:g}" y="{bottom + 38}" text-anchor="middle">'
        "time of one call, logarithmic scale: each line is ten times the one before</text>"
    )
    for n, (row, marks) in enumerate(rows.items()):
        y = TOP + ROW * n
        parts.append(f'<path class="grid" d="M{LABEL},{y}H{LABEL + PLOT}" stroke-dasharray="1 4"/>')
        parts.append(f'<text x="{LABEL - 14}" y="{y + 4.5}" text-anchor="end">{escape(row)}</text>')
        parts += [_mark(library, across(marks[library]), y) for library in MARKS if library in marks]
        slowest = max(marks, key=lambda library: marks[library])
        for library in dict.fromkeys([OURS, slowest]):
            # Above, where no neighbour's mark can be in its way.
            x, value = across(marks[library]), f"{marks[library]:,g}".replace(",", " ")
            parts.append(f'<text class="value" x="{x:.1f}" y="{y - 10}" text-anchor="middle">{value}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _style() -> str:
    def colours(n: int) -> str:
        return "".join(
            f".l{at}{{stroke:{mark[n]};fill:{'none' if library in HOLLOW else mark[n]}}}"
            for at, (library, mark) in enumerate(MARKS.items())
        )

    light = "text{fill:#1f2328}.soft{fill:#59636e}.value{font-size:11px}"
    light += "path{stroke-width:2}.grid{stroke:#d0d7de;stroke-width:1}"
    dark = "text{fill:#f0f6fc}.soft{fill:#9198a1}.grid{stroke:#3d444d}"
    return f"<style>{light}{colours(1)}@media(prefers-color-scheme:dark){{{dark}{colours(2)}}}</style>"


def _mark(library: str, x: float, y: float) -> str:
    place = list(MARKS).index(library)
    return f'<path class="l{place}" transform="translate({x:.1f} {y:g})" d="{MARKS[library][0]}"/>'


def _time(power: int) -> str:
    unit, scale = next((unit, scale) for unit, scale in (("ms", 6), ("µs", 3), ("ns", 0)) if power >= scale)
    return f"{10 ** (power - scale)} {unit}"
