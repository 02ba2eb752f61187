"""The embedding rows of a model for the tokens of a corpus, which may have more tokens than the model folder.

Contract: exact; needs no torch. ``codeact_train.hf.embedding_init`` defines the initial values of new rows. Cost: two
small JSON files; one pass over the corpus's token ids where its tokenizer has tokens that the model has no row for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from transformers import AutoConfig, PretrainedConfig

from codeact_train.data.indexed_dataset import Column
from codeact_train.system.failures import read_json_object

_NAMED = 3
_BLOCK = 2**22


@dataclass(frozen=True)
class Vocabulary:
    """Embedding rows and which of them are new.

    ``rows``: rows of the embedding and the head, enough for the model's own and for ``prepare.add_tokens``. ``new``:
    ids of the tokens that ``prepare.add_tokens`` put after those of the model folder's tokenizer, and of tokens before
    them that the model has no row for. ``known``: number of leading rows whose tokens the model was trained with.
    Padding rows of the model that a new token uses have no trained meaning and count as new. A token of the tokenizer
    that has no row and that no document holds, such as a ``[PAD]`` behind the vocabulary, needs none.
    """

    rows: int
    new: tuple[int, ...]
    known: int

    @classmethod
    def read(cls, model: Path | str, corpus: Path | str) -> Vocabulary:
        """Raises ``ValueError`` when documents hold tokens that are neither the model's nor added."""
        return cls.from_config(AutoConfig.from_pretrained(model), model, corpus)

    @classmethod
    def from_config(cls, config: PretrainedConfig, model: Path | str, corpus: Path | str) -> Vocabulary:
        """Like :meth:`read`, with the model's loaded ``config``; ``model`` is used in error messages."""
        stored = _stored(config, model)
        again = "run `codeact prepare` again"
        manifest = read_json_object(Path(corpus) / "corpus.json", again, "added_tokens", "vocabulary")
        added = set(manifest["added_tokens"].values())
        if set(range(stored, manifest["vocabulary"])) - added and (unknown := ids_used(corpus, stored) - added):
            raise ValueError(_without_row(Path(corpus), manifest["vocabulary"], stored, sorted(unknown)))
        rows = max(stored, *(token + 1 for token in added)) if added else stored
        new = tuple(sorted(added | set(range(stored, rows))))
        return cls(rows, new, min(stored, *new) if new else stored)


def ids_used(corpus: Path | str, first: int) -> set[int]:
    """The ids from ``first`` on that occur in a corpus."""
    values = Column(Path(corpus) / "tokens").values
    found: set[int] = set()
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        found.update(np.unique(block[block >= first]).tolist())
    return found


def model_rows(model: Path) -> int | None:
    """Rows of the matrices of a model folder; ``None`` where its ``config.json`` does not say."""
    try:
        return _stored(AutoConfig.from_pretrained(model, trust_remote_code=False), model)
    except (OSError, ValueError):
        return None


def _without_row(corpus: Path, size: int, stored: int, unknown: list[int]) -> str:
    """The error message for documents with tokens that have no row."""
    path = corpus / "tokenizer" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path)) if path.is_file() else None
    names = [(tokenizer.id_to_token(i) if tokenizer else None) or str(i) for i in unknown]
    fix = "prepare the corpus for this model"
    if len(names) <= _NAMED:
        fix = f"add them with prepare.add_tokens={json.dumps(names, ensure_ascii=False)}, or {fix}"
    more = f" and {len(names) - _NAMED} others" if len(names) > _NAMED else ""
    return (
        f"corpus={corpus}: its tokenizer has {size} tokens, the model {stored}, and prepare.add_tokens did not add "
        f"{', '.join(names[:_NAMED])}{more}, which documents hold; {fix}"
    )


def _stored(config: PretrainedConfig, model: Path | str) -> int:
    """Rows of the folder's matrices. Multimodal models have them in the nested text configuration."""
    stored = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    if not isinstance(stored, int):
        raise ValueError(f"model={model}: no vocab_size in its config.json; choose a model that predicts text")
    return stored
