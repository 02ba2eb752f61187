"""Replays of recorded runs: what is read, which verdicts and outputs agree, and the command."""

import asyncio
import gzip
import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from launch.cli import app
from rollout.bank.store import read_trajectories
from rollout.bank.trajectory import Sampling, Trajectory
from rollout.checks.replay import (
    ReplayOptions,
    bank_jobs,
    choose_runs,
    read_runs,
    replay_graders,
    replay_runs,
    task_of,
    tasks_of,
)
from rollout.checks.replay.observations import EQUAL, NORMALISED, compare
from rollout.engines import Engine
from rollout.engines.expert import ExpertEngine
from rollout.episode.loop import run_episode
from rollout.families import Task, TaskSet, load_tasks
from rollout.families.alfworld.small_house import SmallHouse
from rollout.protocol import EpisodeProtocol
from sandbox import KernelPool
from tests.helpers.episodes import Says
from tests.helpers.fake_server import Answers, answer, calling, chat_reply, engine_on
from tests.rollout.test_protocols import protocol as protocol_named
from tests.rollout.test_protocols import task

DATA = Path(os.environ.get("CODEACT_DATA", Path(__file__).parents[3] / "shared" / "data"))
RECORDED = [DATA / "mint_trajectories" / name for name in ("open.jsonl.gz", "open_failed.jsonl.gz")]
needs_records = pytest.mark.skipif(
    not all(path.is_file() for path in RECORDED),
    reason=f"needs MINT's runs in {RECORDED[0].parent} (CODEACT_DATA names another folder)",
)
LEFT = "\nYou have 4 steps left and 2 chances to propose solution left.\n"
WRONG = f"Observation:\nYour answer is wrong.{LEFT}"
HELP = f"Observation:\nI don't understand your input. \nPlease use <execute>.{LEFT}"
TRACEBACK = """Observation:
seen
---------------------------------------------------------------------------
NameError                                 Traceback (most recent call last)
Cell In[1], line 2
      1 print('seen')
----> 2 nothing

NameError: name 'nothing' is not defined"""


