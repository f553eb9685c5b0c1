"""What VictoriaMetrics, fed by OTLP, stores of vLLM's metrics: the series that it stores when it is fed what vLLM's own
`/metrics` shows, under the same names and labels, buckets and values.

`VICTORIA_METRICS` names its binary, or it is on the PATH (Debian 13: victoria-metrics); skipped where there is none.
Resource attributes are labels beside the metric's own, as `job` and `instance` are with a scrape; their names have dots
or, from a scrape, are not there. Bounds of buckets are compared as numbers: it writes OTLP's 1 as "1", and keeps
Prometheus's "1.0".
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from conftest import RunPython
from otlp_server import closed_port
from test_collectors import running

BINARY = os.environ.get("VICTORIA_METRICS") or shutil.which("victoria-metrics")
SHOWN = "shown"

pytestmark = pytest.mark.skipif(not BINARY, reason="no victoria-metrics")

Series = dict[tuple[str, frozenset[tuple[str, object]]], float]


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[str]:
    """Its address."""
    assert BINARY
    port = closed_port()
    options = [f"-httpListenAddr=127.0.0.1:{port}", f"-storageDataPath={tmp_path / 'data'}"]
    # vllm:cache_config_info has some thirty labels of its own: with a resource's it would be left out by default.
    options += ["-retentionPeriod=1d", "-maxLabelsPerTimeseries=100"]
    with running(BINARY, *options, output=tmp_path / "output", ports=(port,)):
        yield f"http://127.0.0.1:{port}"


def exposed(victoria: str, text: str) -> None:
    """As if it had scraped this."""
    url = f"{victoria}/api/v1/import/prometheus?extra_label=job={SHOWN}"
    urlopen(Request(url, text.encode(), method="POST"), timeout=30).read()


def stored(victoria: str) -> tuple[Series, Series]:
    """What came by OTLP, and what was shown to it."""
    urlopen(f"{victoria}/internal/force_flush", timeout=30).read()
    # By default it looks as far as its own clock, which goes by seconds.
    query = {"match[]": '{__name__=~"vllm:.+"}', "start": "-1d", "end": "2100-01-01T00:00:00Z"}
    lines = urlopen(f"{victoria}/api/v1/export?{urlencode(query)}", timeout=30).read().decode().splitlines()
    pushed: Series = {}
    shown: Series = {}
    for series in map(json.loads, lines):
        labels = series["metric"]
        name = labels.pop("__name__")
        into = shown if labels.pop("job", None) == SHOWN else pushed
        own = {key: float(value) if key == "le" else value for key, value in labels.items() if "." not in key}
        into[name, frozenset(own.items())] = series["values"][-1]
    return pushed, shown


PARTS = """
from pytracingx.integrations import _prometheus
gauge, counter, histogram = _prometheus.classes(ptx.get_meter("vllm"))
labels = {"model_name": "opt", "engine": "0"}
ptx.init()
gauge("vllm:num_requests_running", "Running.", labelnames=labels).labels("opt", "0").set(3)
counter("vllm:prompt_tokens", "Tokens.", labelnames=labels).labels("opt", "0").inc(7)
counter("vllm:untouched_total", "Nothing yet.", labelnames=labels).labels(**labels)
seconds = histogram("vllm:e2e_request_latency_seconds", "Latency.", buckets=[0.3, 1, 2.5], labelnames=labels)
for value in (0.25, 0.75, 1.0, 9.5):
    seconds.labels("opt", "0").observe(value)
