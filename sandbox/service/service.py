"""The service without its HTTP: pools, leases, limits, and one way to do each thing.

Contract: every method either does what it says or raises :class:`Refused` (the client's affair) or
:class:`sandbox.SandboxError` (ours). Tenants with equal kernels share a pool. All in one event
loop.
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
from sandbox.service.errors import Refused
from sandbox.service.execution import Execution
from sandbox.service.idempotency import Remembered
from sandbox.service.leases import Clock, Lease, Leases
from sandbox.service.metrics import Metrics
from sandbox.service.tenants import Tenant, Tenants
from sandbox.service.tool_calls import CHANNEL, ToolChannel
from sandbox.tools.describe import Tool

OpenPool = Callable[[Tenant], KernelPool]
"""Makes a pool, not yet started, for a tenant's kernels."""
log = logging.getLogger(__name__)
DEFAULT_LEASE_S = 600.0
REJOIN_S = 10.0
REAP_EVERY_S = 1.0
REMEMBERED_KERNELS = 256


class SandboxService:
    """Made once; :meth:`start` and :meth:`close` inside the event loop that serves."""

    def __init__(self, tenants: Tenants, open_pool: OpenPool, clock: Clock = time.monotonic) -> None:
        """Raises :class:`sandbox.SandboxError` when a tenant's kernels cannot be had here."""
        self.tenants = tenants
        self.metrics = Metrics()
        self.leases = Leases()
        self._clock = clock
        pools = {tenant.kernels_like(): tenant for tenant in tenants.all}
        self._pools = {kind: open_pool(tenant) for kind, tenant in pools.items()}
        self.metrics.watch(self._pools.values())
        self._opening: dict[str, int] = defaultdict(int)
        self.running: dict[str, int] = defaultdict(int)
        """Cells running or waiting, by tenant."""
        self._opened: dict[str, Remembered[asyncio.Task[Lease]]] = defaultdict(lambda: Remembered(REMEMBERED_KERNELS))
        self._reaper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts the pools, all or none. Raises :class:`sandbox.SandboxError`."""
        try:
            for pool in self._pools.values():
                await pool.start()
        except BaseException:
            await self.close()
            raise
        self._reaper = asyncio.ensure_future(self._reap_for_ever())

    async def close(self) -> None:
        """Ends every kernel; the cells that run or wait end with a :class:`sandbox.SandboxError`."""
        if self._reaper is not None:
            self._reaper.cancel()
        for lease in self.leases.every():
            lease.broken_off = True
        await asyncio.gather(*map(self.delete, self.leases.every()), return_exceptions=True)
        for pool in self._pools.values():
            await pool.close()

    def tier(self, tenant: Tenant) -> Tier:
        """The isolation of a tenant's kernels."""
        return self._pools[tenant.kernels_like()].tier

    async def create(
        self,
        tenant: Tenant,
        tools: Mapping[str, Tool],
        files: Mapping[str, bytes],
        lease_s: float | None = None,
        request_id: str | None = None,
        digest: str = "",
    ) -> Lease:
        """A kernel of the tenant's own."""
        pool = self._pools[tenant.kernels_like()]
        return await self._open(tenant, lambda: pool.acquire(tools, files), lease_s, request_id, f"create {digest}")

    async def fork(self, lease: Lease, reseed: bool, request_id: str | None = None, digest: str = "") -> Lease:
        """A second kernel with the first one's state and files."""
        with lease.call():
            return await self._open(
                lease.tenant,
                lambda: lease.kernel.fork(reseed),
                lease.lease_s,
                request_id,
                f"fork {lease.id} {digest}",
            )

    def execute(
        self, lease: Lease, code: str, timeout_s: float | None, request_id: str | None = None, digest: str = ""
    ) -> Execution:
        """Begins a cell, or finds the one this request began before."""
        return lease.cells.recall(request_id, digest, lambda: self._begin(lease, code, timeout_s, request_id))

    async def delete(self, lease: Lease) -> None:
        """Ends a kernel; the second time does nothing."""
        if self.leases.remove(lease):
            self.metrics.kernels.labels(lease.tenant.name).dec()
            await lease.kernel.close()

    async def reap(self) -> None:
        """Ends the kernels whose lease is over."""
        for lease in self.leases.expired():
            self.metrics.expired.labels(lease.tenant.name).inc()
            await self.delete(lease)

    async def _open(
        self,
        tenant: Tenant,
        get_kernel: Callable[[], Awaitable[Kernel]],
        lease_s: float | None,
        request_id: str | None,
        digest: str,
    ) -> Lease:
        lease_s = min(DEFAULT_LEASE_S, tenant.max_lease_s) if lease_s is None else lease_s
        if lease_s > tenant.max_lease_s:
            raise Refused("bad_request", f"lease_s={lease_s:g}: the most you may ask for is {tenant.max_lease_s:g}")
        opened = self._opened[tenant.name]
        task = opened.recall(request_id, digest, lambda: asyncio.ensure_future(self._lend(tenant, get_kernel, lease_s)))
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                opened.forget(request_id)
            raise

    async def _lend(self, tenant: Tenant, get_kernel: Callable[[], Awaitable[Kernel]], lease_s: float) -> Lease:
        held = len(self.leases.of(tenant)) + self._opening[tenant.name]
        if held >= tenant.max_kernels:
            raise Refused("too_many_kernels", f"you have {held} kernels and may have {tenant.max_kernels}; delete one")
        channel = ToolChannel()
        CHANNEL.set(channel)
        self._opening[tenant.name] += 1
        try:
            with self.metrics.starts.labels(tenant.name).time():
                kernel = await get_kernel()
        except (ValueError, OSError) as error:  # files that cannot be written, tools that cannot be named
            raise Refused("bad_request", str(error)) from None
        finally:
            self._opening[tenant.name] -= 1
        self.metrics.kernels.labels(tenant.name).inc()
        self.metrics.opened.labels(tenant.name).inc()
        return self.leases.add(Lease(tenant, kernel, lease_s, channel, self._clock))

    def _begin(self, lease: Lease, code: str, timeout_s: float | None, request_id: str | None) -> Execution:
        tenant = lease.tenant
        if timeout_s is not None and timeout_s > tenant.max_cell_timeout_s:
            most = f"{tenant.max_cell_timeout_s:g}"
            raise Refused("bad_request", f"timeout_s={timeout_s:g}: the most you may ask for is {most}")
        if self.running[tenant.name] >= tenant.max_cells:
            raise Refused("too_many_cells", f"{tenant.max_cells} cells are running or waiting; wait for one to end")
        self.running[tenant.name] += 1
        self.metrics.running.labels(tenant.name).inc()

        def on_end(result: CellResult | None) -> None:
            self.running[tenant.name] -= 1
            self.metrics.ended(tenant.name, result)
            if result is None:
                lease.cells.forget(request_id)

        return Execution(lease, code, timeout_s, REJOIN_S if request_id else 0.0, on_end)

    async def _reap_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REAP_EVERY_S)
            try:
                await self.reap()
            except Exception:  # one kernel that does not end must not keep the others
                log.exception("a kernel whose lease is over could not be ended")
