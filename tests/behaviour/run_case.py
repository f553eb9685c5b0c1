"""Run one case in this process and write its notes as JSON: `python run_case.py NAME RESULT-FILE`.

record.py starts one such process a case, because a session is per process, with the variable ENDPOINT (a
trace endpoint with its path) and the standard streams captured.
"""

from __future__ import annotations

import sys

from cases import CASES
from trial import Trial


def main() -> None:
    name, result = sys.argv[1:]
    trial = Trial(result)
    try:
        CASES[name].run(trial)
    finally:
        trial.write()


if __name__ == "__main__":
    main()