def line(*said: str, task: str = "gsm8k", success: bool = True, reference: object = "6", **more: object) -> dict:
    """A recorded run; ``said`` are assistant and user texts in turn."""
    roles = ("assistant", "user")
    messages = [{"role": "user", "content": more.pop("prompt", "What is 2 * 3?")}]
    messages += [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
    known = {"task": task, "task_id": "1", "model": "small", "success": success, "reference": reference}
    return {**known, "terminate": "task_success" if success else "max_steps", "messages": messages, **more}


def written(path: Path, *lines: dict | str) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    return path


def test_a_run_is_read_with_the_verdict_of_each_proposal(tmp_path: Path) -> None:
    said = ("Assistant:\n <solution>5</solution>", WRONG, "Assistant: <solution> 6", HELP, "<solution> 6 </solution>")
    (run,) = read_runs(written(tmp_path / "runs.jsonl.gz", line(*said)))
    assert run.id == "gsm8k/1/small"
    assert run.proposals == [("5", "wrong"), ("6", "right")]
    assert [turn.understood for turn in run.turns] == [True, False, True]
    assert run.turns[0].text == "<solution>5</solution>"


def test_an_empty_turn_that_the_file_leaves_out_is_a_turn(tmp_path: Path) -> None:
    run = line("<execute>1</execute>", f"Observation:\n1{LEFT}", success=False)
    run["messages"].append({"role": "user", "content": HELP})
    (read,) = read_runs(written(tmp_path / "runs.jsonl.gz", run))
    assert [turn.text for turn in read.turns] == ["<execute>1</execute>", "", ""]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["{"], "line 1 is not a recorded run"),
        ([line("x"), {"task": "gsm8k"}], "line 2 is not a recorded run: task_id"),
        ([{**line("x"), "messages": []}], "must begin with the task"),
        ([line("x"), line("y")], "gsm8k/1/small is in the files twice"),
        ([], "hold no runs"),
    ],
)
def test_a_file_that_is_no_record_is_named(tmp_path: Path, lines: list, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        choose_runs([written(tmp_path / "runs.jsonl.gz", *lines)])


def test_a_missing_file_and_an_unknown_family_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        choose_runs([tmp_path / "none.jsonl"])
    (run,) = read_runs(written(tmp_path / "runs.jsonl.gz", line("<solution>6</solution>", task="chess")))
    with pytest.raises(ValueError, match="'chess' is not a family of recorded runs; known: alfworld"):
        task_of(run)


def test_a_difference_is_explained_when_the_reference_rule_repeats_the_record(tmp_path: Path) -> None:
    options = "Which?\nOptions: A ) 12 , B ) 22 , C ) 840 , D ) 240"
    runs = choose_runs(
        [
            written(
                tmp_path / "runs.jsonl.gz",
                line("<solution>6</solution>"),
                line("<solution>B) a bad one</solution>", task="mmlu", reference="d", prompt=options),
                line("<solution>The answer is -6</solution>", task="math", reference="-6.0", success=False),
                line("<solution>7</solution>", task="hotpotqa"),
            )
        ]
    )
    report = replay_graders([(run, task_of(run)) for run in runs])
    assert (report.total["successful"].agree, report.total["failed"].agree) == (1, 0)
    found = {one.run.partition("/")[0]: (one.ours, one.explained) for one in report.disagreements}
    assert found == {"mmlu": ("wrong", True), "math": ("right", True), "hotpotqa": ("wrong", False)}
    assert sum(report.groups.values()) == 3
    assert report.short_of(0.7) == ["66.67% of the 3 successful runs repeat the recorded verdict, 70.0% are asked for"]
    assert "| mmlu | successful | 1 | 1 | 0.00% | 100.00% | 100.00% |" in report.markdown()


@pytest.mark.parametrize(
    ("recorded", "ours", "code", "expected"),
    [
        (f"Observation:\n5{LEFT}", "Observation:\n5\nYou have 4 turns and 2 proposals left.", "", EQUAL),
        (f"Observation:\nOut[3]: 5{LEFT}", "Observation:\n5", "", NORMALISED),
        (
            f"Observation:\n5{LEFT}",
            "Observation:\n5\nYou have 1 turns and 1 proposals left.\nThis is your last turn: propose an answer.",
            "",
            EQUAL,
        ),
        (f"Observation:\n[Executed Successfully with No Output]{LEFT}", "Observation:\n[no output]", "", NORMALISED),
        (TRACEBACK + LEFT, "Observation:\nseen\nNameError: name 'nothing' is not defined", "", NORMALISED),
        (TRACEBACK + LEFT, "Observation:\nseen\nNameError: other", "", "same exception, other message"),
        (TRACEBACK + LEFT, "Observation:\nseen", "", "an exception only in the record"),
        ("Observation:\n<f at 0x7f6a032c0790>", "Observation:\n<f at 0x7faaaaaaaaaa>", "", NORMALISED),
        ("Observation:\nab\nab...\n[Output Truncated]", "Observation:\nab\nabcd", "", NORMALISED),
        ("Observation:\n0.1234567891", "Observation:\n0.1234567892", "", "other last digits"),
        ("Observation:\n1", "Observation:\n2", "", "other output"),
        ("Observation:\n1", "Observation:\n2", "import random", "chance or the clock"),
        ("Observation:\nx", "Observation:\ny", "print(wikipedia_search('x'))", "live search"),
    ],
)
def test_outputs_are_compared_by_the_documented_rules(recorded: str, ours: str, code: str, expected: str) -> None:
    assert compare(recorded, ours, code, "NameError" if "NameError" in ours else None) == expected


def test_recorded_turns_run_in_our_kernels_and_a_stopped_replay_goes_on(tmp_path: Path) -> None:
    search = "<execute>\nprint(wikipedia_search('Oslo'))\n</execute>"
    page = "Page: Oslo\nSummary: It is a city."
    file = written(
        tmp_path / "runs.jsonl.gz",
        line("<execute>\na = 2\na * 3\n</execute>", f"Observation:\nOut[1]: 6{LEFT}", "<solution>6</solution>"),
        line("<execute>\n1 / 0\n</execute>", f"Observation:\n1{LEFT}", "<solution>7</solution>", task="math"),
        line(search, f"Observation:\n{page}{LEFT}", "<solution>Oslo</solution>", task="hotpotqa", reference="oslo"),
        line("```python\nprint(5)\n```", f"Observation:\n5{LEFT}", "<solution>5</solution>", model="b", success=False),
    )
    jobs, missing = tasks_of(choose_runs([file]))
    assert not missing
    first = replay_runs(jobs[:1], tmp_path / "bank", ReplayOptions(at_once=2))
    assert first.total["successful"].agree == 1
    report = replay_runs(jobs, tmp_path / "bank", ReplayOptions(at_once=2))
    assert len(list(read_trajectories(tmp_path / "bank"))) == 4
    assert {one.run for one in report.disagreements} == {"math/1/small"}
    outputs = {name: family.observations for name, family in report.families.items()}
    assert outputs["gsm8k"] is not None and (outputs["gsm8k"].equal, outputs["gsm8k"].normalised) == (1, 1)
    assert outputs["hotpotqa"] is not None and outputs["hotpotqa"].equal == 1
    assert outputs["math"] is not None and outputs["math"].different == {"an exception only here": 1}


def test_a_bank_of_ours_is_replayed_word_for_word(tmp_path: Path) -> None:
    protocol, tasks = EpisodeProtocol(), load_tasks(TaskSet(count=3, seed=4))

    async def collected() -> list[Trajectory]:
        async with KernelPool(size=1, checkpoint=True) as pool:
            engines = [ExpertEngine(task, "expert", error_share=1.0) for task in tasks]
            return [
                await run_episode(task, engine, pool, protocol, Sampling())
                for task, engine in zip(tasks, engines, strict=True)
            ]

    records = asyncio.run(collected())
    changed = records[0].model_copy(update={"task": records[0].task.model_copy(update={"digest": "another"})})
    jobs, others = bank_jobs([*records, changed], tasks, protocol)
    assert len(jobs) == 3 and others == {"its task is not among those of the configuration": 1}
    report = replay_runs(jobs, tmp_path / "bank", ReplayOptions(protocol=protocol))
    (family,) = report.families.values()
    assert not report.disagreements and report.total["successful"].agree == 3
    assert family.observations is not None and family.observations.equal == family.observations.compared > 3
    assert bank_jobs(records, tasks, EpisodeProtocol(max_steps=9)) == ([], {"another protocol": 3})


@pytest.mark.parametrize(
    ("form", "engine"),
    [
        ("fenced", Says("```python\nprint(price('apple', 3))\n```", "<solution>7.5</solution>")),
        ("m3tooleval-json", Says('Action: {"tool": "price", "args": ["apple", 3]} End Action', "Answer: 7.5")),
        ("tools", engine_on(Answers(calling(("price", '{"thing": "apple"}')), answer(chat_reply("7.5"))))),
    ],
)
def test_a_bank_is_replayed_in_the_form_of_its_protocol(form: str, engine: Engine, tmp_path: Path) -> None:
    protocol, shop = protocol_named(form), task()

    async def collected() -> Trajectory:
        async with KernelPool(size=1) as pool:
            return await run_episode(shop, engine, pool, protocol, Sampling())

    record = asyncio.run(collected())
    assert record.outcome.success and record.usage.tool_calls == 1
    jobs, others = bank_jobs([record], [shop], protocol)
    report = replay_runs(jobs, tmp_path / "bank", ReplayOptions(protocol=protocol))
    assert not others and report.total["successful"].agree == 1
    (family,) = report.families.values()
    assert family.observations is not None and family.observations.equal == family.observations.compared == 1


def test_a_game_that_ends_at_the_limit_of_the_reference_is_explained(tmp_path: Path) -> None:
    house = SmallHouse({"shelf 1": ["mug 1"], "desk 1": []}, [], {"thing": "mug", "place": "desk"})
    game = Task("alfworld", "put", "mint", "mint", "1", "Put a mug on the desk.", "", "environment", toolset=house)
    runs = [("long", 50, True), ("short", 49, True), ("failed", 50, False)]
    lines = [
        line(f"<execute>\nfor _ in range({count}): look()\n</execute>", task="alfworld", model=model, success=success)
        for model, count, success in runs
    ]
    jobs = [(run, game) for run in read_runs(written(tmp_path / "runs.jsonl.gz", *lines))]
    report = replay_runs(jobs, tmp_path / "bank", ReplayOptions())
    explained = {one.run: one.explained for one in report.disagreements}
    assert explained == {"alfworld/1/long": True, "alfworld/1/short": False}
    assert report.total["successful"].legacy_agree == 1
    failed = report.total["failed"]
    assert (failed.agree, failed.legacy_agree) == (1, 0)


def test_the_command_names_a_folder_that_is_no_run(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["tasks", "replay", str(tmp_path)])
    assert refused.exit_code == 2 and "has no bank/ and config.yaml" in refused.stderr
    refused = CliRunner().invoke(app, ["tasks", "replay", str(tmp_path), "--limit", "3"])
    assert refused.exit_code == 2 and "are for files of recorded runs" in refused.stderr


def test_the_command_prints_a_report_and_fails_below_the_agreement(tmp_path: Path) -> None:
    file = written(
        tmp_path / "runs.jsonl.gz", line("<solution>6</solution>"), line("<solution>7</solution>", model="b")
    )
    command = ["tasks", "replay", str(file), "--graders-only"]
    refused = CliRunner().invoke(app, [*command, "--json"])
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["total"]["successful"]["agree"] == 1
    accepted = CliRunner().invoke(app, [*command, "--min-agreement", "0.5"])
    assert accepted.exit_code == 0 and "| gsm8k | successful | 2 | 2 | 50.00%" in accepted.stdout
    bad = CliRunner().invoke(app, ["tasks", "replay", str(tmp_path / "none"), "--graders-only"])
    assert bad.exit_code == 2


@needs_records
def test_graders_repeat_the_verdicts_of_500_published_runs() -> None:
    texts = ("alfworld", "gsm8k", "hotpotqa", "math", "mmlu", "theoremqa")
    report = replay_graders([(run, task_of(run)) for run in choose_runs(RECORDED, 500, seed=0, families=texts)])
    for half in report.total.values():
        assert half.compared > 100
        assert half.agree + half.explained >= 0.99 * half.compared
        assert half.legacy_agree >= 0.99 * half.compared


@needs_records
def test_unit_tests_repeat_the_verdicts_of_published_runs() -> None:
    chosen = choose_runs(RECORDED, 20, seed=3, families=("humaneval", "mbpp"))
    report = replay_graders([(run, task_of(run)) for run in chosen])
    assert all(half.agree + half.explained == half.compared for half in report.total.values())


@needs_records
def test_published_runs_succeed_again_in_our_kernels(tmp_path: Path) -> None:
    jobs, _ = tasks_of(choose_runs(RECORDED, limit=8, seed=1, families=("gsm8k", "theoremqa")))
    report = replay_runs(jobs, tmp_path / "bank", ReplayOptions(at_once=4))
    assert all(half.agree + half.explained == half.compared for half in report.total.values())
    assert sum(half.compared for half in report.total.values()) == 8
