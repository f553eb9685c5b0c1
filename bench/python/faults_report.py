"""Each fault of faults_cases.py, ours and opentelemetry-sdk beside each other: `make faults`.

python bench/python/faults_report.py [ID …] [--check] [--out FOLDER] [--python PYTHON] [--libraries NAME …]

Each runs in a process of its own. Of ours it demands, and ends with 1 otherwise: that recorded = delivered
+ rejected + dropped by reason + held, by what the server decoded and `stats()` says; the outcome that the
case names; flush and shutdown within 100 ms of what they were given; memory within the case's bound; that
nobody else is connected to; that what a flush says is true. Of opentelemetry-sdk nothing is demanded.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import report
from faults_cases import CASES, DELIVERED, SHORT, Case, OtlpServer, World
from google.protobuf.message import DecodeError
from rivals import OURS, PINNED, Missing, interpreters
from session import options

RIVAL = "opentelemetry-sdk"
FULL = {"count": 1000, "flush_ms": 2000, "shutdown_ms": 3000, "patience_s": 35.0}
TINY = {"count": 200, "flush_ms": 400, "shutdown_ms": 2000, "patience_s": 3.0}
LATE_MS, LATE_MS_IN_CHECK = 100, 2000
STALL_US = 100  # before a fork, 99 times of 100
EXIT_MS = 2000  # the default of `exit_timeout_ms`
ENDS = {"exception": 1, "Ctrl-C": -2}
Outcome = dict[str, Any]


def run_case(case: Case, library: str, python: str, sizes: dict[str, Any]) -> Outcome:
    """One process of a library under one fault: what it told, and what arrived."""
    healthy = OtlpServer()
    plan = {**sizes, **case.plan}
    try:
        with case.open() as world:
            if case.scenario == "network":
                plan["healthy"] = f"{healthy.endpoint}/v1/traces"
            if case.scenario not in ("forks", "exits"):
                plan["options"] = world.options
            script = str(Path(__file__).with_name("faults_worker.py"))
            command = [python, "-W", "ignore", script, library, case.scenario]
            plan["endpoint"] = world.endpoint
            # The requests library prefers these to the authority that it is given.
            others = {key: value for key, value in os.environ.items() if not key.endswith("_CA_BUNDLE")}
            environment = {**others, **world.environment}
            worker = subprocess.Popen(
                [*command, json.dumps(plan)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            outcome = told_by(worker, world, 3 * sizes["patience_s"] + 60)
            time.sleep(0.05 if case.scenario != "exits" else 0)
            return {**outcome, **arrived(case, world, outcome)}
    finally:
        healthy.close()


def told_by(worker: subprocess.Popen[str], world: World, timeout_s: float) -> Outcome:
    """What the worker says of itself; lifts the fault when it may end."""
    assert worker.stdin and worker.stdout and worker.stderr
    given_up = threading.Timer(timeout_s, worker.kill)
    given_up.start()
    for line in worker.stdout:
        if line == "ready\n":
            world.lift()
            worker.stdin.write("\n")
            worker.stdin.flush()
            break
        if line.startswith("{"):
            given_up.cancel()
            return {**json.loads(line), "returncode": worker.wait()}
    stdout, stderr = worker.communicate()
    hung = not given_up.is_alive()
    given_up.cancel()
    if hung:
        return {"hung": True, "recorded": 0, "returncode": None, "logged": 0}
    said = [line for line in stdout.splitlines() if line.startswith("{")]
    outcome = json.loads(said[-1]) if said else {"recorded": 0, "stderr": stderr[-2000:]}
    bad = [word for word in ("Fatal Python error", "panicked", "Segmentation") if word in stderr]
    return {"logged": 0, **outcome, "returncode": worker.returncode, "crashed": bad or not said}


def arrived(case: Case, world: World, outcome: Outcome) -> Outcome:
    """What the server took, by what it decoded; a span is itself by its id."""
    strangers = sum(server.connections for server in world.strangers)
    if world.server is None:
        return {"delivered": 0, "twice": 0, "strangers": strangers}
    if case.scenario == "cardinality":
        points = [point for metric in world.server.metrics for point in metric["points"]]
        last = max((point["time"] for point in points), default=0)
        total = sum(point["value"] for point in points if point["time"] == last)
        return {"delivered": total, "twice": 0, "strangers": strangers}
    requests, garbled = [], 0
    for request in world.server.accepted("/v1/traces"):
        try:
            requests.append(request.spans)
        except DecodeError:
            garbled += 1  # as where two processes write to one connection
    spans = [span for each in requests for span in each if span["name"] != "late"]
    ids = Counter(span["span_id"] for span in spans)
    rejected = sum(min(world.rejects, len(each)) for each in requests)
    return {
        "delivered": len(ids) - rejected,
        "rejected": rejected,
        "garbled": garbled,
        "twice": len(spans) - len(ids),
        "strangers": strangers,
    }


def complaints(case: Case, outcome: Outcome, sizes: dict[str, Any], late_ms: float) -> list[str]:
    """What of ours is not as it must be."""
    found = []

    def demand(right: object, what: str) -> None:
        if not right:
            found.append(what)

    demand(not outcome.get("hung"), "hangs")
    demand(not outcome.get("crashed"), f"crashes: {outcome.get('crashed')} {outcome.get('stderr')}")
    demand(
        outcome["returncode"] == ENDS.get(case.plan.get("ending", ""), 0), f"ends by {outcome['returncode']}"
    )
    demand(outcome["strangers"] == 0, "connects to a third host")
    if found or case.ours == "init":
        demand(
            case.ours != "init" or outcome.get("refused", "").startswith("ConfigError"),
            "init does not refuse",
        )
        return found
    recorded, delivered = outcome["recorded"], outcome["delivered"]
    demand(outcome["twice"] == 0, f"{outcome['twice']} twice")
    demand(not outcome.get("garbled"), f"{outcome.get('garbled')} requests garbled")
    if case.scenario == "exits":
        demand(outcome["flush_ms"] <= EXIT_MS + late_ms, f"late: ended after {outcome['flush_ms']:.0f} ms")
        dropped = outcome["books"]["sinks"][0]["dropped"]
        right = {} if case.ours == DELIVERED else {case.ours: recorded}
        demand(dropped == right, f"dropped {dropped} at exit, not {right}")
        demand(delivered == (0 if right else recorded), f"{delivered} of {recorded} delivered at exit")
        return found
    asked = {"flush_ms": sizes["flush_ms"], "shutdown_ms": sizes["shutdown_ms"]}
    for name, limit in asked.items():
        took = outcome.get(name, 0.0)
        demand(took is not None and took <= limit + late_ms, f"late: {name} {took}, asked for {limit}")
    if case.scenario != "forks":
        grown = outcome["grown"] / 2**20
        demand(grown <= case.grows_mib, f"memory grew by {grown:.1f} MiB, bound {case.grows_mib}")
    if case.scenario == "stalls":
        demand(outcome["p99"][1] <= STALL_US, f"late: forks wait {outcome['p99'][1]:.1f} µs for us")
    books = outcome["books"]
    for sink in outcome["at_flush"]["sinks"] + books["sinks"]:
        total = sink["exported"] + sum(sink["dropped"].values()) + sink["held_records"]
        demand(sink["wanted"] == total, f"books do not balance: {sink}")
    if case.scenario == "cardinality":
        demand(delivered == recorded, f"the sum is {delivered} of {recorded}")
        return found
    own = outcome.get("own", recorded)
    sink = books["sinks"][0]
    lanes = sum(books["spans"]["dropped"].values())
    demand(own == books["spans"]["recorded"], f"recorded {own}, stats say {books['spans']['recorded']}")
    demand(own == sink["wanted"] + lanes, f"recorded {own}, the sink wanted {sink['wanted']}, lost {lanes}")
    exported = delivered - (recorded - own)
    if case.taken:
        demand((delivered, sink["exported"]) == (recorded, 0), "the server did not take it")
    else:
        demand(exported == sink["exported"], f"delivered {exported}, stats say {sink['exported']}")
    dropped = {} if case.ours == DELIVERED else {case.ours: outcome.get("rejected") or recorded}
    demand(case.ours is None or sink["dropped"] == dropped, f"dropped {sink['dropped']}, not {dropped}")
    demand(sink["held_records"] == 0 or case.ours is None, f"{sink['held_records']} held")
    settled = all(sink["held_records"] == 0 for sink in outcome["at_flush"]["sinks"])
    demand(outcome["told"] is settled, f"the flush said {outcome['told']}, settled: {settled}")
    return found


def counted(outcome: Outcome) -> int:
    """Of what was lost, how much our books show."""
    books = outcome["books"]
    return sum(books["spans"]["dropped"].values()) + sum(books["sinks"][0]["dropped"].values())


def cells(case: Case, library: str, outcome: Outcome) -> list[str]:
    """Delivered, lost, flush, p99, memory; as shown."""
    if outcome.get("refused"):
        return ["init refuses", "", "", "", ""]
    if outcome.get("hung"):
        return ["hangs", "", "", "", ""]
    recorded, delivered = outcome["recorded"], outcome["delivered"]
    lost = recorded - delivered
    how = ""
    if outcome.get("books") and case.scenario != "forks":
        noted = counted(outcome) if case.scenario != "cardinality" else 0
        how = f", {number(noted)} counted" if lost or noted else ""
    elif lost:
        how = f", {outcome['logged']} log lines" if outcome["logged"] else ", no word"
    if outcome.get("twice"):
        how += f", {number(outcome['twice'])} twice"
    if outcome.get("garbled"):
        how += f", {outcome['garbled']} requests garbled"
    if outcome.get("bad"):
        how += f", {outcome['bad']} children hang"
    if outcome.get("crashed"):
        how += ", crashes"
    took = outcome.get("flush_ms")
    said = "" if case.scenario == "exits" else f" {outcome.get('told')}"
    flush = f"{number(took)}{said}" if took is not None else f"> {number(FULL['patience_s'] * 1000)}"
    p99 = " / ".join("–" if each is None else f"{each:.1f}" for each in outcome.get("p99", []))
    grown = f"{outcome['grown'] / 2**20:.1f}" if "grown" in outcome else ""
    return [number(delivered), number(lost) + how, flush, p99, grown]


def number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


NOTES = """The same server and the same spans, 1 000 where a row says nothing else; batches are due after
200 ms, limits are each library's defaults. Delivered: answered with 2xx and decoded. Lost: how much of it
our `stats()` counts by reason; of opentelemetry-sdk, how many lines its log has. Flush: ms and what it
said, for 2 000 asked; in the rows X the time to the end of the process. p99: µs of a span to a healthy
endpoint / under the fault, one after the other in the same process, on a machine that does other things:
not a figure to compare rows by; in the row F8 what the library's own hooks do before a fork, p50 / p99 /
the most. MiB: the most that resident memory grew by from before the first span under
the fault to the end. When the flush is over the server is well, unless the row's endpoint cannot be, and
shutdown has 3 000 ms. A request may take 1 000 ms where a server is silent within one (N3 reads, N4), else
each library's default."""


