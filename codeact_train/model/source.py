"""The model folder of a run, read once at start-up and passed on.

Contract: :meth:`ModelSource.read` reads the folder's ``config.json`` and tokenizer and the corpus's manifest; it loads
no weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PretrainedConfig

from codeact_train.config.train import TrainJob
from codeact_train.data.tokenizer_identity import check_tokenizer
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.model.spec import ModelSpec, read_config


@dataclass(frozen=True)
class ModelSource:
    """A Hugging Face folder with its configuration.

    ``spec``: ``None`` for a family without a mapping to Megatron. ``vocabulary``: the tokens of the training corpus.
    """

    folder: Path
    config: PretrainedConfig
    spec: ModelSpec | None
    vocabulary: Vocabulary

    @classmethod
    def read(cls, job: TrainJob) -> ModelSource:
        """Read the model of a job. Raises ``ValueError`` for a model its backend cannot train, and for a corpus that
        was made with another tokenizer."""
        folder = Path(job.model)
        spec: ModelSpec | None = None
        try:
            spec = ModelSpec.read(folder)
        except ValueError:
            if job.train.backend == "megatron":
                raise
        config = spec.hf if spec else read_config(folder)
        check_tokenizer(folder, Path(job.corpus))
        return cls(folder, config, spec, Vocabulary.from_config(config, folder, job.corpus))

    @property
    def resized_spec(self) -> ModelSpec:
        """``spec`` with a row of embedding and head for every token of the corpus."""
        assert self.spec is not None
        return replace(self.spec, vocab=self.vocabulary.rows)
