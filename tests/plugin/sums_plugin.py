"""A package that adds one part of each kind: a task family, a grader, an engine, a kernel source and a benchmark."""

import re

from rollout import Task
from rollout.engines import Completion


def generate(split, count, seed, kinds=None):
    return [
        Task("sums", "sum", split, "easy", f"{split}-{i}", f"{i} + {seed}?", str(i + seed), "near")
        for i in range(count)
    ]


def near(proposed, reference):
    return 1.0 - min(1.0, abs(float(proposed) - float(reference)) / 10)


class Adder:
    shared = True

    def __init__(self, off_by=0):
        self.name, self._off_by = f"adder-{off_by}", off_by

    def build(self, task):
        return self

    async def complete(self, messages, sampling, *, session):
        total = sum(map(int, re.findall(r"\d+", messages[1].content))) + self._off_by
        return Completion(f"<solution>{total}</solution>", None, None, 0, 0, "stop")

    async def close(self): ...


class InProcess:
    tier = "none"

    async def acquire(self, tools):
        return self

    async def close(self): ...


async def open_in_process(config, protocol, token):
    return InProcess()


def sums_heldout():
    return generate("heldout", 4, 7)
