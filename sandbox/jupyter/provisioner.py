"""Kernel provisioner for ``jupyter_client``: the sandbox's kernels in any Jupyter.

Contract: a kernel spec that names the provisioner ``codeact-zygote`` (see :func:`install_kernelspec`) makes any stock
``KernelManager``, Jupyter Lab or Jupyter server start forked, isolated kernels of this project. There is one fork
server per process and configuration; it runs in a background thread, starts with the first kernel (about a second) and
ends with the process. The kernel spec's metadata holds the configuration: ``tier``, ``kernel`` (``light`` or
``ipykernel``), ``preload``, ``limits``, ``policy`` and ``require``; unknown keys are errors.

A manager waits 10 ms after a launch, and longer for its client to connect; kernels are forked and isolated in that
time. The launch raises errors of the fork server's start. A kernel that fails later (no memory, no processes left) is a
dead kernel, and the log has the reason. A kernel answers only when it is isolated, so no client is connected to one
that is not.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from jupyter_client.provisioning import KernelProvisionerBase
from pydantic import BaseModel, ValidationError
from traitlets import Dict, List, Unicode

from sandbox.host.endpoints import Endpoints
from sandbox.host.fork_server import ForkServer
from sandbox.host.interrupt import interrupt
from sandbox.host.process import Process, ProcessServer
from sandbox.host.watchdog import start_watchdog
from sandbox.isolation.policy import Policy
from sandbox.isolation.probe import choose_tier
from sandbox.limits import Limits
from sandbox.pool import DEFAULT_PRELOAD, check_kernel
from sandbox.result import SandboxError
from sandbox.validation import format_errors

PROVISIONER = "codeact-zygote"
FAILED = 1
"""The exit code of a kernel that could not be started."""
CONFIG = ("tier", "kernel", "preload", "limits", "policy", "require")
"""Settings of a kernel spec."""
T = TypeVar("T")
F = TypeVar("F", bound=BaseModel)


class _ForkServerThread:
    """A thread whose event loop owns the fork servers, because managers have other event loops or none."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: dict[str, ForkServer] = {}
        self._taken: dict[ProcessServer, set[Process]] = {}
        self._starting = asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, name="codeact-fork-servers", daemon=True).start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs ``work`` in the thread's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def serve(self, key: str, server: ForkServer) -> None:
        """Starts ``server`` for this configuration, unless a live one exists."""
        async with self._starting:
            old = self._servers.get(key)
            if old is None or not old.alive:
                if old is not None:
                    del self._servers[key], self._taken[old]
                    await old.close()
                await server.start()
                self._servers[key] = server
                self._watch(server)

    def serves(self, key: str) -> bool:
        """Whether there is a live server of this configuration; if it dies afterwards, the fork fails."""
        server = self._servers.get(key)
        return server is not None and server.alive

    async def fork(self, key: str, endpoints: Endpoints) -> Process:
        """Forks a kernel from the server of this configuration."""
        server = self._servers[key]
        process = await server.fork(endpoints)
        process.endpoints = None  # they outlive the process: a restart listens there again
        self._taken[server].add(process)
        return process

    async def remove(self, process: Process) -> None:
        """Kills a kernel and removes its resources."""
        self._taken.get(process.server, set()).discard(process)
        await process.server.remove(process)

    def _watch(self, server: ForkServer) -> None:
        """Watches the limits that no mechanism of the tier enforces, while the server lives."""
        taken = self._taken[server] = set()
        watching = start_watchdog(taken, server.limits, server.tier)
        if watching is not None:
            server.died.add_done_callback(lambda _: watching.cancel())


_thread: list[_ForkServerThread] = []


