"""Kernels for the tests of the rollout room: a pool of this machine, and a service on loopback."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from rollout.config import WorkerConfig
from rollout.kernel_source import TOKEN, KernelSource, open_kernel_source
from rollout.protocol import EpisodeProtocol
from tests.helpers.episodes import SERVICE_TOKEN


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[KernelSource]:
    """A small pool as a worker opens it."""
    kernels = await open_kernel_source(WorkerConfig(warm_kernels=4, kernel_memory_mib=256), EpisodeProtocol(), None)
    yield kernels
    await kernels.close()


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The address of ``codeact serve sandbox``, a process of its own, for :data:`SERVICE_TOKEN`."""
    command = [sys.executable, "-m", "launch.cli", "serve", "sandbox", "--port", "0", "--warm", "1", "--checkpoint"]
    environment = os.environ | {TOKEN: SERVICE_TOKEN}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stderr is not None
        yield child.stderr.readline().split(" at ")[1].split(";")[0]
        child.terminate()
