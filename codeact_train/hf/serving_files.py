"""What a server needs beside the weights: configuration, tokenizer, and the tokens at which it stops and pads.

Contract: files are the source's and the corpus's but for what training has settled: the size of the vocabulary, the
token that ends a turn, a token that pads and is another one, the type of the weights. A turn's end is what the corpus's
chat template ends one with, so it is what the model was taught to stop with; tokens the source stopped at stay stop
tokens. Cost: reading a tokenizer.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.tokenizer import TOKENIZER_FILES

_MADE_TO_PAD = ("<pad>", "<|pad|>", "[PAD]", "<|finetune_right_pad_id|>")


def write_serving_files(source: Path, tokenizer: Path, out: Path, *, dtype: str, vocab: int) -> None:
    """Write configuration and tokenizer into ``out``."""
    chat = ChatFormat(tokenizer)
    tokens = chat.tokenizer
    end = str(tokens.convert_ids_to_tokens(chat.end_token))
    pad = pad_token(tokens, end)
    pads = {} if pad is None else {"pad_token_id": tokens.convert_tokens_to_ids(pad)}
    named = {"eos_token": end} if pad is None else {"eos_token": end, "pad_token": pad}
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, out / name)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (out / name).is_file():
            _update(out / name, out / name, named)
    settled = {"eos_token_id": chat.end_token, **pads, "dtype": dtype}
    _write_config(source / "config.json", out / "config.json", settled, vocab)
    stops = [chat.end_token, *(token for token in _stops(source) if token != chat.end_token)]
    eos = stops if len(stops) > 1 else chat.end_token
    name = "generation_config.json"
    _update(source / name, out / name, {"eos_token_id": eos, **pads})


def pad_token(tokenizer: PreTrainedTokenizerFast, end: str) -> str | None:
    """A control token that is never the last of a turn: the tokenizer's own, one made for it, or one that no text
    yields; ``None`` if there is none."""
    known = tokenizer.get_vocab()
    made = [token for token in _MADE_TO_PAD if token in known]
    for token in (tokenizer.pad_token, *made, tokenizer.unk_token, tokenizer.eos_token):
        if token and token != end:
            return str(token)
    return None


def _stops(source: Path) -> list[int]:
    """Tokens at which a server of the source's model stops."""
    for name in ("generation_config.json", "config.json"):
        if (source / name).is_file():
            stops = json.loads((source / name).read_text(encoding="utf-8")).get("eos_token_id")
            if stops is not None:
                return stops if isinstance(stops, list) else [stops]
    return []


def _write_config(source: Path, out: Path, settled: dict[str, Any], vocab: int) -> None:
    """The model's configuration. One of text and pictures has a configuration for text within its own, which says the
    vocabulary."""
    config = json.loads(source.read_text(encoding="utf-8"))
    text = config.get("text_config", config)
    for part in (config, text):
        part.pop("torch_dtype", None)  # the older name of dtype
        part.update(settled)
    text["vocab_size"] = vocab
    _write(out, config)


def _update(source: Path, out: Path, values: dict[str, Any]) -> None:
    """Copy a JSON object with other values."""
    settings = json.loads(source.read_text(encoding="utf-8")) if source.is_file() else {}
    _write(out, {**settings, **values})


def _write(out: Path, settings: dict[str, Any]) -> None:
    out.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
