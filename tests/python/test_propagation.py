"""Headers in and out: W3C Trace Context level 2 rule by rule, carriers, SpanContext, baggage, OTEL_PROPAGATORS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from conftest import RunPython
from recording import REMOTE, REMOTE_SPAN, REMOTE_TRACE, Recording, current, ids

import pytracingx as ptx

REMOTE_IDS = (REMOTE_TRACE, REMOTE_SPAN)


def state(*values: str) -> str:
    """The tracestate that these header values give."""
    context = ptx.extract_context([("traceparent", REMOTE), *(("tracestate", value) for value in values)])
    assert context is not None
    return context.trace_state


VALID = {
    REMOTE: 1,
    f"00-{REMOTE_TRACE}-{REMOTE_SPAN}-00": 0,
    f"00-{REMOTE_TRACE}-{REMOTE_SPAN}-02": 2,
    f"00-{REMOTE_TRACE}-{REMOTE_SPAN}-03": 3,
    f"00-{REMOTE_TRACE}-{REMOTE_SPAN}-ff": 3,
    f" \t{REMOTE}\t ": 1,
    f"01{REMOTE[2:]}": 1,
    f"cc{REMOTE[2:]}": 1,
    f"cc{REMOTE[2:]}-": 1,
    f"cc{REMOTE[2:]}-what-the-future-will-be-like": 1,
}


@pytest.mark.parametrize(("traceparent", "flags"), VALID.items())
def test_valid_traceparents(traceparent: str, flags: int) -> None:
    """Later versions may be longer; flags that this level does not know are not passed on."""
    context = ptx.extract_context({"traceparent": traceparent})
    assert context == ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, flags)


INVALID = [
    "",
    "words",
    REMOTE[:-1],
    f"{REMOTE}-",
    f"{REMOTE}-what",
    f"{REMOTE}.",
    f"cc{REMOTE[2:]}.what",
    f"ff{REMOTE[2:]}",
    f"0{REMOTE}",
    REMOTE.upper(),
    REMOTE.replace("4b", "4B"),
    REMOTE.replace("-", "_"),
    f"00-{'0' * 32}-{REMOTE_SPAN}-01",
    f"00-{REMOTE_TRACE}-{'0' * 16}-01",
    f"00-{REMOTE_TRACE[:-1]}-{REMOTE_SPAN}-01",
    f"00-{REMOTE_TRACE[:-1]}.-{REMOTE_SPAN}-01",
    f"00-{REMOTE_TRACE}-{REMOTE_SPAN[:-1]}g-01",
    f"00-{REMOTE_TRACE}-{REMOTE_SPAN}-0x",
    f"0x-{REMOTE_TRACE}-{REMOTE_SPAN}-01",
    f"{REMOTE},{REMOTE}",
    f"\n{REMOTE}",
    REMOTE.replace("4b", "4\u0661"),
    REMOTE.replace("-01", "-0\ud800"),
]


@pytest.mark.parametrize("traceparent", INVALID, ids=ascii)
def test_invalid_traceparents(recording: Recording, traceparent: str) -> None:
    """What is malformed starts a new trace, even inside a span, and takes its tracestate with it."""
    carrier = {"traceparent": traceparent, "tracestate": "a=1"}
    assert ptx.extract_context(carrier) is None
    assert ptx.SpanContext.from_traceparent(traceparent) is None
    with ptx.start_span("around"), ptx.extract_headers(carrier) as extracted:
        assert (extracted.is_valid, extracted.span_context) == (False, None)
        assert current() == (None, None)
        ptx.start_span("op").end()
    recording.expect("op")


def test_duplicate_traceparents() -> None:
    """More than one traceparent header is none, also when they agree."""
    pairs = [("traceparent", REMOTE)]
    assert ptx.extract_context(pairs) is not None
    assert ptx.extract_context(pairs * 2) is None
    assert ptx.extract_context({"traceparent": REMOTE, "Traceparent": REMOTE}) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a=1,b=2"], "a=1,b=2"),
        (["a=1", "b=2"], "a=1,b=2"),
        (["a=1,", "", " \t,,b=2"], "a=1,b=2"),
        ([" a=1 ,\tb=2\t"], "a=1,b=2"),
        (["a=1,b=2,a=3"], "a=1,b=2"),
        (["a=1", "a=1"], "a=1"),
        (["a= 1"], "a= 1"),
        (["0a=1,a-b_c*d/e@f=1"], "0a=1,a-b_c*d/e@f=1"),
        (["t@v@w=1"], "t@v@w=1"),
        (["a=~!#$%&'()*+-./:;<>?@[]^_`{|}"], "a=~!#$%&'()*+-./:;<>?@[]^_`{|}"),
        (["k" * 256 + "=" + "v" * 200], "k" * 256 + "=" + "v" * 200),
        (["k" * 257 + "=v"], ""),
        (["a=" + "v" * 256], "a=" + "v" * 256),
        (["a=" + "v" * 257], ""),
        (["A=1"], ""),
        (["_a=1"], ""),
        (["a=1,b"], ""),
        (["a=1,=2"], ""),
        (["a="], ""),
        (["a=1=2"], ""),
        (["a=\u00e9"], ""),
        (["a=\t1"], ""),
        (["a=1;b"], "a=1;b"),
        (["a=1;b=2"], ""),
        ([",".join(f"k{n}=v" for n in range(32))], ",".join(f"k{n}=v" for n in range(32))),
        ([",".join(f"k{n}=v" for n in range(33))], ""),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_tracestate(values: list[str], expected: str) -> None:
    """Headers are combined in order; an invalid member, or too many, invalidates all of it, never the traceparent."""
    assert state(*values) == expected


def test_tracestate_limit() -> None:
    """Of more than 512 characters the large members go first, then the last ones; always whole ones."""
    members = [f"k{n}={'v' * 60}" for n in range(7)]
    large = f"large={'v' * 130}"
    assert state(",".join([members[0], large, *members[1:]])) == ",".join(members)
    more = [f"l{n}={'v' * 60}" for n in range(7)]
    assert state(",".join([*members, *more])) == ",".join([*members, more[0]])


def test_tracestate_reaches_children_and_the_wire(recording: Recording) -> None:
    """It is inherited by the whole trace, sent with every span and propagated."""
    headers: dict[str, str] = {}
    extracted = ptx.extract_headers({"traceparent": REMOTE, "tracestate": "a=1,b=2"})
    with extracted, ptx.start_span("server") as server, ptx.start_span("op"):
        ptx.inject_headers(headers)
        ptx.record_span("recorded", ptx.now(), ptx.now(), span_context=ptx.new_context())
    assert headers["tracestate"] == "a=1,b=2"
    remote = {"trace_id": REMOTE_TRACE, "parent_span_id": REMOTE_SPAN}
    recording.expect("server", trace_state="a=1,b=2", flags=0x301, **remote)
    recording.expect("op", server, trace_state="a=1,b=2", flags=0x101)
    assert recording.span("recorded")["trace_state"] == "a=1,b=2"


def test_random_flag(recording: Recording) -> None:
    """Our trace ids are random and say so; a remote trace's flag is kept as it came."""
    for given, sent in (("01", 1), ("03", 3)):
        with ptx.extract_headers({"traceparent": REMOTE[:-2] + given}), ptx.start_span(f"op{given}") as span:
            assert span.context.trace_flags == sent
        assert recording.span(f"op{given}")["flags"] == 0x300 | sent
    assert ptx.start_span("root").context.trace_flags == 3


