"""A celery worker with its default pool: tasks are traced in forked children, and a warm shutdown delivers everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

pytest.importorskip("celery", reason="not for this platform")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork")

APP = """
import os, sys
import celery
import pytracingx as ptx

HERE = os.path.dirname(__file__)
app = celery.Celery("app", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": HERE, "data_folder_out": HERE, "control_folder": HERE},
    task_ignore_result=True, worker_prefetch_multiplier=1, broker_connection_retry_on_startup=False)
sink = ptx.TraceSink(os.environ["TEST_COLLECTOR"], "http", batch_schedule_delay_ms=60_000)
ptx.init(ptx.Config("svc", sinks=[sink]))

@app.task
def work(number, headers):
    with ptx.extract_headers(headers), ptx.start_span("task", {"number": number, "parent": os.getppid()}):
        pass
"""
TASKS, TASKS_PER_CHILD = 8, 3  # so some children end after theirs, others with the worker


def test_a_worker(collector: OtlpServer, run_python: RunPython, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    sent = run_python(
        """
        from app import work
        with ptx.start_span("sender") as span:
            headers = {}
            ptx.inject_headers(headers)
            for number in range(int(sys.argv[1])): work.delay(number, headers)
        answer(span.trace_id())
        """,
        str(TASKS),
        env={"PYTHONPATH": str(tmp_path)},
    )
    log = tmp_path / "log"
    options = f"-A app worker -c 2 --max-tasks-per-child {TASKS_PER_CHILD} -l INFO --without-gossip --without-mingle"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "celery", *options.split()],
            cwd=tmp_path,
            env={**os.environ, "TEST_COLLECTOR": collector.endpoint},
            stdout=output,
            stderr=output,
        ) as worker,
    ):
        try:
            collector.wait_until(lambda: log.read_text().count("succeeded in") == TASKS, 30, "all tasks")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(20) == 0
        finally:
            worker.kill()
    spans = collector.spans
    assert Counter(span["name"] for span in spans) == {"task": TASKS, "sender": 1}, log.read_text()
    tasks = [span for span in spans if span["name"] == "task"]
    assert sorted(span["attributes"]["number"] for span in tasks) == list(range(TASKS))
    assert {span["trace_id"] for span in spans} == {sent.answer}
    assert {span["attributes"]["parent"] for span in tasks} == {worker.pid}
    assert {span["resource"]["process.pid"] for span in tasks}.isdisjoint({worker.pid})
