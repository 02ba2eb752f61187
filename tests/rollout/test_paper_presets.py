"""The paper's choices of tasks, on made files of the originals' shape. (WikiTableQuestions has a test of its own.)"""

import json
from pathlib import Path

import pandas as pd
import pytest

from rollout.families import TaskSet, data_families, load_tasks
from rollout.families.apps import generate as apps
from rollout.families.hotpotqa import generate as hotpotqa
from rollout.families.math import generate as math

COUNTS = {"alfworld": 3553, "apps": 4439, "hotpotqa": 3000, "math": 5586, "wikitablequestions": 3000}


def test_the_sources_of_the_paper_have_its_counts() -> None:
    presets = {name: family.info.presets["paper"] for name, family in data_families().items() if family.info.presets}
    assert {name: preset.count for name, preset in presets.items()} == COUNTS
    assert sum(COUNTS.values()) == 19_578
    assert all(preset.split in data_families()[name].info.splits for name, preset in presets.items())


def test_hard_questions_are_drawn_as_the_papers_script_draws_them(tmp_path: Path) -> None:
    levels = ["hard" if n % 3 == 0 else "easy" for n in range(9300)]
    rows = [{"question": f"q{n}", "answer": "a", "level": level, "type": "bridge"} for n, level in enumerate(levels)]
    (tmp_path / "hotpotqa").mkdir()
    (tmp_path / "hotpotqa" / "hotpot_train_v1.1.json").write_text(json.dumps(rows))
    hard = pd.DataFrame({"id": [n for n, level in enumerate(levels) if level == "hard"]})
    expected = hard.sample(3000, random_state=42)["id"].astype(str).tolist()
    assert [task.id for task in hotpotqa.load("train", tmp_path, "paper").tasks] == expected
    chosen = TaskSet(family="hotpotqa", count=None, data_root=tmp_path, preset="paper")
    assert [task.id for task in load_tasks(chosen)] == expected


def test_levels_three_to_five_are_ordered_by_subject_and_id(tmp_path: Path) -> None:
    folder = tmp_path / "MATH" / "train"
    for subject in ("Geometry", "Algebra"):
        for n, level in enumerate(("Level 5", "Level 2", "Level ?", "Level 3", "Level 4"), 8):
            row = {"problem": f"p{n}", "level": level, "type": subject, "solution": r"\boxed{1}"}
            path = folder / subject.lower() / f"{n}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row))
    (folder / "algebra" / "1.json").write_text(json.dumps({"problem": "p", "level": "Level 3", "solution": "none"}))
    loaded = math.load("train", tmp_path, "paper")
    names = [f"train/{subject}/{n}" for subject in ("algebra", "geometry") for n in (8, 11, 12)]
    assert [task.id for task in loaded.tasks] == names and loaded.refused == {"no answer in a box": 1}


def test_the_first_ten_programs_with_tests_are_set_aside(tmp_path: Path) -> None:
    tests = json.dumps({"inputs": ["1\n"], "outputs": ["1\n"]})
    forms = {1: "", 12: "{broken", 14: json.dumps({"inputs": [], "outputs": []})}
    rows = [
        {
            "problem_id": n,
            "question": "q",
            "starter_code": "",
            "difficulty": "interview",
            "input_output": forms.get(n, tests),
        }
        for n in range(16)
    ]
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = apps.load("train", tmp_path, "paper")
    assert [task.id for task in loaded.tasks] == ["train-11", "train-13", "train-15"]
    assert sum(loaded.refused.values()) == 3
    with pytest.raises(ValueError, match="write split: train"):
        apps.load("test", tmp_path, "paper")
