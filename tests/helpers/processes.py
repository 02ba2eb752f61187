"""Processes of a test: a process group that runs a function, and the children that a test has started."""

import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any

import psutil

from codeact_train.distributed.fork_ranks import fork_ranks


def running_child(module: str) -> psutil.Process:
    """The child of this process that runs ``module``. Other children may end meanwhile."""
    children = psutil.Process().children()
    fields = {process.pid: process.info["cmdline"] for process in psutil.process_iter(["cmdline"])}
    (child,) = [child for child in children if module in (fields.get(child.pid) or [])]
    return child


def in_world(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function(*arguments)`` in each of ``size`` processes; returns the result of rank 0.

    An exception in any of them fails the test.
    """
    pipes = [multiprocessing.get_context("fork").Pipe(duplex=False) for _ in range(size)]
    processes = fork_ranks(size, _send_result, [there for _, there in pipes], function, arguments)
    try:
        answers = []
        for here, there in pipes:
            there.close()
            answers.append(here.recv() if here.poll(240) else (None, "no answer"))
        failures = [failure for _, failure in answers if failure]
        assert not failures, "\n".join(failures)
        return answers[0][0]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _send_result(rank: int, pipes: list[Any], function: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
    try:
        pipes[rank].send((function(*arguments), None))
    except BaseException:
        pipes[rank].send((None, f"process {rank}:\n{traceback.format_exc()}"))
    return 0
