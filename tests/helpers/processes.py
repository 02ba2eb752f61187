"""Functions run by processes that have met, forked from this one.

A fork has everything imported, so a world of four starts in a second; what a function returns comes back, what it
raises fails the test.
"""

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

import torch


def in_world(size: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function(*arguments)`` in each of ``size`` processes; returns what the first one's call does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = [
        context.Process(target=_process, args=(rank, size, port, there, function, arguments))
        for rank, (_, there) in enumerate(pipes)
    ]
    for process in processes:
        process.start()
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


def _process(rank: int, size: int, port: int, there: Any, function: Callable[..., Any], arguments: tuple) -> None:
    torch.set_num_threads(1)
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in places.items()})
    try:
        there.send((function(*arguments), None))
    except BaseException:
        there.send((None, f"process {rank}:\n{traceback.format_exc()}"))
    os._exit(0)  # nothing of the parent's is to be cleaned up here
