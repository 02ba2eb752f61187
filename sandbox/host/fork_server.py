"""The host's end of a fork server: start it, ask it for kernels, hear of their deaths.

Contract: everything runs in the event loop that called :meth:`ForkServer.start`. A fork server that dies takes its
kernels with it: every waiting and later call raises :class:`SandboxError`, every kernel's ``exited`` is done. Cost:
about one second to start with numpy and pandas, then 5-25 ms per kernel.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from sandbox.host.endpoints import Endpoints
from sandbox.host.process import Process, refuse_descriptors
from sandbox.isolation import cgroups
from sandbox.isolation.allowlist import Hosts
from sandbox.isolation.egress_proxy import Egress
from sandbox.isolation.policy import Policy, settle
from sandbox.isolation.spawn import SOURCE, boot_command, environment, leave_real_time, own_folders, site_folders
from sandbox.limits import Limits
from sandbox.result import SandboxError
from sandbox.workspace.walk import remove_tree

PACKET = 1 << 16
START_TIMEOUT_S = 120.0
FORK_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
FORKS_AT_ONCE = 4  # the fork server takes one after the other anyway, and its socket holds only so many requests


class ForkServer:
    """One warden and its fork server."""

    def __init__(
        self,
        limits: Limits,
        preload: tuple[str, ...],
        tier: str,
        kernel: str = "light",
        zmq: bool = False,
        policy: Policy | None = None,
    ) -> None:
        """``zmq``: kernels will serve stock clients, so have ready what that takes. Raises as :func:`settle` does."""
        self.limits, self.preload, self.tier = limits, preload, tier
        self.kernel, self.zmq = kernel, zmq or kernel == "ipykernel"
        self._policy = policy or Policy()
        self._reach = settle(self._policy, tier)
        self.alive = self._closing = False
        self._forks: dict[int, asyncio.Future[int]] = {}
        self._processes: dict[int, Process] = {}
        self._count = self._made = 0
        self._spare: cgroups.Cgroup | None = None
        self._slots = asyncio.Semaphore(FORKS_AT_ONCE)
        self._abandoned: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Executes the warden and waits until the fork server is ready."""
        loop = asyncio.get_running_loop()
        with ExitStack() as undo:
            try:
                self._execute(undo)
            except OSError as error:
                raise SandboxError(f"no fork server: {error}") from None
            undo.pop_all()
        self._control.setblocking(False)
        self._ready: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.died: asyncio.Future[int] = loop.create_future()
        """Done when it ends without having been told to: with the number of kernels that went with it."""
        self.alive = True
        loop.add_reader(self._control.fileno(), self._on_control)
        try:
            ready = await asyncio.wait_for(self._ready, START_TIMEOUT_S)
        except TimeoutError:
            await self.close()
            raise SandboxError(f"the fork server was not ready after {START_TIMEOUT_S:.0f} s") from None
        except BaseException:  # nobody wants it any longer
            await asyncio.shield(self.close())
            raise
        if ready["op"] != "ready":
            await self.close()
            raise SandboxError(f"the fork server could not start: {ready['error']}")

    def _execute(self, undo: ExitStack) -> None:
        """Starts the warden; ``undo`` gets what takes it back."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(self._control.close)
        undo.callback(theirs.close)
        self._cgroups = self._find_cgroups()
        if self._cgroups is not None:
            undo.callback(self._cgroups.remove)
        self._errors = os.fdopen(os.memfd_create("errors"), "w+b")  # a full disk must not silence last words
        undo.callback(self._errors.close)
        config = {
            "owner": os.getpid(),
            "control": theirs.fileno(),
            "base": f"{tempfile.gettempdir()}/codeact-sandbox-{os.getpid()}-{secrets.token_hex(4)}",
            "preload": ["IPython", *self.preload],
            "packages": site_folders(),
            "hidden": own_folders(),
            "source": SOURCE,
            "tier": self.tier,
            "kernel": self.kernel,
            "zmq": self.zmq,
            "reach": self._reach,
            "cgroups": [str(folder) for folder in self._cgroups.folders] if self._cgroups else [],
        }
        self.base = str(config["base"])
        """The folder of this server, made and removed by the warden."""
        self._warden = subprocess.Popen(
            boot_command("supervisor"),
            env=environment(self._reach["variables"]),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )
        theirs.close()
        leave_real_time(self._warden.pid)
        self.pid = self._warden.pid
        """The warden's process id; the fork server and every kernel end with it."""
        assert self._warden.stdin is not None
        with suppress(BrokenPipeError), self._warden.stdin as pipe:
            pipe.write(json.dumps(config).encode() + b"\n")

    async def fork(self, endpoints: Endpoints | None = None, rehearse: bool = False) -> Process:
        """A new kernel, isolated and connected. Raises :class:`SandboxError`.

        ``endpoints``: where it serves stock clients; ``rehearse``: it is for later use, so warm it up.
        """
        async with self._slots:
            if not self.alive:
                raise SandboxError("the fork server is gone")
            self._count += 1
            number = self._count
            try:
                process, theirs = self._connected(number)
            except OSError as error:
                raise SandboxError(f"no kernel: {error!r}") from None
            self._processes[number] = process
            self._forks[number] = asyncio.get_running_loop().create_future()
            try:
                with theirs[0], theirs[1]:
                    self._ask(process, [sock.fileno() for sock in theirs], endpoints, rehearse)
                process.pidfd = await asyncio.wait_for(self._forks[number], FORK_TIMEOUT_S)
                handed = await asyncio.wait_for(_first_packet(process), FORK_TIMEOUT_S)
                refuse_descriptors(process.line)
                process.workspace = handed[0]
                if self._reach["network"]:
                    listener = socket.socket(fileno=handed[1])
                    process.egress = Egress(listener, Hosts(self._policy.network), self.limits)
            except (TimeoutError, OSError) as error:
                self.abandon(process)
                raise SandboxError(f"no kernel: {error!r}") from None
            except BaseException:
                self.abandon(process)
                raise
            finally:
                self._forks.pop(number, None)
            asyncio.get_running_loop().call_soon(self._prepare_cgroup)  # while the kernel is busy with its first cell
            return process

    async def remove(self, process: Process) -> None:
        """Kills a kernel and removes what it left, when it is dead; an idle one with branches goes with the last."""
        process.unwanted = True
        if process.branches and not process.killed and not process.exited.done():
            return
        await self._end(process)
        root = process.root
        if root is not None:
            root.branches.discard(process)
            if process.folder:
                root.over.append(process.folder)
            if root.unwanted and not root.branches:
                await self._end(root)

    async def _end(self, process: Process) -> None:
        process.kill()
        await asyncio.shield(process.exited)
        workspace, process.workspace = process.workspace, -1
        process.release()
        if workspace >= 0:  # the last one frees what is held in memory, 0.2 s for a gigabyte
            await asyncio.shield(asyncio.to_thread(os.close, workspace))
        if self.tier in ("T1", "T0") and process.root is None:  # elsewhere the workspace went with the mount namespace
            await asyncio.to_thread(remove_tree, Path(self.base) / str(process.number))

    def abandon(self, process: Process) -> None:
        """Clears a half-made or dead kernel away in the background; closing its connection ends it if nothing else."""
        process.line.close()
        self._abandoned.add(task := asyncio.ensure_future(self.remove(process)))
        task.add_done_callback(self._abandoned.discard)

    async def close(self) -> None:
        """Ends everything: the warden kills what is left and removes the folders."""
        self._closing = True
        if self.alive:
            self._gone()
        await asyncio.to_thread(self._end_warden)
        await asyncio.gather(*self._abandoned)
        if self._cgroups is not None:
            await asyncio.to_thread(self._cgroups.remove)
        self._errors.close()

    def _end_warden(self) -> None:
        try:
            self._warden.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # a fork server that hangs: the warden ends it and its kernels
            self._warden.terminate()
            self._warden.wait()
        remove_tree(self.base)

    def _connected(self, number: int) -> tuple[Process, tuple[socket.socket, socket.socket]]:
        """A kernel to be, and its ends of connection and tools."""
        line, line_theirs = socket.socketpair()
        try:
            tools, tools_theirs = socket.socketpair()
        except OSError:
            line.close()
            line_theirs.close()
            raise
        line.setblocking(False)
        tools.setblocking(False)
        refuse_descriptors(tools)
        process = Process(self, number, line, tools, asyncio.get_running_loop().create_future())
        return process, (line_theirs, tools_theirs)

    def _ask(self, process: Process, fds: list[int], endpoints: Endpoints | None, rehearse: bool) -> None:
        process.endpoints = endpoints
        request = {
            "op": "fork",
            "id": process.number,
            "limits": self.limits.model_dump(),
            "connection": endpoints.info if endpoints else None,
            "rehearse": rehearse and endpoints is None,
        }
        listening = [sock.fileno() for sock in endpoints.sockets] if endpoints else []
        doors: list[int] = []
        try:
            doors = self._enter_cgroup(process)
            socket.send_fds(self._control, [json.dumps(request).encode()], [*fds, *listening, *doors])
        except BaseException:  # nobody will report the end of what was not asked for
            self._processes.pop(process.number).exited.set_result(-signal.SIGKILL)
            raise
        finally:
            for door in doors:
                os.close(door)
        if endpoints:
            endpoints.handed_over()

    def _enter_cgroup(self, process: Process) -> list[int]:
        """Makes the kernel's cgroup; the kernel enters it first of all, through the descriptors returned."""
        if self._cgroups is None:
            return []
        process.cgroup, self._spare = self._spare or self._make_cgroup(self._cgroups), None
        return process.cgroup.open_doors()

    def _make_cgroup(self, home: cgroups.CgroupHome) -> cgroups.Cgroup:
        self._made += 1
        memory_mib = self.limits.memory_mib + self.limits.workspace_mib
        return home.make(str(self._made), memory_mib, self.limits.processes, self.limits.cpus)

    def _prepare_cgroup(self) -> None:
        """Has the next kernel's cgroup in store."""
        if self._cgroups is not None and self._spare is None and self.alive:
            with suppress(OSError):  # the next fork tries it again and says why it cannot be
                self._spare = self._make_cgroup(self._cgroups)

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
                self._gone()
                return
            self._dispatch(json.loads(data), fds)

    def _dispatch(self, packet: dict[str, Any], fds: list[int]) -> None:
        if packet["op"] in ("ready", "failed"):
            if not self._ready.done():
                self._ready.set_result(packet)
        elif packet["op"] == "forked":
            waiting = self._forks.get(packet["id"])
            if waiting is None or waiting.done():
                os.close(fds[0])
            else:
                waiting.set_result(fds[0])
        elif packet["op"] == "refused":
            self._refuse(packet["id"], f"no kernel could be forked: {packet['error']}")
        elif packet["op"] == "exit":
            process = self._processes.pop(packet["id"], None)
            if process is not None and not process.exited.done():
                process.exited.set_result(packet["status"])

    def _refuse(self, number: int, why: str) -> None:
        """There is no process, so nothing will report its end."""
        self._processes.pop(number).exited.set_result(-signal.SIGKILL)
        waiting = self._forks.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_exception(SandboxError(why))

    def _gone(self) -> None:
        """The connection is closed, from whichever side."""
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        self._control.close()
        self._errors.seek(0)
        last_words = self._errors.read().decode("utf-8", "replace")[-2000:] or "it ended without a word"
        if not self._ready.done():
            self._ready.set_result({"op": "failed", "error": last_words})
        for waiting in self._forks.values():
            if not waiting.done():
                waiting.set_exception(SandboxError(f"the fork server died: {last_words}"))
        lost = 0
        for process in self._processes.values():
            if not process.exited.done():
                lost += (not process.unwanted) + len(process.branches)
                process.exited.set_result(-signal.SIGKILL)
        if not self._closing:
            self.died.set_result(lost)
        self._processes.clear()


async def _first_packet(process: Process) -> list[int]:
    """Waits for the kernel's own word that it is isolated; returns its workspace and, if it has one, its way out."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def on_readable() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(process.line.fileno(), on_readable)
    try:
        await readable
    finally:
        loop.remove_reader(process.line.fileno())
    data, fds, _, _ = socket.recv_fds(process.line, 4096, 2)
    packet = json.loads(data) if data else {"op": "failed", "error": "it died before it was ready"}
    if packet["op"] != "ready":
        raise SandboxError(f"a kernel could not start: {packet.get('error')}")
    return fds
