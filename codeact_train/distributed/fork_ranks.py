"""Distributed processes forked from this one, with the environment that torchrun gives.

Contract: each process has ``RANK``, ``LOCAL_RANK``, ``WORLD_SIZE`` and the address of a free port of this machine, and
ends with the exit code its function returns, 1 when the function raises. All end when this process does. Everything
this process has imported is there already, so four processes start in a second. OpenMP must not have started more than
one thread before: its threads do not survive a fork. It does not wait for the processes and stops none of them.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from codeact_train.system.parent import end_with_parent


def fork_ranks(size: int, function: Callable[..., int], *arguments: Any) -> list[BaseProcess]:
    """Call ``function(rank, *arguments)`` in each of ``size`` new processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes: list[BaseProcess] = [
        context.Process(target=_run, args=(os.getpid(), rank, size, port, function, arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def _run(
    parent: int, rank: int, size: int, port: int, function: Callable[..., int], arguments: tuple[Any, ...]
) -> None:
    end_with_parent(parent)
    torch.set_num_threads(1)
    variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        code = function(rank, *arguments)
    except Exception:
        traceback.print_exc()
        code = 1
    os._exit(code)  # the exit handlers and open files are the parent's
