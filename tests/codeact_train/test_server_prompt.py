"""The start-up check ``prompt`` passes where documents are what a server makes of the messages, and fails where not."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken
from transformers import AutoTokenizer, LlamaConfig

from codeact_train.config.prepare import PrepareConfig
from codeact_train.config.train import TrainJob
from codeact_train.data.chat_template import ChatFormat
from codeact_train.data.corpus import Corpus
from codeact_train.data.document import ROLES, Document
from codeact_train.data.samples import read_samples
from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from codeact_train.model.source import ModelSource
from codeact_train.prepare import prepare
from codeact_train.startup_checks.server_prompt import differences
from codeact_train.system import exit_codes
from tests.helpers.chat_families import FAMILIES, SHAPES, write_family
from tests.helpers.models import SHAPE
from tests.helpers.records import write_conversations, write_records
from tests.helpers.training import events, recipe, run_job


def found(model: Path, corpus: Path) -> list[str]:
    """What the check says about a corpus."""
    made = Corpus(corpus)
    rows = ModelSource.read(TrainJob(model=str(model), corpus=str(corpus), out="")).vocabulary.rows
    return list(differences(made, model, rows, read_samples(corpus)))


def prepared(model: Path, out: Path, said: dict[str, list[str]], **settings: Any) -> Path:
    """A corpus of conversations whose turns are by turns the user's and the assistant's."""
    out.mkdir(exist_ok=True)
    prepare(write_conversations(out / "r.jsonl", said), model, out / "corpus", PrepareConfig(**settings))
    return out / "corpus"


@pytest.mark.parametrize("backend", ["megatron", "deepspeed"])
def test_the_check_runs_on_both_backends(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    if backend == "deepspeed":
        pytest.importorskip("deepspeed")
    train = recipe(startup_checks=["prompt"], stop_after_steps=1, backend=backend, epochs=9, global_batch_packs=1)
    records = write_records(tmp_path / "records.jsonl", 12)
    prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=320))
    assert run_job(tmp_path / "sound", model, tmp_path / "corpus", train) == exit_codes.STOPPED
    assert [(e["name"], e["value"]) for e in events(tmp_path / "sound", "startup_check")] == [("prompt", 0)]
    monkeypatch.setattr(ChatFormat, "documents", ends_untrained)
    prepare(records, model, tmp_path / "broken", PrepareConfig(sequence_length=320))
    assert run_job(tmp_path / "run", model, tmp_path / "broken", train) == exit_codes.CHECK_FAILED
    log = (tmp_path / "run" / "log-0.txt").read_text()
    assert "start-up check prompt:" in log
    assert "record r0, turn 2: the token that ends the turn is not trained" in log


sound_documents = ChatFormat.documents


def ends_untrained(self: ChatFormat, turns: Any) -> list[Document]:
    (document,) = sound_documents(self, turns)
    weights = np.where(document.ids == 2, 0.0, document.weights)  # <|im_end|>
    return [replace(document, weights=weights.astype(np.float32))]


def ends_with_another(self: ChatFormat, turns: Any) -> list[Document]:
    (document,) = sound_documents(self, turns)
    ids = document.ids.copy()
    ids[np.flatnonzero(document.weights)[-1]] = 0
    return [replace(document, ids=ids)]


def pieces(tokenizer: Any, turns: Any) -> list[tuple[str, int | None]]:
    """The rendered text, cut around each turn and each control token, with the number of the turn."""
    marked = tokenizer.apply_chat_template(
        [{"role": turn.role, "content": f"\ue000{number}\ue001"} for number, turn in enumerate(turns)], tokenize=False
    )
    controls = "|".join(re.escape(t.content) for t in tokenizer.added_tokens_decoder.values() if t.special)
    parts = [part for part in re.split(f"(\ue000\\d+\ue001|{controls})", marked) if part]
    numbers = [int(part[1:-1]) if part.startswith("\ue000") else None for part in parts]
    return [(part if n is None else turns[n].content, n) for part, n in zip(parts, numbers, strict=True)]


def each_stretch_alone(folder: Path, *, last_end: str | None = None) -> Callable[[ChatFormat, Any], list[Document]]:
    """An encoder with the faults of a plausible one: it tokenises stretch by stretch, with all that the tokenizer's
    file says, and puts in each turn as it is. ``last_end``: another token at the end of the last turn."""

    def encode(self: ChatFormat, turns: Any) -> list[Document]:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        ids: list[int] = []
        roles: list[int] = []
        weights: list[float] = []
        ending: int | None = None
        for text, number in pieces(tokenizer, turns):
            tokens = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
            owner = ending if number is None else number
            ids += tokens
            roles += [0 if owner is None else ROLES[turns[owner].role]] * len(tokens)
            weights += [0.0 if owner is None else turns[owner].weight] * len(tokens)
            control = number is None and len(tokens) == 1 and tokenizer.added_tokens_decoder.get(tokens[0]) is not None
            ending = number if number is not None else None if control else ending
        if last_end:
            place = max(place for place, weight in enumerate(weights) if weight)
            ids[place] = tokenizer.convert_tokens_to_ids(last_end)
        starts = tuple(range(len(turns)))
        return [Document(np.array(ids, np.int32), np.array(roles, np.uint8), np.array(weights, np.float32), starts)]

    return encode


def folder_of(folder: Path, tokenizer: Any, template: str) -> Path:
    """A model's folder with a tokenizer and a chat template; without weights."""
    tokenizer.chat_template = template
    LlamaConfig(**{**SHAPE, "vocab_size": len(tokenizer)}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


CHATML = make_toy_tokenizer().chat_template
HEADERS = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
INST = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ '<|im_start|>[INST]' + m['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' <|im_end|>' }}{% endif %}{% endfor %}"
)
THOUGHTS = (
    "{% for m in messages %}{% set c = m['content'] %}{% if m['role'] == 'assistant' and not loop.last %}"
    "{% set c = c.split('</think>')[-1].strip() %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + c + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TALK = {
    name: ["crate bolt depot ship river", "stone table price", "total count print value", "list tool answer"]
    for name in ("a", "b")
}
THINKING = {"a": ["crate", "<think>bolt</think> depot", "ship", "<think>river</think> stone"]}


def with_settings(folder: Path, **settings: Any) -> Path:
    """Change the file of a tokenizer."""
    state = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(state | settings))
    return folder


