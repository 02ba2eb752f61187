"""Cases about what a cell prints: text before a death, late text, terminal sequences. None is an attack."""

from __future__ import annotations

from sandbox.result import CellResult
from sandbox.security_suite.case import Case

_PRINTS = "import os, sys\nprint('first')\nprint('error', file=sys.stderr)\nos.write(1, b'raw\\n')\n"
_DEAF = "import signal; signal.signal(2, lambda *a: None)\nwhile True: pass"
_BAR = """
import sys
for i in range(2001): sys.stderr.write(f'\\r{{i:5d}}/2000 |' + '#' * (i // 50)); sys.stderr.flush()
"""
_SEQUENCES = r"""
import sys
odd = '\x1b[31mred\x1b[0m \x9b1m\x1b]0;title\x07 \x00\x07\x7f\x85'
print(odd); print(odd, file=sys.stderr)
display({{'text/plain': odd, 'text/html': odd}}, raw=True)
raise ValueError(odd)
"""
_CONTROLS = {*map(chr, range(9)), *map(chr, range(11, 32)), *map(chr, range(127, 160))}
_LATE = """
import threading
go = threading.Event()
def late(): go.wait(); print('late')
t = threading.Thread(target=late); t.start()
"""


def _all_there(result: CellResult) -> bool:
    return (result.stdout, result.stderr, result.missing_chars) == ("first\nraw\n", "error\n", 0)


def _last_frame(result: CellResult) -> bool:
    return result.stderr == f" 2000/2000 |{'#' * 40}"


def _plain(result: CellResult) -> bool:
    return "red" in result.stdout and not _CONTROLS & set("".join(_texts(result)))


def _texts(result: CellResult) -> list[str]:
    shown = [result.stdout, result.stderr, result.traceback, str(result.error_value), str(result.error_name)]
    return shown + [str(text) for bundle in result.outputs for text in bundle.values()]


PRINTED = [
    *(
        Case(
            f"text before {name}",
            "printed",
            _PRINTS + code,
            None,
            (status,),
            timeout_s=2.0,
            check_result=_all_there,
            stopped_by="memory shared with the host",
            kernels=("light",),
        )
        for name, code, status in (
            ("os._exit", "os._exit(3)", "died"),
            ("a segmentation fault", "import ctypes; ctypes.string_at(0)", "died"),
            ("SIGKILL at the time limit", _DEAF, "timeout_killed"),
        )
    ),
    Case(
        "the last frame of a progress bar",
        "printed",
        _BAR,
        None,
        ("ok",),
        check_result=_last_frame,
        stopped_by="lines laid out as in a terminal",
        kernels=("light",),
    ),
    Case(
        "escape sequences and control characters",
        "printed",
        _SEQUENCES,
        None,
        ("error",),
        check_result=_plain,
        stopped_by="text of results is plain",
    ),
    Case(
        "text of a thread after its cell",
        "printed",
        _LATE,
        None,
        ("ok",),
        next_code="go.set(); t.join(); print('mine')",
        check_next=lambda result: result.stdout == "mine\n" and [late.text for late in result.late] == ["late\n"],
        stopped_by="late output has a field of its own",
        kernels=("light",),
    ),
]
