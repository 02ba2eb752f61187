"""One pool for the tests of the handle, one per tier for those of the isolation."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import KernelPool, Limits, probe
from tests.helpers import checkpoints
from tests.helpers.kernel_service import Api, two_tenants

LIMITS = Limits(cell_timeout_s=10.0, output_chars=1000, interrupt_grace_s=1.0, tool_calls_per_cell=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[KernelPool]:
    async with KernelPool(size=2, limits=LIMITS, preload=("numpy",), tier=probe().tier) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["T3", "T2", "T1"])
async def isolated(request: pytest.FixtureRequest) -> AsyncIterator[KernelPool]:
    if request.param not in probe().properties:
        pytest.skip(f"tier {request.param} is not available here: {probe().missing}")
    limits = LIMITS.model_copy(update={"workspace_mib": 8, "workspace_inodes": 200, "processes": 16, "memory_mib": 256})
    async with KernelPool(size=2, limits=limits, preload=(), tier=request.param) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service_of_two_tenants() -> AsyncIterator[Api]:
    async with two_tenants() as api:
        yield api


@pytest_asyncio.fixture(loop_scope="module")
async def api(service_of_two_tenants: Api) -> AsyncIterator[Api]:
    """The running service; every kernel a test has left is ended."""
    service = service_of_two_tenants.service
    yield service_of_two_tenants
    await asyncio.gather(*(service.delete(lease) for lease in service.leases.all()))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["T3", "T2", "T1"])
async def keeping(request: pytest.FixtureRequest) -> AsyncIterator[KernelPool]:
    if request.param not in probe().properties:
        pytest.skip(f"tier {request.param} is not available here: {probe().missing}")
    async with KernelPool(
        size=1, limits=checkpoints.LIMITS, preload=(), tier=request.param, checkpoint=True
    ) as running:
        yield running
