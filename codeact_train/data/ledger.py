"""The ledger of a corpus: every record and every token is accounted for, with sums that must balance.

Contract: :meth:`Ledger.imbalances` recomputes each total from its parts. A ledger that does not balance is a bug in
``prepare`` and is never written. Cost: counters, and the first ``MAX_NAMED`` dropped records by name; ``dropped.jsonl``
in the corpus names all of them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MAX_NAMED = 1000


class DroppedRecord(BaseModel):
    """A record that is not in the corpus, and the reason."""

    model_config = ConfigDict(frozen=True)

    file: str
    line: int
    id: str | None
    reason: str
    detail: str

    def named(self) -> str:
        """Its place, its id if it has one, and why it was dropped."""
        return f"{self.file} line {self.line}{f' ({self.id})' if self.id else ''}: {self.detail or self.reason}"


class FileStats(BaseModel):
    """One file of the mixture. ``tokens``: tokens of this file in an epoch. ``repeat``: how often an epoch holds each
    record."""

    read: int = 0
    kept: int = 0
    tokens: int = 0
    repeat: float = 1.0


class PromptStats(BaseModel):
    """One evaluation set that records were checked against; ``too_short`` prompts could not be checked."""

    prompts: int = 0
    too_short: int = 0


class SplitStats(BaseModel):
    """Statistics of one split (training or validation).

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
    """What was read, what was kept, and what was dropped. Documents and tokens are counted per epoch: a document that
    appears twice counts twice."""

    records_read: int = 0
    records_kept: int = 0
    dropped: dict[str, int] = {}
    """Records not in the corpus, by reason."""
    dropped_records: list[DroppedRecord] = []
    """The first thousand of them by name."""
    records_split: int = 0
    """Kept records that became more than one document."""
    records_unrolled: int = Field(0, exclude_if=lambda count: not count)
    """Kept records whose assistant turns are not all trained in the same document, because the template or the
    tokenizer renders an earlier turn in another way once later turns follow (``data.chat_template``)."""
    documents_from_splits: int = 0
    """Documents those records became."""
    cuts_within_turns: int = 0
    """Cuts in kept records that fall within a turn because the turn is longer than a pack."""
    targets_lost: int = 0
    """Trained tokens at the start of a document, which nothing predicts: where such a cut or the record begins."""
    documents_repeated: int = 0
    """Documents that the mixture adds by repetition."""
    tokens_read: int = 0
    """Tokens of every record that could be tokenised."""
    tokens_dropped: dict[str, int] = {}
    """Tokens not in the corpus, by reason."""
    tokens_repeated: int = 0
    """Tokens of the repeated documents."""
    tokens_added: int = 0
    """Tokens that belong to no record: the separators of paper parity."""
    control_text: int = 0
    """Kept records whose text spells out a control token; it was tokenised as text."""
    reasoning_left_out: int = Field(0, exclude_if=lambda count: not count)
    """Kept records whose file gives reasoning beside their text (``prepare.reading.reasoning``)."""
    files: dict[str, FileStats] = {}
    """Per file of the mixture."""
    sources: dict[str, dict[str, int]] = {}
    """Per source of the kept records: records, documents, tokens, trained."""
    evaluation_prompts: dict[str, PromptStats] = {}
    """Per evaluation set of the decontamination."""
    train: SplitStats = SplitStats()
    validation: SplitStats = SplitStats()

    def drop(self, reason: str, records: int, tokens: int) -> None:
        """Count dropped records and tokens."""
        if records:
            self.dropped[reason] = self.dropped.get(reason, 0) + records
        if tokens:
            self.tokens_dropped[reason] = self.tokens_dropped.get(reason, 0) + tokens

    def imbalances(self) -> list[str]:
        """The equations that do not hold, in words; empty when the ledger balances."""
        splits = (self.train, self.validation)
        documents = sum(h.documents for h in splits)
        tokens = sum(h.tokens for h in splits)
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
        for name, split in (("train", self.train), ("validation", self.validation)):
            equations += [
                (f"{name}: tokens = sum over roles", split.tokens, sum(split.by_role.values())),
                (f"{name}: filled slots = tokens - documents", split.filled, split.tokens - split.documents),
                (f"{name}: slots = filled + padding", split.slots, split.filled + split.padding),
            ]
        totals = {
            "records": self.records_kept,
            "documents": documents,
            "tokens": tokens,
            "trained": sum(h.trained for h in splits),
        }
        for key, total in totals.items():
            equations.append((f"{key} = sum over sources", total, sum(s.get(key, 0) for s in self.sources.values())))
        return [f"{what}: {left} != {right}" for what, left, right in equations if left != right]
