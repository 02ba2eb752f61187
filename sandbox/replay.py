"""Comes to the state of a recorded kernel again, on any machine.

Contract: :func:`restore` gives a kernel in which the cells of a log have run, and tells which came out differently.
Tools are not called: cells get the answers of the log, so nothing happens twice in the outside world. Cells that were
rolled back or that a later loss of the state made void are left out. It takes as long as the cells took.

Equal are, with the same versions of Python and the packages: the order of sets and dicts, ``random`` and numpy's and
torch's global generators where the kernel was acquired with a seed and they were preloaded. Not equal: what reads the
clock, ``os.urandom`` or ``default_rng()`` without a seed, process ids, the interleaving of threads, what was stopped at
its time limit, and in tier T1 the workspace's absolute path. Such cells are flagged where they show it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.state.session_log import CellDone, FilePut, Log, Seeded
from sandbox.tools.describe import Tool

if TYPE_CHECKING:
    from sandbox.kernel import Kernel
    from sandbox.pool import KernelPool
    from sandbox.result import CellResult


@dataclass(frozen=True)
class Difference:
    """A cell that came out differently."""

    recorded: CellDone
    result: CellResult
    """What it came to this time."""


@dataclass(frozen=True)
class Restored:
    """A kernel with a past."""

    kernel: Kernel
    different: tuple[Difference, ...]


async def restore(
    pool: KernelPool, log: Log, tools: Mapping[str, Tool] | None = None, call_tools: bool = False
) -> Restored:
    """A kernel of ``pool`` in the state of the log, recording in its turn.

    ``tools``: the host functions, for their signatures and for later cells; ``call_tools``: call them now as well.
    Raises ValueError when a tool of the log is missing, :class:`SandboxError` as :meth:`KernelPool.acquire` does.
    """
    missing = sorted(set(log.start.tools) - set(tools or {}))
    if missing:
        raise ValueError(f"tools: the log's kernel had {', '.join(missing)}; give functions of these names")
    kernel = await pool.acquire(tools, log.start.files, seed=log.start.seed, record=True)
    assert kernel.recorder is not None
    different = []
    try:
        for record in log.living():
            if isinstance(record, FilePut):
                await kernel.put(record.path, record.data)
            elif isinstance(record, Seeded):
                await kernel.seed(record.seed)
            elif isinstance(record, CellDone):
                kernel.recorder.known = None if call_tools else deque(record.calls)
                result = await kernel.run(record.code, record.timeout_s)
                repeated = kernel.recorder.log.records[-1]
                if isinstance(repeated, CellDone) and repeated.digest != record.digest:
                    different.append(Difference(record, result))
    except BaseException:
        await kernel.close()
        raise
    kernel.recorder.known = None
    return Restored(kernel, tuple(different))
