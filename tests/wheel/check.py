"""What each wheel in dist/ must be, and that it works on every CPython that can be found.

    python tests/wheel/check.py dist [PYTHON ...]

Tags, the platform as auditwheel sees it, one exported symbol, sizes, no paths of the machine that built it, the list
of crates; then smoke.py, with the stable-ABI wheel on each PYTHON (default: those on PATH and of pyenv), with the
version-specific one on this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from elftools.elf.elffile import ELFFile
from packaging.utils import parse_wheel_filename

HERE = Path(__file__).parent
# Neither may grow; the wheel's goal, not reached, is 1.9 MB.
MAX_WHEEL_BYTES = 2_080_000
MAX_EXTENSION_BYTES = 4_000_000
PLATFORM = "manylinux_2_28"


def check(wheel: Path) -> str:
    """The wheel as a file; a line of what it weighs."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        [extension] = [name for name in names if name.endswith(".so")]
        [sbom] = [name for name in names if ".dist-info/sboms/" in name]
        unpacked = Path(archive.extract(extension, folder))
        code = unpacked.read_bytes()
        listed = {component["name"] for component in json.loads(archive.read(sbom))["components"]}
        with unpacked.open("rb") as file:
            symbols = ELFFile(file).get_section_by_name(".dynsym").iter_symbols()
            exported = {s.name for s in symbols if s.name and s["st_shndx"] != "SHN_UNDEF"}
    assert exported == {"PyInit__native"}, exported
    missing = shipped() - listed
    assert not missing, f"not in {sbom}: {missing}"
    for secret in (os.path.expanduser("~"), str(HERE.parents[1]), os.environ.get("CARGO_HOME")):
        assert not secret or secret == "/" or secret.encode() not in code, f"{extension} names {secret}"
    assert wheel.stat().st_size <= MAX_WHEEL_BYTES, wheel.stat().st_size
    assert len(code) <= MAX_EXTENSION_BYTES, len(code)
    return f"{wheel.name}: {wheel.stat().st_size:,} bytes, extension {len(code):,}, {len(listed)} crates"


def check_platform(wheel: Path) -> None:
    """As auditwheel finds it by the symbols that are used, whatever the name says."""
    shown = subprocess.run(
        [sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True, check=True
    )
    said = " ".join(shown.stdout.split())
    assert f'the following platform tag: "{PLATFORM}' in said and PLATFORM in wheel.name, said


def shipped() -> set[str]:
    """The crates that are linked in, as cargo says."""
    command = ["cargo", "tree", "--edges", "normal,no-proc-macro", "--features", "python", "--prefix", "none"]
    tree = subprocess.run([*command, "--format", "{p}"], capture_output=True, text=True, check=True, cwd=HERE)
    return {line.split()[0] for line in tree.stdout.splitlines() if line} - {"pytracingx"}


def pythons() -> list[str]:
    """CPython 3.9 and later on PATH and of pyenv, one of each version."""
    found = [shutil.which(f"python3.{minor}") for minor in range(9, 16)]
    found += sorted(map(str, Path("~/.pyenv/versions").expanduser().glob("3.*/bin/python")))
    versions: dict[str, str] = {}
    for python in filter(None, [*found, shutil.which("python3")]):
        asked = (
            "import sys, sysconfig; "
            "print(sys.implementation.name, *sys.version_info[:3], sysconfig.get_config_var('Py_GIL_DISABLED') or 0)"
        )
        done = subprocess.run([python, "-c", asked], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.startswith("cpython 3 "):
            versions.setdefault(done.stdout, python)
    # Free-threaded ones have no stable ABI.
    return [
        python for said, python in versions.items() if int(said.split()[2]) >= 9 and said.split()[-1] == "0"
    ]


def smoke(wheel: Path, interpreters: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--target",
            folder,
        ]
        subprocess.run([*pip, str(wheel)], check=True)
        for interpreter in interpreters:
            environment = {**os.environ, "PYTHONPATH": folder}
            subprocess.run([interpreter, str(HERE / "smoke.py")], env=environment, check=True, timeout=120)


def main(dist: str, *interpreters: str) -> None:
    wheels = sorted(Path(dist).glob("*.whl"))
    assert len(wheels) == 2, wheels
    for wheel in wheels:
        print(check(wheel))
        check_platform(wheel)
        [abi] = {tag.abi for tag in parse_wheel_filename(wheel.name)[3]}
        smoke(wheel, (list(interpreters) or pythons()) if abi == "abi3" else [sys.executable])


if __name__ == "__main__":
    main(*sys.argv[1:])