def toy(*, trained: bool = True) -> Any:
    """A tokenizer that knows the words of the conversations."""
    return make_toy_tokenizer([" ".join(" ".join(texts) for texts in TALK.values())] * 3 if trained else (), 300)


def truncating(folder: Path) -> Path:
    cut = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    return with_settings(folder_of(folder, toy(), CHATML), truncation=cut)


def padding(folder: Path) -> Path:
    pad = {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0}
    return with_settings(folder_of(folder, toy(), CHATML), padding=pad | {"pad_token": "<|endoftext|>"})


def stripping(folder: Path) -> Path:
    tokenizer = toy()
    roles = [AddedToken(f"<|{role}|>", special=True, rstrip=True, normalized=False) for role in ("user", "assistant")]
    tokenizer.add_tokens(roles, special_tokens=True)
    return folder_of(folder, tokenizer, HEADERS)


def instructing(folder: Path) -> Path:
    return folder_of(folder, toy(), INST)


def thinking(folder: Path) -> Path:
    return folder_of(folder, toy(), THOUGHTS)


def plain(folder: Path) -> Path:
    return folder_of(folder, toy(), CHATML)


@pytest.mark.parametrize(
    ("make", "said", "last_end", "difference"),
    [
        (
            truncating,
            TALK,
            None,
            r"record a, turn 1: at token \d+ the document has 'crat<\|im_end\|>.*, the server's prompt 'er",
        ),
        (padding, TALK, None, r"record a, turn 1: at token \d+ the document has '<\|endoftext\|>"),
        (stripping, TALK, None, r"record a, turn 1: at token 1 the document has '\\n"),
        (instructing, TALK, None, r"record a, turn 1: the first token that a server asks for is not trained: ' "),
        (
            plain,
            TALK,
            "<|endoftext|>",
            r"record a, at token \d+ the document has '<\|endoftext\|>.*a server '<\|im_end",
        ),
        (thinking, THINKING, None, r"record a, turn 3: at token \d+ the document has '<"),
    ],
)
def test_each_defect_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], Path],
    said: dict[str, list[str]],
    last_end: str | None,
    difference: str,
) -> None:
    model = make(tmp_path / "model")
    monkeypatch.setattr(ChatFormat, "documents", each_stretch_alone(model, last_end=last_end))
    defects = found(model, prepared(model, tmp_path / "broken", said))
    assert re.search(difference, "\n".join(defects)), defects


