"""Write docs/reference.md: every public name, its signature and its docstring, from the stub and the sources.

    python tests/reference_page.py      rewrite docs/reference.md

tests/python/test_docs.py fails when the two differ, or when a public name is on no page. Imports nothing of the
package, so it says what editors say.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Union

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "python/pytracingx"
PAGE = ROOT / "docs/reference.md"

# Where the definitions are, and what the page says of them, in its order.
SECTIONS = [
    ("Lifecycle", "_native.pyi", "init shutdown force_flush is_initialized stats check"),
    ("", "_sigterm.py", "install_sigterm_flush"),
    (
        "Configuration",
        "_native.pyi",
        "Config TraceSink MetricSink OtlpLogSink SlsLogSink RawOtlp View Redact ConfigError",
    ),
    (
        "Spans",
        "_native.pyi",
        "start_span record_span record_spans parent_set ParentSet SpanTemplate Span SpanContext current_span"
        " current_trace_context use_span new_context get_tracer Tracer now from_monotonic",
    ),
    ("", "_traced.py", "traced"),
    (
        "Propagation",
        "_native.pyi",
        "inject_headers extract_headers ExtractedContext extract_context restore_context baggage get_baggage",
    ),
    (
        "Metrics",
        "_native.pyi",
        "get_meter Meter Counter UpDownCounter Histogram Gauge BoundCounter BoundUpDownCounter BoundHistogram"
        " BoundGauge ObservableCounter ObservableUpDownCounter ObservableGauge Observation",
    ),
    ("Logs", "_native.pyi", "get_logger Logger emit_log_record"),
    ("pytracingx.logging", "logging.py", "install SLSLoggingHandler TraceContextFilter"),
    ("LLM engines", "_native.pyi", "generation Generation step_recorder StepRecorder Step"),
    ("pytracingx.asgi", "asgi.py", "TracingMiddleware"),
    (
        "pytracingx.aliyun",
        "aliyun.py",
        "arms sls_trace from_environment ecs_ram_role oidc_role CredentialsError",
    ),
    ("pytracingx.testing", "testing/__init__.py", "capture Captured RecordingError"),
]
Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef]


def names() -> set[str]:
    """All that the page documents of the package itself, without its modules."""
    return {
        name
        for title, _, listed in SECTIONS
        if not title.startswith("pytracingx.")
        for name in listed.split()
    }


def page() -> str:
    """The whole page."""
    lines = [
        "# Reference",
        "",
        "Generated from the docstrings (`make reference`), which `help()` and editors show too. What is not under a module's"
        " own heading is in `pytracingx` itself, `ptx` for short.",
        "",
    ]
    for title, _, _ in SECTIONS:
        if title:
            lines.append(f"- [{title}](#{_anchor(title)})")
    for title, source, listed in SECTIONS:
        tree = ast.parse((PACKAGE / source).read_text(encoding="utf-8"))
        found = {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        overloads = {node.name for node in tree.body if _is_overload(node)}
        if title:
            lines += ["", f"## {title}"]
            if title.startswith("pytracingx."):
                lines += ["", *_markdown(ast.get_docstring(tree) or "")]
        for name in listed.split():
            lines += _definition(found[name], "###", "", name in overloads)
    return "\n".join(lines) + "\n"


def _definition(node: Definition, heading: str, owner: str, is_overloaded: bool) -> Iterator[str]:
    yield from ("", f"{heading} {owner}{node.name}", "")
    if isinstance(node, ast.ClassDef):
        constructor = next((member for member in node.body if _named(member, "__new__", "__init__")), None)
        if constructor is not None:
            yield from _code(_signature(constructor, node.name))
        yield from _markdown(ast.get_docstring(node) or "")
        if constructor is not None and ast.get_docstring(constructor):
            yield from ("", *_markdown(ast.get_docstring(constructor) or ""))
        for member in node.body:
            is_method = isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef))
            if is_method and not member.name.startswith("_") and ast.get_docstring(member):
                yield from _definition(member, "####", f"{node.name}.", False)
        return
    if not is_overloaded:
        yield from _code(_signature(node, node.name))
    yield from _markdown(ast.get_docstring(node) or "")


def _signature(node: ast.AST, name: str) -> str:
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    if any(isinstance(each, ast.Name) and each.id == "property" for each in node.decorator_list):
        return f"{name}: {ast.unparse(node.returns) if node.returns else 'object'}"
    parts = [part for part in _parts(ast.unparse(node.args)) if part not in ("", "self", "cls")]
    parts = parts[1:] if parts[:1] == ["/"] else parts
    makes = node.name in ("__new__", "__init__")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and not makes else ""
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    one_line = f"{prefix}{name}({', '.join(parts)}){returns}"
    if len(one_line) <= 100:
        return one_line
    return f"{prefix}{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returns}"


def _parts(arguments: str) -> Iterator[str]:
    """Split at the commas between arguments, not at those within them; defaults spaced as formatters do."""
    depth, start = 0, 0
    for index, char in enumerate(f"{arguments},"):
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            declared, equals, default = arguments[start:index].strip().partition("=")
            yield f"{declared} = {default}" if equals and ":" in declared else f"{declared}{equals}{default}"
            start = index + 1


def _code(text: str) -> Iterator[str]:
    yield from ("```python", text, "```", "")


def _markdown(doc: str) -> Iterator[str]:
    """A docstring: sections with a colon become lists, indented examples blocks."""
    paragraphs = doc.split("\n\n")
    for index, paragraph in enumerate(paragraphs):
        if index:
            yield ""
        first, *rest = paragraph.split("\n")
        if first in ("Args:", "Returns:", "Raises:", "Yields:"):
            yield from (f"**{first[:-1]}**", "")
            yield from _items(rest, is_list=first in ("Args:", "Raises:"))
        elif re.match(r" {4}[a-z_]+: ", first):
            yield from _items([first, *rest], is_list=True)
        elif first.startswith("    "):
            yield from ("```python", *(line[4:] for line in (first, *rest)), "```")
        else:
            yield from (first, *rest)


def _items(lines: list[str], *, is_list: bool) -> Iterator[str]:
    for line in lines:
        text = line[4:]
        name, colon, meaning = text.partition(": ")
        if is_list and colon and not text.startswith(" "):
            yield f"- `{name}`: {meaning}"
        else:
            yield f"  {text.strip()}" if is_list else text.strip()


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def _named(node: ast.AST, *wanted: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name in wanted


def _is_overload(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        isinstance(each, ast.Name) and each.id == "overload" for each in node.decorator_list
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
