"""The baseline of the benchmarks: stock jupyter_client and ipykernel, used as their documentation shows."""

from __future__ import annotations

import queue
import subprocess
import time
from typing import Any

from jupyter_client.manager import KernelManager

TIMEOUT_S = 120
TRIES, WELCOME_TIMEOUT_S = 3, 30
"""Kernels that start at once may take each other's ports; one that sends nothing is restarted."""


class BaselineKernel:
    """One kernel of a stock ``KernelManager`` with its blocking client; one of ours if ``name`` is our kernel spec."""

    def __init__(self, name: str = "python3") -> None:
        for tries_left in reversed(range(TRIES)):
            self._manager = KernelManager(kernel_name=name)
            self._manager.start_kernel(stderr=subprocess.DEVNULL)
            self._client = self._manager.client()
            self._client.start_channels()
            try:
                self._client.get_iopub_msg(timeout=WELCOME_TIMEOUT_S)  # the welcome: iopub is connected
                break
            except queue.Empty:
                self.close()
                if not tries_left:
                    raise

    @property
    def pid(self) -> int:
        """The kernel's process id."""
        provisioner: Any = self._manager.provisioner
        return int(provisioner.pid)

    def run(self, code: str) -> None:
        """Runs a cell and waits for its reply and for idle."""
        sent = self._client.execute(code)
        while self._client.get_shell_msg(timeout=TIMEOUT_S)["parent_header"].get("msg_id") != sent:
            pass
        while True:
            message = self._client.get_iopub_msg(timeout=TIMEOUT_S)
            mine = message["parent_header"].get("msg_id") == sent
            if mine and message["content"].get("execution_state") == "idle":
                return

    def close(self) -> None:
        """Ends it."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


def first_reply_ms(name: str = "python3") -> float:
    """From ``start_kernel`` to the first ``execute_reply``."""
    started = time.perf_counter()
    kernel = BaselineKernel(name)
    kernel.run("1 + 1")
    took = (time.perf_counter() - started) * 1e3
    kernel.close()
    return took
