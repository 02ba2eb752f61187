"""Runs the branches of an episode: restores the state at the point once, forks it for each branch, and continues.

Contract: :func:`run_branches` returns one trajectory for each seed, also when a branch fails. The state is restored by
running the recorded turns again in a fresh environment: their cells, tool calls and proposals. The observations must be
the recorded ones, word by word; where they are not (a clock, an address, a random number), the branches are outcomes of
the kind ``task`` and no engine is asked. Cost: the recorded cells once and one fork a branch. Where the environment
cannot be forked, the recorded cells run again for each branch, and a sentence says why. Branches run
one after another, so that a job has two kernels at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rollout.bank.trajectory import Trajectory
from rollout.engines.base import Completion, Engine
from rollout.engines.judge import Judge, judging
from rollout.environment import CannotForkError, Environment, EnvironmentFault, ForkingEnvironment
from rollout.episode.branching.job import BranchJob
from rollout.episode.loop import Assignment, Transcript, continue_episode, fault_outcome, open_environment, take_turn
from rollout.episode.loop import unfinished as unfinished_episode
from rollout.episode.user_feedback import HEADING
from rollout.kernel_source import KernelSource
from rollout.protocol import EpisodeProtocol


class StateDiffersError(EnvironmentFault):
    """The recorded turns do not lead to the recorded observations."""

    def __init__(self, message: str) -> None:
        super().__init__("task", message)


async def run_branches(
    job: BranchJob,
    engine: Engine,
    kernels: KernelSource,
    protocol: EpisodeProtocol,
    judge: Judge | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> list[Trajectory]:
    """The trajectories of a job's branches, in the order of its seeds.

    Args:
        say: called with the sentence that says why there are no forks.
    """
    works = [Assignment(job.task, engine, protocol, job.draws(seed), seed, judge, job.branch) for seed in job.seeds]
    trunk = _Trunk(job, kernels, protocol, judge, say)
    try:
        return [await _branch(work, trunk, kernels.tier) for work in works]
    finally:
        await trunk.close()


async def _branch(work: Assignment, trunk: _Trunk, tier: str) -> Trajectory:
    try:
        environment, transcript = await asyncio.wait_for(trunk.branch(), work.protocol.deadline_s)
    except Exception as fault:
        outcome = fault_outcome(fault, work)
        if outcome is None:
            raise
        return unfinished_episode(work, trunk.recorded, outcome, tier)
    return await continue_episode(work, transcript, environment, tier)


class _Trunk:
    """The state at the point of branching, restored when the first branch needs it."""

    def __init__(
        self,
        job: BranchJob,
        kernels: KernelSource,
        protocol: EpisodeProtocol,
        judge: Judge | None,
        say: Callable[[str], object],
    ) -> None:
        self._job, self._kernels, self._protocol, self._judge, self._say = job, kernels, protocol, judge, say
        self._state: tuple[Environment, Transcript] | None = None
        self._fault: StateDiffersError | None = None
        self._forks = True
        self.recorded = job.parent.messages[: job.turn]
        """The messages that the branches share with their parent."""

    async def branch(self) -> tuple[Environment, Transcript]:
        """An environment and a transcript of their own for one branch.

        Raises:
            StateDiffersError: the state cannot be restored.
        """
        if self._fault is not None:
            raise self._fault
        if not self._forks:
            return await self._restore()
        if self._state is None:
            self._state = await self._restore()
        environment, transcript = self._state
        try:
            if not isinstance(environment, ForkingEnvironment):
                raise CannotForkError(f"environments of the kind {type(environment).__name__} have no fork")
            return await environment.fork(), transcript.copy()
        except CannotForkError as reason:
            self._say(f"repair: {reason}, so each branch runs the recorded cells again in a kernel of its own")
            self._forks, state, self._state = False, self._state, None
            return state  # the restored state itself is the first branch

    async def close(self) -> None:
        """Releases the state; branches go on."""
        if self._state is not None:
            await self._state[0].close()
            self._state = None

    async def _restore(self) -> tuple[Environment, Transcript]:
        environment = open_environment(self._job.task, self._kernels, self._protocol)
        transcript = Transcript()
        try:
            with judging(self._judge):
                await self._replay(environment, transcript)
            return environment, transcript
        except BaseException as fault:
            self._fault = fault if isinstance(fault, StateDiffersError) else None
            await environment.close()
            raise

    async def _replay(self, environment: Environment, transcript: Transcript) -> None:
        await transcript.begin(environment)
        # the recorded feedback is used: another answer of the judge would be another conversation
        rules = self._protocol.model_copy(update={"user_feedback": None})
        while len(transcript.messages) < len(self.recorded):
            turn = self.recorded[len(transcript.messages)]
            said = Completion(
                turn.content, turn.token_ids, turn.logprobs, 0, 0, "stop", turn.reasoning, turn.tool_calls or ()
            )
            if turn.role != "assistant" or await take_turn(environment, rules, transcript, said) is not None:
                raise StateDiffersError(f"{self._job.parent.id} ends earlier when its turns run again")
        for number, (again, turn) in enumerate(zip(transcript.messages, self.recorded, strict=True)):
            if again.role != turn.role or not self._same(again.content, turn.content):
                raise StateDiffersError(
                    f"message {number} of {self._job.parent.id} is another one when its turns run again: "
                    f"{_difference(turn.content, again.content)}"
                )
        transcript.messages = list(self.recorded)

    def _same(self, again: str, recorded: str) -> bool:
        """Whether an observation is the recorded one, but for the feedback of a simulated user at its end."""
        if again == recorded:
            return True
        return self._protocol.user_feedback is not None and recorded.startswith(f"{again}\n{HEADING}\n")


def _difference(recorded: str, again: str) -> str:
    """The first line in which two texts differ."""
    before, after = recorded.splitlines(), again.splitlines()
    for old, new in zip(before, after, strict=False):
        if old != new:
            return f"{old[:80]!r} became {new[:80]!r}"
    return f"{len(before)} lines became {len(after)}"