def main() -> int:
    parser = options(__doc__.partition("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="N1, X5, …; all if none")
    parser.set_defaults(python=os.environ.get("BENCH_PYTHON", "python3"), libraries=[RIVAL])
    arguments = parser.parse_args()
    # A shell without job control starts background jobs with SIGINT ignored, and their children inherit that;
    # with a handler here, children start with the default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        pythons = interpreters(
            arguments.python, [OURS, *(name for name in [RIVAL] if name in arguments.libraries)]
        )
    except Missing as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    sizes = TINY if arguments.check else FULL
    chosen = [case for case in CASES if case.label in SHORT] if arguments.check else CASES
    chosen = [case for case in chosen if case.id in arguments.ids] if arguments.ids else chosen
    rows, wrong = [], []
    for case in chosen:
        row = [case.label.strip()]
        for library, python in pythons.items():
            try:
                outcome, bad = judged(case, library, python, sizes, arguments.check)
            except LookupError as error:
                row += [f"not run: {error}", "", "", "", ""]
                continue
            wrong += [f"{case.label}: {complaint}" for complaint in bad]
            row += cells(case, library, outcome)
        rows.append(row)
        print(" | ".join(row), flush=True)
    print("\n".join(wrong), file=sys.stderr)
    columns = ["id, what happens"]
    for library in pythons:
        columns += [f"{library}: delivered", "lost", "flush, ms", "p99, µs", "MiB"]
    write(report.table(columns, rows), arguments)
    return 1 if wrong else 0


def judged(
    case: Case, library: str, python: str, sizes: dict[str, Any], check: bool
) -> tuple[Outcome, list[str]]:
    """With what of ours is wrong. Others may take the processor: what is only late is tried three times."""
    for attempt in range(3):
        outcome = run_case(case, library, python, sizes)
        if library != OURS:
            return outcome, []
        bad = complaints(case, outcome, sizes, LATE_MS_IN_CHECK if check else LATE_MS)
        if not bad or attempt == 2 or not all(complaint.startswith("late") for complaint in bad):
            break
    return outcome, bad


def write(text: str, arguments: Any) -> None:
    print(f"\n{text}")
    if arguments.out and not arguments.check:
        folder = Path(arguments.out)
        folder.mkdir(parents=True, exist_ok=True)
        versions = ", ".join(name.replace("==", " ") for name in PINNED[RIVAL][:2])
        machine = report.machine(arguments.python).replace(", commit", f", {versions}, commit")
        (folder / "faults.md").write_text(f"# Faults\n\n{text}\n{NOTES}\n\n{machine}\n")


if __name__ == "__main__":
    sys.exit(main())
