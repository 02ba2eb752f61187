"""The fork server: imports the modules kernels need once, then forks one kernel per request.

Contract: speaks JSON packets over a SOCK_SEQPACKET socket. ``{"op": "fork", "id", …}`` with descriptors (the kernel's
connection, its tool connection, its cgroups) is answered with ``{"op": "forked", "id"}`` and a pidfd, or with
``{"op": "refused", "id", "error"}`` if Linux refuses the fork; each death is reported as
``{"op": "exit", "id", "status"}``. Single-threaded. A fork costs about 5 ms with numpy and pandas loaded. Every kernel
can read its memory, so it never holds a secret.
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

from sandbox.guest import adapters, commands, heap_layout
from sandbox.guest.isolation.descendants import kill_descendants
from sandbox.guest.isolation.linux import CLONE_NEWPID, PR_SET_CHILD_SUBREAPER, collapse_memory, prctl, setns, unshare
from sandbox.guest.isolation.namespaces import unshare_next
from sandbox.guest.isolation.tiers import data_bytes, enter_server, has_namespaces, prepare
from sandbox.guest.kernel_main import run_kernel
from sandbox.guest.output import patch_thread_pool
from sandbox.guest.shell import SandboxShell, build_shell
from sandbox.guest.warmup import warm_up
from sandbox.workspace.walk import remove_tree

PACKET = 1 << 16
IDLE_S = 0.01
"""Time without a request after which the next kernel is prepared: about a kernel's start and first cell."""


def serve(config: dict[str, Any]) -> None:
    """Prepares the process, then answers requests until the owner closes the connection."""
    control = socket.socket(fileno=config["control"])
    if not has_namespaces(config["tier"]):
        _exit_with_supervisor(config["base"])
    try:
        prepared: dict[str, Any] = {**_uid_range(), "host_proc": os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)}
        _import_guest_modules(config)
        enter_server(config)
        prepared.update(prepare(config))
        commands.install()
        adapters.install(shared=config["tier"] == "T1")
        for name in config["preload"]:
            importlib.import_module(name)
        site.sethelper()  # -S leaves help() out
        shell = None if config["kernel"] == "ipykernel" else build_shell()
        if shell is not None:
            patch_thread_pool()
            warm_up(shell)
    except BaseException as error:
        control.send(json.dumps({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
        return
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _freeze_heap(prepared)
    control.send(json.dumps({"op": "ready", "threads": len(list(Path("/proc/self/task").iterdir()))}).encode())
    kernels: dict[int, int] = {}
    used = False
    while True:
        woken, _, _ = select.select([control.fileno(), wake_read], [], [], IDLE_S if used else None)
        if not woken:
            used = False
            with suppress(OSError):  # the next fork tries again and reports the error
                _prepare_next(prepared)
        if wake_read in woken:
            os.read(wake_read, 512)
            _reap(control, kernels)
        if control.fileno() in woken:
            data, fds, _, _ = socket.recv_fds(control, PACKET, 16)
            if not data:
                return
            _fork(json.loads(data), fds, control, kernels, shell, config, prepared)
            used = True


def _exit_with_supervisor(base: str) -> None:
    """Cleans up on SIGTERM, which the supervisor's death sends; used where no pid namespace ends the kernels."""

    def end(*_: object) -> None:
        kill_descendants()
        remove_tree(base)
        os._exit(1)

    prctl(PR_SET_CHILD_SUBREAPER, 1)  # processes that detach from a kernel become children of this one
    signal.signal(signal.SIGTERM, end)


def _import_guest_modules(config: dict[str, Any]) -> None:
    """Imports the other modules of this package that kernels need; later its source is not visible any more."""
    if config["zmq"]:
        importlib.import_module("sandbox.guest.zmq").rehearse(config["base"])
        importlib.import_module("sandbox.guest.stdin")
    if config["kernel"] == "ipykernel":
        sys.modules["debugpy"] = None  # type: ignore[assignment]  # half of ipykernel's import time, not used here
        importlib.import_module("sandbox.guest.ipykernel")


def _freeze_heap(prepared: dict[str, Any]) -> None:
    """Arranges the memory that kernels will share, after the last import, so that little of it is copied later."""
    prepared["next_prepared"] = False
    with suppress(OSError):
        _prepare_next(prepared)
    gc.collect()
    heap_layout.fill_gaps()
    gc.freeze()
    with suppress(OSError):
        collapse_memory()
    prepared["initial_data_bytes"] = data_bytes()


def _fork(
    request: dict[str, Any],
    fds: list[int],
    control: socket.socket,
    kernels: dict[int, int],
    shell: SandboxShell | None,
    config: dict[str, Any],
    prepared: dict[str, Any],
) -> None:
    own_pids, pid = prepared["own_pids"], -1
    try:
        _prepare_next(prepared)
        if own_pids >= 0:  # the child becomes the first process of a new pid namespace, without a process in between
            unshare(CLONE_NEWPID)
        pid = os.fork()
    except OSError as error:
        control.send(json.dumps({"op": "refused", "id": request["id"], "error": str(error)}).encode())
    if pid == 0:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            set_handler(number, SIG_DFL)
        run_kernel(request, fds, shell, config, prepared)
    if own_pids >= 0:
        setns(own_pids, CLONE_NEWPID)
    if pid > 0:
        prepared["next_prepared"] = False
        pidfd = os.pidfd_open(pid)
        kernels[pid] = request["id"]
        answer = json.dumps({"op": "forked", "id": request["id"]}).encode()
        control.sendmsg([answer], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [pidfd]))])
        os.close(pidfd)
    for fd in fds:
        os.close(fd)


def _prepare_next(prepared: dict[str, Any]) -> None:
    """Creates what the next kernel inherits, if it does not exist yet; called when idle, else before the fork."""
    if not prepared["next_prepared"]:
        if prepared["own_pids"] >= 0:
            unshare_next()
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # Python reseeds its own generator at every fork
        prepared["next_prepared"] = True


def _uid_range() -> dict[str, int]:
    """The range of user ids for kernels: within the upper three quarters of the last range mapped here."""
    first, _, count = (int(word) for word in Path("/proc/self/uid_map").read_text().splitlines()[-1].split())
    return {"first_user": first + count // 4, "users": max(1, count // 2)}


def _reap(control: socket.socket, kernels: dict[int, int]) -> None:
    """Reports every death and kills what is left of a dead kernel's process group."""
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
            _reap_group(pid)
            report = {"op": "exit", "id": kernels.pop(pid), "status": os.waitstatus_to_exitcode(status)}
            control.send(json.dumps(report).encode())


def _reap_group(group: int) -> None:
    """Waits until the killed orphans of a group have ended, at most half a second.

    They are children of this process where no pid namespace has ended them already.
    """
    with suppress(ChildProcessError):
        for _ in range(500):
            if os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG) is None:
                time.sleep(0.001)
