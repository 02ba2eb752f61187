"""Families that read data sets of questions: rows become tasks, rows that cannot be asked are counted."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rollout.families import TaskSet, data_families, load_tasks
from rollout.families.data import DataFamily, MissingDataError
from rollout.families.math import boxed
from rollout.families.mmlu import split_options

REAL = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
MINT = {"gsm8k": 48, "humaneval": 45, "math": 100, "mbpp": 91, "mmlu": 76, "theoremqa": 49}


def family(name: str) -> DataFamily:
    return data_families()[name]


def written(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.mark.parametrize("name", MINT)
def test_the_subsets_of_mint_have_the_ids_of_its_recorded_runs(name: str) -> None:
    if not (REAL / "mint").is_dir():
        pytest.skip(f"needs MINT's tasks at {REAL / 'mint'} (CODEACT_DATA names another folder)")
    recorded = set()
    for file in ("open.jsonl.gz", "open_failed.jsonl.gz"):
        with gzip.open(REAL / "mint_trajectories" / file, "rt") as lines:
            recorded |= {run["task_id"] for run in map(json.loads, lines) if run["task"] == name}
    loaded = family(name).load("mint", REAL)
    assert len(loaded.tasks) == MINT[name] and not loaded.refused
    assert {task.id for task in loaded.tasks} == recorded


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so $\boxed{1}$, no: $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"$\boxed{\left\{1, 2\right\}}$", r"\left\{1, 2\right\}"),
        (r"the answer is $\boxed 7$.", "7"),
        (r"\fbox{x}", "x"),
        (r"\boxed{{never closed}", None),
        ("none", None),
    ],
)
def test_the_answer_of_math_is_the_last_box(solution: str, answer: str | None) -> None:
    assert boxed(solution) == answer


def test_math_reads_rows_and_the_archive_of_its_authors_and_halves_the_test_by_content(tmp_path: Path) -> None:
    rows = [
        {"problem": f"What is {n}?", "level": "Level 3", "type": "Number Theory", "solution": rf"$\boxed{{{n}}}$"}
        for n in range(20)
    ]
    written(tmp_path / "math" / "test.jsonl.gz", [*rows, {**rows[0], "problem": "What?", "solution": "Nothing."}])
    for number, row in enumerate(rows[:3]):
        place = tmp_path / "MATH" / "train" / "number_theory" / f"{number}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(row))
    math = family("math")
    whole = math.load("test", tmp_path)
    assert whole.refused == {"no answer in a box": 1}
    assert (whole.tasks[7].id, whole.tasks[7].answer, whole.tasks[7].kind) == ("test-7", "7", "number_theory")
    assert {task.group for task in whole.tasks} == {"level-3"}
    halves = [math.load(split, tmp_path).tasks for split in ("half_train", "half_heldout")]
    assert halves[0] and halves[1] and len(halves[0]) + len(halves[1]) == 20
    assert [task.id for task in math.load("train", tmp_path).tasks] == [f"train/number_theory/{n}" for n in range(3)]


def test_options_of_mint_are_read_in_the_order_of_their_letters() -> None:
    assert split_options("A ) 6 , B ) (0, 1) , C ) f(A ) 2 , D ) 7") == ["6", "(0, 1)", "f(A ) 2", "7"]


def test_the_set_up_of_mbpp_runs_before_each_assertion(tmp_path: Path) -> None:
    row = {"task_id": 11, "text": "Write f.", "code": "def f():\r\n  return 1", "test_setup_code": "x = f()\r\n"}
    rows = [{**row, "test_list": ["assert x == 1", "assert f()"]}, {**row, "task_id": 12, "test_list": []}]
    written(tmp_path / "mbpp" / "mbpp.jsonl", rows)
    loaded = family("mbpp").load("test", tmp_path)
    assert loaded.refused == {"no tests": 1}
    assert json.loads(loaded.tasks[0].answer)["tests"] == ["x = f()\nassert x == 1", "x = f()\nassert f()"]
    assert loaded.tasks[0].solution == "def f():\n  return 1"
    assert "\r" not in loaded.tasks[0].prompt


def test_rows_that_are_left_out_are_mentioned_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"task_id": 11, "text": "Write f.", "code": "", "test_list": tests} for tests in (["assert f()"], [])]
    written(tmp_path / "mbpp" / "mbpp.jsonl", rows)
    for _ in range(2):
        assert len(family("mbpp")("test", None, 0, data_root=tmp_path)) == 1
    assert capsys.readouterr().err == "mbpp/test: 1 row is no task and left out: 1 no tests\n"


def test_a_line_that_is_no_row_is_named_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question"\n')
    with pytest.raises(ValueError, match=r"test.jsonl:2: not JSON"):
        family("gsm8k").load("test", tmp_path)


def test_data_that_is_not_on_this_machine_is_an_error_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=f"{tmp_path}: there is no humaneval/HumanEval.jsonl.gz; get it from"):
        load_tasks(TaskSet(family="humaneval", split="test", data_root=tmp_path))


def apps_row(number: int, tests: Any, starter: str = "", **more: Any) -> dict[str, Any]:
    raw = tests if isinstance(tests, str) else json.dumps(tests)
    row = {"problem_id": number, "question": f"Problem {number}.", "difficulty": "interview", "starter_code": starter}
    return {**row, "input_output": raw, "solutions": json.dumps(["print 'two'", "print('three')"]), **more}


def test_apps_sets_ten_problems_aside_and_counts_what_it_refuses(tmp_path: Path) -> None:
    good = {"inputs": ["1\n"], "outputs": ["1\n"]}
    function = {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}
    rows = [apps_row(0, ""), *(apps_row(number, good) for number in range(1, 11)), apps_row(11, function, "def add(")]
    refused = [{"inputs": [], "outputs": []}, "{broken", {"inputs": ["1", "2"], "outputs": ["1"]}, "9" * 5000]
    rows += [apps_row(12, good), *(apps_row(13 + n, tests) for n, tests in enumerate(refused))]
    written(tmp_path / "apps" / "train.jsonl", rows)
    apps = family("apps")
    loaded = apps.load("train", tmp_path)
    assert loaded.refused == {
        "no tests": 1,
        "no inputs": 1,
        "tests that do not parse": 2,
        "not as many outputs as inputs": 1,
    }
    called, read = loaded.tasks
    assert (called.id, called.group, read.id, read.group) == ("train-11", "function", "train-12", "stdin")
    assert "def add(" in called.prompt and "write the function `add`" in called.prompt
    assert "standard input" in read.prompt and read.solution == "print('three')"
    assert json.loads(called.answer) == {**function, "timeout_s": 10}
    assert [task.id for task in apps.load("fewshot", tmp_path).tasks] == [f"train-{n}" for n in range(1, 11)]


def test_word_problems_have_plain_numbers_and_strategyqa_yes_or_no(tmp_path: Path) -> None:
    targets = [43.0, -9867630.0, 0.5, 1e300, float("nan")]
    written(tmp_path / "math_other" / "gsm-hard.jsonl", [{"input": "How many?", "target": one} for one in targets])
    loaded = family("math_word_problems").load("gsm_hard", tmp_path)
    assert [task.answer for task in loaded.tasks] == ["43", "-9867630", "0.5", "1e+300"]
    assert loaded.refused == {"no number as the answer": 1}
    rows = [{"qid": str(n), "question": "Is it?", "answer": answer} for n, answer in enumerate([True, False, None])]
    written(tmp_path / "strategyqa" / "dev.jsonl", rows)
    loaded = family("strategyqa").load("dev", tmp_path)
    assert [task.answer for task in loaded.tasks] == ["yes", "no"] and loaded.refused == {"no answer": 1}


def test_theoremqa_refuses_questions_about_a_picture(tmp_path: Path) -> None:
    row = {"Question": "Which?", "Answer": [1, 2], "Answer_type": "list of integer", "Picture": None, "field": "Math"}
    rows = [{**row, "id": "a"}, {**row, "id": "b", "Picture": "x.png"}, {**row, "id": "c", "Answer": "[0.5]"}]
    (tmp_path / "theoremqa").mkdir()
    (tmp_path / "theoremqa" / "theoremqa_test.json").write_text(json.dumps(rows))
    theoremqa = family("theoremqa")
    loaded = theoremqa.load("test", tmp_path)
    assert loaded.refused == {"needs a picture": 1}
    assert [json.loads(task.answer)["answer"] for task in loaded.tasks] == [[1, 2], [0.5]]
    assert loaded.tasks[0].prompt == "Which?\n\nAnswer with a list of integers, such as [1, 2, 3]."
    assert [task.id for task in theoremqa.load("pictures", tmp_path).tasks] == ["b"]
