"""Tokenizers that cannot be used are refused with the model's folder, the file and a fix; odd ones are taken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, LlamaConfig

from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.train import TrainConfig
from codeact_train.data.corpus import Corpus
from codeact_train.data.tokenizer import load_tokenizer, write_tokenizer
from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from codeact_train.data.vocabulary import Vocabulary
from codeact_train.hf.serving_files import write_serving_files
from codeact_train.plan import validate
from codeact_train.prepare import prepare
from tests.helpers.models import SHAPE
from tests.helpers.records import write_conversations, write_records

CONTROLS = ("<|im_start|>", "<|im_end|>")


def edited(model: Path, out: Path, name: str, change: Callable[[str], str]) -> Path:
    """A copy of a model's folder with one file changed."""
    shutil.copytree(model, out)
    (out / name).write_text(change((out / name).read_text()) if (out / name).is_file() else change(""))
    return out


def without_template(model: Path, out: Path) -> Path:
    """A copy of a model's folder without its chat template."""
    shutil.copytree(model, out)
    (out / "chat_template.jinja").unlink()
    return out


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tokenizer_config.json", '{"chat_template": ', r"tokenizer_config\.json is not JSON .*; fetch or save"),
        ("tokenizer_config.json", "[1]", r"tokenizer_config\.json holds a list, not a JSON object"),
        ("tokenizer.json", '{"version": "1.0"', r"tokenizer\.json is not JSON"),
        ("tokenizer.json", '{"version": "1.0"}', r"cannot read its tokenizer \(.*\); fetch the model again"),
        ("special_tokens_map.json", "{", r"special_tokens_map\.json is not JSON"),
        ("tokenizer_config.json", '{"tokenizer_class": "ByT5Tokenizer"}', r"ByT5Tokenizer, which has no fast form"),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["mine.Mine", null]}}', r"cannot read its tokenizer"),
    ],
)
def test_a_broken_file_is_named_with_the_models_folder(
    model: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    broken = edited(model, tmp_path / "broken", name, lambda _: content)
    records = write_records(tmp_path / "records.jsonl", 3)
    with pytest.raises(ValueError, match=said) as refused:
        prepare(records, broken, tmp_path / "corpus", PrepareConfig())
    assert f"model={broken}:" in str(refused.value)
    assert "corpus.building" not in str(refused.value)
    assert {path.name for path in tmp_path.iterdir()} == {"broken", "records.jsonl"}


def test_a_missing_template_is_named_with_the_models_folder(model: Path, tmp_path: Path) -> None:
    base = without_template(model, tmp_path / "base")
    records = write_records(tmp_path / "records.jsonl", 3)
    with pytest.raises(ValueError, match=rf"^model={base}: no chat template; .* prepare\.chat_template to chatml"):
        prepare(records, base, tmp_path / "corpus", PrepareConfig())
    prepare(records, base, tmp_path / "corpus", PrepareConfig(chat_template="chatml"))  # the fix works


def test_code_of_a_model_is_never_asked_for(model: Path, tmp_path: Path) -> None:
    """A terminal would wait for an answer."""
    settings = json.dumps({"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", None]}})
    own_code = edited(model, tmp_path / "own_code", "tokenizer_config.json", lambda _: settings)
    with pytest.raises(ValueError, match=rf"model={own_code}: cannot read its tokenizer"):
        load_tokenizer(own_code)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2"])
def test_a_corpus_has_the_class_of_tokenizer_that_a_server_chooses(model: Path, tmp_path: Path, kind: str) -> None:
    """Transformers looks at the model's ``config.json`` too, and some classes replace what ``tokenizer.json`` says."""
    own = edited(model, tmp_path / "model", "tokenizer_config.json", lambda _: '{"tokenizer_class": "LlamaTokenizer"}')
    (own / "config.json").write_text(json.dumps({"model_type": kind, "vocab_size": 301}))
    write_tokenizer(own, tmp_path / "tokenizer", "own", ())
    assert type(AutoTokenizer.from_pretrained(tmp_path / "tokenizer")) is type(AutoTokenizer.from_pretrained(own))


def padded_behind(folder: Path) -> Path:
    """A model whose tokenizer has a ``[PAD]`` behind the model's last row, as mirrors of Llama-2-7b-hf have."""
    tokenizer = make_toy_tokenizer()
    LlamaConfig(**{**SHAPE, "vocab_size": len(tokenizer)}).save_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    return folder


def test_a_padding_token_without_a_row_needs_none(tmp_path: Path) -> None:
    model = padded_behind(tmp_path / "model")
    rows = AutoTokenizer.from_pretrained(model).get_vocab()["[PAD]"]
    prepare(
        write_records(tmp_path / "records.jsonl", 6), model, tmp_path / "corpus", PrepareConfig(sequence_length=512)
    )
    assert Vocabulary.read(model, tmp_path / "corpus") == Vocabulary(rows, (), rows)
    validate(TrainConfig(), model, corpus=tmp_path / "corpus")
    (tmp_path / "out").mkdir()
    write_serving_files(model, tmp_path / "corpus/tokenizer", tmp_path / "out", dtype="float32", vocab=rows)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["pad_token_id"] < rows
    served = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert served.pad_token_id == served.convert_tokens_to_ids("<|endoftext|>")


