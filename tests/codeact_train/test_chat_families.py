"""Ids are the server's: every model family with every shape of conversation.

A cell holds when each document is ``apply_chat_template(tokenize=True)`` of the conversation's first messages and, for
every assistant turn, exactly one document begins with the ids a server is sent for this turn, trains the next token and
everything up to the turn's end token. Otherwise the conversation is refused with the reason in ``REFUSED``.
"""

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from codeact_train.config.prepare import TEMPLATE_DATE, PrepareConfig
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES, Document, Turn
from codeact_train.prepare import prepare
from codeact_train.startup_checks.mask_audit import unended_turns
from tests.helpers.chat_families import FAMILIES, SHAPES, cells, write_family

ALTERNATE = "conversation roles must alternate"
LEFT_OUT = "leaves out"
NO_THOUGHT = r"prompt for turn \d is not the beginning of the rendered conversation"
ALTERNATING = {"llama-2", "mistral-v0.1", "mistral-v0.3", "gemma", "command-r"}
ALTERNATING |= {"sentencepiece llama-2", "sentencepiece mistral"}
REFUSED: dict[tuple[str, str], str] = {
    **{(family, shape): ALTERNATE for family in ALTERNATING for shape in ("two users", "tool")},
    **{(family, "system"): ALTERNATE for family in ("mistral-v0.1", "sentencepiece mistral")},
    ("gemma", "system"): "System role not supported",
    ("mistral-v0.3", "system"): LEFT_OUT,  # it writes the system turn only where the user's turn is the last
    **{(family, "tool"): LEFT_OUT for family in ("phi-3", "zephyr", "deepseek-v3", "deepseek-r1")},
    ("gpt-oss", "tool"): "no previous assistant message with a tool call",
    # its prompts begin a thought, and its conversations hold none
    **{("deepseek-r1", shape): NO_THOUGHT for shape in SHAPES if shape not in ("tool", "thoughts")},
    ("deepseek-r1", "thoughts"): "rewrites the text of turn 3",
    **{("glm-4", shape): "without a control token" for shape in SHAPES},  # the next turn's header ends a turn
}
APART = {("qwen2.5", "line breaks first"), ("smollm2", "line breaks first"), ("unigram", "line breaks first")}
"""A joint token would hold the end of the prompt and the beginning of the turn, so the turn is encoded apart."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("families")
    return {name: write_family(name, root / name) for name in FAMILIES}


@pytest.fixture
def server(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tokenizers as a server loads them, on the day that templates write."""

    class Day(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Day":
            return cls.fromisoformat(TEMPLATE_DATE)

    monkeypatch.setattr(chat_template_utils, "datetime", Day)
    return lambda family: AutoTokenizer.from_pretrained(folders[family])


@pytest.mark.parametrize(("family", "shape"), cells())
def test_ids_are_the_servers_or_the_reason_is_known(
    family: str, shape: str, folders: dict[str, Path], server: Any
) -> None:
    messages = SHAPES[shape]
    turns = [Turn(m["role"], m["content"], float(m["role"] == "assistant")) for m in messages]
    if reason := REFUSED.get((family, shape)):
        with pytest.raises(ValueError, match=f"(?i){reason}"):
            ChatFormat(folders[family]).documents(turns)
        return
    tokenizer, chat = server(family), ChatFormat(folders[family])
    documents = chat.documents(turns)
    rendered = [_ids(tokenizer, messages[:count]) for count in range(1, len(messages) + 1)]
    others = [document for document in documents if document.ids.tolist() not in rendered]
    assert len(others) == ((family, shape) in APART)
    counted = 0
    for index in (i for i, message in enumerate(messages) if i and message["role"] == "assistant"):
        prompt = _ids(tokenizer, messages[:index], add_generation_prompt=True)
        (document,) = [one for one in documents if _trains_behind(one, prompt)]
        trained = _trained_behind(document, len(prompt))
        assert trained[-1] in chat.end_tokens
        said = " ".join(tokenizer.decode(trained).split())  # some tokenizers normalise blanks
        assert " ".join(messages[index]["content"].split()) in said
        counted += len(trained)
    assert counted == sum(int((document.weights > 0).sum()) for document in documents)


def _ids(tokenizer: Any, messages: list[dict[str, str]], **settings: bool) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **settings))


def _trains_behind(document: Document, prompt: list[int]) -> bool:
    count = len(prompt)
    return document.ids[:count].tolist() == prompt and len(document) > count and bool(document.weights[count] > 0)


def _trained_behind(document: Document, start: int) -> list[int]:
    """The trained tokens from ``start`` up to the first that is not."""
    behind = document.weights[start:] > 0
    return document.ids[start : start + (len(behind) if behind.all() else int(behind.argmin()))].tolist()


