"""Round trip of a cell through the HTTP service, with service and client in one process."""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time

from sandbox.isolation.probe import Tier
from sandbox.pool import KernelPool
from sandbox.service.client import RemotePool
from sandbox.service.server import KernelServer, open_socket
from sandbox.service.service import SandboxService
from sandbox.service.tenants import Tenant, Tenants


async def http_round_trip_ms(tier: Tier, code: str, cells: int) -> float:
    """Median milliseconds of a cell run by a remote pool."""
    tenant = Tenant(name="bench", token=secrets.token_hex(16))
    service = SandboxService(Tenants([tenant]), lambda tenant: KernelPool(size=0, limits=tenant.limits, tier=tier))
    server = KernelServer(service)
    took = []
    with open_socket("127.0.0.1", 0) as sock:
        serving = asyncio.ensure_future(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        async with RemotePool(f"http://127.0.0.1:{sock.getsockname()[1]}", tenant.token) as pool:
            async with await pool.acquire() as kernel:
                for _ in range(cells + 5):
                    started = time.perf_counter()
                    await kernel.run(code)
                    took.append((time.perf_counter() - started) * 1e3)
        server.should_exit = True
        await serving
    return statistics.median(took[5:])
