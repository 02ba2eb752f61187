"""Training documents as the trainer sees them: token by token, with role and loss mask.

Contract: the text is decoded from ``corpus/tokens.bin``; the marks come from ``roles.bin`` and ``weights.bin``. Nothing
is tokenised here, so a wrong mask is visible. Cost: the indices, and the documents shown. These are examples; the sums
are in the ledger.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tokenizers import Tokenizer

from codeact_train import Column

ROLE_NAMES = ("none", "system", "user", "assistant")


@dataclass(frozen=True)
class Span:
    """Consecutive tokens of one role, all trained or none."""

    role: str
    trained: bool
    tokens: int
    text: str


@dataclass(frozen=True)
class DocumentView:
    """One training document: its record and its spans in order."""

    record_id: str
    source: str
    tokens: int
    trained: int
    spans: list[Span]


def documents(folder: Path, quantiles: tuple[float, ...] = (0.25, 0.5, 0.9)) -> list[DocumentView]:
    """Training documents of ``folder`` at the given quantiles of length. Empty without a corpus."""
    if not (folder / "corpus.json").exists():
        return []
    names = [json.loads(line) for line in (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()]
    columns = {name: Column(folder / name) for name in ("tokens", "roles", "weights")}
    members = [i for i, name in enumerate(names) if name["split"] == "train"]
    members.sort(key=lambda i: (columns["tokens"].lengths[i], i))
    chosen = dict.fromkeys(members[round(q * (len(members) - 1))] for q in quantiles)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    return [_view(index, names[index], columns, tokenizer) for index in chosen]


def _view(index: int, name: dict[str, str], columns: dict[str, Column], tokenizer: Tokenizer) -> DocumentView:
    ids, roles, trained = columns["tokens"][index], columns["roles"][index], columns["weights"][index] > 0
    spans = []
    for (role, mark), run in groupby(range(len(ids)), key=lambda i: (int(roles[i]), bool(trained[i]))):
        places = list(run)
        text = tokenizer.decode([int(ids[i]) for i in places], skip_special_tokens=False)
        spans.append(Span(ROLE_NAMES[role], mark, len(places), text))
    return DocumentView(name["id"], name["source"], len(ids), int(trained.sum()), spans)
