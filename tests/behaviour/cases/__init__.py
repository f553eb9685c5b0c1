"""What a program can observe of pytracingx: small cases that run under any version of it.

A case uses what 0.2.0 and 0.3.0 both have; one that uses less names its version. Importing this package
registers all of them in `trial.CASES`.
"""

from trial import CASES

from . import (
    attributes,
    concurrency,
    configuration,
    console,
    exceptions,
    lifecycle,
    logs,
    metrics,
    propagation,
    sampling,
    spans,
    surface,
    wire,
)

__all__ = [
    "CASES",
    "attributes",
    "concurrency",
    "configuration",
    "console",
    "exceptions",
    "lifecycle",
    "logs",
    "metrics",
    "propagation",
    "sampling",
    "spans",
    "surface",
    "wire",
]
