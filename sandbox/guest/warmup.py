"""Runs a few cells in the fork server, so that first-use costs are not paid by every kernel.

Contract: afterwards IPython's lazy imports, compiled patterns and caches are in the memory kernels share, and the shell
is in its initial state: no variables, no history, cell 1 next. No cell here may open a descriptor (an event loop does),
because kernels close all they inherit. Saves 10 ms of every kernel's first cell.
"""

from __future__ import annotations

import signal
import sys
import tempfile

from sandbox.guest.connection import SocketTransport
from sandbox.guest.kernel import LightKernel
from sandbox.guest.shell import SandboxShell
from sandbox.guest.streams import Streams

CELLS = (
    "1 + 1",
    "x = {'warm': [1, 2.5, 'text']}\nprint(x)\nx",
    "def f(n):\n    return [i / n for i in range(3)]\nf(0)",
    "x = = 1",
    "%time y = sum(range(10))",
    "import sys\nif 'pandas' in sys.modules:\n    print(sys.modules['pandas'].DataFrame({'a': [1], 'b': ['x']}))",
)


def warm_up(shell: SandboxShell) -> None:
    """Runs the cells and restores the initial state."""
    out, err = sys.stdout, sys.stderr
    with tempfile.TemporaryFile(buffering=0) as raw:
        transport = SocketTransport(None, "warm")
        streams = Streams(transport, -1, 1000, 1 << 20, (raw.fileno(), raw.fileno()))
        kernel = LightKernel(transport, shell, streams, 1000, 1 << 20)
        for code in CELLS:
            transport.parent = {"msg_id": "warm"}
            kernel.execute({"code": code})
            transport.drop()
    sys.stdout, sys.stderr = out, err
    signal.signal(signal.SIGINT, signal.default_int_handler)
    shell.reset_state()
