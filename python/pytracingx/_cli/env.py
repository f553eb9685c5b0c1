"""Show the configuration that the environment makes, without secrets, and where each setting is from.

Not by a table that could be wrong: a setting comes from the variables without which it would be another one.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

import pytracingx as ptx
from pytracingx.integrations import SWITCH, enabled

PREFIXES = ("OTEL_", "PYTRACINGX_", "ALIBABA_CLOUD_")
OTHERS = ("RUST_LOG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
SLS_SINK = ("ENDPOINT", "PROJECT", "LOGSTORE", "REGION")
SLS_CREDENTIALS = (
    "ACCESS_KEY_ID",
    "ACCESS_KEY_SECRET",
    "SECURITY_TOKEN",
    "ROLE_ARN",
    "OIDC_PROVIDER_ARN",
    "OIDC_TOKEN_FILE",
    "ROLE_SESSION_NAME",
    "STS_REGION",
    "VPC_ENDPOINT_ENABLED",
    "ECS_METADATA",
    "ECS_METADATA_DISABLED",
    "IMDSV1_DISABLED",
)
# What does something elsewhere than in the configuration, or with others only.
ELSEWHERE = {
    SWITCH: "instruments vLLM and SGLang",
    "PYTRACINGX_GEN_AI_SEMCONV": "names of generation() and step_recorder()",
    "PYTRACINGX_GEN_AI_CONTENT_SAMPLE_RATIO": "share of prompts and completions that generation() records",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "if generation() records prompts and completions",
    **{
        f"PYTRACINGX_SLS_{name}": "of an SLS sink, of which other variables are missing or wrong"
        for name in SLS_SINK
    },
    **{
        f"ALIBABA_CLOUD_{name}": "credentials of SLS sinks: PYTRACINGX_SLS_…, pytracingx.aliyun"
        for name in SLS_CREDENTIALS
    },
}
# Of describe(): what is shown elsewhere, or again.
NOT_SETTINGS = (
    "sinks",
    "warnings",
    "resource_attributes",
    "service_name",
    "console_output",
    "views",
    "redact",
    "sls_log",
)
COLUMN = 44

Setting = tuple[str, str]  # its section and its name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="settings that no variable touches, too")


def run(parsed: argparse.Namespace) -> int:
    config = ptx.Config.from_env()
    origins = origins_of(config)
    before = None
    for setting, value in _shown(config):
        names = origins.get(setting, [])
        section, name = setting
        if not (names or parsed.all or name == "endpoint"):
            continue
        if section != before:
            print(f"\n{section}")
            before = section
        print(f"{f'  {name} = {value}':<{COLUMN}}  {', '.join(names) or 'default'}")
    touched = {name for names in origins.values() for name in names}
    for name in sorted({name for names in _candidates() for name in names} - touched):
        print(f"\n{name}: {_elsewhere(name)}")
    warnings = config.describe()["warnings"]
    for line in warnings:
        print(f"\nwarning: {line}")
    return 1 if warnings else 0


def _elsewhere(name: str) -> str:
    if name == SWITCH and not enabled():
        return "is off: instruments vLLM and SGLang where it is 1, true, on or yes"
    return ELSEWHERE.get(name, "changes nothing: the default, overridden, or not understood")


def origins_of(config: ptx.Config) -> dict[Setting, list[str]]:
    """Setting → the variables without which it would be another. Takes each away for a moment."""
    settings = dict(_exposed(config))
    origins: dict[Setting, list[str]] = {}
    for names in _candidates():
        taken = {name: os.environ.pop(name) for name in names}
        try:
            without = dict(_exposed(ptx.Config.from_env()))
        finally:
            os.environ.update(taken)
        for setting, exposed in settings.items():
            if without.get(setting) != exposed:
                origins.setdefault(setting, []).extend(names)
    return origins


def _candidates() -> list[list[str]]:
    """Names of variables, each with those that say the same: proxies are usually set in both cases."""
    candidates: dict[tuple[str, str], list[str]] = {}
    for name, value in sorted(os.environ.items()):
        if value and name.startswith(PREFIXES):
            candidates[name, value] = [name]
        elif value and name.upper() in OTHERS:
            candidates.setdefault((name.upper(), value), []).append(name)
    return list(candidates.values())


def _shown(config: ptx.Config) -> Iterator[tuple[Setting, Any]]:
    description: dict[str, Any] = dict(config.describe())
    for sink in description["sinks"]:
        for name, value in sink.items():
            if name != "kind":
                yield (sink["kind"], name), value
    for name, value in description["resource_attributes"].items():
        yield ("resource", name), value
    for name, value in description.items():
        if name not in NOT_SETTINGS:
            yield ("session", name), value


def _exposed(config: ptx.Config) -> Iterator[tuple[Setting, Any]]:
    """The same settings, secrets and all: two tokens look alike in what is shown. For comparison only."""
    yield from _shown(config)
    constructor: Any = config.__reduce__()
    for sink in constructor[1][0]["sinks"]:
        for name, value in sink.__getnewargs_ex__()[1].items():
            # A provider of credentials is another object each time.
            yield (type(sink).__name__, name), repr(value) if callable(value) else value
