"""Any object in every other place: names, events, links, status, baggage, headers, resources, generations, steps."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import REMOTE, REMOTE_SPAN, REMOTE_TRACE, Recording, quietly
from values import (
    Lying,
    Raising,
    as_json,
    attributes,
    hostile,
    keys,
    leaves,
    mapped_attributes,
    objects,
    text,
    texts,
    values,
)

import pytracingx as ptx

LINKED = ptx.SpanContext(REMOTE_TRACE, REMOTE_SPAN, 1)
# Also contexts, and what is nearly a list of links.
anything = st.one_of(values, objects, st.just(LINKED))
simple = st.one_of(leaves, objects, st.just(LINKED), st.lists(leaves, max_size=2))
links = st.one_of(
    st.lists(
        st.one_of(anything, st.tuples(st.just(LINKED), attributes), st.tuples(anything, anything)), max_size=4
    ),
    anything,
)


def newly(recording: Recording) -> Iterator[dict[str, Any]]:
    """The spans of the requests since the last look."""
    seen = getattr(recording, "seen", 0)
    assert ptx.force_flush()
    requests = recording.collector.requests[seen:]
    recording.seen = seen + len(requests)  # type: ignore[attr-defined]
    return itertools.chain.from_iterable(request.spans for request in requests)


@hostile
@given(anything, anything, anything, attributes, anything, links)
def test_any_argument_of_a_span(
    recording: Recording, name: Any, event: Any, description: Any, given: Any, odd: Any, several: Any
) -> None:
    """What a span and its calls are given, in place of anything."""
    with ptx.start_span(name, parent=odd, links=several, start_time=odd) as span:
        span.update_name(name)
        span.add_event(event, given, odd)
        span.add_link(LINKED, given)
        span.add_link(odd, given)
        span.record_exception(odd, odd, attributes=given)
        span.set_status("error", description)
        span.set_attribute(name, odd)
        span.set_attributes(odd)
    (sent,) = newly(recording)
    kept, dropped = mapped_attributes(given)
    assert sent["name"] == text(name)
    first = sent["events"][0]
    assert (first["name"], first["dropped_attributes_count"]) == (text(event), dropped)
    assert as_json(first["attributes"]) == as_json(kept)
    assert sent["status"] == {"code": "error", "message": "" if description is None else text(description)}
    assert all((link["trace_id"], link["span_id"]) == (REMOTE_TRACE, REMOTE_SPAN) for link in sent["links"])
    by_call = [link for link in sent["links"] if link["dropped_attributes_count"] == dropped]
    assert any(as_json(link["attributes"]) == as_json(kept) for link in by_call)
    assert sent["start_time_unix_nano"] <= sent["end_time_unix_nano"]


@hostile
@given(anything, anything, attributes, anything, links)
def test_any_argument_of_a_finished_span(
    recording: Recording, name: Any, start: Any, given: Any, odd: Any, several: Any
) -> None:
    """The same in one call, where only an unknown choice raises."""
    ptx.record_span(name, start, odd, given, parent=odd, links=several, span_context=odd)
    for call in (
        lambda: ptx.record_span("op", 1, 2, kind=odd),
        lambda: ptx.record_span("op", 1, 2, status=odd),
        lambda: ptx.start_span("op", kind=odd).end(),
    ):
        quietly(call, TypeError, ValueError)
    sent = next(newly(recording))
    kept, dropped = mapped_attributes(given)
    assert (sent["name"], sent["dropped_attributes_count"]) == (text(name), dropped)
    assert as_json(sent["attributes"]) == as_json(kept)
    assert sent["start_time_unix_nano"] <= sent["end_time_unix_nano"]


TOKEN = set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
baggage_values = st.one_of(texts, st.integers(), st.floats(), st.booleans(), st.none())


@hostile
@given(st.dictionaries(texts | keys, baggage_values | anything, max_size=8))
def test_any_baggage(recording: Recording, given: dict[Any, Any]) -> None:
    """What a header can hold comes back from one as it was given; the rest is left out, and the header is one line."""
    carrier: dict[str, str] = {}
    with ptx.baggage(given):
        ptx.inject_headers(carrier)
    header = carrier.get("baggage", "")
    assert header.isascii() and (header.isprintable() or not header)
    with ptx.extract_headers(carrier):
        found = ptx.get_baggage()
    expected = {
        str.__str__(key): text(str.__str__(value) if isinstance(value, str) else str(value))
        for key, value in given.items()
        if isinstance(key, str) and key and set(key) <= TOKEN and (type(value) in (str, int, float, bool))
    }
    assert expected.items() <= found.items()
    assert len(found) <= len(given)


@hostile
@given(anything, anything)
def test_anything_as_baggage(recording: Recording, given: Any, value: Any) -> None:
    """What is no mapping is none."""
    with ptx.baggage(given, key=value), ptx.start_span("op"):
        assert all(isinstance(each, str) for each in (*ptx.get_baggage(), *ptx.get_baggage().values()))


names = st.sampled_from(
    ["traceparent", "TraceParent", b"traceparent", "tracestate", "baggage", b"Baggage", b"\xff", "x"]
)
lines = st.one_of(
    st.binary(max_size=80),
    texts,
    st.sampled_from(
        [REMOTE, REMOTE.encode(), REMOTE + "-\0", "a=1,b=2", "k=v;p=1", "k=%ff%zz", b"a=\r\nx: y", ","]
    ),
    leaves,
    st.lists(st.binary(max_size=9) | texts, max_size=3),
)
pairs = st.lists(st.tuples(names | leaves, lines) | anything, max_size=8)
carriers = st.one_of(
    pairs,
    pairs.map(iter),
    st.dictionaries(names, lines, max_size=5),
    st.builds(types.MappingProxyType, st.dictionaries(names, lines, max_size=5)),
    st.builds(Lying, st.dictionaries(names, lines, max_size=5)),
    anything,
)


@hostile
@given(carriers)
def test_any_carrier(recording: Recording, carrier: Any) -> None:
    """Whatever headers come in, what goes out is valid and names a trace that came in, or none."""
    with ptx.extract_headers(carrier):
        out: dict[str, str] = {}
        ptx.inject_headers(out)
        for value in out.values():
            assert value.isascii() and value.isprintable()
        if "traceparent" in out:
            assert out["traceparent"][:52] == REMOTE[:52]
        assert len(out.get("tracestate", "")) <= 512 and len(out.get("baggage", "")) <= 8192
        again: dict[str, str] = {}
        with ptx.extract_headers(out):
            ptx.inject_headers(again)
        assert again == out
    ptx.extract_context(carrier)
    with ptx.use_span(LINKED):
        ptx.inject_headers(carrier)


def test_endless_carriers() -> None:
    """Headers beyond a number that no request has are not read."""
    endless: Any = itertools.repeat(("x", "y"))
    assert ptx.extract_context(endless) is None
    with ptx.extract_headers(itertools.repeat(("baggage", "k=v"))):
        assert ptx.get_baggage() == {"k": "v"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", ["pair", "name", "baggage value"])
def test_an_interrupt_in_a_header_passes(error: type[BaseException], place: str) -> None:
    """Out of whatever is asked of a carrier's parts."""

    class Pair(list):  # type: ignore[type-arg]
        def __getitem__(self, index: Any) -> Any:
            raise error

    class Count(int):
        def __str__(self) -> str:
            raise error

    with pytest.raises(error):
        if place == "pair":
            ptx.extract_headers([Pair()])  # type: ignore[list-item]
        elif place == "name":
            ptx.extract_context([Pair("ab")])  # type: ignore[list-item]
        else:
            ptx.baggage(k=Count())


