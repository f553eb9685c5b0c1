"""Copy the docstrings of the built extension module into its stub, where editors look for them.

    python tests/stub_docs.py      rewrite python/pytracingx/_native.pyi

tests/python/test_docs.py fails when the two differ.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Union, get_args

import pytracingx._native as native

STUB = Path(__file__).parents[1] / "python/pytracingx/_native.pyi"

Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef]
DEFINITIONS = get_args(Definition)


def documented(tree: ast.Module) -> Iterator[tuple[str, Definition, str]]:
    """Every definition of the stub whose counterpart in the module has a docstring: name, node, docstring."""
    for node in tree.body:
        if not isinstance(node, DEFINITIONS) or not hasattr(native, node.name):
            continue
        yield from _with_doc(node.name, node, getattr(native, node.name))
        for member in node.body if isinstance(node, ast.ClassDef) else []:
            if isinstance(member, DEFINITIONS) and member.name != "__new__":
                value = getattr(getattr(native, node.name), member.name)
                yield from _with_doc(f"{node.name}.{member.name}", member, value)


def _with_doc(name: str, node: Definition, value: object) -> Iterator[tuple[str, Definition, str]]:
    inherited = getattr(getattr(object, node.name, None), "__doc__", None)
    if value.__doc__ and value.__doc__ != inherited:
        yield name, node, inspect.cleandoc(value.__doc__)


def rewritten(source: str) -> str:
    """The stub with the module's docstrings."""
    lines = source.splitlines(keepends=True)
    for _, node, doc in reversed(list(documented(ast.parse(source)))):
        indent = " " * (node.col_offset + 4)
        text = doc.replace("\\", r"\\").replace('"""', r"\"\"\"")
        text = "\n".join(f"{indent}{line}".rstrip() for line in f'"""{text}'.splitlines())
        text += f'\n{indent}"""\n' if "\n" in text else '"""\n'
        first, last = node.body[0], node.body[-1]
        if isinstance(node, ast.ClassDef):  # only the docstring, or the dots that stand for a body
            last = first
            if not isinstance(first, ast.Expr):
                start = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
                lines.insert(start - 1, text)
                continue
        head = lines[first.lineno - 1][: first.col_offset].rstrip()
        lines[first.lineno - 1 : last.end_lineno] = [f"{head}\n{text}" if head else text]
    return "".join(lines)


if __name__ == "__main__":
    STUB.write_text(rewritten(STUB.read_text()))
