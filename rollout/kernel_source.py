"""Where episodes get their kernels: a pool on the worker's own machine, or a service elsewhere.

Contract: :func:`open_pool` gives a pool that runs and is what configuration and protocol ask for, or raises ValueError
with one sentence. Kernels of a service are its operator's: what it offers is compared with what is asked, because
trajectories say what their kernels were. The token comes from the driver's environment (:func:`service_token`) and
travels to the workers as an argument, never through a file.
"""

from __future__ import annotations

import os

from rollout.config import WorkerConfig
from rollout.protocol import EpisodeProtocol
from sandbox import Kernel, KernelPool, Limits, RemoteKernel, RemotePool, SandboxError
from sandbox.service import OfferResponse

Pool = KernelPool | RemotePool
AnyKernel = Kernel | RemoteKernel
TOKEN = "CODEACT_SANDBOX_TOKEN"


def service_token(config: WorkerConfig) -> str | None:
    """The token of ``config.service``. Raises ValueError when there is a service and no token."""
    if config.service is None:
        return None
    if not os.environ.get(TOKEN):
        raise ValueError(f"workers.service: {config.service} wants a token and {TOKEN} is not set; export it")
    return os.environ[TOKEN]


async def open_pool(config: WorkerConfig, protocol: EpisodeProtocol, token: str | None) -> Pool:
    """A pool that runs. Raises ValueError for a service that cannot be used, SandboxError for this machine."""
    if config.service is not None:
        return await _open_remote(config.service, token or "", config, protocol)
    pool = KernelPool(
        size=config.warm_kernels,
        limits=Limits(memory_mib=config.kernel_memory_mib, cell_timeout_s=protocol.cell_timeout_s),
        preload=("numpy", "pandas"),
        require=config.require,
        checkpoint=protocol.checkpoint,
    )
    await pool.start()
    return pool


async def _open_remote(url: str, token: str, config: WorkerConfig, protocol: EpisodeProtocol) -> RemotePool:
    pool = RemotePool(url, token)
    try:
        await pool.start()
    except SandboxError as error:
        raise ValueError(f"workers.service: {error}; start `codeact serve sandbox` there, check {TOKEN}") from None
    if lacking := _lacking(pool.offer, config, protocol):
        await pool.close()
        raise ValueError(f"{lacking} (workers.service is {url})")
    return pool


def _lacking(offer: OfferResponse, config: WorkerConfig, protocol: EpisodeProtocol) -> str | None:
    """What is asked for and not offered, with the fix."""
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
