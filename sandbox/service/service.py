"""The service without its HTTP: pools, leases and limits of tenants.

Contract: a method that cannot do its work raises :class:`ApiError` for a fault of the client and
:class:`sandbox.SandboxError` for a fault of the sandbox. Tenants with equal kernel settings share a pool. All methods
run in one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from sandbox.isolation.probe import Tier
from sandbox.kernel import Kernel
from sandbox.pool import KernelPool
from sandbox.result import CellResult
from sandbox.service.errors import ApiError
from sandbox.service.execution import Execution
from sandbox.service.idempotency import IdempotencyCache
from sandbox.service.leases import Clock, Lease, Leases
from sandbox.service.metrics import Metrics
from sandbox.service.tenants import Tenant, Tenants
from sandbox.service.tool_calls import CURRENT_CHANNEL, ToolChannel
from sandbox.tools.describe import Tool

OpenPool = Callable[[Tenant], KernelPool]
"""Creates a pool for a tenant's kernels, without starting it."""
log = logging.getLogger(__name__)
DEFAULT_LEASE_S = 600.0
REJOIN_S = 10.0
REAP_EVERY_S = 1.0
KEPT_CREATIONS = 256


class SandboxService:
    """The state of one running service; call :meth:`start` and :meth:`close` inside the event loop that serves."""

    def __init__(self, tenants: Tenants, open_pool: OpenPool, clock: Clock = time.monotonic) -> None:
        """Raises :class:`sandbox.SandboxError` when this machine cannot provide a tenant's kernels."""
        self.tenants = tenants
        self.metrics = Metrics()
        self.leases = Leases()
        self._clock = clock
        pools = {tenant.kernel_settings(): tenant for tenant in tenants.all}
        self._pools = {settings: open_pool(tenant) for settings, tenant in pools.items()}
        self.metrics.observe_pools(self._pools.values())
        self._opening: dict[str, int] = defaultdict(int)
        self.running: dict[str, int] = defaultdict(int)
        """Cells running or waiting, by tenant."""
        self._creations: dict[str, IdempotencyCache[asyncio.Task[Lease]]] = defaultdict(
            lambda: IdempotencyCache(KEPT_CREATIONS)
        )
        self._reaper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the pools, all or none. Raises :class:`sandbox.SandboxError`."""
        try:
            for pool in self._pools.values():
                await pool.start()
        except BaseException:
            await self.close()
            raise
        self._reaper = asyncio.ensure_future(self._reap_forever())

    async def close(self) -> None:
        """Ends every kernel; the cells that run or wait end with a :class:`sandbox.SandboxError`."""
        if self._reaper is not None:
            self._reaper.cancel()
        for lease in self.leases.all():
            lease.closing = True
        await asyncio.gather(*map(self.delete, self.leases.all()), return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()

    def tier(self, tenant: Tenant) -> Tier:
        """The isolation of a tenant's kernels."""
        return self._pools[tenant.kernel_settings()].tier

    async def create(
        self,
        tenant: Tenant,
        tools: Mapping[str, Tool],
        files: Mapping[str, bytes],
        lease_s: float | None = None,
        request_id: str | None = None,
        digest: str = "",
        seed: int | None = None,
    ) -> Lease:
        """A new kernel for the tenant."""
        pool = self._pools[tenant.kernel_settings()]
        return await self._create(
            tenant, lambda: pool.acquire(tools, files, seed), lease_s, request_id, f"create {digest}"
        )

    async def fork(self, lease: Lease, reseed: bool, request_id: str | None = None, digest: str = "") -> Lease:
        """A second kernel with the first one's state and files."""
        with lease.call():
            return await self._create(
                lease.tenant,
                lambda: lease.kernel.fork(reseed),
                lease.lease_s,
                request_id,
                f"fork {lease.id} {digest}",
            )

    def execute(
        self, lease: Lease, code: str, timeout_s: float | None, request_id: str | None = None, digest: str = ""
    ) -> Execution:
        """Starts a cell, or finds the one an earlier request with this id started."""
        return lease.executions.get_or_run(
            request_id, digest, lambda: self._start_execution(lease, code, timeout_s, request_id)
        )

    async def delete(self, lease: Lease) -> None:
        """Ends a kernel; a second call does nothing."""
        if self.leases.remove(lease):
            self.metrics.kernels.labels(lease.tenant.name).dec()
            await lease.kernel.close()

    async def reap(self) -> None:
        """Ends the kernels whose lease has expired."""
        for lease in self.leases.expired():
            self.metrics.expired.labels(lease.tenant.name).inc()
            await self.delete(lease)

    async def _create(
        self,
        tenant: Tenant,
        get_kernel: Callable[[], Awaitable[Kernel]],
        lease_s: float | None,
        request_id: str | None,
        digest: str,
    ) -> Lease:
        lease_s = min(DEFAULT_LEASE_S, tenant.max_lease_s) if lease_s is None else lease_s
        if lease_s > tenant.max_lease_s:
            raise ApiError("bad_request", f"lease_s={lease_s:g}: the most you may ask for is {tenant.max_lease_s:g}")
        creations = self._creations[tenant.name]
        task = creations.get_or_run(
            request_id, digest, lambda: asyncio.ensure_future(self._lend(tenant, get_kernel, lease_s))
        )
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                creations.forget(request_id)
            raise

    async def _lend(self, tenant: Tenant, get_kernel: Callable[[], Awaitable[Kernel]], lease_s: float) -> Lease:
        held = len(self.leases.owned_by(tenant)) + self._opening[tenant.name]
        if held >= tenant.max_kernels:
            raise ApiError("too_many_kernels", f"you have {held} kernels and may have {tenant.max_kernels}; delete one")
        channel = ToolChannel()
        CURRENT_CHANNEL.set(channel)
        self._opening[tenant.name] += 1
        try:
            with self.metrics.starts.labels(tenant.name).time():
                kernel = await get_kernel()
        except (ValueError, OSError) as error:  # files that cannot be written, tools that cannot be named
            raise ApiError("bad_request", str(error)) from None
        finally:
            self._opening[tenant.name] -= 1
        self.metrics.kernels.labels(tenant.name).inc()
        self.metrics.opened.labels(tenant.name).inc()
        return self.leases.add(Lease(tenant, kernel, lease_s, channel, self._clock))

    def _start_execution(self, lease: Lease, code: str, timeout_s: float | None, request_id: str | None) -> Execution:
        tenant = lease.tenant
        if timeout_s is not None and timeout_s > tenant.max_cell_timeout_s:
            most = f"{tenant.max_cell_timeout_s:g}"
            raise ApiError("bad_request", f"timeout_s={timeout_s:g}: the most you may ask for is {most}")
        if self.running[tenant.name] >= tenant.max_cells:
            raise ApiError("too_many_cells", f"{tenant.max_cells} cells are running or waiting; wait for one to end")
        self.running[tenant.name] += 1
        self.metrics.running.labels(tenant.name).inc()

        def on_end(result: CellResult | None) -> None:
            self.running[tenant.name] -= 1
            self.metrics.cell_ended(tenant.name, result)
            if result is None:
                lease.executions.forget(request_id)

        return Execution(lease, code, timeout_s, REJOIN_S if request_id else 0.0, on_end)

    async def _reap_forever(self) -> None:
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            try:
                await self.reap()
            except Exception:  # one kernel that does not end must not keep the others
                log.exception("a kernel whose lease has expired could not be ended")
