"""Send one record to each configured sink, and say how far it came and what to change.

Uses `pytracingx.check()`: connections of its own, all sinks at once, nothing but the records named
`pytracingx.check` leaves.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytracingx as ptx

from . import destination

WAY = ("resolve", "connect", "proxy", "tls", "send", "receive")
TOLERABLE_SKEW_S = 60.0
CREDENTIALS = "other credentials: headers=… or OTEL_EXPORTER_OTLP_HEADERS (values percent-encoded)"
THROTTLED = "it is throttling: sample, or ask for a larger quota"
TROUBLED = "the server's own trouble: records are kept and repeated for max_export_timeout_ms"
PATHS = ("/v1/traces", "/v1/metrics", "/v1/logs")
KINDS = ("TraceSink", "MetricSink", "OtlpLogSink", "SlsLogSink")  # in the order of `check()`
NO_HTTP2 = (
    "no gRPC on this port: protocol='http/protobuf' or "
    "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or another port"
)
COMPRESSION = (
    "the server does not know this compression: compression='gzip' or OTEL_EXPORTER_OTLP_COMPRESSION=gzip"
)
SLS_CREDENTIALS = (
    "other credentials, or log:PostLogStoreLogs for them: ak_id and ak_secret, credentials, or "
    "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET"
)
SLS_STATUSES = {
    401: SLS_CREDENTIALS,
    403: SLS_CREDENTIALS,
    404: "the project or the logstore is not there: their names, or the endpoint of their region",
}
# What an error of this package's says → what to change.
TELLING = {
    "cannot connect to proxy": "nothing answers at the proxy: proxy=…, HTTPS_PROXY, HTTP_PROXY; proxy='' "
    "or NO_PROXY go around it",
    "does not speak HTTP/2": NO_HTTP2,
    "does not offer HTTP/2": NO_HTTP2,
    "invalid HTTP version": "no HTTP/1.1 on this port: protocol='grpc' or "
    "OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or another port",
    "InvalidContentType": "no TLS on this port: http:// instead of https://, or another port",
    "CaUsedAsEndEntity": "an authority's own certificate cannot serve a server: make it one with "
    "basicConstraints=CA:FALSE, and name it (or its authority) by ca_file or OTEL_EXPORTER_OTLP_CERTIFICATE",
    "certificate not valid for name": "the certificate is for other names: use one of these, or add this one",
    "certificate expired": "a new certificate for the server, or the right time for this machine",
    "HTTP 30": "configure the address that it redirects to: often https://, or another path",
    "UNIMPLEMENTED": "gRPC, but no OTLP for this signal: another port, or the receiver's pipelines",
    "UNAUTHENTICATED": CREDENTIALS,
    "PERMISSION_DENIED": CREDENTIALS,
    "RESOURCE_EXHAUSTED": THROTTLED,
    "gRPC UNAVAILABLE": TROUBLED,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="MODULE:NAME",
        help="a Config, or a callable that returns one; default: the environment",
    )
    destination.add_arguments(parser)
    parser.add_argument(
        "--timeout-ms", type=milliseconds, default=3000, help="for all sinks together (default: %(default)s)"
    )


def run(parsed: argparse.Namespace) -> int:
    try:
        config = _config(parsed)
    except _NoConfig as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 2
    description = config.describe()
    if description["disabled"] or description["diagnostics"] == "off":  # else a session tells them
        for line in description["warnings"]:
            print(f"warning: {line}", file=sys.stderr)
    if description["disabled"]:
        print("OTEL_SDK_DISABLED is set: nothing is recorded")
        return 1
    try:
        ptx.init(config)
    except ptx.ConfigError as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 1
    try:
        checks = ptx.check(parsed.timeout_ms)
    finally:
        ptx.shutdown(0)
    if not checks:
        shown = [signal for signal in ("spans", "metrics", "logs") if description.get(f"console_{signal}")]
        where = f"{_listed(shown)} go to the console" if shown else "nothing goes anywhere"
        print(f"no sinks: {where}")
    named_by = [destination.variable_of(check) if parsed.config is None else "--config" for check in checks]
    if defaults := [check["signal"] for check, variable in zip(checks, named_by) if variable is None]:
        print(f"no OTLP endpoint that can be used is configured for {_listed(defaults)}, so the default is")
        print("tried: --endpoint, or OTEL_EXPORTER_OTLP_ENDPOINT, names yours")
    sinks = sorted(description["sinks"], key=lambda sink: KINDS.index(sink["kind"]))
    for check, sink, variable in zip(checks, sinks, named_by):
        base = os.environ[variable].strip() if variable == destination.BASE else ""
        print("\n".join(report(check, advices(check, base, sink["proxy"] or ""))))
    failed = sum(not check["ok"] for check in checks)
    if checks:
        print(f"\n{len(checks) - failed} of {len(checks)} sinks take records")
    return 1 if failed else 0


class _NoConfig(Exception):
    pass


def _config(parsed: argparse.Namespace) -> ptx.Config:
    if parsed.config is None:
        destination.apply(parsed)
        return ptx.Config.from_env()
    if parsed.endpoint is not None or parsed.protocol is not None:
        raise _NoConfig("--endpoint and --protocol change what the environment says, not --config")
    try:
        config = _named(parsed.config)
    except (Exception, SystemExit) as error:  # whatever code of the user's raises
        kind = "" if isinstance(error, _NoConfig) else f"{type(error).__name__}: "
        raise _NoConfig(f"--config {parsed.config}: {kind}{error}") from None
    # Some modules begin a session when they are imported.
    ptx.shutdown(0)
    return config


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def report(check: Any, advices: list[str]) -> list[str]:
    """Lines about one sink, of what `pytracingx.check()` says of it."""
    verdict = "ok" if check["ok"] else "FAILED"
    lines = ["", f"{check['signal']:<8} {check['endpoint']}  {check['protocol']}  {verdict}"]
    lines.append(f"  {_way(check)}")
    if check["error"]:
        lines.append(f"  {'server remarks' if check['ok'] else 'error'}: {check['error']}")
    skew = check["clock_skew_s"]
    if skew is not None and abs(skew) > TOLERABLE_SKEW_S:
        ahead = "ahead of" if skew > 0 else "behind"
        lines.append(f"  this machine's clock is {abs(skew):.0f} s {ahead} the server's: look at NTP")
    return lines + [f"  → {advice}" for advice in advices]


def _way(check: Any) -> str:
    phase = check["phase"]
    if phase is None:
        return "not tried"
    took = f" after {check['latency_ms']:.1f} ms" if check["latency_ms"] is not None else ""
    reached = WAY if phase == "done" else WAY[: WAY.index(phase)]
    encrypted = check["endpoint"].startswith(("https:", "grpcs:"))
    steps = [f"{step} ok" for step in reached if step != "proxy" and (step != "tls" or encrypted)]
    end = f"answer {check['status']}{took}" if phase == "done" else f"{phase} FAILED{took}"
    return " · ".join([*steps, end])


def advices(check: Any, base: str = "", proxy: str = "") -> list[str]:
    """What to change, as far as can be said.

    Args:
        check: What `pytracingx.check()` says of a sink.
        base: Of OTEL_EXPORTER_OTLP_ENDPOINT, if the sink's endpoint is made of it.
        proxy: On the way to the sink.
    """
    if check["ok"]:
        return []
    advices = _advices(check, base)
    # Tunnels tell their answers apart; what is handed to a proxy may be answered by it.
    is_handed = check["endpoint"].startswith("http:") and check["protocol"] != "grpc"
    if proxy and is_handed and check["phase"] == "done":
        advices.append(f"or is it the answer of the proxy {proxy}? proxy='' or NO_PROXY go around it")
    return advices


def _advices(check: Any, base: str) -> list[str]:
    error = check["error"] or ""
    # Servers word it differently, with these codes.
    is_of_encoding = "grpc-encoding" in error or "compress" in error.lower()
    if error.startswith(("gRPC INTERNAL", "gRPC UNIMPLEMENTED")) and is_of_encoding:
        return [COMPRESSION]
    for sign, advice in TELLING.items():
        if sign in error:
            return [advice]
    phase, status, protocol = check["phase"], check["status"], check["protocol"]
    port = check["endpoint"].rpartition(":")[2].partition("/")[0]
    advices = []
    if phase in ("connect", "send", "receive", "done") and (port, protocol) == ("4317", "http/protobuf"):
        advices.append("port 4317 is gRPC's by convention: protocol='grpc', or port 4318")
    if phase in ("connect", "send", "receive", "done") and (port, protocol) == ("4318", "grpc"):
        advices.append("port 4318 is HTTP's by convention: protocol='http/protobuf', or port 4317")
    if phase == "resolve":
        advices.append("the host's name is not known here: spelling, DNS, the pod's search domains")
    elif phase == "connect":
        advices.append(
            "nothing answers: is the collector up, the port right, a firewall or network policy between?"
        )
    elif phase == "proxy":
        advices.append(
            "the proxy refused: proxy=…, HTTPS_PROXY, HTTP_PROXY; proxy='' or NO_PROXY go around it"
        )
    elif phase == "tls":
        advices.append(
            "a certificate authority of your own: ca_file or OTEL_EXPORTER_OTLP_CERTIFICATE; no TLS: http://"
        )
    elif phase in ("send", "receive"):
        advices.append(
            "it hung up or said nothing: another protocol's port, TLS there but not here, or overload"
        )
    elif protocol == "sls" and status in SLS_STATUSES:
        advices.append(THROTTLED if "Quota" in error else SLS_STATUSES[status])
    elif status in (401, 403):
        advices.append(CREDENTIALS)
    elif status == 404 and base.rstrip("/").endswith(PATHS):
        advices.append(
            "OTEL_EXPORTER_OTLP_ENDPOINT, as --endpoint, is a base to which /v1/traces and its like are "
            "added: leave them out, or set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and its like"
        )
    elif status == 404:
        advices.append("not the path: HTTP endpoints usually end in /v1/traces, /v1/metrics, /v1/logs")
    elif status == 405 or status == 415:
        advices.append("not an OTLP endpoint, or not of this protocol")
    elif status == 429:
        advices.append(THROTTLED)
    elif status is not None and status >= 500:
        advices.append(TROUBLED)
    return advices


def milliseconds(text: str) -> int:
    if (timeout_ms := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return timeout_ms


def _named(reference: str) -> ptx.Config:
    module, _, name = reference.partition(":")
    if not name:
        raise _NoConfig("expected MODULE:NAME")
    sys.path.insert(0, os.getcwd())
    value = getattr(importlib.import_module(module), name)
    config = value() if callable(value) else value
    if not isinstance(config, ptx.Config):
        raise _NoConfig(f"is no Config, but {type(config).__name__}")
    return config
