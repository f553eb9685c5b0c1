"""Programs written for 0.2.0 and 0.3.0 run unchanged: what those showed, recorded by running them, is what
this shows.

The cases are tests/behaviour/cases, the recordings tests/behaviour/*.json. A recording is met when
everything in it is seen again; other notes may be there too. Wherever we differ on purpose, behaviour_differences.py says
where, how and why, and a difference that no longer is one fails. Four rules hold everywhere:

- an error is met by one of the same type (or a subclass) with the same first words, up to the first quote or
  comma
- a list under a key `at_least_…` is met by a superset
- measurements are compared by value: ints of ours stay ints, where 0.2 and 0.3 sent doubles
- spans are compared by name, and everything sent about them must be the same, with nothing added but the
  random bit of the trace flags: our trace ids are random, and W3C Trace Context level 2 has us say so
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from behaviour_differences import DIFFERENCES
from behaviour_terms import ABSENT, ANYTHING, RANDOM_TRACE_ID, Path_

BEHAVIOUR = Path(__file__).parents[1] / "behaviour"
sys.path.insert(0, str(BEHAVIOUR))

from cases import CASES  # noqa: E402
from record import observe  # noqa: E402

RECORDED = {
    version: json.loads((BEHAVIOUR / f"{version}.json").read_text()) for version in ("0.2.0", "0.3.0")
}


def by_name(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """Spans keyed by name; the second and later of one name get a number."""
    keyed: dict[str, Any] = {}
    for span in spans:
        number = sum(1 for key in keyed if key.partition("#")[0] == span["name"])
        keyed[f"{span['name']}#{number}" if number else span["name"]] = span
    return keyed


def expectation(version: str, case: str) -> dict[str, Any]:
    """The recording with our differences in place."""
    expected = json.loads(json.dumps(RECORDED[version][case]))
    expected["spans"] = by_name(expected["spans"])
    for difference in DIFFERENCES:
        if difference.case != case or difference.only not in (None, version):
            continue
        for path, ours in difference.ours.items():
            for place in (
                [path] if "*" not in path else [(*path[:1], name, *path[2:]) for name in expected["spans"]]
            ):
                put(expected, place, ours)
    return expected


def put(tree: Any, path: Path_, value: Any) -> None:
    *folders, leaf = path
    for folder in folders:
        tree = tree[folder] if isinstance(tree, list) else tree.setdefault(folder, {})
    tree[leaf] = value


def mismatches(expected: Any, seen: Any, path: Path_ = ()) -> list[str]:
    """Where what was seen falls short of what is expected."""
    where = ".".join(map(str, path))
    if expected == ANYTHING:
        return []
    if expected == ABSENT:
        return [] if seen == ABSENT else [f"{where}: expected nothing, saw {seen!r}"]
    if isinstance(expected, dict) and "raises" in expected:
        if not isinstance(seen, dict) or expected["raises"][0] not in seen.get("raises", ()):
            return [f"{where}: expected {expected['raises'][0]}, saw {seen!r}"]
        words = re.split("['\",;]", re.sub(r"^\w+Sink ", "", expected["message"]), maxsplit=1)[0]
        typed = expected["raises"][0] == "TypeError"  # its text is the binding's, not ours
        return (
            [] if typed or words in seen["message"] else [f"{where}: {words!r} is not in {seen['message']!r}"]
        )
    if isinstance(expected, dict) and isinstance(seen, dict):
        keys = [*expected, *(seen.keys() - expected.keys() if path[:1] == ("spans",) else ())]
        return [
            line
            for key in keys
            for line in mismatches(expected.get(key, ABSENT), seen.get(key, ABSENT), (*path, key))
        ]
    if path and str(path[-1]).startswith("at_least_") and isinstance(seen, list):
        missing = sorted(set(expected) - set(seen))
        return [f"{where}: missing {missing}"] if missing else []
    if isinstance(expected, list) and isinstance(seen, list) and len(expected) == len(seen):
        return [line for n in range(len(seen)) for line in mismatches(expected[n], seen[n], (*path, n))]
    if path[-1:] == ("flags",) and path[0] == "spans" and isinstance(seen, int):
        seen &= ~RANDOM_TRACE_ID
    one_type = isinstance(expected, bool) == isinstance(seen, bool) or path[0] != "spans"
    return [] if expected == seen and one_type else [f"{where}: expected {expected!r}, saw {seen!r}"]


@pytest.fixture(scope="module")
def seen() -> Any:
    """What ours shows of a case, observed once for both versions."""
    kept: dict[str, Any] = {}

    def of(case: str) -> Any:
        if case not in kept:
            kept[case] = observe(sys.executable, case)
            kept[case]["spans"] = by_name(kept[case]["spans"])
        return kept[case]

    return of


@pytest.mark.parametrize("case", CASES)
def test_behaves_as_before(case: str, seen: Any) -> None:
    versions = [version for version in RECORDED if case in RECORDED[version]]
    assert versions, f"{case} is not recorded: run `make behaviour`"
    for version in versions:
        short = mismatches(expectation(version, case), seen(case))
        assert not short, f"unlike {version}:\n" + "\n".join(short)


@pytest.mark.parametrize("number", range(len(DIFFERENCES)), ids=lambda number: DIFFERENCES[number].case)
def test_differences_are_real(number: int) -> None:
    difference = DIFFERENCES[number]
    versions = [v for v in RECORDED if difference.case in RECORDED[v] and difference.only in (None, v)]
    assert versions, "names no recorded case"
    assert difference.ours, "says nothing"
    for path, ours in difference.ours.items():
        if "*" in path:
            continue
        recorded = []
        for version in versions:
            tree: Any = {**RECORDED[version][difference.case]}
            tree["spans"] = by_name(tree["spans"])
            for step in path:
                inside = (isinstance(tree, dict) and step in tree) or isinstance(tree, list)
                tree = tree[step] if inside else ABSENT
            recorded.append(tree)
        assert any(was != ours for was in recorded), f"{path} was always {ours!r}"
