"""The grader ``reasoning_gym``: the score of the generator that made the task, computed in a process that can be ended.

Contract: the reference names generator, seed and number; the entry is made again. A score of 1 is right, a smaller one
is the reward. Another version of the package gives no verdict.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from rollout.graders.processes import GraderProcesses
from rollout.graders.verdict import Verdict, right, wrong
from rollout.graders.words import read_reference, shown


def reasoning_gym(proposed: str, reference: str) -> Verdict:
    """The generator's score.

    Args:
        reference: ``{"dataset", "seed", "number", "answer", "version"}``.

    Raises:
        Ended: the package is not installed or has another version, or the score took too long.
    """
    known = read_reference(reference, "reasoning_gym", "dataset", "seed", "number", "answer", "version")
    score = float(_processes().call("rollout.graders.reasoning_gym:score", proposed, known))
    if score >= 1.0:
        return right(f"the generator's score is {score:g}", score)
    return wrong(f"the generator's score is {score:g}, the answer is {shown(known['answer'])}", score)


reasoning_gym.slow = True  # type: ignore[attr-defined]


@cache
def _processes() -> GraderProcesses:
    return GraderProcesses(("reasoning_gym",), size=2)


def score(proposed: str, known: dict[str, Any]) -> float:
    """The score of an answer, 0 for one that the generator cannot read; runs in the process.

    Raises:
        ValueError: the package has another version.
    """
    import reasoning_gym as package

    if package.__version__ != known["version"]:
        raise ValueError(
            f"the task was made by reasoning-gym {known['version']}, and {package.__version__} is installed"
        )
    number = int(known["number"])
    entries = package.create_dataset(known["dataset"], seed=known["seed"], size=number + 1)
    try:
        return float(entries.score_answer(proposed, entries[number]))
    except Exception:  # a generator may raise for an answer of another form
        return 0.0
