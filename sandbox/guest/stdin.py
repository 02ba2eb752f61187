"""``input()`` and ``getpass()`` in a kernel whose client may have a person in front of it.

Contract: a cell that asks waits for the answer and can be interrupted while it waits. If the client does not allow
stdin, or a thread or a forked process of the cell asks, the call raises ``EOFError``.
"""

from __future__ import annotations

import builtins
import getpass
import os
import sys
import threading
from typing import Any

from sandbox.guest.zmq import ZmqTransport

END_OF_FILE = "\x04"
"""What a client answers for Ctrl-D."""


def install_input(transport: ZmqTransport) -> None:
    """Makes ``input`` and ``getpass`` ask the client of this transport; called once in a kernel."""
    owner, plain_input = os.getpid(), builtins.input

    def ask(prompt: object, secret: bool) -> str:
        on_main_thread = threading.current_thread() is threading.main_thread() and os.getpid() == owner
        if not (on_main_thread and transport.allow_stdin):
            return plain_input(prompt)  # standard input is empty
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        answer = transport.request_input(str(prompt), secret)
        if answer == END_OF_FILE:
            raise EOFError
        return answer

    def input_(prompt: object = "", /) -> str:
        return ask(prompt, secret=False)

    def getpass_(prompt: str = "Password: ", stream: Any = None) -> str:
        return ask(prompt, secret=True)

    builtins.input, getpass.getpass = input_, getpass_
