"""A judge for checks without a model: it gives an answer that is the reference full marks, and any other the lowest.

Contract: :func:`comparing_judge` reads what the grader ``rating`` asks. So a check shows that the references reach the
judge and that its ratings reach the score; how a model rates is that model's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rollout import Message, Sampling, Task
from rollout.engines import Completion, Judge, JudgeSpec

_PAIR = re.compile(r"Reference \d+:\n(.*?)\n\nAnswer \d+:\n(<\w+>)\n(.*?)\n\2\n", re.DOTALL)


@dataclass
class Compares:
    """The engine of the judge, and its description."""

    name: str = "compares"
    shared: ClassVar[bool] = True

    def build(self, task: Task) -> Compares:
        """Itself."""
        return self

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The rating of the last answer; without a reference there is none."""
        pairs = _PAIR.findall(messages[1].content)
        same = bool(pairs) and pairs[-1][0].strip() == pairs[-1][2].strip()
        reply = f"It is compared.\nRating: [[{10 if same else 1}]]" if pairs else "There is no reference."
        return Completion(reply, None, None, prompt_tokens=0, completion_tokens=0, finish_reason="stop")

    async def close(self) -> None:
        """Nothing to release."""


def comparing_judge() -> Judge:
    """The judge of a check; close it afterwards."""
    return Judge(JudgeSpec(Compares()))