resource_scalars = st.one_of(
    texts, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)
)
resources = st.dictionaries(
    texts.filter(bool),
    st.one_of(resource_scalars, st.lists(resource_scalars, max_size=3), st.none()),
    max_size=5,
)


def test_any_resource(recording: Recording) -> None:
    """What is documented is sent; whatever else raises, with the argument's name."""

    @hostile
    @given(st.one_of(resources, st.dictionaries(keys, values, max_size=3), attributes))
    def any_resource(given: Any) -> None:
        config = quietly(lambda: ptx.Config("svc", given, sinks=[recording.sink()]), TypeError, ValueError)
        if isinstance(config, Exception):
            assert "resource_attributes" in "".join((str(config), *getattr(config, "__notes__", ())))
            return
        if given is None or isinstance(given, Lying):  # which says here that it holds nothing
            return
        said = config.describe()["resource_attributes"]
        for key, value in mapped_attributes(given).kept.items():
            if key != "service.name":
                assert as_json(said[key]) == as_json(value), key

    any_resource()


@hostile
@given(st.lists(simple, min_size=12, max_size=12), attributes)
def test_any_generation(recording: Recording, odd: list[Any], given: Any) -> None:
    """Every field of a generation and its stages; only an unknown choice raises."""
    with ptx.generation(
        odd[0],
        model=odd[1],
        provider=odd[2],
        input_tokens=odd[3],
        parent=odd[4],
        start_time=odd[5],
        attributes=given,
    ) as generation:
        generation.token()
        generation.tokens(odd[6])
        generation.tokens_at(odd[7])
        generation.stage(odd[8], odd[9], odd[10], given)
        generation.end(
            odd[11],
            attributes=given,
            end_time=odd[0],
            error=odd[1],
            input_tokens=odd[2],
            output_tokens=odd[3],
        )
    for choice in ("kind", "detail", "semconv"):
        quietly(lambda choice=choice: ptx.generation("x", **{choice: odd[0]}), TypeError, ValueError)
    sent = {bool(span["parent_span_id"]): span for span in newly(recording) if span["name"] != "x"}
    assert len(sent) >= 1
    kept = mapped_attributes(given).kept
    for span in sent.values():
        assert as_json({key: span["attributes"].get(key) for key in kept}) == as_json(kept)
        assert span["start_time_unix_nano"] <= span["end_time_unix_nano"]


