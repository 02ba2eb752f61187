"""Kernels that are lent: who has which, and until when.

Contract: a lease ends ``lease_s`` seconds after the last call that named its kernel has ended; while a call is under
way it does not end. :meth:`Leases.expired` is a question, not an action: the service asks it again and again and ends
what it is told. Time comes from the clock given, so tests need not wait.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sandbox.kernel import Kernel
from sandbox.service.errors import Refused
from sandbox.service.idempotency import Remembered
from sandbox.service.tenants import Tenant
from sandbox.service.tool_calls import CHANNEL, ToolChannel

if TYPE_CHECKING:
    from sandbox.service.execution import Execution

Clock = Callable[[], float]
REMEMBERED_CELLS = 8  # results may hold pictures: 4 MiB each by default


class Lease:
    """One kernel of one tenant."""

    def __init__(self, tenant: Tenant, kernel: Kernel, lease_s: float, channel: ToolChannel, clock: Clock) -> None:
        self.id = secrets.token_hex(12)
        self.tenant, self.kernel, self.lease_s = tenant, kernel, lease_s
        self.channel = channel
        """Where calls of the client's tools go."""
        self.turn = asyncio.Lock()
        """Held by the cell that runs."""
        self.cells: Remembered[Execution] = Remembered(REMEMBERED_CELLS)
        self.broken_off = False
        """The service ends: what its cells come to from now on is not their doing."""
        self._clock, self._calls = clock, 0
        self._deadline = clock() + lease_s

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call that names this kernel; the lease starts anew at its end."""
        self._calls += 1
        before = CHANNEL.set(self.channel)  # any call may have to start a fresh process
        try:
            yield
        finally:
            CHANNEL.reset(before)
            self._calls -= 1
            self._deadline = self._clock() + self.lease_s

    def left_s(self) -> float:
        """Time until it ends if nobody calls."""
        return self.lease_s if self._calls else self._deadline - self._clock()


class Leases:
    """All leases by id."""

    def __init__(self) -> None:
        self._all: dict[str, Lease] = {}

    def add(self, lease: Lease) -> Lease:
        """Keeps a new one."""
        self._all[lease.id] = lease
        return lease

    def find(self, tenant: Tenant, kernel_id: str) -> Lease:
        """Raises :class:`Refused` for one that is not there, not any more, or another tenant's: all the same to see."""
        lease = self._all.get(kernel_id)
        if lease is None or lease.tenant.name != tenant.name:
            raise Refused("not_found", f"there is no kernel {kernel_id!r}: never made, deleted, or its lease has ended")
        return lease

    def of(self, tenant: Tenant) -> list[Lease]:
        """A tenant's, in the order they were made."""
        return [lease for lease in self._all.values() if lease.tenant.name == tenant.name]

    def remove(self, lease: Lease) -> bool:
        """Whether it was there: only one caller gets to close a kernel."""
        return self._all.pop(lease.id, None) is not None

    def expired(self) -> list[Lease]:
        """Those whose time is over."""
        return [lease for lease in self._all.values() if lease.left_s() <= 0]

    def every(self) -> list[Lease]:
        """All of them."""
        return list(self._all.values())
