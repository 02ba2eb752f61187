"""A tokenizer, two models and a corpus, made once a session."""

import io
from pathlib import Path

import pytest
import sentencepiece
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers import decoders as token_decoders
from transformers import PreTrainedTokenizerFast

from codeact_train.config.prepare import PrepareConfig
from codeact_train.prepare import prepare
from tests.helpers.training import CHATML, WORDS, llama, write_records

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of 301 tokens (no size of a test layout divides it) with ChatML."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = token_decoders.ByteLevel()
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    text = [" ".join(WORDS) + " system user assistant Observation: <execute> </execute> <solution>"] * 5
    bpe.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=301,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    assert bpe.get_vocab_size() == 301
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.chat_template = CHATML
    return made


@pytest.fixture(scope="session")
def pieces() -> bytes:
    """A SentencePiece model as Llama-2's: BPE with byte fallback, begin 1 and end 2."""
    model = io.BytesIO()
    text = [" ".join(WORDS) + " Observation: <execute> </execute> act user assistant ( ) 1 2 3", "two  spaces"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text), model_writer=model, vocab_size=360, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


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
