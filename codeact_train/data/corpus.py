"""A prepared corpus on disk: documents as tokens, and the plan that groups them into packs.

Contract: a folder is a corpus when it holds ``corpus.json``. That file is written last, and the whole folder appears by
rename; ``docs/reference/files.md`` defines the files. Reading is memory-mapped: opening loads the indices, reading a
document touches its bytes only. The trainer reads packs; reports read documents with roles and weights. Importing this
module needs neither torch nor Megatron.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import TEMPLATE_DATE
from codeact_train.data.document import Document
from codeact_train.data.indexed_dataset import COLUMNS, Column
from codeact_train.data.ledger import Ledger
from codeact_train.data.packing import PackPlan
from codeact_train.system.failures import read_json_object

SCHEMA = 3
AGAIN = "run `codeact prepare` again"
"""What makes a damaged corpus whole."""

Split: TypeAlias = Literal["train", "validation"]
SPLITS: tuple[Split, Split] = ("train", "validation")


@dataclass(frozen=True)
class DocumentName:
    """The record a document came from, that record's source, and the document's split."""

    id: str
    source: str
    split: Split


class Corpus:
    """A prepared corpus, opened for reading."""

    def __init__(self, folder: Path | str):
        """Raises ``ValueError`` when ``folder`` is not a finished corpus of this schema."""
        self.folder = Path(folder)
        manifest = self.folder / "corpus.json"
        if not manifest.is_file():
            raise ValueError(f"corpus={self.folder}: no corpus.json in this folder; run prepare first")
        self.manifest: dict[str, Any] = read_json_object(
            manifest, AGAIN, "schema", "digest", "sequence_length", "end_token"
        )
        if self.manifest["schema"] != SCHEMA:
            raise ValueError(
                f"corpus={self.folder}: schema {self.manifest['schema']}, this version reads {SCHEMA}; prepare it again"
            )
        self.digest: str = self.manifest["digest"]
        self.sequence_length: int = self.manifest["sequence_length"]
        self.end_token: int = self.manifest["end_token"]
        self.end_tokens: tuple[int, ...] = (self.end_token, *self.manifest.get("other_end_tokens", ()))
        try:
            self._columns = [Column(self.folder / name) for name in COLUMNS]
            with np.load(self.folder / "packs.npz") as packs:
                stored = dict(packs)
            self._plans = {split: PackPlan(stored[f"{split}_document"], stored[f"{split}_offset"]) for split in SPLITS}
            self._weights = {split: stored[f"{split}_weight"] for split in SPLITS}
        except (OSError, EOFError, KeyError, ValueError, struct.error, zipfile.BadZipFile) as error:
            raise ValueError(f"corpus={self.folder}: cannot be read ({error}); prepare it again") from error

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._columns[0])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return self._columns[0].lengths.astype(np.int64)

    @property
    def ledger(self) -> Ledger:
        """The ledger written when the corpus was made."""
        return Ledger.model_validate_json((self.folder / "ledger.json").read_text(encoding="utf-8"))

    @property
    def trained_roles(self) -> tuple[str, ...]:
        """Roles whose tokens may carry loss."""
        return tuple(self.manifest["trained_roles"])

    @property
    def template_date(self) -> str:
        """The day that the chat template writes, if it writes one."""
        return str(self.manifest["settings"].get("template_date", TEMPLATE_DATE))

    @property
    def parity(self) -> str:
        """``paper`` for a corpus that imitates the paper's training code (``codeact_train.prepare.paper``), else
        ``off``."""
        return str(self.manifest["parity"])

    def names(self) -> Iterator[DocumentName]:
        """The record behind each document, in document order."""
        with (self.folder / "documents.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield DocumentName(**json.loads(line))

    def names_of(self, indices: Collection[int]) -> list[DocumentName]:
        """The records behind the given documents, in the order given."""
        wanted = set(indices)
        with (self.folder / "documents.jsonl").open(encoding="utf-8") as lines:
            found = {index: DocumentName(**json.loads(line)) for index, line in enumerate(lines) if index in wanted}
        return [found[index] for index in indices]

    def document(self, index: int) -> Document:
        """One document with its roles and weights, as views of the files. ``turn_starts`` is not stored."""
        ids, roles, weights = (column[index] for column in self._columns)
        return Document(ids, roles, weights)

    def packs(self, split: Split = "train") -> PackPlan:
        """The pack plan of a split."""
        return self._plans[split]

    def pack_weights(self, split: Split = "train") -> NDArray[np.float64]:
        """Sum of the loss weights of each pack."""
        return self._weights[split]
