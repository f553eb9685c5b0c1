"""What is shipped: what it is built of, what an import brings along, what a session costs."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def crates() -> set[str]:
    """Every crate that ends up in the extension module."""
    tree = subprocess.run(
        [
            *("cargo", "tree", "--locked", "--edges", "normal", "--features", "python"),
            *("--prefix", "none", "--format", "{p}"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return {line.split()[0] for line in tree.stdout.splitlines() if line.strip()}


def test_no_async_runtime_and_no_tracing_crate(crates: set[str]) -> None:
    unwanted = re.compile(
        r"tokio.*|async-.*|futures.*|smol|mio|hyper.*|reqwest|tonic.*|tower.*|h2|tracing.*|opentelemetry.*|log4rs|fastrace.*"
    )
    assert [crate for crate in sorted(crates) if unwanted.fullmatch(crate)] == []


def test_the_list_of_crates_is_the_one_that_is_built(crates: set[str]) -> None:
    """The test above would pass for an empty list."""
    assert {"pytracingx", "pyo3", "rustls", "ureq-proto", "crossbeam-queue", "zstd"} <= crates


def test_nothing_is_needed_at_run_time() -> None:
    assert metadata.requires("pytracingx") in (None, [])
    assert (metadata.metadata("pytracingx")["Requires-Python"] or "").startswith(">=3.9")


def test_the_version_is_the_same_everywhere() -> None:
    import pytracingx

    manifest = (ROOT / "Cargo.toml").read_text()
    assert f'\nversion = "{pytracingx.__version__}"\n' in manifest
    assert metadata.version("pytracingx") == pytracingx.__version__


@pytest.mark.parametrize("code", ["import pytracingx", "import pytracingx as p; p.init(p.Config('svc'))"])
def test_an_import_brings_nothing_along(code: str, run_python: RunPython) -> None:
    """Compared with an interpreter that has imported nothing."""
    done = run_python(
        f"import sys; before = set(sys.modules); {code}; after = set(sys.modules); "
        "import json, os; json.dump(sorted(after - before), open(os.environ['TEST_ANSWER'], 'w'))",
        prelude="",
    )
    ours = {name for name in done.answer if name.split(".")[0] == "pytracingx"}
    assert {"pytracingx", "pytracingx._native"} <= ours
    assert set(done.answer) - ours <= {"__future__", "atexit"}


def test_what_a_session_costs(
    collector: OtlpServer, run_python: RunPython, record_property: pytest.RecordProperty
) -> None:
    """States the figure; the benchmark asserts it on an otherwise idle machine."""
    done = run_python(
        """
        import os, sys
        def resident_kib():
            with open("/proc/self/status") as file:
                return int(file.read().split("VmRSS:")[1].split()[0])
        before = resident_kib()
        import pytracingx as ptx
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(os.environ["TEST_COLLECTOR"], "http")]))
        for _ in range(20_000):
            with ptx.start_span("op"): pass
        assert ptx.force_flush(30_000)
        after = resident_kib()
        import json
        json.dump(after - before, open(os.environ["TEST_ANSWER"], "w"))
        """,
        prelude="",
    )
    assert len(collector.spans) == 20_000
    record_property("resident_kib", done.answer)
    print(f"resident after init and 20 000 spans: {done.answer} KiB above plain Python")
    assert 0 < done.answer < 64 * 1024


@pytest.mark.skipif(shutil.which("nm") is None, reason="nm is not installed")
def test_one_symbol_is_exported() -> None:
    """Nothing of ours can be found by another library in the process, nor ours find theirs in its place."""
    from pytracingx import _native

    names = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format", "just-symbols", str(_native.__file__)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert names.stdout.split() == ["PyInit__native"]
