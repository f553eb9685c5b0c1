"""What goes to which stream; the text itself is each version's own."""

from __future__ import annotations

from typing import Any

from trial import Trial, case


def console(t: Trial, **config: Any) -> None:
    ptx = t.ptx
    ptx.init(ptx.Config("svc", **config))
    with ptx.start_span("visible-span", {"visible-key": "visible-value"}) as span:
        span.add_event("visible-event")
    ptx.shutdown()


@case()
def console_by_default(t: Trial) -> None:
    console(t)


@case()
def console_pretty(t: Trial) -> None:
    console(t, console_format="pretty")


@case()
def console_json(t: Trial) -> None:
    console(t, console_format="json")


@case()
def console_off(t: Trial) -> None:
    console(t, console_output=False)


@case()
def console_with_a_sink(t: Trial) -> None:
    console(t, sinks=[t.ptx.TraceSink(t.endpoint, "http/protobuf")])


@case()
def console_on_with_a_sink(t: Trial) -> None:
    console(t, sinks=[t.ptx.TraceSink(t.endpoint, "http/protobuf")], console_output=True)


@case(env={"RUST_LOG": "off"})
def console_filtered_by_environment(t: Trial) -> None:
    console(t)
