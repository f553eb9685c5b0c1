"""`python -m pytracingx`: what is configured here, does it arrive, and what does it look like?"""

from __future__ import annotations

import argparse
import io
import os
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale can say
    try:
        status = int(parsed.run(parsed))
        print(end="", flush=True)  # to no stdout, too: it may be closed
    except BrokenPipeError:
        # Who reads has seen enough; the interpreter's own flush at exit must not fail on it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # of stdout: the commands deal with others
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"cannot write to stdout: {error.strerror}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
