"""The rows a model has for the tokens of a corpus, which may know more tokens than the model folder.

Contract: exact; reads two small JSON files and needs no torch. What the new rows begin as, ``new_rows`` says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from codeact_train.config.train import TrainJob


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
    def read(cls, model: Path | str, corpus: Path | str) -> Vocabulary:
        """Read both folders. Raises ``ValueError`` when the corpus has tokens that are neither the model's nor
        added."""
        return cls.from_config(AutoConfig.from_pretrained(model), model, corpus)

    @classmethod
    def from_config(cls, config: PretrainedConfig, model: Path | str, corpus: Path | str) -> Vocabulary:
        """As :meth:`read`, with the model's ``config`` read already; ``model`` is for messages."""
        stored = _stored(config, model)
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
    def for_job(cls, job: TrainJob) -> Vocabulary:
        """That of a training job."""
        return cls.read(job.model, job.corpus)


def _stored(config: PretrainedConfig, model: Path | str) -> int:
    """Rows of the folder's matrices. A model of text and pictures has them in a configuration within its own."""
    stored = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    if not isinstance(stored, int):
        raise ValueError(f"model={model}: its config.json names no vocab_size; choose a model that predicts text")
    return stored
