"""One record as documents and numbers, and what becomes of it as far as it alone can tell.

Contract: the result is a function of the record, the settings and the tokenizer. Cost: that of ``chat.py``; with
evaluation sets and near-duplicates also theirs. What depends on other records is settled later (``settle.py``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.document import ROLES, Document, Turn
from codeact_train.data.records import Record, RecordTurn
from codeact_train.prepare import paper
from codeact_train.prepare.contamination import Screen
from codeact_train.prepare.near_duplicates import signature
from codeact_train.prepare.row_schema import digest64


@dataclass
class EncodedRecord:
    """``numbers``: fields of the record's row. ``pieces``: documents to store. ``signature``: for near-duplicates."""

    reason: str = "kept"
    detail: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    pieces: list[Document] = field(default_factory=list)
    signature: NDArray[np.uint32] | None = None

    def dropped(self, reason: str, detail: str) -> EncodedRecord:
        """The same, but it does not enter the corpus."""
        self.reason, self.detail, self.pieces = reason, detail, []
        return self


class Encoder:
    """Encodes records by the settings and the corpus's tokenizer."""

    def __init__(self, chat: ChatFormat, config: PrepareConfig, screen: Screen):
        self.chat, self.config, self.screen = chat, config, screen
        self.role_weights = config.role_weights.model_dump()

    def encode(self, record: Record, file: int) -> EncodedRecord:
        """One record of the mixture's ``file``-th file."""
        config, out = self.config, EncodedRecord()
        if fault := self._weight_without_effect(record):
            return out.dropped("bad_record", fault)
        turns = [Turn(t.role, t.content, self._weight(t)) for t in record.conversations]
        draw = uniform(f"mixture:{config.seed}:{record.id}")
        out.numbers = {
            "id": digest64(f"{file}:{record.id}".encode()),  # files number their records each for itself
            "text": digest64("\0".join(f"{t.role}\1{t.content}" for t in turns).encode()),
            "held_out": uniform(f"{config.seed}:{record.group or record.id}") < config.validation_share,
            "draw": draw,
            "controls": any(self.chat.has_control_text(t.content) for t in turns),
        }
        if draw >= config.sources[file].repeat:
            return out.dropped("mixture", "not drawn")
        try:
            document = self.chat.encode(turns)
        except ValueError as error:
            return out.dropped("template", str(error))
        out.numbers["tokens"] = len(document)
        if found := self.screen.find([t.content for t in turns]):
            return out.dropped("contaminated", found)
        if config.deduplicate == "near":
            said = (document.roles == ROLES["user"]) | (document.roles == ROLES["assistant"])
            out.signature = signature(document.ids[said])
        return self._cut(document, turns, out)

    def _weight(self, turn: RecordTurn) -> float:
        own = 1.0 if turn.weight is None else turn.weight
        return own * float(self.role_weights[turn.role])

    def _weight_without_effect(self, record: Record) -> str | None:
        for number, turn in enumerate(record.conversations):
            if turn.weight is not None and not self.role_weights[turn.role]:
                return f"turn {number} is a {turn.role} turn with a weight, but role_weights.{turn.role} is 0"
        return None

    def _cut(self, document: Document, turns: list[Turn], out: EncodedRecord) -> EncodedRecord:
        """Make the document's pieces, by the policy for what is too long."""
        longest = self.config.sequence_length + 1
        if self.config.parity == "paper":
            document, longest = paper.whole_turns(document, turns), longest - 1
        pieces = [document]
        if len(document) > longest:
            if self.config.over_long in ("error", "drop"):
                return out.dropped("over_long", f"{len(document)} tokens")
            pieces = split_document(document, longest)
            if self.config.over_long == "truncate":
                pieces = [document.slice(0, longest)]
            out.numbers["cuts"] = sum(0 not in piece.turn_starts for piece in pieces[1:])
        if self.config.parity == "off":
            out.numbers["lost"] = sum(piece.weights[0] > 0 for piece in pieces)
            for piece in pieces:
                piece.weights[0] = 0.0  # nothing predicts the first token of a document
        out.pieces = [p for p in pieces if p.weights.any()]
        if not out.pieces:
            return out.dropped("nothing_trained", "no token carries loss")
        stored = sum(map(len, out.pieces))
        out.numbers |= {"pieces": len(out.pieces), "stored": stored, "split": len(pieces) > 1}
        return out


def uniform(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, so that adding records moves none of the others."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_document(document: Document, limit: int) -> list[Document]:
    """Cut a document into pieces of at most ``limit`` tokens, at the start of a turn wherever a piece has one."""
    pieces, start, total = [], 0, len(document)
    while start < total:
        end = min(start + limit, total)
        if end < total:
            end = max((t for t in document.turn_starts if start < t <= end), default=end)
        pieces.append(document.slice(start, end))
        start = end
    return pieces
