"""stats(), and our lines on stderr: every record is accounted for, and no loss is silent."""

from __future__ import annotations

from typing import Any

from conftest import RunPython
from faults import hung
from otlp_server import Answer, OtlpServer, closed_port


def books(sink: dict[str, Any]) -> int:
    return int(sink["exported"] + sum(sink["dropped"].values()) + sink["held_records"])


def test_stats(collector: OtlpServer, run_python: RunPython) -> None:
    collector.answer_next(Answer(400), Answer(200))
    with hung() as bad:
        done = run_python(
            """
            sinks = [ptx.TraceSink(endpoint + "/v1/traces?token=canary"), ptx.TraceSink(sys.argv[1], sampler="always_off"),
                     ptx.TraceSink(sys.argv[1], batch_max_export=10)]
            ptx.init(ptx.Config("svc", sinks=sinks, diagnostics="off"))
            for count in 10, 20:
                for _ in range(count): ptx.start_span("op").end()
                ptx.force_flush(200)
            ptx.start_span("bad times", start_time=1.5).end()
            ptx.start_span("abandoned", activate=False)
            ptx.force_flush(200)
            seen = [ptx.stats()]
            ptx.shutdown(200)
            seen.append(ptx.stats())
            answer(seen)
            """,
            bad,
        )
    before, after = done.answer
    assert before["spans"] == {"recorded": 32, "dropped": {}, "abandoned": 1}
    assert before["unusable_times"] == 1
    assert before["exporter_restarts"] == 0
    assert before["lanes"]["lanes"] == 1 and before["lanes"]["bytes"] <= before["lanes"]["bytes_max"]
    assert before["console"] == {"entries": 0, "dropped": 0}
    first, second, third = before["trace_sinks"]
    assert set(first) == {
        *(
            "endpoint",
            "state",
            "wanted",
            "exported",
            "dropped",
            "held_records",
            "held_records_max",
            "held_bytes",
        ),
        *(
            "held_bytes_max",
            "requests",
            "retried",
            "body_bytes",
            "sent_bytes",
            "failures_in_a_row",
            "last_error",
        ),
    }
    assert first["endpoint"] == f"{collector.endpoint}/…"
    assert (first["wanted"], first["exported"], first["dropped"]) == (32, 22, {"refused": 10})
    assert "400" in first["last_error"] and "canary" not in str(done.answer)
    assert (second["wanted"], second["requests"]) == (0, 0)
    assert (third["wanted"], third["exported"], third["held_records"]) == (32, 0, 32)
    assert third["state"] == "sending" and third["held_bytes"] > 0
    # What a session lost at its end can be read until the next one begins.
    assert after["spans"] == before["spans"]
    assert after["trace_sinks"][2]["dropped"] == {"shutdown": 32}
    for sink in before["trace_sinks"] + after["trace_sinks"]:
        assert sink["wanted"] == books(sink)


def test_a_loss_is_told_when_it_begins_and_when_it_ends(collector: OtlpServer, run_python: RunPython) -> None:
    collector.default_answer = Answer(400)
    code = """
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(endpoint + "/path-with-token")], diagnostics=sys.argv[1]))
        for _ in range(3):
            ptx.start_span("op").end()
            assert ptx.force_flush() is True  # refused for good
        assert ptx.shutdown() is True
    """
    lines = run_python(code, "warn").stderr.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith(f"pytracingx: losing spans for {collector.endpoint}/…: refused: ")
    assert lines[1] == f"pytracingx: lost 3 spans for {collector.endpoint}/…: refused"
    assert run_python(code, "off").stderr == ""


def test_an_endpoint_out_of_reach_is_told_once(run_python: RunPython) -> None:
    done = run_python(
        """
        ptx.init(ptx.Config("svc", sinks=[ptx.TraceSink(sys.argv[1])]))
        ptx.start_span("op").end()
        for _ in range(6):
            assert ptx.force_flush(100) is False
        assert ptx.shutdown(100) is False
        """,
        f"http://127.0.0.1:{closed_port()}/v1/traces",
    )
    lines = done.stderr.splitlines()
    assert len([line for line in lines if "cannot export spans to" in line]) == 1, lines
    assert lines[-1].endswith("lost 1 spans for " + lines[0].split(" ")[5].rstrip(":") + ": shutdown"), lines
