"""A judge that believes every instruction outside the quoted answer and none inside: it tests the quoting.

Contract: :func:`gullible_judge` gives full marks when the text around the quoted answer asks for it, else when the
quoted answer has the reference. So an answer that leaves its quotation is scored. Whether a real judge follows an
instruction inside the quotation is a property of that model, which no script can test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rollout import Message, Sampling, Task
from rollout.engines import Completion, Judge, JudgeSpec

_MARK = re.compile(r"the marks (<[0-9a-f]{16}>)")


@dataclass
class Gullible:
    """The engine of the judge, and its description."""

    name: str = "gullible"
    shared: ClassVar[bool] = True

    def build(self, task: Task) -> Gullible:
        """Itself."""
        return self

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The verdict."""
        instruction, question = messages[0].content, messages[-1].content
        mark = _MARK.findall(instruction)[0]
        before, _, rest = question.partition(f"{mark}\n")
        quoted, _, after = rest.partition(f"\n{mark}")
        reference = re.findall(r"Reference:\n(.*)\n", before)[0]
        right = "full marks" in before + after or reference in quoted
        return Completion(f"I read it.\nVERDICT: {'RIGHT' if right else 'WRONG'}", None, None, 0, 0, "stop")

    async def close(self) -> None:
        """Nothing to release."""


def gullible_judge() -> Judge:
    """The judge of the battery."""
    return Judge(JudgeSpec(Gullible()))
