"""The files of a tokenizer folder: which there are, whether they can be parsed, and which of them decide ids.

Contract: nothing here loads a tokenizer. A folder may hold further files, such as weights; they are ignored. Errors
name the folder the user gave, even where a copy of it is read. Cost: reading the JSON files.
"""

from __future__ import annotations

import filecmp
import json
import shutil
from pathlib import Path
from typing import Any

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "tokenizer.model",
)  # fmt: skip
"""The files nearly every model has; corpora of all versions are named by their contents."""

_ADDITIONS = ("added_tokens.json",)
_TEMPLATES = "additional_chat_templates"
_WITHOUT_TOKENIZER_JSON = (
    "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "tiktoken.model", "tekken.json",
)  # fmt: skip
"""Vocabularies that transformers reads only where there is no ``tokenizer.json``."""
_JSON = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
_CLASS_KEYS = ("model_type", "tokenizer_class", "model_name")


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds the vocabulary of a tokenizer."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", *_WITHOUT_TOKENIZER_JSON))


def further_files(folder: Path) -> list[str]:
    """Files besides :data:`TOKENIZER_FILES` that decide ids or the text of a template, relative to ``folder``."""
    names = [*_ADDITIONS, *(() if (folder / "tokenizer.json").is_file() else _WITHOUT_TOKENIZER_JSON)]
    templates = sorted(path.name for path in (folder / _TEMPLATES).glob("*.jinja"))
    return [name for name in names if (folder / name).is_file()] + [f"{_TEMPLATES}/{name}" for name in templates]


def same_vocabulary_files(first: Path, second: Path) -> bool:
    """Whether two folders hold the same vocabulary, byte for byte; ``False`` also where neither holds one."""
    names = [name for name in ("tokenizer.json", "tokenizer.model") if (first / name).is_file()]
    return bool(names) and all(_same(first / name, second / name) for name in (*names, "added_tokens.json"))


def _same(first: Path, second: Path) -> bool:
    if not (first.is_file() and second.is_file()):
        return first.is_file() == second.is_file()
    return filecmp.cmp(first, second, shallow=False)


def copy_tokenizer_files(source: Path, out: Path) -> None:
    """Copy the tokenizer of a model folder, byte for byte."""
    for name in (*TOKENIZER_FILES, *further_files(source)):
        if (source / name).is_file():
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, out / name)


def write_class_hint(model: Path, out: Path) -> None:
    """Write the keys of a model's ``config.json`` by which transformers chooses the class of the tokenizer.

    A server reads the tokenizer beside the model's ``config.json``; without it the same files may get another class,
    and some classes replace the normalizer that ``tokenizer.json`` names.
    """
    config = read_object(model / "config.json", model) if (model / "config.json").is_file() else {}
    hint = {key: config[key] for key in _CLASS_KEYS if config.get(key)}
    if hint:
        (out / "config.json").write_text(json.dumps(hint, indent=1), encoding="utf-8")


def check_json_files(folder: Path, named: Path) -> None:
    """Raises ``ValueError`` naming the file of the folder ``named`` that is not a JSON object."""
    for name in _JSON:
        if (folder / name).is_file():
            read_object(folder / name, named)


def read_object(path: Path, named: Path) -> dict[str, Any]:
    """The object in a JSON file of the folder ``named``. Raises ``ValueError`` when it holds something else."""
    fix = "fetch or save the model again"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"model={named}: cannot read {path.name} ({error.strerror}); {fix}") from error
    except ValueError as error:
        raise ValueError(f"model={named}: {path.name} is not JSON ({error}); {fix}") from error
    if not isinstance(value, dict):
        raise ValueError(f"model={named}: {path.name} holds a {type(value).__name__}, not a JSON object; {fix}")
    return value
