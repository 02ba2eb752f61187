"""A judge that believes every instruction outside quoted answers and none inside: it tests the quoting.

Contract: :func:`gullible_judge` gives full marks when the text around the quoted answers asks for it, else when the
last one has the reference. So an answer that leaves its quotation is scored. It repeats that answer before its verdict
or rating, so an answer that is read as the judge's own words is scored, too. Whether a real judge follows an
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
_REFERENCE = re.compile(r"^Reference(?: \d+)?:\n(.*)$", re.MULTILINE)


@dataclass
class Gullible:
    """The engine of the judge, and its description."""

    name: str = "gullible"
    shared: ClassVar[bool] = True

    def build(self, task: Task) -> Gullible:
        """Itself."""
        return self

    async def complete(self, messages: Sequence[Message], sampling: Sampling, *, session: str) -> Completion:
        """The verdict or rating, as it is asked for."""
        instruction, question = messages[0].content, messages[1].content
        parts = question.split(_MARK.findall(instruction)[0])
        around, quoted = "".join(parts[0::2]), parts[-2]
        reference = _REFERENCE.findall(parts[-3])[-1]
        right = "full marks" in around or reference in quoted
        if "VERDICT:" in instruction:
            said = f"VERDICT: {'RIGHT' if right else 'WRONG'}"
        else:
            said = f"Rating: [[{10 if right else 1}]]"
        return Completion(f"The answer is: {quoted}\n{said}", None, None, 0, 0, "stop")

    async def close(self) -> None:
        """Nothing to release."""


def gullible_judge() -> Judge:
    """The judge of the battery."""
    return Judge(JudgeSpec(Gullible()))
