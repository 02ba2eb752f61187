"""Runs the battery against one tier and kernel, judges, and prints the scorecard."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sandbox.battery import deceive, exhaust, reach
from sandbox.battery.case import ENDS, Case
from sandbox.limits import Limits
from sandbox.pool import KernelPool
from sandbox.probing import Tier, probe
from sandbox.result import CellResult

CASES: tuple[Case, ...] = (
    *reach.FILES, *reach.NETWORK, *reach.PROCESSES, *reach.KERNEL_CALLS,
    *exhaust.TIME, *exhaust.MEMORY, *exhaust.PROCESSES, *exhaust.DISK, *exhaust.OUTPUT,
    *deceive.DEATHS, *deceive.PROTOCOL, *deceive.PYTHON,
)  # fmt: skip
LIMITS = Limits(memory_mib=512, workspace_mib=64, workspace_inodes=2000, processes=32, output_chars=4000)
HOST_GROWTH_MIB = 64
LATE_S = 2.0
Verdict = Literal["held", "breach", "not promised", "not run"]


class Score(BaseModel):
    """One line of the scorecard."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    group: str
    verdict: Verdict
    stopped_by: str
    seen: str
    """What the host saw: the outcome, or why the verdict is what it is."""
    seconds: float


@dataclass
class _Scene:
    """The host's side of the stage: things a cell must not reach."""

    facts: dict[str, Any]
    secret: Path
    victim: subprocess.Popen[bytes]

    def unharmed(self) -> str | None:
        """None, or what happened to the host."""
        if self.victim.poll() is not None:
            return "the victim process is dead"
        stat = self.secret.stat()
        if self.secret.read_text() != "s3cret" or not stat.st_mode & 0o400 or stat.st_uid != os.geteuid():
            return "the secret file was changed"
        return None


async def run_battery(
    tier: Tier,
    kernel: Literal["light", "ipykernel"] = "light",
    cases: Sequence[Case] = CASES,
    on_score: Callable[[Score], None] = lambda score: None,
) -> list[Score]:
    """Every case once, in order. Cases that would harm the machine are not run in T0."""
    scores = []
    async with KernelPool(size=1, limits=LIMITS, preload=(), tier=tier, kernel=kernel) as pool, _stage() as scene:
        sibling = await pool.acquire()
        for case in cases:
            if case.unsafe and tier == "T0":
                seen = "would harm a machine without isolation"
                score = Score(case=case.name, group=case.group, verdict="not run", stopped_by="", seen=seen, seconds=0)
            else:
                if kernel == "ipykernel" and case.group == "output":  # no budget inside: any end is a good one
                    case = replace(case, allowed=ENDS)
                score = await _judge(pool, case, scene, sibling)
            scores.append(score)
            on_score(score)
        await sibling.close()
    return scores


async def _judge(pool: KernelPool, case: Case, scene: _Scene, sibling: Any) -> Score:
    before = _resident_mib()
    started = time.monotonic()
    async with await pool.acquire() as kernel:
        code = case.code
        for name, fact in scene.facts.items():
            code = code.replace(f"{{{name}}}", str(fact))
        code = code.replace("{{", "{").replace("}}", "}")
        result = await kernel.run(code, timeout_s=case.timeout_s)
        took = time.monotonic() - started
        await kernel.run("6 * 7", timeout_s=5)  # whatever it says: it must not hang
    neighbour = await sibling.run("6 * 7", timeout_s=30)  # the machine may be busy with others
    fault = _fault(case, result, took, scene, _resident_mib() - before)
    if neighbour.value != "42":
        fault = f"the sibling answers {neighbour.status}"
    promised = case.needs is None or probe().properties[pool.tier][case.needs].level == "enforced"
    verdict: Verdict = "held" if fault is None else "breach" if promised else "not promised"
    seen = fault or _outcome(result)
    return Score(case=case.name, group=case.group, verdict=verdict, stopped_by=case.stopped_by, seen=seen, seconds=took)


def _fault(case: Case, result: CellResult, took: float, scene: _Scene, growth_mib: float) -> str | None:
    if "BREACH" in result.stdout:
        return f"the cell got through: {result.stdout.strip()[:100]}"
    if (harm := scene.unharmed()) is not None:
        return harm
    if result.status not in case.allowed:
        return f"{_outcome(result)}; expected {' or '.join(case.allowed)}"
    if took > case.timeout_s + LIMITS.interrupt_grace_s + LATE_S:
        return f"took {took:.1f} s"
    if growth_mib > HOST_GROWTH_MIB:
        return f"the host grew by {growth_mib:.0f} MiB"
    return None


def _outcome(result: CellResult) -> str:
    error = f" {result.error_name}: {(result.error_value or '')[:60]}" if result.error_name else ""
    text = result.stdout.strip().splitlines()[-1][:80] if result.stdout.strip() and not error else ""
    kept = "" if result.state_survived else ", state lost"
    return f"{result.status}{error}{' | ' + text if text.isprintable() and text else ''}{kept}"


@asynccontextmanager
async def _stage() -> AsyncIterator[_Scene]:
    with (
        tempfile.TemporaryDirectory(prefix="codeact-stage-") as folder,
        subprocess.Popen(["sleep", "3600"]) as victim,
        socket.socket() as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        secret = Path(folder, "secret")
        secret.write_text("s3cret")
        tcp.bind(("127.0.0.1", 0))
        unix.bind(f"{folder}/socket")
        abstract.bind(f"\0codeact-stage-{os.getpid()}")
        for sock in (tcp, unix, abstract):
            sock.listen()
        facts = {
            "secret": secret, "secret_name": "secret", "secret_folder": folder, "source": Path(__file__).resolve(),
            "victim": victim.pid, "owner": os.getpid(), "tcp": tcp.getsockname()[1], "unix": f"{folder}/socket",
            "abstract": f"codeact-stage-{os.getpid()}",
        }  # fmt: skip
        try:
            yield _Scene(facts, secret, victim)
        finally:
            victim.kill()
            await asyncio.sleep(0)


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
