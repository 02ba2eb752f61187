"""One record to documents and numbers, and the decisions that depend on this record alone.

Contract: the result is a function of the record, the settings and the tokenizer. Cost: that of ``data.chat_template``,
plus the checks for evaluation prompts and near-duplicates when enabled. Decisions that depend on other records are made
in ``dedup`` and ``mixture``.
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
from codeact_train.data.samples import Conversation
from codeact_train.prepare import paper
from codeact_train.prepare.contamination import PromptFilter
from codeact_train.prepare.near_duplicates import signature
from codeact_train.prepare.row_schema import digest64


@dataclass
class EncodedRecord:
    """``numbers``: fields of the record's row. ``pieces``: documents to store. ``signature``: for near-duplicates.
    ``conversation``: what the documents hold, for samples; ``None`` where that is not certain or the text spells out a
    control token."""

    reason: str = "kept"
    detail: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    pieces: list[Document] = field(default_factory=list)
    signature: NDArray[np.uint32] | None = None
    conversation: Conversation | None = None

    def drop(self, reason: str, detail: str) -> EncodedRecord:
        """Mark the record as dropped, without documents."""
        self.reason, self.detail, self.pieces = reason, detail, []
        return self


class Encoder:
    """Encodes records with the settings and the corpus's tokenizer."""

    def __init__(self, chat: ChatFormat, config: PrepareConfig, prompt_filter: PromptFilter):
        self.chat, self.config, self.prompt_filter = chat, config, prompt_filter
        self.role_weights = config.role_weights.model_dump()

    def encode(self, record: Record, file: int, place: int) -> EncodedRecord:
        """Encode a record of file number ``file`` of the mixture, at ``place`` in it."""
        config, out = self.config, EncodedRecord()
        if fault := self._weight_without_effect(record):
            return out.drop("bad_record", fault)
        turns = [Turn(t.role, t.content, self._weight(t)) for t in record.conversations]
        draw = hash_uniform(f"mixture:{config.seed}:{record.id}")
        out.numbers = {
            "id": digest64(_unique_id(record, file, place)),
            "text": digest64("\0".join(f"{t.role}\1{t.content}" for t in turns).encode()),
            "held_out": hash_uniform(f"{config.seed}:{record.group or record.id}") < config.validation_share,
            "draw": draw,
            "controls": any(self.chat.has_control_text(t.content) for t in turns),
            "reasoning": record.reasoning_left_out,
        }
        if draw >= config.sources[file].repeat:
            return out.drop("mixture", "not drawn")
        try:
            documents = self.chat.documents(turns)
        except ValueError as error:
            return out.drop("template", str(error))
        out.numbers["tokens"] = sum(map(len, documents))
        out.numbers["unrolled"] = len(documents) > 1
        if found := self.prompt_filter.find([t.content for t in turns]):
            return out.drop("contaminated", found)
        if config.deduplicate == "near":
            whole = documents[-1]
            dialogue = (whole.roles == ROLES["user"]) | (whole.roles == ROLES["assistant"])
            out.signature = signature(whole.ids[dialogue])
        return self._cut(documents, turns, out)

    def _weight(self, turn: RecordTurn) -> float:
        own = 1.0 if turn.weight is None else turn.weight
        return own * float(self.role_weights[turn.role])

    def _weight_without_effect(self, record: Record) -> str | None:
        for number, turn in enumerate(record.conversations):
            if turn.weight and not self.role_weights[turn.role]:
                return f"turn {number} is a {turn.role} turn with a weight, but role_weights.{turn.role} is 0"
        return None

    def _cut(self, documents: list[Document], turns: list[Turn], out: EncodedRecord) -> EncodedRecord:
        """Make the pieces of the record's documents by the policy for over-long documents."""
        longest = self.config.sequence_length + 1
        if self.config.parity == "paper":
            documents, longest = [paper.whole_turns(document, turns) for document in documents], longest - 1
        pieces: list[Document] = []
        cuts = 0
        for document in documents:
            parts = [document]
            if len(document) > longest:
                if self.config.over_long in ("error", "drop"):
                    return out.drop("over_long", f"{len(document)} tokens")
                parts = split_document(document, longest)
                if self.config.over_long == "truncate":
                    parts = [document.slice(0, longest)]
                cuts += sum(0 not in part.turn_starts for part in parts[1:])
            pieces += parts
        out.numbers["cuts"] = cuts
        if self.config.parity == "off":
            out.numbers["lost"] = sum(piece.weights[0] > 0 for piece in pieces)
            for piece in pieces:
                piece.weights[0] = 0.0  # nothing predicts the first token of a document
        out.pieces = [p for p in pieces if p.weights.any()]
        if not out.pieces:
            return out.drop("nothing_trained", "no token carries loss")
        if not out.numbers["controls"]:
            out.conversation = _conversation(turns, documents, pieces, out.pieces)
        stored = sum(map(len, out.pieces))
        out.numbers |= {"pieces": len(out.pieces), "stored": stored, "split": len(pieces) > 1}
        return out


def _conversation(
    turns: list[Turn], documents: list[Document], pieces: list[Document], stored: list[Document]
) -> Conversation | None:
    """The turns behind the stored pieces: those of each document, or of the first piece of the only document."""
    whole = [len(piece) for piece in stored] == [len(document) for document in documents]
    if not whole and (len(documents) > 1 or stored[0] is not pieces[0]):
        return None
    return Conversation(tuple(turns), tuple(len(document.turn_starts) for document in documents), whole)


def _unique_id(record: Record, file: int, place: int) -> bytes:
    """What two records of a corpus may not share: ids are unique within a file, and only those that the file gives."""
    return f"{file}:#{place}".encode() if record.id_from_content else f"{file}:{record.id}".encode()


def hash_uniform(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, so that adding records does not change the others."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def split_document(document: Document, limit: int) -> list[Document]:
    """Cut a document into pieces of at most ``limit`` tokens, at the start of a turn where possible."""
    pieces, start, total = [], 0, len(document)
    while start < total:
        end = min(start + limit, total)
        if end < total:
            end = max((t for t in document.turn_starts if start < t <= end), default=end)
        pieces.append(document.slice(start, end))
        start = end
    return pieces
