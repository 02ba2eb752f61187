"""The reference backend: transformers' ``generate`` on CPU, one request at a time.

Contract: float32 answers for every architecture that transformers supports. The fast backends are compared with it,
and it serves the models that they cannot read. Cost: every request waits for the ones before it.

Does not do: batching, prefix caching. A request that is cancelled after it has begun is computed to its end.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from rollout.servers.backend import (
    FinishReason,
    Generation,
    GenerationRequest,
    TokenizerCodec,
    end_token_ids,
    folder_digest,
    load_tokenizer,
)


class TransformersSettings(BaseModel):
    """Settings of the reference backend."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    threads: int = Field(2, gt=0)
    """Threads that torch uses."""


class TransformersBackend:
    """One model, one thread."""

    most_top = 100

    def __init__(self, folder: Path, settings: TransformersSettings) -> None:
        torch.set_num_threads(settings.threads)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="transformers")
        self.in_flight = 0
        self.digest, self.name = folder_digest(folder), folder.name
        self.codec = TokenizerCodec(folder)
        self._tokenizer: Any = load_tokenizer(folder)
        self._model: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=_config(folder), dtype=torch.float32
        ).eval()
        self._end_tokens = end_token_ids(folder)
        self.context_length = int(self._model.config.max_position_embeddings)

    async def generate(self, request: GenerationRequest) -> Generation:
        """See :class:`~rollout.servers.backend.Backend`."""
        self.in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._generate, request)
        finally:
            self.in_flight -= 1

    async def score(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """See :class:`~rollout.servers.backend.ScoringBackend`."""
        self.in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, token_ids)
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        """Waits for the request in progress."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    @torch.no_grad()
    def _generate(self, request: GenerationRequest) -> Generation:
        torch.manual_seed(request.seed)
        prompt_1t = torch.tensor([request.prompt_ids])
        sampling: dict[str, Any] = {"do_sample": False}
        if request.temperature > 0:
            sampling = {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p, "top_k": 0}
        if request.stop:
            sampling |= {"stop_strings": list(request.stop), "tokenizer": self._tokenizer}
        output = self._model.generate(
            prompt_1t,
            attention_mask=torch.ones_like(prompt_1t),
            max_new_tokens=request.max_tokens,
            eos_token_id=list(self._end_tokens),
            pad_token_id=self._end_tokens[0],
            output_logits=True,
            return_dict_in_generate=True,
            **sampling,
        )
        new_t = output.sequences[0, len(request.prompt_ids) :]
        logprobs_tv = torch.stack(output.logits)[:, 0].float().log_softmax(dim=-1)
        logprobs_t = logprobs_tv.gather(1, new_t[:, None])[:, 0]
        ids = tuple(int(token) for token in new_t)
        stopped = ids[-1] in self._end_tokens or any(stop in self.codec.decode(ids) for stop in request.stop)
        reason: FinishReason = "stop" if stopped else "length"
        listed = tuple(_most_probable(logprobs_v, request.top) for logprobs_v in logprobs_tv) if request.top else ()
        return Generation(ids, tuple(float(value) for value in logprobs_t), reason, listed)

    @torch.no_grad()
    def _score(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        if len(token_ids) < 2:
            return ()
        ids_t = torch.tensor(token_ids)
        logprobs_tv = self._model(ids_t[None, :-1]).logits[0].float().log_softmax(dim=-1)
        return tuple(logprobs_tv.gather(1, ids_t[1:, None])[:, 0].tolist())


def _most_probable(logprobs_v: torch.Tensor, count: int) -> tuple[tuple[int, float], ...]:
    """The ``count`` most probable tokens with their log-probabilities."""
    values, ids = logprobs_v.topk(min(count, len(logprobs_v)))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))


def _config(folder: Path) -> PretrainedConfig:
    """The model's configuration, without a ``quantization_config`` that full weights have kept from an earlier form."""
    config = AutoConfig.from_pretrained(folder)
    if hasattr(config, "quantization_config") and _kinds_of_weights(folder) <= {"F32", "F16", "BF16"}:
        del config.quantization_config
    return config


def _kinds_of_weights(folder: Path) -> set[str]:
    kinds = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            kinds |= {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118  # not a mapping
    return kinds
