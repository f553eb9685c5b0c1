"""What a case is, and what it is given: the package under test and a place for what it observed.

Note keys that begin with `at_least_` hold names of which a later version may have more.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from typing import Any

REMOTE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
NO_CONTEXT = {"trace_id": None, "span_id": None}

CASES: dict[str, Case] = {}


class Case:
    """A function of one `Trial`, the environment of its process, the version it is recorded for (None: all)."""

    def __init__(self, run: Callable[[Trial], None], env: dict[str, str], only: str | None) -> None:
        self.run = run
        self.env = env
        self.only = only


def case(*, env: dict[str, str] | None = None, only: str | None = None) -> Callable[..., Any]:
    """Register a function under its name."""

    def register(run: Callable[[Trial], None]) -> Callable[[Trial], None]:
        CASES[run.__name__] = Case(run, env or {}, only)
        return run

    return register


class Trial:
    """The hands of a case: the package under test and a place for what it observed."""

    def __init__(self, result: str) -> None:
        import pytracingx

        self.result = result
        self.ptx = pytracingx
        self.endpoint = os.environ["ENDPOINT"]
        self.notes: dict[str, Any] = {}

    def config(self, *, sink: dict[str, Any] | None = None, **config: Any) -> Any:
        """A quiet Config whose only sink sends when told to."""
        config.setdefault("sinks", [self.trace_sink(**(sink or {}))])
        return self.ptx.Config(
            service_name=config.pop("service_name", "svc"), **{"console_output": False, **config}
        )

    def start(self, *, sink: dict[str, Any] | None = None, **config: Any) -> Any:
        """Initialise, and return the package."""
        self.ptx.init(self.config(sink=sink, **config))
        return self.ptx

    def start_metrics(self, **sink: Any) -> Any:
        """Initialise with a trace sink and a metric sink that send when told to, and return the package."""
        options = {"protocol": "http/protobuf", "export_interval_ms": 60_000, **sink}
        return self.start(sinks=[self.trace_sink(), self.ptx.MetricSink(self.at("metrics"), **options)])

    def start_logs(self) -> Any:
        """Initialise with a trace sink and a log sink that send when told to, and return the package."""
        options = {"protocol": "http/protobuf", "batch_schedule_delay_ms": 60_000}
        return self.start(sinks=[self.trace_sink(), self.ptx.OtlpLogSink(self.at("logs"), **options)])

    def trace_sink(self, **sink: Any) -> Any:
        """A sink that sends when told to."""
        options = {"protocol": "http/protobuf", "batch_schedule_delay_ms": 60_000, **sink}
        return self.ptx.TraceSink(self.endpoint, **options)

    def at(self, signal: str) -> str:
        """The endpoint for another signal than traces."""
        return self.endpoint.replace("traces", signal)

    def wait(self, seconds: float) -> None:
        """Let time pass, with nothing else to wait for: an earlier version may do nothing at all."""
        time.sleep(seconds)

    def leave(self) -> None:
        """End the process without anything that runs at exit."""
        self.write()
        os._exit(0)

    def write(self) -> None:
        """Save the notes."""
        with open(self.result, "w") as file:
            json.dump(self.notes, file)

    def note(self, name: str, value: Any) -> None:
        """Keep an observed value."""
        assert name not in self.notes, name
        self.notes[name] = plain(value)

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """Keep what a call returns or raises; return what it returned."""
        try:
            value = call()
        except BaseException as error:
            bases = [base.__name__ for base in type(error).__mro__ if base not in (object, BaseException)]
            message = re.sub("0x[0-9a-f]+", "0x…", str(error).partition("\n")[0])
            self.note(name, {"raises": bases, "message": message})
            return None
        self.note(name, value)
        return value

    def note_current(self, name: str, **spans: Any) -> None:
        """Keep which of the given spans is current: its name, "nothing", or "another"."""
        current = self.ptx.current_trace_context()
        if current == NO_CONTEXT:
            self.note(name, "nothing")
            return
        ids = {span.span_id(): key for key, span in spans.items()}
        self.note(name, ids.get(current["span_id"], "another"))


def plain(value: Any) -> Any:
    """JSON of a value; objects become the name of their type."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {"type": type(value).__name__}
