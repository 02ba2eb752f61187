"""Statistics of a corpus: its ledger, counted from the documents on disk and the outcome of each row.

Contract: tokens by role, trained tokens and pack weights are read back from the corpus's files. A ledger that balances
therefore shows that the intended documents were written. Cost: one pass over roles and weights, a block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Split
from codeact_train.data.document import ROLES
from codeact_train.data.indexed_dataset import Column
from codeact_train.data.ledger import FileStats, Ledger, SplitStats
from codeact_train.prepare.layout import CorpusLayout
from codeact_train.prepare.row_schema import REASONS
from codeact_train.prepare.staging import Staged

BLOCK_TOKENS = 2**22


@dataclass(frozen=True)
class DocumentCounts:
    """Per document: ``roles`` int64 [documents, roles], ``trained`` int64 and ``weight`` float64 [documents]."""

    roles: NDArray[np.int64]
    trained: NDArray[np.int64]
    weight: NDArray[np.float64]


def count_documents(folder: Path) -> DocumentCounts:
    """Count the tokens in the corpus's columns."""
    roles, weights = Column(folder / "roles"), Column(folder / "weights")
    total = len(roles)
    out = DocumentCounts(np.zeros((total, len(ROLES)), np.int64), np.zeros(total, np.int64), np.zeros(total))
    for first, end in _blocks(roles.lengths):
        starts = roles.starts[first:end] - roles.starts[first]
        weight = weights.range(first, end)
        out.trained[first:end] = np.add.reduceat(weight > 0, starts, dtype=np.int64)
        out.weight[first:end] = np.add.reduceat(weight, starts, dtype=np.float64)
        role = roles.range(first, end)
        for code in range(len(ROLES)):
            out.roles[first:end, code] = np.add.reduceat(role == code, starts, dtype=np.int64)
    return out


def _blocks(lengths: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Ranges of documents of about ``BLOCK_TOKENS`` tokens each."""
    total = np.cumsum(lengths, dtype=np.int64)
    first = 0
    while first < len(lengths):
        before = int(total[first - 1]) if first else 0
        end = max(first + 1, int(np.searchsorted(total, before + BLOCK_TOKENS, side="right")))
        yield first, end
        first = end


class CorpusStatistics:
    """Sums over rows, copies, documents and their occurrences in packs."""

    def __init__(self, staged: Staged, copies: NDArray[np.int32], layout: CorpusLayout, counts: DocumentCounts):
        self.staged, self.rows, self.copies, self.layout, self.counts = staged, staged.rows, copies, layout, counts
        self.kept = copies > 0
        self.lengths = counts.roles.sum(axis=1)
        self.occurrences = {s: np.bincount(p.document, minlength=len(self.lengths)) for s, p in layout.plans.items()}
        self.in_all = self.occurrences["train"] + self.occurrences["validation"]

    def ledger(self, config: PrepareConfig) -> Ledger:
        """The ledger, without its files and the names of dropped records."""
        rows, kept = self.rows, self.kept
        again = np.maximum(self.copies, 1).astype(np.int64) - 1
        split = kept & rows["split"]
        ledger = Ledger(
            records_read=len(rows),
            records_kept=_count(kept),
            records_split=_count(split),
            documents_from_splits=_count(rows["pieces"][split]),
            records_unrolled=_count(kept & rows["unrolled"]),
            cuts_within_turns=_count(rows["cuts"][kept]),
            targets_lost=_count(rows["lost"][kept]),
            documents_repeated=_count(again * rows["pieces"]),
            tokens_read=_count(rows["tokens"]),
            tokens_repeated=_count(again * rows["stored"]),
            tokens_added=self.layout.separator_tokens,
            control_text=_count(kept & rows["controls"]),
            reasoning_left_out=_count(kept & rows["reasoning"]),
            sources=self._by_source(),
            train=self._split_stats("train", config.sequence_length),
            validation=self._split_stats("validation", config.sequence_length),
        )
        for code in np.unique(rows["reason"][~kept]).tolist():
            gone = rows["reason"] == code
            ledger.drop(REASONS[code], _count(gone), _count(rows["tokens"][gone]))
        cut = "truncated" if config.over_long == "truncate" else "untrained_piece"
        ledger.drop(cut, 0, _count((rows["tokens"] - rows["stored"])[kept]))
        return ledger

    def _split_stats(self, split: Split, sequence_length: int) -> SplitStats:
        occurrences, packs = self.occurrences[split], len(self.layout.plans[split])
        by_role = occurrences @ self.counts.roles
        stats = SplitStats(
            documents=_count(occurrences),
            tokens=_count(occurrences * self.lengths),
            by_role={role: int(by_role[code]) for role, code in ROLES.items()},
            trained=_count(occurrences * self.counts.trained),
            packs=packs,
            slots=packs * sequence_length,
            filled=_count(occurrences * (self.lengths - 1)),
        )
        stats.padding = stats.slots - stats.filled
        return stats

    def _by_source(self) -> dict[str, dict[str, int]]:
        """Per source of the kept records: records, and documents, tokens and trained tokens of an epoch."""
        names = self.staged.sources
        records = np.bincount(self.rows["source"][self.kept], minlength=len(names))
        of_document = self.rows["source"][self.layout.row]
        sums = [
            np.bincount(of_document, weights=self.in_all * amount, minlength=len(names)).astype(np.int64)
            for amount in (1, self.lengths, self.counts.trained)
        ]
        return {
            name: dict(zip(("records", "documents", "tokens", "trained"), map(int, amounts), strict=True))
            for name, *amounts in zip(names, records, *sums, strict=True)
            if amounts[0]
        }

    def by_file(self, names: list[str], repeat: list[float]) -> dict[str, FileStats]:
        """Per file of the mixture."""
        read, kept = (np.bincount(self.rows["file"][which], minlength=len(names)) for which in (..., self.kept))
        of_document = self.rows["file"][self.layout.row]
        tokens = np.bincount(of_document, weights=self.in_all * self.lengths, minlength=len(names))
        return {
            name: FileStats(read=int(read[i]), kept=int(kept[i]), tokens=int(tokens[i]), repeat=repeat[i])
            for i, name in enumerate(names)
        }

    def pack_weights(self, split: Split) -> NDArray[np.float64]:
        """Sum of the loss weights of each pack; the trainer divides the loss by it."""
        plan = self.layout.plans[split]
        return np.add.reduceat(self.counts.weight[plan.document], plan.offset[:-1]) if len(plan) else np.zeros(0)


def _count(values: NDArray[Any]) -> int:
    return int(values.sum(dtype=np.int64))
