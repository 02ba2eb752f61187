"""Finds a checkpoint whose files were cut off or removed after it was complete.

Contract: :func:`damage` compares the files of a checkpoint with what their index says, so a full disk, an interrupted
copy or a file removed by hand is found before a weight is read. Cost: reading the index; no tensor is read. It does not
find a changed bit inside a tensor.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megatron.core.dist_checkpointing.core import CheckpointingException
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.api import CheckpointException

from codeact_train.system.failures import read_json_object

UNREADABLE = (CheckpointException, CheckpointingException, pickle.UnpicklingError, zipfile.BadZipFile, EOFError)
"""What reading a checkpoint raises when its files are not what was written."""

_INDEX = ".metadata"
_COMMON = "common_state/"
"""Key in the index of what earlier versions of Megatron-Core (0.16) write to ``common.pt``."""


def damage(checkpoint: Path) -> str | None:
    """What is wrong with the files of a complete checkpoint; ``None`` when all are there in their full size."""
    for name in ("meta.json", "metadata.json", _INDEX):
        if not (checkpoint / name).is_file():
            return f"{name} is missing"
    try:
        for name in ("meta.json", "metadata.json"):
            read_json_object(checkpoint / name, "")
    except ValueError:
        return f"{name} is cut off or not JSON"
    try:
        index = FileSystemReader(checkpoint).read_metadata()
    except (EOFError, pickle.UnpicklingError, ValueError, KeyError, AttributeError):
        return f"{_INDEX} is cut off"
    common = checkpoint / "common.pt"
    if not any(key.startswith(_COMMON) for key in index.state_dict_metadata) and not common.is_file():
        return f"{common.name} is missing"
    if common.is_file() and not zipfile.is_zipfile(common):
        return f"{common.name} is cut off"
    return _short_file(checkpoint, (index.storage_data or {}).values())


def _short_file(checkpoint: Path, parts: Iterable[Any]) -> str | None:
    """The first file that is missing or ends before the last part the index has in it."""
    sizes: dict[str, int] = {}
    for part in parts:
        sizes[part.relative_path] = max(sizes.get(part.relative_path, 0), part.offset + part.length)
    for name, size in sorted(sizes.items()):
        file = checkpoint / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size < size:
            return f"{name} has {file.stat().st_size} of {size} bytes"
    return None
