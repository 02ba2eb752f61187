"""The account of a corpus: every record and every token is somewhere, and the sums show it.

Contract: :meth:`Ledger.imbalances` recomputes each total from its parts; a ledger that does not balance is a bug in
prepare and never gets written. Cost: counters, and the first ``NAMED_AT_MOST`` dropped records by name (the corpus
names all of them in ``dropped.jsonl``).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

NAMED_AT_MOST = 1000


class DroppedRecord(BaseModel):
    """A record that is not in the corpus, and why."""

    model_config = ConfigDict(frozen=True)

    file: str
    line: int
    id: str | None
    reason: str
    detail: str


class FileAccount(BaseModel):
    """One file of the mixture. ``tokens`` counts what an epoch holds of it, ``repeat`` how often it holds a record."""

    read: int = 0
    kept: int = 0
    tokens: int = 0
    repeat: float = 1.0


class PromptAccount(BaseModel):
    """One evaluation set that records were checked against; ``too_short`` of its prompts could not be."""

    prompts: int = 0
    too_short: int = 0


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
    """Everything that went in, and where it went. Documents and tokens are those of an epoch: a document that stands
    twice counts twice."""

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
    cuts_within_turns: int = 0
    """Cuts in kept records that fall within a turn, because it is longer than a pack."""
    targets_lost: int = 0
    """Trained tokens at which such a cut, or the record itself, begins a document: nothing predicts them."""
    documents_repeated: int = 0
    """Documents that the mixture adds by repeating some."""
    tokens_read: int = 0
    """Tokens of every record that could be tokenised."""
    tokens_dropped: dict[str, int] = {}
    """Tokens not in the corpus, by reason."""
    tokens_repeated: int = 0
    """Tokens of the repeated documents."""
    tokens_added: int = 0
    """Tokens that stand in no record: the separators of paper parity."""
    control_text: int = 0
    """Kept records whose text spells out a control token; it was tokenised as text."""
    files: dict[str, FileAccount] = {}
    """Per file of the mixture."""
    sources: dict[str, dict[str, int]] = {}
    """Per source of the kept records: records, documents, tokens, trained."""
    evaluation_prompts: dict[str, PromptAccount] = {}
    """Per evaluation set of the decontamination."""
    train: Half = Half()
    validation: Half = Half()

    def drop(self, reason: str, records: int, tokens: int) -> None:
        """Count records that do not enter the corpus, and tokens."""
        if records:
            self.dropped[reason] = self.dropped.get(reason, 0) + records
        if tokens:
            self.tokens_dropped[reason] = self.tokens_dropped.get(reason, 0) + tokens

    def imbalances(self) -> list[str]:
        """Each equation that does not hold, in words; empty when the ledger balances."""
        halves = (self.train, self.validation)
        documents = sum(h.documents for h in halves)
        tokens = sum(h.tokens for h in halves)
        equations: list[tuple[str, int, int]] = [
            ("records read = kept + dropped", self.records_read, self.records_kept + sum(self.dropped.values())),
            (
                "documents = kept records, split ones counted by piece, + repeated",
                documents,
                self.records_kept - self.records_split + self.documents_from_splits + self.documents_repeated,
            ),
            (
                "tokens read + repeated + added = kept + dropped",
                self.tokens_read + self.tokens_repeated + self.tokens_added,
                tokens + sum(self.tokens_dropped.values()),
            ),
            ("records read = sum over files", self.records_read, sum(f.read for f in self.files.values())),
            ("records kept = sum over files", self.records_kept, sum(f.kept for f in self.files.values())),
            ("tokens = sum over files", tokens, sum(f.tokens for f in self.files.values())),
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
