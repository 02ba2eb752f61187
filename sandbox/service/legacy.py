"""``POST /execute {"convid", "code"}`` for clients of the first CodeAct service: a conversation is a kernel.

Contract: the answer is ``{"result", "new_kernel_created"}`` with the text as those clients know it: streams, values,
pictures as Markdown with a data URL, tracebacks, in the order they appeared; a fixed sentence for a cell without output
or one that timed out. Differences from the first service: two simultaneous first calls get one kernel, text printed
before a timeout is kept, and ``new_kernel_created`` is also true when the previous cell cost the kernel its state.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from sandbox.guest.terminal import visible_text
from sandbox.result import CellResult
from sandbox.service.errors import ApiError
from sandbox.service.execution import Execution
from sandbox.service.leases import Lease
from sandbox.service.service import SandboxService
from sandbox.service.tenants import Tenant

TIMEOUT_S = 60.0
NO_OUTPUT = "[Code executed successfully with no output]"
TIMED_OUT = "[Execution timed out ({:g} seconds).]"
ENDED = {
    "timeout_killed": "The kernel did not stop and was ended",
    "died": "The kernel died",
    "out_of_memory": "The kernel used up its memory and was ended",
    "output_limit": "The output limit was reached",
    "protocol_violation": "The kernel was ended",
}
LOST, ROLLED_BACK = "its variables are gone", "its variables are as before this cell"


@dataclass
class _Conversation:
    opening: asyncio.Task[Lease]
    fresh: bool = True
    """No cell has used its state yet."""


class Conversations:
    """The kernel of each conversation."""

    def __init__(self, service: SandboxService) -> None:
        self._service = service
        self._known: dict[tuple[str, str], _Conversation] = {}

    async def open(self, tenant: Tenant, convid: str) -> tuple[Lease, bool]:
        """The conversation's kernel, and whether it is new to the client."""
        key = (tenant.name, convid)
        known = self._known.get(key)
        if known is None or self._ended(tenant, known):
            self._sweep()
            opening = asyncio.ensure_future(self._service.create(tenant, {}, {}))
            known = self._known[key] = _Conversation(opening)
        lease = await asyncio.shield(known.opening)
        fresh, known.fresh = known.fresh, False
        return lease, fresh

    def mark_fresh(self, tenant: Tenant, convid: str) -> None:
        """Marks the kernel as new, because it has lost its state."""
        self._known[tenant.name, convid].fresh = True

    def _ended(self, tenant: Tenant, known: _Conversation) -> bool:
        if not known.opening.done():
            return False
        if known.opening.cancelled() or known.opening.exception() is not None:
            return True
        try:
            self._service.leases.find(tenant, known.opening.result().id)
        except ApiError:
            return True
        return False

    def _sweep(self) -> None:
        """Forgets conversations whose kernel has ended, so that there are no more of them than kernels."""
        tenants = {tenant.name: tenant for tenant in self._service.tenants.all}
        for key, known in list(self._known.items()):
            if self._ended(tenants[key[0]], known):
                del self._known[key]


def timeout_s(tenant: Tenant) -> float:
    """The time limit of a cell; legacy requests cannot set one."""
    return min(TIMEOUT_S, tenant.max_cell_timeout_s)


async def collect_text(execution: Execution, limit_s: float) -> tuple[str, CellResult]:
    """The answer's text and the cell's result, when the cell has ended."""
    text = ""
    with execution.listen() as queue:
        while (event := await queue.get()) is not None:
            text += _event_text(event)
        result = await execution.result()
    text = visible_text(text)
    for line in _closing_lines(result, limit_s):
        text += line if not text or text.endswith("\n") else f"\n{line}"
    return text or NO_OUTPUT, result


def _closing_lines(result: CellResult, limit_s: float) -> list[str]:
    lines = [result.traceback] if result.status == "error" and result.traceback else []
    lines += [f"[Printed late by an earlier cell.]\n{late.text}" for late in result.late]
    if result.status.startswith("timeout"):
        lines.append(TIMED_OUT.format(limit_s))
    if result.status in ENDED:
        state = ROLLED_BACK if result.rolled_back else None if result.state_survived else LOST
        lines.append(f"[{'; '.join(filter(None, (ENDED[result.status], state)))}.]")
    return lines


def _event_text(event: dict[str, Any]) -> str:
    if event["event"] == "stream":
        return str(event["text"])
    data = event.get("data", {})
    for mime in ("image/png", "image/jpeg"):
        if isinstance(data.get(mime), str):
            return f"\n![image](data:{mime};base64,{''.join(data[mime].split())})\n"
    return f"{data['text/plain']}\n" if isinstance(data.get("text/plain"), str) else ""
