"""The CPU model server: a Hugging Face folder behind OpenAI's HTTP routes, with continuous batching.

Contract: ``python -m rollout.engines.openvino_server --model <folder>`` prints one JSON line ``{"url", "model",
"digest"}`` on stdout when it is ready and serves until SIGTERM or SIGINT. Same prompt, sampling and seed give the same
tokens, alone or in a batch. Nothing leaves the machine: OpenVINO's telemetry module is blocked before anything imports it.

The weights are written once as float16 GGUF into a cache keyed by their digest, because openvino-genai builds its graph
from that; computation is float32. ``eval/parity.py`` compares the result with transformers.

Does not do: GPUs (``vllm serve`` does), architectures without a GGUF form here (``--backend transformers`` does).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from rollout.engines.serving import Backend, FinishReason, Generated, Job, TokenizerCodec, end_token_ids, folder_digest
from rollout.engines.wire import make_app

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # its importers fall back to a stub that sends nothing


class OpenVINOSettings(BaseModel):
    """How the pipeline is set up. The defaults are the fastest faithful ones measured on 2 cores."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = Field(2, gt=0)
    """Inference threads."""
    cache_gib: int = Field(2, gt=0)
    """Key-value cache, in GiB; the least recently used prefixes are dropped when it is full."""
    max_batched_tokens: int = Field(256, gt=0)
    """Tokens in one forward pass, prompts and completions together."""
    max_sequences: int = Field(128, gt=0)
    """Sequences in one forward pass; further ones wait."""
    gguf_cache: Path = Path(".cache/codeact/gguf")
    """Where GGUF files are kept, one per digest."""


class OpenVINOBackend:
    """One openvino-genai pipeline, owned by one thread: nothing else calls into it."""

    def __init__(self, folder: Path, settings: OpenVINOSettings) -> None:
        self._settings = settings
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._running: dict[int, tuple[Any, Future[Generated]]] = {}
        self._next_id = 0
        self._closed = False
        self._open(folder)
        self._thread = threading.Thread(target=self._run, name="openvino-pipeline", daemon=True)
        self._thread.start()

    def _open(self, folder: Path) -> None:
        import openvino_genai
        from transformers import AutoConfig

        self.digest = folder_digest(folder)
        self.name = folder.name
        self.codec = TokenizerCodec(folder)
        self.context_length = int(AutoConfig.from_pretrained(folder).max_position_embeddings)
        self._end_tokens = end_token_ids(folder)
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = self._settings.cache_gib
        scheduler.max_num_batched_tokens = self._settings.max_batched_tokens
        scheduler.max_num_seqs = self._settings.max_sequences
        scheduler.enable_prefix_caching = True
        file = cached_gguf(folder, self._settings.gguf_cache, self.digest)
        properties = {"INFERENCE_NUM_THREADS": self._settings.threads}
        self._pipeline: Any = None  # the old model's memory goes before the new one's comes
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(file, scheduler, "CPU", properties)

    async def generate(self, job: Job) -> Generated:
        done: Future[Generated] = Future()
        number, self._next_id = self._next_id, self._next_id + 1
        self._inbox.put(lambda: self._add(number, job, done))
        try:
            return await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            self._inbox.put(lambda: self._cancel(number))
            raise

    async def load(self, folder: Path) -> None:
        done: Future[None] = Future()
        self._inbox.put(lambda: self._reload(folder, done))
        await asyncio.wrap_future(done)

    async def close(self) -> None:
        self._closed = True
        self._inbox.put(lambda: None)
        await asyncio.to_thread(self._thread.join)

    # Everything below runs on the pipeline's thread.

    def _run(self) -> None:
        while not self._closed:
            self._inbox.get()() if not self._running else self._pump()
            while not self._inbox.empty():
                self._inbox.get()()

    def _pump(self) -> None:
        """One forward pass for everybody, then hand out what is finished."""
        try:
            self._pipeline.step()
        except RuntimeError as error:
            for _, done in self._running.values():
                done.set_exception(RuntimeError(f"the model failed: {error}"))
            self._running.clear()
            return
        for number, (handle, done) in list(self._running.items()):
            if handle.get_status().name != "RUNNING":
                del self._running[number]
                _settle(handle, done)

    def _add(self, number: int, job: Job, done: Future[Generated]) -> None:
        import numpy as np
        import openvino

        if not done.set_running_or_notify_cancel():
            return
        prompt = openvino.Tensor(np.array([job.prompt_ids], dtype=np.int64))
        try:
            self._running[number] = (self._pipeline.add_request(number, prompt, self._generation_config(job)), done)
        except RuntimeError as error:
            done.set_exception(RuntimeError(f"the engine refused the request: {error}"))

    def _cancel(self, number: int) -> None:
        if number in self._running:
            self._running.pop(number)[0].cancel()

    def _reload(self, folder: Path, done: Future[None]) -> None:
        while self._running:
            self._pump()
        try:
            self._open(folder)
            done.set_result(None)
        except Exception as error:  # whatever it is, it belongs to the caller, not to this thread
            done.set_exception(error)

    def _generation_config(self, job: Job) -> Any:
        import openvino_genai

        config = openvino_genai.GenerationConfig()
        config.max_new_tokens = job.max_tokens
        config.do_sample = job.temperature > 0
        if config.do_sample:
            config.temperature = job.temperature
            config.top_p = job.top_p
            config.rng_seed = job.seed
        config.eos_token_id = self._end_tokens[0]
        config.stop_token_ids = set(self._end_tokens)
        config.stop_strings = set(job.stop)
        config.include_stop_str_in_output = True
        config.logprobs = 1
        config.apply_chat_template = False
        return config


def _settle(handle: Any, done: Future[Generated]) -> None:
    if handle.get_status().name != "FINISHED":
        done.set_exception(
            RuntimeError(f"the engine gave the request up ({handle.get_status().name}): cache too small?")
        )
        return
    output = handle.read_all()[0]
    reason: FinishReason = "length" if output.finish_reason.name == "LENGTH" else "stop"
    done.set_result(Generated(tuple(output.generated_ids), tuple(output.generated_log_probs), reason))


def cached_gguf(folder: Path, cache: Path, digest: str) -> Path:
    """The float16 GGUF file of the model in ``folder``, written into ``cache`` when it is not there yet."""
    from rollout.engines.gguf import write_gguf

    file = cache / f"{digest}.gguf"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_gguf(folder, file)
    return file


async def serve_until_signalled(backend: Backend, host: str, port: int) -> None:
    """Answer requests until SIGTERM or SIGINT; prints the ready line. ``port`` 0 takes any free one."""
    runner = web.AppRunner(make_app(backend), handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound = runner.addresses[0][1]
    print(json.dumps({"url": f"http://{host}:{bound}/v1", "model": backend.name, "digest": backend.digest}), flush=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()
    await backend.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of ``python -m rollout.engines.openvino_server``."""
    parser = argparse.ArgumentParser(description="Serve a Hugging Face model folder on CPU, OpenAI-compatible.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    for name, field in OpenVINOSettings.model_fields.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=field.annotation, default=field.default)
    options = vars(parser.parse_args(arguments))
    settings = OpenVINOSettings(**{name: options[name] for name in OpenVINOSettings.model_fields})
    backend = OpenVINOBackend(options["model"], settings)
    asyncio.run(serve_until_signalled(backend, options["host"], options["port"]))


if __name__ == "__main__":
    main()
