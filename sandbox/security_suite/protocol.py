"""Cases that attack the connection and the kernel itself: deaths, forged, flooding and malformed messages."""

from __future__ import annotations

import asyncio
from typing import Any

from sandbox.security_suite.case import ENDS, Case
from sandbox.security_suite.fixtures import Fixtures

# finds the kernel's own sockets among its descriptors
_SOCKETS = """
import json, os, stat, struct
fds = []
for f in range(3, 256):
    try:
        if stat.S_ISSOCK(os.fstat(f).st_mode): fds.append(f)
    except OSError:
        pass
"""
FLOOD_TIMEOUT_S = 10.0
ENDED = ("died", "protocol_violation", "output_limit", "timeout_killed")

DEATHS = [
    Case(name, "deaths", code, None, ("died",), stopped_by="seen by the host within milliseconds")
    for name, code in {
        "os._exit": "import os; os._exit(3)",
        "abort": "import os; os.abort()",
        "segmentation fault": "import ctypes; ctypes.string_at(0)",
    }.items()
] + [
    Case("sys.exit", "deaths", "import sys; sys.exit(1)", None, ("error",), stopped_by="reported as an exception"),
    Case("quit()", "deaths", "quit()", None, ("error", "ok"), stopped_by="reported as an exception"),
    Case(
        "close every descriptor",
        "deaths",
        "import os; os.closerange(3, 256)",
        None,
        ("died", "error", "ok", "timeout_killed"),
        stopped_by="end of the connection",
    ),
]

_TRANSPORT = """
import gc
transport = next(o for o in gc.get_objects() if type(o).__name__ in ('SocketTransport', 'ZmqTransport'))
"""


async def _cells_still_run(kernel: Any, fixtures: Fixtures) -> str | None:
    """Checks that the kernel that answers still runs cells."""
    value = (await kernel.run("6 * 7", timeout_s=5)).value
    return None if value == "42" else f"later cells answer {value!r} and do not run: never ask a kernel for a verdict"


_FLOOD = """
import os
if os.fork() == 0:
    try:
        while not os.path.exists('go'): pass
        while True:
            for fd in fds: os.write(fd, bytes(5) * 10_000)
    finally: os._exit(0)
"""


async def _is_ended_for_its_flood(kernel: Any, fixtures: Fixtures) -> str | None:
    """Starts the flood when no cell runs; the host must stop it although it does not read for a cell."""
    await kernel.put("go", b"")
    try:
        await asyncio.wait_for(asyncio.shield(kernel.process.exited), FLOOD_TIMEOUT_S)
    except TimeoutError:
        return "the host reads empty messages without end"
    return None


