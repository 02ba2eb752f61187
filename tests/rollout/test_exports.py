"""Exports of a fixed bank: pairs, groups, labels and best episodes, row by row."""

import json
from pathlib import Path
from typing import Any

import pytest

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import Branch, Message, Outcome, Trajectory
from rollout.postprocess.exports import best_of, export_bank
from tests.helpers.episodes import record

SYSTEM, TASK = {"role": "system", "content": "s"}, {"role": "user", "content": "t"}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def saw(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def episode(number: int, *turns: str, solved: bool, task: int = 0, parent: str = "", reason: Any = None) -> Trajectory:
    """An episode of the given turns, assistant and user by turns."""
    base = record(task, success=solved)
    messages = list(base.messages[:2])
    for index, text in enumerate(turns):
        role, kind = ("user", "observation") if index % 2 else ("assistant", "action")
        messages.append(Message.model_validate({"role": role, "kind": kind, "content": text}))
    outcome = Outcome(success=solved, reward=float(solved), reason=reason or ("solved" if solved else "wrong_answer"))
    update: dict[str, Any] = {"id": f"e{number}", "messages": tuple(messages), "outcome": outcome}
    update["usage"] = base.usage.model_copy(update={"steps": (len(turns) + 1) // 2})
    update["branch"] = Branch(parent=parent, turn=4) if parent else None
    return base.model_copy(update=update)


BANK = (
    episode(1, "look", "12", "guess", "wrong", "give up", solved=False),
    episode(2, "look", "12", "count", "3", "say 3", solved=True),
    episode(3, "look", "12", "add", "3", "say 3", solved=True, parent="e1"),
    episode(4, "peek", "12", "say 4", solved=False),
    episode(5, "look", "13", "say 5", solved=False),
    episode(6, "look", solved=False, reason="deadline"),
    episode(7, "all right", solved=True, task=1),
    episode(8, "all right", solved=True, task=1),
    episode(9, "never", solved=False, task=2),
)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    with TrajectoryStore(tmp_path / "bank") as store:
        for one in BANK:
            store.append(one)
    return tmp_path / "bank"


def rows(bank: Path, form: str, **options: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
    out = bank.parent / "out" / f"{form}.jsonl"
    made = export_bank([bank], form, out, **options)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == made.rows
    return lines, dict(made.left_out)


def test_pairs_share_a_prompt_and_differ_in_one_turn_branches_first(bank: Path) -> None:
    pairs, left_out = rows(bank, "dpo")
    assert pairs[0] == {
        "prompt": [SYSTEM, TASK, said("look"), saw("12")],
        "chosen": [said("add")],
        "rejected": [said("guess")],
        "task": "t-0",
        "family": "f",
        "chosen_id": "e3",
        "rejected_id": "e1",
    }
    assert [(one["chosen"][0]["content"], one["rejected"][0]["content"]) for one in pairs[1:]] == [
        ("look", "peek"),
        ("count", "guess"),
    ]
    assert left_out == {
        "pairs that differ first in an observation": 2,
        "pairs with the same words": 1,
        "tasks that every episode solved": 1,
        "tasks that no episode solved": 1,
    }


def test_whole_episodes_are_compared_to_their_ends_and_pairs_of_a_task_are_limited(bank: Path) -> None:
    (pair,), left_out = rows(bank, "dpo", completion="episode", most_per_task=1)
    assert pair["chosen"] == [said("add"), saw("3"), said("say 3")]
    assert pair["rejected"] == [said("guess"), saw("wrong"), said("give up")]
    assert left_out["pairs above the number for a task"] == 5


def test_groups_hold_the_completions_of_a_prompt_with_their_rewards(bank: Path) -> None:
    groups, left_out = rows(bank, "grpo")
    assert [one["sampled_rewards"] for one in groups] == [[0.0, 1.0, 1.0, 0.0, 0.0], [1.0, 1.0]]
    assert groups[1]["prompt"] == [SYSTEM, TASK] and groups[1]["sampled_completions"] == [[said("all right")]] * 2
    assert groups[0]["ids"] == ["e1", "e2", "e3", "e4", "e5"], "an episode cut by a deadline says nothing"
    assert left_out == {"prompts with fewer than 2 episodes": 1}
    assert "completions" not in groups[0], "TRL's trainer passes an argument of this name to reward functions itself"


def test_labels_and_best_episodes(bank: Path) -> None:
    labelled, left_out = rows(bank, "kto")
    assert [one["label"] for one in labelled] == [False, True, True, False, False, True, True, False]
    assert left_out == {"episodes that ended with deadline": 1}
    best, _ = rows(bank, "sft", most_per_task=1)
    assert [one["id"] for one in best] == ["e2", "e7"] and best[1]["messages"] == [SYSTEM, TASK, said("all right")]
    assert [one.id for one in best_of(BANK, None)] == ["e2", "e3", "e7"], "the same words count once"


def test_a_bank_without_pairs_is_refused_and_no_file_appears(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "bank") as store:
        store.append(record(1))
    out = tmp_path / "pairs.jsonl"
    with pytest.raises(ValueError, match=r"1 episodes give no row of the form dpo .*collect\.sources\.samples"):
        export_bank([tmp_path / "bank"], "dpo", out)
    with pytest.raises(ValueError, match="'ppo' is not a form; choose from: dpo, grpo, kto, sft"):
        export_bank([tmp_path / "bank"], "ppo", out)
    assert not out.exists()
