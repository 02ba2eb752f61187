"""An environment: another action format and another world. Here, a guessing game that is played in JSON."""

import asyncio
import json

import rollout
from rollout import Action, Budget, EpisodeProtocol, Message, Observation, Outcome, Sampling, Task, ended
from rollout.engines import Completion


class GuessingGame:
    """The model writes ``{"guess": 5}`` and reads whether the number is larger or smaller."""

    def __init__(self, task: Task, kernels: object, protocol: EpisodeProtocol) -> None:
        self._number = int(task.answer)
        self.tools: dict = {}

    def prompt(self) -> list[Message]:
        return [Message(role="system", kind="instruction", content='Guess a number. Write {"guess": N}.')]

    async def reset(self) -> Observation:
        return Observation("It is between 1 and 10.", "task")

    def parse(self, text: str) -> Action:
        try:
            return Action("action", str(json.loads(text)["guess"]))
        except (ValueError, KeyError, TypeError):
            return Action("invalid")

    async def step(self, action: Action, budget: Budget) -> Observation | Outcome:
        if action.kind == "invalid":
            return ended("max_invalid") if budget.invalid_left <= 0 else Observation("Write JSON.", "feedback")
        if int(action.body) == self._number:
            return ended("solved", reward=1.0 + 0.1 * budget.steps_left)  # faster is better
        return Observation("larger" if int(action.body) < self._number else "smaller", reward=-0.05)

    async def close(self) -> None:
        """Nothing to release."""


class ScriptedEngine:
    name = "scripted"
    guesses = iter((5, 8, 6, 7))

    async def complete(self, messages: list[Message], sampling: Sampling, *, session: str) -> Completion:
        return Completion(json.dumps({"guess": next(self.guesses)}), None, None, 0, 0, "stop")


async def main() -> None:
    task = Task("games", "guess", "train", "trained", "g-7", "", "7", "number", environment=GuessingGame)
    kernels = await rollout.open_kernel_source(rollout.WorkerConfig(warm_kernels=1), EpisodeProtocol(), None)
    episode = await rollout.run_episode(task, ScriptedEngine(), kernels, EpisodeProtocol(), Sampling())
    print(episode.outcome.reason, round(episode.outcome.reward, 2), episode.usage.steps)  # → solved 1.05 4
    await kernels.close()


if __name__ == "__main__":
    asyncio.run(main())
