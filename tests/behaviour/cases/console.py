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


def console_logs(t: Trial, **config: Any) -> None:
    ptx = t.ptx
    ptx.init(ptx.Config("svc", **config))
    logger = ptx.get_logger("visible-logger")
    for level in ("trace", "debug", "info", "warn", "error", "fatal"):
        getattr(logger, level)(f"visible-{level}", attributes={f"visible-key-of-{level}": 1})
    ptx.get_logger("noisy").info("visible-noise")
    ptx.emit_log_record("l", "visible-emitted", severity_number=13, severity_text="WARN")
    ptx.shutdown()


@case()
def console_logs_by_default(t: Trial) -> None:
    console_logs(t)


@case()
def console_logs_pretty(t: Trial) -> None:
    console_logs(t, console_format="pretty")


@case()
def console_logs_json(t: Trial) -> None:
    console_logs(t, console_format="json")


@case()
def console_logs_off(t: Trial) -> None:
    console_logs(t, console_output=False)


@case()
def console_logs_with_a_sink(t: Trial) -> None:
    console_logs(t, sinks=[t.ptx.TraceSink(t.endpoint, "http/protobuf")])


@case(env={"RUST_LOG": "trace"})
def console_logs_all_levels(t: Trial) -> None:
    console_logs(t)


@case(env={"RUST_LOG": "error"})
def console_logs_errors(t: Trial) -> None:
    console_logs(t)


@case(env={"RUST_LOG": "off,pytracingx::log=debug"})
def console_logs_by_target(t: Trial) -> None:
    console_logs(t)


@case(only="0.2.0")
def console_logs_level(t: Trial) -> None:
    console_logs(t, console_level="error")


@case(only="0.2.0")
def console_logs_level_more(t: Trial) -> None:
    console_logs(t, console_level="debug")


@case(only="0.2.0", env={"RUST_LOG": "debug"})
def console_logs_level_before_environment(t: Trial) -> None:
    console_logs(t, console_level="error")


@case(only="0.2.0")
def console_logs_filter(t: Trial) -> None:
    console_logs(t, log_filter="debug,noisy=off")


@case()
def console_metrics(t: Trial) -> None:
    ptx = t.ptx
    ptx.init(ptx.Config("svc"))
    ptx.get_meter("m").counter("visible-counter").add(1)
    ptx.shutdown()
