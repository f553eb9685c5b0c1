"""Instructions an operation takes, against those that bench/guard.json has on record: `make guard`.

Counted by callgrind, which a busy machine does not disturb: one process of Python for the calls, one of Rust
for what the exporter does with a record. Each runs every operation n and 3 n times between calls of getppid,
at which callgrind begins a new file; half the difference is what n operations take, without what surrounds
them, and the empty loop comes off. Only the recording thread's instructions count. Fails when an operation
takes over 5 % more than on record.

A count belongs to the interpreter, the compiler and the processor's kind. Where these have no record, it is
the instructions within our own object alone that are compared, with the newest record there is, and 15 % are
allowed; what an interpreter spends around a call is another with each version. `make guard UPDATE=1` adds or
replaces the record.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "bench" / "guard.json"
LOOP = "the empty loop"
# Growth that is allowed: against a record of this kind, and against one of another.
ALLOWED, ALLOWED_ELSEWHERE = 0.05, 0.15

# A copy by `rep movsb` counts as an instruction a byte, and from which length on glibc copies so goes by the
# processor.
TUNABLES = [f"glibc.cpu.x86_rep_{what}_threshold={1 << 30}" for what in ("movsb", "stosb")]

# Instructions of one operation: all, and those in our own object.
Counts = dict[str, tuple[float, float]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--update", action="store_true", help="put what is counted on record")
    update = parser.parse_args().update
    machine, compiler = platform.machine(), output(["rustc", "--version"]).split()[1]
    worker = [sys.executable, str(Path(__file__).with_name("guard_worker.py"))]
    core = [str(ROOT / "bench" / "target" / "release" / "pytracingx-bench"), "--count"]
    counted = {
        f"calls: {interpreter()}, rustc {compiler}, {machine}": count(worker, "_native"),
        f"exporter: rustc {compiler}, {machine}": count(core, "pytracingx-bench"),
    }
    record: dict[str, dict[str, list[float]]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    grown = [name for kind, counts in counted.items() for name in compare(kind, counts, record)]
    if update:
        for kind, counts in counted.items():
            record.pop(kind, None)  # the newest is the last
            record[kind] = {name: [round(number) for number in pair] for name, pair in counts.items()}
        RECORD.write_text(to_text(record))
        print(f"on record in {RECORD.relative_to(ROOT)}")
    elif grown:
        print(
            f"guard: more instructions than {RECORD.relative_to(ROOT)} allows: {'; '.join(grown)}\n"
            "guard: if that is meant, `make guard UPDATE=1` puts the new counts on record",
            file=sys.stderr,
        )
    return 0 if update else bool(grown)


def interpreter() -> str:
    """The running one: version, compiler, and the options of its build that change what it executes."""
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    matter = ("enable-optimizations", "with-lto", "enable-shared", "with-pydebug", "disable-gil")
    built = [name for name in matter if name in options]
    version = f"{platform.python_implementation()} {platform.python_version()}"
    return ", ".join([version, platform.python_compiler(), *built])


def compare(kind: str, counts: Counts, record: dict[str, dict[str, list[float]]]) -> list[str]:
    """Prints the counts beside those on record; which operations have grown too much."""
    group = kind.partition(":")[0]
    known = kind in record
    other = next((other for other in reversed(record) if other.startswith(f"{group}:")), None)
    on_record = record.get(kind) or (record[other] if other else {})
    print(f"\n{kind}")
    if not known:
        print(f"  not on record; within our object, beside {other}" if other else "  not on record")
    allowed, which = (ALLOWED, 0) if known else (ALLOWED_ELSEWHERE, 1)
    grown = [f"{name} is no longer counted" for name in on_record.keys() - counts.keys()]
    for name, pair in counts.items():
        before = on_record.get(name, [0, 0])[which]
        change = pair[which] / before - 1 if before else 0.0
        too_much = change > allowed
        if too_much:
            grown.append(f"{name} {before:.0f} → {pair[which]:.0f} ({change:+.1%})")
        beside = f"{change:+8.1%}{'  GREW' if too_much else ''}" if before else "     new"
        print(f"  {name:<32} {pair[0]:8.0f} {pair[1]:8.0f} within our object {beside}")
    return grown


def count(command: list[str], own: str) -> Counts:
    """Runs a program that prints its operations, one a line, and runs each thrice between marks."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = [
            "valgrind",
            "--tool=callgrind",
            "--separate-threads=yes",
            "--dump-before=getppid",
            "--dump-line=no",
            f"--callgrind-out-file={folder}/out",
        ]
        ours = ("OTEL_", "PYTRACINGX_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment.update(PYTHONHASHSEED="0", GLIBC_TUNABLES=":".join(TUNABLES))
        done = subprocess.run(
            [*valgrind, *command], env=environment, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise SystemExit(f"guard: {command[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")
        names = done.stdout.splitlines()
        files = {int(path.name.split(".")[1].split("-")[0]): path for path in Path(folder).glob("out.*-01")}
        if sorted(files) != list(range(1, 3 * len(names) + 1)):
            raise SystemExit(f"guard: {len(names)} operations, {len(files)} marks seen")
        parts = [instructions(files[number], own) for number in sorted(files)]
    operations = int(done.stderr.split("operations=")[1].split()[0])
    counts: Counts = {}
    for at, name in enumerate(names):
        once, thrice = parts[3 * at + 1], parts[3 * at + 2]
        counts[name] = ((thrice[0] - once[0]) / 2 / operations, (thrice[1] - once[1]) / 2 / operations)
    loop = counts.pop(LOOP, (0.0, 0.0))
    return {name: (total - loop[0], ours) for name, (total, ours) in counts.items()}


def instructions(profile: Path, own: str) -> tuple[int, int]:
    """What a profile counts: all, and without callees in objects whose name has `own`."""
    total = ours = 0
    is_own = is_callee = False
    names: dict[str, str] = {}
    for line in profile.read_text().splitlines():
        if line.startswith("ob="):
            key, _, name = line[3:].partition(" ")
            is_own = own in Path(names.setdefault(key, name)).name
        elif line.startswith("cob="):
            key, _, name = line[4:].partition(" ")
            names.setdefault(key, name)
        elif line.startswith("calls="):
            is_callee = True  # the next line is what the call took
        elif match := re.fullmatch(r"[-+*\d]\d* (\d+)", line):
            if not is_callee:
                total += int(match[1])
                ours += int(match[1]) if is_own else 0
            is_callee = False
    return total, ours


def to_text(record: dict[str, dict[str, list[float]]]) -> str:
    """JSON with a line for each operation."""
    kinds = []
    for kind, counts in record.items():
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(pair)}" for name, pair in counts.items())
        kinds.append(f"  {json.dumps(kind)}: {{\n{lines}\n  }}")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
