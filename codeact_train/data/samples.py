"""Sampled conversations of a corpus, kept beside their documents: ``samples.jsonl``.

Contract: documents are tokens and do not hold their messages; the trainer's check ``prompt`` needs some, to render them
as a server does. The first :data:`FIRST_LINES` lines of each file and each line whose number :data:`EVERY` divides are
candidates, so the sample depends on no chunk and no process; at most :data:`MOST` of them are kept, evenly spread.
Records whose text spells out a control token are not sampled: there a server makes control tokens of it. Cost: the text
of the candidates in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeact_train.data.document import Turn

SAMPLES = "samples.jsonl"
FIRST_LINES = 64
EVERY = 4096
MOST = 64


@dataclass(frozen=True)
class Conversation:
    """The turns of a record, and how many of them each of its documents begins with.

    ``whole``: whether the documents hold all of these; otherwise there is one, and it ends somewhere within them.
    """

    turns: tuple[Turn, ...]
    lengths: tuple[int, ...]
    whole: bool


@dataclass(frozen=True)
class Sample:
    """A conversation and its documents, which follow one another.

    ``document``: index of the first. ``start``: number of tokens in front of the conversation, such as a separator.
    """

    record: str
    document: int
    start: int
    conversation: Conversation


def is_candidate(line: int) -> bool:
    """Whether the record in a line of its file, counted from 1, may be sampled."""
    return line <= FIRST_LINES or line % EVERY == 0


def write_samples(corpus: Path, samples: Iterable[Sample]) -> None:
    """Write the file, one sample a line."""
    with (corpus / SAMPLES).open("w", encoding="utf-8") as out:
        for sample in samples:
            out.write(json.dumps(asdict(sample), ensure_ascii=False) + "\n")


def read_samples(corpus: Path) -> list[Sample]:
    """The samples of a corpus; none for one of an earlier version."""
    if not (corpus / SAMPLES).is_file():
        return []
    with (corpus / SAMPLES).open(encoding="utf-8") as lines:
        return [_sample(**json.loads(line)) for line in lines]


def _sample(record: str, document: int, start: int, conversation: dict[str, Any]) -> Sample:
    turns = tuple(Turn(**turn) for turn in conversation["turns"])
    lengths = tuple(conversation["lengths"])
    return Sample(record, document, start, Conversation(turns, lengths, conversation["whole"]))
