"""The interpreters of a benchmark run: one venv a library, because 0.3.0 has our name and the others bring
dependencies.

They live under .cache/bench-venvs, one set an interpreter, and are made when first needed. Ours is built
from this checkout for that interpreter at each run, as `pip install .` would.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = "pytracingx"
FLOOR = "C floor"
ALIYUN = "aliyun-log-python-sdk"

PINNED = {
    "pytracingx 0.3.0": ["pytracingx==0.3.0"],
    "opentelemetry-sdk": [
        "opentelemetry-sdk==1.45.2",
        "opentelemetry-exporter-otlp-proto-http==1.45.2",
        "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
    ],
    "ddtrace": ["ddtrace==4.16.0"],
    "prometheus_client": ["prometheus-client==0.26.0"],
    ALIYUN: ["aliyun-log-python-sdk==0.9.52"],
}
# Not on PyPI as a wheel.
SOURCE_ONLY = ["--no-binary", ALIYUN]


class Missing(Exception):
    """Something has to be installed first; the message is one line that says what."""


def interpreters(python: str, names: list[str]) -> dict[str, str]:
    """For each library the Python that has it."""
    stamp = output([python, "-c", "import sys; print(sys.executable, sys.version)"])
    folder = ROOT / ".cache" / "bench-venvs" / hashlib.sha256(stamp.encode()).hexdigest()[:12]
    return {name: interpreter_with(name, python, folder) for name in names}


def interpreter_with(name: str, python: str, folder: Path) -> str:
    interpreter = venv(folder / name.replace(" ", "-"), python, PINNED.get(name, []))
    if name == FLOOR:
        build_floor(python, interpreter)
    elif name == OURS:
        install_ours(python, interpreter)
    return interpreter


def venv(folder: Path, python: str, requirements: list[str]) -> str:
    """A venv with these requirements: made once, and again when they change."""
    stamp = folder / "requirements"
    wanted = "\n".join(requirements)
    interpreter = str(folder / "bin" / "python")
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making a venv for {folder.name}", file=sys.stderr)
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        if requirements:
            pip(interpreter, "--only-binary", ":all:", *SOURCE_ONLY, *requirements)
        stamp.write_text(wanted)
    return interpreter


def pip(interpreter: str, *arguments: str) -> None:
    subprocess.run(
        [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
        check=True,
    )


def install_ours(python: str, interpreter: str) -> None:
    """Build this checkout for the interpreter and install it into its venv."""
    wheels = ROOT / ".cache" / "bench-wheels"
    for old in wheels.glob("*.whl"):
        old.unlink()
    maturin = Path(sys.executable).with_name("maturin")
    build = [str(maturin), "build", "--release", "--quiet", "--interpreter", python, "--out", str(wheels)]
    subprocess.run(build, check=True, cwd=ROOT)
    pip(interpreter, "--force-reinstall", "--no-deps", str(next(wheels.glob("*.whl"))))


def build_floor(python: str, interpreter: str) -> None:
    """Compile bench/floor/floor.c for the interpreter, into its venv."""
    ask = "import sysconfig as s; print(s.get_path('include'), s.get_config_var('EXT_SUFFIX'), sep='\\n')"
    include, suffix = output([python, "-c", ask]).split("\n")
    if not Path(include, "Python.h").exists():
        raise Missing(
            f"{include}/Python.h is missing: install Python's headers, on Debian: apt install python3-dev"
        )
    library = output([interpreter, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"])
    flags = ["-O2", "-shared", "-fPIC", "-Wall", "-Werror", f"-I{include}"]
    source = ROOT / "bench" / "floor" / "floor.c"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, *flags, str(source), "-o", f"{library}/floor{suffix}"], check=True)


def output(arguments: list[str]) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()
