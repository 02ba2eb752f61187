"""A prepared corpus on disk: documents as tokens, and the plan that lays them into packs.

Contract: a folder is a corpus when it holds ``corpus.json``, which is written last and arrives by renaming the whole
folder; the form of the files is in ``docs/files.md``. Reading is memory-mapped: opening costs the indices, a document
costs its own bytes. The trainer sees packs; whoever wants to show what is trained sees documents with roles and
weights.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from megatron.core.datasets.indexed_dataset import IndexedDataset, IndexedDatasetBuilder
from numpy.typing import NDArray

from codeact_train.chat import Document
from codeact_train.ledger import Ledger
from codeact_train.packing import PackPlan

SCHEMA = 2
COLUMNS: dict[str, type[np.generic]] = {"tokens": np.int32, "roles": np.uint8, "weights": np.float32}
Split: TypeAlias = Literal["train", "validation"]

logging.getLogger("megatron.core.datasets.indexed_dataset").setLevel(logging.WARNING)  # it announces each open file


@dataclass(frozen=True)
class DocumentName:
    """Which record a document came from, the source of that record, and the side it is on."""

    id: str
    source: str
    split: Split


class CorpusWriter:
    """Appends documents to the three columns of a corpus folder under construction."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.names: list[DocumentName] = []
        self._columns = {
            column: IndexedDatasetBuilder(str(folder / f"{column}.bin"), dtype=dtype)
            for column, dtype in COLUMNS.items()
        }

    def add(self, document: Document, name: DocumentName) -> None:
        """Append one document; its index is the number of documents before it."""
        for column, values in zip(COLUMNS, (document.ids, document.roles, document.weights), strict=True):
            self._columns[column].add_item(torch.from_numpy(values))
            self._columns[column].end_document()
        self.names.append(name)

    def close(self) -> None:
        """Write the indices and the documents' names."""
        for column, builder in self._columns.items():
            builder.finalize(str(self.folder / f"{column}.idx"))
        with (self.folder / "documents.jsonl").open("w", encoding="utf-8") as file:
            for name in self.names:
                file.write(json.dumps(vars(name), ensure_ascii=False) + "\n")


def write_packs(folder: Path, plans: dict[Split, PackPlan], weights: IndexedDataset) -> None:
    """Store the pack plan of each side, and the loss weight of each pack: what its loss is divided by."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for split, plan in plans.items():
        # the first token of a document is never a target
        per_document = [weights[d][1:].sum(dtype=np.float64) for d in plan.document.tolist()]
        totals = np.add.reduceat([*per_document, 0.0], plan.offset)[:-1] if len(plan) else np.zeros(0)
        arrays |= {f"{split}_document": plan.document, f"{split}_offset": plan.offset, f"{split}_weight": totals}
    np.savez(folder / "packs.npz", **arrays)  # type: ignore[arg-type]


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
        self._columns = {column: IndexedDataset(str(self.folder / column)) for column in COLUMNS}
        with np.load(self.folder / "packs.npz") as packs:
            stored = dict(packs)
        sides = ("train", "validation")
        self._plans = {side: PackPlan(stored[f"{side}_document"], stored[f"{side}_offset"]) for side in sides}
        self._weights = {side: stored[f"{side}_weight"] for side in sides}

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._columns["tokens"])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.asarray(self._columns["tokens"].sequence_lengths, dtype=np.int64)

    @property
    def ledger(self) -> Ledger:
        """The account written when the corpus was made."""
        return Ledger.model_validate_json((self.folder / "ledger.json").read_text(encoding="utf-8"))

    def names(self) -> list[DocumentName]:
        """The record behind each document, in document order."""
        lines = (self.folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
        return [DocumentName(**json.loads(line)) for line in lines]

    def document(self, index: int) -> Document:
        """One document with its roles and weights (``turn_starts`` is not stored and comes back empty)."""
        # copies: Megatron's views die with the memory map, hard, when the corpus is collected
        ids, roles, weights = (np.array(self._columns[column][index]) for column in COLUMNS)
        return Document(ids, roles, weights, ())

    def packs(self, split: Split = "train") -> PackPlan:
        """Which documents stand in which pack, on one side of the corpus."""
        return self._plans[split]

    def pack_weights(self, split: Split = "train") -> NDArray[np.float64]:
        """Sum of the loss weights of each pack."""
        return self._weights[split]
