"""Processes in which graders run what may hang or eat memory, such as symbolic algebra.

Contract: :meth:`GraderProcesses.call` returns what a function returns, or raises :class:`Ended` with the reason in a
sentence when its process was ended at a limit. Processes are started when they are needed and reused; a call costs
about a tenth of a millisecond beside its work. Calls of several threads wait for a free process. A process ends with
this one, also when this one is killed (its standard input closes).
"""

from __future__ import annotations

import atexit
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_GRACE_S = 5.0


class GraderLimits(BaseModel):
    """What one call may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu_s: float = Field(2.0, gt=0)
    """Processor time; a busy machine does not shorten it."""
    wall_s: float = Field(30.0, gt=0)
    """Time, for a call that sleeps."""
    memory_mib: int = Field(64, ge=16)
    """Memory on top of that of the imported modules."""


class Ended(Exception):
    """No result. ``fault`` is ``task`` when the call used up its limits, ``infra`` when its process was lost."""

    def __init__(self, fault: Literal["infra", "task"], reason: str) -> None:
        super().__init__(reason)
        self.fault: Literal["infra", "task"] = fault


class GraderProcesses:
    """Up to ``size`` processes that have imported some modules."""

    def __init__(self, modules: Sequence[str], size: int = 1, limits: GraderLimits | None = None) -> None:
        self._modules, self._limits = tuple(modules), limits or GraderLimits()
        self._free: queue.LifoQueue[_Process | None] = queue.LifoQueue()
        for _ in range(size):
            self._free.put(None)
        self._all: set[_Process] = set()
        self._owner = os.getpid()
        atexit.register(self.close)

    def call(self, function: str, *arguments: Any) -> Any:
        """``module:function`` called in a process; arguments and result are JSON.

        Raises:
            Ended: there is no result.
        """
        process = self._free.get()
        try:
            if process is None or not process.alive:
                if process is not None:
                    self._all.discard(process)
                    process.end()
                process = self._start()
            answer = process.ask({"function": function, "arguments": arguments})
        finally:
            self._free.put(process)
        if "ended" in answer:
            raise Ended("task" if str(answer["ended"]).startswith("it ") else "infra", str(answer["ended"]))
        if "error" in answer:
            raise Ended("task", str(answer["error"]))
        return answer["result"]

    def _start(self) -> _Process:
        try:
            process = _Process(self._modules, self._limits)
        except OSError as fault:
            raise Ended("infra", f"a grader's process cannot be started: {fault}") from None
        self._all.add(process)
        return process

    def pids(self) -> list[int]:
        """Process ids of the running processes, for measurements."""
        return [process.pid for process in self._all if process.alive]

    def close(self) -> None:
        """Ends the processes; a later call starts others."""
        if os.getpid() != self._owner:  # a fork of this process
            return
        for process in list(self._all):
            process.end()
        self._all.clear()


class _Process:
    """One running :mod:`rollout.graders.worker`."""

    def __init__(self, modules: Sequence[str], limits: GraderLimits) -> None:
        self._wall_s = limits.wall_s + _GRACE_S
        command = [sys.executable, "-m", "rollout.graders.worker", limits.model_dump_json(), *modules]
        paths = [path for path in sys.path if path]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        self._started = False

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """The answer to one job."""
        assert self._child.stdin is not None and self._child.stdout is not None
        try:
            self._child.stdin.write(json.dumps(job).encode() + b"\n")
            self._child.stdin.flush()
        except OSError as fault:
            self.end()
            raise Ended("infra", f"the grader's process does not take a job: {fault}") from None
        wait_s = self._wall_s if self._started else self._wall_s + 60.0  # the first answer comes after the imports
        line = self._line(self._child.stdout.fileno(), time.monotonic() + wait_s)
        if line is None:
            self.end()
            raise Ended("infra", "the grader's process does not answer")
        self._started = True
        answer: dict[str, Any] = json.loads(line)
        return answer

    @staticmethod
    def _line(stream: int, until: float) -> bytes | None:
        """One line; None when it does not come in time or the process has ended."""
        parts = b""
        while (left := until - time.monotonic()) > 0:
            if select.select([stream], [], [], left)[0]:
                part = os.read(stream, 1 << 16)
                parts += part
                if not part or parts.endswith(b"\n"):
                    return parts or None
        return None

    def end(self) -> None:
        """Kills it with its child."""
        with suppress(OSError):
            os.killpg(self._child.pid, signal.SIGKILL)
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._child.wait()


_ALGEBRA: list[GraderProcesses] = []
_LOCK = threading.Lock()


def algebra() -> GraderProcesses:
    """The processes of the mathematical graders of this process, one by default (``CODEACT_GRADER_PROCESSES``)."""
    with _LOCK:
        if not _ALGEBRA or _ALGEBRA[0]._owner != os.getpid():
            size = int(os.environ.get("CODEACT_GRADER_PROCESSES", "1"))
            _ALGEBRA[:] = [GraderProcesses(["rollout.graders.algebra"], size)]
        return _ALGEBRA[0]
