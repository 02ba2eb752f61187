"""The Java process with the simulator, and calls of it by py4j.

Contract: :class:`Machine` starts Java, which listens on a port of this machine for those who have a secret that only
this process has, so no cell can talk to it. Calls take turns. Java ends when this process does, however that ends: it
reads a pipe of this process and exits when that is closed. A process that ends, hangs or has no memory left is killed,
and from then on every call is an ``EnvironmentFault`` of the kind ``infra``. Each command is sent once.

Imports py4j; :func:`rollout.families.scienceworld.installed.installed` says whether it is here.
Cost: 1.5 s and 450 MiB for Java.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from py4j.java_gateway import GatewayClient, GatewayParameters, JavaGateway, find_jar_path
from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError

from rollout.environment import EnvironmentFault
from rollout.families.scienceworld.installed import Installed

START_S = 120.0
"""Longest wait for Java to start."""
REPLY_S = 100.0
"""Longest wait for a reply of the simulator, shorter than the time limit of a cell."""
JAVA_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+UnlockExperimentalVMOptions",
    "-XX:hashCode=2",
)
"""``hashCode=2`` fixes the order of things in a room, which otherwise differs between runs."""
Value = TypeVar("Value")
_GREETING = re.compile(rb"^(\d+)\r?\n(\S+)\r?\n", re.MULTILINE)
"""The port and the secret, the first lines that py4j prints. Java may print a line of its own before."""


class SimulatorError(ValueError):
    """The simulator raised an exception, and goes on."""


class _Client(GatewayClient):
    """Sends each command once. That of py4j sends it again when there is no reply, and logs a traceback."""

    def send_command(self, command: str, retry: bool = True, binary: bool = False) -> Any:
        connection = self._get_connection()
        try:
            reply = connection.send_command(command)
        except Py4JNetworkError:
            connection.close(True)
            raise
        self._give_back_connection(connection)
        return reply


class _Gateway(JavaGateway):
    def _create_gateway_client(self) -> _Client:
        return _Client(gateway_parameters=self.gateway_parameters)


class Machine:
    """A Java process with the simulator."""

    def __init__(self, place: Installed) -> None:
        """Starts it. Raises EnvironmentFault when it does not start."""
        self._lock, self._fault = threading.Lock(), ""
        jars = os.pathsep.join([find_jar_path(), str(place.simulator)])
        server = ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
        try:
            self.process = subprocess.Popen(
                [place.java, *JAVA_OPTIONS, "-classpath", jars, *server],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=place.simulator.parent,  # the simulator reads a table there, and writes it where there is none
                start_new_session=True,  # Ctrl-C is for this process
            )
        except OSError as error:
            raise EnvironmentFault("infra", f"Java does not start: {error}") from None
        assert self.process.stdout is not None
        try:
            port, secret = _greeting(self.process.stdout)
        except (ValueError, TimeoutError) as error:
            self.end(str(error))
            self.process.stdout.close()
            raise EnvironmentFault("infra", f"Java does not start: {error}") from None
        parameters = GatewayParameters(
            address="127.0.0.1",
            port=port,
            auth_token=secret,
            read_timeout=REPLY_S,
            enable_memory_management=False,  # which would call Java whenever Python frees an object
        )
        self._gateway: Any = _Gateway(gateway_parameters=parameters)
        threading.Thread(target=_drain, args=(self.process.stdout,), name="scienceworld", daemon=True).start()

    @property
    def runs(self) -> bool:
        """Whether it takes calls."""
        return not self._fault and self.process.poll() is None

    def simulator(self) -> Any:
        """A new simulator, without a world. Raises EnvironmentFault."""
        try:
            return self.call(lambda: self._gateway.jvm.scienceworld.runtime.pythonapi.PythonInterface())
        except (SimulatorError, TypeError) as error:  # TypeError: the file has no such class
            raise EnvironmentFault("infra", f"the simulator does not start: {error}") from None

    def forget(self, of_java: Any) -> None:
        """Lets an object of Java go."""
        if self.runs:
            with suppress(EnvironmentFault):
                self.call(lambda: self._gateway.detach(of_java))

    def call(self, function: Callable[[], Value]) -> Value:
        """Calls Java, alone.

        Raises:
            EnvironmentFault: it fails, and is ended.
            SimulatorError: the simulator raised an exception.
        """
        with self._lock:
            if self._fault:
                raise EnvironmentFault("infra", self._fault)
            try:
                return self._called(function)
            except SimulatorError:
                raise
            except (Py4JError, OSError, ValueError) as error:
                cause = _cause(error)
                late = f"did not answer for {REPLY_S:g} s" if isinstance(cause, TimeoutError) else f"failed: {cause!r}"
                self.end(f"the Java process of the simulator {late}")
                raise EnvironmentFault("infra", self._fault) from None

    def _called(self, function: Callable[[], Value]) -> Value:
        try:
            return function()
        except Py4JJavaError as error:
            said = str(error.java_exception.toString())  # a call of Java, too
            self._gateway.detach(error.java_exception)
        if "OutOfMemory" in said:
            self.end(f"the simulator ran out of memory: {said}")
            raise EnvironmentFault("infra", self._fault)
        raise SimulatorError(said)

    def end(self, reason: str) -> None:
        """Kills it, and with it its worlds; also in the middle of a call."""
        self._fault = self._fault or reason
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()


def _greeting(stream: IO[bytes]) -> tuple[int, str]:
    """The port and the secret. Raises TimeoutError, or ValueError with what Java says when it ends without them."""
    said, until = b"", time.monotonic() + START_S
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while not (found := _GREETING.search(said)):
            if not ready.select(max(0.0, until - time.monotonic())):
                raise TimeoutError(f"it is not ready after {START_S:g} s")
            part = os.read(stream.fileno(), 4096)
            if not part:
                words = " ".join(said.decode(errors="replace").split())
                raise ValueError(f"it has ended, and said: {words[:300] or 'nothing'}")
            said += part
    return int(found[1]), found[2].decode()


def _drain(stream: IO[bytes]) -> None:
    """Reads what the simulator prints, which would stop it when the pipe is full."""
    with suppress(OSError, ValueError), stream, Path(os.devnull).open("wb") as nothing:
        shutil.copyfileobj(stream, nothing)


def _cause(error: Exception) -> Exception:
    """What an error of py4j was made from, where there is such a thing."""
    while isinstance(deeper := getattr(error, "cause", None), Exception):
        error = deeper
    return error
