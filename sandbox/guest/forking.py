"""Forks of a running kernel: branches, checkpoints, and the runner that replaces the first process.

Contract: each request carries two descriptors: the fork's connection, on which the host has sent its memory for output,
and its tool connection. The fork's first packet is ``ready``, in a branch with what it shares with its parent
(``shared``). When Linux refuses the fork all are closed and the kernel continues. A fork has the parent's memory and
none of its threads; for its open files see :mod:`sandbox.guest.open_files`. Costs 3-7 ms with numpy and pandas loaded,
independent of the cells' data; pages are copied when one side writes to them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from _signal import SIG_IGN  # signal's own functions make enum members of handlers: slow where one is a function
from _signal import signal as set_handler
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sandbox.guest import tool_proxies
from sandbox.guest.connection import MAX_FDS, SocketTransport
from sandbox.guest.interpreter import move_folder
from sandbox.guest.isolation.linux import PR_SET_CHILD_SUBREAPER, prctl
from sandbox.guest.open_files import cut_connections, file_positions, forget_event_loop, separate
from sandbox.guest.shell import SandboxShell
from sandbox.guest.streams import Streams, open_raw_files

SHARED_BYTES, LINE_CHARS = 3500, 300
"""Sizes of what a branch reports of its open files, so that it fits the host's read of its first packet."""
GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals a cell may send to its own process group (``kill 0`` in a script); its checkpoint ignores them."""


@dataclass(frozen=True)
class _CheckpointState:
    """What a checkpoint restores when it resumes, because it shares it with the running kernel."""

    folder: str
    positions: dict[int, int]
    handlers: dict[signal.Signals, Any]


class Forking:
    """Mixin of the kernel: requests that fork it."""

    transport: SocketTransport
    shell: SandboxShell
    streams: Streams

    def __init__(self) -> None:
        self._home = self._folder = os.getcwd()  # noqa: PTH109
        self._own_groups = os.getpid() == 1  # elsewhere the group is what ends with the first process
        self._branches: list[int] = []
        self._copy = 0
        self._checkpoint_state: _CheckpointState | None = None

    def _on_branch_request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """Forks an independent kernel that works in a copy of the files."""
        self._reap_branches()
        self._remove_folders(content["over"])
        pid = self._fork(lambda: self._copy_workspace(content["folder"]))
        if pid > 0:
            self._branches.append(pid)
        return _reply(pid)

    def _on_runner_request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """Forks the process that is this kernel from now on; this process only keeps the sandbox alive when it dies."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # where there is no pid namespace, orphans must not escape
        pid = self._fork(self._adopt_output)
        if pid > 0:
            reap_until_empty()
        return _reply(pid)

    def _on_checkpoint_request(self, content: dict[str, Any]) -> dict[str, Any] | None:
        """Forks a checkpoint, which waits in case this process dies."""
        self._reap_branches()
        self._remove_folders(content["over"])
        before, self._copy = self._copy, 0
        pid = self._fork(self._become_checkpoint)
        if pid == 0:
            return None
        self._copy = max(pid, 0)
        if before:  # the host ended it after its cell; a later cell must not see it as a zombie
            with suppress(ChildProcessError):
                os.waitpid(before, 0)
        return _reply(pid)

    def _on_resume_request(self, content: dict[str, Any]) -> dict[str, Any]:
        """Makes this checkpoint the kernel, after the process it was forked from has died."""
        saved, self._checkpoint_state = self._checkpoint_state, None
        assert saved is not None, "only a checkpoint can resume"
        self._adopt_output()
        for folder in (self._folder, saved.folder):
            with suppress(OSError):
                os.chdir(folder)
        for fd, position in saved.positions.items():
            with suppress(OSError):
                os.lseek(fd, position, os.SEEK_SET)
        for number, handler in saved.handlers.items():
            if handler is not None:  # a C library's handler, which Python cannot set
                signal.signal(number, handler)
        return {"status": "ok"}

    def _fork(self, begin: Callable[[], list[str] | None]) -> int:
        """The child's process id in the parent, 0 in the child after ``begin``, -1 when Linux refuses.

        ``begin`` returns what a branch shares with its parent, one line each.
        """
        fds, self.transport.fds = self.transport.fds, []
        if len(fds) < MAX_FDS:
            for fd in fds:
                os.close(fd)
            return -1
        connection, tools = fds
        state = random.getstate()  # Python reseeds the generator of a forked child
        try:
            pid = os.fork()
        except OSError:
            pid = -1
        if pid:
            os.close(connection)
            os.close(tools)
            return pid
        try:
            self._branches, self._copy = [], 0
            self.transport.adopt(connection, f"{self.transport.session}-{os.getpid()}")
            tool_proxies.TOOLS.adopt(tools)
            self.streams.use(self.transport.receive_descriptor())
            random.setstate(state)
            if self._own_groups:  # an interrupt, or a cell's `kill 0`, reaches this kernel only
                os.setpgid(0, 0)
            closed = cut_connections({connection, tools})
            shared = begin()
            forget_event_loop()
            report = _bounded(shared + closed) if shared is not None else []
            self.transport.send_hello({"op": "ready", **({"shared": report} if report else {})})
        except BaseException as error:
            self.transport.send_hello({"op": "failed", "error": f"{type(error).__name__}: {error}"})
            os._exit(1)
        return 0

    def own_forks(self) -> set[int]:
        """Process ids of the branches and the checkpoint of this kernel, which are its children."""
        return {*self._branches, *([self._copy] if self._copy else [])}

    def _reap_branches(self) -> None:
        """Reaps branches that have ended."""
        for pid in self._branches[:]:
            try:
                over = os.waitpid(pid, os.WNOHANG)[0] == pid
            except ChildProcessError:  # a cell has waited for it
                over = True
            if over:
                self._branches.remove(pid)

    def _remove_folders(self, folders: list[str]) -> None:
        """Removes workspaces of branches that have ended, also of branches of branches."""
        for folder in folders:
            with suppress(RecursionError):
                shutil.rmtree(Path(self._home) / folder, ignore_errors=True)

    def _adopt_output(self) -> None:
        """Continues with the current raw files: new ones, or those of a process that writes no more."""
        self.streams.adopt()

    def _copy_workspace(self, folder: str) -> list[str]:
        """Copies the workspace and continues in the copy, in the same subfolder."""
        here, target, (above, _, _) = os.getcwd(), f"{self._home}/{folder}", folder.partition("/")  # noqa: PTH109
        mode = os.stat(self._home).st_mode  # noqa: PTH116
        os.chmod(self._home, mode | 0o700)  # noqa: PTH101
        try:
            with suppress(FileExistsError):
                os.mkdir(f"{self._home}/{above}")  # noqa: PTH102
        finally:  # the folder belongs to the parent, also if the copy fails
            os.chmod(self._home, mode)  # noqa: PTH101
        os.mkdir(target, 0o700)  # noqa: PTH102
        os.chdir(target)
        open_raw_files()
        self._adopt_output()
        if not set(os.listdir(self._folder)) <= {above}:  # noqa: PTH208  # a millisecond, also for little
            hidden = shutil.ignore_patterns(above)
            shutil.copytree(
                self._folder, target, symlinks=True, ignore=hidden, ignore_dangling_symlinks=True, dirs_exist_ok=True
            )
        if here.startswith(f"{self._folder}/"):
            os.chdir(target + here.removeprefix(self._folder))
        before, self._folder = self._folder, target
        move_folder(self.shell, before, target)
        return separate(before, target)

    def _become_checkpoint(self) -> None:
        with suppress(OSError):  # denied in tier T1, where the group is the only handle on a kernel's processes
            os.setpgid(0, 0)
        try:
            folder = os.getcwd()  # noqa: PTH109
        except FileNotFoundError:  # a cell removed it
            folder = self._folder
        handlers = {number: set_handler(number, SIG_IGN) for number in GROUP_SIGNALS}
        self._checkpoint_state = _CheckpointState(folder, file_positions(), handlers)


def _bounded(lines: list[str]) -> list[str]:
    """As many lines as the first packet has room for."""
    kept: list[str] = []
    for number, line in enumerate(lines):
        kept.append(line[:LINE_CHARS])
        if len(json.dumps(kept)) > SHARED_BYTES:
            return [*kept[:-1], f"and {len(lines) - number} more"]
    return kept


def _reply(pid: int) -> dict[str, Any] | None:
    return {"status": "ok" if pid > 0 else "error"} if pid else None


def reap_until_empty() -> NoReturn:
    """Runs in the first process once a runner has replaced it: reaps children until none is left, then exits."""
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            os._exit(0)
