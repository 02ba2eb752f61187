"""Layout of a corpus: the stored documents and their packs.

Contract: documents that are in no pack are not stored. A document that an epoch holds several times is stored once and
is in as many packs, each a different one. Cost: documents are copied only when some are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import SPLITS, Split
from codeact_train.data.indexed_dataset import COLUMNS, Column, ColumnWriter, DocumentWriter
from codeact_train.data.packing import PackPlan, best_fit_decreasing
from codeact_train.data.tokenizer import load_tokenizer
from codeact_train.prepare import paper
from codeact_train.prepare.staging import Staged


@dataclass(frozen=True)
class CorpusLayout:
    """``row``: index of the row each document of the corpus belongs to. ``separator_tokens``: tokens put between
    documents."""

    row: NDArray[np.int64]
    plans: dict[Split, PackPlan]
    separator_tokens: int = 0


def pack_documents(
    staged: Staged, copies: NDArray[np.int32], model: Path, folder: Path, config: PrepareConfig
) -> CorpusLayout:
    """Write the documents that have a copy to ``folder`` and plan their packs.

    With paper parity, the tokenizer in ``model`` supplies the tokens between documents.
    """
    if config.parity == "paper":
        return _pack_as_paper(
            staged, copies, folder, config, paper.BoundaryTokens.from_tokenizer(load_tokenizer(model))
        )
    row = staged.row_of_document
    kept = np.flatnonzero(copies[row])
    _copy(staged.columns, kept, folder)
    row = row[kept]
    lengths = staged.columns[0].lengths[kept].astype(np.int64) - 1
    split_of = staged.rows["held_out"][row].astype(np.int64)
    plans: dict[Split, PackPlan] = {}
    for code, split in enumerate(SPLITS):
        rounds = []
        for done in range(int(copies.max(initial=0))):
            members = np.flatnonzero((copies[row] > done) & (split_of == code))
            plan = best_fit_decreasing(lengths[members], config.sequence_length)
            rounds.append(PackPlan(members[plan.document], plan.offset))
        plans[split] = PackPlan.concatenate(rounds)
    return CorpusLayout(row, plans)


def _pack_as_paper(
    staged: Staged, copies: NDArray[np.int32], folder: Path, config: PrepareConfig, boundary: paper.BoundaryTokens
) -> CorpusLayout:
    """The same as the paper's code does it (:mod:`codeact_train.prepare.paper`): one stored document per place, in pack
    order."""
    row = staged.row_of_document
    lengths = staged.columns[0].lengths.astype(np.int64)
    split_of = staged.rows["held_out"][row].astype(np.int64)
    writer = DocumentWriter(folder)
    plans: dict[Split, PackPlan] = {}
    rows = [np.zeros(0, np.int64)]
    written = 0
    for code, split in enumerate(SPLITS):
        members = np.repeat(np.arange(len(row)), copies[row] * (split_of == code))
        plan = paper.next_fit(lengths[members], config.sequence_length)
        placed = members[plan.document]
        paper.write_packs(PackPlan(placed, plan.offset), staged.columns, boundary, writer)
        plans[split] = PackPlan(np.arange(written, written + len(placed)), plan.offset)
        rows.append(row[placed])
        written += len(placed)
    writer.close()
    packs = sum(map(len, plans.values()))
    # one token after each document, and one before each but the first of its pack
    return CorpusLayout(np.concatenate(rows), plans, separator_tokens=2 * written - packs)


def _copy(columns: list[Column], kept: NDArray[np.int64], folder: Path) -> None:
    """Move the staged documents to the corpus, or copy those that are kept."""
    if len(kept) == len(columns[0]):
        for column in columns:
            for suffix in (".bin", ".idx"):
                column.path.with_suffix(suffix).rename((folder / column.path.name).with_suffix(suffix))
        return
    ends = np.append(np.flatnonzero(np.diff(kept) > 1), len(kept) - 1) if len(kept) else np.zeros(0, np.int64)
    starts = np.append(0, ends[:-1] + 1)
    for column, (name, dtype) in zip(columns, COLUMNS.items(), strict=True):
        writer = ColumnWriter(folder / name, dtype)
        for start, end in zip(kept[starts], kept[ends], strict=True) if len(kept) else ():
            writer.extend(column.range(start, end + 1))
        writer.close(column.lengths[kept])
