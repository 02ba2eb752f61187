"""Forks of a running kernel, inside it: branches, checkpoints, and the runner that takes the first process's place.

Contract: each request comes with two descriptors, the connection and the tools of the fork, whose first word there is
``ready``; when Linux refuses the fork both are closed, and the kernel goes on. A fork has the parent's memory, its open
files and none of its threads. Pipes and sockets of the parent lie in it as ended connections under their old numbers:
were they shared, the other side would wait for ever for an end that a sleeping copy holds open. Costs 3-7 ms with
numpy and pandas loaded, whatever the cells hold; pages are copied when one side writes to them.
"""

from __future__ import annotations

import os
import random
import resource
import select
import shutil
import signal
import socket
import stat
import sys
from _signal import SIG_IGN  # signal's own functions make enum members of handlers: slow where one is a function
from _signal import signal as set_handler
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sandbox.guest import tool_proxies
from sandbox.guest.connection import FDS, SocketPort
from sandbox.guest.isolation.linux import PR_SET_CHILD_SUBREAPER, prctl
from sandbox.guest.streams import Output, renew_raw

GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a cell may send to its own process group (``kill 0`` in a script) without meaning its checkpoint."""


@dataclass(frozen=True)
class _Asleep:
    """What a checkpoint shares with the running kernel and puts right when it wakes."""

    folder: str
    positions: dict[int, int]
    handlers: dict[signal.Signals, Any]


class Forking:
    """The part of the kernel that forks it."""

    port: SocketPort
    streams: tuple[Output, Output]

    def __init__(self) -> None:
        self._home = self._folder = os.getcwd()  # noqa: PTH109
        self._branches: list[int] = []
        self._copy = 0
        self._asleep: _Asleep | None = None

    def _on_branch_request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """The fork is a kernel of its own and works in a copy of the files."""
        self._reap_branches()
        self._clear_away(content["over"])
        pid = self._fork(lambda: self._move(content["folder"]))
        if pid > 0:
            self._branches.append(pid)
        return _reply(pid)

    def _on_runner_request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """The fork is this kernel from now on; this process only keeps the sandbox alive when it dies."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # where there is no pid namespace, orphans must not get away
        pid = self._fork(self._own_output)
        if pid > 0:
            keep_alive()
        return _reply(pid)

    def _on_checkpoint_request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """The fork waits in case this process dies."""
        self._reap_branches()
        self._clear_away(content["over"])
        before, self._copy = self._copy, 0
        pid = self._fork(self._fall_asleep)
        if pid == 0:
            return None
        self._copy = max(pid, 0)
        if before:  # the host has ended it when its cell was over; no cell may come across it
            with suppress(ChildProcessError):
                os.waitpid(before, 0)
        return _reply(pid)

    def _on_resume_request(self, content: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint is the kernel now: the process it was forked from is dead."""
        asleep, self._asleep = self._asleep, None
        assert asleep is not None, "only a checkpoint can wake"
        self._own_output()
        for folder in (self._folder, asleep.folder):
            with suppress(OSError):
                os.chdir(folder)
        for fd, position in asleep.positions.items():
            with suppress(OSError):
                os.lseek(fd, position, os.SEEK_SET)
        for number, handler in asleep.handlers.items():
            if handler is not None:  # a library's own, which Python cannot set
                signal.signal(number, handler)
        return {"status": "ok"}

    def _fork(self, begin: Callable[[], None]) -> int:
        """The child's number in the parent, 0 in the child after ``begin``, -1 when Linux refuses."""
        fds, self.port.fds = self.port.fds, []
        if len(fds) < FDS:
            for fd in fds:
                os.close(fd)
            return -1
        line, tools = fds
        state = random.getstate()  # Python itself gives a forked child a new seed
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid:
            os.close(line)
            os.close(tools)
            return pid
        try:
            self._branches, self._copy = [], 0
            self.port.adopt(line, f"{self.port.session}-{os.getpid()}")
            tool_proxies.HERE.adopt(tools)
            random.setstate(state)
            cut_connections({line, tools})
            begin()
            self.port.greet({"op": "ready"})
        except BaseException as error:
            self.port.greet({"op": "failed", "error": f"{type(error).__name__}: {error}"})
            os._exit(1)
        return 0

    def _reap_branches(self) -> None:
        """Forgets branches that are over."""
        for pid in self._branches[:]:
            try:
                over = os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:  # a cell has waited for it
                over = True
            if over:
                self._branches.remove(pid)

    def _clear_away(self, folders: list[str]) -> None:
        """Workspaces of branches that have ended, whoever forked them."""
        for folder in folders:
            with suppress(RecursionError):
                shutil.rmtree(Path(self._home) / folder, ignore_errors=True)

    def _own_output(self) -> None:
        """With the raw files there are: of a process that writes no more, or fresh ones."""
        for stream in self.streams:
            stream.adopt()

    def _move(self, folder: str) -> None:
        """Copies the workspace and goes on working in the copy, at the same place in it."""
        here, target, (above, _, _) = os.getcwd(), f"{self._home}/{folder}", folder.partition("/")  # noqa: PTH109
        mode = os.stat(self._home).st_mode  # noqa: PTH116
        os.chmod(self._home, mode | 0o700)  # noqa: PTH101
        try:
            with suppress(FileExistsError):
                os.mkdir(f"{self._home}/{above}")  # noqa: PTH102
        finally:  # it is the parent's, whatever becomes of the copy
            os.chmod(self._home, mode)  # noqa: PTH101
        os.mkdir(target, 0o700)  # noqa: PTH102
        os.chdir(target)
        renew_raw()
        self._own_output()
        if not set(os.listdir(self._folder)) <= {above}:  # noqa: PTH208  # a millisecond, also for little
            hidden = shutil.ignore_patterns(above)
            shutil.copytree(
                self._folder, target, symlinks=True, ignore=hidden, ignore_dangling_symlinks=True, dirs_exist_ok=True
            )
        if here.startswith(f"{self._folder}/"):
            os.chdir(target + here.removeprefix(self._folder))
        self._folder = os.environ["HOME"] = os.environ["PWD"] = target

    def _fall_asleep(self) -> None:
        with suppress(OSError):  # denied where the group is the only handle on a kernel's processes
            os.setpgid(0, 0)
        try:
            folder = os.getcwd()  # noqa: PTH109
        except FileNotFoundError:  # a cell removed it
            folder = self._folder
        handlers = {number: set_handler(number, SIG_IGN) for number in GROUP_SIGNALS}
        self._asleep = _Asleep(folder, positions(), handlers)


def _reply(pid: int) -> dict[str, Any] | None:
    return {"status": "ok" if pid > 0 else "error"} if pid else None


def keep_alive() -> NoReturn:
    """What the first process does once a runner has taken its place: reaps, until nothing is left below it."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)


def cut_connections(kept: set[int]) -> None:
    """Puts an ended connection in the place of every pipe and socket, so that no number is given away twice."""
    dead, other = socket.socketpair()
    other.close()
    kept = {*kept, dead.fileno()}
    for fd, mode in _open_files():
        if fd not in kept and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            os.dup2(dead.fileno(), fd, inheritable=False)
    dead.close()
    helpers = sys.modules.get("IPython.core.async_helpers")
    if helpers is not None:  # its event loop wakes itself through a socket
        helpers._asyncio_event_loop = None  # type: ignore[attr-defined]


def positions() -> dict[int, int]:
    """Where each open file stands: forks share the position, and the other side will go on reading and writing."""
    return {fd: os.lseek(fd, 0, os.SEEK_CUR) for fd, mode in _open_files() if stat.S_ISREG(mode)}


def _open_files() -> list[tuple[int, int]]:
    """Descriptors from 3 on and their kinds."""
    found = []
    for fd in _numbers():
        with suppress(OSError):  # the list's own
            found.append((fd, os.fstat(fd).st_mode))
    return found


def _numbers() -> list[int]:
    """Tier T1 shows forks no list, but ``poll`` knows which numbers are not open."""
    with suppress(OSError):
        return [fd for name in os.listdir("/proc/self/fd") if (fd := int(name)) > 2]  # noqa: PTH208
    numbers, every = range(3, resource.getrlimit(resource.RLIMIT_NOFILE)[0]), select.poll()
    for fd in numbers:
        every.register(fd, 0)
    closed = {fd for fd, event in every.poll(0) if event & select.POLLNVAL}
    return [fd for fd in numbers if fd not in closed]
