"""The commands of `python -m pytracingx`, a module each: `add_arguments(parser)`, `run(parsed) -> exit code`.

They write to stdout, never a secret, and are the only part of the package that does.
"""
