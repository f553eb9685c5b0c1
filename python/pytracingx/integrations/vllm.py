"""vLLM's metrics over OTLP. Written against vLLM 0.33; found by vLLM itself through its entry points.

`StatLogger` (``vllm.stat_logger_plugins``) has every metric that vLLM's own ``/metrics`` shows, of every part
of the engine that is in use, under the same names, labels and buckets: it is vLLM's own Prometheus logger
whose metric classes are ours. The scrape goes on beside it, unchanged.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.metrics import loggers

import pytracingx

from . import LOGGER, _prometheus, enabled, ensure_session

# Class attributes of vLLM's Prometheus logger that name a part's metrics.
_PARTS = ("_spec_decoding_cls", "_kv_connector_cls", "_ec_connector_cls", "_perf_metrics_cls")


def _over_otlp() -> type[loggers.PrometheusStatLogger]:
    """vLLM's Prometheus logger with metric classes of ours, in its parts too."""
    meter = pytracingx.get_meter("vllm", getattr(__import__("vllm"), "__version__", None))
    gauge, counter, histogram = _prometheus.classes(meter)
    metrics = {"_gauge_cls": gauge, "_counter_cls": counter, "_histogram_cls": histogram}
    parent = loggers.PrometheusStatLogger
    parts = {
        name: type(part.__name__, (part,), dict(metrics))
        for name in _PARTS
        if (part := getattr(parent, name, None)) is not None
    }
    return type("PrometheusStatLogger", (parent,), {**metrics, **parts})


def _make(vllm_config: Any, engine_indexes: list[int]) -> loggers.PrometheusStatLogger | None:
    if not (enabled() and ensure_session()):
        return None
    # The constructor takes vLLM's metrics out of Prometheus's registry, to put its own in. Ours go elsewhere.
    unregister = getattr(loggers, "unregister_vllm_metrics", None)
    try:
        loggers.unregister_vllm_metrics = lambda: None
        return _over_otlp()(vllm_config, engine_indexes)
    except Exception as error:
        LOGGER.warning("vLLM's metrics are not exported, its internals have moved: %r", error)
        return None
    finally:
        loggers.unregister_vllm_metrics = unregister


class StatLogger(loggers.AggregateStatLoggerBase):  # type: ignore[misc]
    """Every metric of the engine, by OTLP. To vLLM not a Prometheus logger: one would replace its own."""

    def __init__(self, vllm_config: Any, engine_indexes: list[int]) -> None:
        self._inner = _make(vllm_config, engine_indexes)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> None:
        if self._inner is None:
            return
        try:
            getattr(self._inner, method)(*args, **kwargs)
        except Exception as error:
            LOGGER.warning("vLLM's metrics end here, its internals have moved: %s: %r", method, error)
            self._inner = None

    def record(self, *args: Any, **kwargs: Any) -> None:
        self._call("record", *args, **kwargs)

    def log_engine_initialized(self) -> None:
        self._call("log_engine_initialized")

    def record_sleep_state(self, *args: Any, **kwargs: Any) -> None:
        self._call("record_sleep_state", *args, **kwargs)

    def record_admission_rejection(self, reason: str) -> None:
        self._call("record_admission_rejection", reason)
