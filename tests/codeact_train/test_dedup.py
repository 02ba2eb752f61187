"""Records that say what an earlier one says, or what an evaluation asks."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codeact_train.config.prepare import PrepareConfig
from codeact_train.data.corpus import Corpus
from codeact_train.parity.toy_models import WORDS
from codeact_train.prepare import prepare
from codeact_train.prepare.contamination import PromptFilter
from codeact_train.prepare.near_duplicates import near_duplicates, signature
from tests.helpers.records import write_conversations

LONG = " ".join(f"word{i}" for i in range(60))


def dropped(ledger: Any) -> dict[str, tuple[str, str]]:
    return {d.id: (d.reason, d.detail) for d in ledger.dropped_records}


def test_of_equal_conversations_the_first_stays(tmp_path: Path, model: Path) -> None:
    said = {"a": ["x", "one"], "b": ["x", "two"], "again": ["x", "one"], "turned": ["one", "x"]}
    records = write_conversations(tmp_path / "r.jsonl", said)
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig())
    assert dropped(ledger) == {"again": ("duplicate", "the same as a")}
    assert [n.id for n in Corpus(tmp_path / "corpus").names()] == ["a", "b", "turned"]
    assert ledger.tokens_dropped["duplicate"] == Corpus(tmp_path / "corpus").lengths[0]
    assert prepare(records, model, tmp_path / "off", PrepareConfig(deduplicate="off")).records_kept == 4


def test_near_duplicates_go_and_are_named(tmp_path: Path, model: Path) -> None:
    said = {"a": [LONG, "yes"], "b": [LONG + " more", "yes"], "c": [" ".join(WORDS * 4), "yes"]}
    records = write_conversations(tmp_path / "r.jsonl", said)
    config = PrepareConfig(sequence_length=2048, deduplicate="near")
    ledger = prepare(records, model, tmp_path / "corpus", config)
    assert dropped(ledger) == {"b": ("near_duplicate", "the same as a")}


def test_signatures_estimate_the_jaccard_similarity() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 50_000, 2000).astype(np.int32)
    for kept in (1.0, 0.9, 0.5, 0.0):
        other = np.concatenate([base[: int(2000 * kept)], rng.integers(0, 50_000, 2000 - int(2000 * kept))])
        runs = [{tuple(ids[i : i + 5]) for i in range(1996)} for ids in (base.tolist(), other.tolist())]
        true = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
        assert (signature(base) == signature(other.astype(np.int32))).mean() == pytest.approx(true, abs=0.12)


def test_likeness_is_not_passed_on() -> None:
    rng = random.Random(0)
    ids = [rng.randrange(10_000) for _ in range(400)]
    chain = []  # each like the one before, the ends not alike
    for _ in range(6):
        chain.append(signature(np.array(ids, np.int32)))
        ids = ids[30:] + [rng.randrange(10_000) for _ in range(30)]
    twin = near_duplicates(np.array(chain), np.ones(6, bool))
    stays = [i for i in range(6) if twin[i] == i]
    assert 1 < len(stays) < 6
    for row in set(range(6)) - set(stays):
        assert twin[row] in stays
        assert twin[row] < row
        assert (chain[row] == chain[twin[row]]).mean() >= 0.8
    dead = near_duplicates(np.array(chain), np.array([False, True, True, True, True, True]))
    assert (dead[0], dead[1]) == (0, 1), "what is dropped already takes nobody along"


QUESTION = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."


@pytest.fixture
def exam(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "exam.jsonl"
    asked = [{"question": QUESTION}, {"question": "What is two plus two?"}]
    path.write_text("".join(json.dumps(one) + "\n" for one in asked))
    return {"path": str(path), "field": "question"}


def test_records_that_hold_an_evaluation_prompt_go(tmp_path: Path, model: Path, exam: dict[str, str]) -> None:
    words = QUESTION.split()
    said = {
        "whole": [f"Task: {QUESTION}", "72"],
        "spelled otherwise": [QUESTION.upper().replace(",", " -- ").replace(" ", "\n"), "72"],
        "thirteen words": ["well " + " ".join(words[3:16]) + " indeed", "72"],
        "said by the model": ["go", f"The question: {QUESTION}"],
        "twelve words": ["well " + " ".join(words[3:15]) + " indeed", "72"],
        "too short to tell": ["What is two plus two?", "4"],
    }
    records = write_conversations(tmp_path / "r.jsonl", said)
    ledger = prepare(records, model, tmp_path / "corpus", PrepareConfig(sequence_length=512, decontaminate=[exam]))
    assert set(dropped(ledger)) == {"whole", "spelled otherwise", "thirteen words", "said by the model"}
    reason, detail = dropped(ledger)["thirteen words"]
    assert reason == "contaminated"
    assert detail.startswith(f"13 words of {tmp_path.name}/exam.jsonl, line 1: to 48 of her friends")
    (stats,) = ledger.evaluation_prompts.values()
    assert (stats.prompts, stats.too_short) == (2, 1)
    assert [json.loads(line)["id"] for line in (tmp_path / "corpus" / "dropped.jsonl").open()] == list(dropped(ledger))


def test_wording_that_many_prompts_share_is_no_content(tmp_path: Path) -> None:
    frame = "Answer the following question with a single number and nothing else at all please:"
    path = tmp_path / "exam.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{frame} how many are {i} and {i}"}) + "\n" for i in range(11)))
    prompt_filter = PromptFilter(PrepareConfig(decontaminate=[{"path": str(path)}]).decontaminate, 13)
    assert prompt_filter.find([f"{frame} what else"]) is None
    assert "line 4:" in (prompt_filter.find([f"{frame} how many are 3 and 3"]) or "")


def test_evaluation_files_that_cannot_be_read_are_named(tmp_path: Path, model: Path, exam: dict[str, str]) -> None:
    records = write_conversations(tmp_path / "r.jsonl", {"a": ["x", "y"]})
    faults = {"line 1 has no text under 'text'": {**exam, "field": "text"}, "no file none": {"path": "none"}}
    with pytest.raises(ValueError, match=r"exam.jsonl is listed twice"):
        prepare(records, model, tmp_path / "corpus", PrepareConfig(decontaminate=[exam, exam]))
    for said, wrong in faults.items():
        with pytest.raises(ValueError, match=said):
            prepare(records, model, tmp_path / "corpus", PrepareConfig(decontaminate=[wrong]))


def test_a_prompt_asked_many_times_is_no_wording_and_a_set_of_wording_screens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "exam.jsonl"
    path.write_text("".join(json.dumps({"prompt": QUESTION}) + "\n" for _ in range(20)))
    prompt_filter = PromptFilter(PrepareConfig(decontaminate=[{"path": str(path)}]).decontaminate, 13)
    assert "line 1:" in (prompt_filter.find([f"Task: {QUESTION}"]) or "")
    shared = " ".join(f"word{place}" for place in range(7))  # each run of eight words stands in twelve prompts
    asked = [f"begin{first} {shared} end{last}" for first in range(12) for last in range(12)]
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in asked))
    assert PromptFilter(PrepareConfig(decontaminate=[{"path": str(path)}]).decontaminate, 8).find(asked) is None
