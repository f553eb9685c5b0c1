"""As much of SGLang 0.5.23's scheduler as its integration touches, with the real names and signatures; overlapped:
a batch's result is processed after the next batch has run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class FinishLength:
    def to_json(self) -> dict[str, Any]:
        return {"type": "length", "length": 1}


class Req:
    def __init__(self, rid: str, prompt: int, max_new_tokens: int, trace_context: Any = None) -> None:
        self.rid, self.origin_input_ids, self.output_ids = rid, [1] * prompt, []
        self.sampling_params = SimpleNamespace(max_new_tokens=max_new_tokens, temperature=0.5, top_p=1.0)
        self.time_stats = SimpleNamespace(trace_ctx=trace_context or SimpleNamespace(tracing_enable=False))
        self.finished_reason: FinishLength | None = None


class ForwardMode:
    def __init__(self, extend: bool) -> None:
        self.extend = extend

    def is_extend(self) -> bool:
        return self.extend


class ScheduleBatch:
    def __init__(self, reqs: list[Req], extend: bool) -> None:
        self.reqs, self.forward_mode = reqs, ForwardMode(extend)
        self.extend_lens = [len(req.origin_input_ids) for req in reqs] if extend else None
        self.forward_iter: int | None = None

    def copy(self) -> ScheduleBatch:
        other = ScheduleBatch(self.reqs[:], self.forward_mode.extend)
        other.forward_iter = self.forward_iter
        return other


class Scheduler:
    def __init__(self) -> None:
        self.server_args = SimpleNamespace(served_model_name="qwen", model_path="/models/qwen")
        self.waiting_queue: list[Req] = []
        self.running: list[Req] = []
        self.forward_ct = 0

    def _add_request_to_queue(self, req: Req, is_retracted: bool = False) -> None:
        self.waiting_queue.append(req)

    def run_batch(self, batch: ScheduleBatch, pp_proxy_tensors: Any = None) -> str:
        self.forward_ct += 1
        batch.forward_iter = self.forward_ct
        return "result"

    def process_batch_result(self, batch: ScheduleBatch, result: Any) -> None:
        for req in batch.reqs:
            if req.finished_reason is None:
                req.output_ids.append(7)
                if len(req.output_ids) >= req.sampling_params.max_new_tokens:
                    req.finished_reason = FinishLength()

    def _release_aborted_request(self, req: Req) -> None:
        self.waiting_queue.remove(req)

    def on_idle(self) -> None:
        pass

    def event_loop_overlap(self) -> None:
        """Until nothing is left."""
        last: ScheduleBatch | None = None
        while True:
            self.running = [req for req in self.running if req.finished_reason is None]
            new, self.waiting_queue = self.waiting_queue, []
            batch = ScheduleBatch(new or self.running[:], bool(new))
            self.running += new
            result = self.run_batch(batch) if batch.reqs else None
            if last is not None:
                self.process_batch_result(last, "result")
            elif result is None:
                return self.on_idle()
            last = batch.copy() if result else None