assert ptx.shutdown()
"""
LABELS = 'model_name="opt",engine="0"'
# In the text format of Prometheus, by its rules.
PARTS_SHOWN = f"""\
vllm:num_requests_running{{{LABELS}}} 3.0
vllm:prompt_tokens_total{{{LABELS}}} 7.0
vllm:untouched_total{{{LABELS}}} 0.0
vllm:e2e_request_latency_seconds_bucket{{{LABELS},le="0.3"}} 1.0
vllm:e2e_request_latency_seconds_bucket{{{LABELS},le="1.0"}} 3.0
vllm:e2e_request_latency_seconds_bucket{{{LABELS},le="2.5"}} 3.0
vllm:e2e_request_latency_seconds_bucket{{{LABELS},le="+Inf"}} 4.0
vllm:e2e_request_latency_seconds_count{{{LABELS}}} 4.0
vllm:e2e_request_latency_seconds_sum{{{LABELS}}} 11.5
"""


def test_names_labels_and_buckets_are_those_of_a_scrape(run_python: RunPython, victoria: str) -> None:
    endpoint = f"{victoria}/opentelemetry/v1/metrics"
    run_python(PARTS, env={"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "engine"})
    exposed(victoria, PARTS_SHOWN)
    pushed, shown = stored(victoria)
    assert pushed == shown
    assert len(pushed) == len(PARTS_SHOWN.splitlines())


VLLM = """
from types import SimpleNamespace
import prometheus_client
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.v1.engine import FinishReason
from vllm.v1.metrics import loggers
from vllm.v1.metrics.stats import *
from pytracingx.integrations.vllm import StatLogger
folder = os.environ["MODEL"]
model = ModelConfig(model=folder, served_model_name="opt", dtype="float16", seed=42, skip_tokenizer_init=True)
scheduler = SchedulerConfig(
    max_num_seqs=8, max_num_batched_tokens=2048, max_model_len=2048, is_encoder_decoder=False)
config = VllmConfig(scheduler_config=scheduler, model_config=model, cache_config=CacheConfig(),
                    device_config=DeviceConfig(device="cpu"))
ours, theirs = StatLogger(config, [0, 1]), loggers.PrometheusStatLogger(config, [0, 1])
assert ours._inner is not None
for logger in (ours, theirs):
    logger.log_engine_initialized()
    for turn in range(3):
        step = SchedulerStats(num_running_reqs=3 + turn, num_waiting_reqs=2, kv_cache_usage=0.25)
        step.prefix_cache_stats.queries, step.prefix_cache_stats.hits = 10, 4
        iteration = IterationStats()
        iteration.num_generation_tokens = 7
        iteration.time_to_first_tokens_iter = [0.01, 0.2]
        iteration.inter_token_latencies_iter = [0.02] * 5
        iteration.finished_requests = [FinishedRequestStats(
            finish_reason=FinishReason.STOP, e2e_latency=1.5, num_prompt_tokens=100, num_generation_tokens=20,
            max_tokens_param=64, mean_time_per_output_token=0.03)]
        logger.record(step, iteration, MultiModalCacheStats(queries=3, hits=1), engine_idx=turn % 2)
    logger.record_sleep_state(1, 2)
text = prometheus_client.generate_latest().decode()
assert ptx.shutdown()
answer(text)
"""
MODEL = {
    "architectures": ["OPTForCausalLM"],
    "model_type": "opt",
    "hidden_size": 768,
    "word_embed_proj_dim": 768,
    "ffn_dim": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "max_position_embeddings": 2048,
    "torch_dtype": "float16",
    "vocab_size": 50272,
}


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed")
def test_every_metric_of_vllm_is_stored_as_a_scrape_stores_it(
    run_python: RunPython, victoria: str, tmp_path: Path
) -> None:
    """But for `_created`, which Prometheus's client shows as metrics and OTLP has as start times, and for histograms
    in which nothing has been recorded yet: a scrape shows their zeros."""
    (tmp_path / "config.json").write_text(json.dumps(MODEL))
    done = run_python(
        VLLM,
        env={
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{victoria}/opentelemetry/v1/metrics",
            "OTEL_SERVICE_NAME": "engine",
            "PYTRACINGX_ENGINE": "1",
            "MODEL": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_LOGGING_LEVEL": "ERROR",
        },
        timeout_s=300,
    )
    exposed(victoria, done.answer)
    pushed, shown = stored(victoria)
    shown = {key: value for key, value in shown.items() if not key[0].endswith("_created")}
    assert pushed.keys() <= shown.keys()
    untouched = {key: shown.pop(key) for key in shown.keys() - pushed.keys()}
    kinds = ("_bucket", "_count", "_sum")
    assert {value for (name, _), value in untouched.items() if name.endswith(kinds)} <= {0.0}
    assert [name for name, _ in untouched if not name.endswith(kinds)] == []
    assert len(pushed) > 500
    assert pushed == pytest.approx(shown)
