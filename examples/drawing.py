"""Decoded OTLP (otlp.py) for people: trees of spans with their logs, a table of metrics, histograms."""

from __future__ import annotations

import os
import sys
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from otlp import Decoded

BAR_CELLS = 24
HIDDEN = ("code.", "thread.", "process.", "logger.", "exception.stacktrace")  # attributes for machines
COLLAPSE_FROM = 4  # this many siblings of one name without children or logs of their own share a line
LEVELS = {1: "TRACE", 5: "DEBUG", 9: "INFO", 13: "WARN", 17: "ERROR", 21: "FATAL"}


def draw_traces(spans: Sequence[Decoded], logs: Sequence[Decoded] = (), out: TextIO = sys.stdout) -> None:
    """A tree for each trace, oldest first: name, kind, duration, when in the trace that was, and the logs."""
    paint = _colours(out)
    traces = defaultdict(list)
    for span in sorted(spans, key=lambda span: span["start_time_unix_nano"]):
        traces[span["trace_id"]].append(span)
    logs_of = defaultdict(list)
    for record in sorted(logs, key=lambda record: record["time_unix_nano"]):
        logs_of[record["span_id"]].append(record)
    for trace_id, members in traces.items():
        rows = _rows(members, logs_of)
        begin = min(span["start_time_unix_nano"] for span in members)
        end = max(span["end_time_unix_nano"] for span in members)
        services = sorted({str(span["resource"].get("service.name", "?")) for span in members})
        out.write(paint("bold", f"trace {trace_id}"))
        out.write(f" · {', '.join(services)} · {count(len(members), 'span')} · {duration(end - begin)}\n")
        width = max(len(label) for label, _, _ in rows)
        known = {span["span_id"] for span in members}
        for label, below, group in rows:
            first = group[0]
            took = sum(span["end_time_unix_nano"] - span["start_time_unix_nano"] for span in group)
            failed = any(span["status"]["code"] == "error" for span in group)
            line = f"  {label:<{width}}  {first['kind']:<8} {duration(took):>9}  "
            bar, notes = _bar(group, begin, end), _notes(group, known)
            out.write(paint("red", line) if failed else line)
            out.write(paint("blue", bar if notes else bar.rstrip()))
            out.write(f"  {paint('dim', notes)}\n" if notes else "\n")
            for record in logs_of[first["span_id"]]:
                out.write(f"  {below}{_log(record, paint)}\n")
        out.write("\n")


def draw_logs(logs: Iterable[Decoded], out: TextIO = sys.stdout) -> None:
    """A line for each log record."""
    paint = _colours(out)
    for record in logs:
        out.write(f"  {_log(record, paint)}\n")


def draw_metrics(metrics: Sequence[Decoded], out: TextIO = sys.stdout) -> None:
    """A table, a line for each attribute set: what it has come to, for a gauge how it went.

    Each process counts for itself, so where there are several they are told apart by pid.
    """
    paint = _colours(out)
    several = len({metric["resource"].get("service.instance.id") for metric in metrics}) > 1
    series: dict[tuple[str, str], list[tuple[Decoded, Decoded]]] = defaultdict(list)
    for metric in metrics:
        for point in metric["points"]:
            process = {"process.pid": metric["resource"].get("process.pid")} if several else {}
            series[metric["name"], _pairs({**process, **point["attributes"]})].append((metric, point))
    widths = [max(map(len, column)) for column in zip(*series)] if series else []
    before = ""
    for (name, attributes), collected in sorted(series.items()):
        out.write(
            f"  {'' if name == before else name:<{widths[0]}}  {paint('dim', f'{attributes:<{widths[1]}}')}  "
        )
        out.write(f"{_summary(collected)}\n")
        before = name


