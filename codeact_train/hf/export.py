"""Export: a Hugging Face folder of the current weights, identified by their digest.

Contract: the folder appears as a whole, by rename, or not at all. ``export.json`` beside the weights holds their step,
epoch and digest. Cost: one parameter is gathered and written at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from codeact_train import hf
from codeact_train.hf.serving_files import write_serving_files
from codeact_train.hf.writer import raw_bytes
from codeact_train.model.gpt import PackedGPT
from codeact_train.model.spec import ModelSpec
from codeact_train.system import failures
from codeact_train.system.folders import EXPORT, replacing

FILE_BYTES = 5 * 2**30
"""Largest file of weights, the same as Hugging Face's default."""


@dataclass(frozen=True)
class Export:
    """Contents of ``export.json``.

    ``digest``: SHA-256 over names, dtypes, shapes and bytes of all tensors, 16 hex digits.
    """

    step: int
    epoch: int
    checkpoint: str | None
    digest: str


def export(
    model: PackedGPT, spec: ModelSpec, source: Path, tokenizer: Path, out: Path, *, step: int, epoch: int,
    checkpoint: str | None, dtype: torch.dtype,
) -> Export | None:  # fmt: skip
    """Write ``out`` with the configuration of ``source`` and the tokenizer of the corpus; returns ``None`` on all ranks
    but 0.

    Collective: every process calls it. An earlier export in ``out`` is replaced. Raises ``ValueError`` when other files
    are there, ``OSError`` for a full disk and the like, with nothing left of the attempt.
    """
    tensors = hf.gather(model, spec)
    if torch.distributed.get_rank() != 0:
        for _ in tensors:
            pass
        return None

    def write_weights(folder: Path) -> str:
        digest = _Digest()
        written = digest.passing((name, tensor.to(dtype)) for name, tensor in tensors)
        hf.write(folder, written, hf.tensor_shapes(spec), dtype, FILE_BYTES)
        return digest.hex()

    return write_folder(
        write_weights, source, tokenizer, out, dtype, spec.vocab, step=step, epoch=epoch, checkpoint=checkpoint
    )


def write_folder(
    write_weights: Callable[[Path], str], source: Path, tokenizer: Path, out: Path, dtype: torch.dtype, vocab: int, *,
    step: int, epoch: int, checkpoint: str | None,
) -> Export:  # fmt: skip
    """Create ``out`` around the weights that ``write_weights`` puts into a folder; ``write_weights`` returns their
    digest."""
    with replacing(out, EXPORT, "out") as building, failures.named(building):
        digest = write_weights(building)
        write_serving_files(source, tokenizer, building, dtype=str(dtype).removeprefix("torch."), vocab=vocab)
        result = Export(step, epoch, checkpoint, digest)
        (building / "export.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
        _sync(building)
    return result


def weights_digest(folder: Path) -> str:
    """Digest of the weights in a Hugging Face folder, as in ``export.json``; equal weights have equal digests."""
    digest = _Digest()
    with hf.SafeTensors(folder) as tensors:
        for _ in digest.passing((name, tensors[name][:]) for name in tensors.names()):
            pass
    return digest.hex()


class _Digest:
    """SHA-256 that does not depend on the order of tensors or their distribution over files."""

    def __init__(self) -> None:
        self._parts: dict[str, bytes] = {}

    def passing(self, tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Pass the tensors through and add each one to the digest."""
        for name, tensor in tensors:
            own = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            own.update(raw_bytes(tensor))
            self._parts[name] = own.digest()
            yield name, tensor

    def hex(self) -> str:
        """Digest of all tensors so far."""
        return hashlib.sha256(b"".join(self._parts[name] for name in sorted(self._parts))).hexdigest()[:16]


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