class Headers(Mapping[str, str]):
    """As Starlette's: bytes pairs inside, look-up in any case, `items()` with repetitions."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self.raw = raw

    def __getitem__(self, key: str) -> str:
        return next(v.decode() for k, v in self.raw if k.decode() == key.lower())

    def __iter__(self) -> Iterator[str]:
        return iter([key.decode() for key, _ in self.raw])

    def __len__(self) -> int:
        return len(self.raw)

    def items(self) -> Any:
        return [(key.decode(), value.decode()) for key, value in self.raw]


RAW = [(b"host", b"x"), (b"traceparent", REMOTE.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
CARRIERS: list[Any] = [
    {"traceparent": REMOTE, "tracestate": "a=1,b=2"},
    {"TraceParent": REMOTE, "TRACESTATE": "a=1,b=2"},
    {"traceparent": [REMOTE], "tracestate": ["a=1", "b=2"]},
    {b"Traceparent": REMOTE.encode(), b"tracestate": b"a=1,b=2", 5: 6, "x": None},
    RAW,
    tuple(RAW),
    [[name.decode().title(), value.decode()] for name, value in RAW],
    [None, (), ("traceparent",), 5, *RAW],
    Headers(RAW),
]


@pytest.mark.parametrize("carrier", [*CARRIERS, iter(RAW)], ids=lambda carrier: type(carrier).__name__)
def test_carriers(carrier: Any) -> None:
    """Any mapping or iterable of pairs, of str or bytes, names in any case; what else is in it is skipped."""
    assert ptx.extract_context(carrier) == ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, "a=1,b=2")


class Raising:
    """Raises what it is told to wherever a carrier is touched."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def items(self) -> Any:
        raise self.error

    def __setitem__(self, key: str, value: str) -> None:
        raise self.error


