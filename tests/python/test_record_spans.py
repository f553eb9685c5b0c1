"""record_spans: every span once, under the right parent; limits, sessions, forks, threads and the console."""

from __future__ import annotations

import array
import json
import sys
from collections import Counter
from typing import Any

import pytest
from batches import BEGAN, ENDED, STATE, column, spans, step, steps
from conftest import RunPython
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_server import OtlpServer
from recording import REMOTE_SPAN, REMOTE_TRACE, Recording

import pytracingx as ptx

# ------------------------------------------------------------------------------------------------ what arrives


def test_a_row_is_a_whole_span(recording: Recording) -> None:
    (parent,) = spans(1)
    parent.end()
    assert ptx.record_spans("step", [parent], BEGAN, [ENDED], {"tokens": [7], "m": "qwen"}, "CLIENT") == 1
    recording.expect(
        "step",
        parent,
        kind="client",
        attributes={"tokens": 7, "m": "qwen"},
        start_time_unix_nano=BEGAN,
        end_time_unix_nano=ENDED,
    )


def test_a_thousand_steps_of_256(collector: OtlpServer, run_python: RunPython) -> None:
    """Decoded officially: every span once, the right parent, the right cell of each column, both kinds of parents."""
    done = run_python("""
        from array import array
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        parents = [ptx.start_span("request", {"row": row}, activate=False) for row in range(256)]
        prepared = ptx.parent_set(parents)
        recorded = 0
        for step in range(1000):
            began = 1_700_000_000_000_000_000 + step
            columns = {
                "row": list(range(256)), "step": step, "share": array("d", [row / 4 for row in range(256)]),
                "text": [f"{step}/{row}" for row in range(256)],
            }
            ends = array("q", [began + row for row in range(256)])
            recorded += ptx.record_spans("step", prepared if step % 2 else parents, began, ends, columns)
            if step % 100 == 99: ptx.force_flush()
        for parent in parents: parent.end()
        assert ptx.shutdown(60_000)
        answer([recorded, ptx.stats()["spans"]["dropped"]])
    """)
    assert done.answer == [256_000, {}]
    rows: dict[bytes, tuple[int, bytes]] = {}
    seen: Counter[tuple[int, int]] = Counter()
    ids = set()
    found = []
    for request in collector.accepted("/v1/traces"):
        for resource_spans in ExportTraceServiceRequest.FromString(request.body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                found.extend(scope_spans.spans)
    for span in found:
        if span.name == "request":
            rows[span.span_id] = (span.attributes[0].value.int_value, span.trace_id)
    for span in found:
        ids.add(span.span_id)
        if span.name == "step":
            values = {each.key: each.value for each in span.attributes}
            row, number = values["row"].int_value, values["step"].int_value
            assert rows[span.parent_span_id] == (row, span.trace_id)
            assert (values["share"].double_value, values["text"].string_value) == (row / 4, f"{number}/{row}")
            assert (span.start_time_unix_nano, span.end_time_unix_nano) == (
                BEGAN + number,
                BEGAN + number + row,
            )
            seen[row, number] += 1
    assert len(ids) == len(found) == 256_256
    assert len(seen) == 256_000 and set(seen.values()) == {1}


def test_parents_of_every_kind(recording: Recording) -> None:
    """Spans, contexts, remote ones with their tracestate; None, what is no parent and what has no ids skip their row."""
    (live,) = spans(1)
    remote = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, STATE)
    parents = [live, None, live.context, remote, "no parent", ptx.SpanContext("0" * 32, "0" * 16)]
    for given in (
        parents,
        tuple(parents),
        iter(parents),
        dict(enumerate(parents)).values(),
        ptx.parent_set(parents),
    ):
        assert step(given, {"k": range_of(6)}) == 3
    sent = steps(recording)
    assert len(sent) == 15
    assert [span["attributes"]["k"] for span in sent] == [0, 2, 3] * 5
    assert [span["trace_state"] for span in sent] == ["", "", STATE] * 5
    assert [span["parent_span_id"] for span in sent] == [live.span_id(), live.span_id(), REMOTE_SPAN] * 5
    assert [span["flags"] >> 9 & 1 for span in sent] == [0, 0, 1] * 5


def range_of(count: int) -> list[int]:
    return list(range(count))


def test_no_parents_and_no_attributes(recording: Recording) -> None:
    assert step([]) == step((), {"k": []}) == step(ptx.parent_set()) == step([None, None], {"k": [1, 2]}) == 0
    assert step(spans(2)) == 2
    assert [span["attributes"] for span in steps(recording)] == [{}, {}]


