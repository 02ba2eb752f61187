"""The metadata files of a corpus: document names, the pack plan, the manifest.

Contract: ``docs/reference/files.md`` defines the formats. Names are written row by row and not held in memory.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.corpus import SCHEMA, SPLITS, Split
from codeact_train.data.ledger import MAX_NAMED, DroppedRecord, Ledger
from codeact_train.data.tokenizer_identity import vocabulary_digest
from codeact_train.prepare.inputs import MixtureFile
from codeact_train.prepare.layout import CorpusLayout
from codeact_train.prepare.paper import IMITATED
from codeact_train.prepare.row_schema import REASON, REASONS
from codeact_train.prepare.staging import Staged


def write_names(
    folder: Path, files: list[MixtureFile], staged: Staged, layout: CorpusLayout, same_as: NDArray[np.int64]
) -> list[DroppedRecord]:
    """Write the record of each document, and every dropped record; returns the first ``MAX_NAMED`` dropped records."""
    rows, strings = staged.rows, staged.strings
    held_out = rows["held_out"]
    with (folder / "documents.jsonl").open("w", encoding="utf-8") as out:
        for row in layout.row.tolist():
            name = strings[row]
            split = SPLITS[int(held_out[row])]
            out.write(_line({"id": name["id"], "source": name["source"], "split": split}))
    first: list[DroppedRecord] = []
    with (folder / "dropped.jsonl").open("w", encoding="utf-8") as out:
        for row in np.flatnonzero(rows["reason"] != REASON["kept"]).tolist():
            name = strings[row]
            twin = f"the same as {strings[same_as[row]]['id']}" if same_as[row] >= 0 else None
            dropped = DroppedRecord(
                file=files[rows["file"][row]].name,
                line=int(rows["line"][row]),
                id=name["id"],
                reason=REASONS[rows["reason"][row]],
                detail=twin or name["detail"],
            )
            out.write(_line(dropped.model_dump()))
            if len(first) < MAX_NAMED:
                first.append(dropped)
    return first


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def write_packs(folder: Path, layout: CorpusLayout, weights: dict[Split, NDArray[np.float64]]) -> None:
    """Store the pack plan of each split, and the loss weight of each pack; the trainer divides the loss by it."""
    arrays: dict[str, NDArray[Any]] = {}
    for split, plan in layout.plans.items():
        arrays |= {
            f"{split}_document": plan.document,
            f"{split}_offset": plan.offset,
            f"{split}_weight": weights[split],
        }
    np.savez(folder / "packs.npz", **arrays)  # type: ignore[arg-type]


def write_manifest(
    folder: Path, config: PrepareConfig, digest: str, ledger: Ledger, chat: ChatFormat, added_tokens: tuple[str, ...]
) -> None:
    """Write ``corpus.json``, which makes the folder a corpus."""
    vocabulary = chat.tokenizer.get_vocab()
    manifest = {
        "schema": SCHEMA,
        "digest": digest,
        "sequence_length": config.sequence_length,
        "documents": {"train": ledger.train.documents, "validation": ledger.validation.documents},
        "packs": {"train": ledger.train.packs, "validation": ledger.validation.packs},
        "packing": "next_fit" if config.parity == "paper" else "best_fit_decreasing",
        "parity": config.parity,
        "imitates": IMITATED if config.parity == "paper" else [],
        "trained_roles": [role for role, weight in config.role_weights if weight],
        "end_token": chat.end_token,
        **({"other_end_tokens": others} if (others := list(chat.end_tokens[1:])) else {}),
        "vocabulary": 1 + max(vocabulary.values()),
        "added_tokens": {token: vocabulary[token] for token in added_tokens},
        "model_vocabulary": vocabulary_digest({t: i for t, i in vocabulary.items() if t not in added_tokens}),
        "chat_template": chat.tokenizer.chat_template,
        "settings": config.of_corpus(),
    }
    (folder / "corpus.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def sync(folder: Path) -> None:
    """Flush all files to disk before the folder is renamed."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
