"""Python client of the HTTP service: a pool of remote kernels with the interface of :class:`sandbox.KernelPool`.

Contract: ``async with RemotePool(url, token) as pool`` and ``pool.acquire(tools, files)`` give handles with the methods
and properties of :class:`sandbox.Kernel`, so callers can use either. Tools run in the caller's process. Kernels live as
long as the pool, which renews their leases, and up to a minute longer when its process is killed. A request whose
connection breaks is sent once more under the same idempotency key, so nothing happens twice. Errors:
:class:`sandbox.SandboxError` when the service refuses a request or does not answer, ValueError for bad paths and sizes
of files, FileNotFoundError for missing files.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from sandbox.isolation.probe import Tier
from sandbox.pool import PoolStats
from sandbox.service.connection import ServiceConnection, TooManyKernels
from sandbox.service.remote_kernel import RemoteKernel
from sandbox.service.schemas import OfferResponse
from sandbox.tools.describe import Tool

LEASE_S = 60.0
ACQUIRE_TIMEOUT_S = 90.0  # longer than a lease: the kernels of a killed client have expired by then
RETRY_EVERY_S = 0.5


class RemotePool:
    """Use as ``async with RemotePool(...) as pool`` or with :meth:`start` and :meth:`close`."""

    def __init__(
        self, url: str, token: str, lease_s: float = LEASE_S, acquire_timeout_s: float = ACQUIRE_TIMEOUT_S
    ) -> None:
        """``url``: base URL of ``codeact serve sandbox``; ``lease_s``: time kernels outlive a killed client;
        ``acquire_timeout_s``: how long to wait while the tenant has its maximum number of kernels."""
        self._service = ServiceConnection(url, token)
        self._lease_s, self._acquire_timeout_s = lease_s, acquire_timeout_s
        self._kernels: set[RemoteKernel] = set()
        self._starting = self._waiting = 0
        self._renewing: asyncio.Task[None] | None = None
        self.offer: OfferResponse
        """The tier and limits the service gives this token; set by :meth:`start`."""

    @property
    def tier(self) -> Tier:
        """The isolation tier of every kernel."""
        return self.offer.tier

    @property
    def ready(self) -> int:
        """Warm kernels that are alive: 0, because those of the service are not this client's."""
        return 0

    @property
    def waiting(self) -> int:
        """Callers that wait for room."""
        return self._waiting

    def stats(self) -> PoolStats:
        """What this client has of the service."""
        return PoolStats(
            ready=0,
            forking=self._starting - self._waiting,
            taken=len(self._kernels),
            waiting=self._waiting,
            lost=0,
            warm_pids=(),
        )

    async def start(self) -> None:
        """Connects to the service. Raises :class:`SandboxError` when it does not answer."""
        self._service.open()
        try:
            self.offer = OfferResponse.model_validate(await self._service.request("GET", "/v1/offer"))
        except BaseException:
            await self.close()
            raise
        self._lease_s = min(self._lease_s, self.offer.max_lease_s)
        self._renewing = asyncio.ensure_future(self._renew_leases())

    async def close(self) -> None:
        """Ends the kernels this pool has acquired and closes its connections."""
        if self._renewing is not None:
            self._renewing.cancel()
        try:
            await asyncio.gather(*(kernel.close() for kernel in tuple(self._kernels)))
        finally:
            await self._service.close()

    async def acquire(
        self,
        tools: Mapping[str, Tool] | None = None,
        files: Mapping[str, bytes] | None = None,
        seed: int | None = None,
        record: bool = False,
    ) -> RemoteKernel:
        """A kernel with these functions of the caller as tools and these files in its working folder.

        ``seed``: for its random generators, in [0, 2**32); ``record``: keep a log for :func:`sandbox.restore`.
        Raises :class:`SandboxError` when there is no room in time.
        """
        kernel = RemoteKernel(self._service, self._kernels, tools or {}, files or {}, seed, record, self._lease_s)
        deadline, waits = time.monotonic() + self._acquire_timeout_s, False
        self._starting += 1
        try:
            while True:
                try:
                    await kernel.start()
                except TooManyKernels:
                    if time.monotonic() > deadline:
                        raise
                    self._waiting += not waits
                    waits = True
                    await asyncio.sleep(RETRY_EVERY_S)
                else:
                    return kernel
        finally:
            self._starting -= 1
            self._waiting -= waits

    async def _renew_leases(self) -> None:
        """Renews the leases, because a model may think for longer than a lease between two cells."""
        while True:
            await asyncio.sleep(self._lease_s / 3)
            await asyncio.gather(*(kernel._renew_lease() for kernel in tuple(self._kernels)), return_exceptions=True)

    async def __aenter__(self) -> RemotePool:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
