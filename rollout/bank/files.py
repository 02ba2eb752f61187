"""Atomic file writes: a reader sees the whole file or none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder. After the block it is flushed to disk and renamed to ``path``.

    When the block raises, the temporary file is removed and ``path`` stays as it was. An ``OSError`` that names no
    file, such as that of a full disk, gets the name of ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 text to ``path`` atomically."""
    with atomic_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
