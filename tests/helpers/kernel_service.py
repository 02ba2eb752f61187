"""The HTTP service on a free port of this process, and a client for its tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from sandbox import KernelPool, Limits, probe
from sandbox.service import KernelServer, SandboxService, Tenant, Tenants
from sandbox.service.leases import Lease
from sandbox.workspace.files import get_file

ALICE, BOB = "alice-has-a-long-token", "bob-has-another-token"
LIMITS = Limits(memory_mib=256, cell_timeout_s=10, output_chars=1000, interrupt_grace_s=0.5)


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


def small_pool(tenant: Tenant) -> KernelPool:
    """Two warm kernels without preloaded modules."""
    return KernelPool(2, tenant.limits, (), tier=probe().tier, checkpoint=tenant.checkpoint)


class Clock:
    """A clock that tests advance."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """A plain HTTP client of the running service."""

    def __init__(self, url: str, service: SandboxService, clock: Clock) -> None:
        self.service, self.clock = service, clock
        self.client = httpx2.AsyncClient(base_url=url, timeout=60)

    async def __call__(self, method: str, path: str, token: str | None = ALICE, **given: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Idempotency-Key": given.pop("key")} if "key" in given else {}
        answer = await self.client.request(method, path, headers=headers, **given)
        if answer.content and answer.headers.get("Content-Type") == "application/json":
            return answer.status_code, answer.json()
        return answer.status_code, answer.content

    async def kernel(self, token: str = ALICE, **body: Any) -> str:
        """The path of a new kernel."""
        status, made = await self("POST", "/v1/kernels", token, json=body)
        assert status == 201, made
        return f"/v1/kernels/{made['id']}"

    async def run(self, path: str, code: str, **body: Any) -> dict[str, Any]:
        """The result of a cell."""
        status, result = await self("POST", f"{path}/execute", json={"code": code, **body})
        assert status == 200, result
        return dict(result)


@asynccontextmanager
async def two_tenants() -> AsyncIterator[Api]:
    """A service with the tenants ``alice`` and ``bob``."""
    tenants = Tenants([
        Tenant(name="alice", token=ALICE, max_kernels=4, max_cells=2, limits=LIMITS, operator=True, open_execute=True,
               max_file_mib=1, max_cell_timeout_s=60),
        Tenant(name="bob", token=BOB, max_kernels=4, limits=LIMITS, checkpoint=True, max_lease_s=30),
    ])  # fmt: skip
    clock = Clock()
    service = SandboxService(tenants, small_pool, clock)
    async with served(service) as url:
        api = Api(url, service, clock)
        yield api
        await api.client.aclose()


async def until(true: Callable[[], bool], within_s: float = 20.0) -> None:
    """Waits for a condition; fails when it does not become true in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not true():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)


def exists(lease: Lease, name: str) -> bool:
    """Whether a kernel's workspace has this file."""
    process = lease.kernel.process
    try:
        return process is not None and get_file(process.workspace, name, 10) is not None
    except OSError:
        return False
