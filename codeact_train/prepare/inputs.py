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

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import SCHEMA
from codeact_train.data.tokenizer import TOKENIZER_FILES
from codeact_train.prepare.contamination import prompt_set_name

_NOT_CONTENT: Any = {"workers": True, "sources": {"__all__": {"path"}}, "decontaminate": {"__all__": {"path"}}}


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
        if not path.is_file():
            raise ValueError(f"records={path}: no such file; run select first or give a JSON Lines file of records")
        name = source.name or path.name
        files.append(MixtureFile(path, name, source.name or (path.name if source.path else "unknown")))
    names = [file.name for file in files]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"prepare.sources: two files are called {twice[0]}; give each a distinct name")
    return files


def corpus_digest(files: list[MixtureFile], model: Path, config: PrepareConfig) -> str:
    """Digest of the corpus these inputs make: SHA-256 over files, tokenizer, settings and schema, 16 hex digits."""
    total = hashlib.sha256(f"schema {SCHEMA}\n{config.model_dump_json(exclude=_NOT_CONTENT)}\n".encode())
    prompts = [Path(one.path) for one in config.decontaminate]
    named = [*((file.name, file.source) for file in files), *map(prompt_set_name, config.decontaminate)]
    # names appear in the ledger, so they are content
    total.update(repr(named).encode())
    contents = [*(file.path for file in files), *prompts, *(model / name for name in TOKENIZER_FILES)]
    if config.chat_template not in ("own", "chatml"):
        contents.append(Path(config.chat_template))
    for path in contents:
        if path.is_file():
            total.update(f"\n{path.stat().st_size}\n".encode())  # separates one file from the next
            with path.open("rb") as content:
                while block := content.read(2**20):
                    total.update(block)
    return total.hexdigest()[:16]
