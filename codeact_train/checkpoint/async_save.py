"""A run's state on disk in Megatron's distributed format, written by a thread while training goes on.

Contract: a tree is nested dicts of whatever pickles and of ``ShardedTensor``, a part of a tensor that has a name. Each
process writes the parts only it holds, and reads any others by name. What is written is a copy in the host's memory,
made before :class:`Writing` is returned. The thread writes it, reads it back and takes its fingerprints;
:meth:`Writing.end` completes the folder with all other processes. Cost: the loop waits for the copy (12 bytes a
parameter in fp32: weight and two moments); the copy stays in memory until it is written.
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
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories, is_main_replica
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from codeact_train.checkpoint import integrity
from codeact_train.checkpoint.integrity import Fingerprints, UnsoundSave
from codeact_train.distributed import megatron_cpu

_SAVE_OPTIONS: dict[str, Any] = (
    {"async_strategy": "mcore"} if "async_strategy" in inspect.signature(dist_checkpointing.save).parameters else {}
)
"""Megatron-Core 0.17 and later default to the package nvidia-resiliency-ext, which this module does not need."""


def write(tree: dict[str, Any], folder: Path) -> Writing:
    """Begin to write a tree; every process calls it with its own."""
    with megatron_cpu.cpu_tensors_pass():
        return Writing(dist_checkpointing.save(tree, str(folder), async_sharded_save=True, **_SAVE_OPTIONS), folder)


def read(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tree with what is on disk in place of what is in it; every process calls it."""
    with megatron_cpu.cpu_tensors_pass():
        return dist_checkpointing.load(tree, str(folder))


def held(tree: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """The parts that this process alone holds or stands for, as they are, under the names they are saved by. The tree
    is of no other use afterwards."""
    apply_factories(tree)
    for part in tree.values():
        if isinstance(part, ShardedTensor) and is_main_replica(part.replica_id):
            yield part.key, part.data


class Writing:
    """A save under way."""

    def __init__(self, request: AsyncRequest, folder: Path):
        self._request, self._folder = request, folder
        self._saved: Fingerprints = {}
        self._failure: Exception | None = None
        buckets, results = request.async_fn_args[1:] if request.async_fn else ([], None)
        staged = [(path, key, (objects, _copied(tensors))) for path, key, (objects, tensors) in buckets]
        if megatron_cpu.has_cuda():
            torch.cuda.synchronize()
        transforms = request.async_fn.args[0] if request.async_fn else []
        self._write_bucket = functools.partial(_write_bucket, transforms)
        self._thread = threading.Thread(target=self._write, args=(staged, results), name=f"save {folder.name}")
        self._thread.start()

    def done(self) -> bool:
        """Whether this process has written its part, or failed to."""
        return not self._thread.is_alive()

    def end(self) -> Fingerprints:
        """Wait for this process's part, then complete the folder with the others; returns what was read back by this
        process. Raises ``UnsoundSave`` in every process when one could not write."""
        self._thread.join()
        try:
            with megatron_cpu.cpu_tensors_pass():
                for finalize in self._request.finalize_fns:
                    finalize()
        except CheckpointException as error:
            reason = self._failure or "a process could not write its part"
            raise UnsoundSave(f"checkpoint {self._folder}: {reason}; nothing was replaced") from error
        return self._saved

    def _write(self, buckets: list[Any], results: queue.Queue[Any] | None) -> None:
        """What Megatron's own saver does in processes it forks: a process with threads had better not be forked."""
        if results is None:
            return
        try:
            written = dict(self._write_bucket(number, bucket) for number, bucket in enumerate(buckets))
            self._saved = integrity.of(self._read_back(buckets, written))
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
    return [(item, tensor.to("cpu", copy=True, non_blocking=megatron_cpu.has_cuda())) for item, tensor in tensors]


def _write_bucket(transforms: list[Any], number: int, bucket: Any) -> tuple[int, list[Any]]:
    """Write one file, and force it to disk."""
    results: queue.Queue[Any] = queue.Queue()
    left: queue.Queue[int] = queue.Queue()
    left.put(number)
    FileSystemWriterAsync.write_preloaded_data(transforms, number, bucket, results, left, use_fsync=True)
    _, outcome = results.get_nowait()
    if isinstance(outcome, Exception):
        raise outcome
    return number, outcome
