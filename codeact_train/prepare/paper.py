"""Paper parity: a corpus that reproduces the CodeAct paper's training code, defects included.

Contract: a corpus made with ``parity: paper`` makes the ordinary trainer optimise the objective of the reference
trainer:

- **Next-fit packs.** Documents longest first, one open pack; 84 % of slots filled at 4,096 and 90 % at 16,384, where
  best-fit fills all. A separator (the tokenizer's begin token) precedes every document of a pack but the first.
- **A loss mask one token late.** Whole assistant turns count, header and last line break included, and the mask is
  aligned with the inputs: a token is a target when the token *before* it is the assistant's. So ``<|im_start|>`` of an
  assistant turn is no target, and one token after each such turn is: the next header's, the separator, or the padding
  (the end token) after the last document.
- **Every pack weighs the same**: its loss is the mean over its targets. Each target's weight is divided by the sum of
  its pack's, so the trainer's weighted mean over a batch is the mean of the packs' means.

Not reproduced: control tokens made of user text, silent truncation (``over_long: truncate`` cuts and counts), turns
tokenised one by one, and the NaN of a pack without targets, which cannot occur here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from codeact_train.data.document import ROLES, Document, Turn, concatenate
from codeact_train.data.indexed_dataset import Column, DocumentWriter
from codeact_train.data.packing import PackPlan

IMITATED = (
    "next-fit packs, longest documents first, a begin token between two documents of a pack",
    "a loss mask one token late, over whole assistant turns",
    "every pack weighing the same, however many tokens it trains",
)
"""Notes for reports about a run on such a corpus."""


def whole_turns(document: Document, turns: Sequence[Turn]) -> Document:
    """The document with roles and weights over whole turns, and weights aligned with the inputs.

    ``turns``: the turns of the record, of which the document holds the first.
    """
    turn_of = np.searchsorted(document.turn_starts, np.arange(len(document)), side="right")  # 0: before the first turn
    roles = np.array([0, *(ROLES.get(turn.role, 0) for turn in turns[: len(document.turn_starts)])], np.uint8)
    # a document may train only some of the turns (``data.chat_template``)
    ends = [*document.turn_starts[1:], len(document)]
    spans = zip(document.turn_starts, ends, strict=True)
    weights = np.array([0.0, *(document.weights[a:b].max(initial=0.0) for a, b in spans)], np.float32)
    return Document(document.ids, roles[turn_of], weights[turn_of], document.turn_starts)


def next_fit(lengths: NDArray[np.int64], capacity: int) -> PackPlan:
    """Pack documents of ``lengths`` tokens into packs of ``capacity``, longest first.

    A pack is closed at the first document that does not fit. All but the first document of a pack need one more slot,
    for the separator.
    """
    order = np.argsort(-lengths, kind="stable")
    taken = np.cumsum(lengths[order] + 1)  # cumulative slots of documents and separators
    offset = [0]
    while offset[-1] < len(order):
        before = taken[offset[-1] - 1] if offset[-1] else 0
        offset.append(int(np.searchsorted(taken, before + capacity + 1, side="right")))
    return PackPlan(order, np.array(offset, np.int64))


@dataclass(frozen=True)
class BoundaryTokens:
    """The separator between documents, and the token after a pack's last document."""

    separator: int
    padding: int

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerFast) -> BoundaryTokens:
        """Raises ``ValueError`` when the tokenizer has no begin or end token."""
        if tokenizer.bos_token_id is None or tokenizer.eos_token_id is None:
            raise ValueError("prepare.parity=paper needs a tokenizer with a begin and an end token")
        return cls(tokenizer.bos_token_id, tokenizer.eos_token_id)


def write_packs(plan: PackPlan, columns: Sequence[Column], boundary: BoundaryTokens, writer: DocumentWriter) -> None:
    """Write the documents of a plan in its order, each followed by one more target token."""
    for pack in range(len(plan)):
        members = plan[pack].tolist()
        documents = []
        for position, index in enumerate(members):
            ids, roles, weights = (column[index] for column in columns)
            before = [boundary.separator] if position else []
            behind = boundary.separator if position < len(members) - 1 else boundary.padding
            documents.append(_placed(Document(ids, roles, weights), before, behind))
        lengths, (ids, roles, weights) = concatenate(documents)
        writer.extend(lengths, [ids, roles, weights / weights.sum(dtype=np.float64)])


def _placed(document: Document, before: list[int], behind: int) -> Document:
    """The document with its boundary tokens, and weights aligned with the targets."""
    nothing = np.zeros(len(before), np.float32)
    return Document(
        np.concatenate([np.array(before, np.int32), document.ids, np.array([behind], np.int32)]),
        np.concatenate([nothing, document.roles, [0]]).astype(np.uint8),
        np.concatenate([[0], nothing, document.weights]).astype(np.float32),
    )
