"""Safetensors written one tensor at a time.

Contract: one ``model.safetensors``, or several files of about ``file_bytes`` and their index, named as Hugging Face
names them. Shapes are known in advance, so each file's header is written first and its tensors follow as they arrive:
at most one is in memory. Format (https://github.com/huggingface/safetensors): the header's length in eight bytes, the
header as JSON padded with blanks, then the tensors one after another. The safetensors package needs all tensors at
once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from codeact_train.hf.parameter_map import Shapes

_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}


def write(
    folder: Path, tensors: Iterable[tuple[str, Tensor]], shapes: Shapes, dtype: torch.dtype, file_bytes: int
) -> None:
    """Write ``tensors`` of ``dtype``, which arrive in the order of ``shapes``."""
    groups = _grouped(shapes, dtype.itemsize, file_bytes)
    names = [f"model-{number:05}-of-{len(groups):05}.safetensors" for number in range(1, len(groups) + 1)]
    if len(groups) == 1:
        names = ["model.safetensors"]
    arriving = iter(tensors)
    for file_name, group in zip(names, groups, strict=True):
        with (folder / file_name).open("wb") as file:
            file.write(_header({name: shapes[name] for name in group}, dtype))
            for expected in group:
                name, tensor = next(arriving)
                assert (name, tuple(tensor.shape), tensor.dtype) == (expected, shapes[expected], dtype), name
                file.write(raw_bytes(tensor))
    assert next(arriving, None) is None, "more tensors than the table has"
    if len(groups) > 1:
        size = sum(map(math.prod, shapes.values())) * dtype.itemsize
        placed = {name: file_name for file_name, group in zip(names, groups, strict=True) for name in group}
        index = {"metadata": {"total_size": size}, "weight_map": placed}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def raw_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a CPU tensor, without a copy if it is contiguous."""
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().data


def _grouped(shapes: Shapes, item_bytes: int, file_bytes: int) -> list[list[str]]:
    """Names per file; files are filled in order, and a tensor larger than ``file_bytes`` gets a file alone."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * item_bytes
        if groups[-1] and filled + size > file_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += size
    return groups


def _header(shapes: Shapes, dtype: torch.dtype) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight
    return len(text).to_bytes(8, "little") + text
