"""Turns a fresh fork of the fork server into a kernel: limits, isolation, connection.

Contract: never returns. The first packet on the connection is ``ready`` (with descriptors: the workspace folder, the
files behind descriptors 1 and 2, and the listening socket of the egress proxy where the policy lists hosts) or
``failed`` with the reason; the host treats a kernel as isolated only after ``ready``. A kernel that is started for
later use runs rehearsal cells first. Everything that needs privileges happens before the first cell can arrive.
"""

from __future__ import annotations

import array
import json
import os
import socket
import sys
from _signal import SIG_IGN, SIGINT  # signal's own functions make enum members of handlers, which copies memory
from _signal import signal as set_handler
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from sandbox.guest import interpreter, tool_proxies
from sandbox.guest.connection import SocketTransport
from sandbox.guest.isolation.namespaces import listen_for_proxy
from sandbox.guest.isolation.tiers import enter_kernel, has_namespaces
from sandbox.guest.kernel import LightKernel
from sandbox.guest.shell import SandboxShell
from sandbox.guest.streams import capture, open_raw_files

MIB = 1 << 20


def run_kernel(
    request: dict[str, Any],
    fds: list[int],
    shell: SandboxShell | None,
    config: dict[str, Any],
    prepared: dict[str, Any],
) -> None:
    """Runs in the forked child until the kernel ends, then exits without exit handlers.

    ``fds``: the connection, the tool connection, the memory for output, five listening sockets if stock clients are to
    connect, and the cgroups' ``cgroup.procs`` files.
    """
    sock = socket.socket(fileno=fds[0])
    endpoints = fds[3:8] if request["connection"] else []
    code, started = 1, False
    try:
        for cgroup in fds[3 + len(endpoints) :]:
            os.write(cgroup, b"0")
        os.setsid()  # a process group reaches across pid namespaces: `kill 0` must not meet the fork server
        user = _own_user(prepared) if has_namespaces(config["tier"]) else None
        folder = f"{config['base']}/{request['id']}"
        enter_kernel(config, folder, request["limits"], user, prepared)
        opened = [os.open(".", os.O_PATH | os.O_DIRECTORY)]
        if config["reach"]["network"]:
            opened.append(listen_for_proxy())
        _close_all_but({0, 1, 2, *fds[:3], *endpoints, *opened})
        serve = _build(request, sock, socket.socket(fileno=fds[1]), fds[2], endpoints, shell)
        packet, sent_fds = json.dumps({"op": "ready"}).encode(), [opened[0], 1, 2, *opened[1:]]
        sock.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sent_fds))])
        for fd in opened:
            os.close(fd)
        started = True
        serve()
        code = 0
    except BaseException as error:
        if not started:  # after that the connection carries frames, and the process's end reports the failure
            with suppress(OSError):
                sock.send(json.dumps({"op": "failed", "error": f"{type(error).__name__}: {error}"}).encode())
    finally:
        os._exit(code)


def _build(
    request: dict[str, Any],
    sock: socket.socket,
    tools: socket.socket,
    memory: int,
    endpoints: list[int],
    shell: SandboxShell | None,
) -> Callable[[], None]:
    """Builds the kernel; returns the function that serves its requests."""
    limits = request["limits"]
    set_handler(SIGINT, SIG_IGN)
    sys.path.insert(0, "")  # the current folder: cells import the modules they write
    interpreter.enter_folder(shell)
    if shell is None:
        from sandbox.guest.ipykernel import serve_ipykernel

        open_raw_files()
        tool_proxies.TOOLS = tool_proxies.ToolClient(tools, limits["tool_message_kib"])
        return partial(serve_ipykernel, request["connection"], endpoints)
    transport = SocketTransport(sock, f"kernel-{request['id']}")
    if endpoints:
        from sandbox.guest import stdin
        from sandbox.guest.zmq import ZmqTransport

        transport = ZmqTransport(request["connection"], endpoints)
        stdin.install_input(transport)
    streams = capture(transport, memory, limits["output_chars"], limits["printed_mib"] * MIB)
    tool_proxies.TOOLS = tool_proxies.ToolClient(tools, limits["tool_message_kib"])
    kernel = LightKernel(transport, shell, streams, limits["output_chars"], limits["rich_output_kib"] * 1024)
    if request["rehearse"]:
        kernel.rehearse()
    return kernel.serve


def _own_user(prepared: dict[str, Any]) -> int | None:
    """A user id that no other process of this machine has, computed from this process's id in the host's namespace."""
    if os.geteuid() != 0:
        return None
    number = int(os.readlink("self", dir_fd=prepared["host_proc"]))
    return prepared["first_user"] + number % prepared["users"]


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) not in keep:
            with suppress(OSError):
                os.close(int(name))
