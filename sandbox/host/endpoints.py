"""The five ZeroMQ endpoints of a kernel, opened by the host.

Contract: a private folder with five listening Unix sockets, named the way Jupyter's ``ipc`` transport names them. The
kernel inherits the listening descriptors (ZMQ_USE_FD), so it never needs to open, bind or even see a socket's path: the
strictest seccomp filter and a mount namespace do not get in the way.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from sandbox.guest.wire import SCHEME
from sandbox.isolation.spawn import temporary_files

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Endpoints:
    """Listening sockets and what a client needs to connect to them."""

    def __init__(self, key: str, parent: str | None = None) -> None:
        self.sockets: list[socket.socket] = []
        with temporary_files():
            self.folder = tempfile.mkdtemp(prefix="codeact-zmq-", dir=parent)
            self.listen()
        self.info: dict[str, Any] = {
            "transport": "ipc",
            "ip": f"{self.folder}/kernel",
            "key": key,
            "signature_scheme": SCHEME,
            "kernel_name": "",
            **{f"{name}_port": number for number, name in enumerate(CHANNELS, start=1)},
        }

    def listen(self) -> None:
        """Listens, the second time for a successor: clients that stay come back to the same addresses."""
        self.handed_over()
        Path(self.folder).mkdir(mode=0o700, exist_ok=True)  # a kernel that could not be made has taken it along
        self.sockets = [self._listen(number) for number in range(1, len(CHANNELS) + 1)]

    def address(self, channel: str) -> str:
        """Where a client connects."""
        return f"ipc://{self.info['ip']}-{CHANNELS.index(channel) + 1}"

    def handed_over(self) -> None:
        """The kernel has its copies: close ours."""
        for sock in self.sockets:
            sock.close()

    def remove(self) -> None:
        """Removes the folder."""
        self.handed_over()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self, number: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        path = Path(f"{self.folder}/kernel-{number}")
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(16)
        return sock
