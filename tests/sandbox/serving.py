"""The service on a free port of this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sandbox import KernelPool, probe
from sandbox.service.server import KernelServer
from sandbox.service.service import SandboxService


@asynccontextmanager
async def served(service: SandboxService) -> AsyncIterator[str]:
    """Yields the base URL of the service, which ends with the block."""
    server = KernelServer(service, port=0)
    serving = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


def small_pool(tenant) -> KernelPool:
    """Two warm kernels with nothing imported."""
    return KernelPool(2, tenant.limits, (), tier=probe().tier, checkpoint=tenant.checkpoint)
