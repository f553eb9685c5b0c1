"""What a configuration with secrets shows, in output and errors, and what its copies and pickles keep."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from typing import Any, Callable

import pytest

import pytracingx as ptx

CANARY = "c4n4ry"


def canary_config() -> ptx.Config:
    sink = {"headers": {"api-key": CANARY, "x-plain": CANARY}}
    path = f"https://h/{CANARY}?token={CANARY}"
    return ptx.Config(
        "svc",
        {"k": [1, "v"]},
        console_level="warn",
        console_format="json",
        log_filter="info,a=off",
        sinks=[
            ptx.TraceSink(
                path, sampler="traceidratio", sampler_arg=0.25, max_attribute_value_length=7, **sink
            ),
            ptx.TraceSink("http://h:4318/?", "http", sampler="parentbased_always_off"),
            ptx.TraceSink("[::1]", batch_max_queue=9, compression="zstd"),
            ptx.MetricSink(path, temporality="lowmemory", **sink),
            ptx.OtlpLogSink(path, log_filter="error", sample_ratio=0.5, **sink),
            ptx.SlsLogSink(
                "http://127.0.0.1:1",
                "p",
                "l",
                CANARY,
                CANARY,
                security_token=CANARY,
                tags={"a": "b"},
                field_names="0.3",
            ),
            ptx.SlsLogSink(
                "e", "p", "l", credentials=canary_config, field_names={"a": "b"}, attributes="json"
            ),
        ],
        views=[ptx.View("http.*", drop=True), ptx.View(unit="s", attribute_keys=["a"])],
        redact=[ptx.Redact("k*", "truncate", 3), ptx.Redact("*")],
        exit_timeout_ms=1,
        ring_capacity=1 << 20,
        diagnostics="off",
    )


def state(config: ptx.Config) -> object:
    """All of a configuration, secrets included."""
    _, (keywords, extra) = config.__reduce__()
    sinks = [(type(sink), sink.__getnewargs_ex__()) for sink in keywords["sinks"]]
    return {**keywords, "sinks": sinks}, extra


def report(config: ptx.Config, pipe: Any) -> None:
    pipe.send((state(config), config.describe()))
    pipe.close()


def test_no_output_has_a_secret() -> None:
    config = canary_config()
    _, (keywords, _) = config.__reduce__()
    shown = [repr(config), str(config), json.dumps(config.describe(), ensure_ascii=False)]
    for sink in keywords["sinks"]:
        shown += [repr(sink), str(sink)]
    assert CANARY not in "\n".join(shown)
    assert CANARY in repr(state(config)), "the pickle has it: otherwise this test sees nothing"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ptx.TraceSink(f"https://user:{CANARY}@h"),
        lambda: ptx.TraceSink(f"https://h:x/{CANARY}"),
        lambda: ptx.TraceSink(f"https://h\n{CANARY}"),
        lambda: ptx.TraceSink(f"ftp://h/{CANARY}"),
        lambda: ptx.TraceSink("x", headers={"k": f"{CANARY}\0"}),
        lambda: ptx.TraceSink("x", headers={"bad key": CANARY}),
        lambda: ptx.SlsLogSink("e", "p", "", CANARY, CANARY),
        lambda: ptx.SlsLogSink("e", "p", "l", CANARY, ""),
        lambda: ptx.SlsLogSink(f"https://h/{CANARY}", "p", "l", CANARY, CANARY),
        lambda: ptx.SlsLogSink("e", "p", "l", CANARY, CANARY, credentials=print),
    ],
)
def test_no_error_has_a_secret(make: Callable[[], object]) -> None:
    with pytest.raises(ptx.ConfigError) as raised:
        make()
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda c, p=p: pickle.loads(pickle.dumps(c, p)) for p in (2, 3, 4, 5))],
)
def test_a_copy_is_equal_secrets_included(copied: Callable[[ptx.Config], ptx.Config]) -> None:
    config = canary_config()
    again = copied(config)
    assert state(again) == state(config)
    assert again.describe() == config.describe()


def test_a_spawned_child_gets_all_of_it() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    config = canary_config()
    child = context.Process(target=report, args=(config, theirs))
    child.start()
    theirs.close()
    assert ours.recv() == (state(config), config.describe())
    child.join(30)
    assert child.exitcode == 0
