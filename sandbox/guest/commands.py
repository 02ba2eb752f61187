"""Shell commands of cells that end when the cell is interrupted: ``os.system``, ``!command``, ``%%bash``.

Contract: an interrupt reaches the command, as in a terminal, because the host interrupts the process group. The calls
here wait until the command has ended, at most ``ENDING_S`` or until a second interrupt, kill it if it has not, and
raise KeyboardInterrupt. The C library's ``system`` ignores interrupts while it waits, and IPython's ``%%bash`` and
``x = !command`` turn them into other results. What a killed shell leaves behind is killed by the host.
"""

from __future__ import annotations

import _signal  # signal's own functions make enum members of numbers and handlers, which is slow
import errno
import os
import subprocess
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread, current_thread, main_thread
from typing import IO, Any, TypeVar

from IPython.core.magic import cell_magic, magics_class
from IPython.core.magics.script import ScriptMagics
from IPython.utils import _process_common
from IPython.utils.process import arg_split

T = TypeVar("T")
ENDING_S = 2.0
"""How long an interrupted command may take to end."""
LATE_OUTPUT_S = 0.2
"""How long output is awaited after a command was interrupted; a program it left behind may hold the pipe for longer."""


def install() -> None:
    """Makes ``os.system`` and IPython use these functions; called once, in the fork server."""
    os.system = system
    common: Any = _process_common
    common.process_handler = run_with  # under x = !command


@contextmanager
def _running(command: Any, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is started, and ended when its block is interrupted.

    An interrupt that arrives while it is started is raised afterwards: ``Popen`` would leave the process behind.
    """
    if current_thread() is not main_thread():  # interrupts are the main thread's
        yield subprocess.Popen(command, **options)
        return
    arrived: list[int] = []
    before = _signal.signal(_signal.SIGINT, lambda number, frame: arrived.append(number))
    process: subprocess.Popen[bytes] | None = None
    try:
        process = subprocess.Popen(command, **options)
        _signal.signal(_signal.SIGINT, before)
        with _ended_by_interrupts(process):
            if arrived:
                raise KeyboardInterrupt
            yield process
    except BaseException:
        _signal.signal(_signal.SIGINT, before)
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
        raise


@contextmanager
def _ended_by_interrupts(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends the process when its block is interrupted."""
    try:
        yield
    except BaseException:
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(ENDING_S)
        process.kill()
        process.wait()
        raise


def run(command: str | bytes | os.PathLike[Any]) -> int:
    """Runs a command in a shell; returns its exit code, negative for a signal. Raises OSError when Linux refuses."""
    with _running(os.fsencode(command), shell=True, close_fds=False, restore_signals=False) as process:
        return process.wait()


def system(command: str | bytes | os.PathLike[Any]) -> int:
    """``os.system``: runs a command in a shell; returns its wait status, -1 when Linux refuses the process."""
    try:
        code = run(command)
    except OSError:
        return -1
    return code << 8 if code >= 0 else -code


def run_with(command: Any, use: Callable[[subprocess.Popen[bytes]], T], stderr: int = subprocess.PIPE) -> T:
    """IPython's ``process_handler``: starts a command with pipes and returns what ``use`` makes of it."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pipe = subprocess.PIPE
    with _running(command, shell=isinstance(command, str), stdin=pipe, stdout=pipe, stderr=stderr) as process:
        return use(process)


class _Pump(Thread):
    """Moves what a program prints to ``take`` until its end."""

    def __init__(self, pipe: Any, take: Callable[[str], object]) -> None:
        super().__init__(daemon=True)
        self._pipe, self._take = pipe, take
        self.error: BaseException | None = None
        """What ``take`` raised; the program gets SIGPIPE then."""
        self.start()

    def run(self) -> None:
        decoder = getincrementaldecoder("utf-8")(errors="replace")
        try:
            with self._pipe:
                while data := self._pipe.read1(4096):
                    self._take(decoder.decode(data))
            self._take(decoder.decode(b"", final=True))
        except BaseException as error:
            self.error = error


@magics_class
class Scripts(ScriptMagics):
    """IPython's ``%%script``, ``%%bash`` and relatives, without a thread that outlives the cell."""

    @cell_magic("script")  # type: ignore[arg-type]
    def shebang(self, line: str, cell: str) -> None:
        """Runs the cell with the program that the line names."""
        args: Any
        words: list[str]
        args, words = self.shebang.parser.parse_known_args(arg_split(line, posix=True))
        if args.bg:
            super().shebang(line, cell)
            return
        text = (cell if cell.endswith("\n") else f"{cell}\n").encode("utf-8", "replace")
        pipe, process = subprocess.PIPE, None
        try:
            with _running(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
                code = self._communicate(process, text, args.out, args.err)
        except OSError as error:
            if process is not None or error.errno != errno.ENOENT:
                raise
            print(f"Couldn't find program: {words[0]!r}")
            return
        if args.raise_error and code != 0:
            raise subprocess.CalledProcessError(code, text)

    # as IPython's decorators leave it; the magics of each program share it
    shebang.parser = ScriptMagics.shebang.parser

    def _communicate(self, process: subprocess.Popen[bytes], text: bytes, out: str | None, err: str | None) -> int:
        """Feeds the program and passes on its output as it comes; returns its exit code."""
        stdin: IO[bytes] = process.stdin  # type: ignore[assignment]
        outputs = (process.stdout, out, sys.stdout), (process.stderr, err, sys.stderr)
        pumps = [_Pump(pipe, self._sink(variable, stream)) for pipe, variable, stream in outputs]
        try:
            with _ended_by_interrupts(process):
                with suppress(BrokenPipeError), stdin:
                    stdin.write(text)
                for pump in pumps:
                    pump.join()
                code = process.wait()
        finally:
            for pump in pumps:
                pump.join(LATE_OUTPUT_S)
        for pump in pumps:
            if pump.error is not None:
                raise pump.error
        return code

    def _sink(self, variable: str | None, stream: Any) -> Callable[[str], object]:
        """What is done with a program's text: gathered in a variable, or written to a stream."""
        shell: Any = self.shell
        namespace = shell.user_ns
        if variable is None:
            return lambda text: (stream.write(text), stream.flush()) if text else None
        namespace[variable] = ""

        def gather(text: str) -> None:
            namespace[variable] += text

        return gather
