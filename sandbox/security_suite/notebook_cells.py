"""Cases that are no attack: what people's cells do in Jupyter and what must come out the same in an isolated kernel.

Interrupts that end commands, processes of all kinds, what a cell leaves behind in the process's signals, and open files
of a fork. Where a tier cannot give something, the error must say so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sandbox.result import CellResult
from sandbox.security_suite.case import Case

if TYPE_CHECKING:
    from sandbox.kernel import Kernel
    from sandbox.security_suite.fixtures import Fixtures

GROUP = "as in Jupyter"
LIMIT_S = 1.0
WORKER = (
    "open('worker.py', 'w').write('def double(x): return 2 * x\\ndef send(pipe, x): pipe.send(double(x))\\n')\n"
    "import importlib, multiprocessing as mp; importlib.invalidate_caches(); import worker\n"
)
SLEEPS = 'bash -c "exec -a {stray} sleep 1000"'
DEAF = "bash -c \"trap '' INT; bash -c 'exec -a {stray} sleep 1000'; echo after\""
"""A shell and its child, which both ignore interrupts."""
COMMANDS = {
    "a command at the time limit": f"!{SLEEPS}",
    "a command's output at the time limit": f"y = !{SLEEPS}",
    "os.system at the time limit": f"import os\nos.system({SLEEPS!r})",
    "subprocess at the time limit": "import subprocess\nsubprocess.run(['{stray}', '1000'], executable='/bin/sleep')",
    "a script at the time limit": "get_ipython().run_cell_magic('bash', '', 'exec -a {stray} sleep 1000')",
}
PYTHON = """import subprocess, sys
ask = 'import sys; print(sys.executable, sys.prefix, sys.flags)'
answers = {subprocess.check_output([name, '-c', ask], text=True) for name in ('python', sys.executable)}
print('done' if answers == {f'{sys.executable} {sys.prefix} {sys.flags}\\n'} else answers)"""
FOLDERS = """import os, tempfile
home = os.getcwd()
%mkdir sub
%cd -q sub
%cd -q -
with tempfile.NamedTemporaryFile() as file: file.write(b'1')
print('done' if os.getcwd() == home else os.getcwd())"""
ALARM = """import signal
def ring(*_): raise TimeoutError
signal.signal(signal.SIGALRM, ring); signal.setitimer(signal.ITIMER_REAL, 1.2)"""
RAISES_LATER = """import signal, subprocess
def ring(*_): raise TimeoutError
signal.signal(signal.SIGUSR1, ring)
child = subprocess.Popen(['sh', '-c', 'sleep 0.5; kill -USR1 $PPID'])"""
IGNORES = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
OPENS = """import socket
open('table', 'w').write('a\\nb\\n'); table = open('table'); table.readline()
log = open('log', 'w'); log.write('1'); pair = socket.socketpair()"""


def _one_process(method: str) -> str:
    return (
        f"{WORKER}context = mp.get_context({method!r})\nhere, there = context.Pipe(duplex=False)\n"
        "process = context.Process(target=worker.send, args=(there, 21)); process.start(); process.join()\n"
        "print('done', here.recv() if here.poll() else 'no answer')"
    )


def _pool(method: str) -> str:
    return (
        f"{WORKER}from concurrent.futures import ProcessPoolExecutor\ncontext = mp.get_context({method!r})\n"
        "with context.Pool(2) as pool, ProcessPoolExecutor(2, mp_context=context) as executor:\n"
        "    print('done', sum(pool.map(worker.double, [10, 11])), sum(executor.map(worker.double, [10, 11])))"
    )


def _joblib(backend: str) -> str:
    return (
        "try:\n    import joblib\nexcept ImportError:\n    print('done 42, joblib is not installed')\nelse:\n"
        f"    with joblib.parallel_config({backend!r}, n_jobs=2):\n"
        "        print('done', sum(joblib.Parallel()(joblib.delayed(lambda x: 2 * x)(x) for x in (10, 11))))"
    )


def _done(result: CellResult) -> bool:
    return result.stdout.strip() == "done" or "done 42" in result.stdout


def _done_or_explained(result: CellResult) -> bool:
    return _done(result) or "isolation tier T1" in (result.error_value or "")


async def _command_ended(kernel: Kernel, fixtures: Fixtures) -> str | None:
    if (await kernel.run("kept")).value != "7":
        return "the state is lost"
    return "the command runs on" if await fixtures.find_leftovers() else None


async def _next_cells_undisturbed(kernel: Kernel, fixtures: Fixtures) -> str | None:
    await asyncio.sleep(1)
    result = await kernel.run("import time\ntime.sleep(0.5)\nring is not None")
    return None if result.value == "True" else f"a later cell: {result.status} {result.error_name}"


async def _next_cell_interrupted(kernel: Kernel, fixtures: Fixtures) -> str | None:
    result = await kernel.run("while True: pass", timeout_s=0.5)
    return None if result.status == "timeout_interrupted" else f"a later cell: {result.status}"


async def _forks_files_are_its_own(kernel: Kernel, fixtures: Fixtures) -> str | None:
    async with await kernel.fork() as fork:
        await fork.run("log.write('2'); log.close(); table.readline()")
        read = await kernel.run("log.write('3'); log.close(); table.readline(), open('log').read()")
        shared = [line for line in fork.shared if "socket" not in line]
    if read.value != "('b\\n', '13')":
        return f"the kernel reads {read.value}"
    return None if shared == [] and fork.shared else f"the fork reports {fork.shared}"


def _cell(name: str, code: str, timeout_s: float = 20.0, **others: Any) -> Case:
    return Case(name, GROUP, code, None, others.pop("allowed", ("ok",)), timeout_s, **others)


METHODS = ("fork", "spawn", "forkserver")
EXPLAINED: dict[str, Any] = {"allowed": ("ok", "error"), "check_result": _done_or_explained, "harmless": True}
DONE: dict[str, Any] = {"check_result": _done, "harmless": True}
INTERRUPTED: dict[str, Any] = {
    "allowed": ("timeout_interrupted",),
    "check": _command_ended,
    "stopped_by": "SIGINT for the process group",
    "kernels": ("light",),  # stock ipykernel may take longer than the grace to format its first traceback
}
LATER: dict[str, Any] = {"check": _next_cells_undisturbed, "kernels": ("light",)}
CELLS = [
    *(_cell(name, f"kept = 7\n{code}", LIMIT_S, harmless=True, **INTERRUPTED) for name, code in COMMANDS.items()),
    _cell("a command that ignores interrupts", f"kept = 7\n!{DEAF}", LIMIT_S, **INTERRUPTED),
    *(_cell(f"a process by {method}", _one_process(method), **EXPLAINED) for method in METHODS),
    *(_cell(f"pools of processes by {method}", _pool(method), 30.0, **EXPLAINED) for method in METHODS),
    *(_cell(f"joblib with {backend}", _joblib(backend), 30.0, **DONE) for backend in ("loky", "threading")),
    _cell("the Python of a cell's programs", PYTHON, **DONE),
    _cell("temporary files, and back to a folder", FOLDERS, **DONE),
    _cell("an alarm left behind", ALARM, stopped_by="timers end with their cell", **LATER),
    _cell("a handler that raises between cells", RAISES_LATER, stopped_by="what it raises is dropped", **LATER),
    _cell("ignored interrupts left behind", IGNORES, check=_next_cell_interrupted, stopped_by="handler of each cell"),
    _cell("open files of a fork", OPENS, check=_forks_files_are_its_own, stopped_by="own files", kernels=("light",)),
]
