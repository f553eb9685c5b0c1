"""Subinterpreters: refused with an ImportError that says so, whoever imports first, and the main one is unharmed."""

from __future__ import annotations

import pytest
from conftest import RunPython
from otlp_server import OtlpServer

# `below(code)` runs code in a new interpreter that shares our GIL where that can be chosen, which is the kind that
# CPython itself lets import anything. `said` is what such code gave to `say()`.
START = """
    import json, os, sys
    import warnings
    warnings.simplefilter("ignore")  # 3.12, 3.13: the module is an internal one
    said = []
    try:
        import _interpreters as interpreters
        kind = ("legacy",)
    except ImportError:
        import _xxsubinterpreters as interpreters
        kind = ()
    def below(code, *kinds):
        reading, writing = os.pipe()
        number = interpreters.create(*(kinds or kind))
        interpreters.run_string(number, f"import os\\ndef say(text): os.write({writing}, str(text).encode())\\n" + code)
        interpreters.destroy(number)
        os.close(writing)
        with open(reading) as file: said.append(file.read())
    IMPORT = "try:\\n import pytracingx; say('imported')\\nexcept ImportError as error: say(error)"
"""
REFUSAL = "pytracingx works in the main interpreter of a process only, not in subinterpreters: use threads or processes"


@pytest.mark.parametrize("first", ["main", "subinterpreter"])
def test_subinterpreters_are_refused(first: str, collector: OtlpServer, run_python: RunPython) -> None:
    done = run_python(
        START
        + """
    if sys.argv[1] == "main": import pytracingx
    for _ in range(3): below(IMPORT)
    import pytracingx as ptx
    ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(os.environ["TEST_COLLECTOR"], "http")]))
    for _ in range(3): below(IMPORT)
    with ptx.start_span("op", {"k": [1, "x"]}): pass
    assert ptx.shutdown()
    json.dump(said, open(os.environ["TEST_ANSWER"], "w"))
    """,
        first,
        prelude="",
    )
    assert done.answer == [REFUSAL] * 6
    assert collector.span("op")["attributes"] == {"k": [1, "x"]}
    assert done.stderr == ""


def test_a_package_that_is_imported_again(collector: OtlpServer, run_python: RunPython) -> None:
    """Reloaded, or forgotten and imported anew while somebody still has the first: one session for all."""
    run_python("""
        import importlib
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        with ptx.start_span("first"): pass
        assert importlib.reload(ptx) is ptx and ptx.is_initialized()
        with ptx.start_span("reloaded"): pass
        for name in [name for name in sys.modules if name.partition(".")[0] == "pytracingx"]: del sys.modules[name]
        import pytracingx as again
        assert again is not ptx and again.is_initialized()
        with again.start_span("outer"), ptx.start_span("inner"): pass
        assert again.shutdown() and not ptx.is_initialized()
    """)
    assert sorted(span["name"] for span in collector.spans) == ["first", "inner", "outer", "reloaded"]
    assert collector.span("inner")["parent_span_id"] == collector.span("outer")["span_id"]
