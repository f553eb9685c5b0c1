"""The search for leaked secrets (canary.py) finds each kind of leak, and nothing where there is none."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

SEEDED = """
import base64, logging, os, sys, urllib.request
import pytest
import pytracingx as ptx
from canary import CANARY, allow

def basic(user):
    return base64.b64encode(f"{user}:{CANARY}".encode()).decode()

def test_leak_print(): print("Bearer", CANARY)
def test_leak_below_python(): os.write(2, CANARY.encode())
def test_leak_log(): logging.getLogger("app").warning("key %s", CANARY)
@pytest.mark.parametrize("user", ["a", "ab", "abc"])
def test_leak_base64(user): print("proxy-authorization: Basic", basic(user))
def test_leak_file(tmp_path): (tmp_path / "deep").mkdir(); (tmp_path / "deep" / "dump").write_text(CANARY)
def test_leak_program(run_python): run_python(f"print('{CANARY}')")
def test_leak_failing_program(run_python): run_python(f"sys.exit('{CANARY}')", check=False)
def test_leak_answer(run_python): run_python(f"answer(['{CANARY}'])")
def test_leak_body(recording): ptx.start_span("op", {"k": CANARY}).end(); recording.spans()
def test_leak_stats(session_ends, monkeypatch):
    ptx.init(ptx.Config("svc"))
    monkeypatch.setattr(ptx, "stats", lambda: {"last_error": CANARY})

def test_clean(recording, run_python, tmp_path):
    recording.restart(headers={"authorization": CANARY})
    ptx.start_span("op").end()
    assert recording.spans()
    assert recording.collector.requests[0].headers["authorization"] == CANARY
    allow(tmp_path / "key").write_text(CANARY)
    run_python("print(repr(ptx.TraceSink('h', headers={'a': sys.argv[1]})))", CANARY)
"""


def test_seeded_leaks(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((HERE / "conftest.py").read_text())
    (tmp_path / "test_seeded.py").write_text(SEEDED)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-v",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        env={**os.environ, "PYTHONPATH": str(HERE), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    ended = re.findall(r"::(test_\w+)\S* (PASSED|FAILED|ERROR)", done.stdout)
    bad = {name for name, how in ended if how != "PASSED"}
    leaks = set(re.findall(r"def (test_leak_\w+)", SEEDED))
    assert bad == leaks, done.stdout + done.stderr
    assert ("test_clean", "PASSED") in ended
    assert len([how for name, how in ended if name == "test_leak_base64" and how != "PASSED"]) == 3
