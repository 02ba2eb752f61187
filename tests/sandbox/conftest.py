"""One pool for the tests of the handle."""

from collections.abc import AsyncIterator

import pytest_asyncio

from sandbox import KernelPool, Limits


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[KernelPool]:
    limits = Limits(cell_timeout_s=10.0, output_chars=1000, interrupt_grace_s=1.0, tool_calls_per_cell=20)
    async with KernelPool(size=2, limits=limits, preload=("numpy",)) as running:
        yield running
