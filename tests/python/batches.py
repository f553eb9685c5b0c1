"""A batch of spans recorded by one call, and what its rows hold when they arrive."""

from __future__ import annotations

from typing import Any

from recording import Recording

import pytracingx as ptx

BEGAN, ENDED = 1_700_000_000_000_000_000, 1_700_000_000_000_000_500
STATE = "vendor=value"


def spans(count: int) -> list[ptx.Span]:
    return [ptx.start_span(f"request {number}", activate=False) for number in range(count)]


def step(parents: Any, attributes: Any = None, start: Any = BEGAN, end: Any = ENDED) -> int:
    return ptx.record_spans("step", parents, start, end, attributes)


def steps(recording: Recording) -> list[dict[str, Any]]:
    return [span for span in recording.spans() if span["name"] == "step"]


def column(recording: Recording, key: str = "k") -> list[Any]:
    """What the rows have under `key`, None where they have nothing."""
    return [span["attributes"].get(key) for span in steps(recording)]
