"""Branches of episodes: the restored state, forks of kernel and tools, provenance, and what cannot be restored."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from rollout.bank.trajectory import Branch, Sampling, Trajectory
from rollout.config import Source
from rollout.engines.judge import Judge, JudgeSpec
from rollout.engines.spec import ServerSpec
from rollout.episode.branching import first_error, repair_jobs, run_branches
from rollout.episode.branching.job import BranchJob
from rollout.episode.loop import run_episode
from rollout.families import Task, Toolset
from rollout.kernel_source import EpisodeKernel, KernelSource, open_service
from rollout.protocol import EpisodeProtocol, UserFeedback
from tests.helpers.episodes import SERVICE_TOKEN, Says, record

pytestmark = pytest.mark.asyncio(loop_scope="module")
RULES = EpisodeProtocol(max_steps=4)
DRAWN = Sampling(temperature=1.0)


class Purse(Toolset):
    """Tools with a state on the host."""

    names = ("spend", "left")

    def __init__(self) -> None:
        self.coins = 10

    def spend(self, coins: int) -> int:
        """Spends coins."""
        self.coins -= coins
        return self.coins

    def left(self) -> int:
        """Coins that are left."""
        return self.coins


class Locked(Purse):
    """Tools whose state cannot be copied."""

    def fork(self) -> Toolset:
        raise NotImplementedError("the purse is locked")


class WithoutFork:
    """A kernel source of another package: its kernels run cells and nothing else."""

    tier = "T0"

    def __init__(self, pool: KernelSource) -> None:
        self._pool = pool

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> EpisodeKernel:
        kernel = await self._pool.acquire(tools)

        class Plain:
            run, close = staticmethod(kernel.run), staticmethod(kernel.close)

        return Plain()

    async def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Prompted:
    """Describes an engine that says fixed turns."""

    turns: tuple[str, ...]
    name: ClassVar[str] = "prompted"
    shared: ClassVar[bool] = True

    def build(self, task: Task) -> Says:
        return Says(*self.turns)


def task(tools: Toolset | None = None) -> Task:
    return Task("f", "k", "train", "trained", "t-1", "How many?", "8", "text", toolset=tools)


def cell(code: str) -> str:
    return f"<execute>\n{code}\n</execute>"


async def failed_episode(pool: KernelSource, tools: Toolset | None = None) -> Trajectory:
    """An episode that spends 2 of 10 coins, fails in its second cell and answers wrongly."""
    code = "coins = spend(2)" if tools else "coins = 8"
    turns = Says(cell(f"{code}\nprint(coins)"), cell("print(coin)"), "<solution>9</solution>")
    return await run_episode(task(tools), turns, pool, RULES, DRAWN)


def job(parent: Trajectory, tools: Toolset | None, samples: int, at: Any = "after") -> BranchJob:
    spec: Any = ServerSpec(name="says", base_urls=(), model="m")
    (found,) = repair_jobs([(parent, task(tools))], spec, DRAWN, samples, at)
    return found


async def test_branches_go_on_from_the_state_at_the_error_each_with_its_own_tools(pool: KernelSource) -> None:
    parent = await failed_episode(pool, Purse())
    assert parent.outcome.reason == "wrong_answer" and first_error(parent, "after") == 6
    engine = Says(cell("print(spend(3), coins)"), "<solution>5</solution>", cell("print(left(), coins)"),
                  "<solution>8</solution>")  # fmt: skip
    work = job(parent, Purse(), 2)
    wrong, right = await run_branches(work, engine, pool, RULES)
    assert [one.outcome.reason for one in (wrong, right)] == ["wrong_answer", "solved"]
    assert [one.messages[7].content for one in (wrong, right)] == ["Observation:\n5 8", "Observation:\n8 8"]
    assert wrong.messages[:6] == right.messages[:6] == parent.messages[:6]
    assert right.branch == Branch(parent=parent.id, turn=6) and right.id != wrong.id != parent.id
    assert set(work.ids(RULES)) == {wrong.id, right.id}
    used = right.usage
    assert (used.steps, used.cells, used.error_cells, used.prompt_tokens) == (4, 3, 1, 20), "tokens of the branch alone"


async def test_before_the_error_the_failed_turn_is_drawn_again(pool: KernelSource) -> None:
    parent = await failed_episode(pool)
    engine = Says(cell("print(coins)"), "<solution>8</solution>")
    (branch,) = await run_branches(job(parent, None, 1, "before"), engine, pool, RULES)
    assert branch.outcome.success and branch.branch == Branch(parent=parent.id, turn=4)
    assert engine.seen[0] == branch.messages[:4] and branch.usage.error_cells == 0


@pytest.mark.parametrize("why", ["kernel", "tools"])
async def test_without_forks_the_recorded_cells_run_again_and_a_sentence_says_why(pool: KernelSource, why: str) -> None:
    kernels, tools = (WithoutFork(pool), Purse()) if why == "kernel" else (pool, Locked())
    parent = await failed_episode(pool, tools)
    says = [cell("print(spend(3))"), "<solution>5</solution>"]
    said: list[str] = []
    branches = await run_branches(job(parent, tools, 3), Says(*says * 3), kernels, RULES, say=said.append)
    assert [one.messages[7].content for one in branches] == ["Observation:\n5"] * 3
    reason = "kernels of the kind Plain have no fork" if why == "kernel" else "the purse is locked"
    (sentence,) = said
    assert reason in sentence and "each branch runs the recorded cells again" in sentence


async def test_a_service_forks_its_kernels(service: str) -> None:
    from rollout.config import WorkerConfig

    kernels = await open_service(WorkerConfig(service=service, kernel_memory_mib=1), RULES, SERVICE_TOKEN)
    try:
        parent = await failed_episode(kernels, Purse())
        engine = Says(*[cell("print(spend(1), coins)"), "<solution>8</solution>"] * 2)
        branches = await run_branches(job(parent, Purse(), 2), engine, kernels, RULES)
    finally:
        await kernels.close()
    assert [one.messages[7].content for one in branches] == ["Observation:\n7 8"] * 2
    assert all(one.outcome.success for one in branches)


async def test_a_state_that_cannot_be_restored_is_an_outcome_and_no_engine_is_asked(pool: KernelSource) -> None:
    parent = await failed_episode(pool)
    messages = list(parent.messages)
    messages[3] = messages[3].model_copy(update={"content": "Observation:\n7"})
    engine = Says()
    forged = parent.model_copy(update={"messages": tuple(messages)})
    branches = await run_branches(job(forged, None, 2), engine, pool, RULES)
    assert [one.outcome.error.kind for one in branches if one.outcome.error] == ["task", "task"] and engine.seen == []
    assert "'7' became '8'" in branches[0].outcome.error.message
    assert branches[0].messages == tuple(messages[:6]) and branches[0].branch == Branch(parent=parent.id, turn=6)


async def test_only_failed_episodes_with_a_failed_cell_are_repaired() -> None:
    spec: Any = ServerSpec(name="m", base_urls=(), model="m")
    parents = [record(0, success=False, fails=1), record(1, success=True, fails=1), record(2, success=False)]
    branch = record(3, success=False, fails=1).model_copy(update={"branch": Branch(parent="p", turn=2)})
    jobs = repair_jobs([(one, task()) for one in (*parents, branch)], spec, DRAWN, 3, "before")
    assert [work.parent for work in jobs] == parents[:1] and jobs[0].turn == 2
    assert len(set(jobs[0].seeds)) == 3 and jobs == repair_jobs([(parents[0], task())], spec, DRAWN, 3, "before")
    first, *_ = jobs[0].ids(RULES)
    left = jobs[0].without({first}, RULES)
    assert left == dataclasses.replace(jobs[0], seeds=jobs[0].seeds[1:])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"repair": {}}, r"repair\.samples=4: branches drawn at temperature 0 are all the same"),
        ({"repair": {"samples": 1, "at": "before"}}, r"repair\.at=before: at temperature 0 the engine writes"),
        ({"engine": "expert", "engines": ["a"]}, "give engine=expert or engines, not both"),
        ({"engines": ["a", "a"]}, "names one twice"),
        ({"most_tasks": 3}, "limits the tasks of only_unsolved"),
    ],
)
async def test_settings_that_contradict_one_another_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Source.model_validate(given)


async def test_recorded_feedback_of_a_user_is_kept_and_the_judge_is_asked_for_new_turns_alone(
    pool: KernelSource,
) -> None:
    spec: Any = Prompted(("Look at the name.", "Good."))
    rules = RULES.model_copy(update={"user_feedback": UserFeedback(), "max_steps": 3})
    judge = Judge(JudgeSpec(spec))
    parent = await run_episode(
        task(), Says(cell("print(coin)"), "<solution>9</solution>"), pool, rules, DRAWN, judge=judge
    )
    assert parent.judge and parent.judge.calls == 1 and "Look at the name." in parent.messages[3].content
    engine = Says(cell("print(8)"), "<solution>8</solution>")
    (branch,) = await run_branches(job(parent, None, 1), engine, pool, rules, judge)
    judge.close()
    assert branch.outcome.success and branch.messages[:4] == parent.messages[:4]
    assert branch.judge and branch.judge.calls == 1 and "Good." in branch.messages[5].content
