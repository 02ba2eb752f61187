"""Continuous batching on CPU with openvino-genai.

Contract: concurrent requests share forward passes and cached prompt prefixes. The same prompt, sampling and seed give
the same tokens, alone or in a batch. Nothing leaves the machine: OpenVINO's telemetry module is blocked before it is
imported.

The weights are written once as float16 GGUF into a cache keyed by their digest, because openvino-genai builds its graph
from that. Arithmetic is always float32 (on processors with bfloat16 units the default would be bfloat16); keys and
values are float16. Compared with transformers in float32, the log-probability of a token differs by 0.0007 on average
and 0.007 at most (SmolLM2-135M, 256 tokens, each the first choice of the reference); with 8-bit keys and values it
would be 0.004 and 0.04. ``eval/parity.py`` checks every export.

Log-probabilities of given tokens (:meth:`OpenVINOBackend.score`) come from a second pipeline, loaded at the first
request for them: one with a prefix cache gives none for the tokens in its cache. Its keys and values are float32, and
prompts are computed one after another.

Does not do: more than one most probable token, GPUs (use vLLM), models without a faithful GGUF form (use
``transformers.py``).
"""

from __future__ import annotations

import asyncio
import os
import queue
import re
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from rollout.servers.backend import (
    FinishReason,
    Generation,
    GenerationRequest,
    TokenizerCodec,
    context_length,
    end_token_ids,
    folder_digest,
)
from rollout.servers.prefix_gate import PrefixGate

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importers fall back to a stub that sends nothing
import openvino  # noqa: E402
import openvino_genai  # noqa: E402

_KEPT = 8
"""Number of GGUF files that the cache keeps, the newest."""

_CACHED = re.compile(r"[0-9a-f]{16}\.gguf")
"""Name of a file of the cache: the digest of a model's folder. Other GGUF files in its folder are the user's."""


