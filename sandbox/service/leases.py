"""Leases of kernels: which tenant has which kernel, and until when.

Contract: a lease expires ``lease_s`` seconds after the last call that named its kernel has ended, and never during a
call. :meth:`Leases.expired` only reports; the service polls it and ends those kernels. Time comes from the clock that
is passed in, so tests need not wait.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sandbox.kernel import Kernel
from sandbox.service.errors import ApiError
from sandbox.service.execution import Execution
from sandbox.service.idempotency import IdempotencyCache
from sandbox.service.tenants import Tenant
from sandbox.service.tool_calls import CURRENT_CHANNEL, ToolChannel

Clock = Callable[[], float]
KEPT_EXECUTIONS = 8  # results may hold pictures: 4 MiB each by default


class Lease:
    """One kernel of one tenant."""

    def __init__(self, tenant: Tenant, kernel: Kernel, lease_s: float, channel: ToolChannel, clock: Clock) -> None:
        self.id = secrets.token_hex(12)
        self.tenant, self.kernel, self.lease_s = tenant, kernel, lease_s
        self.channel = channel
        """Carries calls of the client's tools."""
        self.cell_lock = asyncio.Lock()
        """Held by the cell that runs."""
        self.executions: IdempotencyCache[Execution] = IdempotencyCache(KEPT_EXECUTIONS)
        self.closing = False
        """The service is shutting down: cells that fail from now on are not at fault."""
        self._clock, self._calls = clock, 0
        self._deadline = clock() + lease_s

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call that names this kernel; the lease is renewed when it ends."""
        self._calls += 1
        before = CURRENT_CHANNEL.set(self.channel)  # any call may have to start a fresh process
        try:
            yield
        finally:
            CURRENT_CHANNEL.reset(before)
            self._calls -= 1
            self._deadline = self._clock() + self.lease_s

    def left_s(self) -> float:
        """Seconds until it expires without a further call."""
        return self.lease_s if self._calls else self._deadline - self._clock()


class Leases:
    """All leases by id."""

    def __init__(self) -> None:
        self._leases: dict[str, Lease] = {}

    def add(self, lease: Lease) -> Lease:
        """Stores a new lease."""
        self._leases[lease.id] = lease
        return lease

    def find(self, tenant: Tenant, kernel_id: str) -> Lease:
        """Raises the same :class:`ApiError` for an unknown kernel, an ended one and another tenant's."""
        lease = self._leases.get(kernel_id)
        if lease is None or lease.tenant.name != tenant.name:
            raise ApiError(
                "not_found", f"there is no kernel {kernel_id!r}: never made, deleted, or its lease has ended"
            )
        return lease

    def owned_by(self, tenant: Tenant) -> list[Lease]:
        """A tenant's leases, oldest first."""
        return [lease for lease in self._leases.values() if lease.tenant.name == tenant.name]

    def remove(self, lease: Lease) -> bool:
        """Whether it was there: only one caller gets to close a kernel."""
        return self._leases.pop(lease.id, None) is not None

    def expired(self) -> list[Lease]:
        """Leases whose time is over."""
        return [lease for lease in self._leases.values() if lease.left_s() <= 0]

    def all(self) -> list[Lease]:
        """Every lease."""
        return list(self._leases.values())
