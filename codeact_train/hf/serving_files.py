"""The files a server needs beside the weights: configuration, tokenizer, and stop and padding tokens.

Contract: files are copied from the source model and the corpus, except for values that training determines: the
vocabulary size, the token that ends a turn, a different token for padding, the dtype of the weights. The end token is
the one with which the corpus's chat template ends a turn, since the model was trained to stop with it. A token that
ends earlier turns only (gpt-oss) is trained too and becomes a stop token. Stop tokens of the source stay stop tokens.
Cost: reading a tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.tokenizer_files import copy_tokenizer_files
from codeact_train.hf.folder import FETCH_AGAIN
from codeact_train.model import quantization
from codeact_train.system.failures import read_json_object

_MADE_TO_PAD = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>")


def write_serving_files(source: Path, tokenizer: Path, out: Path, *, dtype: str, vocab: int) -> None:
    """Write configuration and tokenizer into ``out``."""
    chat = ChatFormat(tokenizer)
    tokens = chat.tokenizer
    end = str(tokens.convert_ids_to_tokens(chat.end_token))
    pad = pad_token(tokens, end, vocab)
    pads = {} if pad is None else {"pad_token_id": tokens.convert_tokens_to_ids(pad)}
    named = {"eos_token": end} if pad is None else {"eos_token": end, "pad_token": pad}
    copy_tokenizer_files(tokenizer, out)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (out / name).is_file():
            _update(out / name, out / name, named)
    overrides = {"eos_token_id": chat.end_token, **pads, "dtype": dtype}
    _write_config(source / "config.json", out / "config.json", overrides, vocab)
    stops = list(dict.fromkeys([*chat.end_tokens, *_stops(source)]))
    eos = stops if len(stops) > 1 else chat.end_token
    name = "generation_config.json"
    _update(source / name, out / name, {"eos_token_id": eos, **pads})


def pad_token(tokenizer: PreTrainedTokenizerFast, end: str, rows: int) -> str | None:
    """A control token that never ends a turn and for which the model has one of its ``rows``, or ``None``.

    The first of: the tokenizer's padding token, a known padding token, the unknown token, the end token. Where the
    tokenizer's own padding token has no row, any control token that has one is better.
    """
    known = {token: number for token, number in tokenizer.get_vocab().items() if number < rows}
    for token in (tokenizer.pad_token, *_MADE_TO_PAD, tokenizer.unk_token, tokenizer.eos_token):
        if token in known and token != end:
            return str(token)
    if tokenizer.pad_token is None or tokenizer.pad_token in known:
        return None
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return min((known.keys() & special) - {end}, key=known.__getitem__, default=end)


def _stops(source: Path) -> list[int]:
    """Stop tokens of the source model."""
    for name in ("generation_config.json", "config.json"):
        if (source / name).is_file():
            stops = read_json_object(source / name, FETCH_AGAIN).get("eos_token_id")
            if stops is not None:
                return stops if isinstance(stops, list) else [stops]
    return []


def _write_config(source: Path, out: Path, overrides: dict[str, Any], vocab: int) -> None:
    """Write the model's configuration, without a quantization that the weights do not have. Multimodal models hold
    ``vocab_size`` in a nested text configuration."""
    config = read_json_object(source, FETCH_AGAIN)
    text = config.get("text_config", config)
    for part in (config, text):
        for key in ("torch_dtype", *quantization.KEYS):  # torch_dtype is the older name of dtype
            part.pop(key, None)
        part.update(overrides)
    text["vocab_size"] = vocab
    _write(out, config)


def _update(source: Path, out: Path, values: dict[str, Any]) -> None:
    """Copy a JSON object with changed values."""
    settings = read_json_object(source, FETCH_AGAIN) if source.is_file() else {}
    _write(out, {**settings, **values})


def _write(out: Path, settings: dict[str, Any]) -> None:
    out.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