class OpenVINOSettings(BaseModel):
    """Settings of the pipeline."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    threads: int = Field(2, gt=0)
    """Inference threads."""
    cache_gib: int = Field(2, gt=0)
    """Key-value cache, in GiB. When it is full, the least recently used prefixes are evicted."""
    max_batched_tokens: int = Field(256, gt=0)
    """Tokens in one forward pass, of prompts and completions together."""
    max_sequences: int = Field(128, gt=0)
    """Sequences in one forward pass; further ones wait."""
    gguf_cache: Path = Path(os.environ.get("CODEACT_CACHE", ".cache/codeact")) / "gguf"
    """Folder of the GGUF files, one for each digest."""


@dataclass
class _Request:
    """A request and its future; ``handle`` is set when the pipeline has it."""

    number: int
    body: GenerationRequest
    done: Future[Generation]
    handle: Any = None


class OpenVINOBackend:
    """One openvino-genai pipeline, and one for scores. Only its own thread calls them."""

    most_top = 1

    def __init__(self, folder: Path, settings: OpenVINOSettings) -> None:
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._next_number = 0
        self._closed = False
        self.digest, self.name = folder_digest(folder), folder.name
        self.codec = TokenizerCodec(folder)
        self.context_length = context_length(folder)
        self._end_tokens = end_token_ids(folder)
        self._gate = PrefixGate()
        self._waiting: deque[_Request] = deque()
        self._running: dict[int, _Request] = {}
        self._file, self._settings = cached_gguf(folder, settings.gguf_cache, self.digest), settings
        self._pipeline: Any = _pipeline(self._file, settings)
        self._scoring: Any = None
        self._thread = threading.Thread(target=self._run, name="openvino-pipeline", daemon=True)
        self._thread.start()

    @property
    def in_flight(self) -> int:
        """Requests that wait or run."""
        return len(self._running) + len(self._waiting) + self._inbox.qsize()

    async def generate(self, request: GenerationRequest) -> Generation:
        """See :class:`~rollout.servers.backend.Backend`."""
        queued = _Request(self._next_number, request, Future())
        self._next_number += 1
        self._inbox.put(lambda: self._waiting.append(queued))
        try:
            return await asyncio.wrap_future(queued.done)
        except asyncio.CancelledError:
            self._inbox.put(lambda: self._cancel(queued))
            raise

    async def score(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """See :class:`~rollout.servers.backend.ScoringBackend`."""
        done: Future[tuple[float, ...]] = Future()
        self._inbox.put(lambda: self._score(token_ids, done))
        return await asyncio.wrap_future(done)

    async def close(self) -> None:
        """Ends the thread after the current pass; requests in flight are not finished."""
        self._closed = True
        self._inbox.put(lambda: None)
        await asyncio.to_thread(self._thread.join)

    # Everything below runs on the pipeline's thread.

    def _run(self) -> None:
        while not self._closed:
            if self._running or self._waiting:
                self._admit()
                self._pass()
            else:
                self._inbox.get()()
            while not self._inbox.empty():
                self._inbox.get()()

    def _admit(self) -> None:
        """Adds waiting requests to the pipeline, except those whose prefix another request is computing."""
        for _ in range(len(self._waiting)):
            request = self._waiting.popleft()
            if request.done.cancelled():
                continue
            if not self._gate.admits(request.body.prompt_ids):
                self._waiting.append(request)
                continue
            prompt = openvino.Tensor(np.array([request.body.prompt_ids], dtype=np.int64))
            config = _generation_config(request.body, self._end_tokens)
            request.handle = self._pipeline.add_request(request.number, prompt, config)
            self._running[request.number] = request
            self._gate.entered(request.number, request.body.prompt_ids)

    def _pass(self) -> None:
        """One forward pass; then resolves the finished requests."""
        try:
            self._pipeline.step()
        except RuntimeError as error:
            self._fail(error)
            return
        for number in self._gate.in_work():
            if self._running[number].handle.can_read():
                self._gate.prefilled(number)
        for request in list(self._running.values()):
            if request.handle.get_status().name != "RUNNING":
                self._leave(request)
                _resolve(request)

    def _leave(self, request: _Request) -> None:
        self._gate.dropped(request.number)
        del self._running[request.number]

    def _fail(self, error: Exception) -> None:
        for request in list(self._running.values()):
            self._leave(request)
            request.handle.cancel()
            if not request.done.cancelled():
                request.done.set_exception(RuntimeError(f"the model failed: {error}"))

    def _cancel(self, request: _Request) -> None:
        if request.number in self._running:
            self._leave(request)
            request.handle.cancel()

    def _score(self, token_ids: tuple[int, ...], done: Future[tuple[float, ...]]) -> None:
        """Sets the log-probability of each token but the first."""
        if not done.set_running_or_notify_cancel():
            return
        try:
            if self._scoring is None:
                self._scoring = _pipeline(self._file, self._settings, scores=True)
            prompt = openvino.Tensor(np.array([token_ids], dtype=np.int64))
            config = _generation_config(GenerationRequest(token_ids, max_tokens=1), self._end_tokens)
            config.echo = True
            handle = self._scoring.add_request(0, prompt, config)
            while handle.get_status().name == "RUNNING":
                self._scoring.step()
            found = handle.read_all()[0].generated_log_probs
        except RuntimeError as error:
            done.set_exception(RuntimeError(f"the model failed: {error}"))
            return
        done.set_result(tuple(found[1 : len(token_ids)]))  # the first is a filler, the last that of a further token


def _pipeline(file: Path, settings: OpenVINOSettings, *, scores: bool = False) -> Any:
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = settings.cache_gib
    scheduler.max_num_batched_tokens = settings.max_batched_tokens
    scheduler.max_num_seqs = settings.max_sequences
    scheduler.enable_prefix_caching = not scores
    properties = {
        "INFERENCE_NUM_THREADS": settings.threads,
        "INFERENCE_PRECISION_HINT": "f32",
        "KV_CACHE_PRECISION": "f32" if scores else "f16",
        "ENABLE_CPU_PINNING": False,  # the cores are shared with kernels and rollout workers
    }
    return openvino_genai.ContinuousBatchingPipeline(file, scheduler, "CPU", properties)


def _generation_config(request: GenerationRequest, end_tokens: tuple[int, ...]) -> Any:
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = request.max_tokens
    config.do_sample = request.temperature > 0
    if config.do_sample:
        config.temperature = request.temperature
        config.top_p = request.top_p
        config.rng_seed = request.seed
    config.eos_token_id = end_tokens[0]
    config.stop_token_ids = set(end_tokens)
    config.stop_strings = set(request.stop)
    config.include_stop_str_in_output = True  # api.py cuts the text; the ids stay as sampled
    config.logprobs = 1
    config.apply_chat_template = False
    return config


def _resolve(request: _Request) -> None:
    if request.done.cancelled():
        return
    status = request.handle.get_status().name
    if status != "FINISHED":
        request.done.set_exception(
            RuntimeError(f"the engine dropped the request ({status}); cache_gib may be too small")
        )
        return
    output = request.handle.read_all()[0]
    reason: FinishReason = "length" if output.finish_reason.name == "LENGTH" else "stop"
    request.done.set_result(Generation(tuple(output.generated_ids), tuple(output.generated_log_probs), reason))


def cached_gguf(folder: Path, cache: Path, digest: str) -> Path:
    """The float16 GGUF file of the model in ``folder``; written into ``cache`` when it is missing."""
    file = cache / f"{digest}.gguf"
    if not file.exists():
        from rollout.servers.gguf import write_gguf  # imports torch, which a server with a cached file does not need

        cache.mkdir(parents=True, exist_ok=True)
        write_gguf(folder, file)
        ours = (cached for cached in cache.glob("*.gguf") if _CACHED.fullmatch(cached.name))
        by_age = sorted(ours, key=lambda cached: cached.stat().st_mtime)
        for old in by_age[:-_KEPT]:
            old.unlink(missing_ok=True)
    return file
