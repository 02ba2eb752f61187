"""An engine: whatever completes a chat. This one answers from a table, without a model."""

import asyncio
from collections.abc import Sequence

from rollout import ENGINES, EpisodeProtocol, Message, Sampling, Task, WorkerConfig, open_kernel_source, run_episode
from rollout.engines import Completion, EngineError


class TableEngine:
    """Description and engine in one: it holds no connection, so one object serves all episodes of a worker."""

    shared = True

    def __init__(self, **answers: str) -> None:
        self.name = "table"  # identifies the model: it is part of every trajectory's id
        self._answers = answers

    def build(self, task: Task) -> "TableEngine":
        """Called in the worker, where connections are opened."""
        return self

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The next assistant turn. Raise EngineError("infra", …) for a failure that a retry can fix."""
        question = messages[-1].content
        for word, answer in self._answers.items():
            if word in question:
                text = f"<solution>{answer}</solution>"
                return Completion(text, None, None, prompt_tokens=0, completion_tokens=0, finish_reason="stop")
        raise EngineError("model", "no answer in the table")

    async def close(self) -> None:
        """Nothing to release."""


async def main() -> None:
    ENGINES.add("table", TableEngine)  # a package registers it as an entry point instead
    engine = ENGINES.get("table")(France="Paris", Norway="Oslo")  # collect.sources: engine, engine_options
    task = Task("capitals", "capital", "train", "trained", "t-1", "What is the capital of Norway?", "Oslo", "text")
    protocol = EpisodeProtocol()
    kernels = await open_kernel_source(WorkerConfig(warm_kernels=1), protocol, None)
    episode = await run_episode(task, engine.build(task), kernels, protocol, Sampling())
    await kernels.close()
    print(episode.model, episode.outcome.reason)  # → table solved


if __name__ == "__main__":
    asyncio.run(main())
