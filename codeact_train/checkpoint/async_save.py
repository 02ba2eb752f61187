"""The state of a run on disk in Megatron's distributed format, written by a thread while training goes on.

Contract: a state dict is nested dicts of picklable values and ``ShardedTensor``, a named part of a tensor. Each process
writes the parts only it owns, and reads any other part by name. The files hold a copy made in the host's memory before
:func:`write` returns. The thread writes the copy, reads it back and fingerprints it; :meth:`PendingSave.finish`
completes the folder with all other processes. Cost: training waits for the copy (12 bytes a parameter in fp32: weight
and two moments); the copy stays in memory until it is written.
"""

from __future__ import annotations

import functools
import inspect
import io
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories, is_main_replica
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from codeact_train.checkpoint import integrity
from codeact_train.checkpoint.integrity import CorruptSave, Fingerprints
from codeact_train.distributed import megatron_cpu
from codeact_train.distributed.cuda import has_cuda
from codeact_train.system import failures
from codeact_train.system.failures import FailedEverywhere

_SAVE_OPTIONS: dict[str, Any] = {
    # Rank 0 alone saves what is not sharded. Megatron would compare it with that of every other process, where parts of
    # a shared optimizer and random states differ by design, and print the differences as dictionaries.
    "preprocess_common_before_consistancy_check": lambda common: {},
}
if "async_strategy" in inspect.signature(dist_checkpointing.save).parameters:
    # Megatron-Core 0.17 and later default to the package nvidia-resiliency-ext, which this module does not need
    _SAVE_OPTIONS["async_strategy"] = "mcore"


def write(state_dict: dict[str, Any], folder: Path) -> PendingSave:
    """Start to write a state dict; every process calls it with its own."""
    with megatron_cpu.fake_cuda_types():
        request = dist_checkpointing.save(state_dict, str(folder), async_sharded_save=True, **_SAVE_OPTIONS)
        return PendingSave(request, folder)


def read(state_dict: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The state dict with every value replaced by the one on disk; every process calls it."""
    with megatron_cpu.fake_cuda_types():
        return dist_checkpointing.load(state_dict, str(folder))


def owned_shards(state_dict: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The parts this process writes, by the names they are saved under. Consumes ``state_dict``."""
    apply_factories(state_dict)
    for part in state_dict.values():
        if isinstance(part, ShardedTensor) and is_main_replica(part.replica_id):
            yield part.key, part.data


class PendingSave:
    """A save in progress (``checkpoint.state.PendingSave``)."""

    def __init__(self, request: AsyncRequest, folder: Path):
        self._request, self._folder = request, folder
        self._saved: Fingerprints = {}
        self._failure: Exception | None = None
        buckets, results = request.async_fn_args[1:] if request.async_fn else ([], None)
        staged = [(path, key, (objects, _copied(tensors))) for path, key, (objects, tensors) in buckets]
        if has_cuda():
            torch.cuda.synchronize()
        transforms = request.async_fn.args[0] if request.async_fn else []
        self._write_bucket = functools.partial(_write_bucket, transforms)
        self._thread = threading.Thread(target=self._write, args=(staged, results), name=f"save {folder.name}")
        self._thread.start()

    def done(self) -> bool:
        """Whether this process has written its part, or failed to."""
        return not self._thread.is_alive()

    def finish(self) -> Fingerprints:
        """Wait for this process's part, then complete the folder with the others; returns the fingerprints read back by
        this process. When one could not write, raises in every process: ``FailedEverywhere`` for a full disk and the
        like, else ``CorruptSave``."""
        self._thread.join()
        try:
            with megatron_cpu.fake_cuda_types():
                for finalize in self._request.finalize_fns:
                    finalize()
        except CheckpointException as error:
            everyone: list[tuple[str | None, str] | None] = [None] * dist.get_world_size()
            own = self._failure and (failures.sentence(self._failure), str(self._failure))
            dist.all_gather_object(everyone, own)
            sentence, reason = next(filter(None, everyone), (None, "a process could not write its part"))
            if sentence:
                raise FailedEverywhere(
                    f"checkpoint {self._folder} is not saved, nothing was replaced: {sentence}"
                ) from error
            raise CorruptSave(f"checkpoint {self._folder}: {reason}; nothing was replaced") from error
        return self._saved

    def _write(self, buckets: list[Any], results: queue.Queue[Any] | None) -> None:
        """Write, read back and fingerprint. Megatron's own saver forks a process for it, which is unsafe in a process
        with threads."""
        if results is None:
            return
        try:
            with failures.named(self._folder):
                written = dict(self._write_bucket(number, bucket) for number, bucket in enumerate(buckets))
            self._saved = integrity.fingerprint(self._read_back(buckets, written))
            results.put(written)
        except Exception as error:
            self._failure = error
            results.put(error)

    def _read_back(self, buckets: list[Any], written: dict[int, list[Any]]) -> Iterator[tuple[str, Tensor]]:
        for number, (path, _, (objects, _)) in enumerate(buckets):
            with Path(path).open("rb") as file:
                for result in written[number][len(objects) :]:
                    file.seek(result.storage_data.offset)
                    content = io.BytesIO(file.read(result.storage_data.length))
                    yield result.index.fqn, torch.load(content, map_location="cpu", weights_only=True)


def _copied(tensors: list[tuple[Any, Tensor]]) -> list[tuple[Any, Tensor]]:
    return [(item, tensor.to("cpu", copy=True, non_blocking=has_cuda())) for item, tensor in tensors]


def _write_bucket(transforms: list[Any], number: int, bucket: Any) -> tuple[int, list[Any]]:
    """Write one file, and force it to disk."""
    results: queue.Queue[Any] = queue.Queue()
    left: queue.Queue[int] = queue.Queue()
    left.put(number)
    FileSystemWriterAsync.write_preloaded_data(transforms, number, bucket, results, left, use_fsync=True)
    _, result = results.get_nowait()
    if isinstance(result, Exception):
        raise result
    return number, result
