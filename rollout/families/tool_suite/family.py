"""Generates the tasks of the suite: chooses domain and level, draws data and question, and decides the split."""

from __future__ import annotations

import itertools
import json
from random import Random

from rollout.bank.trajectory import digest_of
from rollout.families.base import Task, Toolset
from rollout.families.tool_suite import archive, laboratory, library, railway, warehouse
from rollout.families.tool_suite.player import Player, count_calls
from rollout.families.tool_suite.question import LEVELS, Question, Value

DOMAINS = {
    "archive": archive.DOMAIN,
    "laboratory": laboratory.DOMAIN,
    "library": library.DOMAIN,
    "railway": railway.DOMAIN,
    "warehouse": warehouse.DOMAIN,
}
"""Kind of task → domain."""
TEST_SHARE = 0.25
"""Share of all possible tasks that belong to the split ``test``."""


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """``count`` different tasks of a split; domains alternate, and so do the levels. Fewer tasks are the first ones.

    Raises:
        ValueError: for an unknown split or kind.
    """
    if split not in ("train", "test"):
        raise ValueError(f"tasks.split: '{split}' is not a split; choose train or test")
    unknown = set(kinds or ()) - set(DOMAINS)
    if unknown:
        raise ValueError(f"tasks.kinds: {sorted(unknown)} are not kinds; choose from: {', '.join(DOMAINS)}")
    rng, taken = Random(f"tool_suite/{split}/{seed}"), set[str]()
    cycle = itertools.cycle([(domain, level) for level in LEVELS for domain in kinds or DOMAINS])
    return [_task(*next(cycle), split, f"{split}-{seed}-{number:05d}", rng, taken) for number in range(count)]


def _task(domain: str, level: str, split: str, name: str, rng: Random, taken: set[str]) -> Task:
    toolset, question = _draw(domain, level, split, rng, taken)
    return Task(
        family="tool_suite",
        kind=domain,
        split=split,
        group=level,
        id=name,
        prompt=question.prompt,
        answer=reference(question.answer),
        grader="m3tooleval",
        toolset=toolset,
        solution=str(question.answer),
        expert=Player(question.program, toolset),
    )


def _draw(domain: str, level: str, split: str, rng: Random, taken: set[str]) -> tuple[Toolset, Question]:
    """Draws until the question can be asked, needs as many calls as the level says, and is new in its split."""
    makers = DOMAINS[domain].questions[level]
    while True:
        toolset = DOMAINS[domain].world(rng, level)
        question = rng.choice(makers)(rng, toolset)
        if question is None:
            continue
        key = digest_of([domain, question.prompt, toolset.description()])
        if split_of(key) != split or key in taken:
            continue
        calls, printed = count_calls(question.program, toolset)
        if calls in LEVELS[level]:
            assert printed == str(question.answer), (question.prompt, printed, question.answer)
            taken.add(key)
            return toolset, question


def split_of(key: str) -> str:
    """The split that a content digest belongs to."""
    return "test" if int(key[:8], 16) / 16**8 < TEST_SHARE else "train"


def reference(value: Value) -> str:
    """The answer in the form that the grader of M3ToolEval reads: numbers are asked for with two decimals."""
    decimals = {"decimals": 2} if isinstance(value, float) else {}
    return json.dumps({"value": repr(value), **decimals}, ensure_ascii=False)
