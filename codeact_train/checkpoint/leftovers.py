"""Which entries of a folder of checkpoints are ours to remove.

Contract: a killed job leaves ``step-000012.building`` or ``step-000012.going.building``; a person who began to remove a
checkpoint by hand leaves ``step-000012`` without ``meta.json``. Both are removed by the next job. Entries with other
names, and files in a checkpoint that no save writes, are the user's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

_CHECKPOINT = re.compile(r"step-\d+")
_UNFINISHED = re.compile(r"step-\d+(\.going)?\.building")
_PARTS = ("*.distcp", ".metadata", "__*.metadata", "common.pt", "metadata.json", "meta.json")
"""Names of the files of a save. PyTorch and :mod:`codeact_train.checkpoint.manager` write some of them as
``name.tmp`` first."""


def is_checkpoint_name(name: str) -> bool:
    """Whether a finished checkpoint can have this name."""
    return _CHECKPOINT.fullmatch(name) is not None


def users_files(checkpoint: Path) -> list[str]:
    """Names of the entries of a checkpoint that no save writes."""
    entries = sorted(entry.name for entry in checkpoint.iterdir()) if checkpoint.is_dir() else []
    return [name for name in entries if not any(fnmatch(name.removesuffix(".tmp"), part) for part in _PARTS)]


def unfinished(folder: Path) -> Iterator[Path]:
    """The folders that a killed job or a hand left incomplete."""
    for entry in sorted(folder.glob("step-*")):
        incomplete = is_checkpoint_name(entry.name) and not (entry / "meta.json").is_file()
        if entry.is_dir() and (incomplete or _UNFINISHED.fullmatch(entry.name)):
            yield entry


def check(folder: Path) -> None:
    """Raises ``ValueError`` when an incomplete checkpoint holds files of the user's."""
    for left in unfinished(folder):
        if others := users_files(left):
            raise ValueError(
                f"out={folder.parent}: {left} is an incomplete checkpoint, which would be removed, and holds "
                f"{others[0]}; move that file elsewhere"
            )