def test_sampling_with_several_sinks(recording: Recording) -> None:
    """A row goes to the sinks that want its parent's trace; one that nobody wants is skipped, and nothing is read for it."""
    other = OtlpServer()
    try:
        recording.restart(
            recording.sink(sampler_arg=0.5), ptx.TraceSink(other.endpoint, "http", sampler_arg=0.25)
        )
        parents = spans(200)
        wanted = [bool(parent.context.trace_flags & 1) for parent in parents]
        cells = [number if keep else Untouchable() for number, keep in enumerate(wanted)]
        assert step(parents, {"k": cells}) == sum(wanted)
        half = [number for number, keep in enumerate(wanted) if keep]
        quarter = [
            number
            for number, p in enumerate(parents)
            if int((p.trace_id() or "")[16:], 16) < round(0.25 * 2**64)
        ]
        assert 0 < len(quarter) < len(half) < 200
        # Rows come in the order of their sinks, then of their parents.
        assert sorted(column(recording)) == half
        assert [span["attributes"]["k"] for span in other.spans if span["name"] == "step"] == quarter
        assert Untouchable.touched == 0
    finally:
        other.close()


class Untouchable:
    touched = 0

    def __str__(self) -> str:
        Untouchable.touched += 1
        return "touched"


def test_a_call_that_nobody_wants_reads_nothing(recording: Recording) -> None:
    recording.restart(sampler="always_off")
    Untouchable.touched = 0
    assert step(spans(3), {"k": [Untouchable()] * 3, Untouchable(): 1}) == 0
    assert Untouchable.touched == 0


@pytest.mark.parametrize("sampler", ["always_on", "always_off"])
def test_a_column_of_another_length_raises_whatever_the_sampler_says(
    recording: Recording, sampler: str
) -> None:
    recording.restart(sampler=sampler)
    parents = spans(3)
    numbers = array.array("q", [1, 2])
    for columns in ({"k": [1, 2]}, {"a": 1, "k": (1, 2)}, {"k": numbers}, {"k": memoryview(numbers)}):
        with pytest.raises(ValueError, match="column 'k' has 2 values for 3 parents"):
            ptx.record_spans("step", parents, BEGAN, ENDED, columns)
        with pytest.raises(ValueError, match="column 'k' has 2 values for 3 parents"):
            ptx.record_spans("step", ptx.parent_set(parents), BEGAN, ENDED, columns)
    # What is left out anyway, and what would have to be got first to be counted.
    many = {f"k{n}": n for n in range(128)}
    for columns in ({"": [1]}, {**many, "late": [1]}, {1: [1], "1": [1, 2, 3]}, {"k": "text"}, {"k": b"by"}):
        ptx.record_spans("step", parents, BEGAN, ENDED, columns)
    with pytest.raises(ValueError, match="column 'start_time' has 1 values for 3 parents"):
        ptx.record_spans("step", parents, [BEGAN], ENDED)
    with pytest.raises(ValueError, match="column 'end_time' has 4 values for 3 parents"):
        ptx.record_spans("step", parents, BEGAN, (ENDED,) * 4)


# ------------------------------------------------------------------------------------------------ limits


def test_limits(recording: Recording) -> None:
    """128 attributes, constants and columns together, in the order given; text is cut to the sink's length."""
    many: dict[str, Any] = {f"k{n}": [n, -n] if n % 2 else n for n in range(130)}
    assert step(spans(2), many) == 2
    for sent in steps(recording):
        assert list(sent["attributes"]) == list(many)[:128]
        assert sent["dropped_attributes_count"] == 2
    recording.restart(recording.sink(max_attributes_per_span=2))
    assert step(spans(2), {"a": "x", "b": [1, 2], "c": [3, 4], "": 5}) == 2
    sent = steps(recording)[-1]
    assert (sent["attributes"], sent["dropped_attributes_count"]) == ({"a": "x", "b": 2}, 2)


def test_value_length(recording: Recording) -> None:
    recording.restart(max_attribute_value_length=3)
    columns = {"k": ["abcdef", "äöüß"], "list": [["abcd"], []], "all": "abcd"}
    assert step(spans(2), columns) == 2
    assert [span["attributes"] for span in steps(recording)] == [
        {"k": "abc", "list": ["abc"], "all": "abc"},
        {"k": "äöü", "list": [], "all": "abc"},
    ]


