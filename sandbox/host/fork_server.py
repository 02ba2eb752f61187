"""The host's end of a fork server: starts it, asks it for kernels, is notified of their deaths.

Contract: everything runs in the event loop that called :meth:`ForkServer.start`. The death of a fork server ends its
kernels: every pending and later call raises :class:`SandboxError`, every kernel's ``exited`` is done. Costs about one
second to start with numpy and pandas, then 5-25 ms per kernel.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from sandbox.host.endpoints import Endpoints
from sandbox.host.new_process import close_all, new_process, recv_ready
from sandbox.host.process import Process, refuse_descriptors
from sandbox.isolation import cgroups
from sandbox.isolation.allowlist import Allowlist
from sandbox.isolation.egress_proxy import EgressProxy
from sandbox.isolation.owned_folders import owned_name, process_folders, remove_abandoned
from sandbox.isolation.policy import Policy, resolve_policy
from sandbox.isolation.spawn import (
    SOURCE,
    guest_command,
    kernel_environment,
    leave_realtime_class,
    own_package_folders,
    site_package_folders,
)
from sandbox.limits import Limits
from sandbox.result import SandboxError
from sandbox.workspace.walk import remove_tree

PACKET = 1 << 16
START_TIMEOUT_S = 120.0
FORK_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
FORKS_AT_ONCE = 4  # the fork server works on one at a time, and its socket queues a limited number of requests


class ForkServer:
    """One supervisor process and the fork server below it."""

    def __init__(
        self,
        limits: Limits,
        preload: tuple[str, ...],
        tier: str,
        kernel: str = "light",
        zmq: bool = False,
        policy: Policy | None = None,
    ) -> None:
        """``zmq``: load what kernels need to serve stock clients. Raises as :func:`resolve_policy` does."""
        self.limits, self.preload, self.tier = limits, preload, tier
        self.kernel, self.zmq = kernel, zmq or kernel == "ipykernel"
        self._policy = policy or Policy()
        self._reach = resolve_policy(self._policy, tier)
        self.alive = self._closing = False
        self._pending: dict[int, asyncio.Future[int]] = {}
        self._processes: dict[int, Process] = {}
        self._count = self._cgroup_count = 0
        self._spare_cgroup: cgroups.Cgroup | None = None
        self._slots = asyncio.Semaphore(FORKS_AT_ONCE)
        self._removing: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """Kernels that are being forked."""
        return len(self._pending)

    async def start(self) -> None:
        """Starts the supervisor and waits until the fork server is ready."""
        loop = asyncio.get_running_loop()
        with ExitStack() as undo:
            try:
                self._spawn(undo)
            except OSError as error:
                raise SandboxError(f"no fork server: {error}") from None
            undo.pop_all()
        self._control.setblocking(False)
        self._ready: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.died: asyncio.Future[int] = loop.create_future()
        """Done when the fork server ends without :meth:`close`: the number of kernels lost with it."""
        self.alive = True
        loop.add_reader(self._control.fileno(), self._on_control)
        try:
            ready = await asyncio.wait_for(self._ready, START_TIMEOUT_S)
        except TimeoutError:
            await self.close()
            raise SandboxError(f"the fork server was not ready after {START_TIMEOUT_S:.0f} s") from None
        except BaseException:  # the caller was cancelled
            await asyncio.shield(self.close())
            raise
        if ready["op"] != "ready":
            await self.close()
            raise SandboxError(f"the fork server could not start: {ready['error']}")

    def _spawn(self, undo: ExitStack) -> None:
        """Starts the supervisor; ``undo`` gets the callbacks that take each step back."""
        remove_abandoned()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(self._control.close)
        undo.callback(theirs.close)
        self._cgroups = self._find_cgroups()
        if self._cgroups is not None:
            undo.callback(self._cgroups.remove)
        self._errors = os.fdopen(os.memfd_create("errors"), "w+b")  # in memory: works on a full disk, too
        undo.callback(self._errors.close)
        config = {
            "owner": os.getpid(),
            "control": theirs.fileno(),
            "base": f"{tempfile.gettempdir()}/{owned_name('sandbox')}",
            "owned": process_folders(),
            "preload": ["IPython", *self.preload],
            "packages": site_package_folders(),
            "prefix": sys.prefix,
            "hidden": own_package_folders(),
            "source": SOURCE,
            "tier": self.tier,
            "kernel": self.kernel,
            "zmq": self.zmq,
            "reach": self._reach,
            "cgroups": [str(folder) for folder in self._cgroups.folders] if self._cgroups else [],
        }
        self.base = str(config["base"])
        """The server's folder; the guard makes it, guard and supervisor remove it."""
        self._supervisor = subprocess.Popen(
            guest_command("supervisor"),
            env=kernel_environment(self._reach["variables"]),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )
        theirs.close()
        leave_realtime_class(self._supervisor.pid)
        self.pid = self._supervisor.pid
        """The guard's process id; supervisor, fork server and every kernel end with it."""
        assert self._supervisor.stdin is not None
        with suppress(BrokenPipeError), self._supervisor.stdin as pipe:
            pipe.write(json.dumps(config).encode() + b"\n")

    async def fork(self, endpoints: Endpoints | None = None, rehearse: bool = False) -> Process:
        """A new kernel, isolated and connected. Raises :class:`SandboxError`.

        ``endpoints``: sockets on which it serves stock clients; ``rehearse``: warm it up, as it is for later use.
        """
        async with self._slots:
            if not self.alive:
                raise SandboxError("the fork server is gone")
            self._count += 1
            number = self._count
            try:
                process, theirs = new_process(self, number)
            except OSError as error:
                raise SandboxError(f"no kernel: {error!r}") from None
            self._processes[number] = process
            self._pending[number] = asyncio.get_running_loop().create_future()
            try:
                with theirs[0], theirs[1]:
                    own = [*(sock.fileno() for sock in theirs), process.memory]
                    self._send_request(process, own, endpoints, rehearse)
                process.pidfd = await asyncio.wait_for(self._pending[number], FORK_TIMEOUT_S)
                handed = await asyncio.wait_for(recv_ready(process), FORK_TIMEOUT_S)
                refuse_descriptors(process.sock)
                process.workspace, process.raw_output = handed[0], (handed[1], handed[2])
                if self._reach["network"]:
                    listener = socket.socket(fileno=handed[3])
                    process.egress = EgressProxy(listener, Allowlist(self._policy.network), self.limits)
            except (TimeoutError, OSError) as error:
                self.abandon(process)
                raise SandboxError(f"no kernel: {error!r}") from None
            except BaseException:
                self.abandon(process)
                raise
            finally:
                self._pending.pop(number, None)
            asyncio.get_running_loop().call_soon(self._prepare_cgroup)  # while the kernel runs its first cell
            return process

    async def remove(self, process: Process) -> None:
        """Kills a kernel and removes what it left; an idle one with live forks is removed with the last of them."""
        process.unwanted = True
        if process.forks and not process.killed and not process.exited.done():
            return
        await self._end(process)
        root = process.root
        if root is not None:
            root.forks.discard(process)
            if process.folder:
                root.ended_folders.append(process.folder)
            if root.unwanted and not root.forks:
                await self._end(root)

    async def _end(self, process: Process) -> None:
        process.kill()
        await asyncio.shield(process.exited)
        files = process.take_files()
        process.release()
        if files:  # the last descriptor frees files in memory, 0.2 s for a gigabyte
            await asyncio.shield(asyncio.to_thread(close_all, files))
        if self.tier in ("T1", "T0") and process.root is None:  # in T2 and T3 the mount namespace held the workspace
            await asyncio.to_thread(remove_tree, Path(self.base) / str(process.number))

    def abandon(self, process: Process) -> None:
        """Removes a dead or half-started kernel in the background; closing its socket ends it in any case."""
        process.sock.close()
        self._removing.add(task := asyncio.ensure_future(self.remove(process)))
        task.add_done_callback(self._removing.discard)

    async def close(self) -> None:
        """Ends everything: the supervisor kills what is left and removes the folders."""
        self._closing = True
        if self.alive:
            self._on_disconnect()
        await asyncio.to_thread(self._stop_supervisor)
        await asyncio.gather(*self._removing)
        if self._cgroups is not None:
            await asyncio.to_thread(self._cgroups.remove)
        self._errors.close()

    def _stop_supervisor(self) -> None:
        try:
            self._supervisor.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # the fork server hangs: the supervisor ends it and its kernels
            self._supervisor.terminate()
            self._supervisor.wait()
        remove_tree(self.base)

    def _send_request(self, process: Process, fds: list[int], endpoints: Endpoints | None, rehearse: bool) -> None:
        process.endpoints = endpoints
        request = {
            "op": "fork",
            "id": process.number,
            "limits": self.limits.model_dump(),
            "connection": endpoints.info if endpoints else None,
            "rehearse": rehearse and endpoints is None,
        }
        listening = [sock.fileno() for sock in endpoints.sockets] if endpoints else []
        entries: list[int] = []
        try:
            entries = self._enter_cgroup(process)
            socket.send_fds(self._control, [json.dumps(request).encode()], [*fds, *listening, *entries])
        except BaseException:  # the fork server knows nothing of it and will not report its end
            self._processes.pop(process.number).exited.set_result(-signal.SIGKILL)
            raise
        finally:
            for entry in entries:
                os.close(entry)
        if endpoints:
            endpoints.close_sockets()

    def _enter_cgroup(self, process: Process) -> list[int]:
        """Makes the kernel's cgroup; the kernel's first act is to enter it through the descriptors returned."""
        if self._cgroups is None:
            return []
        process.cgroup, self._spare_cgroup = self._spare_cgroup or self._make_cgroup(self._cgroups), None
        return process.cgroup.open_entries()

    def _make_cgroup(self, home: cgroups.CgroupHome) -> cgroups.Cgroup:
        self._cgroup_count += 1
        memory_mib = self.limits.memory_mib + self.limits.workspace_mib
        return home.make(str(self._cgroup_count), memory_mib, self.limits.processes, self.limits.cpus)

    def _prepare_cgroup(self) -> None:
        """Makes the next kernel's cgroup ahead of time."""
        if self._cgroups is not None and self._spare_cgroup is None and self.alive:
            with suppress(OSError):  # the next fork tries again and reports the error
                self._spare_cgroup = self._make_cgroup(self._cgroups)

    def _find_cgroups(self) -> cgroups.CgroupHome | None:
        if self.tier != "T3":
            return None
        home = cgroups.find(cpu=self.limits.cpus is not None)
        if isinstance(home, str):
            raise SandboxError(f"tier T3 needs cgroups: {home}")
        return home

    def _on_control(self) -> None:
        while self.alive:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, PACKET, 1)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._on_disconnect()
                return
            self._dispatch(json.loads(data), fds)

    def _dispatch(self, packet: dict[str, Any], fds: list[int]) -> None:
        if packet["op"] in ("ready", "failed"):
            if not self._ready.done():
                self._ready.set_result(packet)
        elif packet["op"] == "forked":
            waiting = self._pending.get(packet["id"])
            if waiting is None or waiting.done():
                os.close(fds[0])
            else:
                waiting.set_result(fds[0])
        elif packet["op"] == "refused":
            self._fail_fork(packet["id"], f"no kernel could be forked: {packet['error']}")
        elif packet["op"] == "exit":
            process = self._processes.pop(packet["id"], None)
            if process is not None and not process.exited.done():
                process.exited.set_result(packet["status"])

    def _fail_fork(self, number: int, why: str) -> None:
        """Ends a request for which no process exists, so that no exit will be reported."""
        self._processes.pop(number).exited.set_result(-signal.SIGKILL)
        waiting = self._pending.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_exception(SandboxError(why))

    def _on_disconnect(self) -> None:
        """The control connection is closed, by either side: every request and every process has ended."""
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._errors.seek(0)
        last_words = self._errors.read().decode("utf-8", "replace")[-2000:] or "it ended without a message"
        if not self._ready.done():
            self._ready.set_result({"op": "failed", "error": last_words})
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(SandboxError(f"the fork server died: {last_words}"))
        lost = 0
        for process in self._processes.values():
            if not process.exited.done():
                lost += (not process.unwanted) + len(process.forks)
                process.exited.set_result(-signal.SIGKILL)
        if not self._closing:
            self.died.set_result(lost)
        self._processes.clear()
