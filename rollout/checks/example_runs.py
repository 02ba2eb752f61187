"""Runs the worked examples of protocols without a model.

Contract: :func:`run_example` runs the cells of an example in a kernel, with the functions that it names, and returns
every difference: an observation that is not what the cell prints, a verdict that is not the grader's, a game that is
not won. An example without a difference returns nothing. Cost: one kernel and some cells an example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rollout.config import WorkerConfig
from rollout.families.alfworld.small_house import SmallHouse
from rollout.families.base import Toolset
from rollout.families.search import Page, SearchToolset
from rollout.graders import judge
from rollout.kernel_source import KernelSource, open_kernel_source
from rollout.protocol import EpisodeProtocol, Example, ExampleTurn, read_examples

WORDING = "mint"
"""The protocol in whose words examples are written."""


@dataclass(frozen=True)
class Pages:
    """Pages of an example; those that share most words with the query come first."""

    pages: tuple[tuple[str, str], ...]

    def find(self, query: str, count: int) -> list[Page]:
        """At most ``count`` pages."""
        words = set(query.lower().split())

        def shared(page: tuple[str, str]) -> int:
            return len(words & set(" ".join(page).lower().replace(".", "").replace(",", "").split()))

        ranked = sorted(self.pages, key=shared, reverse=True)
        return [Page(title, text) for title, text in ranked[:count]]

    def describe(self) -> Any:
        """The pages."""
        return self.pages


def toolset_of(example: Example) -> Toolset | None:
    """The functions that the cells of an example call."""
    if example.pages is not None:
        return SearchToolset(Pages(tuple(example.pages.items())))
    return SmallHouse(**example.house) if example.house is not None else None


async def run_example(example: Example, kernels: KernelSource) -> list[str]:
    """The differences between an example and what happens, each in one sentence.

    Raises:
        SandboxError: there is no kernel.
    """
    protocol = EpisodeProtocol.model_validate(WORDING)
    toolset = toolset_of(example)
    kernel = await kernels.acquire(tools=toolset.functions() if toolset else {})
    found = []
    try:
        if example.setup:
            result = await kernel.run(example.setup, timeout_s=protocol.cell_timeout_s)
            found += [] if result.status == "ok" else [f"the set-up fails: {result.error_name}: {result.error_value}"]
        for number, turn in enumerate(example.turns, 1):
            if turn.code is None:
                found += _judged(example, turn, number)
                continue
            result = await kernel.run(turn.code, timeout_s=protocol.cell_timeout_s)
            seen, written = protocol.render(result), (turn.observation or "").strip()
            if seen.strip() != written and turn is not example.turns[-1]:
                found.append(f"turn {number} prints {seen!r}, and the example says {written!r}")
        if example.house is not None and toolset is not None and toolset.outcome() is None:
            found.append("the game is not won")
    finally:
        await kernel.close()
    return [f"{example.name}: {difference}" for difference in found]


def _judged(example: Example, turn: ExampleTurn, number: int) -> list[str]:
    assert turn.answer is not None
    verdict = judge(example.grader, turn.answer, example.reference)
    if verdict.kind == turn.verdict:
        return []
    return [f"turn {number}: the answer is {turn.verdict} in the example, and {verdict.kind} for the grader"]


async def run_examples() -> tuple[int, list[str]]:
    """Runs every shipped example in kernels of this machine; their number, and all differences.

    Raises:
        SandboxError: this machine cannot run kernels.
    """
    protocol = EpisodeProtocol.model_validate(WORDING)
    kernels = await open_kernel_source(WorkerConfig(warm_kernels=1), protocol, None)
    try:
        examples = read_examples()
        found = [difference for example in examples for difference in await run_example(example, kernels)]
    finally:
        await kernels.close()
    return len(examples), found
