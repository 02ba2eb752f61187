"""``input()`` and ``getpass()`` in a kernel whose client may have a person in front of it.

Contract: a cell that asks waits for the answer and can be interrupted meanwhile. Where nobody can answer (the client
said so, a thread asks, or a process the cell has forked) asking is what it is at the end of a file: ``EOFError``.
"""

from __future__ import annotations

import builtins
import getpass
import os
import sys
import threading
from typing import Any

from sandbox.guest.zmq import ZmqPort

END_OF_FILE = "\x04"
"""What a client answers for Ctrl-D."""


def offer(port: ZmqPort) -> None:
    """Once in a kernel: both functions ask the client of this port."""
    owner, plain = os.getpid(), builtins.input

    def ask(prompt: object, secret: bool) -> str:
        here = threading.current_thread() is threading.main_thread() and os.getpid() == owner
        if not (here and port.may_ask):
            return plain(prompt)  # there is nothing to read
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        answer = port.ask(str(prompt), secret)
        if answer == END_OF_FILE:
            raise EOFError
        return answer

    def ask_openly(prompt: object = "", /) -> str:
        return ask(prompt, secret=False)

    def ask_secretly(prompt: str = "Password: ", stream: Any = None) -> str:
        return ask(prompt, secret=True)

    builtins.input, getpass.getpass = ask_openly, ask_secretly
