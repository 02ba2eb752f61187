"""Counting tokens with the tokenizer of a model folder.

Contract: control tokens that a tokenizer adds by itself do not count, and nothing is truncated. Cost: a second for a
million tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rollout import CountTokens


def token_counter(model: Path) -> CountTokens:
    """Texts → number of tokens of each, by the tokenizer of a Hugging Face folder."""
    if (model / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        fast = Tokenizer.from_file(str(model / "tokenizer.json"))
        fast.no_truncation()
        fast.no_padding()

        def count(texts: Sequence[str]) -> list[int]:
            return [len(one.ids) for one in fast.encode_batch_fast(list(texts), add_special_tokens=False)]

        return count
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(model)
    return lambda texts: [len(ids) for ids in slow(list(texts), add_special_tokens=False)["input_ids"]]
