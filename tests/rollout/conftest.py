"""A pool of real kernels for the tests of the rollout room."""

from collections.abc import AsyncIterator

import pytest_asyncio

from sandbox import KernelPool, Limits


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[KernelPool]:
    """A small pool of real kernels."""
    async with KernelPool(size=4, limits=Limits(memory_mib=512, cell_timeout_s=10.0), preload=("pandas",)) as kernels:
        yield kernels