class ZygoteProvisioner(KernelProvisionerBase):
    """Starts one kernel; ``jupyter_client`` makes one object of this class per kernel."""

    tier = Unicode("", config=True, help="T3, T2, T1 or T0; empty: the best one here")
    kernel = Unicode("light", config=True, help="light or ipykernel")
    preload = List(list(DEFAULT_PRELOAD), config=True, help="modules imported once, in the fork server")
    limits = Dict({}, config=True, help="fields of sandbox.Limits")
    policy = Dict({}, config=True, help="fields of sandbox.Policy")
    require: Any = List([], config=True, help="properties of sandbox.probe that must be enforced")

    _start: Future[Process] | None = None
    """The process, from the launch until :meth:`wait` has seen its end."""
    _endpoints: Endpoints | None = None
    _gone = 0

    @property
    def has_process(self) -> bool:
        return self._start is not None

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Opens the endpoints and writes the connection file the manager and its clients read."""
        self._refuse_unknown_config()
        manager: Any = self.parent
        kwargs.pop("extra_arguments", None)
        if kwargs.pop("transport_encryption", "disabled") == "required":
            raise RuntimeError("the sandbox's kernels use private Unix sockets; they do not speak CurveZMQ")
        if self._endpoints is None:
            self._endpoints = Endpoints(key=manager.session.key.decode())
        else:
            self._endpoints.listen()
        info = self._endpoints.info
        manager.transport, manager.ip = "ipc", info["ip"]
        for name in ("shell", "iopub", "stdin", "control", "hb"):
            setattr(manager, f"{name}_port", info[f"{name}_port"])
        manager.write_connection_file()
        self.connection_info = manager.get_connection_info()
        return await super().pre_launch(cmd=[], **kwargs)

    def _refuse_unknown_config(self) -> None:
        """Raises ValueError for unknown settings, so that a misspelt limit is not ignored."""
        spec: Any = self.kernel_spec
        given = spec.metadata.get("kernel_provisioner", {}).get("config", {})
        for name in given:
            if name not in CONFIG:
                raise ValueError(f"kernel spec {spec.display_name!r}: {name} is no setting; use {', '.join(CONFIG)}")

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Forks the kernel."""
        if not _thread:
            _thread.append(_ForkServerThread())
        wanted: Any = self.tier or None
        check_kernel(self.kernel)
        limits, policy = _checked(Limits, "limits", self.limits), _checked(Policy, "policy", self.policy)
        tier = choose_tier(wanted, {*self.require, *limits.requires})
        key = json.dumps([tier, self.kernel, self.preload, self.limits, self.policy], sort_keys=True)
        assert self._endpoints is not None, "pre_launch comes first"
        thread = _thread[0]
        if not thread.serves(key):
            server = ForkServer(limits, tuple(self.preload), tier, self.kernel, zmq=True, policy=policy)
            await asyncio.wrap_future(thread.submit(thread.serve(key, server)))
        self._start = thread.submit(thread.fork(key, self._endpoints))
        self._start.add_done_callback(self._log_failure)
        return self.connection_info

    def _log_failure(self, start: Future[Process]) -> None:
        if not start.cancelled() and (error := start.exception()) is not None:
            self.log.error("kernel %s: %s", self.kernel_id, error)

    async def poll(self) -> int | None:
        if self._start is None:
            return self._gone
        if not self._start.done():
            return None
        if self._start.exception() is not None:
            return FAILED
        exited = self._start.result().exited
        return exited.result() if exited.done() else None

    async def wait(self) -> int | None:
        while (code := await self.poll()) is None:
            await asyncio.sleep(0.005)
        if self._start is not None:
            start, self._start, self._gone = self._start, None, code
            if start.exception() is None:
                thread = _thread[0]
                await asyncio.wrap_future(thread.submit(thread.remove(start.result())))
        return code

    async def send_signal(self, signum: int) -> None:
        if self._start is not None:
            with suppress(SandboxError, OSError):  # the start failed
                process = await asyncio.shield(asyncio.wrap_future(self._start))
                if signum == signal.SIGINT:
                    interrupt(process)
                else:
                    process.signal(signum)

    async def kill(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.kill(restart)

    async def cleanup(self, restart: bool = False) -> None:
        if self.has_process:
            await self.kill()
            await self.wait()
        if self._endpoints is not None and not restart:
            self._endpoints.remove()
            self._endpoints = None


def _checked(form: type[F], name: str, values: dict[str, Any]) -> F:
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise ValueError(format_errors(f"{name}.", error, model=form)) from None


def install_kernelspec(folder: Path, name: str = "codeact", **config: Any) -> Path:
    """Writes a kernel spec below ``folder`` (one of ``jupyter --paths``' data folders); returns its path.

    ``config``: ``tier``, ``kernel``, ``preload``, ``limits``, ``policy``, ``require`` of the provisioner. Raises
    ``ValueError`` when the name belongs to the specification of another kernel.
    """
    target = folder / "kernels" / name / "kernel.json"
    if target.exists() and not _is_ours(target):
        raise ValueError(f"name={name!r}: {target} is the specification of another kernel; choose another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    spec = {
        "argv": ["unused", "{connection_file}"],
        "display_name": f"Python (sandboxed, {config.get('kernel', 'light')})",
        "language": "python",
        "metadata": {"kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config}},
    }
    target.write_text(json.dumps(spec, indent=1))
    return target


def _is_ours(spec: Path) -> bool:
    """Whether a kernel spec names this provisioner."""
    try:
        return json.loads(spec.read_text())["metadata"]["kernel_provisioner"]["provisioner_name"] == PROVISIONER
    except (OSError, ValueError, KeyError, TypeError):
        return False
