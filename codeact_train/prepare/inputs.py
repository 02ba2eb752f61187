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
from codeact_train.data.corpus_inputs import InputFile, file_blocks
from codeact_train.data.ledger import Ledger
from codeact_train.data.records import data_files
from codeact_train.data.tokenizer import load_tokenizer
from codeact_train.data.tokenizer_files import TOKENIZER_FILES, further_files, has_tokenizer
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


@dataclass(frozen=True)
class CorpusInputs:
    """What names a corpus.

    ``digest``: SHA-256 over files, tokenizer, settings and schema, 16 hex digits. ``former``: the digest that earlier
    versions gave the same inputs; it did not cover all files of a tokenizer. ``files``: the files read.
    """

    digest: str
    former: str
    files: list[InputFile]


def read_inputs(files: list[MixtureFile], model: Path, config: PrepareConfig) -> CorpusInputs:
    """Digest the inputs of a corpus."""
    # keys that earlier versions did not have count only when they are used, so that digests stay
    left_out = NOT_CONTENT | dict.fromkeys(config.left_out(), True)
    total = hashlib.sha256(f"schema {SCHEMA}\n{config.model_dump_json(exclude=left_out)}\n".encode())
    prompts = [Path(one.path) for one in config.decontaminate]
    named = [*((file.name, file.source) for file in files), *map(prompt_set_name, config.decontaminate)]
    # names appear in the ledger, so they are content
    total.update(repr(named).encode())
    records = [part for file in files for part in data_files(file.path)]
    contents = [*records, *prompts, *(model / name for name in TOKENIZER_FILES)]
    if config.chat_template not in ("own", "chatml"):
        contents.append(Path(config.chat_template))
    read = [_add(total, path) for path in contents if path.is_file()]
    former = total.hexdigest()[:16]
    for name in further_files(model):
        total.update(f"\n{name}".encode())
        read.append(_add(total, model / name))
    if has_tokenizer(model) and not (model / "tokenizer.json").is_file():
        # the library's conversion decides ids as much as the file does
        total.update(load_tokenizer(model).backend_tokenizer.to_str().encode())
    return CorpusInputs(total.hexdigest()[:16], former, read)


def _add(total: hashlib._Hash, path: Path) -> InputFile:
    """Add a file to a digest; the size separates one file from the next."""
    size, own = path.stat().st_size, hashlib.sha256()
    total.update(f"\n{size}\n".encode())
    for block in file_blocks(path):
        total.update(block)
        own.update(block)
    return InputFile(str(path), size, own.hexdigest())
