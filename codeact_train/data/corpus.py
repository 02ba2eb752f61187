"""A prepared corpus on disk: documents as tokens, and the plan that lays them into packs.

Contract: a folder is a corpus when it holds ``corpus.json``, which is written last and arrives by renaming the whole
folder; the form of the files is in ``docs/files.md``. Reading is memory-mapped: opening costs the indices, a document
costs its own bytes. The trainer sees packs; whoever wants to show what is trained sees documents with roles and
weights. Importing this needs neither torch nor Megatron.
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

from codeact_train.data.document import Document
from codeact_train.data.indexed_dataset import COLUMNS, Column
from codeact_train.data.ledger import Ledger
from codeact_train.data.packing import PackPlan

SCHEMA = 3

Split: TypeAlias = Literal["train", "validation"]
SIDES: tuple[Split, Split] = ("train", "validation")


@dataclass(frozen=True)
class DocumentName:
    """Which record a document came from, the source of that record, and the side it is on."""

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
            raise ValueError(f"corpus={self.folder}: no corpus.json there; run prepare first")
        self.manifest: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        if self.manifest["schema"] != SCHEMA:
            raise ValueError(
                f"corpus={self.folder}: schema {self.manifest['schema']}, this version reads {SCHEMA}; prepare it again"
            )
        self.digest: str = self.manifest["digest"]
        self.sequence_length: int = self.manifest["sequence_length"]
        self.end_token: int = self.manifest["end_token"]
        try:
            self._columns = [Column(self.folder / name) for name in COLUMNS]
            with np.load(self.folder / "packs.npz") as packs:
                stored = dict(packs)
            self._plans = {side: PackPlan(stored[f"{side}_document"], stored[f"{side}_offset"]) for side in SIDES}
            self._weights = {side: stored[f"{side}_weight"] for side in SIDES}
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
        """The account written when the corpus was made."""
        return Ledger.model_validate_json((self.folder / "ledger.json").read_text(encoding="utf-8"))

    @property
    def trained_roles(self) -> tuple[str, ...]:
        """Roles whose tokens may carry loss."""
        return tuple(self.manifest["trained_roles"])

    @property
    def parity(self) -> str:
        """``paper`` when the corpus imitates the paper's own (``codeact_train.prepare.paper``), else ``off``."""
        return str(self.manifest["parity"])

    def names(self) -> Iterator[DocumentName]:
        """The record behind each document, in document order."""
        with (self.folder / "documents.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                yield DocumentName(**json.loads(line))

    def names_of(self, indices: Collection[int]) -> list[DocumentName]:
        """The records behind some documents, in the order asked for."""
        wanted = set(indices)
        with (self.folder / "documents.jsonl").open(encoding="utf-8") as lines:
            found = {index: DocumentName(**json.loads(line)) for index, line in enumerate(lines) if index in wanted}
        return [found[index] for index in indices]

    def document(self, index: int) -> Document:
        """One document with its roles and weights, as views of the files (``turn_starts`` is not stored)."""
        ids, roles, weights = (column[index] for column in self._columns)
        return Document(ids, roles, weights)

    def packs(self, split: Split = "train") -> PackPlan:
        """Which documents stand in which pack, on one side of the corpus."""
        return self._plans[split]

    def pack_weights(self, split: Split = "train") -> NDArray[np.float64]:
        """Sum of the loss weights of each pack."""
        return self._weights[split]
