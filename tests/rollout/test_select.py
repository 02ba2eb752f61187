"""Selection: every trajectory is kept or dropped for a reason, in any order of the store."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import Branch, Trajectory
from rollout.select import SelectConfig, choose, select_records, to_record
from tests.helpers.episodes import record

ANY = st.builds(
    record,
    st.integers(0, 30),
    success=st.booleans(),
    kind=st.sampled_from(["table", "sql", "math"]),
    model=st.sampled_from(["expert-0.15", "m"]),
    fails=st.integers(0, 2),
)


@given(st.lists(ANY, unique_by=lambda t: t.id), st.randoms(use_true_random=False))
def test_kept_and_dropped_add_up_and_order_does_not_matter(everything: list[Trajectory], rng: random.Random) -> None:
    kept, dropped = choose(everything, SelectConfig())
    assert len(kept) + dropped.total() == len(everything)
    assert all(t.outcome.success and t.usage.error_cells < t.usage.cells for t in kept)
    shuffled = list(everything)
    rng.shuffle(shuffled)
    assert choose(shuffled, SelectConfig()) == (kept, dropped)


def test_balance_cuts_the_common_kind() -> None:
    everything = [record(n, kind="table") for n in range(20)] + [record(n + 50, kind="sql") for n in range(4)]
    kept, dropped = choose(everything, SelectConfig(balance=1.5))
    assert sorted(t.task.kind for t in kept) == ["sql"] * 4 + ["table"] * 6
    assert dropped == {"surplus of its kind": 14}
    assert len(choose(everything, SelectConfig(balance=None))[0]) == 24


def test_the_models_own_episode_goes_before_the_experts() -> None:
    everything = [record(1, model="expert-0.15"), record(1, model="m")]
    kept, _ = choose(everything, SelectConfig(drop_duplicates=False, max_per_task=1))
    assert [t.model for t in kept] == ["m"]


def test_the_files(tmp_path: Path) -> None:
    with TrajectoryStore(tmp_path / "bank") as bank:
        for one in (record(0, fails=1), record(1, success=False), record(2, kind="sql")):
            bank.append(one)
    summary = select_records(tmp_path / "bank", tmp_path / "records.jsonl", tmp_path / "selection.json", SelectConfig())
    assert summary == json.loads((tmp_path / "selection.json").read_text())
    assert (summary["input"], summary["kept"], summary["dropped"]) == (3, 2, {"not solved: wrong_answer": 1})
    assert summary["by_model"]["m"] == {"episodes": 3, "successes": 2, "kept": 2}
    lines = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    turns = next(line for line in lines if line["id"].startswith("t-0"))["conversations"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant", "user", "assistant"]
    assert [turn.get("weight") for turn in turns] == [None, None, 0.0, None, None, None, None]


def test_episodes_of_one_task_are_one_group() -> None:
    one, again, other = (to_record(record(n, model=m), SelectConfig()) for n, m in ((1, "m"), (1, "o"), (2, "m")))
    assert one["group"] == again["group"] != other["group"] and one["id"] != again["id"]


def test_a_failed_turn_can_be_trained_too() -> None:
    turns = to_record(record(0, fails=1), SelectConfig(failed_cell_weight=0.5))["conversations"]
    assert turns[2]["weight"] == 0.5


def test_reasoning_is_trained_only_when_it_is_asked_for() -> None:
    plain = record(0)
    thought = plain.messages[2].model_copy(update={"reasoning": "so"})
    with_thought = plain.model_copy(update={"messages": (*plain.messages[:2], thought, *plain.messages[3:])})
    assert to_record(with_thought, SelectConfig()) == to_record(plain, SelectConfig())
    turn = to_record(with_thought, SelectConfig(reasoning=True))["conversations"][2]
    assert turn["content"] == f"<think>\nso\n</think>\n\n{plain.messages[2].content}"


def test_an_empty_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="collect first"):
        select_records(tmp_path, tmp_path / "r", tmp_path / "s", SelectConfig())
    with TrajectoryStore(tmp_path) as bank:
        bank.append(record(0, success=False))
    with pytest.raises(ValueError, match="nothing is left of 1 trajectories"):
        select_records(tmp_path, tmp_path / "r", tmp_path / "s", SelectConfig())
    assert not (tmp_path / "r").exists()


def test_the_best_episodes_of_a_task_and_the_best_branches_of_an_episode_stay() -> None:
    def made(number: int, steps: int, parent: str | None = None) -> Trajectory:
        one = record(0)
        branch = Branch(parent=parent, turn=2) if parent else None
        said = one.messages[-1].model_copy(update={"content": f"<solution>{number}</solution>"})
        usage = one.usage.model_copy(update={"steps": steps})
        update = {"id": f"e{number}", "usage": usage, "branch": branch, "messages": (*one.messages[:-1], said)}
        return one.model_copy(update=update)

    everything = [made(1, 5), made(2, 3), made(3, 4, "p"), made(4, 2, "p"), made(5, 9, "q")]
    kept, dropped = choose(everything, SelectConfig(best_first=True, max_per_parent=1))
    assert [t.id for t in kept] == ["e1", "e2", "e4", "e5"] and dropped == {"enough branches of its parent": 1}
    kept, dropped = choose(everything, SelectConfig(best_first=True, max_per_task=2))
    assert [t.id for t in kept] == ["e2", "e4"] and dropped == {"enough of its task": 3}
    kept, _ = choose(everything, SelectConfig(max_per_task=2))
    assert [t.id for t in kept] == ["e1", "e2"]
