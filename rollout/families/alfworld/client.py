"""Games in progress, each in a process of its own (:mod:`rollout.families.alfworld.host`).

Contract: :func:`start_game` returns at once; the game loads in the meantime and :meth:`RunningGame.ready` waits for
it. The host process is started with the first game of a process, and ends with it, however that ends. Safe to use from
several threads. Cost: 2 s for the host, about 3 s for the first episode of a game, then some milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

from rollout.environment import EnvironmentFault

LOAD_S = 300.0
"""Longest wait for a game that loads, many at once on few cores included."""
REPLY_S = 60.0
_MESSAGE = 2**20


class _Host:
    """The host of this process. A forked child starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._owner = 0
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, data: bytes) -> socket.socket:
        """A socket to a new episode of a game."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, self._lock:
            try:
                socket.send_fds(self._running(), [data], [theirs.fileno()])
            except OSError:  # the host has been killed
                self._control = None
                socket.send_fds(self._running(), [data], [theirs.fileno()])
        return ours

    def _running(self) -> socket.socket:
        ended = self._process is None or self._owner != os.getpid() or self._process.poll() is not None
        if self._control is None or ended:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._owner = os.getpid()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__.replace("client", "host"), str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the worker
                )
        return self._control


_HOST = _Host()


class RunningGame:
    """One episode of a game."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._sock, self._name = sock, name
        self._lock = threading.Lock()
        self.won = False
        """Whether the goal has been reached at any time of the episode."""
        self.fault: EnvironmentFault | None = None
        """Why the game cannot go on."""

    async def ready(self) -> str:
        """The first text, when the game is loaded.

        Raises:
            EnvironmentFault: the game cannot be loaded.
        """
        self._sock.setblocking(False)
        try:
            reply = self._read(
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, _MESSAGE), LOAD_S)
            )
        except (TimeoutError, OSError) as error:
            raise EnvironmentFault("infra", f"{self._name} was not loaded in {LOAD_S:g} s: {error!r}") from None
        self._sock.settimeout(REPLY_S)
        return str(reply["text"])

    def play(self, command: str) -> str:
        """The reply to a command.

        Raises:
            EnvironmentFault: the game does not answer.
        """
        with self._lock:
            if self.fault is not None:
                raise self.fault
            try:
                self._sock.send(command.encode())
                reply = self._read(self._sock.recv(_MESSAGE))
            except (TimeoutError, OSError) as error:
                self.fault = EnvironmentFault("infra", f"{self._name} does not answer: {error!r}")
                raise self.fault from None
            except EnvironmentFault as fault:
                self.fault = fault
                raise
            self.won = self.won or reply["won"]
            return str(reply["text"])

    def fork(self) -> RunningGame:
        """A second game in the present state of this one, ready to be played.

        Raises:
            EnvironmentFault: the game does not answer.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(REPLY_S)
        with theirs, self._lock:
            try:
                socket.send_fds(self._sock, [b"fork"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                self.fault = EnvironmentFault("infra", f"{self._name} does not answer: {error!r}")
                raise self.fault from None
        copy = RunningGame(ours, self._name)
        copy.won = self.won
        return copy

    def close(self) -> None:
        """Ends the game's process."""
        with suppress(OSError):  # wakes a thread that waits for a reply
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _read(self, data: bytes) -> dict[str, Any]:
        reply: dict[str, Any] = json.loads(data) if data else {"error": "its process has ended"}
        if "error" in reply:
            raise EnvironmentFault("task" if data else "infra", f"{self._name}: {reply['error']}")
        return reply


def start_game(name: str, data: bytes) -> RunningGame:
    """Starts an episode of a game, and returns while it loads.

    Args:
        name: for messages.
        data: the game file, compressed by zlib.
    """
    return RunningGame(_HOST.open(data), name)
