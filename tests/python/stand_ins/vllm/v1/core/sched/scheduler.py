"""Continuous batching with a token budget, chunked prefill, preemption of the last when `blocks` run out."""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class RequestStatus(enum.Enum):
    UNFINISHED = None
    STOPPED = "stop"
    LENGTH_CAPPED = "length"
    ABORTED = "abort"
    ERROR = "error"


class Request:
    def __init__(
        self,
        request_id: str,
        prompt_token_ids: list[int],
        max_tokens: int,
        trace_headers: Mapping[str, str] | None = None,
    ) -> None:
        self.request_id = request_id
        self.num_prompt_tokens = len(prompt_token_ids)
        self.max_tokens = max_tokens
        self.sampling_params = SimpleNamespace(temperature=0.5, top_p=1.0)
        self.arrival_time = time.time()
        self.trace_headers = trace_headers
        self.num_computed_tokens = 0
        self.num_output_tokens = 0
        self.num_preemptions = 0
        self.status = RequestStatus.UNFINISHED

    def get_finished_reason(self) -> str | None:
        return self.status.value


@dataclass
class SchedulerOutput:
    @classmethod
    def make_empty(cls) -> SchedulerOutput:
        return cls([], {}, 0, None)

    scheduled_new_reqs: list[Any]
    num_scheduled_tokens: dict[str, int]
    total_num_scheduled_tokens: int
    preempted_req_ids: set[str] | None
    finished_req_ids: set[str] = field(default_factory=set)


class Scheduler:
    def __init__(
        self,
        max_num_seqs: int = 256,
        max_num_batched_tokens: int = 8192,
        blocks: int = 1 << 40,
        log_stats: bool = False,
    ) -> None:
        model = SimpleNamespace(model="/models/opt", served_model_name="opt")
        self.vllm_config = SimpleNamespace(model_config=model)
        self.requests: dict[str, Request] = {}
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        self.max_num_seqs, self.max_num_batched_tokens, self.blocks = (
            max_num_seqs,
            max_num_batched_tokens,
            blocks,
        )
        self.kv_cache_manager = SimpleNamespace(usage=0.25)
        self.log_stats = log_stats
        self.deferred_waiting: set[Request] = set()

    def add_request(self, request: Request) -> None:
        self.requests[request.request_id] = request
        self.waiting.append(request)

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        budget, scheduled, preempted, new = self.max_num_batched_tokens, {}, set(), []
        while sum(r.num_prompt_tokens + r.num_output_tokens for r in self.running) > self.blocks:
            victim = self.running.pop()
            victim.num_computed_tokens = 0
            victim.num_preemptions += 1
            self.waiting.appendleft(victim)
            preempted.add(victim.request_id)
        while self.waiting and len(self.running) < self.max_num_seqs and not preempted:
            self.running.append(self.waiting.popleft())
            if not self.running[-1].num_preemptions:
                new.append(SimpleNamespace(req_id=self.running[-1].request_id))
        for request in self.running:
            known = request.num_prompt_tokens + request.num_output_tokens
            tokens = min(max(known - request.num_computed_tokens, 1), budget)
            if tokens:
                scheduled[request.request_id] = tokens
                request.num_computed_tokens += tokens
                budget -= tokens
        return SchedulerOutput(new, scheduled, self.max_num_batched_tokens - budget, preempted)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: Any
    ) -> dict[int, Any]:
        for request_id in scheduler_output.num_scheduled_tokens:
            request = self.requests.get(request_id)
            if (
                request is None
                or request.num_computed_tokens < request.num_prompt_tokens + request.num_output_tokens
            ):
                continue
            request.num_output_tokens += 1
            if request.num_output_tokens >= request.max_tokens:
                self.finish_requests(request_id, "length")
        return {0: SimpleNamespace(scheduler_stats=self.make_stats())}

    def get_request_counts(self) -> tuple[int, int]:
        return len(self.running), len(self.waiting)

    def make_stats(self) -> Any:
        if not self.log_stats:
            return None
        running, waiting = self.get_request_counts()
        deferred = len(self.deferred_waiting)
        return SimpleNamespace(
            num_running_reqs=running,
            num_waiting_reqs=waiting - deferred,
            num_skipped_waiting_reqs=deferred,
            kv_cache_usage=self.kv_cache_manager.usage,
        )

    def finish_requests(self, request_ids: str | Iterable[str], finished_status: str) -> None:
        for request_id in [request_ids] if isinstance(request_ids, str) else request_ids:
            request = self.requests[request_id]
            self.running = [other for other in self.running if other is not request]
            if request in self.waiting:
                self.waiting.remove(request)
            request.status = RequestStatus(finished_status)
            self._free_request(request)

    def _free_request(self, request: Request, delay_free_blocks: bool = False) -> tuple[None, None]:
        del self.requests[request.request_id]
        return None, None
