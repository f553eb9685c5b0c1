"""Spans, log records and metrics on stderr: what is shown, when, and that a stderr in trouble troubles nobody."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time

import pytest
from conftest import PRELUDE, RunPython
from otlp_server import OtlpServer

SPANS = """
    ptx.init(ptx.Config("svc", console_format=sys.argv[1]))
    with ptx.get_tracer("my.scope").start_span("outer", {"key": "välue", "n": 1}) as outer:
        with ptx.start_span("inner \\x1b[31m\\n\\u202e") as inner:
            inner.set_attribute("bad", "\\x9b\\x07 \\u2028 \\\\")
            inner.set_status("error", "it broke")
    answer({"outer": [outer.trace_id(), outer.span_id()], "inner": [inner.trace_id(), inner.span_id()]})
    assert ptx.shutdown()
"""
ORDER = ["outer", "inner", "inner", "outer"]


def test_compact(run_python: RunPython) -> None:
    done = run_python(SPANS, "compact")
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (INFO|ERROR) +(\S+): span_(begin|end) (\w+)")
    seen = [stamp.match(line) for line in lines]
    assert [match and match.group(4) for match in seen] == ORDER
    assert [match and match.group(3) for match in seen] == ["begin", "begin", "end", "end"]
    assert [match and match.group(1) for match in seen] == ["INFO", "INFO", "ERROR", "INFO"]
    assert [match and match.group(2) for match in seen] == [
        "my.scope",
        "pytracingx",
        "pytracingx",
        "my.scope",
    ]
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    for line, name in zip(lines, ORDER):
        trace_id, span_id = done.answer[name]
        assert f"trace_id={trace_id} span_id={span_id}" in line
        assert ("duration_ms=" in line) == ("span_end" in line)
    assert 'key="välue" n=1' in lines[3]
    assert r'status="it broke"' in lines[2]


def test_pretty(run_python: RunPython) -> None:
    text = run_python(SPANS, "pretty").stderr
    assert re.findall(r"span_(?:begin|end) (\w+)", text) == ORDER
    assert len(re.findall(r"^    duration_ms: ", text, re.MULTILINE)) == 2
    assert '\n    key: "välue"\n    n: 1\n' in text


def test_json(run_python: RunPython) -> None:
    done = run_python(SPANS, "json")
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    common = ["timestamp", "level", "kind", "name", "logger", "trace_id", "span_id"]
    assert [list(entry) for entry in entries[:2]] == [[*common, "attributes"]] * 2
    assert [list(entry) for entry in entries[2:]] == [[*common, "duration_ms", "attributes"]] * 2
    assert [entry["kind"] for entry in entries] == ["span_begin", "span_begin", "span_end", "span_end"]
    assert [entry["name"].split()[0] for entry in entries] == ORDER
    assert entries[2]["name"] == "inner \x1b[31m\n\u202e"
    assert entries[3]["attributes"] == {"key": "välue", "n": 1}
    assert entries[2]["level"] == "ERROR"
    assert entries[3]["duration_ms"] >= entries[2]["duration_ms"] > 0


SIGNALS = """
    ptx.init(ptx.Config("svc", console_format=sys.argv[1]))
    logger, meter = ptx.get_logger("app"), ptx.get_meter("app.meter")
    with ptx.start_span("op") as span:
        logger.warn("queue is\\n\\x1b[1mlong", attributes={"depth": 17, "bad\\u202e": ["\\x9b", None, 0.5]})
    logger.fatal({"role": "user", "tokens": 3})
    logger.debug("not shown")
    ptx.emit_log_record("other", "noticed", severity_number=10, severity_text="NOTICE")
    meter.counter("requests\\t", unit="{request}").add(3, {"model": "m\\x07"})
    meter.histogram("ttft", unit="s").record_many([0.3, 0.4, 2.0])
    meter.histogram("size", aggregation="exponential").record(8)
    meter.gauge("kv").record(0.5)
    answer([span.trace_id(), span.span_id()])
    assert ptx.shutdown()
