"""IPython's InteractiveShell, reduced to what an unattended kernel needs.

Contract: runs cells with IPython's semantics (magics, ``!``, top-level await, ``_`` and ``Out``), sends values and rich
displays through a :class:`SocketTransport`, and leaves errors to :mod:`sandbox.guest.traceback`. It keeps no copy of
printed text (IPython 9 does, without bound), no history file, no completer threads. Built once in the fork server,
about 35 ms; a forked kernel only binds its transport.
"""

from __future__ import annotations

import contextlib
import json
import linecache
import os
import re
import sys
import warnings
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Instance
from traitlets.config import Config

from sandbox.guest import commands
from sandbox.guest.cell_text import shorten
from sandbox.guest.connection import SocketTransport
from sandbox.guest.displays import SandboxDisplayHook, SandboxDisplayPublisher, SandboxFormatter
from sandbox.guest.output import OutputLimit
from sandbox.guest.wire import CONTAINERS

DISPLAYS = 500
"""Values and displays one cell may send."""
MODULE_NAMES = ("__doc__", "__loader__", "__package__", "__spec__")
"""Names of every module that IPython's reset removes."""
SPECIAL = re.compile(
    r"\A\s|(\A|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])\s*([%!?,;/]|>>>|\.\.\.|In \[|\[(nav|ins)\])|\?|=\s*[%!]"
)
"""Matches cells that may use IPython syntax; any other cell needs no transformation."""


class _Compiler(CachingCompiler):
    """Names cells by their number, so that the name is the same on every machine."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        return f"<cell {number}>"


class _Transformers(TransformerManager):
    """Transforms only cells that match ``SPECIAL``.

    IPython tokenizes every cell several times, in Python, to find ``%``, ``!``, ``?`` and prompts. That is a third of
    the time of a short cell, and milliseconds for a long one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._standard = self._all()

    def transform_cell(self, cell: str) -> str:
        if SPECIAL.search(cell) or self._all() != self._standard:
            return super().transform_cell(cell)
        return cell if cell.endswith("\n") else cell + "\n"

    def _all(self) -> tuple[Any, ...]:
        return (*self.cleanup_transforms, *self.line_transforms, *self.token_transformers)


class SandboxShell(InteractiveShell):
    """The shell of one kernel; :meth:`bind` connects it after the fork."""

    displayhook_class = SandboxDisplayHook
    display_pub_class = SandboxDisplayPublisher
    compiler_class = _Compiler
    input_transformer_manager = Instance(_Transformers, ())

    transport: SocketTransport
    reported_error: BaseException | None = None
    """The last error IPython reported instead of raising it: of a script run by ``%run``, or of a value's repr."""
    rich_left = 0
    displays_left = 0
    keep = 10_000

    @property
    def db(self) -> Any:
        """IPython's small database, which ``%cd`` and ``%store`` write; below a folder that the kernel may write to."""
        if self._db is None:
            from IPython.external.pickleshare import PickleShareDB

            self._db = PickleShareDB(os.path.join(os.environ["IPYTHONDIR"], ".ipython", "db"))  # noqa: PTH118
        return self._db

    @db.setter
    def db(self, value: Any) -> None:
        self._db = value

    def bind(self, transport: SocketTransport, keep: int) -> None:
        """Connects the shell; ``keep`` characters of a value's text are sent."""
        self.transport, self.keep = transport, keep

    def reset_state(self) -> None:
        """Restores the initial state: no variables, no history, cell 1 next."""
        module = {name: self.user_ns.get(name) for name in MODULE_NAMES}
        self.reset(new_session=True)
        self.user_ns.update(module)  # multiprocessing asks the main module how to start it again
        self.execution_count = 1
        self.last_execution_result = None
        history: Any = self.history_manager
        for name in ("_i", "_ii", "_iii", "_i00"):
            setattr(history, name, "")
        history.output_hist_reprs.clear()
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)
        for name in [name for name in linecache.cache if name.startswith("<cell ")]:
            del linecache.cache[name]

    def send_bundle(self, kind: str, data: dict[str, Any], metadata: dict[str, Any] | None, **extra: Any) -> None:
        """Sends one mime bundle within the cell's budget for rich output."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "push"):
                stream.push()
        self.displays_left -= 1
        if self.displays_left < 0:
            raise OutputLimit(f"the cell showed more than {DISPLAYS} things")
        bundle: dict[str, Any] = {}
        left_out = []
        containers_left = CONTAINERS - 100  # those of the message itself
        for mime, value in data.items():
            if isinstance(value, bytes | bytearray):
                import base64

                value = base64.b64encode(value).decode("ascii")
            if mime == "text/plain":
                bundle[mime] = shorten(str(value), self.keep)
                continue
            text = value if isinstance(value, str) else json.dumps(value)
            size, containers = len(text), text.count("[") + text.count("{")
            if size > self.rich_left or containers > containers_left:
                left_out.append(f"<{mime} of {size:,} characters is over this cell's budget>")
                continue
            self.rich_left -= size
            containers_left -= containers
            bundle[mime] = value
        if left_out:
            bundle["text/plain"] = "\n".join([*([bundle["text/plain"]] if "text/plain" in bundle else []), *left_out])
        self.transport.publish(kind, {"data": bundle, "metadata": metadata or {}, **extra})
        if kind != "execute_result" or self.ast_node_interactivity != "last_expr":
            self.transport.flush()  # the cell goes on and may die; the value of its last line comes with the reply

    def should_run_async(self, raw_cell: str, **known: Any) -> bool:
        """Whether the cell needs an event loop. Skips IPython's test compilation if the cell has no such keyword."""
        return ("await" in raw_cell or "async" in raw_cell) and super().should_run_async(raw_cell, **known)

    def _tee(self, channel: str) -> Any:
        return contextlib.nullcontext()

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}  # formatting for an unused history takes seconds on a deep recursion

    def showtraceback(self, exc_tuple: Any = None, *_: Any, **__: Any) -> None:
        try:
            _, self.reported_error, _ = self._get_exc_info(exc_tuple)
        except ValueError:
            print("No traceback available to show.", file=sys.stderr)

    def showsyntaxerror(self, *_: Any, **__: Any) -> None:
        self.showtraceback()

    def showindentationerror(self) -> None:
        self.showtraceback()

    def init_display_formatter(self) -> None:
        self.display_formatter = SandboxFormatter(parent=self)
        self.configurables.append(self.display_formatter)  # type: ignore[arg-type]

    def enable_gui(self, gui: str | None = None) -> None: ...

    def init_virtualenv(self) -> None: ...

    def ask_exit(self) -> None:
        raise SystemExit

    def system(self, cmd: str) -> None:
        """Runs ``!cmd`` without a terminal; its output is raw output."""
        self.user_ns["_exit_code"] = commands.run(self.var_expand(cmd, depth=1))


def build_shell() -> SandboxShell:
    """The one shell of this process. It never uses IPython's own folder."""
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "nocolor"
    config.InteractiveShell.xmode = "Minimal"
    config.InteractiveShell.separate_in = ""
    config.IPCompleter.use_jedi = False
    shell = SandboxShell.instance(config=config)
    shell.register_magics(commands.Scripts)
    warnings.filterwarnings("ignore", message="To exit: use 'exit'")
    return shell
