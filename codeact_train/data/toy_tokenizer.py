"""A small byte-level BPE tokenizer with ChatML, made on the spot.

Contract: the same texts and size give the same vocabulary. Every text can be encoded, because all 256 bytes are tokens.
Needs no network. For models that exist for a minute: parity runs, miniature jobs, tests.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from codeact_train.data.tokenizer import CHATML

SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
BYTES_ONLY = len(SPECIAL_TOKENS) + 256
"""The smallest vocabulary: special tokens and bytes, no merges."""


def make_toy_tokenizer(
    texts: Iterable[str] = (), vocab_size: int = BYTES_ONLY, *, bos_token: str | None = None
) -> PreTrainedTokenizerFast:
    """A tokenizer of at most ``vocab_size`` tokens, whose merges are learnt from ``texts``."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"} | ({"bos_token": bos_token} if bos_token else {})
    return PreTrainedTokenizerFast(tokenizer_object=bpe, chat_template=CHATML, **named)
