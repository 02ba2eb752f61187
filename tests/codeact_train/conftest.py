"""A tokenizer, two models and a corpus, made once a session."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from codeact_train.config.prepare import PrepareConfig
from codeact_train.parity.toy_models import WORDS
from codeact_train.prepare import prepare
from tests.helpers.chat_families import sentencepiece_model
from tests.helpers.models import llama, training_tokenizer
from tests.helpers.records import write_records

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """301 tokens, ChatML."""
    return training_tokenizer()


@pytest.fixture(scope="session")
def pieces() -> bytes:
    """A SentencePiece model as Llama-2's."""
    text = [" ".join(WORDS) + " Observation: <execute> </execute> act user assistant ( ) 1 2 3", "two  spaces"] * 20
    return sentencepiece_model(text, 360)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """Tied embeddings, as SmolLM2 has."""
    return llama(tmp_path_factory.mktemp("tied"), tokenizer, tied=True)


@pytest.fixture(scope="session")
def untied_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A head of its own, as Llama-2 has."""
    return llama(tmp_path_factory.mktemp("untied"), tokenizer, tied=False)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """Thirty documents in packs of 320, a fifth of them held out."""
    folder = tmp_path_factory.mktemp("corpus")
    records = write_records(folder / "records.jsonl", 30)
    prepare(records, model, folder / "corpus", PrepareConfig(sequence_length=320, validation_share=0.2))
    return folder / "corpus"