def test_rows_reach_over_a_padding_token_to_the_tokens_behind_it(tmp_path: Path) -> None:
    model = padded_behind(tmp_path / "model")
    pad = AutoTokenizer.from_pretrained(model).get_vocab()["[PAD]"]
    config = PrepareConfig(add_tokens=("<|call|>",))
    prepare(write_records(tmp_path / "records.jsonl", 6), model, tmp_path / "corpus", config)
    assert Corpus(tmp_path / "corpus").manifest["added_tokens"] == {"<|call|>": pad + 1}
    assert Vocabulary.read(model, tmp_path / "corpus") == Vocabulary(pad + 2, (pad, pad + 1), pad)


def test_a_token_without_a_row_that_documents_hold_is_added_on_request(tmp_path: Path) -> None:
    model = padded_behind(tmp_path / "model")
    pad = AutoTokenizer.from_pretrained(model).get_vocab()["[PAD]"]
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").write_text("{{ '[PAD]' }}" + template)
    records = write_records(tmp_path / "records.jsonl", 6)
    prepare(records, model, tmp_path / "corpus", PrepareConfig())
    with pytest.raises(
        ValueError, match=r'did not add \[PAD\], which .*; add them with prepare.add_tokens=\["\[PAD\]"\]'
    ):
        validate(TrainConfig(), model, corpus=tmp_path / "corpus")
    prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=512, add_tokens=("[PAD]",)))
    validate(TrainConfig(), model, corpus=tmp_path / "corpus")
    assert Vocabulary.read(model, tmp_path / "corpus") == Vocabulary(pad + 1, (pad,), pad)


def test_a_start_token_that_is_not_special_becomes_so(tmp_path: Path) -> None:
    """Dolphin and others have it in the vocabulary as an ordinary token."""
    tokenizer = make_toy_tokenizer()
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["content"] != "<|im_start|>"
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(state))
    assert not AutoTokenizer.from_pretrained(tmp_path / "model").added_tokens_decoder[1].special
    with pytest.raises(ValueError, match=r"no control token <\|im_start\|>; set prepare.add_tokens"):
        write_tokenizer(tmp_path / "model", tmp_path / "a", "chatml", ())
    assert write_tokenizer(tmp_path / "model", tmp_path / "b", "chatml", CONTROLS) == ()
    made = AutoTokenizer.from_pretrained(tmp_path / "b")
    assert made.added_tokens_decoder[1] == AddedToken("<|im_start|>", special=True, normalized=False)
    assert made.convert_tokens_to_ids("<|im_start|>") == 1
    said = write_conversations(tmp_path / "r.jsonl", {"a": ["say <|im_start|>", "yes"]})
    prepare(said, tmp_path / "model", tmp_path / "corpus", PrepareConfig(chat_template="chatml", add_tokens=CONTROLS))
    assert Corpus(tmp_path / "corpus").document(0).ids.tolist().count(1) == 2  # those of the template


def test_new_tokens_do_not_take_an_id_in_use(tmp_path: Path) -> None:
    """The library numbers them by the size of the vocabulary, which a vocabulary with holes reaches beyond."""
    tokenizer = make_toy_tokenizer()
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary: dict[str, Any] = state["model"]["vocab"]
    last = max(vocabulary, key=lambda token: vocabulary[token])
    vocabulary[last] += 1
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match=r"ids of its tokenizer have holes, and '<\|call\|>' of prepare.add_tokens"):
        write_tokenizer(tmp_path / "model", tmp_path / "out", "own", ("<|call|>", "<|reply|>"))


def test_a_tokenizer_of_vocabulary_and_added_tokens_alone(model: Path, tmp_path: Path) -> None:
    """``added_tokens.json`` gives ids too: it is copied, and part of the digest."""
    with_added = edited(model, tmp_path / "model", "added_tokens.json", lambda _: '{"<|call|>": 301}')
    records = write_records(tmp_path / "records.jsonl", 3)
    digests = []
    for _ in range(2):
        prepare(records, with_added, tmp_path / "corpus", PrepareConfig())
        digests.append(Corpus(tmp_path / "corpus").digest)
        assert (tmp_path / "corpus/tokenizer/added_tokens.json").read_bytes() == (
            with_added / "added_tokens.json"
        ).read_bytes()
        (with_added / "added_tokens.json").write_text('{"<|call|>": 301, "<|reply|>": 302}')
    assert digests[0] != digests[1]
    prepare(records, model, tmp_path / "corpus", PrepareConfig())
    assert Corpus(tmp_path / "corpus").digest not in digests