def test_redaction(recording: Recording) -> None:
    ptx.shutdown()
    rules = [ptx.Redact("secret*", "drop"), ptx.Redact("mail", "hash")]
    ptx.init(ptx.Config("svc", sinks=[recording.sink()], redact=rules))
    columns = {"k": ["a", "b"], "secret.n": [1, 2], "secret": "x", "mail": ["a@b.org", "c@d.org"]}
    assert step(spans(2), columns) == 2
    first, second = (span["attributes"] for span in steps(recording))
    assert first.keys() == second.keys() == {"k", "mail"}
    assert first["mail"].startswith("sha256:") and first["mail"] != second["mail"]


def test_long_names_and_keys(recording: Recording) -> None:
    """What the interner does not take travels along."""
    name, key = "n" * 1000, "k" * 1000
    assert ptx.record_spans(name, spans(2), BEGAN, ENDED, {key: [1, 2], key + "!": "x"}) == 2
    sent = [span for span in recording.spans() if span["name"] == name]
    assert [span["attributes"] for span in sent] == [{key: 1, key + "!": "x"}, {key: 2, key + "!": "x"}]


def test_keys_of_one_text(recording: Recording) -> None:
    """The last counts, whatever the type of the key."""
    columns: Any = {"1": [1, 2], 1: [3, 4], None: "x", "None": "y", "\ud800": [5, 6]}
    assert step(spans(2), columns) == 2
    assert [span["attributes"] for span in steps(recording)] == [
        {"1": 3, "None": "y", "\ufffd": 5},
        {"1": 4, "None": "y", "\ufffd": 6},
    ]


def test_large_rows(recording: Recording) -> None:
    """Payloads larger than a block of the lane, between small ones."""
    texts = ["a" * 200_000, "b", "c" * 70_000, "d", "e" * 65_400]
    assert step(spans(5), {"k": texts}) == 5
    assert [len(text) for text in column(recording)] == [len(text) for text in texts]
    assert ptx.stats()["spans"]["dropped"] == {}


def test_a_column_beyond_all_bounds(recording: Recording) -> None:
    """One large text in many rows: cells beyond 64 MiB are dropped and counted, not copied."""
    recording.restart(recording.sink(max_attribute_value_length=10))
    text = "x" * (9 << 20)
    recorded = step(spans(10), {"k": [text] * 10, "n": list(range(10))})
    dropped = ptx.stats()["spans"]["dropped"]
    assert recorded + sum(dropped.values()) == 10
    sent = steps(recording)
    assert len(sent) == recorded
    for span in sent:
        beyond = span["attributes"]["n"] >= 7
        assert (span["attributes"].get("k"), span["dropped_attributes_count"]) == (
            (None, 1) if beyond else ("x" * 10, 0)
        )


def test_a_full_lane_drops_the_rest(collector: OtlpServer, run_python: RunPython) -> None:
    """What does not fit is counted, what fits arrives whole."""
    done = run_python("""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")], ring_capacity=262_144))
        parents = ptx.parent_set([ptx.start_span("p", activate=False)] * 2000)
        text = "x" * 500
        counts = [ptx.record_spans("step", parents, 1, 2, {"k": list(range(2000)), "t": text}) for _ in range(20)]
        assert ptx.shutdown(30_000)
        answer([sum(counts), ptx.stats()["spans"]])
    """)
    recorded, stats = done.answer
    lost = stats["dropped"].get("ring_full", 0)
    assert lost > 0, "the lane was never full"
    assert recorded + lost == 40_000
    sent = [span for span in collector.spans if span["name"] == "step"]
    assert len(sent) == recorded
    assert all(span["attributes"]["t"] == "x" * 500 for span in sent)
    assert len({span["span_id"] for span in sent}) == recorded


# ------------------------------------------------------------------------------------------------ around it


def test_a_session_that_ends_meanwhile(recording: Recording) -> None:
    class Ending:
        def __str__(self) -> str:
            ptx.shutdown()
            return "ended"

    assert step(spans(2), {"k": [Ending(), Ending()]}) == 0
    assert step(spans(2), {"k": [1]}) == 0
    recording.restart()
    assert step(spans(2), {"k": [1, 2]}) == 2


