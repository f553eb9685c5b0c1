"""What the environment says of metrics and logs, seen at the other end, once each. The values are tested in Rust."""

from __future__ import annotations

import json
import textwrap
from typing import Any

import pytest
from conftest import Finished, RunPython
from otlp_server import Answer, OtlpServer

PROGRAM = """
    meter, logger = ptx.get_meter("env"), ptx.get_logger("env")
    counter, histogram = meter.counter("sum"), meter.histogram("histogram")
    ptx.init()
"""


@pytest.fixture
def run(collector: OtlpServer, run_python: RunPython) -> Any:
    """Run a program that `init`s from the environment alone: the collector's endpoint and these variables."""

    def run_with(code: str, **variables: str) -> Finished:
        return run_python(
            textwrap.dedent(PROGRAM) + textwrap.dedent(code),
            env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, **variables},
        )

    return run_with


def paths(collector: OtlpServer) -> set[str]:
    return {request.path for request in collector.requests}


def test_all_three_signals_go_to_one_endpoint(run: Any, collector: OtlpServer) -> None:
    done = run('counter.add(1); logger.info("hello"); ptx.start_span("op").end()', OTEL_SERVICE_NAME="named")
    assert paths(collector) == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    for record in (collector.metric("sum"), collector.log("hello"), collector.span("op")):
        assert record["resource"]["service.name"] == "named"
    assert "hello" in done.stderr and "sum" not in done.stderr


@pytest.mark.parametrize("signal", ["METRICS", "LOGS"])
def test_a_signals_own_endpoint_headers_and_compression(signal: str, run: Any, collector: OtlpServer) -> None:
    run(
        'counter.add(1); logger.info("hello")',
        **{
            f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": f"{collector.endpoint}/own",
            f"OTEL_EXPORTER_OTLP_{signal}_HEADERS": "api-key=a%20b",
            f"OTEL_EXPORTER_OTLP_{signal}_COMPRESSION": "gzip",
        },
    )
    other = {"METRICS": "/v1/logs", "LOGS": "/v1/metrics"}[signal]
    assert paths(collector) == {"/own", other}
    for request in collector.requests:
        own = request.path == "/own"
        assert request.headers.get("api-key") == ("a b" if own else None)
        assert request.headers.get("content-encoding") == ("gzip" if own else None)


@pytest.mark.parametrize("signal, path", [("METRICS", "/v1/metrics"), ("LOGS", "/v1/logs")])
def test_an_exporter_that_is_none(signal: str, path: str, run: Any, collector: OtlpServer) -> None:
    run(
        'counter.add(1); logger.info("hello"); ptx.start_span("op").end()',
        **{f"OTEL_{signal}_EXPORTER": "none"},
    )
    assert paths(collector) == {"/v1/traces", "/v1/metrics", "/v1/logs"} - {path}


@pytest.mark.parametrize("exporter", ["console", "otlp,console"])
def test_an_exporter_that_is_the_console(exporter: str, run: Any, collector: OtlpServer) -> None:
    done = run(
        'counter.add(41, {"k": "v"}); logger.info("hello"); ptx.start_span("op").end()',
        OTEL_METRICS_EXPORTER=exporter,
        OTEL_LOGS_EXPORTER=exporter,
    )
    assert "hello" in done.stderr and "sum" in done.stderr and "41" in done.stderr and "op" not in done.stderr
    signals = {"/v1/metrics", "/v1/logs"} if "otlp" in exporter else set()
    assert paths(collector) == {"/v1/traces"} | signals


def test_the_interval(run: Any, collector: OtlpServer) -> None:
    """Collections without a flush."""
    run(
        """
    for _ in range(20):
        counter.add(1)
        time.sleep(0.02)
    """,
        OTEL_METRIC_EXPORT_INTERVAL="50",
    )
    points = collector.points("sum", every=True)
    assert points[-1]["value"] == 20 and 3 <= len(points) <= 12


def test_the_export_timeout(run: Any, collector: OtlpServer) -> None:
    collector.default_answer = Answer(503)
    done = run(
        """
    counter.add(1)
    began = time.monotonic()
    while not ptx.stats()["metric_sinks"][0]["dropped"]:
        ptx.force_flush(20)
        assert time.monotonic() - began < 10
    answer(ptx.stats()["metric_sinks"][0]["dropped"])
    """,
        OTEL_METRIC_EXPORT_TIMEOUT="1000",
        OTEL_METRIC_EXPORT_INTERVAL="60000",
    )
    assert done.answer["retry_timeout"] >= 1


@pytest.mark.parametrize(
    "preference, seen", [("cumulative", [1, 3]), ("delta", [1, 2]), ("LowMemory", [1, 2]), ("odd", [1, 3])]
)
def test_the_temporality(preference: str, seen: list[int], run: Any, collector: OtlpServer) -> None:
    run(
        """
    meter.observable_counter("observed", lambda: 5)
    for value in (1, 2):
        counter.add(value)
        assert ptx.force_flush()
    """,
        OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=preference,
    )
    assert [point["value"] for point in collector.points("sum", every=True)][:2] == seen
    observed = [point["value"] for point in collector.points("observed", every=True)][:2]
    assert observed == ([5, 0] if preference == "delta" else [5, 5])


