"""The suite of five domains: the same tasks each time, apart by split, and solved by its players in every format."""

import asyncio
import json
from collections import Counter
from statistics import fmean

import pytest

from rollout import (
    EpisodeProtocol,
    KernelSource,
    Sampling,
    Task,
    TaskRef,
    TaskSet,
    Trajectory,
    digest_of,
    load_tasks,
    run_episode,
)
from rollout.checks.validate import answers_of
from rollout.engines import ExpertSpec
from rollout.families.base import Toolset
from rollout.families.tool_suite import DOMAINS, LEVELS
from rollout.families.tool_suite.archive import Archive
from rollout.families.tool_suite.player import Player, count_calls
from rollout.graders import judge

pytestmark = pytest.mark.asyncio(loop_scope="module")
FORMATS = {"code": "m3tooleval", "json": "m3tooleval-json", "text": "m3tooleval-text"}
DIGEST_OF_TEST = "8592da1bad65985b"
"""Changes when any of the 82 tasks does: results of before are then no longer comparable."""


def tasks(split: str = "test", count: int = 82, seed: int = 0) -> list[Task]:
    return load_tasks(TaskSet(family="tool_suite", split=split, count=count, seed=seed))


def refs(found: list[Task]) -> list[TaskRef]:
    return [task.ref for task in found]


def calls_of(task: Task) -> int:
    assert isinstance(task.expert, Player)
    return count_calls(task.expert.program, task.expert.toolset)[0]


async def played(chosen: list[Task], kernels: KernelSource, protocol: str, errors: float = 0.0) -> list[Trajectory]:
    rules, at_once = EpisodeProtocol.model_validate(protocol), asyncio.Semaphore(8)
    spec = ExpertSpec(error_share=errors, form=rules.form)

    async def one(task: Task) -> Trajectory:
        async with at_once:
            return await run_episode(task, spec.build(task), kernels, rules, Sampling())

    return await asyncio.gather(*map(one, chosen))


async def test_the_82_tasks_are_the_same_each_time_and_of_every_kind() -> None:
    first = tasks()
    assert refs(first) == refs(tasks()) and refs(tasks(count=20)) == refs(first)[:20]
    assert digest_of([task.ref.digest for task in first]) == DIGEST_OF_TEST
    assert set(Counter(task.kind for task in first).values()) <= {16, 17} and len(DOMAINS) == 5
    assert min(Counter(task.group for task in first).values()) >= 25
    values = Counter(type(eval(json.loads(task.answer)["value"])).__name__ for task in first)
    assert set(values) == {"str", "int", "float", "list", "bool"} and min(values.values()) >= 5
    assert all(calls_of(task) in LEVELS[task.group] for task in first)


async def test_no_task_is_in_both_splits_for_any_seed() -> None:
    def contents(found: list[Task]) -> set[str]:
        return {digest_of([task.prompt, task.toolset and task.toolset.description()]) for task in found}

    held_out = contents(tasks()) | contents(tasks(seed=3))
    trained = contents(tasks("train", 150, 0)) | contents(tasks("train", 150, 7))
    assert len(held_out) == 164 and len(trained) == 300 and not held_out & trained


@pytest.mark.parametrize("kind", DOMAINS)
async def test_a_domain_has_functions_that_say_what_they_do_and_refuse_what_is_not_there(kind: str) -> None:
    (task,) = load_tasks(TaskSet(family="tool_suite", split="train", count=1, kinds=(kind,)))
    assert task.toolset is not None
    functions = task.toolset.fresh().functions()
    assert 5 <= len(functions) <= 8 and all(function.__doc__ for function in functions.values())
    refused = 0
    for function in functions.values():
        wanted = [name for name in function.__annotations__ if name != "return"]
        if wanted and function.__annotations__[wanted[0]] == "str":
            try:
                function(*("nowhere" if function.__annotations__[name] == "str" else 1 for name in wanted))
            except ValueError as fault:
                refused += "nowhere" in str(fault)
    assert refused >= 1


async def test_the_player_solves_every_task_in_every_format_and_code_needs_fewest_turns(pool: KernelSource) -> None:
    chosen = tasks()[::2]  # `codeact benchmarks validate tool_suite` plays all of them
    turns = {}
    for form, protocol in FORMATS.items():
        episodes = await played(chosen, pool, protocol)
        assert [one.task.id for one in episodes if not one.outcome.success] == []
        turns[form] = [one.usage.steps for one in episodes]
        assert [one.usage.tool_calls for one in episodes] == [calls_of(task) for task in chosen]
    assert turns["json"] == turns["text"] == [calls_of(task) + 1 for task in chosen] and max(turns["json"]) == 10
    assert fmean(turns["code"]) == 2 < fmean(turns["json"])


@pytest.mark.parametrize("protocol", ["codeact", "chat", "fenced", *FORMATS.values()])
async def test_it_errs_first_and_recovers(protocol: str, pool: KernelSource) -> None:
    chosen = [task for task in tasks("train", 30, 5) if task.group != "6-9_calls"][::4]
    episodes = await played(chosen, pool, protocol, errors=1.0)
    assert all(one.outcome.success and one.usage.error_cells == 1 for one in episodes)


async def test_a_form_that_the_player_does_not_write_is_refused() -> None:
    with pytest.raises(ValueError, match=r"protocol\.form=tools: the expert of tool_suite does not write it"):
        ExpertSpec(form="tools").build(tasks(count=1)[0])


async def test_the_state_of_one_episode_is_not_that_of_another() -> None:
    task = next(task for task in tasks() if isinstance(task.toolset, Archive))
    assert isinstance(task.toolset, Archive)
    titles = list(task.toolset.documents)
    first = task.toolset.fresh()
    assert isinstance(first, Archive)
    first.go_to(titles[0])
    branch: Toolset = first.fork()
    assert isinstance(branch, Archive)
    branch.go_to(titles[1])
    assert (first.position()["title"], branch.back().split(" (")[0]) == (titles[0], titles[0])
    assert task.toolset.visited == []


async def test_every_right_form_is_accepted_and_no_near_miss_is() -> None:
    for task in tasks():
        made = answers_of(task)
        assert [one for one in made.right if judge(task.grader, one, task.answer).kind != "right"] == []
        assert [one for one in made.wrong if judge(task.grader, one, task.answer).kind != "wrong"] == []
