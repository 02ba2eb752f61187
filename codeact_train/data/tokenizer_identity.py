"""Whether a corpus was made with the tokenizer of the model that is to be trained on it.

Contract: what is compared is the vocabulary: which token each id means. Chat templates, padding tokens and the tokens
that ``prepare.add_tokens`` added may differ, and the model may know further tokens. Two vocabularies of one size are
distinguished: Llama-2 and Mistral both have 32,000 tokens. A corpus without its tokenizer, or a model folder without
one, is accepted. Cost: nothing where the files are the same, else loading both tokenizers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from codeact_train.data.tokenizer import load_tokenizer
from codeact_train.data.tokenizer_files import has_tokenizer, same_vocabulary_files
from codeact_train.data.vocabulary import ids_used


def vocabulary_digest(vocabulary: Mapping[str, int]) -> str:
    """SHA-256 over ids and tokens, 16 hex digits."""
    total = hashlib.sha256()
    for number, token in sorted((number, token) for token, number in vocabulary.items()):
        total.update(f"{number} {token}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()[:16]


def check_tokenizer(model: Path, corpus: Path) -> None:
    """Raises ``ValueError`` when ids of the corpus mean other tokens in the model's tokenizer."""
    folder = corpus / "tokenizer"
    if same_vocabulary_files(model, folder) or not has_tokenizer(model):
        return
    manifest = json.loads((corpus / "corpus.json").read_text(encoding="utf-8"))
    made_from = manifest.get("model_vocabulary")
    models = load_tokenizer(model).get_vocab()
    if made_from == vocabulary_digest(models) or (made_from is None and not has_tokenizer(folder)):
        return
    difference = "its vocabulary differs"
    if has_tokenizer(folder):
        difference = _difference(load_tokenizer(folder).get_vocab(), models, manifest["added_tokens"], corpus)
    if difference:
        raise ValueError(
            f"corpus={corpus}: was made with another tokenizer than that of model={model}: {difference}; prepare the "
            "corpus for this model"
        )


def _difference(
    corpus_tokens: Mapping[str, int], model_tokens: Mapping[str, int], added: Mapping[str, int], corpus: Path
) -> str:
    """The first id that means different tokens, in words; empty when there is none."""
    names = {number: token for token, number in model_tokens.items()}
    unknown: dict[int, str] = {}
    for token, number in sorted(corpus_tokens.items(), key=lambda item: item[1]):
        if model_tokens.get(token) == number:
            continue
        if number in names:
            return f"id {number} is {token!r} in the corpus and {names[number]!r} in the model"
        if token in model_tokens:
            return f"{token!r} has id {number} in the corpus and {model_tokens[token]} in the model"
        if token not in added:
            unknown[number] = token
    if unknown and (used := ids_used(corpus, min(unknown)) & unknown.keys()):
        return f"documents hold {unknown[min(used)]!r} (id {min(used)}), which the model's tokenizer does not have"
    return ""
