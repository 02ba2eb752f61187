"""The light kernel: one Python thread that answers Jupyter requests with an IPython shell.

Contract: ``execute_request`` is answered with the messages of the Jupyter protocol 5.3 (busy, streams, results, reply,
idle), for a short cell in one write. SIGINT ends a running cell with KeyboardInterrupt and does nothing between cells;
timers of a cell end with it, see :mod:`sandbox.guest.signals`.
The kernel is not a security boundary: code of a cell can change anything in this process, so the host trusts its
messages only as output of the cell.
"""

from __future__ import annotations

import signal
import socket
import sys
from _signal import getsignal  # signal's own makes enum members of handlers: slow where one is a function
from traceback import clear_frames
from types import FrameType
from typing import Any

from sandbox.guest import __version__
from sandbox.guest.connection import SocketTransport
from sandbox.guest.forking import Forking
from sandbox.guest.introspection import Introspection
from sandbox.guest.output import CELL, tag_threads
from sandbox.guest.shell import DISPLAYS, SandboxShell
from sandbox.guest.signals import CellHandlers, stop_timers
from sandbox.guest.streams import Streams
from sandbox.guest.traceback import describe
from sandbox.guest.wire import IOPUB, SHELL, pack


class LightKernel(Forking, Introspection):
    """Serves one connection until it closes or a shutdown request arrives."""

    def __init__(
        self,
        transport: SocketTransport,
        shell: SandboxShell,
        streams: Streams,
        keep: int,
        rich_bytes: int,
    ) -> None:
        super().__init__()
        self.transport, self.shell, self.streams = transport, shell, streams
        self.keep, self.rich_bytes = keep, rich_bytes
        self._cells = 0
        self._handlers = CellHandlers()
        shell.bind(transport, keep)

    def rehearse(self) -> None:
        """Runs two cells against a local socket, so that the pages a first cell would copy are copied in advance."""
        connection = self.transport.sock
        self.transport.sock, host = socket.socketpair()
        with self.transport.sock, host:
            for code in ("print(1 + 1)", "1 + 1"):
                header = {"msg_id": "rehearsal", "msg_type": "execute_request"}
                host.sendall(pack(SHELL, {"header": header, "content": {"code": code}}))
            host.shutdown(socket.SHUT_WR)
            self.serve()
        self.transport.sock = connection
        self.shell.reset_state()
        self._cells = 0

    def serve(self) -> None:
        """Answers requests, in order."""
        signal.signal(signal.SIGINT, self._on_sigint)
        while True:
            try:
                channel, message = self.transport.receive()
            except EOFError:
                return
            header = message["header"]
            name = header["msg_type"]
            answer = self.execute if name == "execute_request" else getattr(self, f"_on_{name}", None)
            if answer is None:
                continue
            self.transport.parent = header
            self.transport.send(IOPUB, "status", {"execution_state": "busy"})
            reply = answer(message["content"])
            if reply is None:  # this process is a fork that the request has created
                continue
            failed = name == "execute_request" and reply["status"] == "error"
            stop = failed and message["content"].get("stop_on_error", True)
            if stop:  # requests that arrive after the reply are run
                self.transport.hold_queued()
            self.transport.send(channel, name.replace("_request", "_reply"), reply, header)
            self.transport.send(IOPUB, "status", {"execution_state": "idle"}, header)
            self.transport.flush()
            if name == "shutdown_request":
                return
            if stop:
                self.transport.abort_queued()

    def execute(self, content: dict[str, Any]) -> dict[str, Any]:
        """Runs one cell and sends its output; returns the content of the reply."""
        silent = bool(content.get("silent", False))
        self._begin(bool(content.get("followed", False)))
        if not silent:
            self.transport.publish_input(content["code"], self.shell.execution_count)
        try:
            error = self._run(content["code"], silent, bool(content.get("store_history", True)) and not silent)
            self._leave()
        except BaseException as raised:  # by a signal handler of the cell, after it
            error = raised
            self._leave()
        self.streams.finish()
        self.streams.keep_children_apart(self._cells, self.own_forks())
        count = self.shell.execution_count - 1
        if error is None:
            expressions = content.get("user_expressions")
            values = self.shell.user_expressions(expressions) if expressions else {}
            return {"status": "ok", "execution_count": count, "payload": [], "user_expressions": values}
        name, value, text = describe(error, self.keep, (f"{self._folder}/", f"{self._home}/"))
        if isinstance(error, MemoryError):  # the memory may be held by variables of a function that has ended
            clear_frames(error.__traceback__)
        report = {"ename": name, "evalue": value, "traceback": text.split("\n")}
        self.transport.send(IOPUB, "error", report)
        return {"status": "error", "execution_count": count, **report}

    def _begin(self, followed: bool) -> None:
        self._cells += 1
        CELL.set(self._cells)
        tag_threads(self._cells - 1)
        self.streams.begin(self._cells, self.transport.parent, followed)
        self.shell.rich_left, self.shell.displays_left = self.rich_bytes, DISPLAYS
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        self._handlers.put_back()

    def _leave(self) -> None:
        stop_timers()
        if getsignal(signal.SIGINT) != self._on_sigint:
            signal.signal(signal.SIGINT, self._on_sigint)
        self._handlers.put_aside()

    def _run(self, code: str, silent: bool, store: bool) -> BaseException | None:
        """Runs the cell; returns the exception that ended it, if any."""
        error: BaseException | None
        shield = self.transport.shield
        shield.pending = False
        self.shell.reported_error = None
        try:
            shield.running = True
            result = self.shell.run_cell(code, store_history=store, silent=silent)
            shield.running = False
            error = result.error_before_exec or result.error_in_exec or self.shell.reported_error
        except BaseException as raised:  # an interrupt outside IPython's own handlers
            error = raised
        finally:
            shield.running = False
        return error

    def _on_sigint(self, signum: int, frame: FrameType | None) -> None:
        self.transport.shield.interrupt()

    def _on_kernel_info_request(self, content: dict[str, Any]) -> dict[str, Any]:
        return {
            "status": "ok",
            "protocol_version": "5.3",
            "implementation": "codeact-light",
            "implementation_version": __version__,
            "banner": "",
            "help_links": [],
            "language_info": {
                "name": "python",
                "version": sys.version.split()[0],
                "mimetype": "text/x-python",
                "file_extension": ".py",
                "pygments_lexer": "ipython3",
                "codemirror_mode": {"name": "ipython", "version": 3},
                "nbconvert_exporter": "python",
            },
        }

    def _on_shutdown_request(self, content: dict[str, Any]) -> dict[str, Any]:
        return {"status": "ok", "restart": bool(content.get("restart"))}

    def _on_is_complete_request(self, content: dict[str, Any]) -> dict[str, Any]:
        status, indent = self.shell.input_transformer_manager.check_complete(content["code"])
        return {"status": status, "indent": " " * (indent or 0)}
