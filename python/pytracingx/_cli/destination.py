"""`--endpoint` and `--protocol`: another destination for one run than the environment names."""

from __future__ import annotations

import argparse
import os
import shlex

import pytracingx as ptx

SIGNALS = ("TRACES_", "METRICS_", "LOGS_")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="instead of the environment's, of all signals: http://localhost:4318",
    )
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="instead of the environment's, of all signals: http/protobuf, grpc",
    )


def apply(parsed: argparse.Namespace) -> None:
    """Puts them into this process's environment, where the variables of a signal would win.

    Raises:
        ConfigError: What no sink could be made of.
    """
    if parsed.endpoint is None and parsed.protocol is None:
        return
    ptx.TraceSink("http://localhost:4318" if parsed.endpoint is None else parsed.endpoint, parsed.protocol)
    for name, value in (("ENDPOINT", parsed.endpoint), ("PROTOCOL", parsed.protocol)):
        if value is not None:
            for signal in SIGNALS:
                os.environ.pop(f"OTEL_EXPORTER_OTLP_{signal}{name}", None)
            os.environ[f"OTEL_EXPORTER_OTLP_{name}"] = value


def is_given(parsed: argparse.Namespace) -> bool:
    """By an argument, or by a variable that is not empty."""
    names = [f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in ("", *SIGNALS)]
    return parsed.protocol is not None or any(os.environ.get(name) for name in names)


def as_typed(parsed: argparse.Namespace) -> str:
    """The arguments again, for another command with the same destination."""
    given = (("--endpoint", parsed.endpoint), ("--protocol", parsed.protocol))
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given if value is not None)
