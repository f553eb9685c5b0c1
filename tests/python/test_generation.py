"""Generations: what ends one, and how; its span and metrics; prompts stay where they are unless somebody says otherwise."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import RunPython
from generations import (
    CONTENT,
    MS,
    START,
    TPOT,
    TTFT,
    Session,
    seconds,
)
from otlp_server import OtlpServer

import pytracingx as ptx
from pytracingx.testing import capture

# ------------------------------------------------------------------------------------------------ how it ends


def test_an_exception(session: Session) -> None:
    with pytest.raises(TimeoutError), ptx.generation(input_tokens=3) as generation:
        generation.token()
        generation.token()
        raise TimeoutError("too slow")
    span = session.span()
    assert span["status"] == {"code": "error", "message": "too slow"}
    assert span["attributes"]["error.type"] == "TimeoutError"
    (event,) = span["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "TimeoutError"
    assert "raise TimeoutError" in event["attributes"]["exception.stacktrace"]
    duration = session.point("gen_ai.server.request.duration")
    assert duration["attributes"] == {"gen_ai.operation.name": "chat", "error.type": "TimeoutError"}
    # Latencies are those of successful responses; tokens were used all the same.
    assert session.metric_names().isdisjoint(
        {
            f"gen_ai.server.{name}"
            for name in ("time_to_first_token", "time_per_output_token", "inter_token_latency")
        }
    )
    assert session.point("gen_ai.server.output_tokens")["value"] == 2


@pytest.mark.parametrize(("error", "class_name"), [("rate_limited", "rate_limited"), (True, "_OTHER")])
def test_an_error_without_exception(session: Session, error: Any, class_name: str) -> None:
    ptx.generation().end(error=error)
    assert session.span()["status"] == {"code": "error", "message": ""}
    assert session.span()["attributes"]["error.type"] == class_name
    assert session.span()["events"] == []


def test_cancelled_in_the_middle(session: Session) -> None:
    async def stream() -> None:
        async with ptx.generation() as generation:
            generation.token()
            generation.token()
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(stream())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    span = session.span()
    assert span["status"]["code"] == "unset"
    assert [event["name"] for event in span["events"]] == ["cancelled"]
    assert span["attributes"]["gen_ai.usage.output_tokens"] == 2
    assert session.point("gen_ai.server.time_to_first_token")["count"] == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_failure(session: Session, error: type[BaseException]) -> None:
    with pytest.raises(error), ptx.generation():
        raise error
    assert session.span()["status"]["code"] == "unset"
    assert session.span()["events"] == []


def test_an_interrupt_while_it_ends(session: Session) -> None:
    class Interrupting:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    generation = ptx.generation()
    with pytest.raises(KeyboardInterrupt):
        generation.end(attributes={"k": Interrupting()})
    assert session.span()["attributes"] == {"gen_ai.operation.name": "chat", "gen_ai.usage.output_tokens": 0}


# ------------------------------------------------------------------------------------------------ the span


def test_its_place_in_the_trace(session: Session) -> None:
    """The current span is the default parent and stays current; children and headers by `context`."""
    with ptx.start_span("ambient") as ambient, ptx.generation(model="m") as generation:
        assert ptx.current_span() is ambient
        headers: dict[str, str] = {}
        ptx.inject_headers(headers, generation.context)
        with ptx.start_span("child", parent=generation), ptx.use_span(generation):
            ptx.start_span("used").end()
    other = ptx.new_context()
    ptx.generation("told", parent=other, kind="internal").end()
    below = ptx.generation("below", parent=generation)
    below.stage("prefill", START, START + 5 * MS, {"tokens": 3})
    below.end()
    span = session.span("chat m")
    assert span["kind"] == "server"
    assert span["parent_span_id"] == ambient.span_id()
    assert span["scope"] == {"name": "pytracingx.llm", "version": ptx.__version__}
    assert headers["traceparent"] == generation.context.traceparent
    assert generation.context.span_id == span["span_id"]
    for name in ("child", "used", "below"):
        assert session.span(name)["parent_span_id"] == span["span_id"]
        assert session.span(name)["trace_id"] == ambient.trace_id()
    told = session.span("told")
    assert (told["trace_id"], told["parent_span_id"], told["kind"]) == (
        other.trace_id,
        other.span_id,
        "internal",
    )
    stage = session.span("prefill")
    assert stage["parent_span_id"] == session.span("below")["span_id"]
    assert stage["end_time_unix_nano"] - stage["start_time_unix_nano"] == 5 * MS
    assert stage["attributes"] == {"tokens": 3}


def test_names_and_attributes(session: Session) -> None:
    generation = ptx.generation(
        "llm_request",
        operation="chat",
        model="qwen",
        provider="vllm",
        attributes={"gen_ai.request.top_p": 0.9, "seed": 1, "tags": ["a"]},
    )
    generation.end("length", attributes={"seed": 2, "gen_ai.usage.input_tokens": 77}, output_tokens=9)
    attributes = session.span("llm_request")["attributes"]
    assert attributes.pop("gen_ai.response.tokens_per_second") > 0
    assert attributes == {
        **{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "qwen"},
        **{"gen_ai.request.top_p": 0.9, "seed": 2, "tags": ["a"], "gen_ai.usage.input_tokens": 77},
        **{"gen_ai.usage.output_tokens": 9, "gen_ai.response.finish_reasons": ["length"]},
    }
    labels = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": "qwen"}
    assert session.point("gen_ai.server.request.duration")["attributes"] == labels
    assert session.point("gen_ai.server.output_tokens")["value"] == 9


@pytest.mark.parametrize("semconv", ["legacy", "both"])
def test_the_names_of_the_engines(session: Session, semconv: Any) -> None:
    generation = ptx.generation(provider="vllm", input_tokens=5, start_time=START, semconv=semconv)
    for name, milliseconds in [("queue", 1), ("prefill", 10), ("decode", 30), ("decode", 2)]:
        generation.stage(name, START, START + milliseconds * MS)
    generation.tokens_at([START + 20 * MS])
    generation.end(end_time=START + 50 * MS)
    attributes = session.span()["attributes"]
    old = {
        **{"gen_ai.system": "vllm", "gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.completion_tokens": 1},
        "gen_ai.latency.e2e": seconds(50 * MS),
        "gen_ai.latency.time_to_first_token": seconds(20 * MS),
        "gen_ai.latency.time_in_queue": seconds(MS),
        "gen_ai.latency.time_in_model_prefill": seconds(10 * MS),
        "gen_ai.latency.time_in_model_decode": seconds(32 * MS),
        "gen_ai.latency.time_in_model_inference": seconds(42 * MS),
    }
    new = {"gen_ai.provider.name": "vllm", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 1}
    assert {key: attributes.get(key) for key in old} == old
    assert {key: attributes.get(key) for key in new} == (new if semconv == "both" else dict.fromkeys(new))
    provider = "gen_ai.system" if semconv == "legacy" else "gen_ai.provider.name"
    labels = {"gen_ai.operation.name": "chat", provider: "vllm"}
    assert session.point("gen_ai.server.request.duration")["attributes"] == labels


def test_a_client_feeds_the_clients_metrics(session: Session) -> None:
    generation = ptx.generation(kind="client", start_time=START)
    generation.tokens_at([START + 10 * MS, START + 20 * MS])
    generation.end(end_time=START + 30 * MS, input_tokens=11, output_tokens=22)
    assert session.span()["kind"] == "client"
    sums = {
        "gen_ai.client.operation.time_to_first_chunk": 0.01,
        "gen_ai.client.operation.time_per_output_chunk": 0.01,
        "gen_ai.client.operation.duration": 0.03,
    }
    for name, total in sums.items():
        assert session.point(name)["sum"] == pytest.approx(total)
    assert session.metric_names() == {*sums, "gen_ai.client.token.usage"}
    assert session.point("gen_ai.client.token.usage", **{"gen_ai.token.type": "output"})["sum"] == 22
    assert session.span()["attributes"][TPOT] == seconds(10 * MS / 21)


def test_metrics_without_a_sampled_span(session: Session) -> None:
    session.begin("always_off")
    with ptx.generation(detail="events", input_tokens=1) as generation:
        generation.token()
        generation.token()
    assert session.point("gen_ai.server.time_to_first_token")["count"] == 1
    assert session.point("gen_ai.server.inter_token_latency")["exemplars"] == []
    assert session.collector.spans == []


def test_more_attribute_sets_than_are_remembered(session: Session) -> None:
    """Each model keeps its own series, first and second time."""
    models = [f"model-{number}" for number in range(600)]
    for model in [*models, *models]:
        generation = ptx.generation(model=model, input_tokens=1)
        generation.tokens(2)
        generation.tokens(3)
        generation.end()
    assert ptx.force_flush()

    def by_model(name: str, value: str) -> dict[str, int]:
        # One collection, in several requests.
        points = session.collector.points(name, every=True)
        return {point["attributes"]["gen_ai.request.model"]: point[value] for point in points}

    assert by_model("gen_ai.server.inter_token_latency", "count") == dict.fromkeys(models, 2)
    assert by_model("gen_ai.server.request.duration", "count") == dict.fromkeys(models, 2)
    assert by_model("gen_ai.server.output_tokens", "value") == dict.fromkeys(models, 10)


def test_exemplars_lead_to_the_request(session: Session) -> None:
    with ptx.generation() as generation:
        generation.token()
    (exemplar,) = session.point("gen_ai.server.time_to_first_token")["exemplars"]
    context = generation.context
    assert (exemplar["trace_id"], exemplar["span_id"]) == (context.trace_id, context.span_id)


# ------------------------------------------------------------------------------------------------ content


@pytest.mark.parametrize("wanted", [{}, {"capture_content": False}, {"capture_content": 0}])
def test_no_text_leaves_by_default(session: Session, wanted: Any) -> None:
    class Untouchable:
        def __str__(self) -> str:
            raise AssertionError("looked at")

    ptx.generation(**wanted).end(prompt="secret words", completion=Untouchable())
    ptx.get_logger("other").info("arrives")
    assert ptx.force_flush()
    assert [record["body"] for record in session.collector.logs] == ["arrives"]
    assert "secret" not in repr(session.collector.spans)


@pytest.mark.parametrize("semconv", ["latest", "legacy"])
def test_prompt_and_completion(session: Session, semconv: Any) -> None:
    messages = [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
    generation = ptx.generation(capture_content=True, semconv=semconv)
    generation.end(prompt=messages, completion="hi there")
    assert ptx.force_flush()
    record = session.collector.log(CONTENT)
    latest = semconv == "latest"
    assert record["attributes"] == {
        "gen_ai.input.messages" if latest else "gen_ai.prompt": messages,
        "gen_ai.output.messages" if latest else "gen_ai.completion": "hi there",
    }
    assert record["scope"] == "pytracingx.llm.content"
    assert record["severity_number"] == 9
    assert (record["trace_id"], record["span_id"]) == (
        generation.context.trace_id,
        generation.context.span_id,
    )
    assert "hi there" not in repr(session.collector.spans)


def test_content_of_a_share_of_traces(session: Session) -> None:
    """By the ratio test of the samplers: the trace id's low half decides."""
    generations = [ptx.generation(capture_content=0.25) for _ in range(400)]
    for generation in generations:
        generation.end(prompt="p")
    assert ptx.force_flush()
    recorded = {record["trace_id"] for record in session.collector.logs}
    drawn = {generation.context.trace_id for generation in generations}
    assert recorded == {trace for trace in drawn if int(trace[16:], 16) < round(0.25 * 2**64)}
    assert 0 < len(recorded) < 400


