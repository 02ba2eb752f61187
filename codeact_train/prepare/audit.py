"""``audit.html``: documents of the corpus with their roles and loss weights, for inspection before training.

Contract: everything shown is read back from the corpus as written: tokens from their ids, marks from roles and weights.
Documents are chosen by rule: those at fixed quantiles of length, and the first whose text spells out a control token.
Cost: the documents shown. The page proves nothing; the trainer's start-up checks test the masks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from tokenizers import Tokenizer

from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES, Document

QUANTILES = (0.1, 0.5, 0.9)
SPELLED_OUT = 2
SHOWN_TOKENS = 1200
SHOWN_DROPPED = 12

_ROLE_NAMES = {code: "template" if role == "none" else role for role, code in ROLES.items()}


@dataclass(frozen=True)
class Token:
    """One or more tokens that decode to text only together.

    ``control``: a control token. ``spelled``: part of text that spells one out.
    """

    text: str
    ids: tuple[int, ...]
    role: str
    weight: float
    control: bool = False
    spelled: bool = False


def write_audit(folder: Path, spelled_out: Sequence[int]) -> None:
    """Write the page of a finished corpus; ``spelled_out``: documents whose text spells out a control token."""
    corpus = Corpus(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    by_length = corpus.lengths.argsort(kind="stable")
    chosen = [int(by_length[round(q * (len(by_length) - 1))]) for q in QUANTILES]
    chosen = list(dict.fromkeys([*chosen, *spelled_out[:SPELLED_OUT]]))
    names = _names(folder / "documents.jsonl", chosen)
    page = _environment().get_template("audit.html.j2")
    text = page.render(
        corpus=corpus.manifest,
        ledger=corpus.ledger,
        shown_dropped=SHOWN_DROPPED,
        documents=[_view(corpus.document(index), names[index], index in spelled_out, tokenizer) for index in chosen],
    )
    (folder / "audit.html").write_text(text, encoding="utf-8")


def _names(path: Path, wanted: Sequence[int]) -> dict[int, dict[str, str]]:
    with path.open("rb") as lines:
        return {index: json.loads(line) for index, line in enumerate(lines) if index in wanted}


def _view(document: Document, name: dict[str, str], spelled: bool, tokenizer: Tokenizer) -> dict[str, Any]:
    shown = list(tokens_of(document.slice(0, SHOWN_TOKENS), tokenizer))
    return {
        **name,
        "tokens": len(document),
        "trained": int((document.weights > 0).sum()),
        "spelled": spelled,
        "hidden": max(len(document) - SHOWN_TOKENS, 0),
        "spans": [
            {"role": role, "trained": trained, "tokens": list(span)}
            for (role, trained), span in groupby(shown, key=lambda token: (token.role, token.weight > 0))
        ],
    }


def tokens_of(document: Document, tokenizer: Tokenizer) -> Iterator[Token]:
    """The document's tokens as text. Tokens that form one character are grouped."""
    control = {index: token.content for index, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    ids = document.ids.tolist()
    texts: list[tuple[int, int, str]] = []  # first token, end token, text
    before: list[int] = []  # context of the next token: its leading space depends on it
    start = 0
    while start < len(ids):
        end = start + 1
        if ids[start] in control:
            texts.append((start, end, control[ids[start]]))
            before, start = [], end
            continue
        text = _decoded(tokenizer, before, ids[start:end])
        while "\ufffd" in text and end < min(start + 8, len(ids)) and ids[end] not in control:
            end += 1
            text = _decoded(tokenizer, before, ids[start:end])
        texts.append((start, end, text))
        before, start = ids[start:end], end
    spelled = _spelled_out(texts, ids, control)
    for start, end, text in texts:
        role, weight = _ROLE_NAMES[int(document.roles[start])], float(document.weights[start])
        yield Token(text, tuple(ids[start:end]), role, weight, ids[start] in control, start in spelled)


def _decoded(tokenizer: Tokenizer, before: list[int], ids: list[int]) -> str:
    prefix = tokenizer.decode(before, skip_special_tokens=False)
    whole = tokenizer.decode(before + ids, skip_special_tokens=False)
    return whole[len(prefix) :] if whole.startswith(prefix) else tokenizer.decode(ids, skip_special_tokens=False)


def _spelled_out(texts: list[tuple[int, int, str]], ids: list[int], control: dict[int, str]) -> set[int]:
    """First positions of the pieces that are part of a spelled-out control token."""
    pattern = re.compile("|".join(map(re.escape, sorted(control.values(), key=len, reverse=True))))
    found: set[int] = set()
    for is_control, run in groupby(texts, key=lambda piece: ids[piece[0]] in control):
        if is_control or not control:
            continue
        pieces = list(run)
        text = "".join(piece[2] for piece in pieces)
        matches = [match.span() for match in pattern.finditer(text)]
        offset = 0
        for start, _, piece in pieces:
            if any(first < offset + len(piece) and offset < last for first, last in matches):
                found.add(start)
            offset += len(piece)
    return found


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("codeact_train.prepare", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["num"] = lambda value: f"{value:,}".replace(",", "\u202f")
    environment.filters["pct"] = lambda share: f"{100 * share:.2f}\u202f%"
    environment.filters["words"] = lambda name: name.replace("_", " ")
    return environment