"""


def test_three_signals_in_compact(run_python: RunPython) -> None:
    done = run_python(SIGNALS, "compact")
    trace_id, span_id = done.answer
    inside = f"trace_id={trace_id} span_id={span_id}"
    lines = [line.split("Z ", 1) for line in done.stderr.splitlines()]
    assert [time for time, _ in lines] == sorted(time for time, _ in lines)
    assert [re.sub(r" duration_ms=\S+", "", line) for _, line in lines] == [
        f"INFO  pytracingx: span_begin op {inside}",
        f'WARN  app: queue is\\n\\u001b[1mlong {inside} depth=17 bad\\u202e=["\\u009b",null,0.5]',
        f"INFO  pytracingx: span_end op {inside}",
        'FATAL app: {"role":"user","tokens":3}',
        "INFO2 other: noticed",
        'INFO  app.meter: metric requests\\t sum {request} sum=3 {model="m\\u0007"}',
        "INFO  app.meter: metric ttft histogram s count=3 sum=2.7 min=0.3 max=2.0 p50≈0.45 p99≈1.97",
        "INFO  app.meter: metric size exponential_histogram count=1 sum=8.0 min=8.0 max=8.0 p50≈8.0 p99≈8.0",
        "INFO  app.meter: metric kv gauge value=0.5",
    ]


def test_three_signals_in_json(run_python: RunPython) -> None:
    done = run_python(SIGNALS, "json")
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert [entry["kind"] for entry in entries] == [
        "span_begin",
        "log",
        "span_end",
        "log",
        "log",
        *["metric"] * 4,
    ]
    for entry in entries:
        assert list(entry)[:3] == ["timestamp", "level", "kind"]
        assert list(entry)[3] == ("message" if entry["kind"] == "log" else "name")
        assert list(entry)[4] == "logger"
        assert list(entry)[-1] == "attributes"
    _, warning, _, fatal, notice, counter, histogram, exponential, gauge = entries
    assert warning["message"] == "queue is\n\x1b[1mlong"
    assert [warning["trace_id"], warning["span_id"]] == done.answer
    assert warning["attributes"] == {"depth": 17, "bad\u202e": ["\x9b", None, 0.5]}
    assert (fatal["level"], fatal["message"]) == ("FATAL", {"role": "user", "tokens": 3})
    assert not {"trace_id", "span_id", "severity_text"} & set(fatal)
    assert (notice["level"], notice["severity_text"], notice["logger"]) == ("INFO2", "NOTICE", "other")
    assert (
        counter["type"],
        counter["unit"],
        counter["temporality"],
        counter["value"],
        counter["attributes"],
    ) == (
        "sum",
        "{request}",
        "cumulative",
        3,
        {"model": "m\x07"},
    )
    assert (histogram["count"], histogram["sum"], histogram["min"], histogram["max"]) == (3, 2.7, 0.3, 2.0)
    bounds, counts = histogram["buckets"]["bounds"], histogram["buckets"]["counts"]
    assert len(counts) == len(bounds) + 1
    assert {bound: count for bound, count in zip(bounds, counts) if count} == {0.5: 2, 2.5: 1}
    assert exponential["buckets"]["positive"]["counts"] == [1]
    assert (gauge["type"], gauge["value"], gauge.get("temporality")) == ("gauge", 0.5, None)


def test_three_signals_in_pretty(run_python: RunPython) -> None:
    text = run_python(SIGNALS, "pretty").stderr
    assert '\n    severity_text: "NOTICE"\n' in text
    assert "\n    depth: 17\n" in text
    full, half = "▇" * 40, "▇" * 20
    assert f"\n    p99: ≈1.97\n    ≤ 0.5 {full} 2\n    ≤ 2.5 {half} 1\n" in text


@pytest.mark.parametrize("code", ["SPANS", "SIGNALS"])
@pytest.mark.parametrize("format", ["compact", "pretty", "json"])
def test_what_users_record_cannot_drive_a_terminal(format: str, code: str, run_python: RunPython) -> None:
    text = run_python({"SPANS": SPANS, "SIGNALS": SIGNALS}[code], format, env={"NO_COLOR": ""}).stderr
    assert not re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.skipif(sys.platform == "win32", reason="no pty")
@pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("", True), ("1", False)])
def test_colour_only_on_a_terminal_that_wants_it(no_color: str, colored: bool) -> None:
    import pty

    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    if no_color is not None:
        env["NO_COLOR"] = no_color
    code = "import pytracingx as p; p.init(p.Config('svc')); p.start_span('op').end(); p.shutdown()"
    subprocess.run([sys.executable, "-c", code], env=env, stderr=theirs, check=True)
    text = os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    assert b"span_end" in text
    assert (b"\x1b[" in text) == colored


@pytest.mark.parametrize(
    ("console_output", "with_sink", "shown"),
    [(None, False, True), (None, True, False), (True, True, True), (False, False, False)],
)
def test_where_spans_are_shown(
    console_output: object, with_sink: bool, shown: bool, collector: OtlpServer, run_python: RunPython
) -> None:
    done = run_python(
        f"""
        sinks = [ptx.TraceSink(endpoint, "http", sampler="always_off")] if {with_sink} else []
        ptx.init(ptx.Config("svc", console_output={console_output}, sinks=sinks))
        ptx.start_span("op").end()
        assert ptx.shutdown()
        """
    )
    assert len(done.stderr.splitlines()) == (2 if shown else 0)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ("", ["info", "warn"]),
        ("console_level='warn'", ["warn"]),
        ("console_level='trace'", ["debug", "info", "warn"]),
        ("console_level='trace', log_filter='debug'", ["debug", "info", "warn"]),
        ("console_level='trace', log_filter='info'", ["info", "warn"]),
        ("console_level='warn', log_filter='debug'", ["warn"]),
        ("console_level='off'", []),
        ("log_filter='off,app.noisy=warn'", ["warn"]),
        ("console_output=False", []),
        ("sinks=[ptx.TraceSink(endpoint, 'http')]", ["info", "warn"]),
    ],
)
def test_which_log_records_are_shown(settings: str, shown: list[str], run_python: RunPython) -> None:
    done = run_python(
        f"""
        ptx.init(ptx.Config("svc", {settings}))
        logger = ptx.get_logger("app.noisy.part")
        for level in "debug", "info", "warn":
            getattr(logger, level)(level)
        assert ptx.shutdown()
        """
    )
    assert [line.rsplit(" ", 1)[-1] for line in done.stderr.splitlines()] == shown


def test_a_long_body_is_shown_whole(run_python: RunPython) -> None:
    done = run_python(
        """
        ptx.init(ptx.Config("svc", console_format="json"))
        ptx.get_logger("app").info("x" * (1 << 20), attributes={"last": True})
        assert ptx.shutdown()
        """
    )
    (entry,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (entry["message"], entry["attributes"]) == ("x" * (1 << 20), {"last": True})


def test_spans_appear_by_themselves_as_they_begin() -> None:
    """No flush, no end: within 50 ms, says the documentation."""
    code = "import pytracingx as p, sys; p.init(p.Config('svc')); span = p.start_span('op'); sys.stdin.read(1); span.end(); sys.stdin.read(1)"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    assert process.stdin and process.stderr
    assert b"span_begin op" in process.stderr.readline()
    process.stdin.write(b"x")
    assert b"span_end op" in process.stderr.readline()
    process.stdin.write(b"x")
    assert process.wait(10) == 0
    process.stdin.close()
    process.stderr.close()


def run_with_stderr(code: str, collector: OtlpServer, stderr: int | None) -> float:
    """Seconds that the program took. `stderr` of None: closed before Python starts."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code]
        if stderr is not None
        else ["sh", "-c", 'exec "$0" "$@" 2>&-', sys.executable, "-c", PRELUDE + code],
        env={**os.environ, "TEST_COLLECTOR": collector.endpoint, "TEST_ANSWER": os.devnull},
        stderr=stderr,
        timeout=60,
    )
    assert done.returncode == 0
    return time.monotonic() - begun


