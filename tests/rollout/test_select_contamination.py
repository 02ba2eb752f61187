"""Episodes of evaluation tasks, and episodes that contain the prompt of one."""

import json
from pathlib import Path
from typing import Any

import pytest

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import Trajectory
from rollout.select import SelectConfig, choose, select_records
from tests.helpers.episodes import scripted_episode

ANSWER = ("proposal", "<solution>1</solution>", None)
QUESTION = "A farmer sells nineteen crates of pears on Monday and twice as many on Tuesday; how many crates in total?"
SHORT = "How many legs have three spiders and two cats?"
SAME = "Look at the page that is open in the browser and do on it what it asks for, step by step."
PACKAGES = ("miniwob/", "scienceworld/")  # tasks of packages that may be installed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data root with a test split of GSM8K: three questions, a boilerplate of twelve tasks, a prompt of eleven."""
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    shared = "Answer the following question with one number and nothing else than this one number please: {}"
    questions = [QUESTION, SHORT, "Why?", *(shared.format(n) for n in range(12)), *[SAME] * 11]
    rows = [json.dumps({"question": text, "answer": "#### 57"}) for text in questions]
    (folder / "test.jsonl").write_text("\n".join(rows))
    return tmp_path / "data"


def config(data: Path, **settings: Any) -> SelectConfig:
    decontaminate = {"data_root": str(data), **settings}
    return SelectConfig.model_validate({"require_clean_cell": False, "balance": None, "decontaminate": decontaminate})


def asks(text: str, task: str = "1", family: str = "f") -> Trajectory:
    return scripted_episode(("action", "<execute>1</execute>", "ok"), ANSWER, prompt=text, task=task, family=family)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Task:\n{QUESTION.upper()}", True),
        ("A farmer sells *nineteen* crates of pears on Monday and twice as many on Tuesday, then rests.", True),
        ("A farmer sells nineteen crates of pears on Monday and twice as", False),  # 12 words
        (f"Tell me: {SHORT}", True),  # shorter than 13 words, matched as a whole
        ("How many legs have three spiders and two", False),
        ("Why? " * 20, False),  # a prompt too short to compare
        ("Answer the following question with one number and nothing else than this one number please: x", False),
        (SAME, False),
    ],
)
def test_thirteen_words_of_a_prompt_are_a_match(data: Path, text: str, found: bool) -> None:
    _, dropped = choose([asks(text)], config(data))
    assert dropped == ({"contains a prompt of gsm8k/test": 1} if found else {})


def test_every_message_but_the_instructions_is_compared(data: Path) -> None:
    said = scripted_episode(("action", f"It is like: {QUESTION}", "ok"), ANSWER)
    instructed = scripted_episode(("action", "x", "ok"), ANSWER, instructions=QUESTION, task="2")
    kept, dropped = choose([said, instructed], config(data))
    assert kept == [instructed] and dropped == {"contains a prompt of gsm8k/test": 1}


def test_evaluation_tasks_are_held_out_by_id(data: Path, tmp_path: Path) -> None:
    here = asks("Something else", task="test-0", family="gsm8k")
    here = here.model_copy(update={"task": here.task.model_copy(update={"split": "test"})})
    trained = asks("Something else", task="train-0", family="gsm8k")
    listed = tmp_path / "list.jsonl"
    listed.write_text('{"family": "f", "split": "train", "id": "9"}\n')
    other = asks("And another", task="9")
    kept, dropped = choose([here, trained, other], config(data, lists=[str(listed)]))
    assert kept == [trained] and dropped == {"task of an evaluation set": 2}


def test_the_summary_names_what_was_compared_and_what_is_not_here(data: Path, tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "bank") as bank:
        bank.append(asks("Something else"))
    report = select_records(tmp_path / "bank", tmp_path / "r.jsonl", tmp_path / "s.json", config(data))
    found = report["decontamination"]
    of_files = {name: count for name, count in found["compared"].items() if not name.startswith(PACKAGES)}
    assert of_files == {"gsm8k/test": 26} and "gsm8k/train" not in found["not_compared"]
    assert all("not " in reason for reason in found["not_compared"].values())


def test_sets_can_be_named_or_left_out(data: Path, tmp_path: Path) -> None:
    named = config(data, sets=[{"family": "gsm8k", "split": "test", "count": None, "data_root": str(data)}])
    assert choose([asks(QUESTION)], named)[1] == {"contains a prompt of gsm8k/test": 1}
    with pytest.raises(ValueError, match="there is no evaluation set on this machine"):
        choose([asks(QUESTION)], config(data, leave_out=["gsm8k/*"]))
    with pytest.raises(ValueError, match="there is no evaluation set on this machine"):
        choose([asks(QUESTION)], config(tmp_path / "empty"))
