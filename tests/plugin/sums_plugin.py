"""A package that adds one part of each kind: a task family, a grader, an engine, a kernel source and a benchmark."""

import re
from collections.abc import Sequence
from typing import Any

from rollout import Message, Sampling, Task
from rollout.engines import Completion


def generate(split: str, count: int, seed: int, kinds: Any = None) -> list[Task]:
    return [
        Task("sums", "sum", split, "easy", f"{split}-{i}", f"{i} + {seed}?", str(i + seed), "near")
        for i in range(count)
    ]


def near(proposed: str, reference: str) -> float:
    return 1.0 - min(1.0, abs(float(proposed) - float(reference)) / 10)


class Adder:
    shared = True

    def __init__(self, off_by: int = 0) -> None:
        self.name, self._off_by = f"adder-{off_by}", off_by

    def build(self, task: Task) -> "Adder":
        return self

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        total = sum(map(int, re.findall(r"\d+", messages[1].content))) + self._off_by
        return Completion(f"<solution>{total}</solution>", None, None, 0, 0, "stop")

    async def close(self) -> None: ...


class InProcess:
    tier = "none"

    async def acquire(self, tools: Any) -> "InProcess":
        return self

    async def close(self) -> None: ...


async def open_in_process(config: Any, protocol: Any, token: str | None) -> InProcess:
    return InProcess()


def sums_heldout() -> list[Task]:
    return generate("heldout", 4, 7)