def test_the_histograms(run: Any, collector: OtlpServer) -> None:
    run(
        'histogram.record(3); meter.histogram("own", boundaries=[1]).record(3)',
        OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION="base2_exponential_bucket_histogram",
    )
    assert collector.metric("histogram")["type"] == "exponential_histogram"
    assert collector.points("histogram")[0]["scale"] == 20


@pytest.mark.parametrize(
    "value, examples",
    [("trace_based", (0, 1)), ("always_off", (0, 0)), ("always_on", (1, 1)), ("odd", (0, 1)), ("", (0, 1))],
)
def test_the_exemplar_filter(value: str, examples: tuple[int, int], run: Any, collector: OtlpServer) -> None:
    """Of a counter and a histogram, each measured once inside of a span and once outside."""
    run(
        """
    for call in (counter.add, histogram.record):
        call(3)
        with ptx.start_span("op"): call(3)
    """,
        OTEL_METRICS_EXEMPLAR_FILTER=value,
    )
    found = tuple(
        sum(bool(exemplar["span_id"]) for exemplar in collector.points(name)[0]["exemplars"])
        for name in ("sum", "histogram")
    )
    assert found == examples


@pytest.mark.parametrize(
    "value, seen",
    [
        ("", ["env info", "noisy.lib info"]),
        ("warn", []),
        ("debug,noisy=error", ["env debug", "env info"]),
        ("off,noisy.lib=info", ["noisy.lib info"]),
        ("pytracingx::log=debug", ["env debug", "env info", "noisy.lib debug", "noisy.lib info"]),
    ],
)
def test_rust_log(value: str, seen: list[str], run: Any, collector: OtlpServer) -> None:
    """For the sinks and the console; it never filters spans."""
    done = run(
        """
    for name in ("env", "noisy.lib"):
        for level in ("debug", "info"): getattr(ptx.get_logger(name), level)(name + " " + level)
    ptx.start_span("op").end()
    """,
        RUST_LOG=value,
    )
    assert [log["body"] for log in collector.logs] == seen
    assert collector.span("op")
    assert [line for line in ("noisy.lib info", "env info") if line in done.stderr] == [
        line for line in ("noisy.lib info", "env info") if line in seen
    ]


def test_batches_of_logs(run: Any, collector: OtlpServer) -> None:
    run(
        """
    for number in range(20): logger.info(str(number))
    began = time.monotonic()
    while ptx.stats()["log_sinks"][0]["exported"] < 20: assert time.monotonic() - began < 5
    """,
        OTEL_BLRP_SCHEDULE_DELAY="30",
        OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="5",
        OTEL_LOGS_EXPORTER="otlp",
    )
    sizes = [len(request.logs) for request in collector.accepted("/v1/logs")]
    assert sum(sizes) == 20 and max(sizes) == 5


def test_the_queue_and_timeout_of_logs(run: Any, collector: OtlpServer) -> None:
    collector.default_answer = Answer(503)
    done = run(
        """
    for number in range(20): logger.info(str(number))
    began = time.monotonic()
    sink = lambda: ptx.stats()["log_sinks"][0]
    while not sink()["dropped"].get("retry_timeout"):
        ptx.force_flush(20)
        assert time.monotonic() - began < 10
    answer(sink())
    """,
        OTEL_BLRP_MAX_QUEUE_SIZE="8",
        OTEL_BLRP_EXPORT_TIMEOUT="1000",
    )
    assert done.answer["held_records_max"] == 8
    assert done.answer["dropped"] == {"queue_full": 12, "retry_timeout": 8}


@pytest.mark.parametrize("prefix", ["OTEL_ATTRIBUTE", "OTEL_LOGRECORD_ATTRIBUTE"])
def test_the_limits_of_a_log_record(prefix: str, run: Any, collector: OtlpServer) -> None:
    run(
        'logger.info("body is none", attributes={"a": "12345", "b": 1, "c": 2})',
        **{f"{prefix}_COUNT_LIMIT": "2", f"{prefix}_VALUE_LENGTH_LIMIT": "3"},
    )
    log = collector.log("body is none")
    assert (log["attributes"], log["dropped"]) == ({"a": "123", "b": 1}, 1)


def test_disabled(run: Any, collector: OtlpServer) -> None:
    done = run(
        """
    meter.observable_gauge("observed", lambda: 1)
    counter.add(1)
    logger.info("hello")
    answer([logger.enabled("fatal"), ptx.force_flush(), ptx.shutdown()])
    """,
        OTEL_SDK_DISABLED="true",
    )
    assert json.dumps(done.answer) == "[false, true, true]"
    assert collector.connections == 0 and done.stderr == ""
