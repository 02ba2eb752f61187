"""Kernel sources: where the kernels of episodes come from.

Contract: :func:`open_kernel_source` returns a running source that fits configuration and protocol, or raises
ValueError with one sentence. Built in are ``local`` (a pool on the worker's machine) and ``service`` (a sandbox
service elsewhere); packages add others through :data:`rollout.registry.KERNEL_SOURCES`. The operator configures the
kernels of a service: its offer is compared with what is asked for, because trajectories record their kernels. The
token comes from the driver's environment (:func:`service_token`) and travels to the workers as an argument, never
through a file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from rollout.config import WorkerConfig
from rollout.protocol import EpisodeProtocol
from rollout.registry import KERNEL_SOURCES
from sandbox import CellResult, KernelPool, Limits, RemotePool, SandboxError
from sandbox.service import OfferResponse

TOKEN = "CODEACT_SANDBOX_TOKEN"


class EpisodeKernel(Protocol):
    """A stateful Python process that runs the cells of one episode."""

    async def run(self, code: str, timeout_s: float | None = None) -> CellResult:
        """Runs one cell. Raises :class:`sandbox.SandboxError` when the sandbox fails, never for what the cell does."""

    async def close(self) -> None:
        """Ends the process."""


@runtime_checkable
class ForkingKernel(Protocol):
    """A kernel that can be forked; the kernels of a kernel source need not be."""

    async def fork(self, *, tools: Mapping[str, Callable[..., Any]] | None = None) -> EpisodeKernel:
        """A second kernel with the same state, whose cells call ``tools``. Raises :class:`sandbox.SandboxError`."""


class KernelSource(Protocol):
    """Gives kernels to episodes. One worker opens one source and runs many episodes at once with it."""

    @property
    def tier(self) -> str:
        """The isolation of its kernels, stored with every trajectory."""

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> EpisodeKernel:
        """A fresh kernel whose cells can call ``tools``. Raises :class:`sandbox.SandboxError` when there is none."""

    async def close(self) -> None:
        """Ends the kernels and the source."""


OpenKernelSource = Callable[[WorkerConfig, EpisodeProtocol, str | None], Awaitable[KernelSource]]
"""What is registered: ``async open(config, protocol, token)``; the token is that of ``CODEACT_SANDBOX_TOKEN``."""


async def open_kernel_source(config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> KernelSource:
    """A running source. Raises ValueError when it does not fit, SandboxError when this machine cannot run kernels."""
    opening: OpenKernelSource = KERNEL_SOURCES.get(config.chosen_kernel_source)
    return await opening(config, protocol, token)


def service_token(config: WorkerConfig) -> str | None:
    """The token for ``config.service``. Raises ValueError when there is a service and no token."""
    if config.service is None:
        return None
    if not os.environ.get(TOKEN):
        raise ValueError(f"workers.service: {config.service} needs a token and {TOKEN} is not set; export it")
    return os.environ[TOKEN]


class KernelsOnDemand:
    """A pool that starts with the first kernel: most episodes of a protocol without code take none."""

    def __init__(self, pool: KernelPool) -> None:
        self._pool, self._starting, self._started = pool, asyncio.Lock(), False

    @property
    def tier(self) -> str:
        """See :attr:`KernelSource.tier`; it is known before the pool starts."""
        return self._pool.tier

    async def acquire(self, tools: Mapping[str, Callable[..., Any]]) -> EpisodeKernel:
        """See :meth:`KernelSource.acquire`."""
        async with self._starting:
            if not self._started:
                await self._pool.start()
                self._started = True
        return await self._pool.acquire(tools=tools)

    async def close(self) -> None:
        """See :meth:`KernelSource.close`."""
        await self._pool.close()


async def open_local(config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> KernelSource:
    """A pool on this machine. Raises SandboxError."""
    pool = KernelPool(
        size=config.warm_kernels,
        limits=Limits(memory_mib=config.kernel_memory_mib, cell_timeout_s=protocol.cell_timeout_s),
        preload=("numpy", "pandas"),
        require=config.require,
        checkpoint=protocol.checkpoint,
    )
    if not protocol.runs_code:
        return KernelsOnDemand(pool)
    await pool.start()
    return pool


async def open_service(config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> KernelSource:
    """The kernels of ``config.service``. Raises ValueError when it does not answer or offers something else."""
    if config.service is None:
        raise ValueError("workers.service: the kernel source 'service' needs an address; write http://HOST:PORT")
    pool = RemotePool(config.service, token or "")
    try:
        await pool.start()
    except SandboxError as error:
        raise ValueError(f"workers.service: {error}; start `codeact serve sandbox` there, check {TOKEN}") from None
    if mismatch := _mismatch(pool.offer, config, protocol):
        await pool.close()
        raise ValueError(f"{mismatch} (workers.service is {config.service})")
    return pool


def _mismatch(offer: OfferResponse, config: WorkerConfig, protocol: EpisodeProtocol) -> str | None:
    """The first requirement that the offer does not meet, with the fix."""
    at_once, most = config.workers * config.episodes_per_worker, min(offer.max_kernels, offer.max_cells)
    weak = sorted(set(config.require) - set(offer.enforced))
    if protocol.checkpoint and not offer.checkpoint:
        return "protocol.checkpoint: the service keeps none; start it with --checkpoint, or set this to false"
    if offer.checkpoint and not protocol.checkpoint:
        return "protocol.checkpoint: the service keeps checkpoints; set this to true, or switch them off there"
    if protocol.cell_timeout_s > offer.max_cell_timeout_s:
        return f"protocol.cell_timeout_s: {protocol.cell_timeout_s:g} is above {offer.max_cell_timeout_s:g}; lower it"
    if config.kernel_memory_mib > offer.memory_mib:
        return f"workers.kernel_memory_mib: {config.kernel_memory_mib} is above {offer.memory_mib}; lower it"
    if weak:
        return f"workers.require: {', '.join(weak)} not enforced there, in tier {offer.tier}; take it out"
    if at_once > most:
        return f"workers.episodes_per_worker: {at_once} episodes in all workers, {most} kernels at once; lower it"
    return None
