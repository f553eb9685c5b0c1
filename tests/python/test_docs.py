"""What `help()`, editors and `inspect` show of the public names."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import RunPython
from otlp_server import OtlpServer
from sls_session import KEY
from sls_session import Session as SlsSession

import pytracingx as ptx

sys.path.insert(0, str(Path(__file__).parents[1]))
import reference_page
from stub_docs import STUB, documented

PUBLIC = [name for name in ptx.__all__ if not name.startswith("_") and name != "aliyun"]
ALIYUN = [f"aliyun.{name}" for name in ptx.aliyun.__all__ if name != "CredentialsError"]
CLASSES = [name for name in PUBLIC if inspect.isclass(getattr(ptx, name))]
MEMBERS = [
    f"{name}.{member}"
    for name in CLASSES
    if name != "ConfigError"
    for member in vars(getattr(ptx, name))
    if not member.startswith("_") or member in ("__enter__", "__exit__", "__aenter__", "__aexit__")
]
# CPython 3.9 finds none where the extension is built for the stable ABI.
CLASSES_HAVE_SIGNATURES = sys.version_info >= (3, 10)
INSTRUMENTS = ["Counter", "UpDownCounter", "Histogram", "Gauge"]
MADE_BY_CALLS = [
    *[
        "ExtractedContext",
        "Generation",
        "Logger",
        "Meter",
        "Span",
        "Step",
        "StepRecorder",
        "Tracer",
        *INSTRUMENTS,
    ],
    *[f"Bound{name}" for name in INSTRUMENTS],
    *["ObservableCounter", "ObservableGauge", "ObservableUpDownCounter"],
]
NOT_CONSTRUCTED = ["ConfigError", "aliyun.CredentialsError", *MADE_BY_CALLS]


def find(path: str) -> Any:
    value: Any = ptx
    for name in path.split("."):
        value = getattr(value, name)
    return value


def test_all_is_complete() -> None:
    """Everything public of the extension module, what is written in Python, and nothing else."""
    exported = {name for name in vars(ptx._native) if not name.startswith("_")}
    assert sorted([*PUBLIC, "aliyun"]) == sorted({*exported, "aliyun", "install_sigterm_flush", "traced"})
    assert set(ptx.__all__) <= set(dir(ptx))
    with pytest.raises(AttributeError, match="module 'pytracingx' has no attribute 'no_such_name'"):
        ptx.no_such_name  # noqa: B018


@pytest.mark.parametrize("name", PUBLIC + MEMBERS + ALIYUN)
def test_every_argument_is_documented(name: str) -> None:
    """Each public name says what it is, and names each of its arguments."""
    value = find(name)
    doc = inspect.getdoc(value)
    assert doc, name
    if not callable(value) or name in NOT_CONSTRUCTED or (name in CLASSES and not CLASSES_HAVE_SIGNATURES):
        return
    parameters = [p for p in inspect.signature(value).parameters if p != "self" and not p.startswith("exc_")]
    arguments = doc.partition("Args:")[2] if parameters else ""
    missing = [parameter for parameter in parameters if parameter not in arguments]
    assert not missing, f"{name} says nothing about {missing}"


@pytest.mark.parametrize("name", sorted({*PUBLIC, *MEMBERS} - set(NOT_CONSTRUCTED)))
def test_every_call_says_what_it_costs(name: str) -> None:
    """Entering and leaving `with` aside, which cost what the call before them says."""
    value = find(name)
    if callable(value) and not name.endswith("__"):
        assert re.search(r"\bcosts?\b|(nano|micro)second", inspect.getdoc(value) or "", re.IGNORECASE)


@pytest.mark.parametrize("name", PUBLIC)
def test_help_shows_the_signature(name: str) -> None:
    text = pydoc.plain(pydoc.render_doc(getattr(ptx, name)))
    assert name in text and "$self" not in text and "\n--\n" not in text


@pytest.mark.parametrize("name", MADE_BY_CALLS)
def test_what_only_calls_make_cannot_be_constructed(name: str) -> None:
    """An object of zeroed memory would crash."""
    with pytest.raises(TypeError, match="cannot create"):
        getattr(ptx, name)()
    with pytest.raises(TypeError):
        object.__new__(getattr(ptx, name))


def test_signatures_are_those_of_the_api() -> None:
    """Names, order, defaults and what is keyword-only, as programs use them."""
    signatures = {
        "start_span": "(name, attributes=None, kind='internal', *, parent=None, links=None, start_time=None, "
        "activate=True)",
        "record_span": "(name, start_time, end_time, attributes=None, kind='internal', *, parent=None, links=None, "
        "status=None, span_context=None)",
        "check": "(timeout_ms=3000)",
        "shutdown": "(timeout_ms=5000)",
        "force_flush": "(timeout_ms=5000)",
        "init": "(config=None)",
        "get_tracer": "(name, version=None)",
        "get_meter": "(name, version=None, schema_url=None)",
        "Meter.counter": "(self, /, name, *, unit=None, description=None)",
        "Meter.histogram": "(self, /, name, *, unit=None, description=None, boundaries=None, aggregation=None, "
        "max_size=160)",
        "Meter.observable_gauge": "(self, /, name, callback, *, unit=None, description=None)",
        "Counter.add": "(self, /, value, attributes=None)",
        "Histogram.record_many": "(self, /, values, attributes=None)",
        "Gauge.bind": "(self, /, attributes)",
        "BoundGauge.set": "(self, /, value)",
        "get_logger": "(name, version=None)",
        "emit_log_record": "(name, message, *, severity_number, severity_text, attributes=None, timestamp=None, "
        "body=None)",
        "Logger.info": "(self, /, message, *, attributes=None, exc_info=None)",
        "Logger.log": "(self, /, severity_number, message, *, attributes=None, exc_info=None)",
        "new_context": "(parent=None)",
        "inject_headers": "(carrier, context=None)",
        "from_monotonic": "(seconds, /)",
        "Span.set_status": "(self, /, code, description=None)",
        "Span.add_event": "(self, /, name, attributes=None, timestamp=None)",
        "Span.record_exception": "(self, /, exception, escaped=False, *, attributes=None, timestamp=None)",
        "Span.end": "(self, /, end_time=None)",
        "Tracer.start_span": "(self, /, name, attributes=None, kind='internal', *, parent=None, links=None, "
        "start_time=None, activate=True)",
    }
    if CLASSES_HAVE_SIGNATURES:
        arguments = "(trace_id, span_id, trace_flags=1, trace_state='', is_remote=True)"
        signatures["SpanContext"] = arguments
    assert {name: str(inspect.signature(find(name))) for name in signatures} == signatures


def test_the_stub_has_the_docstrings_of_the_module() -> None:
    """`python tests/stub_docs.py` copies them."""
    differ = [
        name
        for name, node, doc in documented(ast.parse(STUB.read_text(encoding="utf-8")))
        if ast.get_docstring(node) != doc
    ]
    assert differ == []


def test_importing_the_package_imports_no_more_than_it_needs() -> None:
    """`inspect` and `typing` take longer than all the rest; `traced` brings them when it is used, and `aliyun` none."""
    code = (
        "import sys, pytracingx as p; n = {'inspect', 'typing', 'json', 'threading', 'pytracingx.aliyun'}; "
    )
    code += "print(n & {*sys.modules}); p.aliyun; print(n & {*sys.modules}); p.traced"
    path = {"PYTHONPATH": str(Path(ptx.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=path)
    assert (done.stdout, done.returncode) == ("set()\n{'pytracingx.aliyun'}\n", 0), done.stderr


# What the README's examples take for granted.
README_PRELUDE = """
from types import SimpleNamespace
import pytracingx as ptx

