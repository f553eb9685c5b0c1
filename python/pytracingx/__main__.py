"""`python -m pytracingx`: what is configured here, does it arrive, and what does it look like?"""

from __future__ import annotations

import argparse
import sys

from . import __version__
from ._cli import demo, doctor, env


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m pytracingx",
        description="Looks at the telemetry of this environment. Exit code 0: all is well, 1: not, 2: usage.",
    )
    parser.add_argument("--version", action="version", version=f"pytracingx {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="doctor | env | demo")
    for command in (doctor, env, demo):
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").partition("\n")[0]
        subparser = commands.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))


if __name__ == "__main__":
    sys.exit(main())
