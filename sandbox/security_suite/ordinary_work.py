"""Cases that are no attack: ordinary work that must still run in an isolated kernel."""

from __future__ import annotations

from sandbox.result import CellResult
from sandbox.security_suite.case import Case

_ORPHANS = """
import os, time
try:
    for i in range(100):
        pid = os.fork()
        if pid == 0:
            if os.fork() == 0: os._exit(0)
            os._exit(0)
        os.waitpid(pid, 0)
        time.sleep(0.002)
    print('done')
except OSError as e:
    print('stopped at', i, e)
"""
_POOL = """
import multiprocessing
with multiprocessing.get_context('fork').Pool(2) as pool:
    print('done', sum(pool.map(abs, [-20, -22])))
"""
_CHILD_PRINTS = """
import os
if os.fork() == 0:
    print('done', flush=True); os._exit(0)
os.wait()
print('also', flush=True)
"""


def _done(result: CellResult) -> bool:
    return "done" in result.stdout


def _drawn(result: CellResult) -> bool:
    return any("image/png" in output for output in result.outputs)


WORK = [
    Case(
        "many short-lived orphans", "ordinary work", _ORPHANS, None, ("ok",), 20.0, check_result=_done, promised=False
    ),
    Case("a pool of processes", "ordinary work", _POOL, "disk", ("ok",), 20.0, check_result=_done),
    Case(
        "printing in a forked child",
        "ordinary work",
        _CHILD_PRINTS,
        None,
        ("ok",),
        check_result=_done,
        kernels=("light",),
    ),
    Case(
        "a server of one's own",
        "ordinary work",
        "import socket\ns = socket.create_server(('127.0.0.1', 0))\n"
        "c = socket.create_connection(s.getsockname())\nprint('done')",
        "disk",
        ("ok",),
        check_result=_done,
    ),
    Case(
        "thirty figures",
        "ordinary work",
        "import matplotlib.pyplot as plt\nfor i in range(30):\n    plt.figure(figsize=(1, 1)); plt.plot([1, 2])\n"
        "plt.show()",
        None,
        ("ok", "output_limit"),
        60.0,
        check_result=_drawn,
    ),
    Case(
        "numbers after numbers",
        "ordinary work",
        "import numpy as np\nprint('done', int(np.arange(10).sum()))",
        None,
        ("ok",),
        20.0,
        check_result=_done,
    ),
]