queued_at, started_at = ptx.now() - 1000, ptx.now()
parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
request = SimpleNamespace(headers={"traceparent": parent}, context=ptx.SpanContext.from_traceparent(parent))
cache, order = SimpleNamespace(usage=lambda: 0.5), object()
app = SimpleNamespace(add_middleware=lambda middleware, **options: middleware(object(), **options))
began, ended, stream, queue = queued_at, started_at, ["Hello", "."], []


class Batch(list):
    tokens = 8

schedule = Batch
new_tokens, kv_blocks = [1], [16]

def handle(order):
    with ptx.start_span("POST /orders", {"http.response.status_code": 201}):
        ptx.get_meter("shop").counter("orders").add(1, {"country": "no"})
        ptx.get_logger("shop").info("order stored")
"""


README = Path(__file__).parents[2] / "README.md"


def python_blocks(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_readme_run(collector: OtlpServer, run_python: RunPython) -> None:
    """Each in a session of its own, which delivers all of it."""
    blocks = python_blocks(README)
    assert len(blocks) > 5
    code = README_PRELUDE
    for block in blocks:
        if "ptx.init(" not in block and "capture(" not in block:
            code += "ptx.init()\n"
        code += block.replace("http://collector:4318", collector.endpoint)
        code += "".join(f"{test}()\n" for test in re.findall(r"^def (test_\w+)", block, re.MULTILINE))
        code += "assert ptx.shutdown()\n"
    run_python(code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}, prelude="")
    assert {"chat", "chat qwen2.5-72b", "decode", "tokenize", "stream", "queue", "POST /orders"} <= {
        span["name"] for span in collector.spans
    }
    names = {metric["name"] for metric in collector.metrics}
    assert {name for name in names if not name.startswith(("gen_ai.", "llm.engine."))} == {
        "step.duration",
        "kv_cache.usage",
    }
    assert {
        "gen_ai.server.tokens",
        "gen_ai.server.time_per_output_token",
        "llm.engine.scheduled_tokens",
    } <= names
    assert {log["body"] for log in collector.logs} == {"answered", "3 left"}


def test_the_recipes_run(collector: OtlpServer, sls: SlsSession, run_python: RunPython) -> None:
    sls.server.region = "cn-hangzhou"
    gpu, prompts = python_blocks(README.with_name("docs") / "recipes.md")
    run_python(
        f"""
        import sys
        from types import SimpleNamespace
        sys.modules["pynvml"] = SimpleNamespace(  # NVIDIA's, which needs NVIDIA's driver
            nvmlInit=lambda: None,
            nvmlDeviceGetCount=lambda: 2,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=40 + gpu),
            nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(used=1 << 30),
        )
        ptx.init()
        exec({gpu!r})
        assert ptx.shutdown()
        ptx.aliyun.ecs_ram_role = lambda: lambda: {(KEY.id, KEY.secret, None)!r}
        exec({prompts!r}
            .replace("cn-hangzhou.log.aliyuncs.com", {sls.server.endpoint!r})
            .replace('"llm-audit", "prompts"', '"proj", "store"')
            .replace("http://collector:4318", endpoint + "/v1/logs")
            .replace("sample_ratio=0.05", "sample_ratio=1.0"))
        ptx.get_logger("other").warn("no prompt", attributes={{"enduser.id": "me", "my.api_key": "canary"}})
        assert ptx.shutdown()
        """,
        env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint},
    )
    assert [point["value"] for point in collector.points("hw.gpu.utilization")] == [0.4, 0.41]
    assert [point["value"] for point in collector.points("hw.gpu.memory.usage")] == [1 << 30] * 2
    assert not sls.server.complaints
    [prompt] = sls.server.logs
    assert prompt["logger_name"] == "pytracingx.llm.content" and "6 × 7" in str(prompt)
    [other] = collector.logs
    assert other["body"] == "no prompt" and other["attributes"].keys() == {"enduser.id"}
    assert other["attributes"]["enduser.id"] != "me"


def test_the_reference_is_complete_and_current() -> None:
    modules = {"aliyun", "__version__"}
    assert reference_page.names() == set(ptx.__all__) - modules
    assert reference_page.PAGE.read_text(encoding="utf-8") == reference_page.page(), "make reference"


@pytest.mark.parametrize(
    "page", ["README.md", "README.zh-CN.md", "docs/recipes.md", "docs/reference.md", "SECURITY.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    path = README.with_name(page) if "/" not in page else README.parent / page
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)", text):
        linked = (path.parent / target[0]).resolve() if target[0] else path
        assert linked.exists(), target
        if target[1]:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert target[1][1:] in [
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            ]


def test_the_readme_in_chinese_has_the_same_code() -> None:
    """Prose is translated; code, tables of figures and their order are the same."""
    translated = README.with_name("README.zh-CN.md")

    def code(page: Path) -> list[str]:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        return [re.sub(r" *#.*| +$", "", block, flags=re.MULTILINE) for block in blocks]

    assert code(translated) == code(README)
    headings = [
        re.findall(r"^(#+) ", page.read_text(encoding="utf-8"), re.MULTILINE) for page in (README, translated)
    ]
    assert headings[0] == headings[1]
