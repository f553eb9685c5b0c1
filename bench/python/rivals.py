"""The interpreters of a benchmark run: one venv a library, because 0.3.0 has our name and the others bring
dependencies.

They live under .cache/bench-venvs, one set an interpreter, and are made when first needed. Ours is built
from this checkout as `pip install .` would, for that interpreter and as abi3-py39; again when a source has
changed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = "pytracingx"
# The same for any CPython from 3.9 on; hot_path tells the two apart.
ABI3 = "pytracingx, abi3-py39"
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
    interpreter = venv(folder / name.replace(",", "").replace(" ", "-"), python, PINNED.get(name, []))
    if name == FLOOR:
        build_floor(python, interpreter)
    elif name in (OURS, ABI3):
        install_ours(python, interpreter, ["--features", "abi3-py39"] if name == ABI3 else [])
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


def install_ours(python: str, interpreter: str, features: list[str]) -> None:
    """Build this checkout for the interpreter and install it into its venv, unless it is there."""
    stamp = Path(interpreter).parents[1] / "sources"
    wanted = sources()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"building for {Path(interpreter).parents[1].name}", file=sys.stderr)
    wheels = ROOT / ".cache" / "bench-wheels"
    for old in wheels.glob("*.whl"):
        old.unlink()
    maturin = Path(sys.executable).with_name("maturin")
    build = [str(maturin), "build", "--release", "--quiet", "--interpreter", python, "--out", str(wheels)]
    subprocess.run([*build, *features], check=True, cwd=ROOT)
    pip(interpreter, "--force-reinstall", "--no-deps", str(next(wheels.glob("*.whl"))))
    stamp.write_text(wanted)


def sources() -> str:
    """A digest of all that a build reads from this checkout, and of the compiler's version."""
    digest = hashlib.sha256(output(["rustc", "-vV"]).encode())
    files = [ROOT / name for name in ("Cargo.toml", "Cargo.lock", "build.rs", "pyproject.toml")]
    for folder, pattern in (("src", "*.rs"), ("python", "*.py*")):
        files += sorted((ROOT / folder).rglob(pattern))
    for file in files:
        if file.is_file() and file.suffix != ".pyc":
            digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


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
