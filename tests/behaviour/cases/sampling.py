"""Samplers, as seen from the program and on the wire."""

from __future__ import annotations

from trial import REMOTE, UNSAMPLED, Trial, case


def sampled(t: Trial, sampler: str, argument: float | None) -> None:
    ptx = t.start(sink={"sampler": sampler, "sampler_arg": argument})
    with ptx.start_span("root") as span:
        t.note("is_recording", span.is_recording())
        t.note("has_ids", [span.trace_id() is not None, span.span_id() is not None])
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        t.note("flags", headers["traceparent"][-2:] if headers else None)
        with ptx.start_span("child"):
            pass
    for name, remote in {"under_sampled": REMOTE, "under_unsampled": UNSAMPLED}.items():
        with ptx.extract_headers({"traceparent": remote}), ptx.start_span(name):
            pass
    ptx.shutdown()


@case()
def sampler_always_on(t: Trial) -> None:
    sampled(t, "always_on", None)


@case()
def sampler_always_off(t: Trial) -> None:
    sampled(t, "always_off", None)


@case()
def sampler_ratio_default(t: Trial) -> None:
    sampled(t, "parent_based_traceid_ratio", None)


@case()
def sampler_ratio_zero(t: Trial) -> None:
    sampled(t, "parent_based_traceid_ratio", 0.0)
