"""`--endpoint` and `--protocol`: another destination for one run than the environment names."""

from __future__ import annotations

import argparse
import os
import shlex
from contextlib import suppress
from typing import Any

import pytracingx as ptx

SIGNALS = ("TRACES_", "METRICS_", "LOGS_")
BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        type=_endpoint,
        help="instead of the environment's, of all signals: http://localhost:4318",
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        type=_protocol,
        help="instead of the environment's, of all signals: http/protobuf, grpc",
    )


def _endpoint(text: str) -> str:
    try:
        ptx.TraceSink(text)
    except ptx.ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).replace("TraceSink endpoint ", "", 1)) from None
    return text


def _protocol(text: Any) -> str:
    try:
        ptx.TraceSink("http://localhost:4318", text)
    except ptx.ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return str(text)


def apply(parsed: argparse.Namespace) -> None:
    """Puts them into this process's environment, where the variables of a signal would win."""
    for name, value in (("ENDPOINT", parsed.endpoint), ("PROTOCOL", parsed.protocol)):
        if value is not None:
            for signal in SIGNALS:
                os.environ.pop(f"OTEL_EXPORTER_OTLP_{signal}{name}", None)
            os.environ[f"OTEL_EXPORTER_OTLP_{name}"] = value


def is_given(parsed: argparse.Namespace) -> bool:
    """By an argument, or by a variable that is not empty."""
    names = [f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", *SIGNALS)]
    return parsed.protocol is not None or any(os.environ.get(name) for name in names)


def variable_of(check: Any) -> str | None:
    """What names the endpoint of a sink, by what `check()` says of it; None: nothing, it is the default."""
    if check["protocol"] == "sls":
        return "PYTRACINGX_SLS_ENDPOINT"
    for name in (f"OTEL_EXPORTER_OTLP_{check['signal'].upper()}_ENDPOINT", BASE):
        with suppress(argparse.ArgumentTypeError):
            _endpoint(os.environ.get(name, "").strip())
            return name
    return None


def as_typed(parsed: argparse.Namespace) -> str:
    """The arguments again, for another command with the same destination."""
    given = (("--endpoint", parsed.endpoint), ("--protocol", parsed.protocol))
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given if value is not None)
