"""The family reasoning_gym with a stand-in of its package, and without it."""

import sys
from pathlib import Path

import pytest

from rollout import TaskSet, load_tasks
from rollout.families import data_family
from rollout.graders import judge

STAND_IN = """
from types import SimpleNamespace
__version__ = "9"
factory = SimpleNamespace(DATASETS={"sums": 1, "odd": 2})
class Dataset:
    def __init__(self, name, seed, size): self.name, self.seed = name, seed
    def __getitem__(self, n):
        answer = None if self.name == "odd" else str(self.seed + n)
        return {"question": f"{self.name} {self.seed} {n}?", "answer": answer}
    def score_answer(self, said, entry):
        return 1.0 if said == entry["answer"] else 0.25 if int(said) else 0.0
def create_dataset(name, seed, size): return Dataset(name, seed, size)
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name with two generators, also for the grader's process."""
    (tmp_path / "reasoning_gym.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "reasoning_gym", raising=False)
    return tmp_path


@pytest.mark.usefixtures("package")
def test_tasks_follow_from_the_seed_and_no_question_is_in_both_splits() -> None:
    def questions(split: str, seed: int, count: int = 12) -> list[str]:
        chosen = TaskSet(family="reasoning_gym", split=split, count=count, seed=seed, kinds=("sums",))
        return [task.prompt for task in load_tasks(chosen)]

    assert questions("train", 1) == questions("train", 1) != questions("train", 2)
    assert len(questions("heldout", 1)) == 12 and not set(questions("heldout", 1)) & set(questions("train", 1, 60))
    loaded = data_family("reasoning_gym").load("train")
    assert len(loaded.tasks) == 5 and loaded.refused == {"no reference answer": 5}


@pytest.mark.usefixtures("package")
def test_the_score_of_the_generator_decides_in_a_process() -> None:
    task = load_tasks(TaskSet(family="reasoning_gym", count=1, kinds=("sums",)))[0]
    verdicts = [judge(task.grader, said, task.answer) for said in (task.solution, "-7", "x")]
    assert [(verdict.kind, verdict.reward) for verdict in verdicts] == [("right", 1.0), ("wrong", 0.25), ("wrong", 0.0)]
    other = judge(task.grader, "1", task.answer.replace('"version": "9"', '"version": "8"'))
    assert other.kind == "none" and "made by reasoning-gym 8, and 9 is installed" in other.reason


def test_without_the_package_the_way_to_get_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ValueError, match=r"needs the package reasoning-gym.*pip install 'codeact\[reasoning-gym\]'"):
        load_tasks(TaskSet(family="reasoning_gym", count=1))
