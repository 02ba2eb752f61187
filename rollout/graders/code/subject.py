"""The code that is judged, loaded in a kernel of its own; the host speaks to it through cells.

Contract: what comes back from the kernel is text that the code may have made up. It is used as the result of the code
and as nothing else: whether a result is right is decided elsewhere.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from rollout.graders.code.kernels import Kernels, TestKernel

IN_KERNEL = Path(__file__).with_name("in_kernel.py").read_text(encoding="utf-8")
_FENCED = re.compile(r"```[a-zA-Z]*\n(.*?)(?:```|\Z)", re.DOTALL)
_ENDED = {
    "timeout_interrupted": "takes more than {limit:g} s",
    "timeout_killed": "takes more than {limit:g} s",
    "out_of_memory": "needs too much memory",
    "output_limit": "prints too much",
    "died": "ends its process",
    "protocol_violation": "ends its process",
    "error": "has a result that cannot be read",
}


class Stopped(Exception):
    """The code did not come to a result. The message says why, after "the code"."""


def code_in(proposed: str) -> str:
    """The Python code in a proposed answer: that between fences, if there are any."""
    blocks = _FENCED.findall(proposed)
    return "\n".join(blocks) if blocks else proposed


class Subject:
    """A kernel with the code. Use it as an async context manager."""

    def __init__(self, kernels: Kernels, limit_s: float) -> None:
        self._kernels, self._limit_s = kernels, limit_s
        self._kernel: TestKernel | None = None
        self._answer: str | None = None
        self.left_s = limit_s
        """Time that the current test has left for the code."""

    async def __aenter__(self) -> Subject:
        self._kernel = await self._kernels.acquire(tools={"_answer": self._take})
        await self._kernel.run(IN_KERNEL, timeout_s=30.0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._kernel is not None:
            await self._kernel.close()

    async def ask(self, function: str, *arguments: Any) -> dict[str, Any]:
        """Calls a function of :mod:`rollout.graders.code.in_kernel` in the kernel.

        Raises:
            Stopped: the code used up the time of the test, or its process ended.
            SandboxError: the kernel failed.
        """
        assert self._kernel is not None
        given = ", ".join(f"__import__('json').loads({json.dumps(argument)!r})" for argument in arguments)
        self._answer, started = None, time.monotonic()
        call = f"_answer(__import__('json').dumps({function}({given}))); None"
        result = await self._kernel.run(call, timeout_s=max(0.1, self.left_s))
        self.left_s -= time.monotonic() - started
        if result.status != "ok" or self._answer is None:
            raise Stopped(_ENDED.get(result.status, "gives no result").format(limit=self._limit_s))
        try:
            answer = json.loads(self._answer)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise Stopped("has a result that cannot be read")
        return answer

    async def _take(self, answer: str) -> None:
        self._answer = answer