@pytest.mark.parametrize("carrier", [None, 5, "text", object(), {}, [], Raising(OSError())], ids=repr)
def test_odd_carriers(recording: Recording, carrier: Any) -> None:
    """What holds no headers gives no context, and takes none; nothing raises."""
    assert ptx.extract_context(carrier) is None
    with ptx.start_span("op"):
        with ptx.extract_headers(carrier) as extracted:
            assert not extracted.is_valid
        ptx.inject_headers(carrier)


def test_an_interrupt_in_a_carrier_passes(recording: Recording) -> None:
    """A KeyboardInterrupt out of a carrier's code is not swallowed."""
    carrier: Any = Raising(KeyboardInterrupt())
    for call in (ptx.extract_context, ptx.extract_headers):
        with pytest.raises(KeyboardInterrupt):
            call(carrier)
    with ptx.start_span("op"), pytest.raises(KeyboardInterrupt):
        ptx.inject_headers(carrier)


def test_inject(recording: Recording) -> None:
    """Into a dict; the rest of it stays, and without a tracestate there is no such header."""
    with ptx.start_span("op") as span:
        headers = {"kept": "1", "traceparent": "old"}
        ptx.inject_headers(headers)
    assert headers == {"kept": "1", "traceparent": f"00-{span.trace_id()}-{span.span_id()}-03"}
    assert headers["traceparent"] == span.context.traceparent


def test_inject_into_lists(recording: Recording) -> None:
    """A list gets pairs appended: of bytes when it holds such (ASGI)."""
    context = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1, "a=1")
    empty: list[Any] = []
    ptx.inject_headers(empty, context)
    assert empty == [("traceparent", REMOTE), ("tracestate", "a=1")]
    raw: list[Any] = [(b"host", b"x")]
    ptx.inject_headers(raw, context)
    assert raw == [(b"host", b"x"), (b"traceparent", REMOTE.encode()), (b"tracestate", b"a=1")]


def test_inject_of_nothing(recording: Recording) -> None:
    """Without a current context nothing is written."""
    headers: dict[str, str] = {}
    ptx.inject_headers(headers)
    ptx.inject_headers(headers, ptx.current_span())
    ptx.inject_headers(headers, "nonsense")  # type: ignore[arg-type]
    assert headers == {}


def test_inject_another_context(recording: Recording) -> None:
    """`context` is a Span or a SpanContext instead of the current one."""
    span = ptx.start_span("other", activate=False)
    with ptx.start_span("current"):
        for context in (span, span.context):
            headers: dict[str, str] = {}
            ptx.inject_headers(headers, context=context)
            assert headers == {"traceparent": span.context.traceparent}


def test_extract_activates_at_the_call(recording: Recording) -> None:
    """`extract_headers` is current at once and until restore(), which may be called again."""
    extracted = ptx.extract_headers({"traceparent": REMOTE})
    assert extracted.is_valid and extracted.span_context is not None
    assert (current(), ids(extracted.span_context)) == (REMOTE_IDS, REMOTE_IDS)
    assert not ptx.current_span().is_recording()
    extracted.restore()
    extracted.restore()
    ptx.restore_context(extracted)
    assert current() == (None, None)


def test_nested_extracts(recording: Recording) -> None:
    """Each restores what was before it, around spans too; one that is not on top leaves the rest alone."""
    with ptx.start_span("outer") as outer:
        first = ptx.extract_headers({"traceparent": REMOTE})
        second = ptx.extract_headers({})
        assert current() == (None, None)
        ptx.restore_context(second)
        assert current() == REMOTE_IDS
        first.restore()
        assert current() == ids(outer)


