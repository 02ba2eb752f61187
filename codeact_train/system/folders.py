"""Folders that are made whole and replace earlier ones, never a folder of the user's.

Contract: a finished folder of ours holds ``.codeact``, a JSON object with its kind and the names of its files.
:func:`replacing` builds the folder beside its final place and renames it. What is in that place before is removed only
if it is empty or ours: it holds ``.codeact`` of the same kind and no other file than those it names. Folders of
earlier versions have no ``.codeact``; a file that only they hold identifies them. Everything else is a ``ValueError``
before anything is removed. Cost: one listing of the folder. Does not lock
(:mod:`codeact_train.system.job_lock`) and does not notice that a file of ours was edited.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

MARK = ".codeact"
"""The file that identifies a folder of ours. It has no suffix, so no digest of a model folder includes it."""

NAMED = 3
"""How many files of the user's a message names."""

_SYSTEM_FILES = (".nfs", ".DS_Store")
"""Beginnings of the names of files that file systems and desktops leave in any folder."""


@dataclass(frozen=True)
class FolderKind:
    """What a folder is. ``name`` follows "a" or "an" in messages; ``sign`` is a JSON file that only such folders hold,
    and ``keys`` are some of its keys."""

    name: str
    sign: str
    keys: tuple[str, ...]


CORPUS = FolderKind("corpus", "corpus.json", ("schema", "digest"))
EXPORT = FolderKind("export", "export.json", ("epoch", "digest"))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def users_files(folder: Path, kind: FolderKind) -> list[str]:
    """The files in ``folder`` that are not of a folder of this kind, by their paths in it; empty if it can be replaced.

    A ``folder`` that is itself a file is one of them.
    """
    if not folder.is_dir():
        return [folder.name] if folder.exists() or folder.is_symlink() else []
    mark = read_object(folder / MARK)
    if not mark and read_object(folder / kind.sign).keys() >= set(kind.keys):
        return []  # of an earlier version
    ours = {MARK, *(mark.get("files") or [])} if mark.get("kind") == kind.name else set()
    return [name for name in _files(folder) if name not in ours]


def check_replaceable(folder: Path, kind: FolderKind, key: str) -> None:
    """Raises ``ValueError`` when ``folder`` holds files of the user's. ``key``: what named the folder."""
    others = users_files(folder, kind)
    if not others:
        return
    holds = (
        "it is a file" if not folder.is_dir() else f"holds {listed(others)}, not written as part of this {kind.name}"
    )
    raise ValueError(
        f"{key}={folder}: {holds}; it stays as it is: give a new or empty folder, or move these files elsewhere"
    )


def listed(names: list[str]) -> str:
    """The first names and the number of the others, for a message."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


@contextmanager
def replacing(out: Path, kind: FolderKind, key: str) -> Iterator[Path]:
    """Yields an empty folder to build in. After the block it is renamed to ``out``; if the block raises, it is removed
    and ``out`` stays as it was.

    Raises:
        ValueError: ``out`` holds files of the user's.
    """
    out = out.resolve()  # the folder behind a link is replaced, not the link
    check_replaceable(out, kind, key)
    building = _new_building(out, kind)
    try:
        yield building
        _write_mark(building, {"kind": kind.name, "files": _files(building)})
        _publish(building, out, kind, key)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _publish(building: Path, out: Path, kind: FolderKind, key: str) -> None:
    """Rename the folder, and remove the one it replaces."""
    if not out.exists():
        building.rename(out)
        return
    check_replaceable(out, kind, key)  # building takes long enough for a user to put a file there
    aside = next(path for path in _candidates(out.with_name(f".{out.name}.replaced")) if not path.exists())
    out.rename(aside)
    building.rename(out)
    shutil.rmtree(aside, ignore_errors=True)


def _new_building(out: Path, kind: FolderKind) -> Path:
    """An empty folder beside ``out`` with the mark of an unfinished one; what a killed job left there is removed."""
    for building in _candidates(out.with_name(f"{out.name}.building")):
        left = building.is_dir() and read_object(building / MARK) == {"kind": kind.name, "files": None}
        if left or (building.is_dir() and not any(building.iterdir())):
            shutil.rmtree(building)
        if not building.exists():
            building.mkdir(parents=True)
            _write_mark(building, {"kind": kind.name, "files": None})
            return building
    raise AssertionError("the candidates are endless")


def _candidates(path: Path) -> Iterator[Path]:
    """``name``, ``name-2``, ``name-3``, …"""
    yield path
    for number in count(2):
        yield path.with_name(f"{path.name}-{number}")


def _files(folder: Path) -> list[str]:
    """Every file below ``folder`` by its path in it, sorted, without the mark."""
    found = (Path(top, name) for top, folders, names in os.walk(folder) for name in (*folders, *names))
    whole = (path for path in found if path.is_symlink() or not path.is_dir())
    paths = (path.relative_to(folder).as_posix() for path in whole if not path.name.startswith(_SYSTEM_FILES))
    return sorted(path for path in paths if path != MARK)


def _write_mark(folder: Path, content: dict[str, Any]) -> None:
    with (folder / MARK).open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=1) + "\n")
        file.flush()
        os.fsync(file.fileno())