def test_the_log_filter_decides_too(session: Session) -> None:
    session.begin(log_filter="info,pytracingx.llm.content=off")
    ptx.generation(capture_content=True).end(prompt="p")
    assert ptx.force_flush()
    assert session.collector.logs == []


@pytest.mark.parametrize(
    ("value", "recorded"),
    [("true", True), ("EVENT_ONLY", True), ("span_only", False), ("false", False), ("nonsense", False)],
)
def test_the_environment(collector: OtlpServer, run_python: RunPython, value: str, recorded: bool) -> None:
    run_python(
        """
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint, "http"), ptx.OtlpLogSink(endpoint, "http")]))
        ptx.generation(provider="p").end(prompt="words")
        ptx.generation("no", capture_content=False).end(prompt="other")
        assert ptx.shutdown()
        """,
        env={
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": value,
            "PYTRACINGX_GEN_AI_SEMCONV": "legacy",
        },
    )
    texts = [record["attributes"] for record in collector.logs]
    assert texts == ([{"gen_ai.prompt": "words"}] if recorded else [])
    assert collector.span("chat")["attributes"]["gen_ai.system"] == "p"


def test_captured() -> None:
    ptx.shutdown()
    with capture(strict=True) as captured:
        with ptx.generation(model="m", start_time=START) as generation:
            generation.tokens_at([START + MS, START + 3 * MS])
            generation.end("stop", end_time=START + 4 * MS)
        assert captured.span("chat m").attributes[TTFT] == seconds(MS)
        labels = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
        assert captured.metric("gen_ai.server.inter_token_latency").point(labels).count == 1
