"""The process that plays games: ``python -m rollout.families.alfworld.host DESCRIPTOR``.

textworld is not safe to use from several threads, and a game takes seconds to load. One host process, started by
:mod:`rollout.families.alfworld.client`, imports textworld once. It forks one process for each game that is asked for;
this one loads the game and forks one process for each episode, in a few milliseconds. An episode's process ends when
the other end of its socket is closed, a game's process when the host closes its socket or ends, the host when its own
socket is closed: nothing is left after a killed worker.

Messages are JSON, one a packet. Of a new episode: ``{"text", "won"}`` or ``{"error"}``. Then for each command that is
received: ``{"text", "won"}``; a message that brings a socket makes a copy of the episode, which goes on at its other
end. A game file can run Python in these processes (textworld evaluates expressions of its grammar), as the user who
started them: play games from a source that you trust.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from collections import OrderedDict

from rollout.families.alfworld.game import Game

MAX_GAMES = 8
"""Loaded games that are kept, the least recently used goes first; one needs about 30 MiB of its own."""
MESSAGE = 2**20
CPU_S = 900
"""CPU time of one episode. A step takes milliseconds."""


def main() -> None:
    """Serves the socket with the number in the arguments until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker that started this process decides when it ends
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended children leave no zombies
    games: OrderedDict[bytes, socket.socket] = OrderedDict()
    while True:
        data, (episode,) = _receive(control)
        if data not in games:
            games[data] = _fork_game(data, [control, *games.values()], episode)
            if len(games) > MAX_GAMES:
                games.popitem(last=False)[1].close()
        games.move_to_end(data)
        socket.send_fds(games[data], [b"x"], [episode])
        os.close(episode)


def _receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """A message and the socket that comes with it. Ends the process when the other end is closed."""
    data, fds, _, _ = socket.recv_fds(control, MESSAGE, 1)
    if not data or not fds:
        os._exit(0)
    return data, list(fds)


def _fork_game(data: bytes, others: list[socket.socket], episode: int) -> socket.socket:
    """Starts the process of a game and returns the socket that it takes episodes from."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    os.close(episode)
    for other in others:
        other.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the planner may wait for a child
    game: Game | str
    try:
        game = Game(data)
    except BaseException as error:  # reported to every episode
        game = f"{type(error).__name__}: {error}"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        _, (episode,) = _receive(theirs)
        if not os.fork():
            theirs.close()
            _serve(game, socket.socket(fileno=episode))
        os.close(episode)


def _serve(game: Game | str, sock: socket.socket) -> None:
    """Plays one episode, then ends the process."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    try:
        if isinstance(game, str):
            sock.send(json.dumps({"error": game}).encode())
            os._exit(1)
        sock.send(json.dumps(game.first()).encode())
        while True:
            command, copies, _, _ = socket.recv_fds(sock, MESSAGE, 1)
            if copies:  # a second episode goes on from here
                if os.fork():
                    os.close(copies[0])
                else:
                    sock.close()
                    sock = socket.socket(fileno=copies[0])
            elif command:
                sock.send(json.dumps(game.play(command.decode())).encode())
            else:
                return
    finally:
        os._exit(0)


if __name__ == "__main__":
    main()