def test_thoughts_become_documents_of_their_own_and_are_counted(folders: dict[str, Path], tmp_path: Path) -> None:
    """Qwen3 leaves the first thought out of the second prompt, so no single document can train both turns."""
    records = tmp_path / "records.jsonl"
    records.write_text(
        json.dumps({"id": "thinks", "conversations": SHAPES["thoughts"]})
        + "\n"
        + json.dumps({"id": "speaks", "conversations": SHAPES["no system"]})
        + "\n"
    )
    ledger = prepare(records, folders["qwen3"], tmp_path / "corpus", PrepareConfig(sequence_length=128))
    assert (ledger.records_kept, ledger.records_unrolled, ledger.records_split, ledger.train.documents) == (2, 1, 1, 3)
    corpus, tokenizer = Corpus(tmp_path / "corpus"), AutoTokenizer.from_pretrained(folders["qwen3"])
    documents = [corpus.document(index) for index in range(2)]
    trained = [tokenizer.decode(document.ids[document.weights > 0]) for document in documents]
    assert [text.split("\n")[1] for text in trained] == ["count", "act"]


def test_other_end_tokens_of_earlier_turns_are_known(folders: dict[str, Path], tmp_path: Path) -> None:
    """gpt-oss ends the last turn with ``<|return|>`` and those before with ``<|end|>``."""
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"id": "a", "conversations": SHAPES["system"]}) + "\n")
    prepare(records, folders["gpt-oss"], tmp_path / "corpus", PrepareConfig(sequence_length=256))
    corpus, chat = Corpus(tmp_path / "corpus"), ChatFormat(folders["gpt-oss"])
    assert chat.tokenizer.convert_ids_to_tokens(list(corpus.end_tokens)) == ["<|return|>", "<|end|>"]
    document = corpus.document(0)
    said = document.roles == ROLES["assistant"]
    assert unended_turns(document, said, corpus.end_tokens) == 0
    assert unended_turns(document, said, [corpus.end_token]) == 1


def test_templates_write_the_day_of_the_configuration(folders: dict[str, Path], tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text(json.dumps({"id": "a", "conversations": SHAPES["no system"]}) + "\n")
    tokenizer = AutoTokenizer.from_pretrained(folders["llama-3.1"])
    digests = set()
    for day, written in ((TEMPLATE_DATE, "26 Jul 2024"), ("2025-03-01", "01 Mar 2025")):
        settings = PrepareConfig(sequence_length=256, template_date=day)
        prepare(records, folders["llama-3.1"], tmp_path / day, settings)
        corpus = Corpus(tmp_path / day)
        assert f"Today Date: {written}\n" in tokenizer.decode(corpus.document(0).ids)
        assert corpus.template_date == day
        digests.add(corpus.digest)
    assert len(digests) == 2
    with pytest.raises(ValueError, match="'yesterday' is no day; write it as YYYY-MM-DD"):
        PrepareConfig(template_date="yesterday")


def test_a_template_that_needs_a_system_turn(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["smollm2"], tmp_path / "strict")
    demand = "{% if messages[0]['role'] != 'system' %}{{ raise_exception('a system turn must come first') }}{% endif %}"
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").write_text(demand + template)
    turns = [Turn("system", "act"), Turn("user", "lamp"), Turn("assistant", "kettle", 1.0)]
    assert ChatFormat(folder).encode(turns).ids.tolist() == ChatFormat(folders["smollm2"]).encode(turns).ids.tolist()


@pytest.mark.parametrize(
    "saved",
    [
        {"truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}},
        {
            "padding": {
                "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
            }
        },
    ],
    ids=["truncation", "padding"],
)  # fmt: skip
def test_what_a_tokenizer_was_saved_with_changes_no_ids(
    saved: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = _with_tokenizer(folders["smollm2"], tmp_path / "saved", **saved)
    turns = [Turn(m["role"], m["content"], 1.0) for m in SHAPES["no system"]]
    assert ChatFormat(folder).encode(turns).ids.tolist() == ChatFormat(folders["smollm2"]).encode(turns).ids.tolist()


def test_a_tokenizer_with_random_ids_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    stored = json.loads((folders["smollm2"] / "tokenizer.json").read_text())
    folder = _with_tokenizer(folders["smollm2"], tmp_path / "random", model={**stored["model"], "dropout": 0.1})
    with pytest.raises(ValueError, match=r"model.dropout=0.1 makes the ids of a text random; set it to null"):
        ChatFormat(folder)


@pytest.mark.parametrize("family", ["llama-2", "phi-3", "gemma", "mistral-v0.3", "qwen3", "gpt-oss", "zephyr"])
def test_control_tokens_within_turns_stay_text(family: str, folders: dict[str, Path]) -> None:
    chat = ChatFormat(folders[family])
    special = {token for token, added in chat.tokenizer.added_tokens_decoder.items() if added.special}

    def controls(user: str, assistant: str) -> list[int]:
        document = chat.encode([Turn("user", user), Turn("assistant", assistant, 1.0)])
        return [token for token in document.ids.tolist() if token in special]

    plain = controls("lamp", "kettle")
    for index in special:
        token = chat.tokenizer.convert_ids_to_tokens(index)
        assert controls(f"lamp {token}\n{token}", f"{token} kettle{token}") == plain, token


def _with_tokenizer(source: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a model folder with other values in its ``tokenizer.json``."""
    shutil.copytree(source, folder)
    stored = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**stored, **changes}))
    return folder
