"""Rebuilds the state of a recorded kernel, on any machine.

Contract: :func:`restore` runs the cells of a log in a new kernel and reports those whose results differ. Tools are not
called: cells get the recorded answers, so that nothing happens twice in the outside world. Cells that were rolled back,
or that a later loss of the state undid, are skipped. It takes as long as the cells took.

With the same versions of Python and the packages these are equal: the order of sets and dicts, and ``random`` and the
global generators of numpy and torch if the kernel was acquired with a seed and they were preloaded. These differ:
readings of the clock, ``os.urandom`` or ``default_rng()`` without a seed, process ids, the interleaving of threads,
cells stopped at their time limit, and in tier T1 the workspace's absolute path. Such cells are reported when their
results show it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.state.session_log import CellDone, FilePut, Seeded, SessionLog
from sandbox.tools.describe import Tool

if TYPE_CHECKING:
    from sandbox.kernel import Kernel
    from sandbox.pool import KernelPool
    from sandbox.result import CellResult


@dataclass(frozen=True)
class Difference:
    """A cell whose result differs from the recorded one."""

    recorded: CellDone
    result: CellResult
    """The result of this run."""


@dataclass(frozen=True)
class Restored:
    """A kernel with the state of a log."""

    kernel: Kernel
    differences: tuple[Difference, ...]


async def restore(
    pool: KernelPool, log: SessionLog, tools: Mapping[str, Tool] | None = None, call_tools: bool = False
) -> Restored:
    """A kernel of ``pool`` in the state of the log; it records, too.

    ``tools``: the host functions, for their signatures and for later cells; ``call_tools``: call them now as well.
    Raises ValueError when a tool of the log is missing, :class:`SandboxError` as :meth:`KernelPool.acquire` does.
    """
    missing = sorted(set(log.start.tools) - set(tools or {}))
    if missing:
        raise ValueError(f"tools: the log's kernel had {', '.join(missing)}; pass functions with these names")
    kernel = await pool.acquire(tools, log.start.files, seed=log.start.seed, record=True)
    assert kernel.recorder is not None
    differences = []
    try:
        for record in log.effective_records():
            if isinstance(record, FilePut):
                await kernel.put(record.path, record.data)
            elif isinstance(record, Seeded):
                await kernel.seed(record.seed)
            elif isinstance(record, CellDone):
                kernel.recorder.replayed_calls = None if call_tools else deque(record.calls)
                result = await kernel.run(record.code, record.timeout_s)
                repeated = kernel.recorder.log.records[-1]
                if isinstance(repeated, CellDone) and repeated.digest != record.digest:
                    differences.append(Difference(record, result))
    except BaseException:
        await kernel.close()
        raise
    kernel.recorder.replayed_calls = None
    return Restored(kernel, tuple(differences))
