"""Ids are the server's: every model family with every shape of conversation.

A cell holds when each document is ``apply_chat_template(tokenize=True)`` of the conversation's first messages and, for
every assistant turn, exactly one document begins with the ids a server is sent for this turn, trains the next token and
everything up to the turn's end token. Otherwise the conversation is refused with the reason in ``REFUSED``.
"""

import datetime
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from transformers.utils import chat_template_utils

from codeact_train.config.prepare import TEMPLATE_DATE
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.document import Document, Turn
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
