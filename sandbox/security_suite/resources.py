"""Cases that exhaust resources: time, memory, processes, disk, output."""

from __future__ import annotations

from typing import Any

from sandbox.security_suite.case import Case
from sandbox.security_suite.fixtures import Fixtures, resident_mib

_FORK = """
import os, time
n = 0
try:
    for i in range({}):
        if os.fork() == 0:
            {}
            os._exit(0)
        n += 1
except OSError as e:
    print('stopped at', n, e)
"""
KILLED = ("timeout_killed", "died", "out_of_memory")
STOPPED = ("timeout_interrupted", *KILLED)

TIME = [
    Case(name, "time", code, None, allowed, timeout_s=1.0, stopped_by=by, harmless=True)
    for name, code, allowed, by in (
        ("endless loop", "while True: pass", ("timeout_interrupted",), "SIGINT"),
        (
            "loop that catches everything",
            "import time\nwhile True:\n    try:\n        time.sleep(0.01)\n    except BaseException:\n        pass",
            STOPPED,
            "SIGINT repeated, then SIGKILL",
        ),
        ("huge power", "x = 10 ** 10 ** 8", STOPPED, "SIGINT"),
        ("regular expression", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", STOPPED, "SIGINT"),
        ("sleep in C", "import ctypes\nctypes.CDLL(None).sleep(60)", STOPPED, "SIGINT"),
        ("sleep in C with the GIL", "import ctypes\nctypes.PyDLL(None).sleep(60)", STOPPED, "SIGINT, SIGKILL"),
        (
            "SIGINT ignored and blocked",
            "import signal\nsignal.signal(2, signal.SIG_IGN)\nsignal.pthread_sigmask(0, [2, 15])\nwhile True: pass",
            ("timeout_killed",),
            "SIGKILL",
        ),
        ("sum of a long range in C", "sum(range(10 ** 12))", STOPPED, "SIGKILL: C code that never checks signals"),
        ("waiting for input", "input()", ("error",), "no input: an exception"),
        ("waiting for a password", "import getpass; getpass.getpass()", ("error",), "no input: an exception"),
        ("waiting for a pipe", "import os\nr, w = os.pipe()\nos.read(r, 1)", ("timeout_interrupted",), "SIGINT"),
    )
]

PRINTED_MIB, KEPT_MIB = 160, 40


async def _printed_bytes_are_not_kept(kernel: Any, fixtures: Fixtures) -> str | None:
    """Checks that printed text is not kept in memory; IPython 9 keeps all of it for an unused history."""
    pid = kernel.process.pid()
    before = resident_mib(pid)
    for _ in range(PRINTED_MIB // 8):
        await kernel.run("for i in range(8): print('y' * (1 << 20))")
    grown = resident_mib(pid) - before
    return f"grew by {grown:.0f} MiB while it printed {PRINTED_MIB}" if grown > KEPT_MIB else None


MEMORY = [
    Case(
        "printed text kept for ever",
        "memory",
        "print('y' * (8 << 20))",
        None,
        ("ok", "output_limit"),
        check=_printed_bytes_are_not_kept,
        stopped_by="no copy of the output in the kernel",
        kernels=("light",),
    ),
    Case("one large allocation", "memory", "x = bytearray(3 << 30)", None, ("error",), stopped_by="RLIMIT_DATA"),
    Case(
        "six children with 150 MB",
        "memory",
        _FORK.format(6, "x = bytearray(150 << 20); time.sleep(20)") + "time.sleep(20)",
        None,
        ("ok", *STOPPED),
        stopped_by="memory cgroup, watcher",
        unsafe=True,
    ),
    Case(
        "memory that limits do not count",
        "memory",
        "import mmap\nm = mmap.mmap(-1, 2 << 30)\nb = bytes(1 << 20)\nfor i in range(2048): m.write(b)\n"
        "print('BREACH')",
        None,
        ("error", *STOPPED),
        stopped_by="memory cgroup, seccomp",
        unsafe=True,
    ),
    Case(
        "memory files",
        "memory",
        "import os\nf = os.memfd_create('x')\nfor i in range(32): os.write(f, bytes(64 << 20))\nprint('BREACH')",
        None,
        ("error", *KILLED),
        stopped_by="memory cgroup, seccomp, file size limit",
        unsafe=True,
    ),
    Case("deep recursion", "memory", "def f(n): return f(n + 1)\nf(0)", None, ("error", *STOPPED), stopped_by="Python"),
    Case(
        "deep recursion, limit raised",
        "memory",
        "import sys\nsys.setrecursionlimit(10 ** 7)\ndef f(n): return f(n + 1)\nf(0)",
        None,
        ("error", *STOPPED),
        stopped_by="stack size, MemoryError",
    ),
]

PROCESSES = [
    Case(
        "fork bomb",
        "processes",
        _FORK.format(3000, "time.sleep(20)") + "else:\n    print('BREACH')",
        "processes",
        ("ok", *STOPPED),
        stopped_by="process limit",
        unsafe=True,
    ),
    Case(
        "thread bomb",
        "processes",
        "import threading, time\ntry:\n    for i in range(3000):\n"
        "        threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        "    print('BREACH')\nexcept RuntimeError as e:\n    print('stopped at', i, e)",
        "processes",
        ("ok", *STOPPED),
        stopped_by="process limit",
        unsafe=True,
    ),
    Case(
        "daemon that detaches",
        "processes",
        "import os\nif os.fork() == 0:\n    try: os.setsid()\n    except OSError: pass\n    if os.fork() == 0:\n"
        "        os.execvp('sleep', ['{stray}', '600'])\n    os._exit(0)\nos._exit(0)",
        None,
        ("died",),
        stopped_by="pid namespace, process group",
    ),
]

DISK = [
    Case(
        "fill the workspace",
        "disk",
        "try:\n    for i in range(40): open(f'f{i}', 'wb').write(bytes(32 << 20))\n    print('BREACH')\n"
        "except OSError as e:\n    print('stopped:', e)",
        "disk",
        ("ok", "died"),
        stopped_by="size of the memory file system",
    ),
    Case(
        "use up the inodes",
        "disk",
        "try:\n    for i in range(30000): open(f'g{i}', 'w').close()\n    print('BREACH')\nexcept OSError as e:\n"
        "    print('stopped:', e)",
        "disk",
        ("ok", "died"),
        stopped_by="inode limit of the memory file system",
    ),
    Case(
        "fill /dev/shm and /tmp",
        "disk",
        "import os\nfor folder in ('/dev/shm', '/tmp'):\n    try:\n"
        "        for i in range(20): open(f'{folder}/f{i}', 'wb').write(bytes(32 << 20))\n"
        "        print('BREACH')\n    except OSError as e:\n        print('stopped:', e)",
        "disk",
        ("ok", "died", "out_of_memory"),
        stopped_by="size of the memory file systems",
        unsafe=True,
    ),
]

OUTPUT = [
    Case(name, "output", code, None, allowed, timeout_s=6.0, stopped_by=by)
    for name, code, allowed, by in (
        ("print flood", "while True: print('y' * 10000)", ("output_limit",), "printed characters"),
        (
            "flood on descriptor 1",
            "import os\nwhile True: os.write(1, b'y' * 1000000)",
            ("error", "output_limit"),
            "file size",
        ),
        ("flood of a child process", "!yes", ("ok", "error", "output_limit", "timeout_interrupted"), "file size"),
        ("huge value", "'q' * 100_000_000", ("ok",), "value cut before it is sent"),
        ("huge exception", "raise ValueError('z' * 10_000_000)", ("error",), "exception cut before it is sent"),
        (
            "flood of rich outputs",
            "from IPython.display import HTML, display\nfor i in range(2000): display(HTML('h' * 100_000))",
            ("ok", "output_limit"),
            "rich output budget",
        ),
        ("repr that loops", "class R:\n    def __repr__(self):\n        while True: pass\nR()", STOPPED, "SIGINT"),
        (
            "huge repr",
            "class R:\n    def __repr__(self): return 'r' * 50_000_000\nR()",
            ("ok",),
            "cut before it is sent",
        ),
        ("repr that exits", "class R:\n    def __repr__(self): raise SystemExit\nR()", ("ok", "error"), "caught"),
        ("odd text", r"print('\ud800 \0 \x1b[2J\x1b]0;t\x07 \ufffe')", ("ok",), "escaped"),
        ("bytes that are no text", "import os\nn = os.write(1, bytes(range(256)))", ("ok",), "replacement characters"),
    )
]
