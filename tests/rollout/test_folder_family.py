"""Tasks of one's own: JSON Lines in a folder, with errors that name file and line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from launch.cli import app
from rollout import TaskSet, load_tasks
from rollout.families import data_family

GOOD = {"id": "a", "prompt": "What is 2 + 2?", "answer": "4", "grader": "number"}


def folder(tmp_path: Path, *lines: dict[str, Any] | str, name: str = "train.jsonl") -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (tmp_path / name).write_text(text)
    return tmp_path


def test_rows_become_tasks_of_the_split_that_they_or_their_file_name(tmp_path: Path) -> None:
    more = {"prompt": "Which values?", "answer": ["1", "x"], "grader": "denotation", "kind": "table", "setup": "x = 1"}
    folder(tmp_path, GOOD, "", more)
    folder(tmp_path, {**GOOD, "id": "b", "prompt": "3 + 3?", "answer": 6, "split": "heldout"}, name="other.jsonl")
    first, second = load_tasks(TaskSet(family="folder", data_root=tmp_path))
    assert (first.id, first.kind, first.split, first.answer) == ("a", "task", "train", "4")
    assert (second.answer, second.kind, second.setup) == ('["1", "x"]', "table", "x = 1")
    assert second.id == load_tasks(TaskSet(family="folder", data_root=tmp_path))[1].id, "an id follows from the content"
    (heldout,) = load_tasks(TaskSet(family="folder", data_root=tmp_path, split="heldout"))
    assert (heldout.answer, heldout.group) == ("6", "heldout")


def test_duplicates_and_rows_without_an_answer_are_counted(tmp_path: Path) -> None:
    folder(tmp_path, GOOD, GOOD, {**GOOD, "id": "c"}, {"prompt": "?", "answer": " "}, {"prompt": "", "answer": 1})
    folder(tmp_path, {**GOOD, "id": "d"}, name="heldout.jsonl")
    family = data_family("folder")
    heldout = family.load("heldout", tmp_path)
    assert [task.id for task in heldout.tasks] == ["d"] and not heldout.refused
    loaded = family.load("train", tmp_path)
    assert not loaded.tasks
    assert loaded.refused == {"is a task of heldout too": 3, "no answer": 1, "no prompt": 1}
    (tmp_path / "heldout.jsonl").unlink()
    assert family.load("train", tmp_path).refused["duplicate"] == 2


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('{"prompt": "x", ', r"train.jsonl:2: not JSON"),
        ("[1]", r"train.jsonl:2: a JSON object is needed, not list"),
        ({**GOOD, "promt": "x"}, r"train.jsonl:2: 'promt' is not a key of a task; did you mean 'prompt'\?"),
        ({**GOOD, "prompt": ["x"]}, r"train.jsonl:2: prompt must be a text"),
        ({**GOOD, "prompt": "5 + 5?"}, r"train.jsonl:2: the id 'a' is that of another task at .*train.jsonl:1"),
        ({"prompt": "x", "answer": "1"}, r"train.jsonl:2: the task has no grader.*options.grader.*number"),
        ({"prompt": "x", "answer": "1", "grader": "nmber"}, r"train.jsonl:2: 'nmber' is not a registered grader"),
        (
            {"prompt": "x", "answer": "1", "grader": "no_module:f"},
            r"train.jsonl:2: the grader 'no_module:f' cannot be loaded",
        ),
        ({"prompt": "x", "answer": "1", "grader": "number", "setup": "x ="}, r"train.jsonl:2: setup is not Python"),
    ],
)
def test_a_line_that_is_no_task_is_one_sentence_with_its_number(
    tmp_path: Path, line: dict[str, Any] | str, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        load_tasks(TaskSet(family="folder", data_root=folder(tmp_path, GOOD, line)))


def test_splits_and_folders_that_do_not_exist_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there are no tasks; give a folder with .jsonl files"):
        load_tasks(TaskSet(family="folder", data_root=tmp_path / "absent"))
    with pytest.raises(ValueError, match=r"'test' is not a split in .*; its tasks name \['train'\]"):
        load_tasks(TaskSet(family="folder", data_root=folder(tmp_path, GOOD), split="test"))
    with pytest.raises(ValueError, match="does not fit folder; write grader: NAME"):
        load_tasks(TaskSet(family="folder", data_root=tmp_path, options={"graders": "number"}))


def test_a_function_of_ones_own_grades_and_is_validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_graders_7919.py").write_text("def same(proposed, reference):\n    return proposed == reference\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])
    row = {"prompt": "x", "answer": "1"}
    options = {"grader": "my_graders_7919:same"}
    (task,) = load_tasks(TaskSet(family="folder", data_root=folder(tmp_path, row), options=options))
    assert task.grader == "my_graders_7919:same"
    folder(tmp_path, {**row, "grader": "my_graders_7919:same"}, {"prompt": "y", "answer": "four", "grader": "number"})
    result = CliRunner().invoke(app, ["tasks", "validate", "folder", "--data-root", str(tmp_path)])
    assert result.exit_code == 1 and "right answer refused: 'four'" in result.output
    assert "| folder | train | 2 | 0 | 1 of 2 |" in result.output
