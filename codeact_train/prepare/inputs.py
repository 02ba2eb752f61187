"""Inputs of a corpus (the mixture's files, the tokenizer, the settings) and the digest that names it.

Contract: inputs with the same digest make the same corpus, byte for byte. Contents count and paths do not: moving a
file changes nothing. The digest covers the field names of ``PrepareConfig``, so renaming a field changes it. Cost: one
pass over the files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codeact_train.config.prepare import PrepareConfig, ReadingSettings
from codeact_train.data.corpus import SCHEMA
from codeact_train.data.ledger import Ledger
from codeact_train.data.records import data_files
from codeact_train.data.tokenizer import TOKENIZER_FILES
from codeact_train.prepare.contamination import prompt_set_name

NOT_CONTENT: dict[str, Any] = {
    "workers": True,
    "sources": {"__all__": {"path", "allow_empty"}},
    "decontaminate": {"__all__": {"path"}},
}
"""Settings that do not change the corpus."""


@dataclass(frozen=True)
class MixtureFile:
    """``name``: name in the ledger. ``source``: source of records that name none."""

    path: Path
    name: str
    source: str


def mixture_files(records: Path, config: PrepareConfig) -> list[MixtureFile]:
    """The files of the mixture; ``records`` holds the records this run has selected. Raises ``ValueError`` when a file
    is missing or two have the same name."""
    files = []
    for source in config.sources:
        path = Path(source.path) if source.path else records
        data_files(path)  # raises for a path that is neither a file nor a saved data set
        name = source.name or path.name
        files.append(MixtureFile(path, name, source.name or (path.name if source.path else "unknown")))
    names = [file.name for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"prepare.sources: two files are called {twice[0]}; give each a distinct name")
    return files


def check_sources(files: list[MixtureFile], ledger: Ledger, config: PrepareConfig) -> None:
    """Raises ``ValueError`` when nothing of a source is in the corpus and ``allow_empty`` does not permit it."""
    for file, source in zip(files, config.sources, strict=True):
        counted = ledger.files[file.name]
        if counted.kept or source.allow_empty:
            continue
        first = next((f"; first, {one.named()}" for one in ledger.dropped_records if one.file == file.name), "")
        held = f"none of its {counted.read} records is kept{first}" if counted.read else "it holds no record"
        raise ValueError(
            f"prepare.sources path={file.path}: {held}; remove the source, or set its allow_empty to true to train "
            "without it"
        )


def corpus_digest(files: list[MixtureFile], model: Path, config: PrepareConfig) -> str:
    """Digest of the corpus these inputs make: SHA-256 over files, tokenizer, settings and schema, 16 hex digits."""
    # keys that earlier versions did not have count only when they are used, so that digests stay
    left_out = NOT_CONTENT | ({"reading": True} if config.reading == ReadingSettings() else {})
    total = hashlib.sha256(f"schema {SCHEMA}\n{config.model_dump_json(exclude=left_out)}\n".encode())
    prompts = [Path(one.path) for one in config.decontaminate]
    named = [*((file.name, file.source) for file in files), *map(prompt_set_name, config.decontaminate)]
    # names appear in the ledger, so they are content
    total.update(repr(named).encode())
    records = [part for file in files for part in data_files(file.path)]
    contents = [*records, *prompts, *(model / name for name in TOKENIZER_FILES)]
    if config.chat_template not in ("own", "chatml"):
        contents.append(Path(config.chat_template))
    for path in contents:
        if path.is_file():
            total.update(f"\n{path.stat().st_size}\n".encode())  # separates one file from the next
            with path.open("rb") as content:
                while block := content.read(2**20):
                    total.update(block)
    return total.hexdigest()[:16]