def test_before_init_and_in_forked_children(collector: OtlpServer, run_python: RunPython) -> None:
    """Nothing is recorded, read or raised before init; a child records under its own ids with the parent's set."""
    if sys.platform == "win32":
        pytest.skip("no fork")
    done = run_python("""
        assert ptx.record_spans("step", 5, "x", "y", {"k": [1]}) == 0
        empty = ptx.parent_set([ptx.start_span("nothing"), None])
        assert len(empty) == 2
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        assert ptx.record_spans("step", empty, 1, 2) == 0
        prepared = ptx.parent_set([ptx.start_span("p", activate=False) for _ in range(3)])
        now = ptx.now()
        def step(): return ptx.record_spans("step", prepared, now, now, {"pid": [os.getpid()] * 3, "n": [1, 2, 3]})
        assert step() == 3
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
        assert step() == 3
        if pid: assert os.waitpid(pid, 0)[1] == 0
        answer([os.getpid(), pid]) if pid else None
    """)
    sent = [span for span in collector.spans if span["name"] == "step"]
    assert Counter(span["attributes"]["pid"] for span in sent) == {done.answer[0]: 6, done.answer[1]: 3}
    assert len({span["span_id"] for span in sent}) == 9
    assert all(span["resource"]["process.pid"] == span["attributes"]["pid"] for span in sent)


def test_threads(collector: OtlpServer, run_python: RunPython) -> None:
    """Batches of eight threads with one set, which another thread changes all the while."""
    done = run_python("""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        parents = [ptx.start_span("p", activate=False) for _ in range(64)]
        shared, mine = ptx.parent_set(parents), ptx.parent_set(parents)
        counts, stop = [], threading.Event()
        def work():
            recorded = 0
            for step in range(200):
                recorded += ptx.record_spans("step", mine, 1, 2, {"k": list(range(64)), "t": ["x"] * 64})
                recorded += ptx.record_spans("step", shared, 1, 2)
            counts.append(recorded)
        def churn():
            while not stop.is_set():
                for parent in parents[:8]: shared.discard(parent)
                for parent in parents[:8]: shared.add(parent)
        churning = threading.Thread(target=churn); churning.start()
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        stop.set(); churning.join()
        assert ptx.shutdown(60_000)
        answer([sum(counts), ptx.stats()["spans"]["dropped"]])
    """)
    recorded, dropped = done.answer
    sent = [span["span_id"] for span in collector.spans if span["name"] == "step"]
    assert len(set(sent)) == len(sent) == recorded
    # The set has 56 to 64 rows. On a busy machine lanes may be full.
    assert dropped.keys() <= {"ring_full"}
    wanted = recorded + dropped.get("ring_full", 0)
    assert 8 * 200 * (64 + 56) <= wanted <= 8 * 200 * (64 + 64) + 64


def test_the_console_shows_rows(run_python: RunPython) -> None:
    """Begin and end of each, though no sink wants any, also under a name that is not interned."""
    done = run_python("""
        ptx.init(ptx.Config("svc", console_format="json"))
        with ptx.start_span("p") as parent:
            now = ptx.now()
            assert ptx.record_spans("step", [parent, None, parent], now, now, {"k": [1, 2, 3]}) == 2
            assert ptx.record_spans("n" * 200, [parent], now, now, {"k": [9]}) == 1
        ptx.shutdown()
    """)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert Counter((line["kind"], line["name"][:4]) for line in lines) == {
        **{("span_begin", "p"): 1, ("span_begin", "step"): 2, ("span_begin", "nnnn"): 1},
        **{("span_end", "p"): 1, ("span_end", "step"): 2, ("span_end", "nnnn"): 1},
    }
    assert [line["attributes"]["k"] for line in lines if "k" in line.get("attributes", {})] == [1, 3, 9]


def test_tracers_and_capture() -> None:
    from pytracingx.testing import capture

    tracer = ptx.get_tracer("scheduler", "1.0")
    with capture(strict=True) as captured, ptx.start_span("request") as parent:
        assert tracer.record_spans("step", [parent, parent], BEGAN, ENDED, {"k": [1, 2]}) == 2
    rows = [span for span in captured.spans if span.name == "step"]
    assert [row.attributes for row in rows] == [{"k": 1}, {"k": 2}]
    assert {row.scope.name for row in rows} == {"scheduler"}
    assert {row.parent_span_id for row in rows} == {captured.span("request").span_id}


def test_counts_of_started_spans(recording: Recording) -> None:
    """stats() and the books of the sink agree: recorded, wanted, exported."""
    parents = spans(3)
    assert step([*parents, None]) == 3
    recording.spans()
    stats = ptx.stats()
    assert stats["spans"]["recorded"] == stats["trace_sinks"][0]["exported"] == 3
    assert ptx.record_spans("step", [*parents, None], BEGAN, ENDED, {"k": [1] * 4}) == 3
    recording.spans()
    assert ptx.stats()["spans"]["recorded"] == 6
