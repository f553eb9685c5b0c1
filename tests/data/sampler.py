"""Writes sampler.tsv: what opentelemetry-sdk's samplers decide.

    pip install opentelemetry-sdk==1.45.2
    python tests/data/sampler.py > tests/data/sampler.tsv

Columns: sampler, rate, trace id, then the decision without a parent, with a sampled and with an unsampled remote
parent (1 = sampled).
"""

import random

from opentelemetry import trace
from opentelemetry.sdk.trace import sampling

RATES = [
    0.0, 1.0, 0.5, 0.1, 1 / 3, 0.001, 0.999999, 1 - 2**-53,
    2**-64, 0.5 * 2**-64, 1.5 * 2**-64, 2.5 * 2**-64, 3.4999 * 2**-64, 1e-18, 5e-324,
]  # fmt: skip


def parents(trace_id):
    yield None
    for flag in (1, 0):
        context = trace.SpanContext(trace_id, 1, is_remote=True, trace_flags=trace.TraceFlags(flag))
        yield trace.set_span_in_context(trace.NonRecordingSpan(context))


def row(name, rate, sampler, low):
    trace_id = random.getrandbits(64) << 64 | low
    decisions = (sampler.should_sample(parent, trace_id, "name").decision for parent in parents(trace_id))
    return name, rate, f"{trace_id:032x}", *(int(decision.is_sampled()) for decision in decisions)


def rows():
    random.seed(20)
    fixed = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "parentbased_always_on": sampling.ParentBased(sampling.ALWAYS_ON),
        "parentbased_always_off": sampling.ParentBased(sampling.ALWAYS_OFF),
    }
    for name, sampler in fixed.items():
        for low in (1, 2**64 - 1):
            yield row(name, "-", sampler, low)
    for rate in RATES:
        ratio = sampling.TraceIdRatioBased(rate)
        lows = {0, 2**64 - 1, random.getrandbits(64)} | {ratio.bound + step for step in (-1, 0, 1)}
        for low in sorted(low for low in lows if 0 <= low < 2**64):
            yield row("traceidratio", rate, ratio, low)
            yield row("parentbased_traceidratio", rate, sampling.ParentBased(ratio), low)


for cells in rows():
    print(*cells, sep="\t")
