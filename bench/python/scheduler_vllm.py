"""vLLM's real scheduler (0.33) without weights or GPU: for scheduler_loop.py."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR")

import torch
from vllm.config import CacheConfig, DeviceConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.sampling_params import SamplingParams
from vllm.utils.hashing import sha256
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus
from vllm.v1.structured_output import StructuredOutputManager

BLOCK_TOKENS, BLOCKS, PROMPT_TOKENS = 16, 100_000, 64
ABORTED = RequestStatus.FINISHED_ABORTED
MODEL = {
    "architectures": ["OPTForCausalLM"],
    "model_type": "opt",
    "hidden_size": 768,
    "word_embed_proj_dim": 768,
    "ffn_dim": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "max_position_embeddings": 2048,
    "torch_dtype": "float16",
    "vocab_size": 50272,
}

init_none_hash(sha256)
_hasher = get_request_block_hasher(BLOCK_TOKENS, sha256)
_folder = tempfile.TemporaryDirectory()
Path(_folder.name, "config.json").write_text(json.dumps(MODEL))


def scheduler(running: int) -> Scheduler:
    cache = CacheConfig(
        block_size=BLOCK_TOKENS, gpu_memory_utilization=0.9, cache_dtype="auto", enable_prefix_caching=True
    )
    cache.num_gpu_blocks = BLOCKS
    config = VllmConfig(
        scheduler_config=SchedulerConfig(
            max_num_seqs=running,
            max_num_batched_tokens=8192,
            max_model_len=2048,
            enable_chunked_prefill=True,
            is_encoder_decoder=False,
        ),
        model_config=ModelConfig(model=_folder.name, dtype="float16", seed=42, skip_tokenizer_init=True),
        cache_config=cache,
        device_config=DeviceConfig(device="cpu"),
    )
    attention = FullAttentionSpec(block_size=BLOCK_TOKENS, num_kv_heads=1, head_size=1, dtype=torch.float32)
    groups = [KVCacheGroupSpec(["layer"], attention)]
    return Scheduler(
        vllm_config=config,
        kv_cache_config=KVCacheConfig(num_blocks=BLOCKS, kv_cache_tensors=[], kv_cache_groups=groups),
        structured_output_manager=StructuredOutputManager(config),
        block_size=BLOCK_TOKENS,
        hash_block_size=BLOCK_TOKENS,
        log_stats=True,
    )


def request(number: int, tokens: int) -> Request:
    return Request(
        request_id=f"r{number}",
        prompt_token_ids=[(number * 7 + position) % 50_000 for position in range(PROMPT_TOKENS)],
        sampling_params=SamplingParams(ignore_eos=True, max_tokens=tokens),
        pooling_params=None,
        block_hasher=_hasher,
    )


def output(scheduler: Scheduler, scheduled: Any) -> ModelRunnerOutput:
    """One token for each request that has its whole prompt computed."""
    ids, known = list(scheduled.num_scheduled_tokens), scheduler.requests
    return ModelRunnerOutput(
        req_ids=ids,
        req_id_to_index={key: index for index, key in enumerate(ids)},
        sampled_token_ids=[
            [5] if known[key].num_computed_tokens >= known[key].num_prompt_tokens else [] for key in ids
        ],
        logprobs=None,
        prompt_logprobs_dict={},
        pooler_output=[],
    )
