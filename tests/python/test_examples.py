"""Each example, run as its header says, and what of it arrived. llm_engine.py: test_integrations.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from otlp_server import OtlpServer
from run import EXAMPLES, run
from sls_server import SlsServer, contents_of
from sls_session import KEY


def test_the_demo() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done
    assert done.stdout.count("the program says: all delivered") == 2
    assert "gen_ai.server.time_to_first_token" in done.stdout and "chat toy-8b" in done.stdout


def test_stdlib_logging() -> None:
    collector, program = run("stdlib_logging")
    assert program.returncode == 0, program
    [span] = collector.spans
    info, error = collector.logs
    assert {record["trace_id"] for record in collector.logs} == {span["trace_id"]}
    assert (info["body"], info["attributes"]["left"]) == ("2 reserved", 1)
    assert error["attributes"]["exception.type"] == "LookupError"
    assert program.stdout.count(f"trace={span['trace_id']}") == 2


def test_fastapi_middleware() -> None:
    collector, program = run("fastapi_middleware")
    assert program.returncode == 0, program
    spans = [span["name"] for span in collector.spans if span["kind"] == "server"]
    assert sorted(spans) == [
        "GET /chat/{session}",
        "GET /models/{name}",
        "GET /models/{name}",
        "chat qwen3-8b",
    ]
    continued = [span["name"] for span in collector.spans if span["trace_id"].startswith("4bf92f35")]
    assert sorted(continued) == ["GET /chat/{session}", "chat qwen3-8b"]


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_gunicorn_prefork() -> None:
    collector, program = run("gunicorn_prefork")
    assert program.returncode == 0, program
    assert len(collector.spans) == 8
    for span in collector.spans:
        assert span["resource"]["process.pid"] == span["attributes"]["worker.pid"]
    last = {
        metric["resource"]["process.pid"]: metric["points"][0]["value"]
        for metric in collector.metrics
        if metric["name"] == "requests.served"
    }
    assert sum(last.values()) == 8
    assert [record["body"] for record in collector.logs].count("loaded in the master") == 1


def test_traces_to_xtrace(collector: OtlpServer) -> None:
    sls = SlsServer(KEY)
    try:
        command = [sys.executable, str(EXAMPLES / "traces_to_xtrace.py")]
        bare = {name: value for name, value in os.environ.items() if not name.startswith("ALIBABA_CLOUD_")}
        assert subprocess.run(command, env=bare, timeout=60).returncode == 2
        variables = {
            "ARMS_ENDPOINT": collector.endpoint,
            "ARMS_TOKEN": "tok_c4n4ry@1_a",
            "SLS_ENDPOINT": sls.endpoint,
            "SLS_PROJECT": "proj",
            "SLS_LOGSTORE": "store",
            "ALIBABA_CLOUD_ACCESS_KEY_ID": KEY.id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": KEY.secret,
        }
        done = subprocess.run(command, env={**bare, **variables}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (done, sls.complaints)
        trace_id = done.stdout.split("trace ")[1].split()[0]
        assert "tok_en" not in done.stdout + done.stderr
        traces = collector.accepted("/adapt_tok_c4n4ry@1_a/api/otlp/traces")
        charges = [span for request in traces for span in request.spans if span["name"] == "charge"]
        assert [charge["trace_id"] for charge in charges] == [trace_id]
        metrics = collector.accepted("/adapt_tok_c4n4ry@1_a/api/otlp/metrics")
        assert any(metric["name"] == "orders" for request in metrics for metric in request.metrics)
        [log] = [log for group in sls.groups for log in map(contents_of, group.Logs) if "order.id" in log]
        assert (log["message"], log["order.id"], log["traceID"]) == ("order stored", "A-17", trace_id)
        assert log["service.name"] == sls.groups[-1].Topic == "checkout"
    finally:
        sls.close()


def test_a_collector_says_that_its_port_is_taken(collector: OtlpServer) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "collector.py"), "--port", str(collector.port)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stderr.startswith(f"--port {collector.port}: "), done
    assert len(done.stderr.splitlines()) == 1
