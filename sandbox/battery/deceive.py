"""Cases that attack the connection and the kernel itself: die, forge, flood, confuse."""

from __future__ import annotations

from sandbox.battery.case import ENDS, Case

# finds the kernel's own sockets among its descriptors
_LINE = """
import json, os, stat, struct
lines = []
for f in range(3, 256):
    try:
        if stat.S_ISSOCK(os.fstat(f).st_mode): lines.append(f)
    except OSError:
        pass
"""
GONE = ("died", "protocol_violation", "output_limit", "timeout_killed")

DEATHS = [
    Case(name, "deaths", code, None, ("died",), stopped_by="seen by the host within milliseconds")
    for name, code in {
        "os._exit": "import os; os._exit(3)",
        "abort": "import os; os.abort()",
        "segmentation fault": "import ctypes; ctypes.string_at(0)",
    }.items()
] + [
    Case("sys.exit", "deaths", "import sys; sys.exit(1)", None, ("error",), stopped_by="reported as an exception"),
    Case(
        "close every descriptor",
        "deaths",
        "import os; os.closerange(3, 256)",
        None,
        ("died", "error", "ok", "timeout_killed"),
        stopped_by="end of the connection",
    ),
]

PROTOCOL = [
    Case(name, "protocol", _LINE + code, None, allowed, stopped_by=by)
    for name, code, allowed, by in (
        (
            "garbage on the connection",
            "for fd in lines: os.write(fd, b'\\xff' * 64)\nwhile True: pass",
            GONE,
            "frame limit",
        ),
        (
            "a frame of 2 GB announced",
            "for fd in lines: os.write(fd, struct.pack('!IB', 2 << 30, 1))\nwhile True: pass",
            GONE,
            "frame limit",
        ),
        (
            "JSON that is 200,000 levels deep",
            "m = b'[' * 200000\nfor fd in lines: os.write(fd, struct.pack('!IB', len(m), 1) + m)\nwhile True: pass",
            GONE,
            "RecursionError caught",
        ),
        (
            "messages of the wrong shape",
            "m = json.dumps({{'parent_header': 7, 'header': [], 'content': 1}}).encode()\n"
            "for fd in lines: os.write(fd, struct.pack('!IB', len(m), 1) + m)\nwhile True: pass",
            GONE,
            "types checked",
        ),
        (
            "endless small messages",
            "m = json.dumps({{'parent_header': {{}}, 'header': {{}}, 'content': {{}}}}).encode()\n"
            "f = struct.pack('!IB', len(m), 1) + m\nwhile True:\n    for fd in lines: os.write(fd, f)",
            GONE,
            "bytes counted per cell",
        ),
        (
            "a replaced kernel",
            "import gc\nfor o in gc.get_objects():\n    if type(o).__name__ == 'LightKernel': type(o).execute = "
            "lambda s, c: {{'status': 'ok'}}",
            ENDS,
            "not prevented: verdicts must never come from the kernel",
        ),
        (
            "signal handlers replaced",
            "import signal\nfor n in (1, 2, 10, 12, 15): signal.signal(n, lambda *a: None)\nwhile True: pass",
            ("timeout_killed",),
            "SIGKILL",
        ),
    )
]

_ENDLESS_THREAD = "import threading\ndef f():\n    while True: pass\nthreading.Thread(target=f).start()"

PYTHON = [
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
        ("a finalizer that raises", "class D:\n    def __del__(self): raise SystemExit\nD(); 1", "ignored by Python"),
    )
]
