"""The tokenizer of a corpus: read from a model folder, plus the control tokens and chat template of a recipe.

Contract: the folder that :func:`write_tokenizer` leaves is all a server needs. When nothing changes, the model's files
are copied byte for byte. SentencePiece models without ``tokenizer.json`` are converted. The model itself is not resized
here: the trainer reads the vocabulary size from the corpus.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "tokenizer.model",
)  # fmt: skip

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""
"""ChatML: each turn between ``<|im_start|>`` and ``<|im_end|>``, its role in the first line."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder. Raises ``ValueError`` when it cannot be read or is not a fast tokenizer."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ValueError(f"model={folder}: cannot read its tokenizer: {str(error).splitlines()[0]}") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(f"model={folder}: its tokenizer is {type(tokenizer).__name__}; a fast tokenizer is needed")
    return tokenizer


def write_tokenizer(model: Path, out: Path, chat_template: str, add_tokens: Sequence[str]) -> tuple[str, ...]:
    """Write the tokenizer of ``model`` to ``out``; returns the tokens that were added.

    ``chat_template``: "own", "chatml", or a Jinja file. Tokens of ``add_tokens`` get the ids after the vocabulary, in
    order.
    """
    out.mkdir()
    if not add_tokens and chat_template == "own" and (model / "tokenizer.json").is_file():
        for name in TOKENIZER_FILES:
            if (model / name).is_file():
                shutil.copyfile(model / name, out / name)
        return ()
    tokenizer = load_tokenizer(model)
    vocabulary = tokenizer.get_vocab()
    added = tuple(token for token in add_tokens if token not in vocabulary)
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in added], special_tokens=True)
    if chat_template != "own":
        tokenizer.chat_template = _template(chat_template)
    if chat_template == "chatml":
        _check_chatml(model, tokenizer)
        tokenizer.eos_token = "<|im_end|>"  # generation stops at the end of a turn
    tokenizer.save_pretrained(out)
    return added


def _template(chat_template: str) -> str:
    if chat_template == "chatml":
        return CHATML
    if not Path(chat_template).is_file():
        raise ValueError(
            f"prepare.chat_template={chat_template}: no such file; give a Jinja file, 'chatml', or 'own' for the "
            "model's own"
        )
    return Path(chat_template).read_text(encoding="utf-8")


def _check_chatml(model: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    if missing := [token for token in ("<|im_start|>", "<|im_end|>") if token not in special]:
        raise ValueError(
            f"prepare.chat_template=chatml: the tokenizer of {model} has no control token {' or '.join(missing)}; "
            'set prepare.add_tokens to ["<|im_start|>", "<|im_end|>"]'
        )