def test_restored_below_an_open_span(recording: Recording) -> None:
    """restore() brings back what was before though spans are open above; they make nothing current when they end."""
    extracted = ptx.extract_headers({"traceparent": REMOTE})
    a, b = ptx.start_span("a"), ptx.start_span("b")
    extracted.restore()
    assert current() == (None, None)
    b.end()
    a.end()
    assert current() == (None, None)


@pytest.mark.parametrize("odd", [None, "token", 5, object()])
def test_restore_of_what_is_no_token(recording: Recording, odd: Any) -> None:
    """What is no token of ours is ignored."""
    with ptx.start_span("op") as span:
        ptx.restore_context(odd)
        assert current() == ids(span)


def test_a_finalizer_uses_the_context_that_is_being_restored(recording: Recording) -> None:
    used: list[Any] = []

    class Late:
        def __del__(self) -> None:
            used.append(ptx.start_span("late", parent=extracted, activate=False))
            used.append(ptx.record_span("late", 1, 2, parent=extracted))
            used.append({})
            ptx.inject_headers(used[-1], extracted)
            extracted.restore()

    for _ in range(20):  # spans that a broken one is made from have had attributes
        ptx.start_span("before", {"a": "b" * 100}, parent=ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN)).end()
    late = Late()
    with ptx.use_span(late):  # type: ignore[type-var]
        extracted = ptx.extract_headers({"traceparent": REMOTE})
    del late
    extracted.restore()
    span, context, headers = used
    assert span.trace_id() == context.trace_id == REMOTE_TRACE
    assert headers == {"traceparent": REMOTE}
    span.end()


def test_extract_context_activates_nothing(recording: Recording) -> None:
    """`extract_context` gives a context, e.g. for `parent=`."""
    context = ptx.extract_context({"traceparent": REMOTE})
    assert context is not None and context.is_remote
    assert current() == (None, None)
    ptx.start_span("op", parent=context).end()
    recording.expect("op", trace_id=REMOTE_TRACE, parent_span_id=REMOTE_SPAN, flags=0x301)


def test_baggage_passes_through(recording: Recording) -> None:
    """All baggage headers travel on, with or without a trace, and stop at restore."""
    with ptx.extract_headers([("baggage", "a=1;p=2"), ("Baggage", "b=%20x")]):
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
        assert headers == {"baggage": "a=1;p=2,b=%20x"}
        with ptx.start_span("op"):
            ptx.inject_headers(headers)
            assert sorted(headers) == ["baggage", "traceparent"]
    after: dict[str, str] = {}
    ptx.inject_headers(after)
    assert after == {}


@pytest.mark.parametrize("evil", ["a=1\r\nx: y", "a=\0", "a=\n", "a=é"])
def test_baggage_cannot_smuggle_headers(recording: Recording, evil: str) -> None:
    """Members that no header may hold are left out; the rest travels on, bounded."""
    many = ",".join(f"k{n}=v" for n in range(1000))
    with ptx.extract_headers([("baggage", f"first=1,{evil}"), ("baggage", many), ("baggage", "x" * 10_000)]):
        headers: dict[str, str] = {}
        ptx.inject_headers(headers)
    members = headers["baggage"].split(",")
    assert members == ["first=1", *many.split(",")[: len(members) - 1]]
    assert 64 < len(members) <= 180


@pytest.mark.parametrize(
    ("propagators", "names"),
    [
        ("tracecontext", ["traceparent"]),
        ("baggage", ["baggage"]),
        ("none", []),
        ("", ["baggage", "traceparent"]),
    ],
)
def test_otel_propagators(run_python: RunPython, propagators: str, names: list[str]) -> None:
    """OTEL_PROPAGATORS says which headers are read, and which are written."""
    code = f"""
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http")]))
        out = {{}}
        with ptx.extract_headers({{"traceparent": "{REMOTE}", "baggage": "a=1"}}) as extracted:
            current = ptx.current_trace_context()["trace_id"]
            with ptx.start_span("op"):
                ptx.inject_headers(out)
        answer([extracted.is_valid, current, sorted(out)])
    """
    valid = "traceparent" in names
    answer = run_python(code, env={"OTEL_PROPAGATORS": propagators}).answer
    assert answer == [valid, REMOTE_TRACE if valid else None, names]
