"""The fork server: imports what kernels need once, then turns one request into one forked kernel.

Contract: speaks JSON packets over a SOCK_SEQPACKET socket. ``{"op": "fork", "id", …}`` with descriptors (the kernel's
connection, its tools, the doors of its cgroup) answers ``{"op": "forked", "id"}`` with a pidfd; each death is reported
as ``{"op": "exit", "id", "status"}``; a fork Linux has no room for as ``{"op": "refused", "id", "error"}``.
Single-threaded. A fork costs about 5 ms with numpy and pandas loaded. Its memory is readable by every kernel, so
nothing secret ever enters it.
"""

from __future__ import annotations

import array
import gc
import importlib
import json
import os
import select
import signal
import site
import socket
import sys
import time
from _signal import SIG_DFL  # signal's own functions make enum members of handlers: slow where one is a function
from _signal import signal as set_handler
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.guest import heap_layout
from sandbox.guest.isolation.descendants import kill_descendants
from sandbox.guest.isolation.linux import CLONE_NEWPID, PR_SET_CHILD_SUBREAPER, collapse_memory, prctl, setns, unshare
from sandbox.guest.isolation.namespaces import surround
from sandbox.guest.isolation.tiers import data_bytes, enter_server, has_namespaces, prepare
from sandbox.guest.kernel_main import become_kernel
from sandbox.guest.shell import SandboxShell, build_shell
from sandbox.guest.streams import give_jobs_their_cell
from sandbox.guest.warmup import warm_up
from sandbox.workspace.walk import remove_tree

PACKET = 1 << 16
QUIET_S = 0.01
"""Without a request: about what a kernel needs from its fork to the end of its first cell."""


def serve(config: dict[str, Any]) -> None:
    """Prepares and answers until the owner closes the connection."""
    control = socket.socket(fileno=config["control"])
    if not has_namespaces(config["tier"]):
        _end_with_the_warden(config["base"])
    try:
        ready: dict[str, Any] = {**_users(), "host_proc": os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)}
        _import_own(config)
        enter_server(config)
        ready.update(prepare(config))
        for name in config["preload"]:
            importlib.import_module(name)
        site.sethelper()  # -S leaves help() out
        shell = None if config["kernel"] == "ipykernel" else build_shell()
        if shell is not None:
            give_jobs_their_cell()
            warm_up(shell)
    except BaseException as error:
        control.send(json.dumps({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
        return
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _settle(ready)
    control.send(json.dumps({"op": "ready", "threads": len(list(Path("/proc/self/task").iterdir()))}).encode())
    kernels: dict[int, int] = {}
    used = False
    while True:
        woken, _, _ = select.select([control.fileno(), wake_read], [], [], QUIET_S if used else None)
        if not woken:
            used = False
            with suppress(OSError):  # the next fork tries it again and says why it cannot be
                _provide(ready)
        if wake_read in woken:
            os.read(wake_read, 512)
            _reap(control, kernels)
        if control.fileno() in woken:
            data, fds, _, _ = socket.recv_fds(control, PACKET, 16)
            if not data:
                return
            _fork(json.loads(data), fds, control, kernels, shell, config, ready)
            used = True


def _end_with_the_warden(base: str) -> None:
    """Where no pid namespace ends with this process: the warden's death is SIGTERM here, and the warden's work ours."""

    def end(*_: object) -> None:
        kill_descendants()
        remove_tree(base)
        os._exit(1)

    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what detaches from a kernel comes here
    signal.signal(signal.SIGTERM, end)


def _import_own(config: dict[str, Any]) -> None:
    """The rest of this package that kernels will need: afterwards its source is out of sight."""
    if config["zmq"]:
        importlib.import_module("sandbox.guest.zmq").rehearse()
        importlib.import_module("sandbox.guest.stdin")
    if config["kernel"] == "ipykernel":
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # half of ipykernel's import time, never used here
        importlib.import_module("sandbox.guest.ipykernel")


def _settle(ready: dict[str, Any]) -> None:
    """Puts in order what kernels will share, when all of it is there; from now on as little of it as can be changes."""
    ready["provided"] = False
    with suppress(OSError):
        _provide(ready)
    gc.collect()
    heap_layout.close()
    gc.freeze()
    with suppress(OSError):
        collapse_memory()
    ready["born_with"] = data_bytes()


def _fork(
    request: dict[str, Any],
    fds: list[int],
    control: socket.socket,
    kernels: dict[int, int],
    shell: SandboxShell | None,
    config: dict[str, Any],
    ready: dict[str, Any],
) -> None:
    own_pids, pid = ready["own_pids"], -1
    try:
        _provide(ready)
        if own_pids >= 0:  # the child becomes the first process of a pid namespace of its own, with no process between
            unshare(CLONE_NEWPID)
        pid = os.fork()
    except OSError as error:
        control.send(json.dumps({"op": "refused", "id": request["id"], "error": str(error)}).encode())
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            set_handler(number, SIG_DFL)
        become_kernel(request, fds, shell, config, ready)
    if own_pids >= 0:
        setns(own_pids, CLONE_NEWPID)
    if pid > 0:
        ready["provided"] = False
        pidfd = os.pidfd_open(pid)
        kernels[pid] = request["id"]
        answer = json.dumps({"op": "forked", "id": request["id"]}).encode()
        control.sendmsg([answer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))])
        os.close(pidfd)
    for fd in fds:
        os.close(fd)


def _provide(ready: dict[str, Any]) -> None:
    """Has what the next kernel is born with; best done when nobody waits and no kernel is on its way."""
    if not ready["provided"]:
        if ready["own_pids"] >= 0:
            surround()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # Python's own generator is sown anew by every fork
        ready["provided"] = True


def _users() -> dict[str, int]:
    """The range of user ids kernels get theirs from: the upper three quarters of the last range mapped here."""
    first, _, count = (int(word) for word in Path("/proc/self/uid_map").read_text().splitlines()[-1].split())
    return {"first_user": first + count // 4, "users": max(1, count // 2)}


def _reap(control: socket.socket, kernels: dict[int, int]) -> None:
    """Reports every death. What a kernel left in its process group dies with it."""
    while True:
        try:
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if dead is None:
            return
        pid = dead.si_pid
        if pid in kernels:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if pid in kernels:
            _collect_group(pid)
            report = {"op": "exit", "id": kernels.pop(pid), "status": os.waitstatus_to_exitcode(status)}
            control.send(json.dumps(report).encode())


def _collect_group(group: int) -> None:
    """Returns when the killed orphans of a group are gone, or after half a second, should one hang in the kernel.

    Where a pid namespace ends them there is none; else they are children of this process.
    """
    with suppress(ChildProcessError):
        for _ in range(500):
            if os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG) is None:
                time.sleep(0.001)
