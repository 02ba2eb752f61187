"""Compatibility mode: stock ipykernel, forked and isolated like the light kernel.

Contract: adds what the light kernel leaves out (comms and widgets), except the debugger's protocol. Same sockets, same
tools. Costs more than the light kernel in every respect: about 11 threads, 13 MB, 4 ms per cell. Its output has no
budget in the kernel, so the host kills a kernel that floods.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import zmq
from ipykernel.control import ControlThread
from ipykernel.iostream import IOPubThread
from ipykernel.kernelapp import IPKernelApp
from ipykernel.shellchannel import ShellChannelThread

from sandbox.guest.commands import Scripts
from sandbox.guest.control import interrupt_group

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class SandboxIPKernelApp(IPKernelApp):
    """IPKernelApp on inherited descriptors, without command line, connection file, heartbeat and debugger."""

    fds: dict[int, int]

    def _try_bind_socket(self, s: Any, port: int) -> int:
        s.setsockopt(zmq.USE_FD, self.fds[port])
        s.bind(f"ipc://{self.ip}-{port}")
        return port

    def init_control(self, context: Any) -> None:
        self.control_socket = context.socket(zmq.ROUTER)
        self.control_socket.linger = 1000
        self.control_port = self._bind_socket(self.control_socket, self.control_port)
        self.debugpy_socket = context.socket(zmq.STREAM)
        self.debug_shell_socket = context.socket(zmq.DEALER)
        self.control_thread = ControlThread(daemon=True)
        self.shell_channel_thread = ShellChannelThread(context, daemon=True)

    def init_iopub(self, context: Any) -> None:
        self.iopub_socket = context.socket(zmq.XPUB)
        self.iopub_socket.linger = 1000
        self.iopub_port = self._bind_socket(self.iopub_socket, self.iopub_port)
        self.configure_tornado_logger()
        # pipe=True would open a TCP port on loopback for the output of child processes
        self.iopub_thread = IOPubThread(self.iopub_socket, pipe=False, session=self.session)
        self.iopub_thread.start()
        self.iopub_socket = self.iopub_thread.background_socket


def _system(command: str) -> None:
    """Runs ``!command`` without a terminal, because the sandbox has none."""
    shell: Any = SandboxIPKernelApp.instance().shell
    words = shell.var_expand(command, depth=1)
    done = subprocess.run(words, shell=True, capture_output=True, text=True, errors="replace", check=False)
    shell.user_ns["_exit_code"] = done.returncode
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)


def serve_ipykernel(connection: dict[str, Any], fds: list[int]) -> None:
    """Runs ipykernel until it is shut down."""
    app = SandboxIPKernelApp.instance()
    app.fds = dict(enumerate(fds, start=1))
    app.transport, app.ip = "ipc", connection["ip"]
    app.session.key = connection["key"].encode()
    for number, name in enumerate(CHANNELS, start=1):
        setattr(app, f"{name}_port", number)
    app.quiet = True
    app.log_level = logging.CRITICAL
    app.config.HistoryManager.enabled = False
    app.config.InteractiveShell.colors = "nocolor"
    app.init_sockets()
    app.log_connection_info()
    app.init_io()
    app.init_signal()
    app.init_kernel()
    app.init_shell()
    kernel: Any = app.kernel
    kernel._send_interrupt_children = interrupt_group
    shell: Any = app.shell
    shell.system = _system
    shell.register_magics(Scripts)
    sys.stdout.flush()
    app.start()