def draw_histogram(collected: Sequence[Decoded], out: TextIO = sys.stdout) -> None:
    """The buckets of a cumulative histogram, and the trace that an exemplar of each bucket leads to."""
    paint = _colours(out)
    metric, points = collected[-1], collected[-1]["points"]
    exemplars = [exemplar for m in collected for p in m["points"] for exemplar in p["exemplars"]]
    bounds, counts = points[0]["bounds"], [sum(column) for column in zip(*(p["counts"] for p in points))]
    labels = [f"≤ {_quantity(bound, metric['unit'])}" for bound in bounds] + ["more"]
    filled = [bucket for bucket, number in enumerate(counts) if number]
    trace_of = {bisect_left(bounds, exemplar["value"]): exemplar["trace_id"] for exemplar in exemplars}
    out.write(f"{paint('bold', metric['name'])} · {count(sum(counts), 'measurement')}\n")
    for bucket in range(filled[0], filled[-1] + 1) if filled else ():
        bar = "█" * -(-counts[bucket] * BAR_CELLS // max(counts))
        trace = f"trace {trace_of[bucket]}" if bucket in trace_of else ""
        out.write(f"  {labels[bucket]:>{max(map(len, labels))}}  {paint('blue', f'{bar:<{BAR_CELLS}}')}")
        out.write(f" {counts[bucket]:>4,}  {paint('dim', trace)}".rstrip() + "\n")


def duration(nanoseconds: float) -> str:
    """Three digits or so, and a unit."""
    if nanoseconds >= 1_000_000_000:
        return f"{nanoseconds / 1e9:.2f} s"
    if nanoseconds >= 100_000:
        return f"{nanoseconds / 1e6:.1f} ms"
    return f"{nanoseconds / 1e3:.1f} µs"


def count(number: int, noun: str) -> str:
    """`1 span`, `2 spans`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rows(members: list[Decoded], logs_of: dict[str, list[Decoded]]) -> list[tuple[str, str, list[Decoded]]]:
    """The trace, depth first: label with branches, what leads lines below it, spans that it stands for."""
    known = {span["span_id"] for span in members}
    children = defaultdict(list)
    for span in members:
        children[span["parent_span_id"] if span["parent_span_id"] in known else ""].append(span)

    def stands_alone(span: Decoded) -> bool:
        return span["span_id"] in children or bool(logs_of.get(span["span_id"]))

    rows: list[tuple[str, str, list[Decoded]]] = []

    def add(parent: str, indent: str) -> None:
        alike = defaultdict(list)
        for span in children[parent]:
            if not stands_alone(span):
                alike[span["name"]].append(span)
        groups: list[list[Decoded]] = []
        for span in children[parent]:
            same = [] if stands_alone(span) else alike[span["name"]]
            if len(same) < COLLAPSE_FROM:
                groups.append([span])
            elif same[0] is span:
                groups.append(same)
        for group in groups:
            first, last = group[0]["span_id"], group is groups[-1]
            branch, deeper = ("", "") if parent == "" else ("└─ ", "   ") if last else ("├─ ", "│  ")
            times = f" ×{len(group)}" if len(group) > 1 else ""
            below = indent + deeper + ("│  " if first in children else "   ")
            rows.append((indent + branch + group[0]["name"] + times, below, group))
            if first in children:
                add(first, indent + deeper)

    add("", "")
    return rows


def _notes(group: list[Decoded], known: set[str]) -> str:
    first = group[0]
    notes = []
    if first["status"]["code"] == "error":
        message = first["status"]["message"]
        notes.append("error: " + message.splitlines()[0] if message else "error")
    events: dict[str, int] = defaultdict(int)
    for span in group:
        for event in span["events"]:
            events[event["name"]] += 1
    notes += [name if number == 1 else f"{name} ×{number}" for name, number in events.items()]
    links = sum(len(span["links"]) for span in group)
    if links:
        notes.append(count(links, "link"))
    if first["parent_span_id"] and first["parent_span_id"] not in known:
        notes.append(f"parent {first['parent_span_id']} is elsewhere")
    return " · ".join(notes)


def _bar(group: list[Decoded], begin: int, end: int) -> str:
    cells = [" "] * BAR_CELLS
    scale = BAR_CELLS / max(1, end - begin)
    for span in group:
        first = min(BAR_CELLS - 1, int((span["start_time_unix_nano"] - begin) * scale))
        last = min(BAR_CELLS - 1, int((span["end_time_unix_nano"] - begin) * scale))
        for cell in range(first, max(first, last) + 1):
            cells[cell] = "━"
    return "".join(cells)


def _log(record: Decoded, paint: Callable[[str, str], str]) -> str:
    number = record["severity_number"]
    level = LEVELS.get(number - (number - 1) % 4, "?") if number else "?"
    colour = "red" if number >= 17 else "yellow" if number >= 13 else "green"
    own = {key: value for key, value in record["attributes"].items() if not key.startswith(HIDDEN)}
    parts = [paint(colour, f"{level:<5}"), str(record["body"]), paint("dim", _pairs(own))]
    return " ".join(part for part in parts if part)


def _pairs(attributes: Decoded) -> str:
    texts = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in attributes.values())
    return " ".join(f"{key}={text}" for key, text in zip(attributes, texts))


def _summary(collected: list[tuple[Decoded, Decoded]]) -> str:
    metric, point = collected[-1]
    unit = metric["unit"]
    if metric["type"] == "gauge" and len(collected) > 1:
        values = [point["value"] for _, point in collected]
        return f"{_sparkline(values)}  {_quantity(min(values), unit)} to {_quantity(max(values), unit)}"
    if "value" in point:
        return _quantity(point["value"], unit)
    mean = _quantity(point["sum"] / point["count"], unit) if point["count"] else "none"
    spread = f"{_quantity(point['min'], unit)} to {_quantity(point['max'], unit)}"
    return f"{point['count']:,} × {mean} on average, {spread}"


def _sparkline(values: list[float]) -> str:
    top = max(*values, 1e-9)
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(value / top * 8))] for value in values)


def _quantity(value: float, unit: str) -> str:
    """A value with its unit; a ratio (`1`) as a percentage, an annotation (`{token}`) as its word."""
    if unit == "s":
        return duration(value * 1e9)
    if unit == "1":
        return f"{value:.0%}"
    number = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    word = unit.strip("{}")
    return f"{number} {word}{'s' if unit.startswith('{') and value != 1 else ''}".rstrip()


def _colours(out: TextIO) -> Callable[[str, str], str]:
    codes = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34"}
    if not out.isatty() or os.environ.get("NO_COLOR"):
        return lambda colour, text: text
    return lambda colour, text: f"\033[{codes[colour]}m{text}\033[0m" if text else ""