@hostile
@given(st.lists(simple, min_size=9, max_size=9), attributes)
def test_any_step(recording: Recording, odd: list[Any], given: Any) -> None:
    """Every field of a step, at its beginning and later."""
    fields = (
        "batch_size",
        "scheduled_tokens",
        "kv_cache_usage",
        "preemptions",
        "prefix_cache_queries",
        "prefix_cache_hits",
    )
    try:
        recorder = ptx.step_recorder(odd[0], spans=odd[1], attributes=given)
    except ValueError as error:  # an argument that is not recorded
        assert str(error).startswith("spans: ")
        recorder = ptx.step_recorder(odd[0], attributes=given)
    with recorder(waiting=odd[2], **dict(zip(fields, odd[3:]))) as step:
        step.set(**dict(zip(fields, odd[2:])))
    with ptx.step_recorder(odd[0], attributes=given)():
        pass
    sent = list(newly(recording))
    name = "" if odd[0] is None else text(odd[0])
    assert sent and all(span["name"] == name for span in sent)


def test_raising_mappings(recording: Recording) -> None:
    """Mappings whose methods raise are none, wherever attributes are taken."""

    class Odd(dict):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            raise ValueError("no keys")

        keys = items = __iter__

    bad: Any = Odd(a=1)
    with ptx.start_span("op", bad) as span:
        span.set_attributes(bad)
        span.add_event("e", bad)
        span.set_attribute("k", bad)
        span.set_attribute("raising", Raising())
    sent = recording.span("op")
    assert (sent["attributes"], sent["dropped_attributes_count"]) == ({"k": "Odd", "raising": "Raising"}, 2)
    assert sent["events"][0]["dropped_attributes_count"] == 1


def test_names_of_scopes_take_any_text() -> None:
    """A lone surrogate, too; what is no text is told."""
    for make in (ptx.get_tracer, ptx.get_meter, ptx.get_logger):
        assert make("\ud800", "\udfff")
        with pytest.raises(TypeError):
            make(5)  # type: ignore[arg-type]


def test_an_entry_of_headers_is_named_and_its_value_is_not() -> None:
    with pytest.raises(TypeError, match=r"str to str, got 'authorization' \(str\) with a value of bytes"):
        ptx.TraceSink("http://c:4318", headers={"authorization": b"c4n4ry"})  # type: ignore[dict-item]