FLOOD = """
ptx.init(ptx.Config("svc", console_output=True, sinks=[ptx.TraceSink(endpoint, "http")]))
logger, counter = ptx.get_logger("app"), ptx.get_meter("app").counter("n")
for number in range(10_000):
    ptx.start_span("op", {"text": "x" * 300}).end()
    logger.info("x" * 300)
    counter.add(1)
assert ptx.shutdown(30_000) is True
dropped = ptx.stats()["console"]["dropped"]
"""


def test_a_stderr_that_nobody_reads_stalls_nothing(collector: OtlpServer) -> None:
    reader, writer = os.pipe()
    run_with_stderr(FLOOD + "assert dropped > 0", collector, writer)
    os.close(writer)
    os.close(reader)
    assert len(collector.spans) == 10_000


def test_a_stderr_whose_reader_is_gone(collector: OtlpServer) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    run_with_stderr(FLOOD, collector, writer)
    os.close(writer)
    assert len(collector.spans) == 10_000


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk(collector: OtlpServer) -> None:
    with open("/dev/full", "wb") as full:
        run_with_stderr(
            FLOOD + "assert dropped > 30_000 and not ptx.stats()['console']['entries']",
            collector,
            full.fileno(),
        )
    assert len(collector.spans) == 10_000


def test_a_closed_stderr_is_nobody_elses_descriptor(collector: OtlpServer) -> None:
    """The first descriptor that a process without stderr opens gets its number; it must not be one of ours."""
    run_with_stderr(FLOOD + "assert os.readlink('/proc/self/fd/2') == os.devnull", collector, None)
    assert len(collector.spans) == 10_000
    assert {request.status for request in collector.requests} == {200}
    # The same in a child: what it inherits as number 2 is no stderr either.
    collector.requests.clear()
    run_with_stderr(
        """
ptx.init(ptx.Config("svc", console_output=True, sinks=[ptx.TraceSink(endpoint, "http")]))
ptx.start_span("op").end()
ptx.force_flush()
pid = os.fork()
for _ in range(100): ptx.start_span("op").end()
assert ptx.shutdown() is True
if pid: assert os.waitpid(pid, 0)[1] == 0
""",
        collector,
        None,
    )
    assert len(collector.spans) == 201
