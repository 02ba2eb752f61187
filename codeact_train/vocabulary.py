"""The rows a model has for the tokens of a corpus, which may know more tokens than the model folder.

Contract: exact; reads two small JSON files and needs no torch. What the new rows begin as, ``new_rows`` says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from codeact_train.config import TrainJob


@dataclass(frozen=True)
class Vocabulary:
    """``rows``: of embedding and head. ``new``: ids of the tokens that ``prepare.add_tokens`` put behind those of the
    model folder's tokenizer. ``known``: rows, from the first on, of tokens the model was trained with.

    A model whose matrices were padded has rows for new tokens already; they mean nothing yet, and count as new.
    """

    rows: int
    new: tuple[int, ...]
    known: int

    @classmethod
    def of(cls, model: Path | str, corpus: Path | str) -> Vocabulary:
        """Raises ``ValueError`` when the corpus has tokens that are neither the model's nor added."""
        stored = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["vocab_size"]
        manifest = json.loads((Path(corpus) / "corpus.json").read_text(encoding="utf-8"))
        new = tuple(sorted(manifest["added_tokens"].values()))
        rows = max(stored, manifest["vocabulary"], *(token + 1 for token in new))
        if strangers := rows - stored - sum(token >= stored for token in new):
            raise ValueError(
                f"corpus={corpus}: its tokenizer has {manifest['vocabulary']} tokens, the model {stored}, and "
                f"prepare.add_tokens did not add {strangers} of the others; prepare the corpus for this model"
            )
        return cls(rows, new, min(stored, *new) if new else stored)

    @classmethod
    def of_job(cls, job: TrainJob) -> Vocabulary:
        """That of a training job."""
        return cls.of(job.model, job.corpus)
