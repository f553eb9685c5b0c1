# ruff: noqa: RUF001
"""The READMEs' performance section and chart, from the newest folder of bench/results: `make bench-readme`.

Nothing in it is typed by hand: rows and marks are the results' cells, the sentences quote some. `--check`
changes nothing, and fails when a README or the chart says something else.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import chart
import report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"
CHART = "docs/performance.svg"
BEGIN, END = re.compile(r"<!-- measured: begin\..*?-->\n"), "<!-- measured: end -->"
# Columns that the README has no room for.
LEFT_OUT = ("prometheus_client", "ddtrace : ours", "pytracingx 0.3.0 : pytracingx, abi3-py39", "goal")
# Rows that the chart has room for, by the names that they have alone.
CHARTED = {
    "with start_span": "with start_span",
    "… 3 attributes, 2 set_attribute": "start_span, 5 attributes",
    "record_span": "record_span",
    "counter.add, 1 attribute": "counter.add, 1 attribute",
    "histogram.record, 1 attribute": "histogram.record, 1 attribute",
    'logger.info("hello")': "logger.info",
    "logger.info, 1 attribute": "logger.info, 1 attribute",
    "logging.info, its handler": "logging.info",
}
# What stands around the figures.
SAID = {
    "README.md": {
        "chart": "What one call costs its thread",
        "note": "Medians of interleaved rounds; `ours : floor` leaves the empty loop out. `make bench "
        "BENCH_ARGS=hot_path OUT=mine` measures\nthem on your machine into `bench/results/mine`, "
        "`make bench-readme` makes table and chart of the newest results.",
        "machine": "{machine} Everything else: [{where}]({where}).",
        "memory": "Over plain Python, `init` and 20 000 spans take {mib} MiB; importing takes {ms} ms.",
        "idle": "With nothing to record, {idle} of a processor.",
        "latency": "At 10 000 spans/s, in µs with 95 % intervals: p99.9 {p}, max {max}; "
        "without a span {p_off} and {max_off}.",
        "threads": "Eight threads at once: {ratio} what one pays a span.",
    },
    "README.zh-CN.md": {
        "chart": "一次调用使其线程付出的时间",
        "note": "数值为交错轮次的中位数；`ours : floor` 不含空循环。"
        "`make bench BENCH_ARGS=hot_path OUT=mine` 在你的机器上测量并写入 `bench/results/mine`，\n"
        "`make bench-readme` 由最新的结果生成此表与图。",
        "machine": "{machine} 其余见 [{where}]({where})。",
        "memory": "相对于纯 Python，`init` 与 20 000 个 span 占用 {mib} MiB；导入耗时 {ms} ms。",
        "idle": "无可记录时占用一个处理器的 {idle}。",
        "latency": "每秒 10 000 个 span 时（µs，95 % 区间）：p99.9 {p}，最大 {max}；"
        "没有 span 时为 {p_off} 与 {max_off}。",
        "threads": "八个线程同时：每个 span 的代价是单线程的 {ratio}。",
    },
}


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


def section(folder: Path, said: dict[str, str]) -> str:
    """What stands between the marks."""
    hot_path = Table(folder / "hot_path.md")
    kept = [n for n, name in enumerate(hot_path.columns) if not name.startswith(LEFT_OUT)]
    rows = [[cells[n] for n in kept] for cells in hot_path.rows]
    where = folder.relative_to(ROOT)
    parts = [f"![{said['chart']}]({CHART})", ""]
    parts.append(report.table([hot_path.columns[n] for n in kept], rows))
    parts.append(said["note"])
    parts += sentences(folder, said)
    parts.append(said["machine"].format(machine=hot_path.machine, where=where))
    return "\n".join(parts) + "\n"


def drawing(folder: Path) -> str:
    """The chart: the cells of the rows and libraries that it has room for."""
    hot_path = Table(folder / "hot_path.md")
    rows: dict[str, dict[str, float]] = {}
    for row, name in CHARTED.items():
        cells = {library: hot_path.cell(row, library) for library in chart.MARKS}
        rows[name] = {
            library: float(cell.replace(" ", ""))
            for library, cell in cells.items()
            if cell not in (None, "", "–")
        }
    return chart.dot_chart(SAID["README.md"]["chart"], rows)


def sentences(folder: Path, templates: dict[str, str]) -> list[str]:
    """What other tables say of ours, where they are there."""
    said = []

    def quote(name: str, sentence: str, cells: dict[str, tuple[str, str]]) -> None:
        if (folder / f"{name}.md").exists():
            table = Table(folder / f"{name}.md")
            values = {key: table.cell(row, column) for key, (row, column) in cells.items()}
            if None not in values.values():
                said.append(templates[sentence].format_map(values))

    ours, mebibytes, imported = "pytracingx", "MiB after 20000 spans", "ms to import"
    quote(
        "memory",
        "memory",
        {"mib": (ours, mebibytes), "ms": (ours, imported)},
    )
    quote("memory", "idle", {"idle": (ours, "CPU when idle")})
    quote(
        "latency",
        "latency",
        {
            "p": (ours, "p99.9"),
            "max": (ours, "max"),
            "p_off": ("no span", "p99.9"),
            "max_off": ("no span", "max"),
        },
    )
    quote("threads", "threads", {"ratio": (ours, "ratio")})
    return said


def main() -> int:
    folder = newest()
    wanted = {CHART: drawing(folder)}
    for page, said in SAID.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        begin = BEGIN.search(text)
        if begin is None or END not in text:
            print(f"bench: {page} has lost its marks", file=sys.stderr)
            return 1
        wanted[page] = text[: begin.end()] + section(folder, said) + text[text.index(END) :]
    if "--check" not in sys.argv[1:]:
        for name, text in wanted.items():
            (ROOT / name).write_text(text, encoding="utf-8")
        return 0
    stale = [
        name
        for name, text in wanted.items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        print(f"{name} and bench/results disagree: make bench-readme", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
