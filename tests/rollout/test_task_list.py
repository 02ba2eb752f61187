"""Lists of tasks: a set of tasks that takes only those of a list, and what is wrong with a list in one sentence."""

import json
from pathlib import Path

import pytest

from rollout.families import TaskSet, load_tasks, task_list_lines


def test_only_the_listed_tasks_are_in_a_set_in_their_order(tmp_path: Path) -> None:
    tasks = load_tasks(TaskSet(count=12, seed=3))
    path = tmp_path / "hard.jsonl"
    path.write_text(task_list_lines(task.ref for task in (tasks[7], tasks[2])))
    assert [task.ref for task in load_tasks(TaskSet(count=12, seed=3, only=path))] == [tasks[2].ref, tasks[7].ref]
    with pytest.raises(ValueError, match="lists none of the 12 tasks"):
        load_tasks(TaskSet(count=12, seed=4, only=path))


def test_a_data_set_is_listed_first_and_drawn_from_then(tmp_path: Path) -> None:
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    rows = [json.dumps({"question": f"{n}?", "answer": f"#### {n}"}) for n in range(20)]
    (folder / "train.jsonl").write_text("\n".join(rows))
    path = tmp_path / "list.jsonl"
    path.write_text("".join(f'{{"family": "gsm8k", "split": "train", "id": "train-{n}"}}\n' for n in range(0, 20, 2)))
    everything = TaskSet(family="gsm8k", count=None, data_root=tmp_path, only=path)
    listed = [task.id for task in load_tasks(everything)]
    assert listed == [f"train-{n}" for n in range(0, 20, 2)]
    drawn = [task.id for task in load_tasks(everything.model_copy(update={"count": 4}))]
    assert len(drawn) == 4 and drawn == [name for name in listed if name in drawn]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [('{"family": "procedural"}\n', "line 1 is no task"), ("\n[]\n", "line 2 is no task"), ("x", "line 1 is no task")],
)
def test_a_bad_list_is_refused_with_its_line(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        load_tasks(TaskSet(count=2, only=path))
    with pytest.raises(ValueError, match="there is no such file"):
        load_tasks(TaskSet(count=2, only=tmp_path / "none"))


def test_a_changed_task_is_refused(tmp_path: Path) -> None:
    (task,) = load_tasks(TaskSet(count=1))
    path = tmp_path / "list.jsonl"
    path.write_text(task_list_lines([task.ref.model_copy(update={"digest": "0" * 16})]))
    with pytest.raises(ValueError, match="has changed since it was listed"):
        load_tasks(TaskSet(count=1, only=path))
