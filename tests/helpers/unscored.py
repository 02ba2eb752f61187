"""Tasks and a grader that can fail, found by ``module:name``."""

from __future__ import annotations

from pathlib import Path

from rollout.families.base import Task
from rollout.graders import Verdict

TASKS = 5
BROKEN_GRADER = Path("grader-is-broken")
"""Name of a file; while it exists in the folder of the reference, ``undecided`` gives no verdict."""


def generate(split: str, count: int, seed: int, kinds: tuple[str, ...] | None = None) -> list[Task]:
    """Five tasks; the answer 1 is right for all but the second. ``split`` is the folder of :data:`BROKEN_GRADER`."""
    graders = ["exact"] * (TASKS - 1) + ["tests.helpers.unscored:undecided"]
    answers = ["1", "2", "1", "1", split]
    return [
        Task("unscored", "k", "heldout", "trained", f"t-{number}", f"Task {number}.", answer, grader)
        for number, (answer, grader) in enumerate(zip(answers, graders, strict=True))
    ]


def undecided(proposed: str, reference: str) -> Verdict:
    """No verdict while the file is there."""
    if (Path(reference) / BROKEN_GRADER).exists():
        return Verdict("none", "the grader's process was killed", fault="infra")
    return Verdict("right", "it is 1", 1.0)