PROTOCOL = [
    Case(
        "a replaced kernel",
        "protocol",
        "import gc\nfor o in gc.get_objects():\n    if type(o).__name__ == 'LightKernel': type(o).execute = "
        "lambda s, c: {{'status': 'ok'}}",
        check=_cells_still_run,
        promised=False,
        stopped_by="nothing to replace under this name",
    ),
    Case(
        "a forged reply, then an endless loop",
        "protocol",
        _TRANSPORT + "transport.send(0, 'execute_reply', {{'status': 'ok'}})\n"
        "transport.send(1, 'status', {{'execution_state': 'idle'}}); transport.flush()\nwhile True: pass",
        None,
        ENDS,
        stopped_by="the next cell's own time limit",
    ),
    Case(
        "a message of 300 MB",
        "protocol",
        _SOCKETS + "for fd in fds:\n    os.write(fd, struct.pack('!IB', 300 << 20, 1))\n"
        "    for i in range(300): os.write(fd, bytes(1 << 20))\nwhile True: pass",
        None,
        ENDED,
        timeout_s=2.0,
        stopped_by="frame limit",
        kernels=("light",),
    ),
    Case(
        "empty messages without end between two cells",
        "protocol",
        _SOCKETS + _FLOOD,
        None,
        ("ok",),
        check=_is_ended_for_its_flood,
        stopped_by="bytes counted between cells",
        kernels=("light",),
    ),
    *(
        Case(name, "protocol", _SOCKETS + code, None, allowed, timeout_s=2.0, stopped_by=by)
        for name, code, allowed, by in (
            (
                "garbage on the connection",
                "for fd in fds: os.write(fd, b'\\xff' * 64)\nwhile True: pass",
                ENDED,
                "frame limit",
            ),
            (
                "a frame of 2 GB announced",
                "for fd in fds: os.write(fd, struct.pack('!IB', 2 << 30, 1))\nwhile True: pass",
                ENDED,
                "frame limit",
            ),
            (
                "JSON that is 200,000 levels deep",
                "m = b'[' * 200000\nfor fd in fds: os.write(fd, struct.pack('!IB', len(m), 1) + m)\nwhile True: pass",
                ENDED,
                "RecursionError caught",
            ),
            (
                "messages of the wrong shape",
                "m = json.dumps({{'parent_header': 7, 'header': [], 'content': 1}}).encode()\n"
                "for fd in fds: os.write(fd, struct.pack('!IB', len(m), 1) + m)\nwhile True: pass",
                ENDED,
                "types checked",
            ),
            (
                "endless small messages",
                "m = json.dumps({{'parent_header': {{}}, 'header': {{}}, 'content': {{}}}}).encode()\n"
                "f = struct.pack('!IB', len(m), 1) + m\nwhile True:\n    for fd in fds: os.write(fd, f)",
                ENDED,
                "bytes counted per cell",
            ),
            (
                "signal handlers replaced",
                "import signal\nfor n in (1, 2, 10, 12, 15): signal.signal(n, lambda *a: None)\nwhile True: pass",
                ("timeout_killed",),
                "SIGKILL",
            ),
            (
                "the connection closed",
                "for fd in fds: os.close(fd)",
                (*ENDED, "error", "ok"),
                "end of the connection",
            ),
        )
    ),
]

_ENDLESS_THREAD = "import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f).start()"

_LATE_THREAD = (
    "import threading\ngo = threading.Event()\ndef f():\n    go.wait(); print('BREACH')\n"
    "t = threading.Thread(target=f); t.start()"
)
_LATE_TASK = (
    "import asyncio\nasync def f():\n    await asyncio.sleep(0.05); print('BREACH')\n"
    "task = asyncio.ensure_future(f()); await asyncio.sleep(0)"
)

PYTHON = [
    Case(
        "late print of a thread",
        "python",
        _LATE_THREAD,
        None,
        ("ok",),
        next_code="go.set(); t.join(); print('mine')",
        stopped_by="text belongs to the cell that started the thread",
        kernels=("light",),
    ),
    Case(
        "late print of a task",
        "python",
        _LATE_TASK,
        None,
        ("ok",),
        next_code="import asyncio\nawait asyncio.sleep(0.2); print('mine')",
        stopped_by="text belongs to the cell that started the task",
    ),
    *(
        Case(name, "python", code, None, ENDS, stopped_by=by)
        for name, code, by in (
            (
                "builtins removed",
                "import builtins\nfor n in list(vars(builtins)): delattr(builtins, n)",
                "harms this kernel only",
            ),
            ("stdout closed", "import sys, os\nsys.stdout.close(); os.close(1)", "harms this kernel only"),
            ("modules removed", "import sys\nsys.modules.clear()", "harms this kernel only"),
            ("a thread that never ends", _ENDLESS_THREAD, "ends with the kernel"),
            ("exit handlers", "import atexit, time\natexit.register(time.sleep, 600)", "ends with the kernel"),
            (
                "a finalizer that raises",
                "class D:\n    def __del__(self): raise SystemExit\nD(); 1",
                "ignored by Python",
            ),
        )
    ),
]