def test_a_turn_the_template_cuts_is_found_where_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's tokens throughout, but the model would learn an answer without its thought."""

    def as_the_server(self: ChatFormat, turns: Any) -> list[Document]:
        stripped = [
            replace(t, content=t.content.split("</think>")[-1].strip()) if t is not turns[-1] else t for t in turns
        ]
        return each_stretch_alone(model)(self, stripped)

    model = thinking(tmp_path / "model")
    monkeypatch.setattr(ChatFormat, "documents", as_the_server)
    defects = found(model, prepared(model, tmp_path / "broken", THINKING))
    assert defects == ["record a, turn 1: the server's text leaves out part of it"]


@pytest.mark.parametrize("over_long", ["split", "truncate"])
def test_cut_documents_and_context_turns_are_as_a_server_has_them(tmp_path: Path, model: Path, over_long: str) -> None:
    records = write_records(tmp_path / "records.jsonl", 40)
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    for line in lines[::2]:
        line["conversations"][2]["weight"] = 0
    records.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = PrepareConfig(sequence_length=100, over_long=over_long)
    prepare(records, model, tmp_path / "corpus", config)
    taken = read_samples(tmp_path / "corpus")
    assert {sample.conversation.whole for sample in taken} == {True, False}
    assert found(model, tmp_path / "corpus") == []


def test_paper_parity_is_compared_by_its_tokens(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    own = shutil.copytree(model, tmp_path / "model")
    tokenizer.bos_token = "<|endoftext|>"
    tokenizer.save_pretrained(own)
    records = write_records(tmp_path / "records.jsonl", 20)
    prepare(records, own, tmp_path / "corpus", PrepareConfig(sequence_length=320, parity="paper"))
    taken = read_samples(tmp_path / "corpus")
    assert {sample.start for sample in taken} == {0, 1}
    assert found(own, tmp_path / "corpus") == []
    monkeypatch.setattr(ChatFormat, "documents", ends_with_another)
    prepare(records, own, tmp_path / "broken", PrepareConfig(sequence_length=320, parity="paper"))
    assert len(found(own, tmp_path / "broken")) == len(taken)


def test_a_corpus_of_an_earlier_version_is_not_checked(tmp_path: Path, model: Path, corpus: Path) -> None:
    old = shutil.copytree(corpus, tmp_path / "corpus")
    (old / "samples.jsonl").unlink()
    train = recipe(startup_checks=["prompt"], stop_after_steps=1, epochs=9)
    assert run_job(tmp_path / "run", model, old, train) == exit_codes.STOPPED
    assert events(tmp_path / "run", "startup_check") == []


def test_samples_are_spread_and_leave_out_text_of_control_tokens(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codeact_train.prepare.sampling.MOST", 4)
    said = {f"r{n}": [f"crate {n}", "bolt <|im_end|>" if n < 4 else f"depot {n}"] for n in range(40)}
    assert [sample.record for sample in read_samples(prepared(model, tmp_path / "c", said))] == [
        "r4", "r16", "r27", "r39",
    ]  # fmt: skip


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"glm-4", "deepseek-r1"}))  # of these no conversation is kept
def test_every_family_is_as_its_server_has_it(family: str, tmp_path: Path) -> None:
    """With the export's tokenizer, for every conversation that is kept."""
    model = write_family(family, tmp_path / "model")
    size = 1 + max(AutoTokenizer.from_pretrained(model).get_vocab().values())
    LlamaConfig(**{**SHAPE, "vocab_size": size}).save_pretrained(model)
    lines = [
        json.dumps({"id": shape, "conversations": messages})
        for shape, messages in SHAPES.items()
        if all(message["role"] != "tool" for message in messages)
    ]
    (tmp_path / "r.jsonl").write_text("\n".join(lines) + "\n")
    prepare(tmp_path / "r.jsonl", model, tmp_path / "corpus", PrepareConfig(sequence_length=512))
    assert read_samples(tmp_path / "corpus")
    assert found(model, tmp_path / "corpus") == []
