"""The program of a grader process: runs jobs one after another in a child that the kernel of the system ends.

Contract: lines of JSON arrive on standard input, ``{"function": "module:name", "arguments": [...]}``. Each is answered
by one line on standard output: ``{"result": ...}``, ``{"error": "..."}``, or ``{"ended": "..."}`` when the child died.
The parent has imported the modules and runs no job, so a dead child is replaced by a fork within milliseconds. Limits
are the system's and need no cooperation of the code: timers whose signals end the process (processor time, wall time)
and RLIMIT_AS, counted from the memory at the fork. End of input ends both processes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

MOST_ANSWER_CHARS = 4_000
JOBS_OF_A_CHILD = 1_000
"""Jobs after which a child is replaced, so that caches do not grow for ever."""
_DONE, _REPLACE, _NO_MEMORY = 0, 17, 18


def main() -> None:
    """``argv``: the limits as JSON, then the modules to import."""
    limits = json.loads(sys.argv[1])
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    for name in sys.argv[2:]:
        warm_up = getattr(import_module(name), "warm_up", None)
        if warm_up is not None:
            warm_up()
    while True:
        child = os.fork()
        if not child:
            try:
                _serve(answers, limits)
            except BaseException:  # out of memory, also where an error of that was being handled
                os._exit(_NO_MEMORY)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == _DONE:
            return
        if code != _REPLACE:
            _write(answers, {"ended": _reason(code, limits)})


def _serve(answers: int, limits: dict[str, float]) -> None:
    """The child: answers jobs until the end of input or its last job."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + (int(limits["memory_mib"]) << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _ in range(JOBS_OF_A_CHILD):
        line = _read_line()
        if not line:
            os._exit(_DONE)
        signal.setitimer(signal.ITIMER_PROF, limits["cpu_s"])
        signal.setitimer(signal.ITIMER_REAL, limits["wall_s"])
        answer = _answer(line)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, answer)
    os._exit(_REPLACE)


def _answer(line: bytes) -> dict[str, Any]:
    job = json.loads(line)
    module, _, name = job["function"].partition(":")
    try:
        return {"result": getattr(import_module(module), name)(*job["arguments"])}
    except BaseException as fault:  # a job must never end this loop; RecursionError and MemoryError are usual
        return {"error": f"{type(fault).__name__}: {str(fault)[:500]}".rstrip(": ")}


def _read_line() -> bytes:
    """One line, without reading ahead: the next belongs to the next child, if this one dies."""
    parts = []
    while True:
        part = os.read(0, 1 << 16)
        parts.append(part)
        if not part or part.endswith(b"\n"):
            return b"".join(parts)


def _write(answers: int, answer: dict[str, Any]) -> None:
    """One write, which a death cannot cut: an answer is shorter than PIPE_BUF."""
    line = json.dumps(answer)
    os.write(
        answers, (line if len(line) < MOST_ANSWER_CHARS else '{"error": "the answer is too long"}').encode() + b"\n"
    )


def _reason(code: int, limits: dict[str, float]) -> str:
    if code == -signal.SIGPROF:
        return f"it needs more than {limits['cpu_s']:g} s of processor time"
    if code == -signal.SIGALRM:
        return f"it takes more than {limits['wall_s']:g} s"
    if code in (-signal.SIGABRT, -signal.SIGSEGV, _NO_MEMORY):
        return f"it needs more than {limits['memory_mib']:g} MiB of memory or of the stack"
    return f"the grader's process ended by signal {-code}" if code < 0 else f"the grader's process ended with {code}"


if __name__ == "__main__":
    main()
