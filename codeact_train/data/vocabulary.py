"""The embedding rows of a model for the tokens of a corpus, which may have more tokens than the model folder.

Contract: exact; reads two small JSON files and needs no torch. ``codeact_train.hf.embedding_init`` defines the initial
values of new rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from codeact_train.failures import read_json_object


@dataclass(frozen=True)
class Vocabulary:
    """Embedding rows and which of them are new.

    ``rows``: rows of the embedding and the head. ``new``: ids of the tokens that ``prepare.add_tokens`` put after those
    of the model folder's tokenizer. ``known``: number of leading rows whose tokens the model was trained with. Padding
    rows of the model that a new token uses have no trained meaning and count as new.
    """

    rows: int
    new: tuple[int, ...]
    known: int

    @classmethod
    def read(cls, model: Path | str, corpus: Path | str) -> Vocabulary:
        """Raises ``ValueError`` when the corpus has tokens that are neither the model's nor added."""
        return cls.from_config(AutoConfig.from_pretrained(model), model, corpus)

    @classmethod
    def from_config(cls, config: PretrainedConfig, model: Path | str, corpus: Path | str) -> Vocabulary:
        """Like :meth:`read`, with the model's loaded ``config``; ``model`` is used in error messages."""
        stored = _stored(config, model)
        manifest = read_json_object(Path(corpus) / "corpus.json", "run `codeact prepare` again")
        new = tuple(sorted(manifest["added_tokens"].values()))
        rows = max(stored, manifest["vocabulary"], *(token + 1 for token in new))
        if unknown := rows - stored - sum(token >= stored for token in new):
            raise ValueError(
                f"corpus={corpus}: its tokenizer has {manifest['vocabulary']} tokens, the model {stored}, and "
                f"prepare.add_tokens did not add {unknown} of the others; prepare the corpus for this model"
            )
        return cls(rows, new, min(stored, *new) if new else stored)


def _stored(config: PretrainedConfig, model: Path | str) -> int:
    """Rows of the folder's matrices. Multimodal models have them in the nested text configuration."""
    stored = getattr(config.get_text_config(decoder=True), "vocab_size", None)
    if not isinstance(stored, int):
        raise ValueError(f"model={model}: no vocab_size in its config.json; choose a model that predicts text")
    return stored
