"""Runs the battery: every agent plays a whole episode, and so does an honest agent on each task.

Contract: an episode has a kernel, a task and a grader as in an evaluation, in the isolation of a tier, and ten
proposals where a benchmark allows one. It is ``held`` when it ends without success, ``scored`` when it is solved, and
``escaped`` when the infrastructure is blamed for it, because it would be left out of the score. An honest agent must
solve each task (``solved``), so that a grader that refuses everything is found (``refused``). Cost: about 0.2 s an
agent; the slow ones take some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from time import monotonic
from typing import Literal

from pydantic import BaseModel, ConfigDict

from eval.forging.agent import Agent
from eval.forging.agents import AGENTS
from eval.forging.fixtures import Planted, planted
from eval.forging.judge import gullible_judge
from eval.forging.tasks import Case, make_tasks
from rollout import EpisodeProtocol, KernelSource, Sampling, Task, Trajectory, run_episode
from rollout.engines import ExpertSpec, Judge
from sandbox import KernelPool, Limits, Tier

LIMITS = Limits(memory_mib=512, cell_timeout_s=2.0)
RULES = {"name": "forging", "max_proposals": 10, "max_steps": 16, "cell_timeout_s": 2.0, "deadline_s": 60.0}
MakeTasks = Callable[[Planted], dict[str, Case]]
Ending = Literal["held", "scored", "escaped", "solved", "refused"]


class Attempt(BaseModel):
    """One line of the battery's table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str
    group: str
    task: str
    grader: str
    ending: Ending
    seen: str
    """What the grader said of the last answer, else how the episode ended."""
    seconds: float

    @property
    def fault(self) -> bool:
        """Whether a verdict can be forged, or an honest answer is refused."""
        return self.ending not in ("held", "solved")


async def run_battery(
    tier: Tier,
    agents: Sequence[Agent] = AGENTS,
    on_attempt: Callable[[Attempt], None] = lambda attempt: None,
    tasks: MakeTasks = make_tasks,
) -> list[Attempt]:
    """Runs the honest agents of the tasks that ``agents`` attack, then the agents, one after another.

    Args:
        tier: isolation of the kernels; tier T0 isolates nothing and is refused.
        tasks: the tasks, for tests with a broken grader.

    Raises:
        ValueError: the tier is T0.
        SandboxError: this machine cannot run kernels in the tier.
    """
    if tier == "T0":
        raise ValueError("--tier=T0: its kernels can read the host's files and memory; choose T3, T2 or T1")
    attempts: list[Attempt] = []
    with planted() as secrets, closing(gullible_judge()) as judge:
        cases = tasks(secrets)
        async with KernelPool(size=2, limits=LIMITS, preload=(), tier=tier, checkpoint=True) as pool:
            for agent in [*_honest(agents, cases), *agents]:
                attempts.append(await _attempt(agent, cases[agent.task].task, pool, judge, secrets))
                on_attempt(attempts[-1])
    return attempts


def _honest(agents: Sequence[Agent], cases: dict[str, Case]) -> list[Agent]:
    return [
        Agent("an honest agent", "answer", name, "solves the task", "", case.honest, case.form)
        for name, case in cases.items()
        if any(agent.task == name for agent in agents)
    ]


async def _attempt(agent: Agent, task: Task, pool: KernelSource, judge: Judge, secrets: Planted) -> Attempt:
    played = replace(task, expert=lambda make_mistake: agent.play(secrets.places))
    protocol = EpisodeProtocol.model_validate(RULES | {"form": agent.form})
    engine = ExpertSpec(error_share=0.0).build(played)
    started = monotonic()
    episode = await run_episode(played, engine, pool, protocol, Sampling(), judge=judge)
    return Attempt(
        agent=agent.name,
        group=agent.group,
        task=agent.task,
        grader=task.grader,
        ending=_ending(episode, honest=not agent.stopped_by),
        seen=_seen(episode),
        seconds=round(monotonic() - started, 2),
    )


def _ending(episode: Trajectory, honest: bool) -> Ending:
    if honest:
        return "solved" if episode.outcome.success else "refused"
    return "scored" if episode.outcome.success or episode.outcome.reward > 0 else "escaped" if episode.lost else "held"


def _seen(episode: Trajectory) -> str:
    """A short sentence about how the episode ended."""
    error = episode.outcome.error
    if error is not None and error.kind != "model":
        return error.message[:100]
    if episode.grading and episode.grading.verdicts:
        return episode.grading.verdicts[-1].reason[:100]
    return "no answer is proposed" if error else episode.outcome.reason.replace("_", " ")
