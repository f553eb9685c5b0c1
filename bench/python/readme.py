"""The README's performance section, from the newest folder of bench/results: `make bench-readme`.

Nothing in it is typed by hand: the rows are copied, the sentences quote cells. `--check` changes nothing, and
fails when the README says something else.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
BEGIN, END = re.compile(r"<!-- measured: begin\..*?-->\n"), "<!-- measured: end -->"
# Columns that the README has no room for.
LEFT_OUT = ("prometheus_client", "ddtrace : ours", "pytracingx 0.3.0 : pytracingx, abi3-py39", "goal")


class Table:
    """A table as `Session.show` writes it."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        lines = [line for line in text.splitlines() if line.startswith("|")]
        self.columns, _, *self.rows = (
            [cell.strip() for cell in line.strip("|").split("|")] for line in lines
        )
        self.machine = text.strip().splitlines()[-1]

    def cell(self, row: str, column: str) -> str | None:
        """By the names of both."""
        at = self.columns.index(column) if column in self.columns else None
        return next((cells[at] for cells in self.rows if at is not None and cells[0] == row), None)


def newest() -> Path:
    """The results with the latest day in the last line of their hot_path table."""
    tables = {path.parent: Table(path) for path in RESULTS.glob("*/hot_path.md")}
    return max(tables, key=lambda folder: (tables[folder].machine.split(", ")[-1], folder.name))


def section(folder: Path) -> str:
    """What stands between the marks."""
    hot_path = Table(folder / "hot_path.md")
    kept = [n for n, name in enumerate(hot_path.columns) if not name.startswith(LEFT_OUT)]
    rows = [[cells[n] for n in kept] for cells in hot_path.rows]
    parts = [report.table([hot_path.columns[n] for n in kept], rows)]
    parts.append("Medians of interleaved rounds; `ours : floor` leaves the empty loop out.")
    parts += sentences(folder)
    where = folder.relative_to(ROOT)
    parts.append(f"{hot_path.machine} Everything else: [{where}]({where}).")
    return parts[0] + "\n" + "\n".join(parts[1:]) + "\n"


def sentences(folder: Path) -> list[str]:
    """What other tables say of ours, where they are there."""
    said = []

    def quote(name: str, sentence: str, cells: dict[str, tuple[str, str]]) -> None:
        if (folder / f"{name}.md").exists():
            table = Table(folder / f"{name}.md")
            values = {key: table.cell(row, column) for key, (row, column) in cells.items()}
            if None not in values.values():
                said.append(sentence.format_map(values))

    ours, mebibytes, imported = "pytracingx", "MiB after 20000 spans", "ms to import"
    quote(
        "memory",
        "Over plain Python, `init` and 20 000 spans take {mib} MiB; importing takes {ms} ms.",
        {"mib": (ours, mebibytes), "ms": (ours, imported)},
    )
    quote("memory", "With nothing to record, {idle} of a processor.", {"idle": (ours, "CPU when idle")})
    quote(
        "latency",
        "At 10 000 spans/s, in µs with 95 % intervals: p99.9 {p}, max {max}; "
        "without a span {p_off} and {max_off}.",
        {
            "p": (ours, "p99.9"),
            "max": (ours, "max"),
            "p_off": ("no span", "p99.9"),
            "max_off": ("no span", "max"),
        },
    )
    quote("threads", "Eight threads at once: {ratio} what one pays a span.", {"ratio": (ours, "ratio")})
    return said


def main() -> int:
    path = ROOT / "README.md"
    text = path.read_text()
    begin = BEGIN.search(text)
    if begin is None or END not in text:
        print("bench: README.md has lost its marks", file=sys.stderr)
        return 1
    written = text[: begin.end()] + section(newest()) + text[text.index(END) :]
    if "--check" in sys.argv[1:]:
        if written != text:
            print("README.md and bench/results disagree: make bench-readme", file=sys.stderr)
        return int(written != text)
    path.write_text(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
