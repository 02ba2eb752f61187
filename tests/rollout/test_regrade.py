"""Episodes judged again: what changes, what stays, and that no bank is ever changed."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from rollout import (
    Message,
    Outcome,
    TaskRef,
    TaskReferences,
    TaskSet,
    Trajectory,
    load_tasks,
    read_trajectories,
    regrade_bank,
)
from rollout.bank.store import TrajectoryStore
from rollout.bank.trajectory import GivenVerdict, Grading
from tests.helpers.episodes import record

WRONG, SOLVED = "wrong_answer", "solved"


def episode(number: int, answers: list[str], grading: Grading | None, solved: bool) -> Trajectory:
    """An episode whose assistant proposed these answers."""
    messages = [Message(role="user", kind="task", content="?")]
    messages += [
        Message(role="assistant", kind="proposal", content=f"It is <solution>{answer}</solution>") for answer in answers
    ]
    outcome = Outcome(success=solved, reward=float(solved), reason=SOLVED if solved else WRONG)
    return record(number).model_copy(
        update={"messages": tuple(messages), "outcome": outcome, "grading": grading, "id": f"e{number}"}
    )


def graded(grader: str, reference: str) -> Grading:
    return Grading(grader=grader, reference=reference)


EPISODES = [
    episode(0, ["7"], graded("number", "7"), solved=True),
    episode(1, ["104"], graded("number", "100"), solved=True),  # the reference's 5 %
    episode(2, ["1", "-3"], graded("number", "-3"), solved=False),
    episode(3, ["8"], graded("number", "7"), solved=False),
    episode(4, [], graded("number", "7"), solved=False),
    episode(5, ["7"], None, solved=True),
    episode(6, ["maybe"], graded("yes_no", "perhaps"), solved=True),
    episode(7, ["5"], graded("nowhere", "5"), solved=True),
    episode(8, ["I know"], graded("short_answer", "no"), solved=True),
]


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    with TrajectoryStore(tmp_path / "bank") as store:
        for stored in EPISODES:
            store.append(stored)
    return tmp_path / "bank"


def test_a_bank_is_judged_again(bank: Path, tmp_path: Path) -> None:
    before = hashlib.sha256((bank / "trajectories-00001.jsonl").read_bytes()).hexdigest()
    changes = regrade_bank(bank, tmp_path / "new")
    assert hashlib.sha256((bank / "trajectories-00001.jsonl").read_bytes()).hexdigest() == before
    assert (changes.episodes, changes.graded, changes.changes) == (9, 5, 3)
    assert changes.not_graded.total() == 4
    assert {(change, grader): ids for (change, grader, _), ids in changes.changed.items()} == {
        ("right → wrong", "number"): ["e1"],
        ("wrong → right", "number"): ["e2"],
        ("right → wrong", "short_answer"): ["e8"],
    }
    new = {found.id: found for found in read_trajectories(tmp_path / "new")}
    assert list(new) == [stored.id for stored in EPISODES]
    assert (new["e1"].outcome.success, new["e1"].outcome.reward, new["e1"].outcome.reason) == (False, 0.0, WRONG)
    assert (new["e2"].outcome.success, new["e2"].outcome.reward, new["e2"].outcome.reason) == (True, 1.0, SOLVED)
    assert [given.kind for given in new["e2"].grading.verdicts] == ["wrong", "right"]
    for same in ("e0", "e3", "e4", "e5", "e6", "e7"):
        assert new[same].outcome == next(stored.outcome for stored in EPISODES if stored.id == same)


def test_no_verdict_is_no_failure(bank: Path, tmp_path: Path) -> None:
    regrade_bank(bank, tmp_path / "new")
    (found,) = [found for found in read_trajectories(tmp_path / "new") if found.id == "e6"]
    assert found.outcome.success and found.grading and found.grading.verdicts[0].kind == "none"


def test_another_grader_and_a_reference_that_is_looked_up(bank: Path) -> None:
    def find(task: TaskRef) -> tuple[str, str]:
        return "number", "7"

    changes = regrade_bank(bank, grader="exact", find=find)
    assert changes.graded == 8 and ("right → wrong", "exact") in {key[:2] for key in changes.changed}


def test_regraded_twice_nothing_changes(bank: Path, tmp_path: Path) -> None:
    regrade_bank(bank, tmp_path / "new")
    again = regrade_bank(tmp_path / "new", tmp_path / "newer")
    assert again.changes == 0
    first, second = (list(read_trajectories(tmp_path / name)) for name in ("new", "newer"))
    assert first == second


def test_the_verb(bank: Path, tmp_path: Path) -> None:
    out = tmp_path / "new"
    run = CliRunner().invoke(app, ["bank", "regrade", str(bank), "--out", str(out), "--json"])
    found = json.loads(run.stdout)
    assert run.exit_code == 0 and found["changes"] == 3 and found["changed"][0]["count"] == 1
    refused = CliRunner().invoke(app, ["bank", "regrade", str(bank), "--out", str(out)])
    assert refused.exit_code == 2
    assert CliRunner().invoke(app, ["bank", "regrade", str(bank), "--grader", "none"]).exit_code == 2
    assert CliRunner().invoke(app, ["bank", "regrade", str(tmp_path / "nowhere")]).exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank", "new"]


def test_a_stored_verdict_says_what_was_graded(bank: Path, tmp_path: Path) -> None:
    stored = Grading(grader="exact", reference="d1", verdicts=(GivenVerdict(kind="wrong", proposed="d1"),))
    with TrajectoryStore(bank) as store:
        store.append(episode(9, ["done"], stored, solved=False))
    regrade_bank(bank, tmp_path / "new")
    assert list(read_trajectories(tmp_path / "new"))[-1].outcome.success


def test_references_of_earlier_versions_are_found_in_the_task_sets(tmp_path: Path) -> None:
    chosen = TaskSet(count=3)
    tasks = load_tasks(chosen)
    with TrajectoryStore(tmp_path / "bank") as store:
        for number, task in enumerate(tasks):
            old = episode(number, [task.answer if number else "no idea"], None, solved=True)
            store.append(old.model_copy(update={"task": task.ref}))
        changed = tasks[0].ref.model_copy(update={"digest": "of another version"})
        store.append(episode(9, ["1"], None, solved=True).model_copy(update={"task": changed}))
    changes = regrade_bank(tmp_path / "bank", find=TaskReferences([chosen]))
    assert (changes.graded, changes.changes) == (3, 1)
    assert changes.not_graded == {"its reference is not known": 1}
