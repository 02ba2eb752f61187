"""The tokenizer of a corpus: read from a model folder, plus the control tokens and chat template of a recipe.

Contract: the folder that :func:`write_tokenizer` leaves is all a server needs. When nothing changes, the model's files
are copied byte for byte. SentencePiece models without ``tokenizer.json`` are converted. The model itself is not resized
here: the trainer reads the vocabulary size from the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from codeact_train.data.tokenizer_files import check_json_files, copy_tokenizer_files, read_object, write_class_hint

CHATML = """\
{%- for message in messages -%}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""
"""ChatML: each turn between ``<|im_start|>`` and ``<|im_end|>``, its role in the first line."""


def load_tokenizer(folder: Path, named: Path | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder; code that comes with a model is not run.

    ``named``: the folder for error messages, where ``folder`` is a copy. Raises ``ValueError`` when it cannot be read
    or is not a fast tokenizer.
    """
    named = named or folder
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise many types, plain Exception among them
        check_json_files(folder, named)
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(str(folder), str(named))
        raise ValueError(
            f"model={named}: cannot read its tokenizer ({reason}); fetch the model again, or save its tokenizer with "
            "save_pretrained()"
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ValueError(
            f"model={named}: its tokenizer is {type(tokenizer).__name__}, which has no fast form (tokenizer.json); "
            "convert it, or choose another model"
        )
    return tokenizer


def write_tokenizer(
    model: Path, out: Path, chat_template: str, add_tokens: Sequence[str], rows: int | None = None
) -> tuple[str, ...]:
    """Write the tokenizer of ``model`` to ``out``; returns the tokens that were added.

    ``chat_template``: "own", "chatml", or a Jinja file. Each token of ``add_tokens`` is a control token afterwards. New
    ones get the ids after the vocabulary, in order. ``rows``: rows of the model's embedding, if known; a token of
    ``add_tokens`` that the tokenizer has but the model has no row for counts as added.
    """
    out.mkdir()
    if not add_tokens and chat_template == "own" and (model / "tokenizer.json").is_file():
        copy_tokenizer_files(model, out)
        write_class_hint(model, out)
        return ()
    tokenizer = load_tokenizer(model)
    vocabulary = tokenizer.get_vocab()
    wanted = tuple(dict.fromkeys(add_tokens))
    tokenizer.add_tokens([AddedToken(t, special=True, normalized=False) for t in wanted], special_tokens=True)
    if chat_template != "own":
        tokenizer.chat_template = _template(chat_template)
    if chat_template == "chatml":
        _check_chatml(model, tokenizer, wanted)
        tokenizer.eos_token = "<|im_end|>"  # generation stops at the end of a turn
    now = tokenizer.get_vocab()
    new = {token: now[token] for token in wanted if token not in vocabulary}
    _check_new_ids(model, new, vocabulary)
    tokenizer.save_pretrained(out)
    _make_special(out, wanted)
    write_class_hint(model, out)
    return tuple(t for t in wanted if t in new or (rows is not None and vocabulary[t] >= rows))


def _template(chat_template: str) -> str:
    if chat_template == "chatml":
        return CHATML
    if not Path(chat_template).is_file():
        raise ValueError(
            f"prepare.chat_template={chat_template}: no such file; give a Jinja file, 'chatml', or 'own' for the "
            "model's own"
        )
    return Path(chat_template).read_text(encoding="utf-8")


def _check_chatml(model: Path, tokenizer: PreTrainedTokenizerFast, made_special: Sequence[str]) -> None:
    special = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special} | set(made_special)
    if missing := [token for token in ("<|im_start|>", "<|im_end|>") if token not in special]:
        raise ValueError(
            f"prepare.chat_template=chatml: the tokenizer of {model} has no control token {' or '.join(missing)}; "
            'set prepare.add_tokens to ["<|im_start|>", "<|im_end|>"]'
        )


def _check_new_ids(model: Path, new: dict[str, int], vocabulary: dict[str, int]) -> None:
    """The library numbers new tokens by the size of the vocabulary, which is taken where ids have holes."""
    taken = {number: token for token, number in vocabulary.items()}
    for token, number in new.items():
        if number in taken:
            raise ValueError(
                f"model={model}: the ids of its tokenizer have holes, and {token!r} of prepare.add_tokens would get id "
                f"{number}, which is {taken[number]!r}; give the vocabulary consecutive ids"
            )


def _make_special(folder: Path, tokens: Sequence[str]) -> None:
    """Mark tokens as control tokens in the files of a tokenizer; adding a token that exists changes nothing."""
    path = folder / "tokenizer.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    ordinary = [t for t in state["added_tokens"] if t["content"] in tokens and not t["special"]]
    if not ordinary:
        return
    for token in ordinary:
        token |= {"special": True, "normalized": False}
    path.write_text(json.dumps(state, ensure_ascii=False, indent=2), encoding="utf-8")
    settings = read_object(folder / "tokenizer_config.json", folder)
    for token in settings.get("added_tokens_decoder", {}).values():
        if token["content"] in tokens:
            token |= {"special": True, "normalized": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")
