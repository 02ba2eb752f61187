"""The account of a corpus: every record and every token is somewhere, and the sums show it.

Contract: :meth:`Ledger.imbalances` recomputes each total from its parts; a ledger that does not balance is a bug in
prepare and never gets written. Cost: counters only; unreadable records are named one by one up to ``NAMED_AT_MOST``.
"""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

NAMED_AT_MOST = 1000


class DroppedRecord(BaseModel):
    """A record that is not in the corpus, and why."""

    model_config = ConfigDict(frozen=True)

    line: int
    id: str | None
    reason: str
    detail: str


class Half(BaseModel):
    """What one side of the corpus (training or validation) holds.

    ``slots`` = ``packs`` × sequence length = ``filled`` + ``padding``; a document of n tokens fills n - 1 slots.
    ``trained`` counts tokens with a loss weight above 0.
    """

    documents: int = 0
    tokens: int = 0
    by_role: dict[str, int] = {}
    trained: int = 0
    packs: int = 0
    slots: int = 0
    filled: int = 0
    padding: int = 0


class Ledger(BaseModel):
    """Everything that went in, and where it went."""

    records_read: int = 0
    records_kept: int = 0
    dropped: dict[str, int] = {}
    """Records not in the corpus, by reason."""
    dropped_records: list[DroppedRecord] = []
    """The same by name, the first thousand of them."""
    records_split: int = 0
    """Kept records that stand as more than one document."""
    documents_from_splits: int = 0
    """Documents those records became."""
    tokens_read: int = 0
    """Tokens of every record that could be tokenised."""
    tokens_dropped: dict[str, int] = {}
    """Tokens not in the corpus, by reason."""
    sources: dict[str, dict[str, int]] = {}
    """Per source of the kept records: records, documents, tokens, trained."""
    train: Half = Half()
    validation: Half = Half()

    def drop(self, dropped: DroppedRecord, tokens: int = 0) -> None:
        """Count and name a record that does not enter the corpus, with its tokens if it was tokenised."""
        self.dropped[dropped.reason] = self.dropped.get(dropped.reason, 0) + 1
        if len(self.dropped_records) < NAMED_AT_MOST:
            self.dropped_records.append(dropped)
        if tokens:
            self.tokens_dropped[dropped.reason] = self.tokens_dropped.get(dropped.reason, 0) + tokens

    def count_source(self, source: str, **amounts: int) -> None:
        """Add to the account of one source."""
        self.sources[source] = dict(Counter(self.sources.get(source, {})) + Counter(amounts))

    def imbalances(self) -> list[str]:
        """Each equation that does not hold, in words; empty when the ledger balances."""
        halves = (self.train, self.validation)
        documents = sum(h.documents for h in halves)
        tokens = sum(h.tokens for h in halves)
        equations: list[tuple[str, int, int]] = [
            ("records read = kept + dropped", self.records_read, self.records_kept + sum(self.dropped.values())),
            (
                "documents = kept records, split ones counted by piece",
                documents,
                self.records_kept - self.records_split + self.documents_from_splits,
            ),
            ("tokens read = kept + dropped", self.tokens_read, tokens + sum(self.tokens_dropped.values())),
        ]
        for name, half in (("train", self.train), ("validation", self.validation)):
            equations += [
                (f"{name}: tokens = sum over roles", half.tokens, sum(half.by_role.values())),
                (f"{name}: filled slots = tokens - documents", half.filled, half.tokens - half.documents),
                (f"{name}: slots = filled + padding", half.slots, half.filled + half.padding),
            ]
        totals = {
            "records": self.records_kept,
            "documents": documents,
            "tokens": tokens,
            "trained": sum(h.trained for h in halves),
        }
        for key, total in totals.items():
            equations.append((f"{key} = sum over sources", total, sum(s.get(key, 0) for s in self.sources.values())))
        return [f"{what}: {left} != {right}" for what, left, right in equations if left != right]
