"""A Hugging Face folder of the weights as they stand, named by what is in them.

Contract: the folder appears whole, by renaming, or not at all; ``export.json`` beside the weights says which step and
epoch they are of and their digest. Cost: one parameter gathered at a time, at most one file of weights in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from codeact_train import hf
from codeact_train.model import PackedGPT
from codeact_train.shape import ModelShape
from codeact_train.tokenizer import TOKENIZER_FILES

FILE_BYTES = 5 * 2**30
"""Largest file of weights, as Hugging Face's own."""


@dataclass(frozen=True)
class Export:
    """What ``export.json`` says. ``digest``: SHA-256 over names, types, shapes and bytes of all tensors, 16 hex
    digits."""

    step: int
    epoch: int
    checkpoint: str | None
    digest: str


def export(
    model: PackedGPT, shape: ModelShape, source: Path, tokenizer: Path, out: Path, *, step: int, epoch: int,
    checkpoint: str | None,
) -> Export | None:  # fmt: skip
    """Write ``out`` with the configuration of ``source`` and the tokenizer of the corpus; returns None off the main
    process.

    Every process calls it. An ``out`` that exists is replaced.
    """
    tensors = hf.gather(model, shape)
    if torch.distributed.get_rank() != 0:
        for _ in tensors:
            pass
        return None
    dtype = next(model.parameters()).dtype
    return write_folder(
        lambda folder: _write_weights(tensors, folder), source, tokenizer, out, dtype,
        step=step, epoch=epoch, checkpoint=checkpoint,
    )  # fmt: skip


def write_folder(
    write_weights: Callable[[Path], str], source: Path, tokenizer: Path, out: Path, dtype: torch.dtype, *,
    step: int, epoch: int, checkpoint: str | None,
) -> Export:  # fmt: skip
    """Make ``out`` whole around the weights that ``write_weights`` puts into a folder, and whose digest it returns."""
    building = out.with_name(f"{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    digest = write_weights(building)
    _write_config(source, building, dtype)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, building / name)
    result = Export(step, epoch, checkpoint, digest)
    (building / "export.json").write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    _sync(building)
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
    return result


def weights_digest(folder: Path) -> str:
    """Digest of the weights in a Hugging Face folder, as in ``export.json``: the same weights, the same digest."""
    with hf.SafeTensors(folder) as tensors:
        return _Digest().of((name, tensors[name][:]) for name in tensors.names())


class _Digest:
    """SHA-256 that does not depend on the order of tensors or on how they are spread over files."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}

    def add(self, name: str, tensor: Tensor) -> None:
        own = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        own.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
        self.parts[name] = own.digest()

    def of(self, tensors: Iterable[tuple[str, Tensor]]) -> str:
        for name, tensor in tensors:
            self.add(name, tensor)
        return self.hex()

    def hex(self) -> str:
        return hashlib.sha256(b"".join(self.parts[name] for name in sorted(self.parts))).hexdigest()[:16]


def _write_weights(tensors: Iterable[tuple[str, Tensor]], folder: Path) -> str:
    """Write safetensors files of at most ``FILE_BYTES`` and, when there are several, their index; returns the
    digest."""
    digest, size = _Digest(), 0
    files: list[Path] = []
    names: list[list[str]] = []
    pending: dict[str, Tensor] = {}

    def flush() -> None:
        files.append(folder / f"part-{len(files)}.safetensors")
        names.append(list(pending))
        save_file(pending, files[-1], metadata={"format": "pt"})
        pending.clear()

    for name, tensor in tensors:
        if pending and size + tensor.nbytes > FILE_BYTES:
            flush()
            size = 0
        pending[name] = tensor.contiguous()
        digest.add(name, tensor)
        size += tensor.nbytes
    flush()
    if len(files) == 1:
        files[0].rename(folder / "model.safetensors")
        return digest.hex()
    final = [f"model-{i + 1:05}-of-{len(files):05}.safetensors" for i in range(len(files))]
    for file, name in zip(files, final, strict=True):
        file.rename(folder / name)
    weight_map = {tensor: file for file, tensors_of in zip(final, names, strict=True) for tensor in tensors_of}
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map}, indent=1)
    )
    return digest.hex()


def _write_config(source: Path, folder: Path, dtype: torch.dtype) -> None:
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config.pop("torch_dtype", None)
    config["dtype"] = str(dtype).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    if (source / "generation_config.json").is_file():
        shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
