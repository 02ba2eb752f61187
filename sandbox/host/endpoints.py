"""The five ZeroMQ endpoints of a kernel, opened by the host.

Contract: a private folder with five listening Unix sockets, named the way Jupyter's ``ipc`` transport names them. The
kernel inherits the listening descriptors (ZMQ_USE_FD), so it never opens, binds or sees a socket's path, and neither
the strictest seccomp filter nor a mount namespace gets in the way.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any

from sandbox.guest.wire import SCHEME
from sandbox.isolation.owned_folders import process_folder
from sandbox.isolation.spawn import explain_temp_errors

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")


class Endpoints:
    """Listening sockets, and the connection info a client needs."""

    def __init__(self, key: str, parent: str | None = None) -> None:
        """``parent``: the folder of the fork server whose kernel it is for; by default one of this process."""
        self.sockets: list[socket.socket] = []
        parent = process_folder("zmq") if parent is None else parent
        with explain_temp_errors():
            self.folder = tempfile.mkdtemp(prefix="zmq-", dir=parent)
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
        """Opens the sockets; again for a kernel that is restarted, so that its clients reconnect to the same paths."""
        self.close_sockets()
        Path(self.folder).mkdir(mode=0o700, exist_ok=True, parents=True)  # a kernel that failed to start has removed it
        self.sockets = [self._listen(number) for number in range(1, len(CHANNELS) + 1)]

    def address(self, channel: str) -> str:
        """The address a client connects to."""
        return f"ipc://{self.info['ip']}-{CHANNELS.index(channel) + 1}"

    def close_sockets(self) -> None:
        """Closes the host's copies, once the kernel has its own."""
        for sock in self.sockets:
            sock.close()

    def remove(self) -> None:
        """Closes the sockets and removes the folder."""
        self.close_sockets()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _listen(self, number: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        path = Path(f"{self.folder}/kernel-{number}")
        path.unlink(missing_ok=True)
        sock.bind(str(path))
        path.chmod(0o600)
        sock.listen(16)
        return sock
