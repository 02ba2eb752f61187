"""The files a corpus was made from, and which of them have changed since: ``inputs.json`` in the corpus.

Contract: a file that lies beside the corpus, such as the records of its run, is named relative to the corpus's parent
folder, so that a run folder can be moved or copied. Files that are not there any more are not reported. Cost of
:func:`changed_inputs`: a file is read again only if it was written after the corpus and has the size it had.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

INPUTS = "inputs.json"


@dataclass(frozen=True)
class InputFile:
    """A file as it was when the corpus was made."""

    path: str
    bytes: int
    sha256: str


def file_blocks(path: Path) -> Iterator[bytes]:
    """The content of a file, a mebibyte at a time."""
    with path.open("rb") as content:
        while block := content.read(2**20):
            yield block


def write_inputs(folder: Path, corpus: Path, files: Iterable[InputFile]) -> None:
    """Write the list into ``folder``, which will become the folder ``corpus``."""
    beside = corpus.absolute().parent
    named = []
    for file in files:
        path = Path(file.path).absolute()
        inside = path.relative_to(beside) if path.is_relative_to(beside) else path
        named.append({**asdict(file), "path": str(inside)})
    (folder / INPUTS).write_text(json.dumps(named, indent=1, ensure_ascii=False), encoding="utf-8")


def changed_inputs(corpus: Path) -> list[Path]:
    """The files whose content is no longer that of the corpus; none for a corpus of an earlier version."""
    if not (corpus / INPUTS).is_file():
        return []
    made = (corpus / "corpus.json").stat().st_mtime_ns
    listed = [InputFile(**entry) for entry in json.loads((corpus / INPUTS).read_text(encoding="utf-8"))]
    return [path for file in listed if _changed(path := corpus.absolute().parent / file.path, file, made)]


def _changed(path: Path, file: InputFile, made: int) -> bool:
    if not path.is_file():
        return False
    status = path.stat()
    if status.st_size != file.bytes:
        return True
    if status.st_mtime_ns < made:
        return False
    content = hashlib.sha256()
    for block in file_blocks(path):
        content.update(block)
    return content.hexdigest() != file.sha256
